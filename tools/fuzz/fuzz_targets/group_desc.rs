// SPDX-License-Identifier: GPL-2.0

//! The target "group_desc" for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iomapfs_fuzz::parsers::run("group_desc", data));
