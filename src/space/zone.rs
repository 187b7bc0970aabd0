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
use kernel::alloc::{flags::GFP_KERNEL, KVVec};
use kernel::error::{code::*, Result};

/// Blocks `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Range {
    /// `len` blocks from `start` on, cut where block numbers end.
    pub(super) fn new(start: PhysBlock, len: u32) -> Self {
        Self {
            start: start.get(),
            end: start.get().saturating_add(u64::from(len)),
        }
    }
}

/// Collects the ranges in any order.
pub(super) struct Builder(KVVec<Range>);

impl Builder {
    /// For up to `capacity` ranges.
    pub(super) fn new(capacity: usize) -> Result<Self> {
        Ok(Self(KVVec::with_capacity(capacity, GFP_KERNEL)?))
    }

    /// Adds `range` if it is not empty.
    pub(super) fn add(&mut self, range: Range) -> Result {
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
        let mut open: Option<Range> = None;
        for next in self.0.iter().copied() {
            open = match open {
                Some(range) if next.start < range.end => {
                    return Ok(Err(PhysBlock::new(next.start)));
                }
                Some(range) if next.start == range.end => Some(Range {
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

/// Sorts by start: a merge sort from short runs to long ones. The one of `core` has paths that panic.
fn sort(ranges: &mut KVVec<Range>) -> Result {
    let len = ranges.len();
    let mut from = core::mem::take(ranges);
    let mut to = KVVec::with_capacity(len, GFP_KERNEL)?;
    let mut width = 1_usize;
    while width < len {
        let mut rest: &[Range] = &from;
        while !rest.is_empty() {
            let (a, more) = rest.split_at_checked(width).unwrap_or((rest, &[]));
            let (b, more) = more.split_at_checked(width).unwrap_or((more, &[]));
            merge(a, b, &mut to)?;
            rest = more;
        }
        core::mem::swap(&mut from, &mut to);
        to.clear();
        width = width.saturating_mul(2);
    }
    *ranges = from;
    Ok(())
}

/// Appends two sorted runs to `to`, which has the room.
fn merge(a: &[Range], b: &[Range], to: &mut KVVec<Range>) -> Result {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if y.start < x.start => b.next(),
            (Some(_), _) => a.next(),
            (None, _) => b.next(),
        };
        match next {
            Some(range) => to.push_within_capacity(*range)?,
            None => return Ok(()),
        }
    }
}

/// The finished zone.
pub(super) struct Zone(KVVec<Range>);

impl Zone {
    /// The parts of `range` that are in the zone, in order.
    pub(super) fn parts(&self, range: Range) -> impl Iterator<Item = Range> + '_ {
        let first = self.0.partition_point(|r| r.end <= range.start);
        let after = self.0.get(first..).unwrap_or(&[]).iter();
        after
            .take_while(move |r| r.start < range.end)
            .map(move |r| Range {
                start: r.start.max(range.start),
                end: r.end.min(range.end),
            })
    }

    /// Whether any block of `range` is in the zone.
    pub(super) fn overlaps(&self, range: Range) -> bool {
        self.parts(range).next().is_some()
    }

    /// Adds `range`.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where a block of it is in the zone already; `ENOMEM`.
    pub(super) fn insert(&mut self, range: Range) -> Result {
        if self.overlaps(range) {
            return Err(EUCLEAN);
        }
        let mut all = Builder::new(self.0.len().saturating_add(1))?;
        for r in self.0.iter().copied() {
            all.add(r)?;
        }
        all.add(range)?;
        *self = all.build()?.map_err(|_| EUCLEAN)?;
        Ok(())
    }
}
