// SPDX-License-Identifier: GPL-2.0

//! Files in configfs and sysfs: tables of typed attributes, and what all their callbacks share.
//!
//! A directory with files is a [`Table`] of [`Attr`]s. An entry of the table is a file: name, mode,
//! unit, what it shows, what it takes. Nothing else has to be written for a new file. Where the tables
//! are: [`crate::engine`] (LIO: configfs, SCST: its directories in sysfs) and [`crate::admin`]
//! (`/sys/class/infiniband_srpt/`).
//!
//! Which C object stands for a directory, and how to get from it to the Rust object that its files
//! are about, says the directory's [`Kind`]. What C wants to see (`struct configfs_attribute`,
//! `struct device_attribute`, `struct kobj_attribute`, lists and groups of them) is made of the
//! tables while compiling, in [`abi`]; so are the functions that C calls. Page, numbers and error
//! numbers are in [`page`].
//!
//! Not here: directories in sysfs as such ([`crate::sysfs`]), module parameters
//! ([`crate::params`]).

use kernel::{
    ffi::c_char,
    prelude::*, //
};

use crate::bindings;

pub(crate) mod abi;
pub(crate) mod page;

use page::{
    to_ssize,
    Page, //
};

/// Mode of a file that cannot be written.
const MODE_RO: bindings::umode_t = 0o444;
/// Mode of a file that can be read and written.
const MODE_RW: bindings::umode_t = 0o644;
/// Mode of a file that cannot be read.
const MODE_WO: bindings::umode_t = 0o200;

/// What the number in a file counts. The documents say so with the same word; `tests/docs` compares.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// No number, or one that counts nothing.
    Text,
    /// 0 or 1.
    Flag,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// SCSI commands.
    Commands,
    /// Information units that ask for something, or the right to send one.
    Requests,
    /// Information units.
    Units,
    /// Transfers of data or responses.
    Transfers,
    /// Entries of the send queue.
    Entries,
    /// Channels.
    Channels,
    /// Logins.
    Logins,
    /// Completion vectors.
    Vector,
    /// Port number of a transport protocol.
    PortNumber,
}

/// What shows a file.
enum Show<T: 'static> {
    /// It cannot be read.
    Nothing,
    /// A function of its own.
    This(fn(&T, &mut Page<'_>) -> Result),
    /// A function for several files, which is told the number of this one.
    Nth(fn(&T, usize, &mut Page<'_>) -> Result, usize),
}

/// A file about a `T`.
///
/// All functions are called in process context, may sleep, and must not wait for the removal of the
/// directory. A function that shows writes the whole content, the newline included; one that takes
/// gets what was written, up to a NUL, newline included.
pub(crate) struct Attr<T: 'static> {
    name: &'static CStr,
    #[expect(dead_code, reason = "for readers and for tests/docs")]
    unit: Unit,
    mode: bindings::umode_t,
    show: Show<T>,
    store: Option<fn(&T, &str) -> Result>,
}

impl<T> Attr<T> {
    /// A file that can be read.
    pub(crate) const fn ro(
        name: &'static CStr,
        unit: Unit,
        show: fn(&T, &mut Page<'_>) -> Result,
    ) -> Self {
        Self {
            name,
            unit,
            mode: MODE_RO,
            show: Show::This(show),
            store: None,
        }
    }

    /// A file that can be read, by a function for several files.
    pub(crate) const fn nth(
        name: &'static CStr,
        unit: Unit,
        show: fn(&T, usize, &mut Page<'_>) -> Result,
        number: usize,
    ) -> Self {
        Self {
            name,
            unit,
            mode: MODE_RO,
            show: Show::Nth(show, number),
            store: None,
        }
    }

    /// A file that can be read and written.
    pub(crate) const fn rw(
        name: &'static CStr,
        unit: Unit,
        show: fn(&T, &mut Page<'_>) -> Result,
        store: fn(&T, &str) -> Result,
    ) -> Self {
        Self {
            name,
            unit,
            mode: MODE_RW,
            show: Show::This(show),
            store: Some(store),
        }
    }

    /// A file that can be written.
    pub(crate) const fn wo(name: &'static CStr, unit: Unit, store: fn(&T, &str) -> Result) -> Self {
        Self {
            name,
            unit,
            mode: MODE_WO,
            show: Show::Nothing,
            store: Some(store),
        }
    }

    /// Whether it can be read.
    const fn shows(&self) -> bool {
        !matches!(self.show, Show::Nothing)
    }

    /// Whether it can be written.
    const fn stores(&self) -> bool {
        self.store.is_some()
    }
}

/// A kind of directory: the C object that stands for it, and the object its files are about.
pub(crate) trait Kind: 'static {
    /// What C passes to the callbacks: a `struct config_item`, `struct device` or `struct kobject`.
    type Raw;
    /// What the files are about.
    type Object: 'static;

    /// Calls `f` with the object that a directory stands for. Process context, may sleep.
    ///
    /// # Safety
    ///
    /// `raw` must be what C passes to the callbacks of the files of a directory of this kind, and
    /// the directory must exist until this function has returned.
    ///
    /// # Errors
    ///
    /// What `f` returns, or that the object is not there.
    unsafe fn with<R>(raw: *mut Self::Raw, f: impl FnOnce(&Self::Object) -> Result<R>)
        -> Result<R>;
}

/// What the files of a table are about.
type Object<T> = <<T as Table>::Kind as Kind>::Object;

/// The files of a directory.
pub(crate) trait Table: 'static {
    /// Which kind of directory it is.
    type Kind: Kind;
    /// Name of a directory below that of the [`Kind`], in which the files are. In sysfs only.
    const GROUP: Option<&'static CStr> = None;
    /// Files that other tables have, too.
    const SHARED: &'static [Attr<Object<Self>>] = &[];
    /// The other files.
    const FILES: &'static [Attr<Object<Self>>];
}

/// The file with this number in a table, from 0.
const fn nth<T: Table>(index: usize) -> Option<&'static Attr<Object<T>>> {
    let shared = T::SHARED.len();
    if index < shared {
        return Some(&T::SHARED[index]);
    }
    let index = index - shared;
    if index < T::FILES.len() {
        Some(&T::FILES[index])
    } else {
        None
    }
}

/// Shows a file: what all callbacks for that do. Returns how many bytes, or a negative error number.
/// Process context, may sleep.
///
/// # Safety
///
/// As for [`Kind::with`]; `page` must be a zeroed page that nobody else uses meanwhile.
unsafe fn show<K: Kind>(raw: *mut K::Raw, attr: &Attr<K::Object>, page: *mut c_char) -> isize {
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(page) };
    let write = |object: &K::Object| match attr.show {
        Show::Nothing => Err(EIO),
        Show::This(show) => show(object, &mut page),
        Show::Nth(show, number) => show(object, number, &mut page),
    };
    // SAFETY: By the safety requirements.
    let shown = unsafe { K::with(raw, write) };
    to_ssize(shown.map(|()| page.len()))
}

/// Takes what was written to a file: what all callbacks for that do. Returns `count`, or a negative
/// error number: `EINVAL` for what is not UTF-8. Process context, may sleep.
///
/// # Safety
///
/// As for [`Kind::with`]; `text` must be NUL-terminated and not change meanwhile.
unsafe fn store<K: Kind>(
    raw: *mut K::Raw,
    attr: &Attr<K::Object>,
    text: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: By the safety requirements.
    let text = unsafe { CStr::from_char_ptr(text) };
    let take = |object: &K::Object| {
        let store = attr.store.ok_or(EIO)?;
        store(object, text.to_str().map_err(|_| EINVAL)?)
    };
    // SAFETY: By the safety requirements.
    let taken = unsafe { K::with(raw, take) };
    to_ssize(taken.map(|()| count))
}
