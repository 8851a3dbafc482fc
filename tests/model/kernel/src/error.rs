// SPDX-License-Identifier: GPL-2.0
//! Error numbers.

use core::{convert::Infallible, fmt, num::TryFromIntError};

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

/// A result with an error number.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// The numbers in use.
pub mod code {
    use super::Error;

    macro_rules! codes {
        ($($name:ident = $number:literal,)*) => {
            $(pub const $name: Error = Error(-$number);)*
        };
    }

    codes! {
        EIO = 5,
        ENOENT = 2,
        E2BIG = 7,
        EAGAIN = 11,
        ENOMEM = 12,
        EBUSY = 16,
        ENODEV = 19,
        EINVAL = 22,
        EPIPE = 32,
        EOVERFLOW = 75,
        ENOTCONN = 107,
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.0)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<crate::alloc::AllocError> for Error {
    fn from(_: crate::alloc::AllocError) -> Self {
        code::ENOMEM
    }
}

impl From<TryFromIntError> for Error {
    fn from(_: TryFromIntError) -> Self {
        code::EINVAL
    }
}
