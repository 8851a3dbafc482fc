// SPDX-License-Identifier: GPL-2.0
//! The decision about a login: every combination of the values that make a difference.
//!
//! [`decide`] is compared with the rules written down once more, as a table of reasons and when
//! each applies, and what is granted is checked against what was asked for and what the port has.
//! For every number the values at and next to each limit are taken; between them nothing changes,
//! because the code compares and does not compute.

use crate::{
    srp::wire::{
        consts::{
            buf_fmt,
            limit,
            RejectReason, //
        },
        ident::{
            Guid,
            PortId, //
        },
        login::{
            decide,
            LoginGrant,
            LoginPolicy,
            LoginReq,
            MultiChannel, //
        }, //
    },
    Report, //
};

const SERVICE: Guid = Guid(0x0002_c903_0005_f34a);
const OTHER: Guid = Guid(0x0002_c903_0005_f34b);

/// Every request that differs in something that matters, for one policy.
fn requests(policy: &LoginPolicy) -> Vec<LoginReq> {
    let lengths = [
        0,
        39,
        40,
        63,
        64,
        65,
        79,
        80,
        81,
        255,
        256,
        257,
        995,
        996,
        u32::MAX,
    ];
    let max = policy.max_req_size;
    let lengths = lengths.into_iter().chain([max - 1, max, max + 1]);
    let offsets = [0, 1, 47, 48, 49, 63, 64, 65, 79, 80, 81, u16::MAX];
    let actions = [
        MultiChannel::Single,
        MultiChannel::Multi,
        MultiChannel::Reserved(2),
        MultiChannel::Reserved(3),
    ];
    let ports = [
        (SERVICE, SERVICE),
        (SERVICE, OTHER),
        (OTHER, SERVICE),
        (OTHER, OTHER),
    ];
    let mut all = Vec::new();
    for req_it_iu_len in lengths {
        for fmt in 0..16u16 {
            for multichannel in actions {
                for (high, low) in ports {
                    for (imm_requested, imm_data_offset) in [false, true]
                        .into_iter()
                        .flat_map(|b| offsets.map(|o| (b, o)))
                    {
                        all.push(LoginReq {
                            tag: 1,
                            req_it_iu_len,
                            buf_fmt: fmt,
                            multichannel,
                            solicit_logout: false,
                            solicit_credit: false,
                            solicit_event: false,
                            imm_requested,
                            imm_data_offset,
                            initiator_port: PortId([7; 16]),
                            target_port: PortId::from_halves(high, low),
                        });
                    }
                }
            }
        }
    }
    all
}

/// Every policy that differs in something that matters.
fn policies() -> Vec<LoginPolicy> {
    let mut all = Vec::new();
    for enabled in [false, true] {
        for immediate in [false, true] {
            for max_req_size in [limit::MIN_MAX_REQ_SIZE, limit::DEFAULT_MAX_REQ_SIZE] {
                for max_rsp_size in [40, 41, 63, 64, 65, 256, limit::MAX_MAX_RSP_SIZE] {
                    all.push(LoginPolicy {
                        enabled,
                        service_guid: SERVICE,
                        max_req_size,
                        max_rsp_size,
                        rq_size: limit::MAX_RQ_SIZE,
                        immediate,
                    });
                }
            }
        }
    }
    all
}

/// The reasons to refuse, in the order in which they count.
fn refusal(req: &LoginReq, policy: &LoginPolicy) -> Option<RejectReason> {
    let length = req.req_it_iu_len;
    [
        (length < 64, RejectReason::ReqItIuLengthTooLarge),
        (
            length > policy.max_req_size,
            RejectReason::ReqItIuLengthTooLarge,
        ),
        (!policy.enabled, RejectReason::InsufficientResources),
        (
            req.target_port != PortId::from_halves(SERVICE, SERVICE),
            RejectReason::UnableAssociateChannel,
        ),
    ]
    .into_iter()
    .find_map(|(applies, reason)| applies.then_some(reason))
}

/// What is wrong with a grant, if anything.
fn fault(req: &LoginReq, policy: &LoginPolicy, grant: &LoginGrant) -> Option<&'static str> {
    let offset = req.imm_data_offset;
    let in_range = (48..=80).contains(&offset) && u32::from(offset) < req.req_it_iu_len;
    let imm = policy.immediate && req.imm_requested && in_range;
    [
        (
            grant.req_lim != policy.rq_size,
            "the request limit is not the number of buffers",
        ),
        (grant.req_lim == 0, "no credit"),
        (
            grant.max_it_iu_len
                != if imm {
                    req.req_it_iu_len
                } else {
                    policy.max_req_size
                },
            "not the size of the receive buffers",
        ),
        (
            grant.max_it_iu_len < req.req_it_iu_len,
            "less than what was asked for",
        ),
        (
            grant.max_ti_iu_len > policy.max_rsp_size.max(40),
            "more than the response buffer",
        ),
        (
            grant.max_ti_iu_len > req.req_it_iu_len,
            "more than the initiator announced",
        ),
        (grant.max_ti_iu_len < 40, "no room for response data"),
        (
            grant.buf_fmt != (buf_fmt::DIRECT | buf_fmt::INDIRECT),
            "not the descriptor formats that there are",
        ),
        (grant.imm_offset != imm.then_some(offset), "immediate data"),
    ]
    .into_iter()
    .find_map(|(wrong, what)| wrong.then_some(what))
}

/// What its result is called.
const NAME: &str = "login decision";

/// Checks every combination; says how many there are.
pub(crate) fn check(report: &mut Report) {
    let (mut accepted, mut refused) = (0u64, 0u64);
    let mut reasons = Vec::new();
    for policy in policies() {
        for req in requests(&policy) {
            let decision = decide(&req, &policy);
            let wrong = match (&decision, refusal(&req, &policy)) {
                (Ok(grant), None) => fault(&req, &policy, grant),
                (Err(reason), Some(expected)) if *reason == expected => {
                    if !reasons.contains(reason) {
                        reasons.push(*reason);
                    }
                    None
                }
                _ => Some("another decision was expected"),
            };
            if let Some(what) = wrong {
                return report.not_ok(NAME, &format!("{what}\n{req:?}\n{policy:?}\n{decision:?}"));
            }
            match decision {
                Ok(_) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
    }
    let about = format!(
        "{accepted} combinations accepted, {refused} refused for {} reasons",
        reasons.len()
    );
    // Every reason that `decide` has must have been seen, or the values above are too few.
    if accepted == 0 || reasons.len() != 3 {
        return report.not_ok(NAME, &format!("{about}\n{reasons:?}"));
    }
    report.ok(NAME, &about);
}
