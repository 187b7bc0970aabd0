// SPDX-License-Identifier: GPL-2.0

//! Free blocks are trimmed: the device is told that they hold nothing.
//!
//! What is free in memory is free on the device, too, by a transaction that has committed, and no data is on its way to
//! it. A free run is taken in memory, as if it was chosen, while the device is told. So nobody gets it meanwhile; but
//! all counts of what may be had stay as they are, and who finds no block because of that waits until it is back.
//!
//! # Invariants
//!
//! * One run at a time is away, and `away` says so from before it is taken until after it is back.
//!
//! # Locks
//!
//! The *trim lock* (a mutex) is held while a run is away, and the device waited for. Who chooses blocks may wait for
//! it with any lock that bitmaps may be read under; inside it the index lock of a group is taken, and nothing else.

use super::index::Span;
use super::{Run, Space};
use crate::disk::{Group, PhysBlock};
use crate::store::{Rule, Store};
use core::ops::Range;
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox};
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed};
use kernel::sync::{new_mutex, Mutex};

/// What a trim needs of who wants it.
pub trait Trimmer {
    /// Whether the trim is to end, as it takes too long for somebody. Asked with no lock held; may sleep.
    fn is_stopped(&mut self) -> bool;

    /// Tells the device that the blocks hold nothing, and waits for that. Nobody has them meanwhile. `false` where the
    /// trim is to end, and the device was not told. Called with the trim lock.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn discard(&mut self, run: Run) -> Result<bool>;
}

/// What a look for a run to trim gave.
#[derive(Clone, Copy)]
enum Look {
    Taken(Span),
    Nothing,
    /// The group is not in memory.
    NotLoaded,
}

/// Whether a run is away, to be trimmed.
pub(super) struct Trimming {
    lock: Pin<KBox<Mutex<()>>>,
    away: Atomic<bool>,
}

impl Trimming {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            lock: KBox::pin_init(new_mutex!((), "iomapfs_trim"), GFP_KERNEL)?,
            away: Atomic::new(false),
        })
    }

    /// Runs `f`, which takes a run, and gives it back before it returns.
    fn with_run_away<R>(&self, f: impl FnOnce() -> R) -> R {
        let _lock = self.lock.lock();
        self.away.store(true, Relaxed);
        let result = f();
        // What was given back is seen by who sees this.
        self.away.xchg(false, Full);
        result
    }

    /// Whether a run is away.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Acquire)
    }

    /// Waits until the run that is away is back.
    pub(super) fn wait(&self) {
        drop(self.lock.lock());
    }
}

impl<S: Store> Space<S> {
    /// Trims the free runs of at least `least` blocks, one or more, that are within `blocks`, cut to those. Gives how
    /// many blocks that were.
    ///
    /// A group that was trimmed as a whole, with the same `least` or a smaller one, and where nothing has become free
    /// since, is passed over. So is one that is bad.
    ///
    /// Reads bitmaps: no spinning lock.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; those of the device.
    pub fn trim(
        &self,
        store: &S,
        blocks: Range<PhysBlock>,
        least: u32,
        trimmer: &mut impl Trimmer,
    ) -> Result<u64> {
        let mut trimmed = 0_u64;
        if store.breaks(Rule::TrimCommitted) {
            self.deferred.for_each(|run| {
                trimmed = trimmed.saturating_add(run.len.into());
                trimmer.discard(run).map(drop)
            })?;
        }
        let mut at = blocks.start;
        while let Some((group, start)) = self.layout.group_of(at).filter(|_| at < blocks.end) {
            if trimmer.is_stopped() {
                break;
            }
            let in_group = self.layout.blocks_in_group(group);
            let next = PhysBlock::new(
                self.layout
                    .group_first_block(group)
                    .get()
                    .saturating_add(in_group.into()),
            );
            let behind = next.get().saturating_sub(blocks.end.get());
            let end = in_group.saturating_sub(u32::try_from(behind).unwrap_or(in_group));
            let (count, goes_on) = self.trim_group(store, group, start..end, least, trimmer)?;
            trimmed = trimmed.saturating_add(count);
            if !goes_on {
                break;
            }
            at = next;
        }
        Ok(trimmed)
    }

    /// Trims blocks `part` of a group. Gives how many these were, and whether the trim goes on.
    fn trim_group(
        &self,
        store: &S,
        group: Group,
        part: Range<u32>,
        least: u32,
        trimmer: &mut impl Trimmer,
    ) -> Result<(u64, bool)> {
        let Some(info) = self.groups.get(group) else {
            return Ok((0, true));
        };
        if info.room() < least {
            return Ok((0, true));
        }
        // Before the first look: what becomes free behind it takes the note back.
        let is_whole = part == (0..self.layout.blocks_in_group(group));
        let noted = self
            .groups
            .with_index(group, |info, _| info.note_trim(least, is_whole));
        if noted != Some(true) {
            return Ok((0, true));
        }
        let result = self.trim_runs(store, group, part, least, trimmer);
        if !matches!(result, Ok((_, true))) {
            self.groups.with_index(group, |info, _| info.forget_trim());
        }
        result
    }

    fn trim_runs(
        &self,
        store: &S,
        group: Group,
        part: Range<u32>,
        least: u32,
        trimmer: &mut impl Trimmer,
    ) -> Result<(u64, bool)> {
        let (mut at, mut trimmed) = (part.start, 0_u64);
        loop {
            if trimmer.is_stopped() {
                return Ok((trimmed, false));
            }
            let (look, told) = self.trimming.with_run_away(|| {
                let look = self.take_run(store, group, at..part.end, least);
                let Look::Taken(span) = look else {
                    return (look, Ok(false));
                };
                let start = self.block_of(group, span.start);
                let run = start.map(|start| Run {
                    start,
                    len: span.len,
                });
                let told = run.map_or(Ok(false), |run| trimmer.discard(run));
                self.return_run(store, group, span);
                (look, told)
            });
            match look {
                Look::Taken(_) if !told? => return Ok((trimmed, false)),
                Look::Taken(span) => {
                    trimmed = trimmed.saturating_add(span.len.into());
                    // The block behind it is used, or not in the part.
                    at = span.start.saturating_add(span.len).saturating_add(1);
                }
                Look::Nothing => return Ok((trimmed, true)),
                Look::NotLoaded => {
                    if !self.ensure_index(store, group)? {
                        return Ok((trimmed, true));
                    }
                }
            }
        }
    }

    /// Takes the first run that is long enough.
    fn take_run(&self, store: &S, group: Group, part: Range<u32>, least: u32) -> Look {
        let look = self.groups.with_index(group, |info, slot| {
            let Some(index) = slot else {
                return Look::NotLoaded;
            };
            let Some(span) = index.next_run(part, least).filter(|_| !info.is_bad()) else {
                return Look::Nothing;
            };
            if !store.breaks(Rule::TrimTaken) {
                index.set_used(span);
                index.chosen = index.chosen.saturating_add(span.len);
                self.groups.note_used(info, span.len);
            }
            Look::Taken(span)
        });
        look.unwrap_or(Look::Nothing)
    }

    /// Gives back what [`Self::take_run`] took.
    fn return_run(&self, store: &S, group: Group, span: Span) {
        if store.breaks(Rule::TrimTaken) {
            return;
        }
        let given = self.groups.with_index(group, |info, slot| {
            self.free_in_index(info, slot, span, |index| &mut index.chosen)
        });
        if given != Some(true) {
            // They were counted as free all the time, but nobody gets them any more.
            self.counters.lost(span.len);
        }
        self.counters.seen_again();
    }
}
