// SPDX-License-Identifier: GPL-2.0

//! The core of iomapfs on the host.
//!
//! The modules below are the files that the kernel module is built from. [`host`] is the store under them: an
//! image file in memory, a simulated journal, faults; and the tools that make and judge images.

#[path = "../../../src/change/mod.rs"]
pub mod change;
#[path = "../../../src/disk/mod.rs"]
pub mod disk;
#[path = "../../../src/inode/mod.rs"]
pub mod inode;
#[path = "../../../src/map/mod.rs"]
pub mod map;
#[path = "../../../src/names/mod.rs"]
pub mod names;
#[path = "../../../src/sort.rs"]
pub mod sort;
#[path = "../../../src/space/mod.rs"]
pub mod space;
#[path = "../../../src/store.rs"]
pub mod store;
#[path = "../../../src/volume/mod.rs"]
pub mod volume;

pub mod host;

/// CRC-32C in the kernel's convention: no inversion before or after.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, bytes)
}
