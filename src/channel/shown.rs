// SPDX-License-Identifier: GPL-2.0

//! The directory of a channel in sysfs.
//!
//! Not here: its files ([`crate::admin`]), and directories in sysfs as such ([`crate::sysfs`]).

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use super::Channel;
use crate::{
    hca::Hca,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    sysfs::{
        DirKey,
        SessionDir, //
    }, //
};

/// The directory of a channel, from the login to the end of tear-down.
#[pin_data]
pub(super) struct Shown {
    #[pin]
    dir: Mutex<Option<SessionDir>>,
    /// Its [`DirKey`], or 0.
    key: Atomic<usize>,
}

impl Shown {
    /// No directory.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            dir <- new_mutex!(None, "Shown::dir"),
            key: Atomic::new(0),
        })
    }
}

impl Channel {
    /// Whether this is the channel that a directory in sysfs stands for.
    pub(crate) fn is_shown_as(&self, key: DirKey) -> bool {
        self.shown.key.load(Relaxed) == key.0
    }

    /// Makes the directory in sysfs. Called once, by the login. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EEXIST`.
    pub(crate) fn show(&self, hca: &Hca<Channel>) -> Result {
        let name = self.id.dir_name();
        let dir = hca.session_dir(self.id.hca_port.number(), name.as_c_str())?;
        let key = &self.shown.key;
        key.store(dir.key().0, Relaxed);
        dir.fill().inspect_err(|_| key.store(0, Relaxed))?;
        *self.shown.dir.lock() = Some(dir);
        Ok(())
    }

    /// Removes the directory in sysfs, and waits for the functions of its files. Called by
    /// tear-down.
    pub(super) fn hide(&self) {
        // The directory's address may be that of another channel's soon.
        self.shown.key.store(0, Relaxed);
        let dir = self.shown.dir.lock().take();
        drop(dir);
    }
}
