// SPDX-License-Identifier: GPL-2.0

//! What happens before the data is written: space is reserved, blocks are chosen. All in memory.
//!
//! Here, and not when the write completes, is where a full device is noticed.
//!
//! # Locks
//!
//! The inode's map lock, exclusively.

use super::change::Cost;
use super::need::{self, Load, Shape};
use super::piece::{Piece, PieceKind};
use super::tree::TreePath;
use super::{FileMap, Mapping, Reserved};
use crate::disk::LogicalBlock;
use crate::space::{Claim, Goal, Run, Share};
use crate::store::Store;
use crate::volume::Volume;
use kernel::error::{code::*, Result};

impl FileMap {
    /// Reserves space for up to `len` blocks from `at` on, if there is a hole: they become delayed. Returns what
    /// is at `at` then; where that is no hole, nothing has changed.
    ///
    /// When there is not enough space for all of them, fewer are reserved.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where there is no space for one block; `ENOMEM`; those of [`FileMap::lookup`].
    pub fn reserve<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        len: u32,
        share: Share,
    ) -> Result<Reserved> {
        let piece = self.piece(vol, at)?;
        if piece.kind() != PieceKind::Hole {
            self.snapshot.set(Some(&piece), self.seq);
            let mapping = Mapping::from_piece(&piece, at, len, self.seq);
            return Ok(Reserved {
                mapping,
                new: false,
            });
        }
        self.cache.prepare(at)?;
        let mut len = piece.end().saturating_distance_from(at).min(len.max(1));
        loop {
            // The blocks themselves first, as they are more.
            let reserved = vol.space.reserve(len, 0, share).and_then(|()| {
                self.reserve_nodes(vol, len, share)
                    .inspect_err(|_| vol.space.unreserve(len, 0))
            });
            match reserved {
                Ok(()) => break,
                Err(error) if error == ENOSPC && len > 1 => len /= 2,
                Err(error) => return Err(error),
            }
        }
        let delayed = Piece::new(at, len, PieceKind::Delayed, None);
        let joined = self.keep(vol, delayed)?;
        self.changed(Some(&joined));
        let mapping = Mapping::from_piece(&delayed, at, len, self.seq);
        Ok(Reserved { mapping, new: true })
    }

    /// Chooses blocks for up to `len` blocks from `at` on, if there is a hole or a delayed run: they become pending. Of
    /// an unwritten run it reserves what its conversion may need. Returns what is at `at` then, so that data can be
    /// written to it: a contiguous run, perhaps shorter than `len`.
    ///
    /// `goal.near`, where it is `None`, is found from the blocks around in the file.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, never for delayed blocks, and for unwritten ones only where not even a kept block is left; `ENOMEM`;
    /// `EFBIG`, where the tree has reached the size that the format allows; those of [`FileMap::lookup`].
    pub fn choose<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        len: u32,
        goal: Goal,
        share: Share,
    ) -> Result<Mapping> {
        self.choose_for(vol, (at, len), goal, (Claim::Free(share), share), true)
    }

    /// As [`Self::choose`], but never waits for the device.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where something would have to be read; those of [`Self::choose`].
    pub fn choose_now<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        len: u32,
        goal: Goal,
        share: Share,
    ) -> Result<Mapping> {
        // Then `piece` does not read.
        self.lookup_cached(at, 1).ok_or(EAGAIN)?;
        self.choose_for(vol, (at, len), goal, (Claim::Free(share), share), false)
    }

    /// What [`Self::choose`] and [`Self::choose_now`] do. The blocks of a hole are charged to `claim`, nodes to
    /// `share`.
    pub(super) fn choose_for<S: Store>(
        &mut self,
        vol: &Volume<S>,
        (at, len): (LogicalBlock, u32),
        goal: Goal,
        (claim, share): (Claim, Share),
        wait: bool,
    ) -> Result<Mapping> {
        let piece = self.piece(vol, at)?;
        let len = piece.end().saturating_distance_from(at).min(len.max(1));
        let chosen = match piece.kind() {
            PieceKind::Pending | PieceKind::Claimed | PieceKind::Written => {
                self.snapshot.set(Some(&piece), self.seq);
                return Ok(Mapping::from_piece(&piece, at, len, self.seq));
            }
            PieceKind::Unwritten | PieceKind::Zeroed => {
                self.cache.prepare(at)?;
                // The blocks are there: who was given them can write to them, whoever else fills the device.
                self.reserve_nodes(vol, len, Share::All)?;
                let part = piece.clip(at, at.saturating_add(len));
                Piece::new(at, part.len, PieceKind::Claimed, part.phys())
            }
            PieceKind::Hole | PieceKind::Delayed => {
                self.cache.prepare(at)?;
                let goal = Goal {
                    near: match goal.near {
                        None => self.near(vol, at, wait)?,
                        near => near,
                    },
                    ..goal
                };
                let claim = if piece.kind() == PieceKind::Delayed {
                    Claim::Reserved
                } else {
                    self.reserve_nodes(vol, len, share)?;
                    claim
                };
                let run = self
                    .pick(vol, at, len, goal, claim, wait)
                    .inspect_err(|error| {
                        vol.store.chosen(Err(*error));
                        self.release_spare_nodes(vol);
                    })?;
                Piece::new(at, run.len, PieceKind::Pending, Some(run.start))
            }
        };
        let joined = self.keep(vol, chosen)?;
        self.release_spare_nodes(vol);
        self.changed(Some(&joined));
        Ok(Mapping::from_piece(&chosen, at, len, self.seq))
    }

    /// Takes back what was reserved or chosen in `from..to`. On disk nothing changes: delayed and pending blocks
    /// are holes again. The caller makes sure that no I/O to pending blocks is in flight.
    ///
    /// Without memory to note that only a part of a run is taken back, that run stays as it is until a larger part of
    /// it is taken back, at the latest in [`FileMap::evict`].
    pub fn cancel<S: Store>(&mut self, vol: &Volume<S>, from: LogicalBlock, to: LogicalBlock) {
        self.cancel_if(vol, from, to, |kind| {
            matches!(
                kind,
                PieceKind::Delayed | PieceKind::Pending | PieceKind::Claimed
            )
        });
    }

    /// As [`Self::cancel`], for delayed blocks only: what is being written to pending blocks is not disturbed.
    pub fn cancel_delayed<S: Store>(
        &mut self,
        vol: &Volume<S>,
        from: LogicalBlock,
        to: LogicalBlock,
    ) {
        self.cancel_if(vol, from, to, |kind| kind == PieceKind::Delayed);
    }

    fn cancel_if<S: Store>(
        &mut self,
        vol: &Volume<S>,
        from: LogicalBlock,
        to: LogicalBlock,
        which: impl Fn(PieceKind) -> bool,
    ) {
        let mut at = from;
        while at < to {
            let Some(piece) = self.cache.next(at).filter(|piece| piece.start < to) else {
                break;
            };
            let part = piece.clip(at, to);
            at = part.end();
            if !which(piece.kind()) {
                continue;
            }
            if self.cache.forget(part.start, part.end()).is_err() {
                continue;
            }
            match (part.kind(), part.phys()) {
                (PieceKind::Delayed, _) => vol.space.unreserve(part.len, 0),
                (PieceKind::Pending, Some(start)) => vol.space.unchoose(Run {
                    start,
                    len: part.len,
                }),
                _ => (),
            }
            self.changed(None);
        }
        self.release_spare_nodes(vol);
    }

    /// The device block that `at` should get, going by what comes before it in the file.
    #[inline(always)]
    pub(super) fn near<S: Store>(
        &self,
        vol: &Volume<S>,
        at: LogicalBlock,
        wait: bool,
    ) -> Result<Option<crate::disk::PhysBlock>> {
        let pending = at
            .get()
            .checked_sub(1)
            .and_then(|before| self.lookup_cached(LogicalBlock::new(before), 1));
        if let Some(phys) = pending.and_then(|mapping| mapping.phys) {
            return Ok(phys.checked_add(1));
        }
        self.near_on_disk(vol, at, wait)
    }

    /// [`Self::near`], where the block before is not known or not there.
    fn near_on_disk<S: Store>(
        &self,
        vol: &Volume<S>,
        at: LogicalBlock,
        wait: bool,
    ) -> Result<Option<crate::disk::PhysBlock>> {
        let mut path = TreePath::new();
        if let Some((_, before)) = self.tree.last_before(vol, at, wait, &mut path)? {
            // As far behind its blocks as in the file: what fills the gap later lies between.
            let near = before.phys_at(at);
            return Ok(Some(near).filter(|near| vol.layout.contains(*near, 1)));
        }
        Ok(None)
    }

    /// What the tree is like, for [`need::nodes`].
    pub(super) fn shape(&self) -> Shape {
        let (depth, root) = self
            .tree
            .root()
            .map_or((0, 0), |root| (root.depth(), root.len() as u16));
        Shape {
            depth,
            root,
            per_node: self.tree.format.entries_per_block(),
        }
    }

    /// All that is outstanding.
    pub(super) fn load(&self) -> Load {
        let load = Load::of(&self.cache.totals());
        match self.aside_len() {
            0 => load,
            len => load.plus(len),
        }
    }

    /// Reserves nodes so that `blocks` blocks in one place can become outstanding, or be mapped at once.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: nothing is reserved then.
    pub(super) fn reserve_nodes<S: Store>(
        &mut self,
        vol: &Volume<S>,
        blocks: u32,
        share: Share,
    ) -> Result {
        let need = need::nodes(self.shape(), self.load().plus(blocks));
        self.raise(vol, need, share)
    }

    /// Reserves nodes for a change that makes an entry more, which the outstanding writes did not count on. One that
    /// leaves the shape of the tree as it is leaves what they need: a truncate works on a device without a free block.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: nothing is reserved then.
    pub(super) fn reserve_entry<S: Store>(&mut self, vol: &Volume<S>, cost: &Cost) -> Result {
        match cost.reshapes {
            true => self.reserve_nodes(vol, 1, Share::All),
            false => Ok(()),
        }
    }

    /// Reserves nodes until there are `need`.
    pub(super) fn raise<S: Store>(&mut self, vol: &Volume<S>, need: u32, share: Share) -> Result {
        if let Some(more) = need.checked_sub(self.pool).filter(|more| *more > 0) {
            vol.space.reserve(0, more, share)?;
            self.pool = need;
        }
        Ok(())
    }

    /// Gives reserved nodes back that nothing outstanding can need.
    pub(super) fn release_spare_nodes<S: Store>(&mut self, vol: &Volume<S>) {
        let need = if self.pool > 0 {
            need::nodes(self.shape(), self.load())
        } else {
            0
        };
        if let Some(spare) = self.pool.checked_sub(need).filter(|spare| *spare > 0) {
            vol.space.unreserve(0, spare);
            self.pool = need;
        }
    }

    /// Blocks that are reserved for this file, of data and of nodes. Summed over all files it is what
    /// [`Space::reserve`](crate::space::Space::reserve) has promised.
    #[allow(
        dead_code,
        reason = "the host's tests compare it with what is reserved"
    )]
    pub fn reserved(&self) -> (u32, u32) {
        (self.cache.totals().delayed, self.pool)
    }
}
