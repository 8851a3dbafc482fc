// SPDX-License-Identifier: GPL-2.0
//! The memory a target may access, watched byte by byte.
//!
//! Every buffer a scenario hands out lies in one registered region that is filled with a pattern, so
//! that what surrounds a buffer is a canary that the target *can* write but must not. A copy of what
//! should be there is kept; bytes may only differ where a scenario said so.
//!
//! Not here: registration (`verbs.rs`).

use std::ops::Range;

use crate::{
    srp::wire::desc::DirectDesc,
    verbs::{
        Fallible,
        Region, //
    }, //
};

/// Size in bytes of the canary before the first and after the last buffer.
pub(crate) const CANARY: usize = 4096;

/// Watched memory. Offsets are relative to the first byte after the first canary.
pub(crate) struct Memory {
    region: Region,
    should: Vec<u8>,
    may: Vec<Range<usize>>,
}

/// Returns the pattern byte of one place: neighbours and pages differ.
fn pattern(at: usize) -> u8 {
    let x = (at as u32).wrapping_mul(0x9e37_79b1);
    (x >> 24) as u8 ^ at as u8
}

impl Memory {
    /// Fills `region` with the pattern and watches it.
    pub(crate) fn new(region: Region) -> Self {
        let should: Vec<u8> = (0..region.len()).map(pattern).collect();
        region.write(0, &should);
        Self {
            region,
            should,
            may: Vec::new(),
        }
    }

    /// Returns the number of bytes between the canaries.
    pub(crate) fn len(&self) -> usize {
        self.region.len() - 2 * CANARY
    }

    /// Returns the address of a byte.
    pub(crate) fn address(&self, offset: usize) -> u64 {
        self.region.address() + CANARY as u64 + offset as u64
    }

    /// Returns the key for the target.
    pub(crate) fn key(&self) -> u32 {
        self.region.rkey()
    }

    /// Returns the descriptor of a buffer.
    pub(crate) fn desc(&self, offset: usize, len: usize) -> DirectDesc {
        DirectDesc {
            va: self.address(offset),
            key: self.key(),
            len: u32::try_from(len).unwrap_or(u32::MAX),
        }
    }

    /// Writes `data`; from now on it should be there.
    pub(crate) fn fill(&mut self, offset: usize, data: &[u8]) {
        let at = CANARY + offset;
        self.region.write(at, data);
        self.should[at..at + data.len()].copy_from_slice(data);
    }

    /// Returns what is there now.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        self.region.read(CANARY + offset, len)
    }

    /// From now on the target may write these bytes.
    pub(crate) fn allow(&mut self, offset: usize, len: usize) {
        let at = CANARY + offset;
        self.may.push(at..at + len);
    }

    /// The target may write what an address range has of this memory, canaries included; for ranges
    /// that were made up.
    pub(crate) fn allow_address(&mut self, va: u64, len: u32) {
        let first = self.region.address();
        let last = first + self.region.len() as u64;
        let from = va.clamp(first, last);
        let to = va.saturating_add(len.into()).clamp(first, last);
        if from < to {
            self.may
                .push((from - first) as usize..(to - first) as usize);
        }
    }

    /// Checks that nothing has changed that must not; what was allowed to change is taken as it is,
    /// and must not change any more.
    ///
    /// # Errors
    ///
    /// The number of wrong bytes and where the first is.
    pub(crate) fn verify(&mut self) -> Fallible<()> {
        let is = self.region.read(0, self.region.len());
        for range in self.may.drain(..) {
            self.should[range.clone()].copy_from_slice(&is[range]);
        }
        if is == self.should {
            return Ok(());
        }
        let wrong = || {
            is.iter()
                .zip(&self.should)
                .enumerate()
                .filter(|(_, (a, b))| a != b)
        };
        let first = wrong().map(|(at, _)| at).next().unwrap_or(0);
        let count = wrong().count();
        // Once is enough.
        self.should.copy_from_slice(&is);
        Err(format!(
            "{count} bytes of memory changed that must not, the first at {}",
            first as i64 - CANARY as i64
        ))
    }
}
