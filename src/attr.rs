// SPDX-License-Identifier: GPL-2.0

//! Files in configfs and sysfs: tables of typed attributes, and the code common to their callbacks.
//!
//! A directory with files is a [`Table`] of [`Attr`]s. An entry of the table is a file: name, mode,
//! unit, and functions that show and store its content. A new file needs nothing else. The tables
//! are in [`crate::engine`] (LIO: configfs, SCST: its directories in sysfs) and [`crate::admin`]
//! (`/sys/class/infiniband_srpt/`).
//!
//! The [`Kind`] of a directory defines the C object that represents it, and the way from that to
//! the Rust object behind its files. The C structures (`struct configfs_attribute`, `struct
//! device_attribute`, `struct kobj_attribute`, lists and groups of them) and the C callbacks are
//! generated from the tables at compile time, in [`abi`]. Page, numbers and error codes are in
//! [`page`].
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

/// Unit of the number in a file. The documents use the same word; `tests/docs` compares.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// No number, or one without a unit.
    Text,
    /// 0 or 1.
    Flag,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// SCSI commands.
    Commands,
    /// Requests: information units that require a response; credits, too.
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

/// Function that shows a file.
enum Show<T: 'static> {
    /// It cannot be read.
    Nothing,
    /// A function of this file only.
    This(fn(&T, &mut Page<'_>) -> Result),
    /// A function for several files, and the number of this file, which is passed to it.
    Nth(fn(&T, usize, &mut Page<'_>) -> Result, usize),
}

/// A file of a `T`.
///
/// All functions are called in process context, may sleep, and must not wait for the removal of the
/// directory. A `show` function writes the whole content, including the newline; a `store` function
/// gets the written text up to a NUL, including the newline.
pub(crate) struct Attr<T: 'static> {
    name: &'static CStr,
    #[expect(dead_code, reason = "for readers and for tests/docs")]
    unit: Unit,
    mode: bindings::umode_t,
    show: Show<T>,
    store: Option<fn(&T, &str) -> Result>,
}

impl<T> Attr<T> {
    /// Returns a read-only file.
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

    /// Returns a read-only file with a function for several files.
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

    /// Returns a file that can be read and written.
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

    /// Returns a write-only file.
    pub(crate) const fn wo(name: &'static CStr, unit: Unit, store: fn(&T, &str) -> Result) -> Self {
        Self {
            name,
            unit,
            mode: MODE_WO,
            show: Show::Nothing,
            store: Some(store),
        }
    }

    /// Returns whether the file can be read.
    const fn shows(&self) -> bool {
        !matches!(self.show, Show::Nothing)
    }

    /// Returns whether the file can be written.
    const fn stores(&self) -> bool {
        self.store.is_some()
    }
}

/// A kind of directory: the C object that represents it, and the object behind its files.
pub(crate) trait Kind: 'static {
    /// C object passed to the callbacks: `struct config_item`, `struct device` or `struct kobject`.
    type Raw;
    /// Object behind the files.
    type Object: 'static;

    /// Calls `f` with the object behind a directory. Process context, may sleep.
    ///
    /// # Safety
    ///
    /// `raw` must be the C object passed to the callbacks of the files of a directory of this kind,
    /// and the directory must exist until this function has returned.
    ///
    /// # Errors
    ///
    /// That of `f`, or another if the object does not exist.
    unsafe fn with<R>(raw: *mut Self::Raw, f: impl FnOnce(&Self::Object) -> Result<R>)
        -> Result<R>;
}

/// Object behind the files of a table.
type Object<T> = <<T as Table>::Kind as Kind>::Object;

/// The files of a directory.
pub(crate) trait Table: 'static {
    /// Kind of the directory.
    type Kind: Kind;
    /// Name of a subdirectory of the [`Kind`]'s directory that contains the files. In sysfs only.
    const GROUP: Option<&'static CStr> = None;
    /// Files in common with other tables.
    const SHARED: &'static [Attr<Object<Self>>] = &[];
    /// The other files.
    const FILES: &'static [Attr<Object<Self>>];
}

/// Returns the file with this number in a table, from 0; [`None`] if the number is out of range.
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

/// Implements all `show` callbacks. Returns the number of bytes, or a negative error code. Process
/// context, may sleep.
///
/// # Safety
///
/// As for [`Kind::with`]; `page` must be a zeroed page without concurrent users.
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

/// Implements all `store` callbacks. Returns `count`, or a negative error code: `EINVAL` if the
/// text is not UTF-8. Process context, may sleep.
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
