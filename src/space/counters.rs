// SPDX-License-Identifier: GPL-2.0

//! Free blocks of the whole file system: what may still be promised.
//!
//! `available` counts the blocks that are free in memory and not reserved. A reservation takes from it, and
//! the blocks that are later chosen from the reservation change it no more. So at any time there are at least
//! as many free blocks in the groups as are reserved, and a claim from a reservation finds one.
//!
//! # Invariants
//!
//! * `available` + reservations <= sum of `free` over all groups. Blocks are added to a group first and to
//!   `available` then; they leave in the opposite order. It is negative only after a group turned out to be
//!   bad.

use super::{Claim, Share};
use crate::disk::Layout;
use kernel::error::{code::*, Result};
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed};

/// The counters.
pub(super) struct Counters {
    available: Atomic<i64>,
    /// Blocks that [`Share::Common`] does not have.
    not_common: Atomic<i64>,
    /// Blocks that only [`Share::All`] has.
    only_all: i64,
    /// Free blocks as the bitmaps on the device have it, with the changes of the running transaction.
    on_disk: Atomic<i64>,
    /// Freed by transactions that have not committed.
    pending: Atomic<i64>,
    /// Free inodes.
    pub(super) free_inodes: Atomic<i64>,
    /// Directories.
    pub(super) dirs: Atomic<i64>,
    /// Counts the times that blocks became free: who found none looks again if it has changed.
    returns: Atomic<u32>,
}

impl Counters {
    /// For a file system with `free` free blocks.
    pub(super) fn new(layout: &Layout, free: u64, free_inodes: u64, dirs: u64) -> Self {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Self {
            available: Atomic::new(free as i64),
            not_common: Atomic::new(number(layout.set_aside_blocks())),
            only_all: number(layout.kept_blocks()),
            on_disk: Atomic::new(free as i64),
            pending: Atomic::new(0),
            free_inodes: Atomic::new(free_inodes as i64),
            dirs: Atomic::new(dirs as i64),
            returns: Atomic::new(0),
        }
    }

    /// So many blocks are reserved for some users from now on.
    pub(super) fn set_reserved(&self, blocks: u64) {
        let blocks = i64::try_from(blocks).unwrap_or(i64::MAX);
        self.not_common
            .store(blocks.saturating_add(self.only_all), Relaxed);
    }

    /// Blocks that [`Share::Common`] does not have.
    pub(super) fn set_aside(&self) -> u64 {
        u64::try_from(self.not_common.load(Relaxed)).unwrap_or(0)
    }

    /// Takes up to `want` blocks, at least `least`, from what is available.
    fn claim_some(&self, least: u64, want: u64, share: Share) -> Result<u64> {
        let keep = match share {
            Share::Common => self.not_common.load(Relaxed),
            Share::Reserve => self.only_all,
            Share::All => 0,
        };
        let mut now = self.available.load(Relaxed);
        loop {
            let usable = u64::try_from(now.saturating_sub(keep)).unwrap_or(0);
            let got = usable.min(want);
            if got < least {
                return Err(ENOSPC);
            }
            match self
                .available
                .cmpxchg(now, now.wrapping_sub(got as i64), Full)
            {
                Ok(_) => return Ok(got),
                Err(other) => now = other,
            }
        }
    }

    /// Reserves `n` blocks, or `ENOSPC`.
    pub(super) fn reserve(&self, n: u64, share: Share) -> Result {
        self.claim_some(n, n, share).map(drop)
    }

    /// Gives reserved or claimed blocks back.
    pub(super) fn unreserve(&self, n: u64) {
        self.available.fetch_add(n as i64, Full);
    }

    /// How many blocks, at most `want`, may be chosen under `claim`; at least one.
    pub(super) fn claim(&self, claim: Claim, want: u32) -> Result<u32> {
        let share = match claim {
            Claim::Reserved => return Ok(want),
            Claim::Free(share) => share,
        };
        let got = self.claim_some(1, u64::from(want), share)?;
        Ok(u32::try_from(got).unwrap_or(want))
    }

    /// Of `claimed` blocks only `used` were chosen.
    pub(super) fn unclaim(&self, claim: Claim, claimed: u32, used: u32) {
        let rest = claimed.saturating_sub(used);
        if rest > 0 && !matches!(claim, Claim::Reserved) {
            self.unreserve(u64::from(rest));
        }
    }

    /// `n` blocks of a group became free in memory.
    pub(super) fn returned(&self, n: u32) {
        self.returns.fetch_add(1, Full);
        self.unreserve(u64::from(n));
    }

    /// Blocks that were counted as free all the time, and could not be found, can be found again.
    pub(super) fn seen_again(&self) {
        self.returns.fetch_add(1, Full);
    }

    /// See `returns`.
    pub(super) fn returns(&self) -> u32 {
        self.returns.load(Acquire)
    }

    /// `n` free blocks are in a group that turned out to be bad.
    pub(super) fn lost(&self, n: u32) {
        self.available.fetch_sub(i64::from(n), Full);
    }

    /// `n` chosen blocks were marked as used on the device.
    pub(super) fn marked(&self, n: u32) {
        self.on_disk.fetch_sub(i64::from(n), Relaxed);
    }

    /// That was taken back.
    pub(super) fn unmarked(&self, n: u32) {
        self.on_disk.fetch_add(i64::from(n), Relaxed);
    }

    /// `n` blocks were freed on the device, by a transaction that has not committed.
    pub(super) fn freed(&self, n: u32) {
        self.on_disk.fetch_add(i64::from(n), Relaxed);
        self.pending.fetch_add(i64::from(n), Relaxed);
    }

    /// `n` freed blocks belong to a transaction that has committed.
    pub(super) fn committed(&self, n: u32) {
        self.pending.fetch_sub(i64::from(n), Relaxed);
    }

    /// Blocks that are free and not reserved.
    pub(super) fn available(&self) -> u64 {
        u64::try_from(self.available.load(Relaxed)).unwrap_or(0)
    }

    /// Free blocks as the bitmaps have it.
    pub(super) fn on_disk(&self) -> u64 {
        u64::try_from(self.on_disk.load(Relaxed)).unwrap_or(0)
    }

    /// Blocks that are free once the running transaction has committed.
    pub(super) fn pending(&self) -> u64 {
        u64::try_from(self.pending.load(Relaxed)).unwrap_or(0)
    }
}
