// SPDX-License-Identifier: GPL-2.0

//! The last mapping that was looked up in a file, readable without the map lock.
//!
//! A job that writes over a file, or reads it in sequence, finds every block in the same extent. It gets that
//! extent from here, with no store to memory that another CPU reads.
//!
//! # How readers get a consistent copy
//!
//! A sequence count that is odd while a writer is at work. There is one writer at a time, as it has the map
//! exclusively. A reader never waits: where it meets a writer it gets nothing and takes the map lock.
//!
//! * Writer: [`Snapshot::set`] makes the count odd with a fully ordered exchange, so that the stores that follow
//!   are not seen before it. The last store, with release semantics, makes the count even: who sees it sees the
//!   fields.
//! * Reader: [`Snapshot::get`] loads the count, the fields and the count again. Each load but the last has
//!   acquire semantics and so comes before the next. If any field came from a later `set`, then the odd
//!   count of that `set` was stored before the field, and the last load sees it or a later one: the two
//!   counts differ. The count wraps after 2^31 changes, during which a reader would have to stand still.
//!
//! # What a copy is worth
//!
//! The sequence number of the map is one of the fields, and a change of the map sets it in the same
//! `set` that removes a mapping that is no longer true. So a reader that sees the new number does not see
//! the old mapping with it.

use super::piece::{Piece, PieceKind};
use super::Mapping;
use crate::disk::{LogicalBlock, PhysBlock};
use kernel::alloc::flags::GFP_KERNEL;
use kernel::error::Result;
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed, Release};
use kernel::sync::Arc;

/// See the top of the file.
pub struct Snapshot {
    count: Atomic<u32>,
    /// First file block in the upper half, length in the lower; a length of 0 is no mapping.
    range: Atomic<u64>,
    /// Kind in the top 8 bits, first device block below.
    target: Atomic<u64>,
    /// The map's sequence number.
    seq: Atomic<u32>,
    /// Depth of the extent tree.
    depth: Atomic<u32>,
}

impl Snapshot {
    /// For a map that is about to be made.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Arc<Self>> {
        let empty = Self {
            count: Atomic::new(0),
            range: Atomic::new(0),
            target: Atomic::new(0),
            seq: Atomic::new(0),
            depth: Atomic::new(0),
        };
        Ok(Arc::new(empty, GFP_KERNEL)?)
    }

    /// The mapping at `at`, at most `max_len` blocks of it, if it happens to be the one that is here.
    pub fn get(&self, at: LogicalBlock, max_len: u32) -> Option<Mapping> {
        let count = self.count.load(Acquire);
        let range = self.range.load(Acquire);
        let target = self.target.load(Acquire);
        let seq = self.seq.load(Acquire);
        if count & 1 != 0 || self.count.load(Relaxed) != count {
            return None;
        }
        let start = (range >> 32) as u32;
        let len = range as u32;
        let skip = at.get().checked_sub(start).filter(|skip| *skip < len)?;
        let kind = PieceKind::from_bits((target >> 56) as u8);
        let phys = PhysBlock::new(target & PhysBlock::MAX).checked_add(skip.into());
        Some(Mapping {
            start: at,
            len: len.wrapping_sub(skip).min(max_len.max(1)),
            state: kind.state(),
            phys: phys.filter(|_| kind.has_blocks()),
            seq,
        })
    }

    /// The map's sequence number, for a test whether a mapping is still what it was.
    pub fn seq(&self) -> u32 {
        self.seq.load(Acquire)
    }

    /// Depth of the extent tree; it may have changed when the map lock is taken.
    pub fn depth(&self) -> u16 {
        self.depth.load(Relaxed) as u16
    }

    /// Replaces the mapping. The caller has the map exclusively.
    pub(super) fn set(&self, piece: Option<&Piece>, seq: u32) {
        let count = self.count.load(Relaxed);
        self.count.xchg(count.wrapping_add(1), Full);
        match piece {
            Some(piece) => {
                let range = u64::from(piece.start.get()) << 32 | u64::from(piece.len);
                let phys = piece.phys().map_or(0, PhysBlock::get);
                self.range.store(range, Relaxed);
                self.target
                    .store((piece.kind() as u64) << 56 | phys, Relaxed);
            }
            None => self.range.store(0, Relaxed),
        }
        self.seq.store(seq, Relaxed);
        self.count.store(count.wrapping_add(2), Release);
    }

    pub(super) fn set_depth(&self, depth: u16) {
        self.depth.store(depth.into(), Relaxed);
    }
}
