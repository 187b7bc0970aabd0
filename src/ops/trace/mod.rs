// SPDX-License-Identifier: GPL-2.0

//! Trace points: what a mount tells those who watch, as `events/iomapfs/` of tracefs.
//!
//! Tests: `qemu/test/t/trace.sh`.
//!
//! | event | is told when |
//! |---|---|
//! | `begin` | a write, the first store to a page of a mapping, or a `fallocate` begins |
//! | `map` | somebody was told what is at a place of a file: a read, a write, or writeback |
//! | `choose` | blocks were chosen for a place of a file |
//! | `submit` | data goes to the device |
//! | `complete` | it is there, or could not be written: how long that took, if `submit` is watched, too |
//! | `publish` | a transaction has shown what was written |
//! | `extend` | a transaction raises the size on disk |
//! | `orphan` | an inode becomes an orphan, or is none any more |
//! | `retry` | there was no space, and some was made |
//! | `error` | an error of the file system was found, with its place in the source |
//!
//! `begin`, `submit`, `extend` and `orphan` are moments, and have no duration: the last two are a change in memory, in
//! a transaction with other changes, whose commit makes it durable.
//!
//! Here are the events and what knows nothing of a mount; [`file`](mod@file) is what is told of a file. The fields are
//! in `events.h`. What the core has to tell it tells through [`Live`](crate::change::Live) and
//! [`Store`](crate::store::Store), which have functions for those who watch.
//!
//! While nobody watches an event, it costs a no-op where it is told. What has to be found out for it, as the time, is
//! found out behind that.
//!
//! # Locks
//!
//! None. Events are told with the locks held that who tells them holds, and in interrupt context, too.

pub(crate) mod file;

use crate::linux::time::monotonic;
use kernel::error::Result;
use kernel::sync::atomic::{Atomic, Relaxed};

crate::linux::tracepoint::events! {
    of "IOMAPFS_TRACE_BINDINGS", with
        IOMAPFS_APPEND IOMAPFS_CHOOSE_RESERVED IOMAPFS_CHOOSE_STREAM IOMAPFS_DIRECT IOMAPFS_FALLOCATE IOMAPFS_FAULT
        IOMAPFS_MAP_DELAYED IOMAPFS_MAP_MAPPED IOMAPFS_MAP_NEW IOMAPFS_MAP_UNWRITTEN IOMAPFS_NOWAIT
        IOMAPFS_RETRY_ALL IOMAPFS_RETRY_BLOCKS IOMAPFS_SYNC IOMAPFS_UNWRITTEN IOMAPFS_WRITE IOMAPFS_WRITEBACK;

    /// A write begins.
    event Begin = iomapfs_begin(dev: u32, ino: u64, pos: u64, len: u64, flags: u32);

    /// What is at a place of a file.
    event Map = iomapfs_map(
        dev: u32, ino: u64, flags: u32, lblk: u32, pblk: u64, len: u32, mflags: u32, ret: i32, duration: u64,
    );

    /// Blocks were chosen.
    event Choose = iomapfs_choose(
        dev: u32, ino: u64, flags: u32, len: u32, block: u64, lblk: u32, goal: u64, want: u32, ret: i32, duration: u64,
    );

    /// Data goes to the device.
    event Submit = iomapfs_submit(dev: u32, ino: u64, pos: u64, len: u64, pblk: u64, flags: u32);

    /// Data is on the device, or could not be written.
    event Complete = iomapfs_complete(
        dev: u32, ino: u64, pos: u64, len: u64, flags: u32, ret: i32, duration: u64,
    );

    /// A file shows what was written.
    event Publish = iomapfs_publish(
        dev: u32, ino: u64, pos: u64, len: u64, flags: u32, tid: u32, ret: i32, duration: u64,
    );

    /// The size on disk goes up.
    event Extend = iomapfs_extend(dev: u32, ino: u64, old: u64, size: u64, tid: u32);

    /// An inode becomes an orphan, or is none any more.
    event Orphan = iomapfs_orphan(dev: u32, ino: u64, add: u32, tid: u32);

    /// Space was made.
    event Retry = iomapfs_retry(dev: u32, ino: u64, effort: u32, free: u64, ret: i32, duration: u64);

    /// An error was found.
    event Failure = iomapfs_error(
        dev: u32, ino: u64, block: u64, error: i32,
        function: &crate::linux::tracepoint::Text<'_>, line: u32,
    );
}

/// Nanoseconds that something has taken which began at `began`, as [`monotonic`] has it.
pub(crate) fn since(began: u64) -> u64 {
    monotonic().saturating_sub(began)
}

/// What C has for a result: 0, or the negative number of an error.
pub(crate) fn ret<T>(result: &Result<T>) -> i32 {
    result.as_ref().map_or_else(|error| error.to_errno(), |_| 0)
}

/// What somebody watches that takes time: when it began, and what is to be told of it when it ends. It is kept here
/// and not where it is done, so that nothing is carried along there while nobody watches.
///
/// Where two fall on one slot, the later one stays, and of the other nothing is known in the end.
struct UnderWay([Slot; 128]);

struct Slot {
    /// Whose it is; 0 where it is free.
    key: Atomic<u64>,
    time: Atomic<u64>,
    facts: [Atomic<u64>; FACTS],
}

/// How many numbers are kept of each.
const FACTS: usize = 6;

static UNDER_WAY: UnderWay = UnderWay(
    [const {
        Slot {
            key: Atomic::new(0),
            time: Atomic::new(0),
            facts: [const { Atomic::new(0) }; FACTS],
        }
    }; 128],
);

/// What is under way.
#[derive(Clone, Copy)]
enum Doing {
    /// What this task does, of the kind with this number.
    Task(u64),
    /// I/O, by device, inode and first byte.
    Io(u32, u64, u64),
}

impl Doing {
    /// A number that others hardly have. Not zero.
    fn key(self) -> u64 {
        // Fibonacci hashing of each in turn.
        let mix = |a: u64, b: u64| (a ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let key = match self {
            Self::Task(kind) => mix(mix(1, kind), kernel::current!().pid() as u64),
            Self::Io(device, ino, pos) => mix(mix(mix(2, device.into()), ino), pos),
        };
        key | 1
    }
}

impl UnderWay {
    fn slot(&self, key: u64) -> Option<&Slot> {
        self.0.get(((key >> 32) & 127) as usize)
    }

    /// It begins.
    fn begins(&self, what: Doing, facts: [u64; FACTS]) {
        let key = what.key();
        if let Some(slot) = self.slot(key) {
            for (to, fact) in slot.facts.iter().zip(facts) {
                to.store(fact, Relaxed);
            }
            slot.time.store(monotonic(), Relaxed);
            slot.key.store(key, Relaxed);
        }
    }

    /// It has ended: what was to be told, and how many nanoseconds it took, if that is known.
    fn ends(&self, what: Doing) -> Option<([u64; FACTS], u64)> {
        let key = what.key();
        let slot = self.slot(key)?;
        let duration = since(slot.time.load(Relaxed));
        let facts = slot.facts.each_ref().map(|fact| fact.load(Relaxed));
        slot.key.cmpxchg(key, 0, Relaxed).ok()?;
        Some((facts, duration))
    }
}

/// A choice of blocks, as it is told.
pub(crate) struct Choice {
    /// The device.
    pub(crate) device: u32,
    /// The file.
    pub(crate) ino: u64,
    /// `IOMAPFS_CHOOSE_*`.
    pub(crate) flags: u32,
    /// The place in the file, in blocks.
    pub(crate) at: u32,
    /// The best block, or 0.
    pub(crate) goal: u64,
    /// How many are wanted.
    pub(crate) want: u32,
}

/// Blocks are about to be chosen by this task.
#[cold]
#[inline(never)]
pub(crate) fn choosing(choice: &Choice) {
    let facts = [
        choice.device.into(),
        choice.ino,
        choice.flags.into(),
        choice.at.into(),
        choice.goal,
        choice.want.into(),
    ];
    UNDER_WAY.begins(Doing::Task(0), facts);
}

/// What came of it: the first block and how many.
#[cold]
#[inline(never)]
pub(crate) fn chosen(result: Result<(u64, u32)>) {
    if let Some((facts, duration)) = UNDER_WAY.ends(Doing::Task(0)) {
        let [device, ino, flags, at, goal, want] = facts;
        let (block, len) = result.unwrap_or((0, 0));
        let error = ret(&result);
        Choose::tell(
            device as u32,
            ino,
            flags as u32,
            len,
            block,
            at as u32,
            goal,
            want as u32,
            error,
            duration,
        );
    }
}
