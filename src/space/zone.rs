// SPDX-License-Identifier: GPL-2.0

//! The system zone: which blocks hold the file system's own metadata, so that no inode may map them and no
//! allocation may hand them out.
//!
//! Super block copies, group descriptor tables with their reserve, bitmaps, inode tables; the blocks of the
//! journal are added at mount. Built once, then only read: a lookup is a binary search without lock or
//! allocation.
//!
//! # Invariants
//!
//! * The ranges are sorted by their start and neither overlap nor touch.

use crate::disk::PhysBlock;
use crate::sort::merge_sort;
use kernel::alloc::{flags::GFP_KERNEL, KVVec};
use kernel::error::Result;

/// Blocks `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRange {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl BlockRange {
    /// `len` blocks from `start` on, cut where block numbers end.
    pub(super) fn new(start: PhysBlock, len: u32) -> Self {
        Self {
            start: start.get(),
            end: start.get().saturating_add(u64::from(len)),
        }
    }
}

/// Collects the ranges in any order.
pub(super) struct Builder(KVVec<BlockRange>);

impl Builder {
    /// For up to `capacity` ranges.
    pub(super) fn new(capacity: usize) -> Result<Self> {
        Ok(Self(KVVec::with_capacity(capacity, GFP_KERNEL)?))
    }

    /// Adds `range` if it is not empty.
    pub(super) fn add(&mut self, range: BlockRange) -> Result {
        if range.start < range.end {
            self.0.push_within_capacity(range)?;
        }
        Ok(())
    }

    /// Sorts and joins the ranges.
    ///
    /// # Errors
    ///
    /// The inner error is the first block that two ranges share; the outer one `ENOMEM`.
    pub(super) fn build(mut self) -> Result<Result<Zone, PhysBlock>> {
        sort(&mut self.0)?;
        let mut ranges = KVVec::with_capacity(self.0.len(), GFP_KERNEL)?;
        let mut open: Option<BlockRange> = None;
        for next in self.0.iter().copied() {
            open = match open {
                Some(range) if next.start < range.end => {
                    return Ok(Err(PhysBlock::new(next.start)));
                }
                Some(range) if next.start == range.end => Some(BlockRange {
                    start: range.start,
                    end: next.end,
                }),
                Some(range) => {
                    ranges.push_within_capacity(range)?;
                    Some(next)
                }
                None => Some(next),
            };
        }
        if let Some(range) = open {
            ranges.push_within_capacity(range)?;
        }
        Ok(Ok(Zone(ranges)))
    }
}

/// Sorts by start.
fn sort(ranges: &mut KVVec<BlockRange>) -> Result {
    let mut other = KVVec::with_capacity(ranges.len(), GFP_KERNEL)?;
    other.extend_from_slice(ranges, GFP_KERNEL)?;
    if merge_sort(ranges, &mut other, |a, b| a.start < b.start) {
        core::mem::swap(ranges, &mut other);
    }
    Ok(())
}

/// The finished zone.
pub(super) struct Zone(KVVec<BlockRange>);

impl Zone {
    /// The parts of `range` that are in the zone, in order.
    pub(super) fn parts(&self, range: BlockRange) -> impl Iterator<Item = BlockRange> + '_ {
        let first = self.0.partition_point(|r| r.end <= range.start);
        let after = self.0.get(first..).unwrap_or(&[]).iter();
        after
            .take_while(move |r| r.start < range.end)
            .map(move |r| BlockRange {
                start: r.start.max(range.start),
                end: r.end.min(range.end),
            })
    }

    /// Whether any block of `range` is in the zone.
    pub(super) fn overlaps(&self, range: BlockRange) -> bool {
        self.parts(range).next().is_some()
    }

    /// Adds `range`. `false`, and nothing changed, where a block of it is in the zone already.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn insert(&mut self, range: BlockRange) -> Result<bool> {
        if self.overlaps(range) {
            return Ok(false);
        }
        let mut all = Builder::new(self.0.len().saturating_add(1))?;
        for r in self.0.iter().copied() {
            all.add(r)?;
        }
        all.add(range)?;
        match all.build()? {
            Ok(zone) => {
                *self = zone;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }
}
