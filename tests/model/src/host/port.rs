// SPDX-License-Identifier: GPL-2.0
//! Stands for `src/port.rs`: a port with one completion vector.

use core::marker::PhantomData;

/// What an engine keeps per port.
pub(crate) trait PortData: Sized + Send + Sync + 'static {}

/// A port.
pub(crate) struct Port<D>(PhantomData<fn() -> D>);

/// A port a directory stands for.
pub(crate) type ConfiguredPort<D> = Port<D>;

/// Completion vectors in turn.
pub(crate) struct Vectors;

impl Vectors {
    pub(crate) fn next(self) -> u32 {
        0
    }
}

impl<D: PortData> Port<D> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        true
    }

    pub(crate) fn vectors(&self) -> Vectors {
        Vectors
    }
}
