// SPDX-License-Identifier: GPL-2.0

//! The content of one file: what a power cut may leave of it.
//!
//! Each sector is as it was after one of the operations, not before what was promised for it. A truncate is in the
//! journal: with it come all that were done before; what was allocated behind it shows that it has happened. A size
//! is promised with the bytes that it is needed for. What a mapping stores may be half there. What `fallocate` moves
//! has moved as a whole or not at all.
//!
//! An atomic write goes to new blocks, as no device of the sweep can do it in place, and is in the journal when it
//! returns: with anything of it, or of what was done to its place later, all of it is there.

use crate::content;
use crate::history::{Fallocate, How, Seq, STRIPE};
use anyhow::{bail, ensure, Result};
use std::collections::VecDeque;
use std::ops::Range;

const SECTOR: usize = 512;
/// No block is larger: what is behind the block of a file's end is allocated anew after a truncate.
const BLOCK: u64 = 4096;

#[derive(Clone, Copy, Debug)]
pub enum Change {
    Write {
        offset: u64,
        len: u64,
        how: How,
    },
    Truncate {
        size: u64,
    },
    Fallocate {
        how: Fallocate,
        offset: u64,
        len: u64,
    },
}

impl Change {
    /// Do bytes of the file move?
    fn moves(self) -> bool {
        let how = match self {
            Change::Fallocate { how, .. } => Some(how),
            _ => None,
        };
        matches!(how, Some(Fallocate::Collapse | Fallocate::Insert))
    }

    /// The bytes that are there whole or not at all, if any, as `(offset, length)`.
    fn whole(self) -> Option<(u64, u64)> {
        match self {
            Change::Write {
                offset,
                len,
                how: How::Atomic,
            } => Some((offset, len)),
            _ => None,
        }
    }

    /// The size that a file of `now` bytes has then.
    fn size(self, now: u64) -> u64 {
        match self {
            Change::Write { offset, len, .. } => now.max(offset + len),
            Change::Truncate { size } => size,
            Change::Fallocate { how, offset, len } => how.size(now, offset, len),
        }
    }

    /// The bytes that it makes zero, of a file of `now` bytes.
    fn zeroed(self, now: u64) -> Range<u64> {
        match self {
            Change::Fallocate {
                how: Fallocate::Punch | Fallocate::Zero { .. },
                offset,
                len,
            } => offset.min(now)..(offset + len).min(now),
            _ => 0..0,
        }
    }
}

/// A file as promised, and what was done since.
#[derive(Clone, Debug)]
pub struct FileModel {
    /// The file's number in its content.
    number: u32,
    /// Of the blocks of a shared file, which are this one's: `(index, of how many)`.
    stripe: Option<(u64, u64)>,
    /// Bytes a block of the volume.
    block: u64,
    /// All that is promised as a whole.
    base: Vec<u8>,
    pending: VecDeque<(Seq, Change)>,
    /// Bytes that are promised as of an operation: `(from, to, seq)`.
    ranges: Vec<(u64, u64, Seq)>,
    /// Truncates up to this operation are promised.
    cut: Seq,
}

/// The bytes of one sector, as far as they are in the file; zeros behind its end.
fn sector(bytes: &[u8], index: usize, len: usize) -> impl Iterator<Item = u8> + '_ {
    (0..len).map(move |i| bytes.get(index * SECTOR + i).copied().unwrap_or(0))
}

/// Is sector `index` of `found` that of `want`?
fn same(want: &[u8], found: &[u8], index: usize) -> bool {
    let from = index * SECTOR;
    let end = (from + SECTOR).min(found.len());
    let found = &found[from..end];
    match want.get(from..end) {
        Some(want) => want == found,
        None => sector(want, index, found.len()).eq(found.iter().copied()),
    }
}

/// A sector while the operations are gone through.
#[derive(Clone, Copy)]
struct Seen {
    ok: bool,
    /// The operation whose result it shows, the earliest that it can be; 0: the base.
    first: Seq,
}

impl FileModel {
    pub fn new(number: u32, stripe: Option<(u64, u64)>, block: u64) -> Self {
        FileModel {
            number,
            stripe,
            block,
            base: Vec::new(),
            pending: VecDeque::new(),
            ranges: Vec::new(),
            cut: 0,
        }
    }

    /// This was done.
    pub fn feed(&mut self, seq: Seq, change: Change) {
        self.pending.push_back((seq, change));
    }

    /// Everything up to operation `seq` is promised.
    pub fn settle(&mut self, seq: Seq) {
        while self.pending.front().is_some_and(|(s, _)| *s <= seq) {
            if let Some((s, change)) = self.pending.pop_front() {
                apply(&mut self.base, self.number, s, change);
            }
        }
        self.ranges.retain(|(_, _, s)| *s > seq);
    }

    /// These bytes are promised as of operation `seq`.
    pub fn settle_range(&mut self, seq: Seq, offset: u64, len: u64) {
        self.ranges.push((offset, offset + len, seq));
        self.cut = self.cut.max(seq);
    }

    /// Is a file with these bytes possible?
    pub fn check(&self, found: &[u8]) -> Result<()> {
        if self.pending.iter().any(|(_, change)| change.moves()) {
            return self.check_moved(found);
        }
        let whole = self.atomic_there(found);
        if whole.is_empty() {
            return self.check_parts(found);
        }
        // As if that were promised, with what was done before it in the journal.
        let mut with = self.clone();
        for (seq, offset, len) in whole {
            with.settle_range(seq, offset, len);
        }
        with.check_parts(found)
    }

    /// The atomic writes that are there, as `(operation, offset, length)`: something of each is, or of what came later.
    fn atomic_there(&self, found: &[u8]) -> Vec<(Seq, u64, u64)> {
        let mut pending = self.pending.iter();
        if !pending.any(|(_, change)| change.whole().is_some()) {
            return Vec::new();
        }
        let seen = self.walk(found, self.cut);
        let mut there = Vec::new();
        let mut size = self.base.len() as u64;
        let mut longest = size;
        for (seq, change) in &self.pending {
            if let Some((offset, len)) = change.whole() {
                let later = |i| seen.get(i).is_some_and(|s: &Seen| s.ok && s.first >= *seq);
                // That the file is longer than it was before comes later in the journal, or with it; in a shared file
                // that may be somebody else's doing.
                let is_longer = self.stripe.is_none() && found.len() as u64 > longest;
                if is_longer || sectors(offset..offset + len).any(later) {
                    there.push((*seq, offset, len));
                }
            }
            size = change.size(size);
            longest = longest.max(size);
        }
        there
    }

    /// As [`FileModel::check`], sector by sector.
    fn check_parts(&self, found: &[u8]) -> Result<()> {
        self.check_size(found.len() as u64)?;
        let seen = self.walk(found, self.cut);
        // What lies in blocks that a cut had taken away, and was written later, shows that the cut is durable.
        let cut = self
            .pending
            .iter()
            .filter_map(|(seq, change)| match change {
                Change::Truncate { size } if *seq > self.cut => {
                    let behind = size.div_ceil(BLOCK) as usize * (BLOCK as usize / SECTOR);
                    seen.iter()
                        .skip(behind)
                        .any(|s| s.ok && s.first > *seq)
                        .then_some(*seq)
                }
                _ => None,
            })
            .max();
        let (seen, cut) = match cut {
            Some(cut) => (self.walk(found, cut), cut),
            None => (seen, self.cut),
        };
        for (i, s) in seen.iter().enumerate() {
            if !s.ok && self.is_mine(i) && !self.is_mixed(found, i, cut) {
                self.fail(found, i)?;
            }
        }
        Ok(())
    }

    /// As [`FileModel::check`], where bytes have moved: the file was synced before and after that.
    fn check_moved(&self, found: &[u8]) -> Result<()> {
        ensure!(
            self.pending.len() == 1,
            "bytes moved while something was not synced"
        );
        let mut after = self.base.clone();
        for (seq, change) in &self.pending {
            apply(&mut after, self.number, *seq, *change);
        }
        let differs = |from: &[u8]| {
            let at = found.iter().zip(from).position(|(a, b)| a != b);
            format!("{} bytes, another one at {at:?}", from.len())
        };
        ensure!(
            found == self.base || found == after,
            "file {:#x}: {} bytes, neither as before {:?} ({}) nor as after it ({})",
            self.number,
            found.len(),
            self.pending,
            differs(&self.base),
            differs(&after),
        );
        Ok(())
    }

    fn check_size(&self, size: u64) -> Result<()> {
        let (mut low, mut high) = (self.base.len() as u64, self.base.len() as u64);
        let mut known = size == low;
        let mut ranges: Vec<_> = self.ranges.clone();
        ranges.sort_by_key(|(_, _, seq)| *seq);
        let mut ranges = ranges.into_iter().peekable();
        let mut length = low;
        for (seq, change) in &self.pending {
            while let Some((_, end, _)) = ranges.next_if(|(_, _, s)| s < seq) {
                low = low.max(end);
            }
            match *change {
                Change::Write { offset, len, .. } => {
                    length = length.max(offset + len);
                    high = high.max(length);
                }
                Change::Truncate { size } if *seq <= self.cut => {
                    (low, high, length) = (size, size, size)
                }
                Change::Truncate { size } => {
                    (low, high, length) = (low.min(size), high.max(size), size)
                }
                Change::Fallocate { .. } => {
                    let size = change.size(length);
                    if size > length && *seq <= self.cut {
                        (low, high) = (size, size);
                    }
                    (high, length) = (high.max(size), size);
                }
            }
            known |= size == length;
        }
        for (_, end, _) in ranges {
            low = low.max(end);
        }
        if self.stripe.is_some() {
            ensure!(size >= low, "{size} bytes long, and {low} were promised");
            return Ok(());
        }
        ensure!(
            (low..=high).contains(&size),
            "{size} bytes long, and not between {low} and {high}"
        );
        // The size follows the data that is on the device, and data is written by blocks, not by operations: it may be
        // the end of any block on the way to the size in memory. A store to a mapping or the zeros behind an old end
        // write blocks that no operation names, so which of them are possible is not asked.
        ensure!(
            known || size % self.block == 0,
            "{size} bytes long, as it never was, and not the end of a block"
        );
        Ok(())
    }

    fn is_mine(&self, index: usize) -> bool {
        match self.stripe {
            Some((mine, of)) => (index * SECTOR) as u64 / STRIPE % of == mine,
            None => true,
        }
    }

    /// The last operation as of which a sector is promised.
    fn promised(&self, index: usize) -> Seq {
        let (from, to) = ((index * SECTOR) as u64, ((index + 1) * SECTOR) as u64);
        let covering = self.ranges.iter().filter(|(a, b, _)| *a < to && *b > from);
        covering.map(|(_, _, seq)| *seq).max().unwrap_or(0)
    }

    /// Goes through the operations and calls `f` with the sectors that each one changed, the content then, and whether
    /// what was there before is out of the question.
    fn each(
        &self,
        cut: Seq,
        mut f: impl FnMut(Seq, std::ops::Range<usize>, &[u8], &dyn Fn(usize) -> bool),
    ) {
        if self.pending.is_empty() {
            return;
        }
        let mut now = self.base.clone();
        for (seq, change) in &self.pending {
            let zeroed = change.zeroed(now.len() as u64);
            let touched = match *change {
                Change::Write { offset, len, .. } => sectors(offset..offset + len),
                Change::Truncate { size } => size as usize / SECTOR..now.len().div_ceil(SECTOR),
                Change::Fallocate { .. } => sectors(zeroed.clone()),
            };
            // Whole blocks become holes in the journal, as those that are cut off do; parts of others are written.
            let end = match zeroed.end < now.len() as u64 {
                true => zeroed.end / self.block * self.block,
                false => zeroed.end,
            };
            let gone = zeroed.start.div_ceil(self.block) * self.block..end;
            apply(&mut now, self.number, *seq, *change);
            let is_cut = |i: usize| {
                let at = (i * SECTOR) as u64;
                *seq <= cut && (matches!(change, Change::Truncate { .. }) || gone.contains(&at))
            };
            f(*seq, touched, &now, &|i| {
                is_cut(i) || *seq <= self.promised(i)
            });
        }
    }

    fn walk(&self, found: &[u8], cut: Seq) -> Vec<Seen> {
        let sectors = found.len().div_ceil(SECTOR);
        let mut seen: Vec<_> = (0..sectors)
            .map(|i| Seen {
                ok: same(&self.base, found, i),
                first: 0,
            })
            .collect();
        self.each(cut, |seq, touched, now, replaces| {
            for (i, seen) in seen
                .iter_mut()
                .enumerate()
                .take(touched.end)
                .skip(touched.start)
            {
                let equal = same(now, found, i);
                if replaces(i) || !seen.ok {
                    *seen = Seen {
                        ok: equal,
                        first: seq,
                    };
                }
            }
        });
        seen
    }

    /// Is each byte of a sector that was stored to through a mapping one that it could have?
    fn is_mixed(&self, found: &[u8], index: usize, cut: Seq) -> bool {
        let mapped = self.pending.iter().any(|(_, c)| match *c {
            Change::Write { offset, len, how } => {
                how == How::Mapped
                    && (offset as usize) < (index + 1) * SECTOR
                    && (offset + len) as usize > index * SECTOR
            }
            Change::Truncate { .. } | Change::Fallocate { .. } => false,
        });
        if !mapped {
            return false;
        }
        let have = &found[index * SECTOR..((index + 1) * SECTOR).min(found.len())];
        let mut possible: Vec<Vec<u8>> = vec![sector(&self.base, index, have.len()).collect()];
        self.each(cut, |_, touched, now, replaces| {
            if touched.contains(&index) {
                if replaces(index) {
                    possible.clear();
                }
                possible.push(sector(now, index, have.len()).collect());
            }
        });
        have.iter()
            .enumerate()
            .all(|(i, b)| possible.iter().any(|p| p[i] == *b))
    }

    fn fail(&self, found: &[u8], index: usize) -> Result<()> {
        let at = index * SECTOR;
        let end = (at + SECTOR).min(found.len());
        let mut now = self.base.clone();
        for (seq, change) in &self.pending {
            apply(&mut now, self.number, *seq, *change);
        }
        let bytes = |b: &[u8]| sector(b, index, end - at).collect::<Vec<_>>();
        bail!(
            "file {:#x}, bytes {at} to {end} of {}: found {}; promised as a whole {}; in the end {}; this sector \
             as of operation {}, truncates up to {}; not settled: {:?}",
            self.number,
            found.len(),
            content::describe(&found[at..end], at as u64),
            content::describe(&bytes(&self.base), at as u64),
            content::describe(&bytes(&now), at as u64),
            self.promised(index),
            self.cut,
            self.pending.iter().take(12).collect::<Vec<_>>()
        )
    }
}

/// The sectors that bytes `range` touch.
fn sectors(range: Range<u64>) -> Range<usize> {
    range.start as usize / SECTOR..(range.end as usize).div_ceil(SECTOR)
}

fn apply(bytes: &mut Vec<u8>, number: u32, seq: Seq, change: Change) {
    let now = bytes.len() as u64;
    let (size, zeroed) = (change.size(now) as usize, change.zeroed(now));
    match change {
        Change::Write { offset, len, .. } => {
            let (from, end) = (offset as usize, (offset + len) as usize);
            bytes.resize(size, 0);
            bytes[from..end].copy_from_slice(&content::bytes(number, seq, offset, len as usize));
        }
        Change::Fallocate { how, offset, len } if change.moves() => {
            let (at, end) = (offset as usize, (offset + len) as usize);
            match how {
                Fallocate::Collapse => drop(bytes.drain(at..end)),
                _ => drop(bytes.splice(at..at, vec![0; len as usize])),
            }
        }
        Change::Truncate { .. } | Change::Fallocate { .. } => {
            bytes[zeroed.start as usize..zeroed.end as usize].fill(0);
            bytes.resize(size, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DISCARDED, UNUSED};

    const N: u32 = 0x1_0005;

    fn write(offset: u64, len: u64) -> Change {
        Change::Write {
            offset,
            len,
            how: How::Plain,
        }
    }

    fn atomic(offset: u64, len: u64) -> Change {
        Change::Write {
            offset,
            len,
            how: How::Atomic,
        }
    }

    /// What a file has after these operations.
    fn after(ops: &[(Seq, Change)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        ops.iter()
            .for_each(|(seq, change)| apply(&mut bytes, N, *seq, *change));
        bytes
    }

    fn model(ops: &[(Seq, Change)]) -> FileModel {
        let mut model = FileModel::new(N, None, 1024);
        ops.iter()
            .for_each(|(seq, change)| model.feed(*seq, *change));
        model
    }

    #[test]
    fn what_is_not_synced_may_be_there_or_not() {
        let ops = [(1, write(0, 8192)), (2, write(4096, 4096))];
        let mut m = model(&ops);
        for good in [
            vec![],
            after(&ops[..1]),
            after(&ops),
            vec![0; 8192],
            after(&[ops[1]]),
        ] {
            m.check(&good).unwrap();
        }
        let stale = after(&[(9, write(0, 8192))]);
        assert!(m.check(&stale).is_err());
        assert!(m.check(&[0; 9000]).is_err());
        for size in [1000, 512, 1536, 8191] {
            assert!(m.check(&vec![0; size]).is_err(), "{size}, that never was");
        }
        m.check(&[0; 1024]).unwrap();
        m.settle(1);
        assert!(m.check(&[]).is_err());
        assert!(m.check(&[0; 8192]).is_err());
        m.check(&after(&ops[..1])).unwrap();
        m.check(&after(&ops)).unwrap();
        m.settle(2);
        assert!(m.check(&after(&ops[..1])).is_err());
        m.check(&after(&ops)).unwrap();
    }

    #[test]
    fn a_block_that_is_shown_without_its_data_is_found() {
        let ops = [
            (1, write(8192, 4096)),
            (
                2,
                Change::Write {
                    offset: 0,
                    len: 4096,
                    how: How::Mapped,
                },
            ),
        ];
        let m = model(&ops);
        let good = after(&ops);
        m.check(&good).unwrap();
        // In a block that was written, through a mapping or not, and in the hole between them.
        for at in [0, 4096, 8192] {
            for byte in [UNUSED, DISCARDED] {
                for len in [512, 4096] {
                    let mut bad = good.clone();
                    bad[at..at + len].fill(byte);
                    assert!(m.check(&bad).is_err(), "{len} bytes {byte:#x} at {at}");
                }
            }
            let mut zeros = good.clone();
            zeros[at..at + 4096].fill(0);
            m.check(&zeros).unwrap();
        }
    }

    #[test]
    fn a_range_is_promised_and_its_size() {
        let ops = [
            (1, write(0, 4096)),
            (2, write(8192, 4096)),
            (3, write(8192, 512)),
        ];
        let mut m = model(&ops);
        m.settle_range(2, 8192, 4096);
        let mut without_first = after(&ops[..2]);
        without_first[..4096].fill(0);
        m.check(&without_first).unwrap();
        m.check(&after(&ops)).unwrap();
        assert!(m.check(&after(&ops[..1])).is_err());
        let mut torn = after(&ops[..2]);
        torn[8192 + 512..8192 + 1024].fill(0);
        assert!(m.check(&torn).is_err());
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let ops = [
            (1, write(0, 8192)),
            (2, Change::Truncate { size: 100 }),
            (3, write(8192, 512)),
        ];
        let mut m = model(&ops);
        m.settle(1);
        m.check(&after(&ops[..1])).unwrap();
        m.check(&after(&ops[..2])).unwrap();
        m.check(&after(&ops)).unwrap();
        // The last write is there, so the cut is, too.
        let mut back = after(&ops);
        let old = after(&ops[..1]);
        back[512..1024].copy_from_slice(&old[512..1024]);
        assert!(m.check(&back).is_err());
        m.settle_range(3, 8192, 512);
        assert!(m.check(&old).is_err());
        assert!(m.check(&back).is_err());
        m.check(&after(&ops)).unwrap();
    }

    #[test]
    fn only_stores_to_a_mapping_may_be_half_there() {
        for how in [How::Plain, How::Mapped, How::Atomic] {
            let ops = [
                (1, write(0, 512)),
                (
                    2,
                    Change::Write {
                        offset: 0,
                        len: 512,
                        how,
                    },
                ),
            ];
            let m = model(&ops);
            let mut half = after(&ops);
            half[100..].copy_from_slice(&after(&ops[..1])[100..]);
            assert_eq!(m.check(&half).is_ok(), how == How::Mapped);
            half[3] = 0xee;
            assert!(m.check(&half).is_err());
        }
    }

    #[test]
    fn an_atomic_write_is_there_whole_or_not() {
        for is_atomic in [false, true] {
            let second = match is_atomic {
                true => atomic(4096, 8192),
                false => write(4096, 8192),
            };
            let ops = [(1, write(0, 8192)), (2, second), (3, write(6144, 512))];
            let mut m = model(&ops);
            m.settle(1);
            for good in [&ops[..1], &ops[..2], &ops] {
                m.check(&after(good)).unwrap();
            }
            let (old, new) = (after(&ops[..1]), after(&ops));
            let with = |from: &[u8], at: usize, len: usize| {
                let mut bytes = new.clone();
                bytes[at..at + len].copy_from_slice(&from[at..at + len]);
                bytes
            };
            // A sector of it is missing, or all that was not written once more, or what is behind the old end.
            for bad in [
                with(&old, 4096, 512),
                [&old[..6144], &new[6144..6656], &old[6656..]].concat(),
                with(&[0; 12288], 8192, 4096),
            ] {
                assert_eq!(m.check(&bad).is_ok(), !is_atomic);
            }
            // The same where what came later is promised.
            m.settle_range(3, 6144, 512);
            assert_eq!(m.check(&with(&old, 4096, 512)).is_ok(), !is_atomic);
            m.check(&new).unwrap();
        }
    }

    #[test]
    fn what_came_later_shows_an_atomic_write() {
        let ops = [
            (1, write(0, 8192)),
            (2, atomic(0, 1024)),
            (3, write(8192, 512)),
        ];
        let mut m = model(&ops);
        m.settle(1);
        let mut bad = after(&ops);
        m.check(&bad).unwrap();
        bad[..1024].copy_from_slice(&after(&ops[..1])[..1024]);
        assert!(m.check(&bad).is_err());
        // Others may have made a shared file longer.
        let mut shared = FileModel::new(N, Some((0, 2)), 1024);
        ops.iter()
            .for_each(|(seq, change)| shared.feed(*seq, *change));
        shared.settle(1);
        shared.check(&bad).unwrap();
        // None was written: only a time has changed.
        let mut m = model(&[(1, write(0, 8192)), (2, atomic(0, 0)), (3, write(0, 512))]);
        m.settle(1);
        m.check(&after(&ops[..1])).unwrap();
    }

    #[test]
    fn a_stripe_is_only_its_own_blocks() {
        let mut m = FileModel::new(N, Some((1, 2)), 1024);
        m.feed(1, write(4096, 4096));
        m.settle(1);
        let mut found = after(&[(1, write(4096, 4096))]);
        found[..4096].fill(7);
        found.extend([9; 4096]);
        m.check(&found).unwrap();
        found[4096] = 0;
        assert!(m.check(&found).is_err());
        assert!(m.check(&found[..4096]).is_err());
    }

    fn fallocate(how: Fallocate, offset: u64, len: u64) -> Change {
        Change::Fallocate { how, offset, len }
    }

    #[test]
    fn a_hole_is_there_or_not() {
        for how in [Fallocate::Punch, Fallocate::Zero { keep_size: true }] {
            let ops = [
                (1, write(0, 8192)),
                (2, fallocate(how, 100, 4096)),
                (3, write(6144, 512)),
            ];
            let mut m = model(&ops);
            m.settle(1);
            for good in [&ops[..1], &ops[..2], &ops] {
                m.check(&after(good)).unwrap();
            }
            let mut bad = after(&ops);
            bad[2048] = 7;
            assert!(m.check(&bad).is_err());
            // It is durable with what came later: whole blocks, but not the edges.
            m.settle_range(3, 6144, 512);
            m.check(&after(&ops)).unwrap();
            let old = after(&ops[..1]);
            let mut edges = after(&ops);
            edges[..1024].copy_from_slice(&old[..1024]);
            m.check(&edges).unwrap();
            edges[1024..1536].copy_from_slice(&old[1024..1536]);
            assert!(m.check(&edges).is_err());
        }
    }

    #[test]
    fn what_grows_without_data() {
        for keep_size in [false, true] {
            for how in [
                Fallocate::Allocate { keep_size },
                Fallocate::Zero { keep_size },
            ] {
                let ops = [(1, write(0, 4096)), (2, fallocate(how, 8000, 4000))];
                let mut m = model(&ops);
                m.settle(1);
                m.check(&after(&ops[..1])).unwrap();
                assert!(m.check(&[0; 12000]).is_err());
                let mut grown = after(&ops[..1]);
                grown.resize(12000, 0);
                assert_eq!(m.check(&grown).is_ok(), !keep_size);
                m.settle(2);
                assert_eq!(m.check(&grown).is_ok(), !keep_size);
                assert_eq!(m.check(&after(&ops[..1])).is_ok(), keep_size);
            }
        }
    }

    #[test]
    fn what_moves_does_so_at_once() {
        for how in [Fallocate::Collapse, Fallocate::Insert] {
            let ops = [(1, write(0, 8192)), (2, fallocate(how, 1024, 2048))];
            let mut m = model(&ops);
            m.settle(1);
            let (old, new) = (after(&ops[..1]), after(&ops));
            let size = if how == Fallocate::Collapse {
                6144
            } else {
                10240
            };
            assert_eq!(new.len(), size);
            assert_eq!(new[..1024], old[..1024]);
            m.check(&old).unwrap();
            m.check(&new).unwrap();
            let mut bad = new.clone();
            bad[5000] ^= 1;
            assert!(m.check(&bad).is_err());
            let mut bad = old.clone();
            bad.resize(size, 0);
            assert!(m.check(&bad).is_err());
            m.settle(2);
            assert!(m.check(&old).is_err());
            m.check(&new).unwrap();
        }
    }
}
