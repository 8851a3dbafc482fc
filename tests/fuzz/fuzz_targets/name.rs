// SPDX-License-Identifier: GPL-2.0
//! See `srpt_fuzz::name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srpt_fuzz::name(data));
