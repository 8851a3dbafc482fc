// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/ib_srpt/channels`: every channel, and every command in use, with its state and
//! age. For people; the format may change.
//!
//! Each channel and each command is looked at by itself, with its own lock held for a moment, so
//! that the file may be read whatever is going on; the lines are not from one and the same moment.

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

/// The directory in debugfs; dropping it removes it and waits for those who read. Without debugfs
/// there is none, and nothing fails.
pub(crate) struct Debugfs {
    _channels: Pin<KBox<File<()>>>,
}

impl Debugfs {
    /// Makes the directory. May sleep.
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
    // One at a time: nothing can be allocated, and nothing printed, with the lock held.
    while let Some(cmd) = channel.command(index) {
        index += 1;
        if let Some(cmd) = cmd.view() {
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
