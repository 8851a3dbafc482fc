// SPDX-License-Identifier: GPL-2.0

//! COMPARE AND WRITE commands that end without being executed.
//!
//! `compare_and_write_callback()` releases `caw_sem` of the device, which only
//! `sbc_compare_and_write()` takes. Target core sets the callback when it parses the command, and
//! calls it even if the command ends before it was executed: its data was not fetched, it was
//! aborted, or a unit attention or a reservation prevents it. This triggers a warning, and raises
//! the count of the semaphore, so that two such commands can run at the same time from then on.
//! Therefore this module keeps the callback until the command is executed.
//!
//! Not here: everything else about commands ([`super::cmd`]).
//!
//! C source: `drivers/target/target_core_sbc.c`, `__target_execute_cmd()` in
//! `target_core_transport.c`.

use core::cell::UnsafeCell;

use kernel::prelude::*;

use crate::bindings;

/// Type of `se_cmd.execute_cmd`.
type Execute = unsafe extern "C" fn(*mut bindings::se_cmd) -> bindings::sense_reason_t;
/// Type of `se_cmd.transport_complete_callback`.
type Callback = unsafe extern "C" fn(
    *mut bindings::se_cmd,
    bindings::bool_,
    *mut c_int,
) -> bindings::sense_reason_t;

/// `execute_cmd` and `transport_complete_callback` of a command that was not executed yet. Owned by
/// the task that handles the command.
pub(super) struct Kept(UnsafeCell<Option<(Execute, Callback)>>);

impl Kept {
    /// Keeps nothing.
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Removes the callback of the command, if it has one, and makes target core call `instead` to
    /// execute the command.
    ///
    /// # Safety
    ///
    /// `se` must be the command that `self` is part of, passed to `write_pending()` and not
    /// returned to target core since.
    pub(super) unsafe fn take(&self, se: *mut bindings::se_cmd, instead: Execute) {
        // SAFETY: By the safety requirements, nothing else writes to the command now, and
        // `sbc_parse_cdb()` has set both fields.
        let (execute, callback) = unsafe {
            (
                (&raw const (*se).execute_cmd).read(),
                (&raw const (*se).transport_complete_callback).read(),
            )
        };
        if let (Some(execute), Some(callback)) = (execute, callback) {
            // SAFETY: As above; so nothing else accesses the contents of `self`, either.
            unsafe {
                *self.0.get() = Some((execute, callback));
                (&raw mut (*se).execute_cmd).write(Some(instead));
                (&raw mut (*se).transport_complete_callback).write(None);
            }
        }
    }

    /// Restores the callback and executes the command. Process context, may sleep.
    ///
    /// # Safety
    ///
    /// `se` must be the command that `self` is part of, and target core be about to execute it.
    pub(super) unsafe fn execute(&self, se: *mut bindings::se_cmd) -> bindings::sense_reason_t {
        // SAFETY: Target core executes a command in one thread at a time, and owns it now, so it is
        // not in `take()`.
        let kept = unsafe { (*self.0.get()).take() };
        let Some((execute, callback)) = kept else {
            return bindings::tcm_sense_reason_table_TCM_LOGICAL_UNIT_COMMUNICATION_FAILURE;
        };
        // SAFETY: The command is as `sbc_parse_cdb()` has left it, and it is executed once.
        unsafe {
            (&raw mut (*se).execute_cmd).write(Some(execute));
            (&raw mut (*se).transport_complete_callback).write(Some(callback));
            execute(se)
        }
    }
}
