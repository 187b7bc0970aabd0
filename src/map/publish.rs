// SPDX-License-Identifier: GPL-2.0

//! What happens when the data is on the device: one transaction marks the blocks used and maps them.
//!
//! # Locks
//!
//! A handle, then the inode's map lock, exclusively. Nothing here waits for a transaction.

use super::change::{Cost, NewNodes, Way};
use super::need;
use super::piece::{Piece, PieceKind};
use super::plan::TreeChange;
use super::{FileMap, Mapping, Progress, Rests};
use crate::disk::extent::{Extent, MAX_WRITTEN};
use crate::disk::{Group, LogicalBlock, PhysBlock};
use crate::space::{Claim, Goal, Run, Share};
use crate::store::{Credits, Store};
use crate::volume::Volume;
use kernel::error::{code::*, Result};

impl FileMap {
    /// What one run costs at most to publish, without the inode. A handle that was begun with more publishes several
    /// runs at once. `depth` is [`FileMap::depth`] or [`Snapshot::depth`](super::Snapshot::depth); if the tree has
    /// become higher since, [`FileMap::publish`] does nothing and asks to be called again.
    pub fn publish_credits<S: Store>(vol: &Volume<S>, depth: u16) -> Credits {
        let depth = u32::from(depth);
        let nodes = depth.saturating_add(1);
        // Nodes on the way, new ones, and the bitmaps of those, of the run and of a node that is given up.
        Credits::new(depth.saturating_add(nodes), 1)
            + vol.space.credits_mark_used(nodes.saturating_add(1))
            + vol.space.credits_free(1)
    }

    /// Makes what is pending or unwritten in the `len` blocks from `at` on written, on disk, as a part of `tx`. What is
    /// written stays. The data is on the device already.
    ///
    /// `granted` is what the handle has left for this; each run is published only if that is enough. The caller writes
    /// the inode in the same handle (`i_block`, `i_blocks`, perhaps the size), after an error too: runs before it are
    /// published.
    ///
    /// # Errors
    ///
    /// Errors of the journal and of bitmaps; `EUCLEAN`, reported. For what was chosen here, `ENOSPC` does not occur
    /// (for unwritten blocks that were not, it can). What was not published is as before; but a run for which the tree
    /// turned out to be bad only when its blocks were marked as used is lost until the next check. `EIO` for a hole or
    /// a delayed run in a file that has lost one; in any other file nobody has chosen blocks for what was written, a
    /// bug.
    pub fn publish<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        at: LogicalBlock,
        len: u32,
        granted: Credits,
    ) -> Result<Progress> {
        self.publish_with(vol, tx, (at, len), granted, &mut Rests::default())
    }

    /// As [`Self::publish`], with small rests of unwritten extents if `rests` allows that ([`Self::zero_rests`]).
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub fn publish_with<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        (at, len): (LogicalBlock, u32),
        granted: Credits,
        rests: &mut Rests,
    ) -> Result<Progress> {
        let end = at.saturating_add(len);
        let mut at = at;
        let mut left = granted;
        let mut way = Way::new();
        while at < end {
            let piece = self.piece(vol, at)?.clip(at, end);
            let kind = piece.kind();
            let Some(phys) = piece.phys() else {
                return Err(match self.lost {
                    // That was reported.
                    true => EIO,
                    false => vol.store.bug(
                        self.tree.ino,
                        "nobody has chosen blocks for what was written",
                    ),
                });
            };
            if kind != PieceKind::Written {
                let mut len = piece.len.min(MAX_WRITTEN);
                let (mut start, mut place) = (at, phys);
                if kind == PieceKind::Pending {
                    // A run may have grown over many groups: what is paid for is one bitmap. The tree joins the parts.
                    len = vol.space.in_one_group(Run { start: phys, len }).max(1);
                } else if let Some(here) = self.tree.seek(vol, at, &mut way)? {
                    // What is one run in memory may be more than one extent: of two leaves, or of the greatest length.
                    len = len.min(here.end().saturating_distance_from(at)).max(1);
                    let data = at..at.saturating_add(len);
                    let Some(all) = self.with_rests(vol, &here, data, rests.end) else {
                        self.release_spare_nodes(vol);
                        rests.wanted = true;
                        return Ok(Progress::Again(at));
                    };
                    let more = all.end.saturating_distance_from(all.start);
                    if more > len {
                        (start, len, place) = (all.start, more, here.phys_at(all.start));
                        rests.shown = rests.with(all);
                    }
                }
                let extent = Extent {
                    start,
                    len,
                    phys: place,
                    written: true,
                };
                if matches!(kind, PieceKind::Unwritten | PieceKind::Zeroed) {
                    self.reserve_nodes(vol, extent.len, Share::All)?;
                }
                let change = match kind {
                    PieceKind::Pending => TreeChange::Insert(extent),
                    _ => TreeChange::Convert(start, extent.end()),
                };
                if !self.map(vol, tx, &change, extent, &mut way, &mut left)? {
                    self.release_spare_nodes(vol);
                    return Ok(Progress::Again(at));
                }
                at = extent.end();
            } else {
                at = piece.end();
            }
        }
        drop(way);
        self.lower(vol, tx, &mut left);
        self.release_spare_nodes(vol);
        Ok(Progress::Done)
    }

    /// Chooses blocks for up to `len` blocks from `at` on, which are a hole, and maps them as written at once: for
    /// directories and long symbolic links, whose blocks are filled in the same transaction.
    ///
    /// Costs [`FileMap::publish_credits`] and the inode, which the caller writes.
    ///
    /// # Errors
    ///
    /// `ENOSPC`; `EEXIST` where there is no hole; as [`FileMap::publish`].
    pub fn allocate<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        at: LogicalBlock,
        len: u32,
        goal: Goal,
        share: Share,
    ) -> Result<Run> {
        let piece = self.piece(vol, at)?;
        if piece.kind() != PieceKind::Hole {
            return Err(EEXIST);
        }
        let chosen = self.choose(vol, at, len.min(MAX_WRITTEN), goal, share)?;
        let run = Run {
            start: self.placed(vol, &chosen)?,
            len: chosen.len,
        };
        let granted = Self::publish_credits(vol, self.depth());
        match self.publish(vol, tx, at, run.len, granted) {
            Ok(Progress::Done) => Ok(run),
            Ok(Progress::Again(_)) => Err(vol.store.bug(
                self.tree.ino,
                "the credits for one extent are too few to publish it",
            )),
            Err(error) => {
                self.cancel(vol, at, chosen.end());
                Err(error)
            }
        }
    }

    /// Makes one change that maps `extent`, if `left` is enough for it; says whether it was. `way` leads there, or
    /// nowhere yet.
    #[inline(always)]
    pub(super) fn map<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        change: &TreeChange,
        extent: Extent,
        way: &mut Way<S>,
        left: &mut Credits,
    ) -> Result<bool> {
        let cost = self.tree.cost(vol, change, way)?;
        let run = match change {
            TreeChange::Insert(extent) => Some(Run {
                start: extent.phys,
                len: extent.len,
            }),
            _ => None,
        };
        let bitmaps = match (cost.nodes, run) {
            (0, Some(run)) => vol.space.credits_run(run),
            (nodes, run) => vol
                .space
                .credits_mark_used(nodes.saturating_add(run.is_some().into())),
        };
        let Some(rest) = left.checked_sub(Credits::blocks(cost.edits) + bitmaps) else {
            return Ok(false);
        };
        self.cache.prepare(extent.start)?;
        let dense = self.may_be_dense(vol, &cost, extent.len);
        let mut nodes = self.alloc_nodes(vol, tx, &cost, extent.phys)?;
        if let Some(run) = run {
            if let Err(error) = vol.space.mark_used(&vol.store, tx, run) {
                self.tree.free_nodes(vol, tx, nodes, &mut self.pool);
                return Err(error);
            }
        }
        if let Err(error) = self.tree.apply(vol, tx, change, way, &mut nodes, dense) {
            self.tree.free_nodes(vol, tx, nodes, &mut self.pool);
            if run.is_some() {
                // In use on disk, and perhaps mapped: it must not be given back as if it were only chosen. Does not
                // fail, as there is room in the cache.
                let _ = self.cache.forget(extent.start, extent.end());
                self.lost = true;
                self.changed(None);
            }
            return Err(error);
        }
        *left = rest;
        if let Some(run) = run {
            let sectors = u64::from(run.len).saturating_mul(vol.layout.block_size().sectors());
            self.tree.sectors = self.tree.sectors.saturating_add(sectors);
        }
        let kind = if extent.written {
            PieceKind::Written
        } else {
            PieceKind::Unwritten
        };
        let piece = Piece::new(extent.start, extent.len, kind, Some(extent.phys));
        self.now_on_disk(vol, piece);
        Ok(true)
    }

    /// Whether nodes may be left full at the end of the file, see `need.rs`.
    fn may_be_dense<S: Store>(&mut self, vol: &Volume<S>, cost: &Cost, blocks: u32) -> bool {
        if cost.nodes == 0 {
            return false;
        }
        let mut shape = self.shape(vol);
        if cost.nodes > u32::from(shape.depth) {
            shape.depth = shape.depth.saturating_add(1);
            shape.root = 1;
        }
        let after = need::nodes(shape, self.load().split(blocks));
        self.raise(vol, after.saturating_add(cost.nodes), Share::Common)
            .is_ok()
    }

    /// Takes the blocks for new nodes, from the pool as long as it has any, near device block `near`.
    pub(super) fn alloc_nodes<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        cost: &Cost,
        near: PhysBlock,
    ) -> Result<NewNodes> {
        if cost.nodes == 0 {
            return Ok(NewNodes::none());
        }
        let group = vol
            .layout
            .group_of(near)
            .map_or(Group::new(0), |(group, _)| group);
        let goal = Goal::in_group(group);
        // Beyond the pool only where more is removed than is outstanding.
        self.tree.alloc_nodes(
            vol,
            tx,
            cost.nodes,
            goal,
            &mut self.pool,
            Claim::Free(Share::All),
        )
    }

    /// Makes the tree lower where it can be, if `left` is enough for that and nothing outstanding could miss the block.
    /// Where that fails, the tree stays as high as it is: what the caller has done is done all the same.
    pub(super) fn lower<S: Store>(
        &mut self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        left: &mut Credits,
    ) {
        while self.depth() > 0 && self.tree.can_collapse(vol) == Ok(true) {
            let node = vol.space.credits_free(1) + Credits::new(0, 1);
            let Some(rest) = left.checked_sub(node) else {
                break;
            };
            let mut shape = self.shape(vol);
            shape.depth = shape.depth.saturating_sub(1);
            // As full as it may be then.
            shape.root = crate::disk::extent::ROOT_ENTRIES;
            if need::nodes(shape, self.load()) > self.pool {
                break;
            }
            let done = self.tree.collapse(vol, tx);
            self.changed(None);
            if done != Ok(true) {
                break;
            }
            *left = rest;
        }
    }

    /// Where chosen blocks are.
    pub(super) fn placed<S: Store>(&self, vol: &Volume<S>, chosen: &Mapping) -> Result<PhysBlock> {
        let phys = chosen.phys;
        phys.ok_or_else(|| {
            vol.store.bug(
                self.tree.ino,
                "a piece with chosen blocks has no device block",
            )
        })
    }
}
