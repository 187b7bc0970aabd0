// SPDX-License-Identifier: GPL-2.0

//! Blocks that take the place of others, all at once: what is written goes to new blocks first, and one transaction
//! maps those in place of what the file had there, holes or data in any number of extents.
//!
//! Up to then the file has what it had, for whoever looks: the new blocks are in no piece of the cache. There is one
//! such run at a time, as who writes so is alone with the file.
//!
//! # Locks
//!
//! The inode's map lock, exclusively; in [`FileMap::replace`] within a handle. Nothing here waits for a transaction.

use super::anew::{in_order, NodesOnWay};
use super::change::{NewNodes, Way};
use super::plan::TreeChange;
use super::tree::TreePath;
use super::{FileMap, Mapping, Piece, PieceKind, State};
use crate::disk::extent::Extent;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::space::{Goal, Run, Share};
use crate::store::{Credits, Store};
use crate::volume::Volume;
use kernel::alloc::KVVec;
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// Blocks that are chosen, and where in the file they will be.
#[derive(Clone, Copy)]
pub(super) struct Aside {
    at: LogicalBlock,
    run: Run,
}

impl Aside {
    /// As it will be in the tree.
    fn extent(&self) -> Extent {
        Extent {
            start: self.at,
            len: self.run.len,
            phys: self.run.start,
            written: true,
        }
    }
}

/// What is mapped in a range.
struct Old {
    /// The extents, cut to the range.
    parts: KVVec<Extent>,
    /// Those on the device, and the nodes above them, which may go with them; in the order of their places.
    runs: KVVec<Run>,
    /// How many nodes those are.
    nodes: u32,
}

impl FileMap {
    /// Chooses `len` blocks, a power of two, to take the place of those from `at` on, of which the first on the device
    /// is a multiple of `len`. Returns where they are; as [`State::Pending`], as they are free on disk.
    ///
    /// If there are some by now, that covers `at`, it is a later part of those that is meant.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where there is no such run; `ENOMEM`; `EFBIG`; `EIO`; `EUCLEAN`, reported.
    pub fn choose_aside<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        len: u32,
        goal: Goal,
        share: Share,
    ) -> Result<Mapping> {
        if self.aside.is_none() {
            if LogicalBlock::LIMIT.saturating_distance_from(at) < len {
                return Err(EFBIG);
            }
            let goal = Goal {
                near: self.near(vol, at, true)?,
                ..goal
            };
            let nothing = Run {
                start: PhysBlock::new(0),
                len: 0,
            };
            let mut aside = KBox::new(Aside { at, run: nothing }, GFP_KERNEL)?;
            self.reserve_nodes(vol, len, share)?;
            let run = vol.space.choose_aligned(&vol.store, goal, len, share);
            aside.run = run.inspect_err(|_| self.release_spare_nodes(vol))?;
            self.aside = Some(aside);
        }
        let part = self
            .aside
            .as_ref()
            .map(|aside| aside.extent())
            .filter(|all| all.start <= at && all.end() > at);
        let Some(part) = part.map(|all| all.clip(at, all.end().min(at.saturating_add(len)))) else {
            return Err(vol
                .store
                .bug(self.tree.ino, "two writes have chosen blocks aside"));
        };
        Ok(Mapping {
            start: part.start,
            len: part.len,
            state: State::Pending,
            phys: Some(part.phys),
            seq: self.seq,
        })
    }

    /// How many blocks are chosen aside.
    pub(super) fn aside_len(&self) -> u32 {
        self.aside.as_ref().map_or(0, |aside| aside.run.len)
    }

    /// Which blocks of the file will get others, if any.
    pub fn aside(&self) -> Option<(LogicalBlock, LogicalBlock)> {
        self.aside
            .as_ref()
            .map(|aside| (aside.at, aside.at.saturating_add(aside.run.len)))
    }

    /// Gives back what is chosen aside, if anything is.
    pub fn drop_aside<S: Store>(&mut self, vol: &Volume<S>) {
        if let Some(aside) = self.aside.take() {
            vol.space.unchoose(aside.run);
            self.release_spare_nodes(vol);
        }
    }

    /// What is mapped in the place of what is chosen aside, from the start of the file to its end.
    fn old<S: Store>(&self, vol: &Volume<S>, new: &Extent) -> Result<Old> {
        let mut old = Old {
            parts: KVVec::new(),
            runs: KVVec::new(),
            nodes: 0,
        };
        let mut to = new.end();
        let mut path = TreePath::new();
        let mut last_nodes = NodesOnWay::new();
        while let Some((_, last)) = self.tree.last_before(vol, to, true, &mut path)? {
            if last.end() <= new.start {
                break;
            }
            let part = last.clip(new.start, to);
            let run = Run {
                start: part.phys,
                len: part.len,
            };
            old.parts.push(part, GFP_KERNEL)?;
            old.runs.push(run, GFP_KERNEL)?;
            last_nodes.each_new(&path, |start| {
                old.nodes = old.nodes.saturating_add(1);
                old.runs.push(Run { start, len: 1 }, GFP_KERNEL)?;
                Ok(())
            })?;
            to = last.start;
        }
        in_order(&mut old.runs)?;
        Ok(old)
    }

    fn credits_to_replace<S: Store>(&self, vol: &Volume<S>, old: &Old) -> Credits {
        Self::publish_credits(vol, self.depth())
            + Credits::new(old.nodes, old.nodes)
            + vol.space.credits_runs(&old.runs)
    }

    /// What [`Self::replace`] costs, without the inode, as the tree is now.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EIO`; `EUCLEAN`, reported.
    pub fn replace_credits<S: Store>(&self, vol: &Volume<S>) -> Result<Credits> {
        let Some(aside) = &self.aside else {
            return Ok(Credits::NONE);
        };
        Ok(self.credits_to_replace(vol, &self.old(vol, &aside.extent())?))
    }

    /// Maps what is chosen aside, as written, and frees what the file had in its place, as a part of `tx`. Nothing is
    /// chosen aside then. `false`, and nothing has changed, where `granted` is too little.
    ///
    /// The data is on the device, no I/O to the blocks in the file's place is in flight, and nothing of them is in the
    /// page cache that is still to be written. The caller writes the inode in the same handle, after an error too.
    ///
    /// # Errors
    ///
    /// Errors of the journal and of bitmaps; `ENOMEM`; `EUCLEAN`, reported. The file is as it was then, unless the
    /// journal was aborted. That old blocks cannot be freed is reported, and is no error: they are lost until the next
    /// check.
    pub fn replace<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        granted: Credits,
    ) -> Result<bool> {
        let Some(aside) = self.aside.as_deref().copied() else {
            return Ok(true);
        };
        let new = aside.extent();
        self.cancel(vol, new.start, new.end());
        let old = self.old(vol, &new)?;
        if granted
            .checked_sub(self.credits_to_replace(vol, &old))
            .is_none()
        {
            return Ok(false);
        }
        // All that can fail for want of something comes before the first change of the tree.
        let first = Self::first_change(&new, &old);
        let cost = self.tree.cost(vol, &first, &mut Way::new())?;
        self.cache.forget(new.start, new.end())?;
        self.changed(None);
        self.cache.prepare(new.start)?;
        let mut nodes = self.alloc_nodes(vol, tx, &cost, new.phys)?;
        if let Err(error) = vol.space.mark_used(&vol.store, tx, aside.run) {
            self.tree.free_nodes(vol, tx, nodes, &mut self.pool);
            return Err(error);
        }
        // From now on they are no longer chosen only.
        self.aside = None;
        let replaced = self.put_in_place(vol, tx, (&new, &old), &first, &mut nodes);
        self.tree.free_nodes(vol, tx, nodes, &mut self.pool);
        if let Err(error) = replaced {
            self.lost = true;
            self.changed(None);
            return Err(error);
        }
        let sectors = u64::from(new.len).saturating_mul(vol.layout.block_size().sectors());
        self.tree.sectors = self.tree.sectors.saturating_add(sectors);
        let piece = Piece::new(new.start, new.len, PieceKind::Written, Some(new.phys));
        self.now_on_disk(vol, piece);
        for part in &old.parts {
            // It was reported, and the file does not have the block any more.
            let _ = self.free(
                vol,
                tx,
                Run {
                    start: part.phys,
                    len: part.len,
                },
            );
        }
        self.release_spare_nodes(vol);
        Ok(true)
    }

    /// The first change of the tree for [`Self::replace`], which alone may need room in the leaf.
    ///
    /// Where nothing begins behind the first block it is the whole. Else an entry of that block alone comes first: the
    /// leaf stays, whatever goes behind the block, and has the entry that will be the whole.
    fn first_change(new: &Extent, old: &Old) -> TreeChange {
        match old.parts.iter().all(|part| part.start <= new.start) {
            true => TreeChange::Replace(*new),
            false => TreeChange::Apart(new.clip(new.start, new.start.saturating_add(1))),
        }
    }

    /// Changes the tree for [`Self::replace`].
    fn put_in_place<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        (new, old): (&Extent, &Old),
        first: &TreeChange,
        nodes: &mut NewNodes,
    ) -> Result {
        let tree = &mut self.tree;
        tree.apply(vol, tx, first, &mut Way::new(), nodes, false)?;
        let TreeChange::Apart(one) = first else {
            return Ok(());
        };
        // No entry more: what goes begins an extent, and the whole takes the place of its first block.
        let mut change = |change: TreeChange| {
            let (way, none) = (&mut Way::new(), &mut NewNodes::none());
            tree.apply(vol, tx, &change, way, none, false)
        };
        for part in old.parts.iter().filter(|part| part.end() > one.end()) {
            change(TreeChange::Punch(part.start.max(one.end()), part.end()))?;
        }
        change(TreeChange::Replace(*new))
    }
}
