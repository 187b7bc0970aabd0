// SPDX-License-Identifier: GPL-2.0

//! What is under the core on the host: images, and a store over them.

mod device;
mod image;
mod node;
mod store;

pub use device::Device;
pub use image::{describe, Image, Mkfs};
pub use node::{MapLock, Mounted, NewNode, Node, Published, Ready};
pub use store::{Commit, HostStore, Raw, Restart, Tx};

use crate::disk::inode::Time;
use crate::inode::Attrs;
use crate::space::Space;
use crate::volume::Volume;

/// Mounts an image for writing.
///
/// # Panics
///
/// Where it cannot be mounted.
#[track_caller]
pub fn mount(image: &Image) -> Volume<HostStore> {
    let layout = image.layout(false).unwrap_or_else(|e| panic!("{e}"));
    let store = HostStore::open(image.path(), layout.block_size().bytes())
        .expect("image file cannot be read");
    match Space::load(&store, &layout) {
        Ok(space) => Volume {
            store,
            layout,
            space,
        },
        Err(e) => panic!("{e:?}: {:?}", store.take_reports()),
    }
}

/// The attributes of a new inode of this type and mode, of an ordinary user, with all times the same.
pub fn new_attrs(mode: u16, nlink: u32) -> Attrs {
    let now = Time {
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
    }
}
