// SPDX-License-Identifier: GPL-2.0

//! Inodes without links go away; and what a crash has left of that.

use super::{ORPHAN_CREDITS, WRITE_CREDITS};
use crate::broken::Rule;
use crate::mount::{Mount, Node, Shared, Watch};
use iomapfs_core::disk::inode::FileKind;
use iomapfs_core::disk::superblock::{RawSuper, SuperFormat, STATE_ERROR};
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::Tx;
use iomapfs_core::inode::{set_dtime, Inode};
use iomapfs_core::map::{FileMap, Progress, State};
use iomapfs_core::store::{Store, Transaction};
use kernel::error::{code::*, Result};

/// Blocks of a directory that are freed, and revoked, in one transaction at most.
const REVOKES: u32 = 64;

impl Mount {
    /// Frees the blocks of a directory or a long symbolic link.
    fn free_metadata_blocks(&self, watch: &mut dyn Watch, node: &Shared) -> Result {
        let vol = &self.vol;
        let granted = FileMap::remove_credits(vol, node.borrow().core.map.depth());
        let credits = granted.blocks + WRITE_CREDITS;
        let revokes = granted.revokes + REVOKES;
        let size = node.borrow().core.disk_size;
        let mut to = vol.layout.block_size().blocks_for(size) as u32;
        let mut handle: Option<Tx<'_>> = None;
        while to > 0 {
            let tx = self.ready(&mut handle, credits, revokes, watch)?;
            let from = to.saturating_sub(REVOKES);
            let node = &mut *node.borrow_mut();
            let mut held = Vec::new();
            for at in (from..to).map(LogicalBlock::new) {
                if let Some(nr) = node.core.map.lookup(vol, at, 1)?.phys {
                    held.push((at, nr));
                }
            }
            let first = LogicalBlock::new(from);
            let map = &mut node.core.map;
            let progress = map.remove(vol, tx, first, LogicalBlock::LIMIT, granted);
            for (at, nr) in held {
                let there = node.core.map.lookup(vol, at, 1);
                let gone = !there.is_ok_and(|found| found.phys == Some(nr));
                if gone && !self.broken.is(Rule::NoForget) {
                    tx.forget(nr)?;
                }
            }
            node.write_core(self, tx)?;
            to = match progress? {
                Progress::Done => from,
                Progress::Again(done) => done.get().min(to),
            };
        }
        Ok(())
    }

    /// An inode without links leaves memory: frees it with all that it has.
    pub fn free(&self, watch: &mut dyn Watch, node: &Shared) -> Result {
        let vol = &self.vol;
        let kind = node.borrow().attrs.kind();
        if node.borrow().core.map.sectors() == 0 {
            // Nothing is mapped.
        } else if kind == FileKind::Regular {
            self.shrink(watch, node, 0, 0)?;
        } else {
            self.free_metadata_blocks(watch, node)?;
        }
        let credits = WRITE_CREDITS
            + 1
            + Inode::RELEASE_CREDITS
            + vol.space.credits_free(1)
            + ORPHAN_CREDITS
            + vol.space.credits_free_inode();
        let mut tx = vol.store.begin(credits, 1)?;
        let node = &mut *node.borrow_mut();
        if !self.broken.is(Rule::KeepsAttributes) {
            node.core.release_attributes(vol, &mut tx)?;
        }
        node.write_core(self, &mut tx)?;
        self.orphans.remove(vol, &mut tx, node.ino())?;
        set_dtime(vol, &mut tx, node.ino(), 1_700_000_000)?;
        let is_dir = kind == FileKind::Directory;
        vol.space.free_inode(vol, &mut tx, node.ino(), is_dir)?;
        drop(tx);
        node.core.map.evict(vol);
        Ok(())
    }

    /// A crash came when the file was being cut off: cuts it off at its size.
    fn cut_off(&self, watch: &mut dyn Watch, node: &Shared) -> Result {
        let vol = &self.vol;
        let block_size = vol.layout.block_size();
        let size = node.borrow().core.disk_size;
        let last = (size >> block_size.bits()) as u32;
        let rest = (size % u64::from(block_size.bytes())) as usize;
        let mut zeroed = None;
        if rest > 0 {
            let map = &mut node.borrow_mut().core.map;
            let found = map.lookup(vol, LogicalBlock::new(last), 1)?;
            zeroed = found.phys.filter(|_| found.state == State::Written);
        }
        self.shrink(watch, node, block_size.blocks_for(size) as u32, size)?;
        if let Some(nr) = zeroed {
            let mut bytes = vol.store.read_data(nr).to_vec();
            bytes[rest..].fill(0);
            watch.write(self, (node.borrow().ino().get(), last), nr, bytes);
        }
        Ok(())
    }

    /// Deals with the orphans that a crash has left. Gives how many there were.
    pub fn finish_orphans(&self, watch: &mut dyn Watch) -> Result<usize> {
        let vol = &self.vol;
        let (nr, offset) = vol.layout.super_location();
        let raw = vol.store.read(nr, SuperFormat::new(offset))?;
        let raw = raw.with(|bytes| RawSuper::from_block(bytes, offset).cloned());
        let raw = raw.ok_or(EUCLEAN)?;
        if raw.state.get() & STATE_ERROR != 0 {
            return Err(EUCLEAN);
        }
        let orphans = self.orphans.left_over(vol, &raw)?;
        for ino in orphans.iter() {
            let node = Node::new(self, Inode::read_orphan(vol, *ino)?);
            if node.borrow().attrs.nlink == 0 {
                self.free(watch, &node)?;
                continue;
            }
            if node.borrow().attrs.kind() == FileKind::Regular {
                self.cut_off(watch, &node)?;
            }
            let mut tx = vol.store.begin(ORPHAN_CREDITS, 0)?;
            self.orphans.remove(vol, &mut tx, *ino)?;
        }
        Ok(orphans.len())
    }
}
