// SPDX-License-Identifier: GPL-2.0

//! The target "bitmap" for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iomapfs_fuzz::parsers::run("bitmap", data));
