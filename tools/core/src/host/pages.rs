// SPDX-License-Identifier: GPL-2.0

//! The page cache of a file that nobody has in memory but for a change of its size.

use super::Node;
use crate::change::resize::PageCache;
use crate::change::Live;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::map::State;
use kernel::error::{code::*, Result};
use std::ops::Range;

/// A block of a file, where it is, and what it becomes.
type Dirty = (LogicalBlock, PhysBlock, Vec<u8>);

/// See the top of the file.
pub struct Pages<'a, W> {
    node: &'a Node,
    dirty: Vec<Dirty>,
    write: W,
}

impl<'a, W: FnMut(LogicalBlock, PhysBlock, Vec<u8>)> Pages<'a, W> {
    /// Those of `node`; `write` writes a block to the device.
    pub fn new(node: &'a Node, write: W) -> Self {
        let dirty = Vec::new();
        Self { node, dirty, write }
    }
}

impl<W: FnMut(LogicalBlock, PhysBlock, Vec<u8>)> PageCache for Pages<'_, W> {
    fn zero(&mut self, range: Range<u64>) -> Result<bool> {
        let vol = self.node.volume();
        let size = vol.layout.block_size();
        let mut at = LogicalBlock::holding(size, range.start).ok_or(EFBIG)?;
        let to = LogicalBlock::first_behind(size, range.end);
        while at < to {
            let len = to.saturating_distance_from(at);
            let found = self.node.map_lock().map.lookup(vol, at, len)?;
            let Some(phys) = found.phys.filter(|_| found.state == State::Written) else {
                at = found.end();
                continue;
            };
            let begin = at.first_byte(size);
            let mut bytes = vol.store.read_data(phys).to_vec();
            let from = range.start.saturating_sub(begin) as usize;
            let end = (range.end - begin).min(size.bytes().into()) as usize;
            bytes[from..end].fill(0);
            self.dirty.push((at, phys, bytes));
            at = at.saturating_add(1);
        }
        Ok(!self.dirty.is_empty())
    }

    fn write_back(&mut self, _range: Range<u64>) -> Result {
        for (at, phys, bytes) in self.dirty.drain(..) {
            (self.write)(at, phys, bytes);
        }
        Ok(())
    }

    fn grown(&mut self, _old: u64, _new: u64) {}

    fn drop_behind(&mut self, _pos: u64) {}

    fn drop_range(&mut self, range: Range<u64>) {
        let size = self.node.volume().layout.block_size();
        self.dirty
            .retain(|(at, ..)| !range.contains(&at.first_byte(size)));
    }
}
