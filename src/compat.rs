// SPDX-License-Identifier: GPL-2.0

//! Differences between the supported kernel series.
//!
//! This is the only file that depends on the series (`srpt_kernel`, see `Kbuild`), which `make
//! style` checks. Series before 7.2 are treated like 7.2 and later ones like 7.3, so that kernels
//! can be tried that are not supported.
//!
//! The rest of this module uses only those parts of the kernel crate that all series have. Known
//! differences:
//!
//! - error codes: 7.2 has those of `errno-base.h` and few others, not `ESHUTDOWN` for example;
//! - `KVVec::zeroed` came with 7.3; `KVVec::from_elem` is in both;
//! - `{:p}` prints a hash of the address since 7.3 and the address itself before: do not use it.
//!
//! Not here: differences between RDMA headers, which are in `shims.c` (`bindings/probes` finds
//! them).

use kernel::ffi::c_void;

/// Returns `THIS_MODULE`, for tables with an owner that C code reads.
#[allow(dead_code, reason = "not every engine has such tables")]
pub(crate) const fn this_module() -> *mut c_void {
    #[cfg(MODULE)]
    {
        extern "C" {
            /// First byte of the module's `struct module`; only its address is used.
            static __this_module: u8;
        }
        (&raw const __this_module).cast_mut().cast()
    }
    #[cfg(not(MODULE))]
    core::ptr::null_mut()
}

/// Reads a limit in `struct ib_device_attr`: `int` in 7.2, `u32` since 7.3.
///
/// A negative value is meaningless and counts as 0: the device has nothing of the kind.
pub(crate) fn device_limit<T>(limit: T) -> u32
where
    u32: TryFrom<T>,
{
    u32::try_from(limit).unwrap_or(0)
}

/// Place expression of the member `show` or `store` of a `struct kobj_attribute`: in an anonymous
/// union since 7.3.
#[cfg(not(any(srpt_kernel = "7.0", srpt_kernel = "7.1", srpt_kernel = "7.2")))]
macro_rules! kobj_attribute_fn {
    ($attribute:ident.show) => {
        $attribute.__bindgen_show.show
    };
    ($attribute:ident.store) => {
        $attribute.__bindgen_store.store
    };
}
#[cfg(any(srpt_kernel = "7.0", srpt_kernel = "7.1", srpt_kernel = "7.2"))]
macro_rules! kobj_attribute_fn {
    ($attribute:ident.$name:ident) => {
        $attribute.$name
    };
}
pub(crate) use kobj_attribute_fn;
