// SPDX-License-Identifier: GPL-2.0
//! Initialisers. On the host nothing refers to itself, so they return what they make.

use core::{convert::Infallible, marker::PhantomData, pin::Pin};

/// Makes a `T`.
pub trait PinInit<T, E = Infallible> {
    /// Makes it.
    fn make(self) -> Result<T, E>;
}

/// Making something in memory of its own.
pub trait InPlaceInit<T>: Sized {
    /// Makes it in a box.
    fn pin_init<E>(
        init: impl PinInit<T, E>,
        _: crate::alloc::flags::Flags,
    ) -> crate::error::Result<Pin<Box<T>>>
    where
        crate::error::Error: From<E>,
    {
        Ok(Box::pin(init.make()?))
    }
}

impl<T> InPlaceInit<T> for Box<T> {}

/// A function that makes a `T`.
pub struct Init<T, E, F>(F, PhantomData<fn() -> (T, E)>);

impl<T, E, F: FnOnce() -> Result<T, E>> PinInit<T, E> for Init<T, E, F> {
    fn make(self) -> Result<T, E> {
        (self.0)()
    }
}

impl<T, E> PinInit<T, E> for Result<T, E> {
    fn make(self) -> Self {
        self
    }
}

/// An initialiser that cannot fail.
pub fn from_fn<T, F: FnOnce() -> Result<T, Infallible>>(f: F) -> Init<T, Infallible, F> {
    Init(f, PhantomData)
}

/// An initialiser that may fail.
pub fn try_from_fn<T, F: FnOnce() -> crate::error::Result<T>>(
    f: F,
) -> Init<T, crate::error::Error, F> {
    Init(f, PhantomData)
}

/// An initialiser for a struct, which cannot fail.
#[macro_export]
macro_rules! pin_init {
    ($type:ident $(::<$($generic:ty),*>)? { $($fields:tt)* }) => {
        $crate::init::from_fn(move || {
            $crate::__fields!([$type] [] $($fields)*)
        })
    };
}

/// An initialiser for a struct.
#[macro_export]
macro_rules! try_pin_init {
    ($type:ident $(::<$($generic:ty),*>)? { $($fields:tt)* }) => {
        $crate::init::try_from_fn(move || {
            $crate::__fields!([$type] [] $($fields)*)
        })
    };
}

/// Makes one field after the other. What makes a field sees those before it, as references.
#[doc(hidden)]
#[macro_export]
macro_rules! __fields {
    ([$type:ident] [$($done:ident)*]) => {
        Ok($type { $($done),* })
    };
    ([$type:ident] [$($done:ident)*] $name:ident <- $value:expr $(, $($rest:tt)*)?) => {{
        let $name = {
            $(#[allow(unused_variables)] let $done = &$done;)*
            $value
        };
        let $name = $crate::init::PinInit::make($name)?;
        $crate::__fields!([$type] [$($done)* $name] $($($rest)*)?)
    }};
    ([$type:ident] [$($done:ident)*] $name:ident: $value:expr $(, $($rest:tt)*)?) => {{
        let $name = {
            $(#[allow(unused_variables)] let $done = &$done;)*
            $value
        };
        $crate::__fields!([$type] [$($done)* $name] $($($rest)*)?)
    }};
    ([$type:ident] [$($done:ident)*] $name:ident $(, $($rest:tt)*)?) => {
        $crate::__fields!([$type] [$($done)* $name] $($($rest)*)?)
    };
}
