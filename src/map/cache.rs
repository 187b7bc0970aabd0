// SPDX-License-Identifier: GPL-2.0

//! What is known in memory about a file's map: sorted pieces, each of one state.
//!
//! A place without a piece is *unknown*: the extent tree has to be asked. Pieces that exist only here (delayed,
//! pending, claimed) stay until they are taken back or published; the others repeat what the tree says and may
//! be dropped at any time.
//!
//! Pieces are held in chunks of at most [`CHUNK`], which are held in a vector: a file with few pieces has one
//! small array, and one with a hundred thousand moves at most a chunk and the vector of chunks per change.
//!
//! # Invariants
//!
//! * Pieces do not overlap and are not empty; they are sorted within and across chunks; no chunk is empty.
//! * `totals` are the sums over all pieces.
//!
//! # Locks
//!
//! None: the inode's map lock guards it.

use super::piece::{Piece, PieceKind};
use crate::disk::LogicalBlock;
use core::cell::Cell;
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// Pieces per chunk: 1 KiB.
const CHUNK: usize = 64;

/// Evictable pieces in all caches, for the shrinker.
static EVICTABLE: Atomic<i64> = Atomic::new(0);

/// How many pieces all caches together could give up.
pub fn evictable_total() -> usize {
    EVICTABLE.load(Relaxed).max(0) as usize
}

/// What the cache says about a file block.
#[derive(Debug)]
pub(super) enum CacheHit {
    /// The piece that covers it.
    Piece(Piece),
    /// Unknown, as is everything in this range around it.
    Unknown(LogicalBlock, LogicalBlock),
}

/// Sums over all pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Blocks in delayed pieces.
    pub(super) delayed: u32,
    /// Blocks in pending pieces.
    pub(super) pending: u32,
    /// Blocks in claimed pieces.
    pub(super) claimed: u32,
    /// Number of delayed, pending and claimed pieces.
    pub(super) held: u32,
    /// Number of all other pieces.
    pub(super) evictable: u32,
}

impl Totals {
    fn with(&mut self, piece: &Piece, op: impl Fn(u32, u32) -> u32) {
        let count = match piece.kind() {
            PieceKind::Delayed => &mut self.delayed,
            PieceKind::Pending => &mut self.pending,
            PieceKind::Claimed => &mut self.claimed,
            PieceKind::Hole | PieceKind::Unwritten | PieceKind::Written | PieceKind::Zeroed => {
                self.evictable = op(self.evictable, 1);
                return;
            }
        };
        *count = op(*count, piece.len);
        self.held = op(self.held, 1);
    }

    /// A piece of this kind has become longer by `len`.
    fn extend(&mut self, kind: PieceKind, len: u32) {
        let count = match kind {
            PieceKind::Delayed => &mut self.delayed,
            PieceKind::Pending => &mut self.pending,
            PieceKind::Claimed => &mut self.claimed,
            PieceKind::Hole | PieceKind::Unwritten | PieceKind::Written | PieceKind::Zeroed => {
                return
            }
        };
        *count = count.wrapping_add(len);
    }
}

struct Chunk {
    /// Start of the first piece; kept here so that a search does not touch the chunks.
    start: LogicalBlock,
    pieces: KVec<Piece>,
}

/// What becomes of the pieces of a chunk that a new one touches: what of them is left joins it, or stays before and
/// behind it.
struct Overlay {
    /// Which pieces it touches.
    from: usize,
    to: usize,
    before: Option<Piece>,
    joined: Piece,
    after: Option<Piece>,
}

impl Overlay {
    /// For `piece`, in a chunk where `from` is the first that ends at its start or behind.
    fn new(pieces: &[Piece], from: usize, piece: Piece) -> Self {
        let (mut to, mut joined) = (from, piece);
        let (mut before, mut after) = (None, None);
        while let Some(old) = pieces.get(to).filter(|old| old.start <= piece.end()) {
            if old.start < piece.start {
                let left = old.clip(old.start, piece.start);
                match left.continued_by(&joined) {
                    true => joined = left.extended(joined.len),
                    false => before = Some(left),
                }
            }
            if old.end() > piece.end() {
                let right = old.clip(piece.end(), old.end());
                match joined.continued_by(&right) {
                    true => joined = joined.extended(right.len),
                    false => after = Some(right),
                }
            }
            to = to.saturating_add(1);
        }
        Self {
            from,
            to,
            before,
            joined,
            after,
        }
    }

    /// Puts it into the chunk, and into the sums.
    ///
    /// `None`, and nothing is changed, where the chunk does not have the room.
    fn apply(&self, pieces: &mut KVec<Piece>, totals: &mut Totals) -> Option<()> {
        let new = [self.before, Some(self.joined), self.after];
        let count = new.iter().flatten().count();
        let old = pieces.get(self.from..self.to).unwrap_or(&[]);
        let old_count = old.len();
        if pieces.capacity().saturating_sub(pieces.len()) < count.saturating_sub(old_count) {
            return None;
        }
        for piece in old {
            totals.with(piece, u32::wrapping_sub);
        }
        let mut at = self.from;
        for piece in new.iter().flatten() {
            totals.with(piece, u32::wrapping_add);
            match pieces.get_mut(at).filter(|_| at < self.to) {
                Some(slot) => *slot = *piece,
                None => pieces.insert_within_capacity(at, *piece).ok()?,
            }
            at = at.saturating_add(1);
        }
        for _ in count..old_count {
            let _ = pieces.remove(at);
        }
        Some(())
    }
}

/// See the top of the file.
pub(super) struct Cache {
    /// May be larger than what the slab gives out.
    chunks: KVVec<Chunk>,
    totals: Totals,
    /// The part of [`EVICTABLE`] that is this cache's.
    counted: u32,
    /// Where [`Cache::shrink`] goes on.
    hand: u32,
    /// The chunk that was looked for last: one change of a map asks for the same one several times.
    recent: Cell<u32>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            chunks: KVVec::new(),
            totals: Totals::default(),
            counted: 0,
            hand: 0,
            recent: Cell::new(0),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// The chunk in which a piece that starts at `at` belongs; 0 where there is none yet.
    fn chunk_for(&self, at: LogicalBlock) -> usize {
        if self.chunks.len() <= 1 {
            return 0;
        }
        let starts_before = |chunk: &Chunk| chunk.start <= at;
        let recent = self.recent.get() as usize;
        let behind = self.chunks.get(recent.saturating_add(1));
        if self.chunks.get(recent).is_some_and(starts_before) && !behind.is_some_and(starts_before)
        {
            return recent;
        }
        let found = self.chunks.partition_point(starts_before).saturating_sub(1);
        self.recent.set(found as u32);
        found
    }

    /// What is known about `at`.
    pub(super) fn get(&self, at: LogicalBlock) -> CacheHit {
        let c = self.chunk_for(at);
        let Some(chunk) = self.chunks.get(c) else {
            return CacheHit::Unknown(LogicalBlock::ZERO, LogicalBlock::LIMIT);
        };
        let next = chunk.pieces.partition_point(|piece| piece.start <= at);
        let from = match next.checked_sub(1).and_then(|i| chunk.pieces.get(i)) {
            Some(piece) if piece.end() > at => return CacheHit::Piece(*piece),
            Some(piece) => piece.end(),
            None => LogicalBlock::ZERO,
        };
        let to = match chunk.pieces.get(next) {
            Some(piece) => piece.start,
            None => match self.chunks.get(c.saturating_add(1)) {
                Some(chunk) => chunk.start,
                None => LogicalBlock::LIMIT,
            },
        };
        CacheHit::Unknown(from, to)
    }

    /// The first piece that ends after `at`.
    pub(super) fn next(&self, at: LogicalBlock) -> Option<Piece> {
        match self.get(at) {
            CacheHit::Piece(piece) => Some(piece),
            CacheHit::Unknown(_, to) => match self.get(to) {
                CacheHit::Piece(piece) => Some(piece),
                CacheHit::Unknown(..) => None,
            },
        }
    }

    /// Makes room for one change that starts at `at`: the [`Cache::insert`] or [`Cache::forget`] that follows cannot
    /// fail.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn prepare(&mut self, at: LogicalBlock) -> Result {
        if self.chunks.is_empty() {
            let pieces = KVec::with_capacity(4, GFP_KERNEL)?;
            self.chunks.push(Chunk { start: at, pieces }, GFP_KERNEL)?;
            return Ok(());
        }
        let c = self.chunk_for(at);
        let Some(chunk) = self.chunks.get_mut(c) else {
            return Ok(());
        };
        // A piece may fall into three.
        if chunk.pieces.len() <= CHUNK.saturating_sub(2) {
            chunk.pieces.reserve(2, GFP_KERNEL)?;
            return Ok(());
        }
        let mut upper = KVec::with_capacity(CHUNK, GFP_KERNEL)?;
        self.chunks.reserve(1, GFP_KERNEL)?;
        let Some(chunk) = self.chunks.get_mut(c) else {
            return Ok(());
        };
        // At the end of the file the lower chunk stays full.
        let behind_all = chunk.pieces.last().is_some_and(|last| last.end() <= at);
        let keep = if behind_all {
            CHUNK.saturating_sub(4)
        } else {
            CHUNK / 2
        };
        for piece in chunk.pieces.iter().skip(keep) {
            let _ = upper.push_within_capacity(*piece);
        }
        let Some(start) = upper.first().map(|piece: &Piece| piece.start) else {
            return Ok(());
        };
        chunk.pieces.truncate(keep);
        let upper = Chunk {
            start,
            pieces: upper,
        };
        let _ = self
            .chunks
            .insert_within_capacity(c.saturating_add(1), upper);
        // Both have room for two now: the lower one lost at least three pieces, the upper one has at most half.
        Ok(())
    }

    /// Sets what is known about a range, whatever was known before. Returns the piece that is there now; `None`, and
    /// nothing is changed, without memory.
    pub(super) fn set(&mut self, piece: Piece) -> Option<Piece> {
        self.prepare(piece.start).ok()?;
        self.insert(piece)
    }

    /// As [`Cache::set`], after [`Cache::prepare`] for the same start: it is joined with its neighbours in the chunk,
    /// and takes the place of all that was known about its range.
    ///
    /// `None`, and nothing is changed, without the place that [`Cache::prepare`] makes: a bug that the caller reports,
    /// as nothing else knows of a pending piece.
    pub(super) fn insert(&mut self, piece: Piece) -> Option<Piece> {
        if piece.len == 0 {
            return Some(piece);
        }
        let c = self.chunk_for(piece.start);
        let behind = self.chunks.get(c.saturating_add(1));
        let overlapped = behind
            .map(|chunk| chunk.start)
            .filter(|start| *start < piece.end());
        let chunk = self.chunks.get_mut(c)?;
        let from = chunk.pieces.partition_point(|old| old.end() < piece.start);
        // A file that is written in order: the last piece becomes longer.
        if let Some([last]) = chunk.pieces.get_mut(from..) {
            if overlapped.is_none() && last.continued_by(&piece) {
                *last = last.extended(piece.len);
                self.totals.extend(piece.kind(), piece.len);
                return Some(*last);
            }
        }
        let overlay = Overlay::new(&chunk.pieces, from, piece);
        overlay.apply(&mut chunk.pieces, &mut self.totals)?;
        if let Some(first) = chunk.pieces.first() {
            chunk.start = first.start;
        }
        match overlapped {
            Some(start) => {
                self.carve(start, piece.end());
                self.count(start);
            }
            None => self.publish_count(),
        }
        Some(overlay.joined)
    }

    /// Makes a range unknown.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, never after [`Cache::prepare`] for the same start.
    pub(super) fn forget(&mut self, from: LogicalBlock, to: LogicalBlock) -> Result {
        if !self.chunks.is_empty() && from < to {
            self.prepare(from)?;
            self.carve(from, to);
            self.count(from);
        }
        Ok(())
    }

    /// Takes `from..to` out of all pieces. There is room for one more in the chunk of `from`.
    fn carve(&mut self, from: LogicalBlock, to: LogicalBlock) {
        let prepared = self.chunk_for(from);
        let totals = &mut self.totals;
        let mut c = prepared;
        while let Some(chunk) = self.chunks.get_mut(c).filter(|chunk| chunk.start < to) {
            let mut i = chunk.pieces.partition_point(|piece| piece.end() <= from);
            while let Some(slot) = chunk.pieces.get_mut(i) {
                let old = *slot;
                if old.start >= to {
                    break;
                }
                totals.with(&old, u32::wrapping_sub);
                let left = (old.start < from).then(|| old.clip(old.start, from));
                let right = (old.end() > to).then(|| old.clip(to, old.end()));
                for piece in [left, right].iter().flatten() {
                    totals.with(piece, u32::wrapping_add);
                }
                match (left, right) {
                    (Some(left), Some(right)) => {
                        *slot = left;
                        let _ = chunk
                            .pieces
                            .insert_within_capacity(i.saturating_add(1), right);
                        break;
                    }
                    (Some(piece), None) | (None, Some(piece)) => {
                        *slot = piece;
                        i = i.saturating_add(1);
                    }
                    (None, None) => {
                        let _ = chunk.pieces.remove(i);
                    }
                }
            }
            match chunk.pieces.first() {
                // Even if it is empty: `count` looks for it where it started.
                _ if c == prepared => c = c.saturating_add(1),
                Some(first) => {
                    chunk.start = first.start;
                    c = c.saturating_add(1);
                }
                None => {
                    let _ = self.chunks.remove(c);
                }
            }
        }
    }

    /// Drops the chunk of `at` if it was emptied, and brings the count of all caches up to date.
    fn count(&mut self, at: LogicalBlock) {
        let c = self.chunk_for(at);
        if let Some(chunk) = self.chunks.get_mut(c) {
            match chunk.pieces.first() {
                Some(first) => chunk.start = first.start,
                None => {
                    let _ = self.chunks.remove(c);
                }
            }
        }
        self.publish_count();
    }

    /// Brings the count of all caches up to date.
    fn publish_count(&mut self) {
        let delta = i64::from(self.totals.evictable).wrapping_sub(self.counted.into());
        if delta != 0 {
            EVICTABLE.add(delta, Relaxed);
            self.counted = self.totals.evictable;
        }
    }

    /// Forgets up to about `nr` pieces that the tree knows too, whole chunks in turn. Returns how many.
    pub(super) fn shrink(&mut self, nr: usize) -> usize {
        let before = self.totals.evictable;
        let mut steps = self.chunks.len();
        while steps > 0 && (before.wrapping_sub(self.totals.evictable) as usize) < nr {
            steps = steps.saturating_sub(1);
            if self.hand as usize >= self.chunks.len() {
                self.hand = 0;
            }
            let Some(chunk) = self.chunks.get_mut(self.hand as usize) else {
                break;
            };
            let mut kept = 0;
            for i in 0..chunk.pieces.len() {
                let Some(piece) = chunk.pieces.get(i).copied() else {
                    break;
                };
                if piece.kind().evictable() {
                    self.totals.with(&piece, u32::wrapping_sub);
                } else if let Some(slot) = chunk.pieces.get_mut(kept) {
                    *slot = piece;
                    kept = kept.saturating_add(1);
                }
            }
            chunk.pieces.truncate(kept);
            match chunk.pieces.first() {
                Some(first) => {
                    chunk.start = first.start;
                    self.hand = self.hand.saturating_add(1);
                }
                None => {
                    let _ = self.chunks.remove(self.hand as usize);
                }
            }
        }
        self.count(LogicalBlock::ZERO);
        before.wrapping_sub(self.totals.evictable) as usize
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.counted != 0 {
            EVICTABLE.add(i64::from(self.counted).wrapping_neg(), Relaxed);
        }
    }
}
