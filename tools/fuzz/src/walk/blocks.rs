// SPDX-License-Identifier: GPL-2.0

//! Files get blocks and lose them, and what was changed is committed.

use super::visit::Visit;
use iomapfs_core::change::dax::{extend, place};
use iomapfs_core::change::publish::{publish, WrittenData};
use iomapfs_core::change::trim::{self, Wanted};
use iomapfs_core::change::{fallocate, resize, Live};
use iomapfs_core::disk::{FileType, LogicalBlock};
use iomapfs_core::host::{Mounted, Node, Pages};
use iomapfs_core::space::{Run, Share, Trimmer};
use kernel::error::{code::*, Result};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// A device that is told of free blocks.
struct Forgetful<'a> {
    fs: &'a Mounted,
    patience: u32,
}

impl Trimmer for Forgetful<'_> {
    fn is_stopped(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience == 0
    }

    fn discard(&mut self, run: Run) -> Result<bool> {
        let vol = &self.fs.vol;
        assert!(
            run.len > 0 && run.end().get() <= vol.store.blocks(),
            "{run:?}"
        );
        assert!(!vol.space.is_system(run.start, run.len), "{run:?}");
        Ok(true)
    }
}

/// Sets the size of a regular file to `new` bytes.
pub(super) fn set_size(node: &Node, new: u64) -> Result {
    let store = &node.volume().store;
    let write = |_, phys, bytes: Vec<u8>| store.write_data(phys, &bytes);
    resize::set_size(node, &mut Pages::new(node, write), new)
}

impl Visit<'_> {
    /// How many blocks a file may have. What is behind is refused by the VFS, and the core need not expect it.
    fn most_blocks(&self) -> u32 {
        let layout = &self.fs.vol.layout;
        let most = layout.max_file_size() >> layout.block_size().bits();
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// A block of the file to begin with: where it ends, somewhere in it, or far behind.
    fn some_block(&mut self, node: &Node) -> u32 {
        let size = node.disk_size_hint();
        let end = self.fs.vol.layout.block_size().blocks_for(size);
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

    /// Writes: blocks are chosen, and then the file shows them.
    pub(super) fn write(&mut self) -> Result {
        let Some(node) = self.some(|kind| kind == FileType::Regular) else {
            return Ok(());
        };
        let at = self.some_block(&node);
        let len = (1 + self.number(12)).min(self.most_blocks() - at);
        let delayed = self.number(1) == 0;
        node.map_lock().map.add_writer();
        let done = self.write_to(&node, LogicalBlock::new(at), len, delayed);
        node.map_lock()
            .map
            .remove_writer(&self.fs.vol, LogicalBlock::LIMIT);
        done
    }

    fn write_to(&self, node: &Node, at: LogicalBlock, len: u32, delayed: bool) -> Result {
        let vol = &self.fs.vol;
        let end = at.saturating_add(len);
        let mut next = at;
        while next < end {
            let map = &mut node.map_lock().map;
            let left = end.get() - next.get();
            if delayed {
                map.reserve(vol, next, left, Share::Common)?;
            }
            let chosen = map.choose(vol, next, left, node.goal(false), Share::Common)?;
            assert!(chosen.end() > next);
            next = chosen.end();
        }
        let size = vol.layout.block_size();
        let written = WrittenData {
            pos: at.first_byte(size),
            end: end.first_byte(size).min(vol.layout.max_file_size()),
            unwritten: true,
            direct: true,
        };
        publish(node, &mut None, &written)
    }

    /// Writes to blocks as memory.
    pub(super) fn write_memory(&mut self) -> Result {
        let Some(node) = self.some(|kind| kind == FileType::Regular) else {
            return Ok(());
        };
        let vol = &self.fs.vol;
        let (block, most) = (vol.layout.block_size(), vol.layout.max_file_size());
        let mut at = LogicalBlock::new(self.some_block(&node));
        let start = at.first_byte(block) + u64::from(self.number(1));
        let len = u64::from(1 + self.number(12)) * u64::from(block.bytes());
        let end = (start + len - u64::from(self.number(1))).min(most);
        let to = LogicalBlock::first_behind(block, end);
        let size = node.size();
        let vol = &self.fs.vol;
        let zero = |_, run: Run| {
            assert!(
                run.len > 0 && run.end().get() <= vol.store.blocks(),
                "{run:?}"
            );
            assert!(!vol.space.is_system(run.start, run.len), "{run:?}");
            Ok(())
        };
        let mut done = start;
        let mut placed = Ok(());
        while at < to && done < end {
            let len = to.get() - at.get();
            match place(&*node, (at, len), &(done..end), zero) {
                Ok(place) => {
                    assert!(place.mapping.end() > at);
                    at = place.mapping.end();
                    done = at.first_byte(block).min(end);
                }
                Err(error) => {
                    placed = Err(error);
                    break;
                }
            }
        }
        match end > size {
            true => extend(&*node, size, &(start..done)).and(placed),
            false => placed,
        }
    }

    pub(super) fn truncate(&mut self) -> Result {
        let Some(node) = self.some(|kind| kind == FileType::Regular) else {
            return Ok(());
        };
        let layout = &self.fs.vol.layout;
        let (block, most) = (layout.block_size(), layout.max_file_size());
        let size = LogicalBlock::new(self.some_block(&node)).first_byte(block);
        let size = size.min(most);
        set_size(&node, size)
    }

    /// Any mode of `fallocate`, as far as the VFS would let it through.
    pub(super) fn fallocate(&mut self) -> Result {
        let Some(node) = self.some(|kind| kind == FileType::Regular) else {
            return Ok(());
        };
        let layout = &self.fs.vol.layout;
        let (block, most) = (layout.block_size(), layout.max_file_size());
        let at = self.some_block(&node);
        let blocks = 1 + self.number(40);
        let (mode, keep_size) = (self.number(5), self.number(1) == 0);
        // Edges between blocks, too.
        let edges = match mode {
            0..=2 | 5 => (self.number(1), self.number(1)),
            _ => (0, 0),
        };
        let start = LogicalBlock::new(at).first_byte(block) + u64::from(edges.0);
        let len = u64::from(blocks) * u64::from(block.bytes()) - u64::from(edges.1);
        let (range, size) = (start..start.saturating_add(len), node.size());
        if range.end > most {
            return Ok(());
        }
        let store = &self.fs.vol.store;
        let write = |_, phys, bytes: Vec<u8>| store.write_data(phys, &bytes);
        let pages = &mut Pages::new(&node, write);
        match mode {
            0 => fallocate::allocate(&*node, pages, range, keep_size),
            1 => fallocate::zero(&*node, pages, range, keep_size),
            2 => fallocate::punch(&*node, pages, range),
            3 if range.end < size => fallocate::collapse(&*node, pages, range, PAGE),
            4 if start < size && len <= most - size => {
                let inserted = fallocate::insert(&*node, pages, (start, len), PAGE);
                match inserted {
                    // What is behind the end would lie too far out.
                    Err(error) if error == EINVAL => Ok(()),
                    done => done,
                }
            }
            5 => fallocate::write_zeroes(&*node, pages, range),
            _ => Ok(()),
        }
    }

    /// Free blocks are trimmed, of all that there is or of a part.
    pub(super) fn trim(&mut self) -> Result {
        let vol = &self.fs.vol;
        let size = u64::from(vol.layout.block_size().bytes());
        let count = u32::try_from(vol.layout.blocks_count()).unwrap_or(u32::MAX);
        let whole = self.number(1) == 0;
        let wanted = Wanted {
            start: if whole {
                0
            } else {
                u64::from(self.number(count)) * size
            },
            len: if whole {
                u64::MAX
            } else {
                u64::from(self.number(5000)) * size
            },
            min_len: u64::from(self.number(9)) * size,
        };
        let patience = self.number(2000);
        let mut device = Forgetful {
            fs: &self.fs,
            patience,
        };
        match trim::trim(&self.fs.vol, wanted, 4096, &mut device) {
            Err(error) if error == EINVAL => Ok(()),
            done => done.map(drop),
        }
    }

    pub(super) fn commit(&mut self) -> Result {
        let tid = self.fs.vol.store.commit()?;
        self.fs.vol.space.committed(tid, |_| ());
        if self.number(1) == 0 {
            self.fs.vol.store.checkpoint();
        }
        Ok(())
    }
}
