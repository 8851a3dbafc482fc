// SPDX-License-Identifier: GPL-2.0
//! See `srpt_fuzz::response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| srpt_fuzz::response(data));
