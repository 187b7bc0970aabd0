// SPDX-License-Identifier: GPL-2.0

//! Files get blocks and lose them, and what was changed is committed.

use super::visit::Visit;
use iomapfs_core::change::atomic::{aside, show, LONGEST};
use iomapfs_core::change::dax::{extend, place};
use iomapfs_core::change::exchange::{self, Copier};
use iomapfs_core::change::publish::{publish, WrittenData};
use iomapfs_core::change::trim::{self, Wanted};
use iomapfs_core::change::{fallocate, resize, Live};
use iomapfs_core::disk::{FileType, LogicalBlock, PhysBlock};
use iomapfs_core::host::{Mounted, Node, Pages};
use iomapfs_core::space::{Run, Share, Trimmer};
use iomapfs_core::store::Tid;
use kernel::error::{code::*, Result};

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Blocks that data is read from or written to: the device has them, and they are no metadata of the file system's.
fn check(fs: &Mounted, start: PhysBlock, len: u32) {
    let run = Run { start, len };
    let vol = &fs.vol;
    assert!(len > 0 && run.end().get() <= vol.store.blocks(), "{run:?}");
    assert!(!vol.space.is_system(start, len), "{run:?}");
}

/// All that was changed becomes durable.
fn commit(fs: &Mounted) -> Result {
    let tid = fs.vol.store.commit()?;
    fs.vol.space.committed(tid, |_| ());
    Ok(())
}

/// A device whose blocks are copied.
struct Copies<'a>(&'a Mounted);

impl Copier for Copies<'_> {
    fn copy(&mut self, from: PhysBlock, to: PhysBlock, len: u32) -> Result {
        check(self.0, from, len);
        check(self.0, to, len);
        let store = &self.0.vol.store;
        for n in 0..u64::from(len) {
            let bytes = store.read_data(PhysBlock::new(from.get() + n));
            store.write_data(PhysBlock::new(to.get() + n), &bytes);
        }
        Ok(())
    }

    fn commit(&mut self, _tid: Tid) -> Result {
        commit(self.0)
    }
}

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
        check(self.fs, run.start, run.len);
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

    /// An atomic write goes to new blocks, and then the file shows all of it, or it has failed.
    pub(super) fn write_aside(&mut self) -> Result {
        let Some(node) = self.some(|kind| kind == FileType::Regular) else {
            return Ok(());
        };
        let fs = self.fs.clone();
        let block = fs.vol.layout.block_size();
        let longest = (LONGEST >> block.bits()).max(1);
        let len = 1 << self.number(longest.ilog2());
        let at = self.some_block(&node) / len * len;
        if len > self.most_blocks() - at {
            return Ok(());
        }
        let at = LogicalBlock::new(at);
        let end = at.saturating_add(len).first_byte(block);
        let chosen = aside(&*node, &mut node.map_lock(), (at, len), end)?;
        assert!(chosen.start == at && chosen.len == len, "{chosen:?}");
        check(&fs, chosen.phys.expect("blocks were chosen"), len);
        let written = WrittenData {
            pos: at.first_byte(block),
            end,
            unwritten: true,
            direct: true,
        };
        let fails = self.number(7) == 0;
        let done = show(&*node, &written, |_| if fails { Err(EIO) } else { Ok(()) });
        node.map_lock().map.drop_aside(&fs.vol);
        match done {
            Err(error) if fails && error == EIO => Ok(()),
            done => done,
        }
    }

    /// Two files exchange blocks, as far as both reach.
    pub(super) fn exchange(&mut self) -> Result {
        let mut file = || self.some(|kind| kind == FileType::Regular);
        let (Some(node), Some(donor)) = (file(), file()) else {
            return Ok(());
        };
        let (start, donor_start) = (self.some_block(&node), self.some_block(&donor));
        let most = 1 + self.number(60);
        let block = self.fs.vol.layout.block_size();
        let left = |node: &Node, start: u32| {
            let end = u32::try_from(block.blocks_for(node.size())).unwrap_or(u32::MAX);
            end.saturating_sub(start)
        };
        let len = most.min(left(&node, start)).min(left(&donor, donor_start));
        if len == 0 || node.ino() == donor.ino() {
            return Ok(());
        }
        let wanted = exchange::Wanted {
            start: LogicalBlock::new(start),
            donor_start: LogicalBlock::new(donor_start),
            len,
        };
        let (moved, done) = exchange::exchange(&*node, &*donor, wanted, &mut Copies(&self.fs));
        assert!(moved <= len, "{moved} of {len} blocks");
        done
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
        let fs = &self.fs;
        let zero = |_, run: Run| {
            check(fs, run.start, run.len);
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
        commit(&self.fs)?;
        if self.number(1) == 0 {
            self.fs.vol.store.checkpoint();
        }
        Ok(())
    }
}
