// SPDX-License-Identifier: GPL-2.0

//! Epochs of what an administrator enables and disables: a target of SCST, a portal group of LIO.
//!
//! Not here: what keeps an epoch, which each engine has.

/// Number of times that it was enabled or disabled. Odd while it is enabled. A session that was let
/// in during another epoch than the present one is not valid any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(pub(super) u32);

impl Epoch {
    /// Returns whether it was enabled in this epoch.
    pub(super) fn is_enabled(self) -> bool {
        self.0 % 2 == 1
    }

    /// Returns the next epoch. Wrapping around keeps the meaning of the lowest bit.
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}
