// SPDX-License-Identifier: GPL-2.0

//! Truncate, and what is between the end of a file and a write behind it.

use super::PAGE;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::access::is_gap;
use iomapfs_core::change::{self, resize, Live};
use iomapfs_core::disk::LogicalBlock;
use std::ops::Range;

impl Sim {
    /// The time of a file is changed by most writes, and not by those that come soon after another.
    fn update_time(&mut self, node: &Shared) {
        if self.version() % 4 != 0 {
            self.set_time(node);
        }
    }

    fn set_time(&mut self, node: &Shared) {
        node.contents_changed();
        change::write_attributes(&**node).expect("the journal is alive");
        self.world.catch_up(&self.mount);
    }

    /// What any write at `pos` does first: `shared` is whether others may write too, `alone` whether nothing may be in
    /// flight.
    pub(super) fn prepare(&mut self, node: &Shared, pos: u64, shared: bool, alone: bool) {
        let ino = node.ino().get();
        if alone || self.is_gap(node, pos, shared) {
            // What is in flight may move the end.
            self.finish_flights(|flight| flight.ino == ino && flight.is_direct());
        }
        let size = node.size();
        let gap = self.is_gap(node, pos, shared);
        if gap && self.zero_behind(node, size..pos) && self.is_written(node, size) {
            let (from, to) = (self.split(size - 1).0, self.split(size).0 + 1);
            self.write_and_wait(node, from, to);
        }
        self.update_time(node);
    }

    fn is_gap(&self, node: &Shared, pos: u64, shared: bool) -> bool {
        let look = |at: LogicalBlock, len| Ok(self.lookup(node, at.get(), len));
        is_gap(&**node, (node.size(), pos), shared, PAGE, look).expect("the map can be read")
    }

    /// Makes bytes zero, `range`, which begins with the end of the file.
    fn zero_behind(&mut self, node: &Shared, range: Range<u64>) -> bool {
        let look = |at: LogicalBlock, len| Ok(self.lookup(node, at.get(), len));
        let clean = resize::has_clean_end(&**node, range.start, look);
        if !clean.expect("the map can be read") {
            self.cut_behind(node, range.start);
        }
        self.zero_range(node, range.start, range.end)
    }

    /// `truncate`
    pub fn set_size(&mut self, node: &Shared, new: u64) {
        let ino = node.ino().get();
        self.finish_flights(|flight| flight.ino == ino && flight.is_direct());
        let old = node.size();
        let tail = resize::tail(&self.mount.vol, old, new);
        let zeroed = if new > old {
            self.zero_behind(node, tail)
        } else {
            self.zero_range(node, tail.start, tail.end)
        };
        self.cut_shadow(ino, new.min(old));
        let disk_size = node.disk_size_hint();
        if resize::writes_first(disk_size, old, new, zeroed) {
            let (from, to) = (self.split(disk_size).0, self.blocks_for(new));
            self.write_and_wait(node, from, to);
        }
        node.set_size(new);
        if new > old {
            self.world.inode(ino).size = new;
            resize::grow(&**node, new).expect("the journal is alive");
            self.world.catch_up(&self.mount);
        } else {
            self.shrink(node, new);
            if zeroed && self.is_written(node, new) {
                let at = self.split(new).0;
                self.write_and_wait(node, at, at + 1);
            }
        }
        self.set_time(node);
    }

    /// Cuts off what is behind the end of a file.
    fn cut_behind(&mut self, node: &Shared, size: u64) {
        self.drop_behind(node, size);
        let cut = resize::cut_behind(&**node, size, |unwritten| {
            let (from, to) = (
                self.split(unwritten.start).0,
                self.blocks_for(unwritten.end),
            );
            self.write_and_wait(node, from, to);
            Ok(())
        });
        cut.expect("it needs no space");
        self.world.catch_up(&self.mount);
    }

    /// Cuts a file off.
    fn shrink(&mut self, node: &Shared, new: u64) {
        self.drop_behind(node, new);
        resize::cut(&**node, new).expect("it needs no space");
        self.world.catch_up(&self.mount);
    }

    /// The page cache has nothing behind byte `new` any more, nor has the file.
    fn drop_behind(&mut self, node: &Shared, new: u64) {
        let ino = node.ino().get();
        let from = self.blocks_for(new);
        // The page with the end is waited for too.
        let at = self.split(new).0;
        self.finish_flights(|flight| flight.ino == ino && flight.touches((at, at + 1)));
        self.drop_pages(ino, from, u32::MAX);
        let inode = self.world.inode(ino);
        inode.size = new;
        inode.blocks.split_off(&from);
        inode.unwritten.split_off(&from);
    }
}
