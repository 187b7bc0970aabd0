// SPDX-License-Identifier: GPL-2.0

//! Which blocks of one group are free in memory: a bit a block in 64-bit words, set where the block is used
//! on the device, chosen, or freed in a transaction that has not committed.
//!
//! Positions are block numbers within the group. Once made, an index never allocates and none of its
//! operations fails for lack of anything.
//!
//! # Invariants
//!
//! * The bits behind the last block of the group are set.
//! * All words before `first` are full.
//!
//! # Locks
//!
//! None of its own: an index lives under the spinning lock of its group, see [`super::groups`].

use core::ops::Range;
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::Result;

/// Free blocks of a group.
pub(super) struct FreeIndex {
    words: KVec<u64>,
    /// Blocks of the group.
    blocks: u32,
    /// Words before this one have no free block.
    first: u32,
    /// Blocks that are chosen: free on the device, used here.
    pub(super) chosen: u32,
    /// Blocks that were freed on the device by a transaction that has not committed.
    pub(super) pending: u32,
    /// Ends of what streams chose here last; [`NO_HEAD`] where there is none.
    heads: [u32; 4],
}

/// No block of a group.
const NO_HEAD: u32 = u32::MAX;

/// Free blocks `start..start + len` of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundSpan {
    /// As many blocks as were wanted.
    Enough(Span),
    /// The group was searched through, and this is its longest free run; shorter than wanted, perhaps empty.
    Longest(Span),
}

const BITS: u32 = u64::BITS;

/// Word of a block, and its bit in there.
fn place(block: u32) -> (usize, u32) {
    ((block / BITS) as usize, block % BITS)
}

/// Bits below bit `n` of a word; all of them from 64 on.
fn below(n: u32) -> u64 {
    match 1_u64.checked_shl(n) {
        Some(bit) => bit.wrapping_sub(1),
        None => !0,
    }
}

impl FreeIndex {
    /// A group of `blocks` blocks, all free.
    pub(super) fn new(blocks: u32) -> Result<Self> {
        let words = KVec::from_elem(0, blocks.div_ceil(BITS) as usize, GFP_KERNEL)?;
        let mut index = Self {
            words,
            blocks,
            first: 0,
            chosen: 0,
            pending: 0,
            heads: [NO_HEAD; 4],
        };
        if let Some(last) = index.words.last_mut() {
            *last = !below(blocks.wrapping_sub(1) % BITS + 1);
        }
        Ok(index)
    }

    /// Marks as used what `bitmap` has.
    pub(super) fn add_bitmap(&mut self, bitmap: &[u8]) {
        for (word, bytes) in self.words.iter_mut().zip(bitmap.chunks_exact(8)) {
            *word |= bytes.try_into().map_or(0, u64::from_le_bytes);
        }
    }

    /// Whether it has nothing that the bitmap on the device does not have.
    pub(super) fn is_clean(&self) -> bool {
        self.chosen == 0 && self.pending == 0
    }

    /// Free blocks, counted.
    pub(super) fn count_free(&self) -> u32 {
        self.words
            .iter()
            .fold(0, |n: u32, w| n.wrapping_add(w.count_zeros()))
    }

    /// First block at `from` or later whose bit is `used`; the number of blocks where there is none before
    /// `limit`.
    fn next(&self, from: u32, limit: u32, used: bool) -> u32 {
        // Wanted bits become ones.
        let flip = if used { 0 } else { !0_u64 };
        let (nr, bit) = place(from);
        let end = limit.min(self.blocks).div_ceil(BITS) as usize;
        let Some((head, rest)) = self.words.get(nr..end).and_then(|w| w.split_first()) else {
            return self.blocks;
        };
        let mut word = (head ^ flip) & !below(bit);
        let mut base = from.wrapping_sub(bit);
        let mut rest = rest.iter();
        while word == 0 {
            let Some(next) = rest.next() else {
                return self.blocks;
            };
            word = next ^ flip;
            base = base.wrapping_add(BITS);
        }
        base.wrapping_add(word.trailing_zeros()).min(self.blocks)
    }

    /// Length of the free run that starts at `start`, up to `max`; zero if that block is used.
    pub(super) fn run_at(&self, start: u32, max: u32) -> u32 {
        let limit = start.saturating_add(max).min(self.blocks);
        self.next(start, limit, true)
            .min(limit)
            .saturating_sub(start)
    }

    /// Whether any block of a run is free.
    pub(super) fn has_free(&self, run: Span) -> bool {
        let limit = run.start.saturating_add(run.len);
        self.next(run.start, limit, false) < limit.min(self.blocks)
    }

    /// Searches for `want` contiguous blocks: from `from` to the end, then from the beginning to `from`. The
    /// first run that is long enough is taken.
    pub(super) fn find(&mut self, from: u32, want: u32) -> FoundSpan {
        let mut best = Span { start: 0, len: 0 };
        let from = if from < self.blocks { from } else { 0 };
        let low = self.first.saturating_mul(BITS);
        for (start, stop) in [(from.max(low), self.blocks), (low, from)] {
            let mut at = start;
            while at < stop {
                let free = self.next(at, self.blocks, false);
                if start == low && at == start {
                    self.first = free / BITS;
                }
                if free >= stop {
                    break;
                }
                // A long run is measured to its end only where it would not do.
                let len = self.run_at(free, want);
                if len >= want {
                    return FoundSpan::Enough(Span { start: free, len });
                }
                if len > best.len {
                    best = Span { start: free, len };
                }
                // The block behind the run is used.
                at = free.saturating_add(len).saturating_add(1);
            }
        }
        FoundSpan::Longest(best)
    }

    /// The first free run of at least `least` blocks within `part`, cut to that.
    pub(super) fn next_run(&self, part: Range<u32>, least: u32) -> Option<Span> {
        let mut at = part.start;
        while at < part.end {
            let start = self.next(at, part.end, false);
            let len = self.run_at(start, part.end.saturating_sub(start));
            if len >= least.max(1) {
                return Some(Span { start, len });
            }
            at = start.saturating_add(len).saturating_add(1);
        }
        None
    }

    /// All free runs, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Span> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let run = self.next_run(at..self.blocks, 1)?;
            at = run.start.saturating_add(run.len);
            Some(run)
        })
    }

    /// The first free run of `len` blocks, a power of two, from block `from` on, of which the first is a multiple of
    /// `len` when `base` is added.
    pub(super) fn find_aligned(&self, from: u32, len: u32, base: u64) -> Option<Span> {
        let below = len.wrapping_sub(1);
        let mut at = from;
        while at < self.blocks {
            let free = self.next(at, self.blocks, false);
            // How far it is to the next multiple: all that counts are the bits below `len`.
            let over = (base as u32).wrapping_add(free);
            let start = free.saturating_add(over.wrapping_neg() & below);
            let run = self.run_at(start, len);
            if run == len {
                return Some(Span { start, len });
            }
            // The block behind the run is used, or there is none.
            at = start.saturating_add(run).saturating_add(1);
        }
        None
    }

    fn change(&mut self, run: Span, f: impl Fn(&mut u64, u64)) {
        let mut at = run.start;
        let end = run.start.saturating_add(run.len).min(self.blocks);
        let (first, _) = place(at);
        for word in self.words.get_mut(first..).unwrap_or(&mut []) {
            if at >= end {
                break;
            }
            let bit = at % BITS;
            let n = end.wrapping_sub(at).min(BITS.wrapping_sub(bit));
            f(word, below(n) << bit);
            at = at.wrapping_add(n);
        }
    }

    /// Where in the free run that begins at `start` a stream begins: there, unless another stream goes on
    /// there. That one keeps the first half of the run, unless what is `want`ed does not fit into the second.
    pub(super) fn stream_start(&self, start: u32, want: u32) -> u32 {
        if !self.is_stream(start) {
            return start;
        }
        let half = self.run_at(start, self.blocks) / 2;
        start.saturating_add(if half >= want { half } else { 0 })
    }

    /// Whether a stream goes on at `start`.
    pub(super) fn is_stream(&self, start: u32) -> bool {
        self.heads.contains(&start)
    }

    /// A stream chose `run`.
    pub(super) fn stream_at(&mut self, run: Span) {
        let end = run.start.saturating_add(run.len);
        match self.heads.iter_mut().find(|head| **head == run.start) {
            Some(head) => *head = end,
            None => {
                let [a, b, c, _] = self.heads;
                self.heads = [end, a, b, c];
            }
        }
    }

    /// `run` was chosen by a stream, perhaps, and is given back: what ends there is no stream any more.
    pub(super) fn stream_ends(&mut self, run: Span) {
        let end = run.start.saturating_add(run.len);
        if let Some(head) = self.heads.iter_mut().find(|head| **head == end) {
            *head = NO_HEAD;
        }
    }

    /// Marks a free run as used.
    pub(super) fn set_used(&mut self, run: Span) {
        self.change(run, |word, mask| *word |= mask);
    }

    /// Marks a used run as free.
    pub(super) fn set_free(&mut self, run: Span) {
        self.change(run, |word, mask| *word &= !mask);
        self.first = self.first.min(run.start / BITS);
    }

    /// Length of the free run around free block `block`.
    pub(super) fn run_around(&self, block: u32) -> u32 {
        let after = self.next(block, self.blocks, true);
        after.saturating_sub(self.free_before(block))
    }

    /// Start of the free run that ends before `block`; `block` itself if there is none.
    fn free_before(&self, block: u32) -> u32 {
        let (nr, bit) = place(block);
        let head = self.words.get(nr).map_or(!0, |w| w & below(bit));
        if head != 0 {
            return block
                .wrapping_sub(bit)
                .wrapping_add(BITS.wrapping_sub(head.leading_zeros()));
        }
        let mut base = block.wrapping_sub(bit);
        for word in self.words.get(..nr).unwrap_or(&[]).iter().rev() {
            if *word != 0 {
                return base.wrapping_sub(word.leading_zeros());
            }
            base = base.wrapping_sub(BITS);
        }
        0
    }
}
