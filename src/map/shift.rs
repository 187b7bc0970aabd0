// SPDX-License-Identifier: GPL-2.0

//! The end of the file moves to other places in it: `FALLOC_FL_COLLAPSE_RANGE` and `FALLOC_FL_INSERT_RANGE`.
//!
//! Every leaf behind a place gets other entries, as many as it had, and the nodes above get their keys. All of it is
//! one change: in between the tree is not in order, and a crash must not find it so. Hence it takes one handle that
//! pays for all the nodes ([`FileMap::shift_credits`]), or a tree that is built anew (`anew.rs`).
//!
//! What is collapsed is not freed here, as that could take any number of transactions: its extents move to the end
//! of the map, where they can be cut off as with a truncate.
//!
//! # Locks
//!
//! A handle, then the inode's map lock, exclusively. Nothing here waits for a transaction.

use super::change::{NewNodes, Way};
use super::plan::TreeChange;
use super::tree::TreePath;
use super::FileMap;
use crate::disk::extent::Extent;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::store::{Credits, Store};
use crate::volume::Volume;
use core::ops::Range;
use kernel::alloc::KVVec;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// What moves.
#[derive(Clone, Debug)]
pub enum Shift {
    /// What is behind `range` moves to its place, and what is in it to the end, to block `least` or behind.
    Collapse {
        /// The blocks.
        range: Range<LogicalBlock>,
        /// See above.
        least: LogicalBlock,
    },
    /// What is at `range.start` and behind moves to `range.end`.
    Insert {
        /// The blocks.
        range: Range<LogicalBlock>,
    },
}

impl Shift {
    /// From where on the file has other blocks.
    pub fn from(&self) -> LogicalBlock {
        self.range().start
    }

    fn range(&self) -> &Range<LogicalBlock> {
        match self {
            Self::Collapse { range, .. } | Self::Insert { range } => range,
        }
    }

    /// All of the file in the order that it is to have: blocks, and where they will begin. What is collapsed will be at
    /// `gone`.
    pub(super) fn parts(
        &self,
        gone: &Range<LogicalBlock>,
    ) -> [(Range<LogicalBlock>, LogicalBlock); 3] {
        let Range { start, end } = self.range().clone();
        let (zero, limit) = (LogicalBlock::ZERO, LogicalBlock::LIMIT);
        let before = (zero..start, zero);
        match self {
            Self::Collapse { .. } => [before, (end..limit, start), (start..end, gone.start)],
            Self::Insert { .. } => [before, (start..limit, end), (limit..limit, limit)],
        }
    }
}

/// The leaves from a place on, and what is in them there.
struct Behind<S: Store> {
    /// The ways to the leaves. `pos` of a leaf is its first entry that is meant.
    leaves: KVVec<TreePath<S>>,
    extents: KVVec<Extent>,
}

impl FileMap {
    /// What [`Self::collapse`] and [`Self::insert`] cost at `from`, without the inode, as the tree is now.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EIO`; `EUCLEAN`, reported.
    pub fn shift_credits<S: Store>(&self, vol: &Volume<S>, from: LogicalBlock) -> Result<Credits> {
        // Two extents are split and two joined, before and afterwards: each as one is published.
        let edges = Self::publish_credits(vol, self.depth().saturating_add(1)) * 4;
        // One that is split may begin before `from`, and the nodes for two may make another leaf each.
        let mut leaves = 3_u32;
        self.tree.each_leaf(vol, from, |_| {
            leaves = leaves.saturating_add(1);
            Ok(true)
        })?;
        let per_node = u32::from(self.tree.format.entries_per_block()).max(2);
        let (mut level, mut nodes) = (leaves, leaves);
        for _ in 0..self.depth() {
            // Nodes need not be full.
            level = level.div_ceil(per_node.div_ceil(2)).saturating_add(2);
            nodes = nodes.saturating_add(level.min(leaves));
        }
        Ok(edges + Credits::blocks(nodes))
    }

    /// Does what `shift` says. Returns where the blocks are that are to be [removed](FileMap::remove), which may be
    /// none. `None`, and nothing of that is done, where `granted` is too little.
    ///
    /// # Errors
    ///
    /// Those of [`Self::collapse`] and [`Self::insert`].
    pub fn shift<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        shift: &Shift,
        granted: Credits,
    ) -> Result<Option<Range<LogicalBlock>>> {
        match shift {
            Shift::Collapse { range, least } => {
                self.collapse(vol, tx, range.clone(), *least, granted)
            }
            Shift::Insert { range } => {
                let len = range.end.saturating_distance_from(range.start);
                let done = self.insert(vol, tx, range.start, len, granted)?;
                Ok(done.then_some(range.start..range.start))
            }
        }
    }

    /// Whether all would be within what a file can have: `EINVAL`.
    pub(super) fn check_shift<S: Store>(&self, vol: &Volume<S>, shift: &Shift) -> Result {
        let Shift::Insert { range } = shift else {
            return Ok(());
        };
        let len = range.end.saturating_distance_from(range.start);
        let end = self.end_before(vol, LogicalBlock::LIMIT)?;
        match end.is_some_and(|end| LogicalBlock::LIMIT.saturating_distance_from(end) < len) {
            true => Err(EINVAL),
            false => Ok(()),
        }
    }

    /// Where what is collapsed will be.
    pub(super) fn gone<S: Store>(
        &self,
        vol: &Volume<S>,
        shift: &Shift,
    ) -> Result<Range<LogicalBlock>> {
        let Shift::Collapse { range, least } = shift else {
            return Ok(shift.from()..shift.from());
        };
        let len = range.end.saturating_distance_from(range.start);
        let end = self.end_before(vol, LogicalBlock::LIMIT)?;
        let end = end.map_or(range.end, |end| end.max(range.end));
        let to = LogicalBlock::new(end.get().saturating_sub(len)).max(*least);
        Ok(to..to.saturating_add(len))
    }

    /// Takes the blocks of `range` out of the file: what is behind them moves to where they were, and they to the end,
    /// to block `least` or behind. Returns where they are now, to be [removed](FileMap::remove) there. `None`, and
    /// nothing of that is done, where `granted` is too little.
    ///
    /// The caller has made sure that no I/O is in flight behind the start of the range, and that nothing of it is in
    /// the page cache or to be written. The caller writes the inode in the same handle, after an error too.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where an extent has to be split for which the tree needs another node, and there is no block; `ENOMEM`;
    /// errors of the journal; `EUCLEAN`, reported.
    pub fn collapse<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        range: Range<LogicalBlock>,
        least: LogicalBlock,
        granted: Credits,
    ) -> Result<Option<Range<LogicalBlock>>> {
        let len = range.end.saturating_distance_from(range.start);
        if !self.ready_to_shift(vol, tx, range.start, granted)? {
            return Ok(None);
        }
        self.split(vol, tx, range.end)?;
        let behind = self.behind(vol, range.start)?;
        let last = behind.extents.last();
        let end = last.map_or(range.end, |last| last.end().max(range.end));
        let to = LogicalBlock::new(end.get().saturating_sub(len)).max(least);
        let mut moved = KVVec::with_capacity(behind.extents.len(), GFP_KERNEL)?;
        let is_gone = |extent: &&Extent| extent.start < range.end;
        for extent in behind.extents.iter().skip_while(is_gone) {
            let start = LogicalBlock::new(extent.start.get().saturating_sub(len));
            moved.push(Extent { start, ..*extent }, GFP_KERNEL)?;
        }
        for extent in behind.extents.iter().take_while(is_gone) {
            let start = to.saturating_add(extent.start.saturating_distance_from(range.start));
            moved.push(Extent { start, ..*extent }, GFP_KERNEL)?;
        }
        self.rearrange(vol, tx, &behind, &moved)?;
        // All has moved by now: what cannot be joined, as a leaf cannot be read, stays two extents.
        let _ = self.join(vol, tx, range.start);
        let _ = self.join(vol, tx, to);
        Ok(Some(to..to.saturating_add(len)))
    }

    /// Moves what is from block `from` on back by `len` blocks, so that there is a hole. `false`, and nothing of that
    /// is done, where `granted` is too little.
    ///
    /// The caller has done what it has to do for [`Self::collapse`].
    ///
    /// # Errors
    ///
    /// `EINVAL` where a block would be moved behind the last that a file can have; those of [`Self::collapse`].
    pub fn insert<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        from: LogicalBlock,
        len: u32,
        granted: Credits,
    ) -> Result<bool> {
        let range = from..from.saturating_add(len);
        self.check_shift(vol, &Shift::Insert { range })?;
        if !self.ready_to_shift(vol, tx, from, granted)? {
            return Ok(false);
        }
        let behind = self.behind(vol, from)?;
        let mut moved = KVVec::with_capacity(behind.extents.len(), GFP_KERNEL)?;
        for extent in behind.extents.iter() {
            let start = extent.start.saturating_add(len);
            moved.push(Extent { start, ..*extent }, GFP_KERNEL)?;
        }
        self.rearrange(vol, tx, &behind, &moved)?;
        Ok(true)
    }

    /// Takes back what is only in memory from `from` on, and makes an extent begin there, if that block has one.
    /// `false` where `granted` is too little for all that follows.
    fn ready_to_shift<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        from: LogicalBlock,
        granted: Credits,
    ) -> Result<bool> {
        self.cancel(vol, from, LogicalBlock::LIMIT);
        self.release_window(vol);
        if granted
            .checked_sub(self.shift_credits(vol, from)?)
            .is_none()
        {
            return Ok(false);
        }
        self.cache.forget(from, LogicalBlock::LIMIT)?;
        self.split(vol, tx, from)?;
        Ok(true)
    }

    /// Makes two extents of one that has `at` in the middle.
    fn split<S: Store>(&mut self, vol: &Volume<S>, tx: &mut S::Tx<'_>, at: LogicalBlock) -> Result {
        let mut way = Way::new();
        let here = self.tree.seek(vol, at, &mut way)?;
        if !here.is_some_and(|here| here.start < at && here.end() > at) {
            return Ok(());
        }
        let change = TreeChange::Split(at);
        let cost = self.tree.cost(vol, &change, &mut way)?;
        self.reserve_entry(vol, &cost)?;
        let near = here.map_or(PhysBlock::new(0), |here| here.phys);
        let done = self
            .alloc_nodes(vol, tx, &cost, near)
            .and_then(|mut nodes| {
                let tree = &mut self.tree;
                tree.apply(vol, tx, &change, &mut way, &mut nodes, false)
                    .inspect_err(|_| tree.free_nodes(vol, tx, nodes, &mut self.pool))
            });
        self.release_spare_nodes(vol);
        self.changed(None);
        done
    }

    /// Joins the extent that begins at `at` with the one before, where they are in one leaf and one could be both.
    fn join<S: Store>(&mut self, vol: &Volume<S>, tx: &mut S::Tx<'_>, at: LogicalBlock) -> Result {
        let mut way = Way::new();
        let here = self.tree.seek(vol, at, &mut way)?;
        let before = self.tree.last_before(vol, at, true, &mut TreePath::new())?;
        let (Some(here), Some((_, before)), true) = (here, before, way.has_before()) else {
            return Ok(());
        };
        let len = before.len.saturating_add(here.len);
        if here.start != at || !before.continued_by(&here) || len > before.max_len() {
            return Ok(());
        }
        let change = TreeChange::Join(at);
        self.tree.cost(vol, &change, &mut way)?;
        let mut nodes = NewNodes::none();
        self.tree
            .apply(vol, tx, &change, &mut way, &mut nodes, false)
    }

    /// All leaves and extents from `from` on, where an extent begins, if there is one at all.
    fn behind<S: Store>(&self, vol: &Volume<S>, from: LogicalBlock) -> Result<Behind<S>> {
        let mut leaves = KVVec::new();
        let mut extents = KVVec::new();
        let mut at = from;
        while at < LogicalBlock::LIMIT {
            let mut path = TreePath::new();
            self.tree.find(vol, at, true, &mut path)?;
            let leaf = path.leaf();
            let mut first = None;
            for slot in leaf.slot()..leaf.len {
                let extent = self
                    .tree
                    .with_node(vol, &path, path.depth(), |node| node.extent(slot))?;
                if let Some(extent) = extent.filter(|extent| extent.start >= from) {
                    first = first.or(Some(slot));
                    extents.push(extent, GFP_KERNEL)?;
                }
            }
            at = leaf.to;
            if let Some(first) = first {
                path.set_leaf_pos(first);
                leaves.push(path, GFP_KERNEL)?;
            }
        }
        Ok(Behind { leaves, extents })
    }

    /// Puts `moved` where the extents of `behind` are, one for each.
    fn rearrange<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        behind: &Behind<S>,
        moved: &[Extent],
    ) -> Result {
        let mut rest = moved;
        for path in &behind.leaves {
            let leaf = path.leaf();
            let slot = leaf.slot();
            let count = leaf.len.saturating_sub(slot);
            let Some((new, others)) = rest.split_at_checked(count) else {
                return Err(vol
                    .store
                    .bug(self.tree.ino, "extents that are moved are lost"));
            };
            rest = others;
            let depth = path.depth();
            self.tree
                .edit(vol, tx, path, depth, |node| node.splice(slot, count, new))?;
            if let (0, Some(first)) = (slot, new.first()) {
                self.tree.set_first_key(vol, tx, path, depth, first.start)?;
            }
        }
        self.changed(None);
        Ok(())
    }
}
