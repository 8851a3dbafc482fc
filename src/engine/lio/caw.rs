// SPDX-License-Identifier: GPL-2.0

//! COMPARE AND WRITE that is not executed.
//!
//! `compare_and_write_callback()` releases `caw_sem` of the device, which only
//! `sbc_compare_and_write()` takes. Target core sets the callback when it parses the command, and
//! also calls it when the command ends before it was executed: its data never came, it was aborted,
//! a unit attention or a reservation is in the way. Then it warns, and two such commands run at the
//! same time from then on. So this module keeps the callback until the command is executed.
//!
//! C source: `drivers/target/target_core_sbc.c`, `__target_execute_cmd()` in
//! `target_core_transport.c`.

use core::cell::UnsafeCell;

use kernel::prelude::*;

use crate::bindings;

/// `execute_cmd()` of a command.
type Execute = unsafe extern "C" fn(*mut bindings::se_cmd) -> bindings::sense_reason_t;
type Callback = unsafe extern "C" fn(
    *mut bindings::se_cmd,
    bindings::bool_,
    *mut c_int,
) -> bindings::sense_reason_t;

/// `execute_cmd` and `transport_complete_callback` of a command that was not executed yet. Belongs to
/// the task that handles the command.
pub(super) struct Kept(UnsafeCell<Option<(Execute, Callback)>>);

impl Kept {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Takes the callback away, if there is one, until target core executes the command, which calls
    /// `instead` then.
    ///
    /// # Safety
    ///
    /// `se` must be the command that `self` is part of, passed to `write_pending()` and not given
    /// back since.
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
            // SAFETY: As above; so nothing else uses what `self` has, either.
            unsafe {
                *self.0.get() = Some((execute, callback));
                (&raw mut (*se).execute_cmd).write(Some(instead));
                (&raw mut (*se).transport_complete_callback).write(None);
            }
        }
    }

    /// Gives the callback back, and executes the command. Process context, may sleep.
    ///
    /// # Safety
    ///
    /// `se` must be the command that `self` is part of, and target core be about to execute it.
    pub(super) unsafe fn execute(&self, se: *mut bindings::se_cmd) -> bindings::sense_reason_t {
        // SAFETY: Target core executes a command in one thread at a time, and has it, so it is not in
        // `take()`.
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
