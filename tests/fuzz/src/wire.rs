// SPDX-License-Identifier: GPL-2.0
//! The parsers, and what must hold for whatever they let through.

use crate::srp::{
    machine::access::Initiator,
    wire::{
        cmd::Cmd,
        consts::limit,
        ctrl::{
            AerReq,
            AerRsp,
            CredReq,
            CredRsp,
            ILogout,
            TLogout, //
        },
        desc::{
            DataDesc,
            DescList, //
        },
        dm::{
            self,
            Controller,
            ControllerName,
            Header,
            ID_TEXT, //
        },
        ident::{
            AclId,
            AclName,
            Guid,
            PortId, //
        },
        iu::{
            Answer,
            Iu, //
        },
        login::{
            decide,
            LoginPolicy,
            LoginRej,
            LoginReq,
            LoginRsp,
            MultiChannelResult, //
        },
        rsp::Rsp,
        tmf::TskMgmt, //
    }, //
};

/// What arrives outside of channels: login requests in both forms, the decision about them and the
/// answers, and datagrams of device management.
pub fn login(data: &[u8]) {
    management(data);
    if let Ok(req) = LoginReq::parse_ib(data) {
        assert_eq!(LoginReq::parse_ib(&req.emit_ib()), Ok(req));
        assert_eq!(LoginReq::parse_rdma(&req.emit_rdma()), Ok(req));
        decision(&req, req.target_port.halves().0);
    }
    if let Ok(req) = LoginReq::parse_rdma(data) {
        assert_eq!(LoginReq::parse_rdma(&req.emit_rdma()), Ok(req));
        decision(&req, req.target_port.halves().0);
        decision(&req, Guid(1));
    }
    if let Ok(rsp) = LoginRsp::parse(data) {
        assert_eq!(LoginRsp::parse(&rsp.emit()), Ok(rsp));
    }
    if let Ok(rej) = LoginRej::parse(data) {
        assert_eq!(LoginRej::parse(&rej.emit()), Ok(rej));
    }
}

fn management(data: &[u8]) {
    let controller = Controller {
        service_guid: Guid(0x0002_c903_0005_f34a),
        vendor_id: 0x02c9,
        device_id: 1,
        device_version: 0,
        send_queue_depth: 128,
        rdma_read_depth: 4,
        send_size: limit::DEFAULT_MAX_REQ_SIZE,
        rdma_size: limit::DEFAULT_MAX_RDMA_SIZE,
        name: ControllerName::from_display(ID_TEXT).expect("it fits"),
    };
    let Ok(answer) = dm::answer(data, &controller) else {
        return;
    };
    let request = Header::parse(data).expect("it was answered");
    let said = Header::parse(&answer).expect("a datagram");
    assert_eq!((said.tid, said.attr_id), (request.tid, request.attr_id));
    // Nobody answers an answer.
    assert!(dm::answer(&answer, &controller).is_err());
}

fn decision(req: &LoginReq, service_guid: Guid) {
    for immediate in [false, true] {
        let policy = LoginPolicy {
            enabled: true,
            service_guid,
            max_req_size: limit::DEFAULT_MAX_REQ_SIZE,
            max_rsp_size: limit::DEFAULT_MAX_RSP_SIZE,
            rq_size: limit::MAX_RQ_SIZE,
            immediate,
        };
        match decide(req, &policy) {
            Ok(grant) => {
                assert!(req.req_it_iu_len <= grant.max_it_iu_len);
                assert!(grant.max_ti_iu_len <= req.req_it_iu_len);
                assert!(grant.max_ti_iu_len >= limit::MIN_MAX_RSP_SIZE);
                assert!(grant.imm_offset.is_none() || (immediate && req.imm_requested));
                let rsp = LoginRsp::granted(req.tag, &grant, MultiChannelResult::NoChannel);
                assert_eq!(LoginRsp::parse(&rsp.emit()), Ok(rsp));
            }
            Err(reason) => {
                let rej = LoginRej::new(req.tag, reason);
                assert_eq!(LoginRej::parse(&rej.emit()), Ok(rej));
            }
        }
    }
}

/// Offsets of immediate data as they may be granted, and none.
const OFFSETS: [Option<u16>; 4] = [None, Some(48), Some(64), Some(80)];

/// Commands, with all that their descriptors can say.
pub fn command(data: &[u8]) {
    for imm_offset in OFFSETS {
        if let Ok(cmd) = Cmd::parse(data, imm_offset) {
            check_command(data, &cmd);
            // What a command says does not depend on what was received behind it.
            let mut longer = data.to_vec();
            longer.extend([0xa5; 16]);
            assert_eq!(Cmd::parse(&longer, imm_offset), Ok(cmd));
        }
    }
    // As a table that was fetched.
    for data_len in [0, 1, 4096, u32::MAX] {
        if let Ok(list) = DescList::new(data, data_len) {
            check_list(data, &list);
        }
    }
}

fn check_command(data: &[u8], cmd: &Cmd<'_>) {
    assert!(cmd.cdb.len() >= 16 && cmd.cdb.len() <= 16 + 252 && cmd.cdb.len() % 4 == 0);
    match cmd.data {
        DataDesc::None => assert_eq!((cmd.dir(), cmd.data_len()), (None, 0)),
        DataDesc::Out(list) | DataDesc::In(list) => {
            check_list(data, &list);
            assert_eq!(cmd.data_len(), list.data_len());
        }
        DataDesc::Bidi { out, r#in } => {
            check_list(data, &out);
            check_list(data, &r#in);
        }
        DataDesc::External(table) => {
            assert_eq!(cmd.data_len(), table.data_len);
            assert!(table.data_len != 0 && table.table.len != 0);
            // Whatever comes back for it.
            if let Ok(DataDesc::Out(list) | DataDesc::In(list)) = table.resolve(data) {
                check_list(data, &list);
            }
        }
        DataDesc::Immediate(bytes) => {
            assert!(bytes.len() <= data.len());
            assert_eq!(cmd.data_len() as usize, bytes.len());
        }
    }
}

fn check_list(data: &[u8], list: &DescList<'_>) {
    assert!(list.count() * 16 <= data.len());
    let mut left = u64::from(list.data_len());
    for segment in list.segments() {
        assert!(segment.len != 0);
        // The last byte has an address.
        assert!(segment.va.checked_add(u64::from(segment.len) - 1).is_some());
        left = left
            .checked_sub(u64::from(segment.len))
            .expect("no more than the data");
    }
    assert_eq!(left, 0);
    assert!(list.segments().count() <= list.count());
}

/// Whatever may arrive on a channel.
pub fn iu(data: &[u8]) {
    for imm_offset in OFFSETS {
        let tag = data
            .get(8..16)
            .map(|b| u64::from_be_bytes(b.try_into().expect("8 bytes")));
        match Iu::parse(data, imm_offset) {
            Ok(iu) => {
                assert_eq!(Some(iu.tag()), tag);
                match iu {
                    Iu::Cmd(cmd) => assert_eq!(Cmd::parse(data, imm_offset), Ok(cmd)),
                    Iu::TskMgmt(tm) => assert_eq!(TskMgmt::parse(&tm.emit()), Ok(tm)),
                    Iu::ILogout(logout) => assert_eq!(ILogout::parse(&logout.emit()), Ok(logout)),
                    Iu::CredRsp(rsp) => assert_eq!(CredRsp::parse(&rsp.emit()), Ok(rsp)),
                    Iu::AerRsp(rsp) => assert_eq!(AerRsp::parse(&rsp.emit()), Ok(rsp)),
                }
            }
            Err(error) => match error.answer() {
                Answer::Respond { tag: to, .. } => {
                    assert!(error.consumes_credit());
                    assert_eq!(Some(to), tag);
                }
                Answer::Disconnect => assert!(!error.consumes_credit()),
            },
        }
    }
}

/// What a target sends, as an initiator reads it.
pub fn response(data: &[u8]) {
    if let Ok(rsp) = Rsp::parse(data) {
        let mut buf = vec![0xa5; data.len() + 64];
        let len = rsp.emit(&mut buf).expect("a larger buffer");
        assert!(buf[len..].iter().all(|&b| b == 0xa5));
        assert_eq!(Rsp::parse(&buf[..len]), Ok(rsp));
        // In any smaller buffer it fails, or sense data is cut off; nothing is written behind it.
        for size in [0, 35, 36, 39, 40, 41, len.saturating_sub(1)] {
            let mut buf = [0xa5; 4096];
            let size = size.min(len);
            let Ok(len) = rsp.emit(&mut buf[..size]) else {
                continue;
            };
            assert!(len <= size && buf[size..].iter().all(|&b| b == 0xa5));
            let short = Rsp::parse(&buf[..len]).expect("what was emitted");
            assert!(rsp.sense.starts_with(short.sense));
            assert_eq!((short.tag, short.rsp_code), (rsp.tag, rsp.rsp_code));
        }
    }
    if let Ok(aer) = AerReq::parse(data) {
        let mut buf = vec![0; data.len()];
        let len = aer.emit(&mut buf).expect("room for what was parsed");
        assert_eq!(AerReq::parse(&buf[..len]), Ok(aer));
    }
    if let Ok(req) = CredReq::parse(data) {
        assert_eq!(CredReq::parse(&req.emit()), Ok(req));
    }
    if let Ok(logout) = TLogout::parse(data) {
        assert_eq!(TLogout::parse(&logout.emit()), Ok(logout));
    }
}

/// Names of access control entries, and the names an initiator is looked up by.
pub fn name(data: &[u8]) {
    if let Ok(text) = core::str::from_utf8(data) {
        if let Ok(id) = AclId::parse(text) {
            let shown = AclName::from_display(id).expect("room for any name");
            assert_eq!(AclId::parse(shown.as_str()), Ok(id));
        }
        if let Some(guid) = Guid::from_hex(text) {
            assert_eq!(AclId::parse(&guid.to_string()), Ok(AclId::Guid(guid)));
        }
    }
    let Some((id, rest)) = data.split_first_chunk::<16>() else {
        return;
    };
    let guid = rest
        .first_chunk::<8>()
        .map(|b| Guid(u64::from_be_bytes(*b)));
    let addr = match rest.first_chunk::<16>() {
        Some(v6) => Some(core::net::IpAddr::from(*v6)),
        None => rest
            .first_chunk::<4>()
            .map(|v4| core::net::IpAddr::from(*v4)),
    };
    let one = Initiator {
        port_id: PortId(*id),
        guid,
        addr,
    };
    let names: Vec<_> = one.all_names().collect();
    assert!(names.len() >= 2);
    assert!(names.iter().all(|name| AclId::parse(name.as_str()).is_ok()));
}
