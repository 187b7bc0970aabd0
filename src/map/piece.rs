// SPDX-License-Identifier: GPL-2.0

//! A piece of a file's map as it is known in memory: a run of blocks in one state, in 16 bytes.

use super::State;
use crate::disk::{LogicalBlock, PhysBlock};

/// The state of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum PieceKind {
    /// Nothing there, on disk or in memory.
    Hole,
    /// Space is reserved, blocks are not chosen. A hole on disk.
    Delayed,
    /// Blocks are chosen, which are free on disk. A hole on disk.
    Pending,
    /// Unwritten on disk, and what its conversion may need is reserved.
    Claimed,
    /// Unwritten on disk.
    Unwritten,
    /// Written on disk.
    Written,
    /// Unwritten on disk, and zero on the device.
    Zeroed,
}

impl PieceKind {
    const ALL: [Self; 7] = [
        Self::Hole,
        Self::Delayed,
        Self::Pending,
        Self::Claimed,
        Self::Unwritten,
        Self::Written,
        Self::Zeroed,
    ];

    /// From its number, which must be one that `as u8` gave.
    pub(super) fn from_bits(bits: u8) -> Self {
        Self::ALL
            .get(usize::from(bits))
            .copied()
            .unwrap_or(Self::Hole)
    }

    /// What it is to those who ask the map.
    pub(super) fn state(self) -> State {
        match self {
            Self::Hole => State::Hole,
            Self::Delayed => State::Delayed,
            Self::Pending => State::Pending,
            Self::Claimed | Self::Unwritten | Self::Zeroed => State::Unwritten,
            Self::Written => State::Written,
        }
    }

    /// Whether there are blocks behind it.
    pub(super) fn has_blocks(self) -> bool {
        !matches!(self, Self::Hole | Self::Delayed)
    }

    /// Whether it can be forgotten: the tree knows it too, but for what makes an unwritten piece a zeroed one.
    pub(super) fn evictable(self) -> bool {
        matches!(
            self,
            Self::Hole | Self::Unwritten | Self::Written | Self::Zeroed
        )
    }
}

/// A run of file blocks of one kind, contiguous on the device if it has blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: LogicalBlock,
    pub(super) len: u32,
    /// Kind in the top 8 bits, first device block (0 where there is none) below.
    word: u64,
}

impl Piece {
    pub(super) fn new(
        start: LogicalBlock,
        len: u32,
        kind: PieceKind,
        phys: Option<PhysBlock>,
    ) -> Self {
        let phys = match phys {
            Some(phys) if kind.has_blocks() => phys.get() & PhysBlock::MAX,
            _ => 0,
        };
        Self {
            start,
            len,
            word: (kind as u64) << 56 | phys,
        }
    }

    pub(super) fn kind(&self) -> PieceKind {
        PieceKind::from_bits((self.word >> 56) as u8)
    }

    pub(super) fn phys(&self) -> Option<PhysBlock> {
        self.kind()
            .has_blocks()
            .then(|| PhysBlock::new(self.word & PhysBlock::MAX))
    }

    pub(super) fn end(&self) -> LogicalBlock {
        self.start.saturating_add(self.len)
    }

    /// The piece from `from` to `to`, both within it.
    pub(super) fn clip(&self, from: LogicalBlock, to: LogicalBlock) -> Self {
        let start = self.start.max(from);
        let skip = u64::from(start.saturating_distance_from(self.start));
        let phys = self.phys().and_then(|phys| phys.checked_add(skip));
        let len = self.end().min(to).saturating_distance_from(start);
        Self::new(start, len, self.kind(), phys)
    }

    /// Whether `next` can be joined to the end of this.
    pub(super) fn continued_by(&self, next: &Self) -> bool {
        self.end() == next.start
            && self.kind() == next.kind()
            && match (self.phys(), next.phys()) {
                (Some(a), Some(b)) => a.checked_add(self.len.into()) == Some(b),
                _ => true,
            }
    }

    /// This piece longer by `len`.
    pub(super) fn extended(&self, len: u32) -> Self {
        Self {
            len: self.len.saturating_add(len),
            ..*self
        }
    }
}
