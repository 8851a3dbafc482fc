// SPDX-License-Identifier: GPL-2.0

//! What leads from the files in `/sys/class/infiniband_srpt/` to what they show and take.
//!
//! Names and modes of the files are declared in `sysfs.c`, because the kernel has macros for that;
//! their contents are in [`super`], their directories in [`crate::sysfs`], which says why the objects
//! behind them exist.

use kernel::prelude::*;

use crate::{
    attr::page::{
        to_ssize,
        Page, //
    },
    bindings::{
        self,
        assert_matches_header, //
    },
    hca::port::HcaPort,
    port::PortAttr,
    srp::machine::stats::{
        Counter,
        Stage,
        COUNTERS,
        REFUSALS,
        STAGES, //
    },
    sysfs::{
        self,
        DirKey, //
    }, //
};

use super::{
    PortFile,
    SessionFile, //
};

// Rust and C number the counters and stages alike.
const _: () = {
    assert!(COUNTERS == bindings::srpt_counter_SRPT_COUNTERS_END as usize);
    assert!(Counter::ReadBytes as u32 == bindings::srpt_counter_SRPT_COUNTER_read_bytes);
    assert!(Counter::Failed as u32 == bindings::srpt_counter_SRPT_COUNTER_failed);
    assert!(Counter::Malformed as u32 == bindings::srpt_counter_SRPT_COUNTER_malformed);
    assert!(Counter::SqFull as u32 == bindings::srpt_counter_SRPT_COUNTER_sq_full);
    assert!(STAGES == bindings::srpt_stage_SRPT_STAGES_END as usize);
    assert!(Stage::Engine as u32 == bindings::srpt_stage_SRPT_STAGE_engine);
    assert!(Stage::Fetch as u32 == bindings::srpt_stage_SRPT_STAGE_fetch);
    assert!(REFUSALS == bindings::srpt_refusal_SRPT_REFUSALS_END as usize);
};

/// How far a number is into a range of files.
fn offset(file: u32, first: u32, len: usize) -> Option<usize> {
    let index = usize::try_from(file.checked_sub(first)?).ok()?;
    (index < len).then_some(index)
}

/// The counter, stage or reason that a file is about.
fn counter(file: u32) -> Option<usize> {
    offset(file, bindings::SRPT_FIRST_COUNTER, COUNTERS)
}

fn stage(file: u32) -> Option<usize> {
    offset(file, bindings::SRPT_FIRST_STAGE, STAGES)
}

/// A file of a port, by its number.
fn port_file(file: u32) -> Option<PortFile> {
    let refusal = offset(file, bindings::SRPT_FIRST_REFUSAL, REFUSALS);
    Some(match file {
        bindings::srpt_file_SRPT_FILE_login_info => PortFile::LoginInfo,
        bindings::srpt_file_SRPT_FILE_login_info_rdma_cm => PortFile::LoginInfoRdmaCm,
        bindings::srpt_file_SRPT_FILE_enabled => PortFile::Enabled,
        bindings::srpt_file_SRPT_FILE_device => PortFile::Device,
        bindings::srpt_file_SRPT_FILE_link_layer => PortFile::LinkLayer,
        bindings::srpt_file_SRPT_FILE_rdma_cm_port => PortFile::RdmaCmPort,
        bindings::srpt_file_SRPT_FILE_login_refused => PortFile::LoginRefused,
        bindings::srpt_file_SRPT_FILE_port_id => PortFile::PortId,
        bindings::srpt_file_SRPT_FILE_comp_v_mask => PortFile::CompVMask,
        bindings::srpt_file_SRPT_FILE_srp_max_rdma_size => PortFile::Attr(PortAttr::MaxRdmaSize),
        bindings::srpt_file_SRPT_FILE_srp_max_rsp_size => PortFile::Attr(PortAttr::MaxRspSize),
        bindings::srpt_file_SRPT_FILE_srp_sq_size => PortFile::Attr(PortAttr::SqSize),
        bindings::srpt_file_SRPT_FILE_use_srq => PortFile::Attr(PortAttr::UseSrq),
        bindings::srpt_file_SRPT_FILE_logins => PortFile::Logins,
        bindings::srpt_file_SRPT_FILE_logins_refused => PortFile::LoginsRefused,
        _ => match (counter(file), stage(file), refusal) {
            (Some(index), _, _) => PortFile::Counter(index),
            (_, Some(index), _) => PortFile::Latency(index),
            (_, _, Some(index)) => PortFile::Refusal(index),
            _ => return None,
        },
    })
}

/// A file of a session, by its number.
fn session_file(file: u32) -> Option<SessionFile> {
    Some(match file {
        bindings::srpt_file_SRPT_FILE_initiator_port_id => SessionFile::InitiatorPortId,
        bindings::srpt_file_SRPT_FILE_peer => SessionFile::Peer,
        bindings::srpt_file_SRPT_FILE_channels => SessionFile::Channels,
        bindings::srpt_file_SRPT_FILE_state => SessionFile::State,
        bindings::srpt_file_SRPT_FILE_req_lim => SessionFile::ReqLim,
        bindings::srpt_file_SRPT_FILE_active => SessionFile::Active,
        bindings::srpt_file_SRPT_FILE_sq_used => SessionFile::SqUsed,
        bindings::srpt_file_SRPT_FILE_comp_vector => SessionFile::CompVector,
        bindings::srpt_file_SRPT_FILE_age => SessionFile::Age,
        _ => match (counter(file), stage(file)) {
            (Some(index), _) => SessionFile::Counter(index),
            (_, Some(index)) => SessionFile::Latency(index),
            _ => return None,
        },
    })
}

assert_matches_header! {
    srpt_port_show,
    srpt_port_store,
    srpt_session_show,
    srpt_session_store,
}

/// Shows a file of a port. Process context, may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`PortDir`], with a zeroed page and the mutex of the open
/// file held.
#[no_mangle]
unsafe extern "C" fn srpt_port_show(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The device is that of a `PortDir`, which is not dropped before nobody is in here any
    // more; see the head of `sysfs.rs`.
    let port = unsafe { sysfs::port_of::<HcaPort>(dev) };
    // SAFETY: The attribute is one of those in `sysfs.c`.
    let file = port_file(unsafe { bindings::srpt_port_file(attr) });
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(buf) };
    let shown = port.zip(file).ok_or(EINVAL);
    to_ssize(
        shown
            .and_then(|(port, file)| super::show_port(port, file, &mut page))
            .map(|()| page.len()),
    )
}

/// Takes a value for a file of a port. Process context, may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`PortDir`], with what was written, NUL-terminated.
#[no_mangle]
unsafe extern "C" fn srpt_port_store(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: As in `srpt_port_show()`.
    let port = unsafe { sysfs::port_of::<HcaPort>(dev) };
    // SAFETY: The attribute is one of those in `sysfs.c`.
    let file = port_file(unsafe { bindings::srpt_port_file(attr) });
    // SAFETY: By the safety requirements.
    let text = unsafe { CStr::from_char_ptr(buf) };
    let taken = port.zip(file).ok_or(EINVAL).and_then(|(port, file)| {
        let text = text.to_str().map_err(|_| EINVAL)?;
        super::store_port(port, file, text)
    });
    to_ssize(taken.map(|()| count))
}

/// Shows a file of a session. Process context, may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`SessionDir`], with a zeroed page and the mutex of the
/// open file held.
#[no_mangle]
unsafe extern "C" fn srpt_session_show(
    kobj: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    buf: *mut c_char,
) -> isize {
    // SAFETY: The attribute is one of those in `sysfs.c`.
    let file = session_file(unsafe { bindings::srpt_session_file(attr) });
    // SAFETY: By the safety requirements.
    let mut page = unsafe { Page::from_raw(buf) };
    let shown = file.ok_or(EINVAL);
    to_ssize(
        shown
            .and_then(|file| super::show_session(DirKey(kobj.addr()), file, &mut page))
            .map(|()| page.len()),
    )
}

/// Takes a value for the one file of a session that can be written, `disconnect`. Process context,
/// may sleep.
///
/// # Safety
///
/// Called by sysfs only, for a file of a [`SessionDir`], with what was written, NUL-terminated.
#[no_mangle]
unsafe extern "C" fn srpt_session_store(
    kobj: *mut bindings::kobject,
    _: *mut bindings::kobj_attribute,
    buf: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: By the safety requirements.
    let text = unsafe { CStr::from_char_ptr(buf) };
    let taken = text
        .to_str()
        .map_err(|_| EINVAL)
        .and_then(|text| super::disconnect(DirKey(kobj.addr()), text));
    to_ssize(taken.map(|()| count))
}
