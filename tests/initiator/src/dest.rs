// SPDX-License-Identifier: GPL-2.0
//! Where a target listens, through which connection manager, and the layout that SRP_LOGIN_REQ has
//! there.
//!
//! Not here: how a connection comes about (`conn.rs`), what the fields mean (the module's
//! `srp/wire/login.rs`).

use std::{
    net::SocketAddr,
    str::FromStr, //
};

use crate::srp::wire::login::LoginReq;

/// Where a target listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dest {
    /// An address and a port, for the RDMA/CM.
    Rdma(SocketAddr),
    /// A service of an InfiniBand port, for the IB/CM.
    Ib(Service),
}

/// A service of an InfiniBand port, and the partition in which it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// GID of the target's port.
    pub(crate) dgid: [u8; 16],
    /// P_Key of the partition.
    pub(crate) pkey: u16,
    /// Service id.
    pub(crate) id: u64,
}

/// Where a request has the fields that tests change in its bytes.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The opcode.
    pub(crate) opcode: usize,
    /// The flags.
    pub(crate) flags: usize,
    /// The length of units asked for, four bytes.
    pub(crate) iu_len: usize,
    /// The offset of immediate data, two bytes.
    pub(crate) imm_offset: usize,
}

const RDMA: Layout = Layout {
    opcode: 11,
    flags: 10,
    iu_len: 12,
    imm_offset: 48,
};

const IB: Layout = Layout {
    opcode: 0,
    flags: 26,
    iu_len: 16,
    imm_offset: 28,
};

impl Dest {
    /// What `--help` says of the syntax.
    pub(crate) const SYNTAX: &'static str = "<address>:<port>, or as srp_daemon names a service: \
         dgid=<GID>,pkey=<P_Key>,service_id=<id>, in hexadecimal digits";

    /// Returns the layout that goes there.
    pub(crate) fn layout(&self) -> &'static Layout {
        match self {
            Self::Rdma(_) => &RDMA,
            Self::Ib(_) => &IB,
        }
    }

    /// Emits a request in this layout.
    pub(crate) fn emit(&self, req: &LoginReq) -> Vec<u8> {
        match self {
            Self::Rdma(_) => req.emit_rdma().to_vec(),
            Self::Ib(_) => req.emit_ib().to_vec(),
        }
    }
}

impl FromStr for Dest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('=') {
            text.parse().map(Self::Ib)
        } else {
            text.parse().map(Self::Rdma).map_err(|e| format!("{e}"))
        }
    }
}

impl FromStr for Service {
    type Err = String;

    /// Takes `dgid`, `pkey` and `service_id` in this order, the one of srp_daemon and ibsrpdm.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let mut next = |name: &str, digits: usize| {
            let found = words.next().and_then(|word| word.split_once('='));
            match found {
                Some((key, value)) if key == name && value.len() <= digits => {
                    u128::from_str_radix(value, 16).map_err(|e| format!("{name}: {e}"))
                }
                _ => Err(format!("no {name}=<at most {digits} digits>")),
            }
        };
        // No number with so many digits is too large.
        let service = Self {
            dgid: next("dgid", 32)?.to_be_bytes(),
            pkey: next("pkey", 4)? as u16,
            id: next("service_id", 16)? as u64,
        };
        match words.next() {
            None => Ok(service),
            Some(word) => Err(format!("'{word}' is too much")),
        }
    }
}
