// SPDX-License-Identifier: GPL-2.0

//! Files get blocks and lose them, and what was changed is committed.

use super::node::{goal, Node, Vol};
use super::visit::Visit;
use iomapfs_core::disk::inode::FileKind;
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::Tx;
use iomapfs_core::inode::Inode;
use iomapfs_core::map::{Credits, FileMap, Progress};
use iomapfs_core::space::Share;
use iomapfs_core::store::{Store, Transaction};
use kernel::error::Result;

impl Visit<'_, '_> {
    /// How many blocks a file may have. What is behind is refused by the VFS, and the core need not expect it.
    fn most_blocks(&self) -> u32 {
        let layout = &self.vol.layout;
        let most = layout.max_file_size() >> layout.block_size().bits();
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// A block of the file to begin with: where it ends, somewhere in it, or far behind.
    fn some_block(&mut self, node: &Node) -> u32 {
        let size = node.inode.borrow().disk_size;
        let end = self.vol.layout.block_size().blocks_for(size);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        let most = self.most_blocks();
        let block = match self.number(5) {
            0 => end,
            1..=3 => self.number(end.min(400)),
            4 => self.number(2000),
            _ => most.saturating_sub(self.number(40)),
        };
        block.min(most.saturating_sub(1))
    }

    /// Writes: blocks are chosen, and then committed.
    pub(super) fn write(&mut self) -> Result {
        let Some((ino, node)) = self.some(|kind| kind == FileKind::Regular) else {
            return Ok(());
        };
        let at = self.some_block(&node);
        let len = (1 + self.number(12)).min(self.most_blocks() - at);
        let delayed = self.number(1) == 0;
        let done = self.write_to(&node, at, len, delayed);
        self.nodes.insert(ino, node);
        done
    }

    fn write_to(&mut self, node: &Node, at: u32, len: u32, delayed: bool) -> Result {
        let vol = self.vol;
        let block = LogicalBlock::new;
        let end = block(at).saturating_add(len);
        let mut next = block(at);
        node.inode.borrow_mut().map.add_writer();
        while next < end {
            let map = &mut node.inode.borrow_mut().map;
            if delayed {
                map.reserve(vol, next, end.get() - next.get(), Share::Common)?;
            }
            let chosen = map.choose(vol, next, end.get() - next.get(), goal(), Share::Common)?;
            assert!(chosen.end() > next);
            next = chosen.end();
        }
        let mut next = block(at);
        let done = self.steps(
            node,
            FileMap::commit_credits,
            |vol, map, tx, granted| {
                let progress = map.commit(vol, tx, next, end.get() - next.get(), granted)?;
                if let Progress::Again(at) = progress {
                    next = at;
                }
                Ok(progress)
            },
            Some(u64::from(end.get()) << vol.layout.block_size().bits()),
        );
        node.inode
            .borrow_mut()
            .map
            .remove_writer(vol, LogicalBlock::LIMIT);
        done
    }

    /// Runs steps in handles with just what they ask for, and writes the inode.
    fn steps(
        &self,
        node: &Node,
        credits: impl Fn(&Vol, u16) -> Credits,
        mut step: impl FnMut(&Vol, &mut FileMap, &mut Tx<'_>, Credits) -> Result<Progress>,
        size: Option<u64>,
    ) -> Result {
        let vol = self.vol;
        let depth = || node.inode.borrow().map.snapshot().depth();
        let mut granted = credits(vol, depth());
        let more = Inode::WRITE_CREDITS;
        let mut tx = vol.store.begin(granted.blocks + more, granted.revokes)?;
        for _ in 0..100_000 {
            let progress = {
                let mut inode = node.inode.borrow_mut();
                if let Some(size) = size {
                    inode.disk_size = inode.disk_size.max(size).min(vol.layout.max_file_size());
                }
                step(vol, &mut inode.map, &mut tx, granted)
            };
            node.write(vol, &mut tx)?;
            if let Progress::Done = progress? {
                return Ok(());
            }
            granted = credits(vol, depth());
            tx.ensure(granted.blocks + more, granted.revokes)?;
        }
        panic!("a map that is changed without end");
    }

    pub(super) fn preallocate(&mut self) -> Result {
        let Some((ino, node)) = self.some(|kind| kind == FileKind::Regular) else {
            return Ok(());
        };
        let at = self.some_block(&node);
        let len = (1 + self.number(30)).min(self.most_blocks() - at);
        let at = LogicalBlock::new(at);
        let vol = self.vol;
        let done = (|| {
            let granted = FileMap::commit_credits(vol, node.inode.borrow().map.depth());
            let credits = granted.blocks + Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, granted.revokes)?;
            let map = &mut node.inode.borrow_mut().map;
            map.preallocate(vol, &mut tx, at, len, goal(), Share::Common, granted)
                .map(|_| ())
        })();
        let written = vol
            .store
            .begin(Inode::WRITE_CREDITS, 0)
            .and_then(|mut tx| node.write(vol, &mut tx));
        self.nodes.insert(ino, node);
        // Blocks behind the end of a file are right only with a flag.
        self.flawed = true;
        done.and(written)
    }

    pub(super) fn truncate(&mut self) -> Result {
        let Some((ino, node)) = self.some(|kind| kind == FileKind::Regular) else {
            return Ok(());
        };
        let from = self.some_block(&node);
        let size = u64::from(from) << self.vol.layout.block_size().bits();
        let size = size.min(self.vol.layout.max_file_size());
        let to = match self.number(3) {
            // A hole in the middle.
            0 => from.saturating_add(self.number(20)),
            _ => u32::MAX,
        };
        let size = if to == u32::MAX {
            size
        } else {
            node.inode.borrow().disk_size
        };
        let done = self.remove(&node, from, to, size);
        self.nodes.insert(ino, node);
        done
    }

    pub(super) fn remove(&self, node: &Node, from: u32, to: u32, size: u64) -> Result {
        let block = LogicalBlock::new;
        let mut end = block(to);
        node.inode.borrow_mut().disk_size = size;
        self.steps(
            node,
            FileMap::remove_credits,
            |vol, map, tx, granted| {
                let progress = map.remove(vol, tx, block(from), end, granted)?;
                if let Progress::Again(at) = progress {
                    end = at;
                }
                Ok(progress)
            },
            None,
        )
    }

    pub(super) fn commit(&mut self) -> Result {
        let tid = self.vol.store.commit()?;
        self.vol.space.committed(tid, |_| ());
        if self.number(1) == 0 {
            self.vol.store.checkpoint();
        }
        Ok(())
    }
}
