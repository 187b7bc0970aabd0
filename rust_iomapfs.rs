// SPDX-License-Identifier: GPL-2.0

//! iomapfs: a filesystem with ext4's on-disk format, all of whose file I/O goes through iomap.
//!
//! # Rooms
//!
//! | room | what is in it |
//! |---|---|
//! | [`linux`] | wrappers of C interfaces that the `kernel` crate lacks; the only `unsafe` |
//! | [`disk`] | the on-disk format: one file a structure, checksums; no I/O, no locks |
//! | [`sort`] | sorting without a panic path |
//! | [`store`] | the interface of the core to metadata blocks and transactions |
//! | [`volume`] | what all rooms of the core share of a mounted file system |
//! | [`space`] | which blocks and inodes are free, and who gets them |
//! | [`map`] | file offset to device block: extent tree, extent cache, reservations, pending writes |
//! | [`inode`] | an inode in memory: read from the inode table, checked, written back |
//! | [`names`] | directories: linear and hashed |
//! | [`change`] | what is done to a file system: each operation in its transactions |
//! | [`ops`] | the operation tables that the VFS and iomap call: mount, inodes, files, page cache, journal |
//!
//! The rooms other than `linux` and `ops` are the *core*: they build on the host too, where they are
//! simulated and tested (`tools/`).
//!
//! `ARCHITECTURE.md` has the map with its arrows, the stages of an inode, the laws and all locks with their order.

// The core is a library on the host, where `pub` is the right word.
#![allow(unreachable_pub)]

// For a kernel whose `kernel` crate lacks names: that crate and these under its name (see `linux/compat.rs`).
#[cfg(not(has_error_codes))]
extern crate kernel as kernel_of_tree;
#[cfg(not(has_error_codes))]
extern crate self as kernel;
#[cfg(not(has_error_codes))]
pub use linux::compat::kernel_crate::*;

#[path = "src/change/mod.rs"]
mod change;
#[path = "src/disk/mod.rs"]
mod disk;
#[path = "src/inode/mod.rs"]
mod inode;
#[path = "src/linux/mod.rs"]
mod linux;
#[path = "src/map/mod.rs"]
mod map;
#[path = "src/names/mod.rs"]
mod names;
#[path = "src/ops/mod.rs"]
mod ops;
#[path = "src/sort.rs"]
mod sort;
#[path = "src/space/mod.rs"]
mod space;
#[path = "src/store.rs"]
mod store;
#[path = "src/volume/mod.rs"]
mod volume;

use linux::crc32c;

linux::compat::module! {
    type: Iomapfs,
    name: "iomapfs",
    authors: ["The iomapfs authors"],
    description: "ext4-format filesystem in Rust on iomap",
    license: "GPL",
    alias: ["fs-iomapfs"],
}

/// The module.
type Iomapfs = linux::fs::Module<ops::Fs>;
