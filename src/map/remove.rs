// SPDX-License-Identifier: GPL-2.0

//! Unmapping: truncate, punch, evict.
//!
//! Goes from the end of the range to its start, so that a truncate that is interrupted by a crash leaves a shorter
//! file. In each step the tree forgets blocks before they are freed: an error in between leaks blocks, and never leaves
//! a block both free and mapped.
//!
//! # Locks
//!
//! A handle, then the inode's map lock, exclusively. Nothing here waits for a transaction.

use super::change::Way;
use super::plan::TreeChange;
use super::tree::TreePath;
use super::{FileMap, Progress};
use crate::disk::extent::{Extent, MAX_WRITTEN};
use crate::disk::{Group, LogicalBlock};
use crate::space::Run;
use crate::store::{Credits, Store};
use crate::volume::Volume;
use core::ops::Range;
use kernel::error::Result;

/// Extents that are unmapped by one edit of a leaf.
const BATCH: usize = 16;

/// Extents that go out of a leaf together.
struct FreeBatch {
    runs: [Option<Run>; BATCH],
    len: usize,
    /// The last group whose bitmap is paid for.
    group: Option<Group>,
}

impl FreeBatch {
    fn new() -> Self {
        Self {
            runs: [None; BATCH],
            len: 0,
            group: None,
        }
    }

    /// Adds an extent, if there is a place for it and `left` pays for its bitmaps.
    fn add<S: Store>(&mut self, vol: &Volume<S>, extent: &Extent, left: &mut Credits) -> bool {
        let run = Run {
            start: extent.phys,
            len: extent.len,
        };
        let last = PhysLast::of(vol, &run);
        let cost = match last {
            // All in the group that the extent before was in.
            Some((first, last)) if first == last && self.group == Some(first) => Credits::NONE,
            _ => vol.space.credits_run(run),
        };
        let (Some(slot), Some(rest)) = (self.runs.get_mut(self.len), left.checked_sub(cost)) else {
            return false;
        };
        *slot = Some(run);
        *left = rest;
        self.len = self.len.saturating_add(1);
        self.group = last.map(|(_, last)| last);
        true
    }
}

/// The groups of the ends of a run.
struct PhysLast;

impl PhysLast {
    fn of<S: Store>(vol: &Volume<S>, run: &Run) -> Option<(Group, Group)> {
        let (first, _) = vol.layout.group_of(run.start)?;
        let last = run.start.checked_add(u64::from(run.len).checked_sub(1)?)?;
        let (last, _) = vol.layout.group_of(last)?;
        Some((first, last))
    }
}

impl FileMap {
    /// The least that [`FileMap::remove`] needs to get on, without the inode. With more it does more at a time.
    pub fn remove_credits<S: Store>(vol: &Volume<S>, depth: u16) -> Credits {
        // The tree may become lower by a level with each node that goes.
        Self::publish_credits(vol, depth)
            + vol.space.credits_free(MAX_WRITTEN)
            + (vol.space.credits_free(1) + Credits::new(0, 1)) * depth.into()
    }

    /// Makes `from..to` a hole: takes back what is delayed or pending there, and frees what is mapped, as far as
    /// `granted` reaches. On [`Progress::Again`] all from the returned block on is done.
    ///
    /// The caller writes the inode in the same handle, after an error too: a part may have been done.
    ///
    /// The caller has made sure that no I/O to these blocks is in flight and that the inode's size, or its place on the
    /// orphan list, makes a crash between two steps harmless.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where a hole inside one extent needs a new tree block and there is none at all: nothing is unmapped
    /// then. Errors of the journal and of bitmaps; `EUCLEAN`, reported. What is left is consistent; blocks may be lost
    /// until the next check of the file system.
    pub fn remove<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        from: LogicalBlock,
        to: LogicalBlock,
        granted: Credits,
    ) -> Result<Progress> {
        self.cancel(vol, from, to);
        let mut to = to;
        let mut left = granted;
        let mut path = TreePath::new();
        while let Some((slot, last)) = self.tree.last_before(vol, to, true, &mut path)? {
            if last.end() <= from {
                break;
            }
            let done = if last.start < from || last.end() > to {
                self.remove_part(vol, tx, last.clip(from, to), to, &mut left)?
            } else {
                self.remove_whole(vol, tx, &path, slot, from..to, &mut left)?
            };
            let Some(start) = done else {
                self.release_spare_nodes(vol);
                return Ok(Progress::Again(to));
            };
            to = start;
        }
        drop(path);
        // What was known of holes between the extents is now one hole. Without memory it stays as it is.
        let _ = self.cache.forget(from, to);
        self.lower(vol, tx, &mut left);
        self.release_spare_nodes(vol);
        Ok(Progress::Done)
    }

    /// Removes a part of one extent, behind which there is nothing up to `to`. `None` where the credits are too few.
    fn remove_part<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        part: Extent,
        to: LogicalBlock,
        left: &mut Credits,
    ) -> Result<Option<LogicalBlock>> {
        let change = TreeChange::Punch(part.start, part.end());
        let mut way = Way::new();
        let cost = self.tree.cost(vol, &change, &mut way)?;
        let run = Run {
            start: part.phys,
            len: part.len,
        };
        let mut need = Credits::blocks(cost.edits) + vol.space.credits_run(run);
        if cost.nodes > 0 {
            need = need + vol.space.credits_mark_used(cost.nodes);
        }
        let Some(rest) = left.checked_sub(need) else {
            return Ok(None);
        };
        self.reserve_entry(vol, &cost)?;
        self.cache.prepare(part.start)?;
        let mut nodes = self.alloc_nodes(vol, tx, &cost, part.phys)?;
        if let Err(error) = self
            .tree
            .apply(vol, tx, &change, &mut way, &mut nodes, false)
        {
            self.tree.free_nodes(vol, tx, nodes, &mut self.pool);
            return Err(error);
        }
        *left = rest;
        self.unmapped(part.start, to)?;
        self.free(vol, tx, run)?;
        Ok(Some(part.start))
    }

    /// Removes whole extents of a leaf, `slot` and before it, that lie in `range`; behind the first there is nothing in
    /// it. `None` where the credits are too few for one.
    fn remove_whole<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        path: &TreePath<S>,
        slot: usize,
        range: Range<LogicalBlock>,
        left: &mut Credits,
    ) -> Result<Option<LogicalBlock>> {
        // Nodes on the way are changed or, each with its bitmap, freed.
        let depth = path.depth() as u32;
        let nodes = (vol.space.credits_free(1) + Credits::new(1, 1)) * depth;
        let Some(mut rest) = left.checked_sub(nodes) else {
            return Ok(None);
        };
        let mut batch = FreeBatch::new();
        let (mut first, mut start) = (slot, None);
        for i in (0..=slot).rev() {
            let extent = self
                .tree
                .with_node(vol, path, path.depth(), |node| node.extent(i))?;
            let Some(extent) = extent.filter(|extent| extent.start >= range.start) else {
                break;
            };
            if !batch.add(vol, &extent, &mut rest) {
                break;
            }
            (first, start) = (i, Some(extent.start));
        }
        let Some(start) = start else {
            return Ok(None);
        };
        self.cache.prepare(start)?;
        self.tree.cut(vol, tx, path, first, batch.len)?;
        // Most often no node was freed.
        *left = rest;
        self.unmapped(start, range.end)?;
        let mut result = Ok(());
        for run in batch.runs.iter().flatten() {
            let freed = self.free(vol, tx, *run);
            result = result.and(freed);
        }
        result.map(|()| Some(start))
    }

    /// The tree maps nothing in `from..to` any more. There is room in the cache for that.
    fn unmapped(&mut self, from: LogicalBlock, to: LogicalBlock) -> Result {
        self.changed(None);
        self.cache.forget(from, to)
    }

    /// Frees blocks of data.
    pub(super) fn free<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        run: Run,
    ) -> Result {
        let sectors = u64::from(run.len).saturating_mul(vol.layout.block_size().sectors());
        self.tree.sectors = self.tree.sectors.saturating_sub(sectors);
        vol.space.free(&vol.store, tx, run)
    }
}
