// SPDX-License-Identifier: GPL-2.0

//! Symbolic links whose target is too long for the inode: it is in a block of its own, which is metadata.
//!
//! The VFS caches nothing of it; the buffer cache does.

use super::extents::with_reserves;
use super::{inode, Fs, JournalStore, Node, Tx};
use crate::disk::symlink::{self, TargetFormat};
use crate::disk::LogicalBlock;
use crate::linux::attr::{Attr, Idmap, Stat, Wanted};
use crate::linux::dentry::Entry;
use crate::linux::inode_ops::Operations;
use crate::linux::memalloc::NofsScope;
use crate::map::State;
use crate::store::{Flaw, Store, Transaction};
use kernel::prelude::*;

/// The operations of links whose target is in a block.
pub(super) struct Slow;

#[vtable]
impl Operations for Slow {
    type FileSystem = Fs;

    fn setattr(idmap: &Idmap, entry: &Entry<'_, Fs>, node: &Node, attr: &mut Attr) -> Result {
        inode::set_attributes(idmap, entry, node, attr)
    }

    fn getattr(idmap: &Idmap, node: &Node, wanted: Wanted, to: &mut Stat) -> Result {
        inode::get_attributes(idmap, node, wanted, to);
        Ok(())
    }

    fn read_link(node: &Node) -> Result<KVec<u8>> {
        let data = node.data();
        let volume = data.volume();
        let bad = |what| {
            let number = node.number();
            volume.store.corrupt(
                inode::number(node),
                fmt!("inode {number}: symbolic link: {what}"),
            )
        };
        let mapping = {
            let _nofs = NofsScope::enter();
            data.core()
                .lock()
                .map
                .lookup(volume, LogicalBlock::ZERO, 1)?
        };
        let (Some(nr), State::Written) = (mapping.phys, mapping.state) else {
            return Err(bad("no block"));
        };
        let block = volume.store.read(nr, TargetFormat)?;
        let size = usize::try_from(node.size()).map_err(|_| EFBIG)?;
        // Under the buffer lock nothing is allocated.
        let mut target = KVec::with_capacity(size.saturating_add(1), GFP_KERNEL)?;
        block
            .with(|bytes| {
                let found = symlink::target(bytes, node.size())?;
                Ok(target.extend_from_slice(found, GFP_NOWAIT))
            })
            .map_err(|Flaw(what)| bad(what))??;
        Ok(target)
    }
}

/// Gives a new link its block with the target. The caller writes the inode.
pub(super) fn fill(node: &Node, tx: &mut Tx<'_>, target: &[u8]) -> Result {
    let data = node.data();
    let volume = data.volume();
    let mut core = data.core().lock();
    let (at, goal) = (LogicalBlock::ZERO, data.goal(false));
    let run = with_reserves(volume, |share| {
        core.map.allocate(volume, tx, at, 1, goal, share)
    })?;
    core.disk_size = target.len() as u64;
    node.set_size(core.disk_size);
    let fits =
        Transaction::<JournalStore>::create(tx, run.start, TargetFormat, |bytes| {
            match bytes.get_mut(..target.len()) {
                Some(to) => {
                    to.copy_from_slice(target);
                    true
                }
                None => false,
            }
        })?
        .1;
    match fits {
        true => Ok(()),
        false => Err(ENAMETOOLONG),
    }
}
