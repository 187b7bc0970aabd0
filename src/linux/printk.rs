// SPDX-License-Identifier: GPL-2.0

//! Lines of the kernel's log that name what they are about, and the last line of all.
//!
//! C headers: [`include/linux/printk.h`](srctree/include/linux/printk.h),
//! [`include/linux/panic.h`](srctree/include/linux/panic.h)
//!
//! # Locks
//!
//! None: a line can be logged anywhere.
//!
//! # Examples
//!
//! ```ignore
//! printk::log(Level::Warning, c"myfs (sda1)", fmt!("was not checked\n"));
//! ```

use super::bindings;
use kernel::{
    fmt,
    print::{
        call_printk,
        format_strings, //
    },
    str::CStr, //
};

/// How urgent a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Something cannot go on.
    Critical,
    /// Something failed.
    Error,
    /// Something might fail.
    Warning,
    /// Nothing to worry about.
    Info,
}

/// Writes `prefix`, a colon and the message to the log. The message ends with a line feed.
pub(crate) fn log(level: Level, prefix: &CStr, message: fmt::Arguments<'_>) {
    let format = match level {
        Level::Critical => &format_strings::CRIT,
        Level::Error => &format_strings::ERR,
        Level::Warning => &format_strings::WARNING,
        Level::Info => &format_strings::INFO,
    };

    // SAFETY: The format is one of those, and the prefix ends with a zero.
    unsafe { call_printk(format, prefix.to_bytes_with_nul(), message) };
}

/// Stops the machine with `prefix` and `message` in the log.
pub(crate) fn panic(prefix: &CStr, message: &'static CStr) -> ! {
    // SAFETY: The format has two strings, and both end with a zero.
    unsafe {
        bindings::panic(
            c"%s: %s\n".as_ptr().cast(),
            prefix.as_ptr(),
            message.as_ptr(),
        )
    }
}

/// Whether the system is shutting down or rebooting, so that devices may be gone.
pub(crate) fn is_going_down() -> bool {
    // SAFETY: A word that is read at once.
    let state = unsafe { core::ptr::read_volatile(&raw const bindings::system_state) };

    matches!(
        state,
        bindings::system_states_SYSTEM_HALT
            | bindings::system_states_SYSTEM_POWER_OFF
            | bindings::system_states_SYSTEM_RESTART
    )
}

/// Seconds of Unix time.
pub(crate) fn unix_time() -> i64 {
    // SAFETY: May always be called.
    unsafe { bindings::ktime_get_real_seconds() }
}
