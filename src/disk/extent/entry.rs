// SPDX-License-Identifier: GPL-2.0

//! What the entries of an extent tree say: a run of blocks, or where the node for a part of the file is.

use super::super::{LogicalBlock, PhysBlock};
use super::{MAX_UNWRITTEN, MAX_WRITTEN};

/// A leaf entry: `len` blocks of the file from `start` on lie on the device from `phys` on.
///
/// Valid: `len` is 1 to [`MAX_WRITTEN`] or [`MAX_UNWRITTEN`], the end is at most [`LogicalBlock::LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First file block.
    pub start: LogicalBlock,
    /// Length in blocks.
    pub len: u32,
    /// First device block.
    pub phys: PhysBlock,
    /// Whether the blocks hold data; otherwise they read as zeros.
    pub written: bool,
}

impl Extent {
    /// No extent: to fill places with that get one later.
    pub const NOTHING: Self = Self {
        start: LogicalBlock::ZERO,
        len: 0,
        phys: PhysBlock::new(0),
        written: true,
    };

    /// The file block after the last one.
    pub fn end(&self) -> LogicalBlock {
        self.start.saturating_add(self.len)
    }

    /// Where file block `at` lies, which must not be before the extent.
    pub fn phys_at(&self, at: LogicalBlock) -> PhysBlock {
        let skip = at.saturating_distance_from(self.start);
        PhysBlock::new(self.phys.get().saturating_add(u64::from(skip)))
    }

    /// Longest extent of this kind.
    pub fn max_len(&self) -> u32 {
        if self.written {
            MAX_WRITTEN
        } else {
            MAX_UNWRITTEN
        }
    }

    /// The part in `from..to`, which the extent must overlap.
    pub fn clip(&self, from: LogicalBlock, to: LogicalBlock) -> Self {
        let start = self.start.max(from);
        Self {
            start,
            len: self.end().min(to).saturating_distance_from(start),
            phys: self.phys_at(start),
            written: self.written,
        }
    }

    /// Whether `next` continues this extent, in the file, on the device and in kind.
    pub fn continued_by(&self, next: &Self) -> bool {
        self.written == next.written
            && self.end() == next.start
            && self.phys_at(next.start) == next.phys
    }
}

/// An index entry: the node at `child` covers file blocks from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// First file block of the first entry of the child.
    pub start: LogicalBlock,
    /// The child's block.
    pub child: PhysBlock,
}
