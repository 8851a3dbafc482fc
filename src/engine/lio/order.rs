// SPDX-License-Identifier: GPL-2.0

//! Task attributes of aborted commands: counts down what target core does not.
//!
//! Target core (7.2, 7.3) counts the SIMPLE commands that a device executes, and starts an ORDERED
//! command when the count is zero (`target_handle_task_attr()`, `target_do_delayed_work()`). The
//! end of a command decrements the count (`transport_complete_task_attr()`), unless the command was
//! aborted during its execution (`target_handle_abort()`). The next ORDERED command to the device
//! then waits for ever, and so does every command behind it, of every initiator and every fabric.
//!
//! The last use that target core makes of such a command is a callback of the fabric, so this
//! module decrements the count there. A flag in `se_cmd_flags` records that a command is still
//! counted, and target core clears it when it decrements the count; so on a kernel without the
//! defect there is nothing to do here.
//!
//! Not here: everything else about commands ([`super::cmd`]).
//!
//! C source: `drivers/target/target_core_transport.c`.

use crate::bindings;

/// Decrements the count for the command if target core did not.
///
/// Any context; takes the device's `delayed_cmd_lock` with interrupts off.
///
/// # Safety
///
/// `se` must have been passed to `aborted_task()` or `queue_status()`, and that callback must not
/// have handed it on yet: target core does not use the command meanwhile, and still holds its
/// reference on the logical unit, which keeps the device.
pub(super) unsafe fn count_off(se: *mut bindings::se_cmd) {
    const PENDING: u32 = bindings::se_cmd_flags_table_SCF_TASK_ATTR_SET;
    const SYNC: u32 = bindings::se_cmd_flags_table_SCF_TASK_ORDERED_SYNC;

    // SAFETY: By the safety requirements the command exists and nothing changes these fields.
    let (flags, dev, attr) = unsafe {
        (
            (&raw const (*se).se_cmd_flags).read(),
            (&raw const (*se).se_dev).read(),
            (&raw const (*se).sam_task_attr).read(),
        )
    };
    if flags & PENDING == 0 || dev.is_null() {
        return;
    }
    // SAFETY: As above; the task that handles the command may change its flags without a lock, as
    // `transport_complete_task_attr()` does.
    unsafe { (&raw mut (*se).se_cmd_flags).write(flags & !PENDING) };
    if flags & SYNC != 0 {
        // SAFETY: The device exists, by the safety requirements. The command is the one that the
        // device's ordered section belongs to: the flag is set for one at a time, when
        // `ordered_sync_in_progress` is, and `PENDING` proves that it was not ended.
        unsafe { end_ordered(dev) };
    } else if u32::try_from(attr) == Ok(bindings::TCM_SIMPLE_TAG) {
        // SAFETY: The device exists, by the safety requirements. A SIMPLE command that is not
        // `SYNC` got past `target_handle_task_attr()` with a reference on `non_ordered`, and
        // `PENDING` proves that it was not put.
        unsafe { bindings::srpt_non_ordered_put(dev) };
    }
}

/// Ends the ordered section of a device, like `transport_complete_ordered_sync()`.
///
/// # Safety
///
/// `dev` must exist, be in an ordered section, and the caller must be the one to end it.
unsafe fn end_ordered(dev: *mut bindings::se_device) {
    // SAFETY:
    // - The lock is taken and released once; it protects both fields and the list.
    // - `non_ordered` was killed when the first delayed command was queued and has reached zero,
    //   or the ordered section had not begun; it stays dead while the section lasts. So it may be
    //   resurrected, and under the lock nothing else does.
    // - With delayed commands left, their work item is scheduled, which finds the section ended.
    unsafe {
        let flags = bindings::srpt_delayed_cmd_lock(dev);
        let id = &raw mut (*dev).dev_cur_ordered_id;
        id.write(id.read().wrapping_add(1));
        (&raw mut (*dev).ordered_sync_in_progress).write(false);
        if bindings::srpt_delayed_cmd_none(dev) {
            bindings::srpt_non_ordered_resurrect(dev);
        } else {
            bindings::srpt_delayed_cmd_schedule(dev);
        }
        bindings::srpt_delayed_cmd_unlock(dev, flags);
    }
}
