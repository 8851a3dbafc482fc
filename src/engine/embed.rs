// SPDX-License-Identifier: GPL-2.0

//! Conversion between a command of the target and the engine's part of it.
//!
//! The pattern is that of the kernel crate's `Work`: a command of the target embeds an
//! [`ActiveCmd`], and [`impl_has_engine_cmd!`] proves where. The engine's part contains a work
//! item, which is number 0 of the command; the engine's `run_work` implements it.
//!
//! Not here: the engine's parts themselves (`cmd.rs` of each engine).

use super::{
    ActiveCmd,
    CmdWork, //
};

/// Declares that a command of the target contains the engine's part of it. Implemented by
/// [`impl_has_engine_cmd!`].
///
/// # Safety
///
/// [`Self::engine_cmd`] must return a field of the command, always the same, and
/// [`Self::container_of`] the command from the address of that field.
pub(crate) unsafe trait HasEngineCmd: CmdWork + Sized {
    /// Returns the engine's part of the command.
    fn engine_cmd(&self) -> &ActiveCmd<Self>;

    /// Returns the command that contains an engine's part.
    ///
    /// # Safety
    ///
    /// `cmd` must point to that field of a valid command.
    unsafe fn container_of(cmd: *mut ActiveCmd<Self>) -> *mut Self;
}

/// Safely implements [`HasEngineCmd`] and the traits that the work item in the engine's part
/// requires:
///
/// ```ignore
/// impl_has_engine_cmd! {
///     impl HasEngineCmd for Command { self.engine }
///     impl{O: Owner} HasEngineCmd for OtherCommand<O> { self.engine }
/// }
/// ```
macro_rules! impl_has_engine_cmd {
    ($(impl$({$($generics:tt)*})? HasEngineCmd for $self:ty { self.$field:ident })*) => {$(
        // SAFETY: This compiles only if the field has the right type; `engine_cmd()` adds the
        // field's offset, `container_of()` subtracts it.
        unsafe impl$(<$($generics)*>)? $crate::engine::HasEngineCmd for $self {
            #[inline]
            fn engine_cmd(&self) -> &$crate::engine::ActiveCmd<Self> {
                &self.$field
            }

            #[inline]
            unsafe fn container_of(cmd: *mut $crate::engine::ActiveCmd<Self>) -> *mut Self {
                // SAFETY: The caller promises that it is that field of a valid command.
                unsafe { ::kernel::container_of!(cmd, Self, $field) }
            }
        }

        // SAFETY: Both functions add and subtract the same offsets: that of the field, and that of
        // the work item in it.
        unsafe impl$(<$($generics)*>)? ::kernel::workqueue::HasWork<Self> for $self {
            #[inline]
            unsafe fn raw_get_work(this: *mut Self) -> *mut ::kernel::workqueue::Work<Self> {
                // SAFETY: The caller promises that the command is valid, hence so is its field.
                unsafe { $crate::engine::ActiveCmd::<Self>::raw_get_work(&raw mut (*this).$field) }
            }

            #[inline]
            unsafe fn work_container_of(work: *mut ::kernel::workqueue::Work<Self>) -> *mut Self {
                // SAFETY: The caller promises that it is the work item of a valid command.
                unsafe {
                    let cmd = $crate::engine::ActiveCmd::<Self>::work_container_of(work);
                    ::kernel::container_of!(cmd, Self, $field)
                }
            }
        }

        impl$(<$($generics)*>)? ::kernel::workqueue::WorkItem for $self {
            type Pointer = ::kernel::sync::Arc<Self>;

            fn run(this: ::kernel::sync::Arc<Self>) {
                $crate::engine::ActiveCmd::<Self>::run_work(this);
            }
        }

        $crate::engine::impl_cmd_work! { impl$({$($generics)*})? CmdWork for $self }
    )*};
}
pub(crate) use impl_has_engine_cmd;
