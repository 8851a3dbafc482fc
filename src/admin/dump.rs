// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/ib_srpt/channels`: every channel, and every command in use, with its state
//! and age. For debugging; the format may change.
//!
//! Each channel and each command is locked by itself, for a moment only, so that the file can be
//! read under any load; the lines are therefore not a consistent snapshot.
//!
//! Not here: files with a stable format ([`super::files`]).

use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*, //
};

use crate::{
    channel::{
        list,
        Channel, //
    },
    link::Owner, //
};

/// The directory in debugfs; dropping it removes it and waits for running reads. If debugfs is not
/// available nothing is created, without an error.
pub(crate) struct Debugfs {
    _channels: Pin<KBox<File<()>>>,
}

impl Debugfs {
    /// Creates the directory. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let dir = Dir::new(c"ib_srpt");
        let channels = KBox::pin_init(
            dir.read_callback_file(c"channels", (), &|(): &(), f: &mut fmt::Formatter<'_>| {
                channels(f)
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _channels: channels,
        })
    }
}

/// Writes the file. Process context, may sleep.
fn channels(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Ok(channels) = list::all() else {
        return writeln!(f, "out of memory");
    };
    for channel in channels.iter() {
        describe(channel, f)?;
    }
    Ok(())
}

/// Writes the lines of one channel.
fn describe(channel: &Channel, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let view = channel.view();
    writeln!(
        f,
        "channel {} of {} from {}: {}, {} s, req_lim {}, active {}, sq_used {}, held {}, busy {}",
        channel.serial(),
        channel.initiator_port(),
        channel.peer(),
        view.state,
        channel.age_ms() / 1000,
        view.req_lim,
        view.active,
        view.sq_used,
        view.held,
        view.busy
    )?;
    let mut index = 0;
    // One at a time: nothing can be allocated or written to a file with the lock held.
    while let Some(cmd) = channel.command_view(index) {
        index += 1;
        if let Some(cmd) = cmd {
            let place = if cmd.at_engine { "engine" } else { "target" };
            writeln!(
                f,
                "  {} tag 0x{:016x}: {:?}, {} ms, answered by the {}",
                if cmd.is_scsi { "command" } else { "request" },
                cmd.tag,
                cmd.state,
                cmd.age_ms,
                place
            )?;
        }
    }
    Ok(())
}
