// SPDX-License-Identifier: GPL-2.0

//! Blocks chosen ahead for a file that is written in order.
//!
//! A file that grows by small writes gets each time the next blocks of one run that was chosen in memory: the search
//! for free blocks is done once for many writes, and files that grow at the same time do not get each other's blocks in
//! between. Nothing of that is on disk, so a crash or a forgotten file leaves no trace.
//!
//! Only a file that is open for writing has such blocks: directories never do, and writeback after the last close
//! chooses what it wants and no more. When space is short, all files must give them back.
//!
//! # Invariants
//!
//! * Without writers there is no `run`.
//! * The blocks of `run` are chosen and belong to no piece of the cache.
//!
//! # Locks
//!
//! The inode's map lock.

use super::FileMap;
use crate::disk::{LogicalBlock, PhysBlock};
use crate::space::{Claim, Goal, Run, Share};
use crate::store::{Store, Wish};
use crate::volume::Volume;
use kernel::error::{code::*, Result};

/// The most that is chosen ahead, in bytes.
const MAX_BYTES: u32 = 8 << 20;
/// What is chosen ahead at first, in blocks.
const FIRST: u32 = 16;

/// See the top of the file.
pub(super) struct Window {
    /// Where what is left begins, and how much it is. Most inodes have nothing: two numbers are less than an option.
    start: PhysBlock,
    left: u32,
    /// The file block that continues the last choice.
    next: LogicalBlock,
    /// How much was chosen ahead the last time, in blocks.
    size: u32,
    /// How many times the file is open for writing.
    writers: u32,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            start: PhysBlock::new(0),
            left: 0,
            next: LogicalBlock::ZERO,
            size: 0,
            writers: 0,
        }
    }

    /// Takes up to `want` blocks from the front; `None` where nothing is left.
    fn take_front(&mut self, want: u32) -> Option<Run> {
        let (start, len) = (self.start, self.left.min(want));
        self.start = start.checked_add(len.into())?;
        self.left = self.left.saturating_sub(len);
        (len > 0).then_some(Run { start, len })
    }
}

impl FileMap {
    /// Chooses up to `want` contiguous blocks for the file blocks from `at` on.
    ///
    /// With [`Claim::Reserved`], `want` blocks are reserved, and as many of the reservation as are chosen are used up.
    /// `wait` unset: `EAGAIN` rather than wait for the device.
    pub(super) fn pick<S: Store>(
        &mut self,
        vol: &Volume<S>,
        at: LogicalBlock,
        want: u32,
        goal: Goal,
        claim: Claim,
        wait: bool,
    ) -> Result<Run> {
        let in_order = at == self.window.next && at != LogicalBlock::ZERO;
        vol.store.choosing(|| Wish {
            ino: self.tree.ino,
            at,
            want,
            near: goal.near,
            reserved: claim == Claim::Reserved,
            stream: in_order,
        });
        let run = if in_order && self.window.writers > 0 {
            self.pick_ahead(vol, want, goal, claim, wait)?
        } else {
            search(vol, goal, want, claim, wait)?
        };
        vol.store.chosen(Ok((run.start, run.len)));
        self.window.next = at.saturating_add(run.len);
        Ok(run)
    }

    /// Chooses for a file that is written in order: from the window, which is filled again when it is empty.
    fn pick_ahead<S: Store>(
        &mut self,
        vol: &Volume<S>,
        want: u32,
        goal: Goal,
        claim: Claim,
        wait: bool,
    ) -> Result<Run> {
        if self.window.left == 0 {
            let most = MAX_BYTES >> vol.layout.block_size().bits();
            self.window.size = self
                .window
                .size
                .saturating_mul(2)
                .max(want)
                .max(FIRST)
                .min(most);
            let all = want.saturating_add(self.window.size);
            let goal = Goal {
                stream: true,
                ..goal
            };
            match search(vol, goal, all, Claim::Free(Share::Common), wait) {
                Ok(run) => (self.window.start, self.window.left) = (run.start, run.len),
                // What is reserved can be had nevertheless.
                Err(error) if error == ENOSPC => return search(vol, goal, want, claim, wait),
                Err(error) => return Err(error),
            }
        }
        let run = self.window.take_front(want);
        let run = run.ok_or_else(|| vol.store.bug(self.tree.ino, "a window has no blocks"))?;
        if claim == Claim::Reserved {
            // These blocks were not taken from the reservation.
            vol.space.unreserve(run.len, 0);
        }
        Ok(run)
    }

    /// The file was opened for writing. From now on blocks may be chosen ahead for it.
    pub fn add_writer(&mut self) {
        self.window.writers = self.window.writers.saturating_add(1);
    }

    /// A file that was opened for writing is closed. The last writer gives back the blocks that were chosen ahead, and
    /// those from `end` on, where the file ends: a write that failed has left them.
    pub fn remove_writer<S: Store>(&mut self, vol: &Volume<S>, end: LogicalBlock) {
        self.window.writers = self.window.writers.saturating_sub(1);
        if self.window.writers == 0 {
            self.release_window(vol);
            self.cancel(vol, end, LogicalBlock::LIMIT);
        }
    }

    /// How many blocks are chosen ahead.
    pub fn chosen_ahead(&self) -> u32 {
        self.window.left
    }

    /// Gives the blocks back that were chosen ahead: when the file is cut off or leaves memory, or when space is
    /// short. Never sleeps.
    pub fn release_window<S: Store>(&mut self, vol: &Volume<S>) {
        if let Some(run) = self.window.take_front(u32::MAX) {
            vol.space.unchoose(run);
        }
        self.window.size = 0;
    }
}

/// Looks for free blocks, if `wait` also where bitmaps must be read first.
fn search<S: Store>(
    vol: &Volume<S>,
    goal: Goal,
    want: u32,
    claim: Claim,
    wait: bool,
) -> Result<Run> {
    if wait {
        vol.space.choose(&vol.store, goal, want, claim)
    } else {
        vol.space.choose_now(goal, want, claim)
    }
}
