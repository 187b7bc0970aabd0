// SPDX-License-Identifier: GPL-2.0

//! What happens when an error is found: one line in the log, a record for the super block, a report to who listens
//! (`FAN_FS_ERROR`), and the policy of the mount option `errors=`.
//!
//! Here is only what is kept in memory. [`crate::store::Store::fail`] carries out the policy, and
//! [`super::superblock`] writes the record to the device.
//!
//! # Locks
//!
//! A spinning lock guards the records. No lock is taken under it, and it may be taken under any other, as under the
//! byte lock of the super block when the records are put there ([`Errors::write`]). So an error can be recorded
//! wherever a line can be logged.

use crate::disk::superblock::{ErrorPolicy, ErrorRecord, RawSuper};
use crate::disk::{Ino, PhysBlock};
use crate::linux::fserror::Reporter;
use crate::linux::printk::{self, Level};
use crate::store::About;
use core::panic::Location;
use core::pin::Pin;
use kernel::alloc::{flags::GFP_KERNEL, KBox};
use kernel::error::{code::*, Error, Result};

use kernel::fmt;
use kernel::prelude::*;
use kernel::str::{CStr, CString};
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::{new_spinlock, Arc, SpinLock};

/// Lines that may be logged in [`PERIOD`] before the rest is only counted.
const LINES: u32 = 10;
/// Seconds.
const PERIOD: i64 = 5;

/// One error that was found.
#[derive(Clone, Copy)]
struct Found {
    time: i64,
    error: Error,
    about: About,
    /// Where in the source it was reported.
    place: &'static Location<'static>,
}

/// What the super block does not have yet, and how much was logged.
#[derive(Default)]
struct Records {
    first: Option<Found>,
    last: Option<Found>,
    /// Errors that were found after `first` and before `last`.
    between: u32,
    /// Errors that were found since the mount, modulo 2^32.
    total: u32,
    period_start: i64,
    lines: u32,
    suppressed: u32,
    /// The places that have their only line, as many as fit.
    told: [Option<&'static Location<'static>>; 16],
}

/// Which of the errors of one place in the source get a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// All of them.
    All,
    /// The first since the mount.
    First,
}

/// How many of the errors of a mount [`Errors::write`] has written.
pub(crate) struct Noted {
    total: u32,
}

/// The errors of one mount.
pub(crate) struct Errors {
    /// `iomapfs (loop0)`
    prefix: CString,
    policy: Atomic<u32>,
    /// Whether an error was found since the mount: the super block says so, too.
    found: Atomic<bool>,
    /// Whether nothing may be changed any more.
    stopped: Atomic<bool>,
    /// Whether the file system was shut down; then it is stopped, too.
    shut_down: Atomic<bool>,
    records: Pin<KBox<SpinLock<Records>>>,
    reporter: Arc<Reporter>,
}

impl Errors {
    /// For a mount of the device `name`, whose errors `reporter` tells of.
    pub(crate) fn new(name: &CStr, policy: ErrorPolicy, reporter: Arc<Reporter>) -> Result<Self> {
        Ok(Self {
            prefix: prefix(name)?,
            policy: Atomic::new(policy_number(policy)),
            found: Atomic::new(false),
            stopped: Atomic::new(false),
            shut_down: Atomic::new(false),
            records: KBox::pin_init(
                new_spinlock!(Records::default(), "iomapfs_errors"),
                GFP_KERNEL,
            )?,
            reporter,
        })
    }

    /// What to do when an error is found.
    pub(crate) fn policy(&self) -> ErrorPolicy {
        match self.policy.load(Relaxed) {
            0 => ErrorPolicy::Continue,
            1 => ErrorPolicy::ReadOnly,
            _ => ErrorPolicy::Panic,
        }
    }

    /// Changes the policy (remount).
    pub(crate) fn set_policy(&self, policy: ErrorPolicy) {
        self.policy.store(policy_number(policy), Relaxed);
    }

    /// Logs a line.
    pub(crate) fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        printk::log(level, &self.prefix, fmt!("{message}\n"));
    }

    /// Logs that an error was found, if `lines` says so, and keeps it for the super block, with the place of the call.
    #[track_caller]
    pub(crate) fn record(
        &self,
        error: Error,
        about: About,
        message: fmt::Arguments<'_>,
        lines: Lines,
    ) {
        let found = Found {
            time: printk::unix_time(),
            error,
            about,
            place: Location::caller(),
        };
        let (log, suppressed) = {
            let mut records = self.records.lock();

            records.total = records.total.wrapping_add(1);
            if records.first.is_none() {
                records.first = Some(found);
            } else if records.last.replace(found).is_some() {
                records.between = records.between.saturating_add(1);
            }
            match lines == Lines::First && records.was_told(found.place) {
                true => (false, 0),
                false => records.may_log(found.time),
            }
        };

        self.found.store(true, Relaxed);
        if suppressed != 0 {
            self.log(
                Level::Error,
                fmt!("error: {suppressed} more were found and not logged"),
            );
        }
        if log {
            self.log(Level::Error, fmt!("error: {message}"));
        }
    }

    /// Tells who listens for errors. As with ext4, not of what is found after an error has stopped all changes: that
    /// may come of it.
    pub(crate) fn report(&self, error: Error, about: About) {
        if !self.is_stopped() {
            self.reporter
                .metadata(error, about.ino.map(|ino| ino.get().into()));
        }
    }

    /// Tells who listens for errors that the file system was shut down.
    pub(crate) fn report_shutdown(&self) {
        self.reporter.metadata(ESHUTDOWN, None);
    }

    /// Whether an error was found since the mount.
    pub(crate) fn any(&self) -> bool {
        self.found.load(Relaxed)
    }

    /// From now on nothing may be changed. Returns whether it was so before.
    pub(crate) fn stop(&self) -> bool {
        self.stopped.xchg(true, Relaxed)
    }

    /// Whether nothing may be changed any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// The file system is shut down, which is no error that was found in it. From now on nothing may be changed, nor
    /// data be read. Returns whether it was so before.
    pub(crate) fn shut_down(&self) -> bool {
        let before = self.shut_down.xchg(true, Relaxed);
        self.stopped.store(true, Relaxed);
        before
    }

    /// Whether the file system was shut down.
    #[inline]
    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Relaxed)
    }

    /// What to answer to who wants a change: `EIO` after a shutdown, `EROFS` if an error has stopped all changes.
    pub(crate) fn check(&self) -> Result {
        if !self.is_stopped() {
            Ok(())
        } else if self.is_shut_down() {
            Err(EIO)
        } else {
            Err(EROFS)
        }
    }

    /// Whether there is anything that the super block does not have yet.
    pub(crate) fn are_pending(&self) -> bool {
        self.records.lock().first.is_some()
    }

    /// Writes to the super block what it does not have yet. When it is known to have that, [`Self::forget`] takes what
    /// this returns.
    #[must_use]
    pub(crate) fn write(&self, raw: &mut RawSuper) -> Noted {
        let (first, last, between, total) = {
            let records = self.records.lock();

            (records.first, records.last, records.between, records.total)
        };

        for found in [first, last].into_iter().flatten() {
            raw.record_error(&ErrorRecord {
                time: found.time,
                ino: found.about.ino.map_or(0, Ino::get),
                block: found.about.block.map_or(0, PhysBlock::get),
                func: source_file(found.place),
                line: found.place.line(),
                error: found.error,
            });
        }
        raw.error_count
            .set(raw.error_count.get().saturating_add(between));
        Noted { total }
    }

    /// The super block has what was written to it. What was found meanwhile it does not have yet.
    pub(crate) fn forget(&self, noted: Noted) {
        let mut records = self.records.lock();
        let new = records.total.wrapping_sub(noted.total);
        let newest = records.last.take().or(records.first);

        records.first = newest.filter(|_| new != 0);
        records.between = new.saturating_sub(1);
    }
}

impl Records {
    /// Whether `place` has had its line; from now on it has.
    fn was_told(&mut self, place: &'static Location<'static>) -> bool {
        for slot in &mut self.told {
            match slot {
                Some(told) if *told == place => return true,
                Some(_) => {}
                None => {
                    *slot = Some(place);
                    return false;
                }
            }
        }
        false
    }

    /// Whether a line may be logged at time `now`, and how many were not since the last one.
    fn may_log(&mut self, now: i64) -> (bool, u32) {
        if now.abs_diff(self.period_start) >= PERIOD as u64 {
            self.period_start = now;
            self.lines = 0;
        }
        if self.lines >= LINES {
            self.suppressed = self.suppressed.saturating_add(1);
            return (false, 0);
        }
        self.lines = self.lines.saturating_add(1);
        (true, core::mem::take(&mut self.suppressed))
    }
}

/// The source file of a place, below `src/`: the super block has 32 bytes for it.
pub(super) fn source_file(place: &'static Location<'static>) -> &'static str {
    // The searches of `str` do arithmetic that might panic.
    let mut rest = place.file().chars();
    let mut below = rest.as_str();
    loop {
        if let Some(file) = rest.as_str().strip_prefix("src/") {
            below = file;
        }
        if rest.next().is_none() {
            return below;
        }
    }
}

/// What log lines about the device `name` begin with.
pub(crate) fn prefix(name: &CStr) -> Result<CString> {
    Ok(CString::try_from_fmt(fmt!("iomapfs ({name})"))?)
}

fn policy_number(policy: ErrorPolicy) -> u32 {
    match policy {
        ErrorPolicy::Continue => 0,
        ErrorPolicy::ReadOnly => 1,
        ErrorPolicy::Panic => 2,
    }
}
