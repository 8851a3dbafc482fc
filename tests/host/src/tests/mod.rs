// SPDX-License-Identifier: GPL-2.0
//! Tests of the protocol layer, one file per module, and what they share.

mod access;
mod bounds;
mod cdb;
mod channel;
mod cmd;
mod command;
mod credit;
mod ctrl;
mod desc;
mod dm;
mod ident;
mod iu;
mod login;
mod members;
mod nexus;
mod notice;
mod order;
mod pictures;
mod ports;
mod rsp;
mod scsi;
mod sendq;
mod stats;
mod tmf;
mod watch;
mod wire;

/// Parses hexadecimal digits; white space is ignored and `//` starts a comment.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("hex digit")).unwrap())
        .collect();
    assert_eq!(digits.len() % 2, 0, "odd number of digits");
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4) | pair[1])
        .collect()
}

/// Builds the bytes of an `SRP_CMD` independently of the code under test.
#[derive(Clone, Debug)]
struct CmdBytes {
    tag: u64,
    sol_not: u8,
    lun: [u8; 8],
    attr: u8,
    cdb: [u8; 16],
    additional_cdb: Vec<u8>,
    formats: u8,
    out_count: u8,
    in_count: u8,
    tail: Vec<u8>,
}

impl Default for CmdBytes {
    fn default() -> Self {
        Self {
            tag: 0x0011_2233_4455_6677,
            sol_not: 0,
            lun: [0, 1, 0, 0, 0, 0, 0, 0],
            attr: 0,
            cdb: *b"0123456789abcdef",
            additional_cdb: Vec::new(),
            formats: 0,
            out_count: 0,
            in_count: 0,
            tail: Vec::new(),
        }
    }
}

impl CmdBytes {
    fn build(&self) -> Vec<u8> {
        assert_eq!(self.additional_cdb.len() % 4, 0);
        let mut iu = vec![2, self.sol_not, 0, 0, 0];
        iu.extend([self.formats, self.out_count, self.in_count]);
        iu.extend(self.tag.to_be_bytes());
        iu.extend([0; 4]);
        iu.extend(self.lun);
        iu.extend([0, self.attr, 0]);
        iu.push(u8::try_from(self.additional_cdb.len()).unwrap());
        iu.extend(self.cdb);
        iu.extend(&self.additional_cdb);
        iu.extend(&self.tail);
        iu
    }
}

/// Builds the bytes of a memory descriptor.
fn desc_bytes(va: u64, key: u32, len: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(va.to_be_bytes());
    bytes.extend(key.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}
