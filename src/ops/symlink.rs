// SPDX-License-Identifier: GPL-2.0

//! Symbolic links whose target is too long for the inode: it is in a block of its own, which is metadata.
//!
//! The VFS caches nothing of it; the buffer cache does.

use super::{Fs, Node};
use crate::change::Live;
use crate::disk::symlink::{self, TargetFormat};
use crate::disk::{Flaw, LogicalBlock};
use crate::linux::inode_ops::SymlinkOperations;
use crate::map::State;
use crate::store::Store;
use kernel::prelude::*;

/// The operations of links whose target is in a block.
pub(crate) struct Slow;

impl SymlinkOperations for Slow {
    type FileSystem = Fs;

    fn read_link(node: &Node) -> Result<KVec<u8>> {
        let data = node.data();
        let volume = data.volume();
        let bad = |flaw| volume.store.flawed(node.ino(), flaw);
        let mapping = data.map_lock().map.lookup(volume, LogicalBlock::ZERO, 1)?;
        let (Some(nr), State::Written) = (mapping.phys, mapping.state) else {
            return Err(bad(Flaw::SymlinkNoBlock));
        };
        let block = volume.store.read(nr, TargetFormat)?;
        let size = usize::try_from(node.size()).map_err(|_| EFBIG)?;
        // Under the byte lock nothing is allocated.
        let mut target = KVec::with_capacity(size.saturating_add(1), GFP_KERNEL)?;
        block
            .with(|bytes| {
                let found = symlink::target(bytes, node.size())?;
                Ok(target.extend_from_slice(found, GFP_NOWAIT))
            })
            .map_err(bad)??;
        Ok(target)
    }
}
