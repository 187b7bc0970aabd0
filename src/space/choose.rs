// SPDX-License-Identifier: GPL-2.0

//! Which free blocks a file gets: in memory only, the device learns of them when they are marked as used.
//!
//! In this order:
//!
//! 1. the block that is wanted most, as a rule the one behind the file's last extent, and as many free ones
//!    behind it as are wanted. This is the common case and costs one lock and a look at a few words;
//! 2. a long enough run in the group of that block, or else of the inode, searched from there on;
//! 3. the other groups of the same flex group, then all others. Groups that have too little are passed over
//!    by looking at their counters, without a lock;
//! 4. the longest run that there is.
//!
//! A file that is being appended to (`Goal::stream`), and is not just new and small, begins in another group
//! than the streams before it, and where there is room to go on, so that streams that are written at the same
//! time do not get each other's blocks in between. From then on it follows its own last block.

use super::groups::GroupInfo;
use super::index::{FoundSpan, FreeIndex, Span};
use super::{Claim, Goal, Run, Share, Space};
use crate::disk::{Group, PhysBlock};
use crate::store::Store;
use kernel::error::{code::*, Error, Result};
use kernel::sync::atomic::Relaxed;

/// Blocks that a stream wants to find free in one piece where it begins.
const STREAM_ROOM: u32 = 2048;
/// Blocks that a new file wants at once if it begins as a stream.
const STREAM_START: u32 = 256;
/// Groups over which streams are spread, where a flex group has fewer.
const SPREAD: u32 = 16;
/// Bitmaps that one search reads from the device, while other groups have something to offer.
const READS: u32 = 4;
/// Groups that one search looks at, if something was seen among them.
const LOOKS: u32 = 4096;

/// What is looked for.
#[derive(Clone, Copy)]
struct Ask {
    /// Length of the run that would be best.
    room: u32,
    /// Blocks of it to take, at most.
    want: u32,
    /// Whether more will be wanted behind them.
    stream: bool,
}

/// What a look at one group gave.
enum Look {
    /// Blocks, already taken.
    Taken(Run),
    /// Nothing that is long enough.
    Nothing,
    /// The group is not in memory.
    NotLoaded,
}

impl<S: Store> Space<S> {
    /// Chooses up to `want` contiguous free blocks of one group; at least one. They are used in memory from
    /// now on, and still free on the device: they become used by [`Space::mark_used`] or free again by
    /// [`Space::unchoose`].
    ///
    /// With [`Claim::Reserved`] the caller has reserved at least `want` blocks, and each chosen block uses up
    /// one of them.
    ///
    /// May read bitmaps: no spinning lock. A group whose bitmap is bad or cannot be read is passed over.
    ///
    /// # Errors
    ///
    /// `ENOSPC` (not for reserved blocks, unless a group with free blocks turned out to be bad), `ENOMEM`.
    pub fn choose(&self, store: &S, goal: Goal, want: u32, from: Claim) -> Result<Run> {
        self.choose_with(Some(store), goal, want, from)
    }

    /// As [`Space::choose`], but never reads a bitmap, so it never waits for the device.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where a bitmap is not in memory, or the free blocks are being trimmed; those of [`Space::choose`].
    pub fn choose_now(&self, goal: Goal, want: u32, from: Claim) -> Result<Run> {
        self.choose_with(None, goal, want, from)
    }

    /// Without a store no bitmap is read.
    fn choose_with(&self, store: Option<&S>, goal: Goal, want: u32, from: Claim) -> Result<Run> {
        let claimed = self.counters.claim(from, want.max(1))?;
        let result = self.find(store, goal, claimed);
        let used = result.as_ref().map_or(0, |run| run.len);
        self.counters.unclaim(from, claimed, used);
        result
    }

    /// Chooses `len` contiguous free blocks of one group, a power of two, of which the first is a multiple of `len`. As
    /// [`Space::choose`] for the rest.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where there is no such run, `ENOMEM`.
    pub fn choose_aligned(&self, store: &S, goal: Goal, len: u32, share: Share) -> Result<Run> {
        let claim = Claim::Free(share);
        let claimed = self.counters.claim(claim, len)?;
        let result = match claimed == len {
            true => self.until_found(Some(store), || self.search_aligned(store, goal, len)),
            false => Err(ENOSPC),
        };
        let used = result.as_ref().map_or(0, |run| run.len);
        self.counters.unclaim(claim, claimed, used);
        result
    }

    fn search_aligned(&self, store: &S, goal: Goal, len: u32) -> Result<Option<Run>> {
        let near = goal.near.and_then(|near| self.layout.group_of(near));
        let (first, from) = near.unwrap_or((goal.group, 0));
        let mut no_memory = None;
        for group in self.around(first) {
            if self.groups.get(group).is_none_or(|info| info.room() < len) {
                continue;
            }
            let from = if group == first { from } else { 0 };
            let mut seen = self.look_aligned(group, from, len);
            while matches!(seen, Look::NotLoaded) {
                if let Err(error) = self.ensure_index(store, group) {
                    no_memory = Some(error);
                    break;
                }
                seen = self.look_aligned(group, from, len);
            }
            if let Look::Taken(run) = seen {
                return Ok(Some(run));
            }
        }
        no_memory.map_or(Ok(None), Err)
    }

    /// Looks for an aligned run in one group, and takes it.
    fn look_aligned(&self, group: Group, from: u32, len: u32) -> Look {
        let base = self.layout.group_first_block(group).get();
        self.with_usable(group, |info, index| {
            let found = index.find_aligned(from, len, base);
            match found.or_else(|| index.find_aligned(0, len, base)) {
                Some(span) => self.choose_span(group, info, index, span, false),
                None => Look::Nothing,
            }
        })
    }

    /// Gives chosen blocks back that were not marked as used. Never fails, allocates or sleeps.
    pub fn unchoose(&self, run: Run) {
        for (group, span) in self.parts(run) {
            if self.free_chosen(group, span) {
                self.counters.returned(span.len);
            }
        }
    }

    /// As [`Self::unchoose`], but as many blocks stay reserved. Returns how many: none in a group that is bad.
    pub fn unchoose_reserved(&self, run: Run) -> u32 {
        self.parts(run)
            .filter(|(group, span)| self.free_chosen(*group, *span))
            .fold(0, |n: u32, (_, span)| n.saturating_add(span.len))
    }

    fn free_chosen(&self, group: Group, span: Span) -> bool {
        self.free_in_memory(group, span, |index| {
            index.stream_ends(span);
            &mut index.chosen
        })
    }

    fn find(&self, store: Option<&S>, goal: Goal, want: u32) -> Result<Run> {
        // The first write of every file is at its end. A small one stays with its directory; it is a stream
        // when it goes on.
        let begins = goal.near.is_some() || want >= STREAM_START;
        let goal = Goal {
            stream: goal.stream && begins,
            ..goal
        };
        if let Some(run) = self.choose_near(store, goal, want)? {
            return Ok(run);
        }
        let room = if goal.stream {
            want.max(STREAM_ROOM)
        } else {
            want
        };
        let ask = Ask {
            room: room.min(self.layout.blocks_per_group()),
            want,
            stream: goal.stream,
        };
        let near = goal.near.and_then(|near| self.layout.group_of(near));
        let (first, from) = match near {
            Some((group, bit)) if !goal.stream || self.is_stream(group, bit) => (group, bit),
            None if !goal.stream => (goal.group, 0),
            _ => (self.stream_group(goal.group, ask.room), 0),
        };
        self.until_found(store, || self.search(store, first, from, ask))
    }

    /// Searches again with `search`, which has found no free block, for as long as it may have missed some.
    fn until_found(
        &self,
        store: Option<&S>,
        search: impl Fn() -> Result<Option<Run>>,
    ) -> Result<Run> {
        loop {
            let returns = self.counters.returns();
            if let Some(run) = search()? {
                return Ok(run);
            }
            // What is away to be trimmed was missed, and is not to be had by who cannot wait.
            if self.trimming.is_away() {
                store.ok_or(EAGAIN)?;
                self.trimming.wait();
            // Blocks that were given back to a group behind us were missed.
            } else if returns == self.counters.returns() {
                return Err(ENOSPC);
            }
        }
    }

    /// Whether a stream chose the blocks before this one: it goes on then, and does not begin.
    fn is_stream(&self, group: Group, bit: u32) -> bool {
        let look = |slot: &Option<FreeIndex>| slot.as_ref().is_some_and(|i| i.is_stream(bit));
        self.groups.with_index(group, |_, slot| look(slot)) == Some(true)
    }

    /// Where a stream begins: in turn in one of the groups around `home`, not in `home` itself where the
    /// directory and small files are.
    fn stream_group(&self, home: Group, room: u32) -> Group {
        let count = self.groups.count();
        let size = self.flex_groups().max(SPREAD).min(count);
        let base = home
            .get()
            .saturating_sub(home.get().checked_rem(size).unwrap_or(0));
        let base = base.min(count.saturating_sub(size));
        let turn = self.streams.fetch_add(1, Relaxed);
        let candidate = |n: u32| {
            // All but `home`.
            let step = turn
                .wrapping_add(n)
                .checked_rem(size.saturating_sub(1))
                .unwrap_or(0);
            let nr = base.saturating_add(step);
            Group::new(nr.saturating_add(u32::from(nr >= home.get())))
        };
        (0..size)
            .map(candidate)
            .find(|group| self.groups.get(*group).is_some_and(|g| g.room() >= room))
            .unwrap_or(home)
    }

    /// Step 1: the block `goal.near` and those behind it.
    fn choose_near(&self, store: Option<&S>, goal: Goal, want: u32) -> Result<Option<Run>> {
        let Some((group, bit)) = goal.near.and_then(|near| self.layout.group_of(near)) else {
            return Ok(None);
        };
        let look = || {
            self.with_usable(group, |info, index| match index.run_at(bit, want) {
                0 => Look::Nothing,
                len => self.choose_span(group, info, index, Span { start: bit, len }, goal.stream),
            })
        };
        let mut seen = look();
        while matches!(seen, Look::NotLoaded) && self.ensure_index(store.ok_or(EAGAIN)?, group)? {
            seen = look();
        }
        Ok(match seen {
            Look::Taken(run) => Some(run),
            Look::Nothing | Look::NotLoaded => None,
        })
    }

    /// Steps 2 to 4. `None` if no free block was seen.
    fn search(&self, store: Option<&S>, first: Group, from: u32, ask: Ask) -> Result<Option<Run>> {
        let mut need = ask.room;
        let mut reads = READS;
        let mut no_memory: Option<Error> = None;
        loop {
            // The longest run that a group seemed to have that was passed over.
            let mut most = 0;
            let mut looks = LOOKS;
            'groups: for group in self.around(first) {
                let Some(info) = self.groups.get(group) else {
                    continue 'groups;
                };
                looks = looks.saturating_sub(1);
                if most > 0 && looks == 0 {
                    break;
                }
                if info.room() >= need {
                    let from = if group == first { from } else { 0 };
                    let mut seen = self.look(group, from, need, ask);
                    while matches!(seen, Look::NotLoaded) && (reads > 0 || most == 0) {
                        reads = reads.saturating_sub(1);
                        seen = match self.ensure_index(store.ok_or(EAGAIN)?, group) {
                            Ok(_) => self.look(group, from, need, ask),
                            Err(e) => {
                                no_memory = Some(e);
                                continue 'groups;
                            }
                        };
                    }
                    if let Look::Taken(run) = seen {
                        return Ok(Some(run));
                    }
                }
                most = info.room().max(most);
            }
            // `need` gets smaller with each round: to what seems to be there, which may be more than there
            // is; to what is wanted now, the same once more; from then on by half.
            need = match most.min(need.saturating_sub(1)) {
                0 => return no_memory.map_or(Ok(None), Err),
                next if need == ask.room || need == ask.want => next,
                next if need > ask.want => next.min(ask.want),
                next => next.min(need.div_ceil(2)),
            };
        }
    }

    /// All groups: those of the flex group of `first` from `first` on, then the others from there on.
    pub(super) fn around(&self, first: Group) -> impl Iterator<Item = Group> {
        let count = self.groups.count();
        let size = self.flex_groups().max(1);
        let first = first.get().min(count.saturating_sub(1));
        let start = first.saturating_sub(first.checked_rem(size).unwrap_or(0));
        let end = start.saturating_add(size).min(count);
        (first..end)
            .chain(start..first)
            .chain(end..count)
            .chain(0..start)
            .map(Group::new)
    }

    /// Gives `f` a group's index, under its lock, if blocks can be chosen there.
    fn with_usable(
        &self,
        group: Group,
        f: impl FnOnce(&GroupInfo, &mut FreeIndex) -> Look,
    ) -> Look {
        let look = self.groups.with_index(group, |info, slot| match slot {
            _ if info.is_bad() => Look::Nothing,
            Some(index) => f(info, index),
            None => Look::NotLoaded,
        });
        look.unwrap_or(Look::Nothing)
    }

    /// Looks for a run of `need` blocks in one group, and takes what is wanted of it.
    fn look(&self, group: Group, from: u32, need: u32, ask: Ask) -> Look {
        self.with_usable(group, |info, index| match index.find(from, need) {
            FoundSpan::Enough(span) => {
                let start = match ask.stream {
                    true => index.stream_start(span.start, ask.want),
                    false => span.start,
                };
                let len = index.run_at(start, ask.want);
                self.choose_span(group, info, index, Span { start, len }, ask.stream)
            }
            FoundSpan::Longest(span) => {
                self.groups.searched(info, span.len);
                Look::Nothing
            }
        })
    }

    /// Chooses free blocks; under the index lock.
    fn choose_span(
        &self,
        group: Group,
        info: &GroupInfo,
        index: &mut FreeIndex,
        span: Span,
        stream: bool,
    ) -> Look {
        let Some(start) = self.block_of(group, span.start) else {
            return Look::Nothing;
        };
        index.set_used(span);
        index.chosen = index.chosen.saturating_add(span.len);
        if stream {
            index.stream_at(span);
        }
        self.groups.note_used(info, span.len);
        Look::Taken(Run {
            start,
            len: span.len,
        })
    }

    /// Makes blocks free in memory that were chosen or pending, whichever `count` counts. `false` where the group is
    /// bad, and nobody gets them.
    pub(super) fn free_in_memory(
        &self,
        group: Group,
        span: Span,
        count: impl FnOnce(&mut FreeIndex) -> &mut u32,
    ) -> bool {
        let given = self.groups.with_index(group, |info, slot| {
            info.forget_trim();
            self.free_in_index(info, slot, span, count)
        });
        given == Some(true)
    }

    /// [`Self::free_in_memory`], under the index lock; nothing was written to the blocks since they were free.
    pub(super) fn free_in_index(
        &self,
        info: &GroupInfo,
        slot: &mut Option<FreeIndex>,
        span: Span,
        count: impl FnOnce(&mut FreeIndex) -> &mut u32,
    ) -> bool {
        let Some(index) = slot else {
            return false;
        };
        index.set_free(span);
        let count = count(index);
        *count = count.saturating_sub(span.len);
        self.groups.note_free(info, index, span)
    }

    /// Block `bit` of a group.
    pub(super) fn block_of(&self, group: Group, bit: u32) -> Option<PhysBlock> {
        self.layout
            .group_first_block(group)
            .checked_add(u64::from(bit))
    }
}
