// SPDX-License-Identifier: GPL-2.0

//! What is under the core on the host: images, and a store over them.

mod device;
mod image;
mod mount;
mod node;
mod pages;
mod store;

pub use device::Device;
pub use image::{describe, Image, Mkfs};
pub use mount::{load, mount, Mounted, Refused, ShownChange};
pub use node::{MapLock, NewNode, Node, Ready};
pub use pages::Pages;
pub use store::{Commit, HostStore, NewWrite, Raw, Restart, Tx, MAX_CREDITS};

use crate::disk::inode::DiskTime;
use crate::inode::Attrs;

/// The attributes of a new inode of this type and mode, of an ordinary user, with all times the same.
pub fn new_attrs(mode: u16, nlink: u32) -> Attrs {
    let now = DiskTime {
        sec: 1_700_000_000,
        nsec: 5,
    };
    Attrs {
        mode,
        uid: 1000,
        gid: 70000,
        nlink,
        rdev: 0,
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        version: 1,
        project: 0,
    }
}
