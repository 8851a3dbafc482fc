// SPDX-License-Identifier: GPL-2.0

//! Tables of files as C structures, and the C callbacks.
//!
//! There are three types of files: `struct configfs_attribute`, `struct device_attribute` and
//! `struct kobj_attribute`. Each type has a `show()` and a `store()`, and NULL-terminated lists of
//! attributes; for sysfs there are groups of lists, too. All of it is constant: C gets mutable
//! pointers, because the members of its structures are declared so, but does not write through
//! them.
//!
//! Every file of a table has its own C object, made of the table and the file's number. This works
//! for tables of generic types as well.
//!
//! Not here: the tables, and the code common to the callbacks ([`super`]).
//!
//! C headers: [`include/linux/configfs.h`](srctree/include/linux/configfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h),
//! [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use core::{
    marker::PhantomData,
    ptr, //
};

use kernel::{
    ffi::c_char,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

use super::{
    nth,
    show,
    store,
    Attr,
    Kind,
    Object,
    Table, //
};
use crate::{
    bindings,
    compat::{
        kobj_attribute_fn,
        this_module, //
    }, //
};

/// Largest number of files of a table.
const MOST: usize = 16;

/// Fails constant evaluation, and so the build, if a table has more than [`MOST`] files.
const fn check<T: Table>() {
    assert!(
        T::SHARED.len() + T::FILES.len() <= MOST,
        "a table has more files than MOST; see list!"
    );
}

/// List of the C objects of a table's files. The rest is NULL.
macro_rules! list {
    ($file:ident, $table:ty) => {
        [
            $file::<$table, 0>::RAW,
            $file::<$table, 1>::RAW,
            $file::<$table, 2>::RAW,
            $file::<$table, 3>::RAW,
            $file::<$table, 4>::RAW,
            $file::<$table, 5>::RAW,
            $file::<$table, 6>::RAW,
            $file::<$table, 7>::RAW,
            $file::<$table, 8>::RAW,
            $file::<$table, 9>::RAW,
            $file::<$table, 10>::RAW,
            $file::<$table, 11>::RAW,
            $file::<$table, 12>::RAW,
            $file::<$table, 13>::RAW,
            $file::<$table, 14>::RAW,
            $file::<$table, 15>::RAW,
            ptr::null_mut(),
        ]
    };
}

/// A file in configfs, by its number in a table.
struct ItemFile<T, const N: usize>(PhantomData<T>);

impl<T, const N: usize> ItemFile<T, N>
where
    T: Table,
    T::Kind: Kind<Raw = bindings::config_item>,
{
    /// The C object; [`None`] if the table has fewer files.
    const C: &'static Option<bindings::configfs_attribute> = &match nth::<T>(N) {
        Some(attr) => Some(bindings::configfs_attribute {
            ca_name: as_char_ptr_in_const_context(attr.name),
            ca_owner: this_module().cast(),
            ca_mode: attr.mode,
            show: if attr.shows() {
                Some(show_item::<T, N>)
            } else {
                None
            },
            store: if attr.stores() {
                Some(store_item::<T, N>)
            } else {
                None
            },
            ..pin_init::zeroed()
        }),
        None => None,
    };

    /// A pointer to it, or NULL.
    const RAW: *mut bindings::configfs_attribute = match Self::C {
        Some(c) => (&raw const *c).cast_mut(),
        None => ptr::null_mut(),
    };
}

/// `show()` of a `struct configfs_attribute`. Process context, may sleep.
///
/// # Safety
///
/// Called by configfs only, for a file of the list that [`configfs_list`] makes of this table.
unsafe extern "C" fn show_item<T, const N: usize>(
    item: *mut bindings::config_item,
    page: *mut c_char,
) -> isize
where
    T: Table,
    T::Kind: Kind<Raw = bindings::config_item>,
{
    let Some(attr) = nth::<T>(N) else {
        return 0;
    };
    // SAFETY: By the safety requirements the item is of this kind. `fill_read_buffer()` holds the
    // semaphore that configfs' removal of the directory takes, and the mutex of the open file; it
    // passes a zeroed page.
    unsafe { show::<T::Kind>(item, attr, page) }
}

/// `store()` of a `struct configfs_attribute`. Process context, may sleep.
///
/// # Safety
///
/// As for [`show_item`].
unsafe extern "C" fn store_item<T, const N: usize>(
    item: *mut bindings::config_item,
    page: *const c_char,
    count: usize,
) -> isize
where
    T: Table,
    T::Kind: Kind<Raw = bindings::config_item>,
{
    let Some(attr) = nth::<T>(N) else {
        return 0;
    };
    // SAFETY: As in `show_item()`, but for `flush_write_buffer()`. `fill_write_buffer()` appends a
    // NUL to the copied bytes; the mutex of the open file is held.
    unsafe { store::<T::Kind>(item, attr, page, count) }
}

/// List of a table's files in configfs.
struct ItemList<T>(PhantomData<T>);

impl<T> ItemList<T>
where
    T: Table,
    T::Kind: Kind<Raw = bindings::config_item>,
{
    const CHECK: () = check::<T>();
    const LIST: &'static [*mut bindings::configfs_attribute; MOST + 1] = &list!(ItemFile, T);
}

/// Returns the files of a directory in configfs: a NULL-terminated list. It is constant.
///
/// # Safety
///
/// It must be given to configfs for directories of the table's kind only.
#[allow(dead_code, reason = "not every engine has files in configfs")]
pub(crate) const unsafe fn configfs_list<T>() -> *mut *mut bindings::configfs_attribute
where
    T: Table,
    T::Kind: Kind<Raw = bindings::config_item>,
{
    let () = ItemList::<T>::CHECK;
    ItemList::<T>::LIST.as_ptr().cast_mut()
}

/// A C object of a file in sysfs, followed by the entry of the table, for the callbacks.
#[repr(C)]
struct Entry<C, O: 'static> {
    c: C,
    attr: &'static Attr<O>,
}

/// Returns the common beginning of a C object in sysfs.
const fn attribute<O>(attr: &Attr<O>) -> bindings::attribute {
    let mut attribute: bindings::attribute = pin_init::zeroed();
    attribute.name = as_char_ptr_in_const_context(attr.name);
    attribute.mode = attr.mode;
    attribute
}

/// Returns the group of a directory's files in sysfs, or of those in a subdirectory.
const fn group(
    name: Option<&'static CStr>,
    list: *mut *mut bindings::attribute,
) -> bindings::attribute_group {
    let mut group: bindings::attribute_group = pin_init::zeroed();
    if let Some(name) = name {
        group.name = as_char_ptr_in_const_context(name);
    }
    group.__bindgen_attrs.attrs = list;
    group
}

/// The function `show` or `store` of a `struct device_attribute`.
macro_rules! device_attribute_fn {
    ($attribute:ident.show) => {
        $attribute.__bindgen_show.show
    };
    ($attribute:ident.store) => {
        $attribute.__bindgen_store.store
    };
}

/// Defines the items for a type of files in sysfs. The two types differ in the C types only.
macro_rules! sysfs_shape {
    (
        $raw:ident, $attribute:ident, $fn:ident: $file:ident, $list:ident, $show:ident, $store:ident
    ) => {
        /// A file in sysfs, by its number in a table.
        struct $file<T, const N: usize>(PhantomData<T>);

        impl<T, const N: usize> $file<T, N>
        where
            T: Table,
            T::Kind: Kind<Raw = bindings::$raw>,
        {
            /// The C object; [`None`] if the table has fewer files.
            const C: &'static Option<Entry<bindings::$attribute, Object<T>>> = &match nth::<T>(N) {
                Some(attr) => {
                    let mut c: bindings::$attribute = pin_init::zeroed();
                    c.attr = attribute(attr);
                    if attr.shows() {
                        $fn!(c.show) = Some($show::<T::Kind>);
                    }
                    if attr.stores() {
                        $fn!(c.store) = Some($store::<T::Kind>);
                    }
                    Some(Entry { c, attr })
                }
                None => None,
            };

            /// A pointer to it, or NULL.
            const RAW: *mut bindings::attribute = match Self::C {
                // `attr` is the first member of `c`, which is the first member of `Entry`.
                Some(entry) => (&raw const *entry).cast_mut().cast(),
                None => ptr::null_mut(),
            };
        }

        #[doc = concat!("`show()` of a `struct ", stringify!($attribute), "`.")]
        /// Process context, may sleep.
        ///
        /// # Safety
        ///
        /// Called by sysfs only, for a file of a list made here of a table of this kind.
        unsafe extern "C" fn $show<K: Kind<Raw = bindings::$raw>>(
            raw: *mut bindings::$raw,
            attr: *mut bindings::$attribute,
            buf: *mut c_char,
        ) -> isize {
            // SAFETY: By the safety requirements, the attribute is the beginning of an `Entry`.
            let entry = unsafe { &*attr.cast::<Entry<bindings::$attribute, K::Object>>() };
            // SAFETY: By the safety requirements, the directory is of this kind, and
            // `kernfs_drain()` waits for this function before the directory is removed.
            // `sysfs_kf_seq_show()` passes a zeroed page, with the mutex of the open file held.
            unsafe { show::<K>(raw, entry.attr, buf) }
        }

        #[doc = concat!("`store()` of a `struct ", stringify!($attribute), "`.")]
        /// Process context, may sleep.
        ///
        /// # Safety
        ///
        /// As for the function above.
        unsafe extern "C" fn $store<K: Kind<Raw = bindings::$raw>>(
            raw: *mut bindings::$raw,
            attr: *mut bindings::$attribute,
            buf: *const c_char,
            count: usize,
        ) -> isize {
            // SAFETY: By the safety requirements, the attribute is the beginning of an `Entry`.
            let entry = unsafe { &*attr.cast::<Entry<bindings::$attribute, K::Object>>() };
            // SAFETY: As in the function above. `kernfs_fop_write_iter()` terminates the copied
            // text with a NUL, and holds the mutex of the open file around `sysfs_kf_write()`.
            unsafe { store::<K>(raw, entry.attr, buf, count) }
        }

        /// List of the files of a table in sysfs.
        struct $list<T>(PhantomData<T>);

        impl<T> $list<T>
        where
            T: Table,
            T::Kind: Kind<Raw = bindings::$raw>,
        {
            const CHECK: () = check::<T>();
            const LIST: &'static [*mut bindings::attribute; MOST + 1] = &list!($file, T);
            const GROUP: &'static bindings::attribute_group =
                &group(T::GROUP, Self::LIST.as_ptr().cast_mut());
        }
    };
}

sysfs_shape! {
    device, device_attribute, device_attribute_fn:
    DeviceFile, DeviceList, show_device, store_device
}
sysfs_shape! {
    kobject, kobj_attribute, kobj_attribute_fn:
    KobjectFile, KobjectList, show_kobject, store_kobject
}

/// Returns the files of a directory in sysfs that is a kobject: a NULL-terminated list. It is
/// constant.
///
/// # Safety
///
/// It must be given to sysfs for directories of the table's kind only.
#[allow(dead_code, reason = "not every engine has files in sysfs")]
pub(crate) const unsafe fn kobject_list<T>() -> *mut *const bindings::attribute
where
    T: Table,
    T::Kind: Kind<Raw = bindings::kobject>,
{
    let () = KobjectList::<T>::CHECK;
    KobjectList::<T>::LIST.as_ptr().cast_mut().cast()
}

/// The files of a table, for directories of one kind: `struct attribute_group`.
#[repr(transparent)]
pub(crate) struct Group<K>(Option<&'static bindings::attribute_group>, PhantomData<K>);

impl<K: Kind> Group<K> {
    /// The end of a list of groups.
    pub(crate) const END: Self = Self(None, PhantomData);
}

impl<K: Kind<Raw = bindings::device>> Group<K> {
    /// Returns the files of a table, for directories that are devices.
    pub(crate) const fn of_device<T: Table<Kind = K>>() -> Self {
        let () = DeviceList::<T>::CHECK;
        Self(Some(DeviceList::<T>::GROUP), PhantomData)
    }
}

impl<K: Kind<Raw = bindings::kobject>> Group<K> {
    /// Returns the files of a table, for directories that are kobjects.
    pub(crate) const fn of_kobject<T: Table<Kind = K>>() -> Self {
        let () = KobjectList::<T>::CHECK;
        Self(Some(KobjectList::<T>::GROUP), PhantomData)
    }
}

/// All files of directories of one kind in sysfs.
///
/// # Invariants
///
/// The last group is [`Group::END`].
pub(crate) struct Groups<K: 'static>(&'static [Group<K>]);

impl<K: Kind> Groups<K> {
    /// Returns the files of these groups; the last one must be [`Group::END`], which is checked at
    /// compile time.
    pub(crate) const fn new(groups: &'static [Group<K>]) -> Self {
        assert!(
            matches!(groups, [.., Group(None, _)]),
            "a list of groups ends with Group::END"
        );
        // INVARIANT: Checked just above.
        Self(groups)
    }

    /// Returns the list for C: NULL-terminated and constant.
    pub(crate) const fn as_raw(&self) -> *mut *const bindings::attribute_group {
        self.0.as_ptr().cast_mut().cast()
    }
}
