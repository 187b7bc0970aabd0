// SPDX-License-Identifier: GPL-2.0

//! The end of an inode: it leaves memory, and the disk too if it has no links.

use super::super::{truncate, Core, Node, Orphans};
use super::{number, unmark_orphan};
use crate::disk::LogicalBlock;
use crate::inode::set_dtime;
use crate::linux::inode::Kind;
use crate::linux::memalloc::NofsScope;
use crate::linux::printk;
use crate::map::{FileMap, Progress};
use crate::store::{Store, Transaction};
use kernel::prelude::*;

/// `evict_inode`: the inode leaves memory. If it has no links, it is freed with all that it has.
pub(in crate::ops) fn evict(node: &Node) {
    let data = node.data();
    let gone = node.links() == 0 && data.volume.store.check_writable().is_ok();
    let result = if gone {
        let _writing = node.super_block().internal_write();
        free(node)
    } else {
        Ok(())
    };
    truncate::forget_all(node);
    if let Err(error) = result {
        data.volume.store.fail(
            error,
            number(node),
            fmt!("inode {}: is deleted, but not freed", node.number()),
        );
    }
}

/// Frees an inode without links: its blocks, its attribute block, itself. Until the last step it is an orphan, so that
/// a recovery would do the rest.
fn free(node: &Node) -> Result {
    let _nofs = NofsScope::enter();
    let data = node.data();
    let volume = data.volume();
    // Nobody is there to try again: it would be an orphan until the next mount.
    volume.store.insist(|| free_blocks(node))?;
    let ino = number(node);
    let credits = Core::WRITE_CREDITS
        .saturating_add(1)
        .saturating_add(Core::RELEASE_CREDITS)
        .saturating_add(volume.space.credits_free(1))
        .saturating_add(Orphans::CREDITS)
        .saturating_add(volume.space.credits_free_inode());
    let mut tx = volume.store.begin(credits, 1)?;
    {
        let mut core = data.core.lock();
        core.release_attributes(volume, &mut tx)?;
        data.write_core(node, &core, &mut tx)?;
    }
    unmark_orphan(node, &mut tx)?;
    set_dtime(volume, &mut tx, ino, printk::unix_time() as u32)?;
    volume
        .space
        .free_inode(volume, &mut tx, ino, node.is_directory())
}

/// Frees all blocks but that of attributes. May be called again after an error: what is done stays done.
fn free_blocks(node: &Node) -> Result {
    if node.data().core.lock().map.is_empty() {
        // No transaction is needed for that.
        Ok(())
    } else if node.kind() == Kind::Regular {
        truncate::evict(node)
    } else {
        free_metadata_blocks(node)
    }
}

/// Frees the blocks of a directory or a long symbolic link. They are metadata: replaying the journal must not write
/// them again. Which they are the tree says: ext4 makes the size 0 before it frees the first one.
fn free_metadata_blocks(node: &Node) -> Result {
    let data = node.data();
    let volume = data.volume();
    let granted = FileMap::remove_credits(volume, data.core.lock().map.depth());
    let credits = granted.blocks.saturating_add(Core::WRITE_CREDITS);
    let revokes = granted.revokes.saturating_add(REVOKES);
    let mut before = LogicalBlock::LIMIT;
    let mut tx = None;
    loop {
        let tx = match &mut tx {
            None => tx.insert(volume.store.begin(credits, revokes)?),
            Some(tx) => {
                Transaction::ensure(tx, credits, revokes)?;
                tx
            }
        };
        let mut core = data.core.lock();
        let to = core.map.end_before(volume, before)?;
        let to = to.map_or(0, LogicalBlock::get);
        let from = to.saturating_sub(REVOKES);
        let mut held = [None; REVOKES as usize];
        for (phys, at) in held.iter_mut().zip(from..to) {
            *phys = core.map.lookup(volume, LogicalBlock::new(at), 1)?.phys;
        }
        let from_block = LogicalBlock::new(from);
        let progress = core
            .map
            .remove(volume, tx, from_block, LogicalBlock::LIMIT, granted);
        // After an error too, a part may have been done. What is left for the next round must not be revoked yet: the
        // journal takes it for an error to do so twice.
        for (nr, at) in held.into_iter().zip(from..to) {
            let Some(nr) = nr else { continue };
            let there = core.map.lookup(volume, LogicalBlock::new(at), 1);
            if !there.is_ok_and(|found| found.phys == Some(nr)) {
                Transaction::forget(tx, nr)?;
            }
        }
        data.write_core(node, &core, tx)?;
        before = match progress? {
            Progress::Done if from == 0 => return Ok(()),
            Progress::Done => from_block,
            Progress::Again(done) => done.min(LogicalBlock::new(to)),
        };
    }
}

/// Blocks of a directory that are freed, and revoked, in one transaction at most.
const REVOKES: u32 = 64;
