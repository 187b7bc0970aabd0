// SPDX-License-Identifier: GPL-2.0

//! Blocks that are there and read as zeros: `fallocate`.
//!
//! # Locks
//!
//! A handle, then the inode's map lock, exclusively. Nothing here waits for a transaction.

use super::change::Way;
use super::need;
use super::piece::PieceKind;
use super::plan::TreeChange;
use super::{FileMap, Mapping, State};
use crate::disk::extent::{Extent, MAX_UNWRITTEN, ROOT_ENTRIES};
use crate::disk::LogicalBlock;
use crate::space::{Claim, Goal, Run, Share};
use crate::store::{Credits, Store};
use crate::volume::Volume;
use core::cmp::Ordering;
use kernel::error::Result;

impl FileMap {
    /// Makes up to `len` blocks from `at` on unwritten, on disk, where there is a hole, or where they are only reserved
    /// or chosen: then they are chosen still, for the data that comes. Returns what is at `at` then. `None` where
    /// `granted` is too little: nothing has changed then, but that reserved blocks may be chosen ones.
    /// [`FileMap::publish_credits`] is enough, unless the tree has become higher.
    ///
    /// The blocks for a hole come from the `reserved` ones that the caller has from [`Space::reserve`], as long as
    /// there are any, then from what `share` allows. What is taken is taken off.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, before anything has changed on disk; as [`FileMap::publish`].
    ///
    /// [`Space::reserve`]: crate::space::Space::reserve
    pub fn preallocate<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        (at, len): (LogicalBlock, u32),
        goal: Goal,
        (reserved, share): (&mut u32, Share),
        granted: Credits,
    ) -> Result<Option<Mapping>> {
        let piece = self.piece(vol, at)?;
        let mut len = len.min(MAX_UNWRITTEN);
        let claim = match piece.kind() {
            PieceKind::Hole if *reserved > 0 => {
                len = len.min(*reserved);
                Claim::Reserved
            }
            PieceKind::Hole => Claim::Free(share),
            PieceKind::Delayed | PieceKind::Pending => Claim::Reserved,
            _ => return Ok(Some(Mapping::from_piece(&piece, at, len, self.seq))),
        };
        let chosen = self.choose_for(vol, (at, len), goal, (claim, share), true)?;
        let extent = Extent {
            start: at,
            len: chosen.len,
            phys: self.placed(vol, &chosen)?,
            written: false,
        };
        let hole = piece.kind() == PieceKind::Hole;
        let ours = hole && claim == Claim::Reserved;
        if ours {
            *reserved = reserved.saturating_sub(extent.len);
        }
        let mut left = granted;
        let (change, mut way) = (TreeChange::Insert(extent), Way::new());
        if !hole {
            // Now, as later it is too late to find that there is no space.
            self.reserve_to_claim(vol, &change, &mut way)
                .inspect_err(|_| self.release_spare_nodes(vol))?;
        }
        let done = self.map(vol, tx, &change, extent, &mut way, &mut left);
        if !matches!(done, Ok(true)) {
            if ours {
                *reserved = reserved.saturating_add(self.unchoose_reserved(vol, &extent));
            } else if hole {
                self.cancel(vol, at, extent.end());
            } else {
                self.release_spare_nodes(vol);
            }
            return done.map(|_| None);
        }
        if !hole {
            // Its data is coming, and what was reserved for that is there still.
            self.choose(vol, at, extent.len, goal, Share::All)?;
        }
        self.release_spare_nodes(vol);
        let piece = self.piece(vol, at)?;
        Ok(Some(Mapping::from_piece(&piece, at, chosen.len, self.seq)))
    }

    /// Reserves the nodes that `change` needs, which makes chosen blocks unwritten ones, and those that their
    /// conversion may need then.
    fn reserve_to_claim<S: Store>(
        &mut self,
        vol: &Volume<S>,
        change: &TreeChange,
        way: &mut Way<S>,
    ) -> Result {
        let cost = self.tree.cost(vol, change, way)?;
        let mut shape = self.shape(vol);
        match cost.nodes.cmp(&shape.depth.into()) {
            Ordering::Greater => (shape.depth, shape.root) = (shape.depth.saturating_add(1), 1),
            // The root gets an entry more.
            Ordering::Equal => shape.root = shape.root.saturating_add(1).min(ROOT_ENTRIES),
            Ordering::Less => (),
        }
        // The blocks are counted already. What comes to that: two places more, if they were in the middle of a piece,
        // and what an unwritten run counts for beside its blocks.
        let after = need::nodes(shape, self.load().plus(0).plus(0));
        self.raise(vol, after.saturating_add(cost.nodes), Share::All)
    }

    /// Takes back the blocks that were chosen for `extent`, if they are only chosen still. Returns how many are
    /// reserved then.
    fn unchoose_reserved<S: Store>(&mut self, vol: &Volume<S>, extent: &Extent) -> u32 {
        let found = self.lookup_cached(extent.start, extent.len);
        let kept = match found.filter(|found| found.state == State::Pending) {
            Some(_) if self.cache.forget(extent.start, extent.end()).is_ok() => {
                self.changed(None);
                vol.space.unchoose_reserved(Run {
                    start: extent.phys,
                    len: extent.len,
                })
            }
            _ => 0,
        };
        self.release_spare_nodes(vol);
        kept
    }

    /// Makes up to `len` blocks from `at` on unwritten, on disk, where they are written. Returns what is at `at` then;
    /// where that was not written, nothing has changed. `None`, and nothing has changed, where `granted` is too little.
    ///
    /// The caller has made sure that no I/O to these blocks is in flight, and that nothing of them is in the page
    /// cache.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where the tree needs another node and there is no block at all; as [`FileMap::publish`].
    pub fn unwrite<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        at: LogicalBlock,
        len: u32,
        granted: Credits,
    ) -> Result<Option<Mapping>> {
        let found = Mapping::from_piece(&self.piece(vol, at)?, at, len, self.seq);
        if found.state != State::Written {
            return Ok(Some(found));
        }
        let phys = self.placed(vol, &found)?;
        let (mut len, mut way) = (found.len, Way::new());
        if let Some(here) = self.tree.seek(vol, at, &mut way)? {
            // What is one run in memory may be more than one extent.
            len = len.min(here.end().saturating_distance_from(at)).max(1);
        }
        let extent = Extent {
            start: at,
            len: len.min(MAX_UNWRITTEN),
            phys,
            written: false,
        };
        // An entry or two more, which nobody has counted on.
        self.reserve_nodes(vol, extent.len, Share::All)?;
        let change = TreeChange::Unwrite(at, extent.end());
        let mut left = granted;
        let done = self.map(vol, tx, &change, extent, &mut way, &mut left);
        self.release_spare_nodes(vol);
        if !done? {
            return Ok(None);
        }
        Ok(Some(Mapping::from_piece(
            &self.piece(vol, at)?,
            at,
            extent.len,
            self.seq,
        )))
    }
}
