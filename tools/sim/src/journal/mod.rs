// SPDX-License-Identifier: GPL-2.0

//! A journal as jbd2 keeps it, on the simulated device, in its real format: e2fsck and the kernel can replay it.
//!
//! # Order
//!
//! A transaction that is closed is written in steps, between which data may be written and blocks may go to their
//! places: revoke blocks, descriptors and blocks, all at once and in any order; when they are done a flush, then the
//! commit block with FUA. Only one transaction is being written at a time. Blocks go to their places when their
//! transaction has committed, and not while a later transaction changes or revokes them. The tail moves over
//! a transaction when all of its blocks are in place, or belong to a later one, and after a flush.

pub mod format;
pub mod replay;

use crate::broken::{Broken, Rule};
use crate::device::{Bytes, Trace};
use format::{Form, Super, Tag};
use iomapfs_core::host::Commit;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where the journal is on the device.
#[derive(Clone, Debug)]
pub struct Place {
    /// The device block of each block of the journal.
    pub blocks: Vec<u64>,
    /// Features that the mount gives it: 64-bit block numbers, checksums.
    pub wide: bool,
    /// See `wide`.
    pub sums: bool,
}

/// A transaction that has committed and is still needed.
#[derive(Clone, Copy, Debug)]
struct Live {
    sequence: u32,
    start: u32,
    len: u32,
}

/// A transaction that is being written.
struct Writing {
    live: Live,
    /// Still to be submitted: block of the device, contents.
    left: VecDeque<(u64, Bytes)>,
    submitted: Vec<usize>,
    commit: Bytes,
    commit_nr: u64,
    changes: Commit,
}

/// What a transaction has changed and is not in its place yet.
struct Homeless {
    bytes: Bytes,
    sequence: u32,
}

/// See the top of the file.
pub struct Journal {
    place: Place,
    sb: Super,
    form: Form,
    first: u32,
    end: u32,
    head: u32,
    next: u32,
    /// The super block on the device says that the log is empty.
    empty: bool,
    live: VecDeque<Live>,
    homeless: BTreeMap<u64, Homeless>,
    writing: Option<Writing>,
    broken: Broken,
}

impl Journal {
    /// A journal that was emptied. `sb` is its super block; the log begins at `head`, if that is possible.
    pub fn new(place: Place, sb: Super, head: u32, broken: Broken) -> Self {
        let (first, end) = (sb.first(), sb.blocks());
        let sb = sb.with(place.wide, place.sums, sb.sequence(), 0);
        Self {
            form: sb.form(),
            next: sb.sequence(),
            first,
            end,
            head: first + head % (end - first),
            empty: true,
            live: VecDeque::new(),
            homeless: BTreeMap::new(),
            writing: None,
            place,
            sb,
            broken,
        }
    }

    /// The number of the next transaction.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// The last transaction that has committed.
    pub fn committed(&self) -> u32 {
        let writing = self.writing.as_ref();
        writing
            .map_or(self.next, |writing| writing.live.sequence)
            .wrapping_sub(1)
    }

    /// Where the next transaction begins.
    pub fn head(&self) -> u32 {
        self.head
    }

    /// Whether a transaction is being written.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether there are blocks that are not in their places.
    pub fn has_homeless(&self) -> bool {
        !self.homeless.is_empty()
    }

    fn after(&self, at: u32) -> u32 {
        if at + 1 == self.end {
            self.first
        } else {
            at + 1
        }
    }

    /// Blocks of the log that are free.
    pub fn room(&self) -> u32 {
        let used: u32 = self.live.iter().map(|live| live.len).sum();
        self.end - self.first - used - 1
    }

    /// The most blocks that a transaction takes.
    pub fn space_for(&self, blocks: usize, revokes: usize) -> u32 {
        let descriptors = blocks.div_ceil(self.form.tags_per_block());
        let revoke_blocks = revokes.div_ceil(self.form.revokes_per_block());
        (blocks + descriptors + revoke_blocks + 1) as u32
    }

    fn write_super(&mut self, trace: &mut Trace, sequence: u32, start: u32, durable: bool) {
        let sb = self
            .sb
            .with(self.place.wide, self.place.sums, sequence, start);
        self.empty = start == 0;
        let (nr, bytes) = (self.place.blocks[0], Bytes::from(sb.bytes()));
        if durable {
            trace.fua(nr, bytes);
        } else {
            let id = trace.submit(nr, bytes);
            trace.done(id);
        }
    }

    /// A transaction was closed: begins to write it. Gives its number. None is being written.
    pub fn take(&mut self, trace: &mut Trace, changes: Commit) -> u32 {
        assert!(self.writing.is_none());
        let sequence = self.next;
        self.next = sequence.wrapping_add(1);
        let (start, mut at) = (self.head, self.head);
        if self.empty {
            self.write_super(trace, sequence, start, false);
        }
        let mut left = VecDeque::new();
        let mut put = |this: &Self, bytes: Vec<u8>| {
            let nr = this.place.blocks[at as usize];
            at = this.after(at);
            left.push_back((nr, Bytes::from(bytes)));
        };
        let revoked: Vec<u64> = changes.revoked.iter().copied().collect();
        for part in revoked.chunks(self.form.revokes_per_block()) {
            if !self.broken.is(Rule::RevokesForgotten) {
                put(self, self.form.revoke(sequence, part));
            }
        }
        let blocks: Vec<_> = changes.blocks.iter().collect();
        for part in blocks.chunks(self.form.tags_per_block()) {
            let written: Vec<_> = part.iter().map(|(_, bytes)| Form::escape(bytes)).collect();
            let tags: Vec<_> = part
                .iter()
                .zip(&written)
                .map(|((nr, _), (escaped, bytes))| Tag {
                    nr: **nr,
                    escaped: *escaped,
                    sum: self.form.data_sum(sequence, bytes),
                })
                .collect();
            put(self, self.form.descriptor(sequence, &tags));
            for (_, bytes) in written {
                put(self, bytes);
            }
        }
        let commit_nr = self.place.blocks[at as usize];
        at = self.after(at);
        let len = left.len() as u32 + 1;
        self.head = at;
        self.writing = Some(Writing {
            live: Live {
                sequence,
                start,
                len,
            },
            left,
            submitted: Vec::new(),
            commit: self.form.commit(sequence).into(),
            commit_nr,
            changes,
        });
        sequence
    }

    /// Goes on with the transaction that is being written, by `writes` writes. `true` when it has committed.
    pub fn step(&mut self, trace: &mut Trace, writes: usize) -> bool {
        let Some(writing) = &mut self.writing else {
            return false;
        };
        if !writing.left.is_empty() {
            let count = writes.clamp(1, writing.left.len());
            for (nr, bytes) in writing.left.drain(..count) {
                writing.submitted.push(trace.submit(nr, bytes));
            }
            return false;
        }
        for id in writing.submitted.drain(..) {
            trace.done(id);
        }
        if !self.broken.is(Rule::NoFlushBeforeCommit) {
            trace.flush();
        }
        let writing = self.writing.take().expect("it was there");
        trace.fua(writing.commit_nr, writing.commit);
        self.live.push_back(writing.live);
        for nr in &writing.changes.revoked {
            self.homeless.remove(nr);
        }
        for (nr, bytes) in writing.changes.blocks {
            let sequence = writing.live.sequence;
            self.homeless.insert(nr, Homeless { bytes, sequence });
        }
        true
    }

    /// Writes blocks to their places, at most `count` of those that are not `busy` in a later transaction, beginning
    /// somewhere.
    pub fn place(&mut self, trace: &mut Trace, count: usize, somewhere: u64, busy: &BTreeSet<u64>) {
        let writing = self.writing.as_ref().map(|writing| &writing.changes);
        let free = |nr: &u64| {
            !busy.contains(nr)
                && writing
                    .is_none_or(|now| !now.blocks.contains_key(nr) && !now.revoked.contains(nr))
        };
        let all: Vec<u64> = self.homeless.keys().copied().filter(free).collect();
        if all.is_empty() {
            return;
        }
        let skip = (somewhere % all.len() as u64) as usize;
        let mut ids = Vec::new();
        for nr in all.iter().cycle().skip(skip).take(count.min(all.len())) {
            if let Some(block) = self.homeless.remove(nr) {
                ids.push(trace.submit(*nr, block.bytes));
            }
        }
        for id in ids {
            trace.done(id);
        }
    }

    /// Moves the tail over all transactions that are not needed any more.
    pub fn move_tail(&mut self, trace: &mut Trace) {
        let needed = |live: &Live| {
            self.homeless
                .values()
                .any(|block| block.sequence == live.sequence)
        };
        let done = self.live.iter().take_while(|live| !needed(live)).count();
        if done == 0 {
            return;
        }
        self.live.drain(..done);
        let (sequence, start) = match (self.live.front(), &self.writing) {
            (Some(live), _) => (live.sequence, live.start),
            (None, Some(writing)) => (writing.live.sequence, writing.live.start),
            (None, None) => (self.next, self.head),
        };
        if !self.broken.is(Rule::NoFlushBeforeTail) {
            trace.flush();
        }
        self.write_super(trace, sequence, start, true);
    }

    /// All is in place and nothing is being written: marks the log as empty, as for an unmount.
    pub fn mark_empty(&mut self, trace: &mut Trace) {
        self.move_tail(trace);
        assert!(self.live.is_empty() && self.writing.is_none() && self.homeless.is_empty());
        trace.flush();
        self.write_super(trace, self.next, 0, true);
    }

    /// The super block as it is now.
    pub fn super_block(&self) -> Super {
        self.sb.with(self.place.wide, self.place.sums, self.next, 0)
    }
}
