// SPDX-License-Identifier: GPL-2.0

//! How files are found by handles, and what was done by them made durable.

use super::inode::read;
use super::{durable, Fs, Node, SuperBlock};
use crate::change::Dir;
use crate::disk::Ino;
use crate::linux::exportfs::Handles;
use crate::linux::inode::InodeRef;
use crate::names;
use kernel::prelude::*;

impl Handles for Fs {
    fn find_handle(
        sb: &SuperBlock,
        number: u64,
        generation: Option<u32>,
    ) -> Result<InodeRef<'_, Fs>> {
        let volume = &sb.data().mounted.volume;
        let ino = u32::try_from(number).ok().and_then(Ino::new);
        let ino = ino
            .filter(|ino| volume.layout.is_user_ino(*ino))
            .ok_or(ESTALE)?;
        // What is in the table for an inode that nobody has used may be anything, and no error of the file system.
        if !volume.space.inode_in_use(&volume.store, ino)? {
            return Err(ESTALE);
        }
        let node = read::get(sb, ino)?;
        match generation {
            Some(generation) if generation != node.data().map_lock().generation => Err(ESTALE),
            _ => Ok(node),
        }
    }

    fn parent(dir: &Node) -> Result<InodeRef<'_, Fs>> {
        let found = names::lookup(&Dir::new(dir), b"..")?.ok_or(ENOENT)?;
        read::get(dir.super_block(), found.ino)
    }

    fn commit(node: &Node) -> Result {
        durable::inode(node)
    }
}
