// SPDX-License-Identifier: GPL-2.0

//! Timestamps of inodes, and how long something takes.
//!
//! C headers: [`include/linux/time64.h`](srctree/include/linux/time64.h),
//! [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)
//!
//! # Locks
//!
//! None: a timestamp is a value.
//!
//! # Examples
//!
//! ```ignore
//! new.set_time(Time::Modify, Timestamp::from_seconds(1_000_000_000));
//! ```

use super::bindings;

/// Nanoseconds since the machine was started, without the time that it was suspended. In any context.
pub(crate) fn monotonic() -> u64 {
    // SAFETY: May always be called.
    unsafe { bindings::ktime_get() as u64 }
}

/// A point in time since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// Seconds; negative before 1970.
    pub(crate) seconds: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub(crate) nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    pub(crate) const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    pub(super) fn from_raw(time: bindings::timespec64) -> Self {
        Self {
            seconds: time.tv_sec,
            nanoseconds: time.tv_nsec as u32,
        }
    }

    pub(super) fn into_raw(self) -> bindings::timespec64 {
        bindings::timespec64 {
            tv_sec: self.seconds,
            tv_nsec: self.nanoseconds as _,
        }
    }
}
