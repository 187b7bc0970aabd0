// SPDX-License-Identifier: GPL-2.0

//! The task that calls.
//!
//! C headers: [`include/linux/capability.h`](srctree/include/linux/capability.h),
//! [`include/linux/cred.h`](srctree/include/linux/cred.h),
//! [`include/linux/freezer.h`](srctree/include/linux/freezer.h),
//! [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! while let Some(name) = names.next() {
//!     if task::is_dying() {
//!         return Err(ERESTARTSYS);
//!     }
//!     task::reschedule();
//! }
//! ```

use super::bindings;
use kernel::{
    error::{
        code::*,
        Result, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How often [`wait_until_unused`] looks.
const WAIT: Delta = Delta::from_millis(20);
/// After so many [`WAIT`]s something is wrong.
const LONG: u32 = 500;

/// Whether the task may use resources that are kept for the administrator (`CAP_SYS_RESOURCE`).
pub(crate) fn is_capable_of_resources() -> bool {
    // SAFETY: No conditions.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as i32) }
}

/// Whether the task may do what is the administrator's (`CAP_SYS_ADMIN`).
pub(crate) fn is_capable_of_administration() -> bool {
    // SAFETY: No conditions.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as i32) }
}

/// Whether the task acts on filesystems as user `uid`, a number of the initial user namespace.
pub(crate) fn has_fs_uid(uid: u32) -> bool {
    // SAFETY: No conditions; it is about the task that calls.
    unsafe { bindings::current_has_fsuid(uid) }
}

/// Whether the task is in group `gid`, a number of the initial user namespace, by its filesystem group or a
/// supplementary one.
pub(crate) fn is_in_group(gid: u32) -> bool {
    // SAFETY: No conditions; it is about the task that calls.
    unsafe { bindings::current_is_in_group(gid) }
}

/// Whether a signal is about to end the task, so that it need not go on with what it does.
pub(crate) fn is_dying() -> bool {
    // SAFETY: No conditions; it is about the task that calls.
    unsafe { bindings::current_fatal_signal_pending() }
}

/// Whether the task is to stop for a while, as the machine is to sleep, say: what takes long must not wait until it is
/// done.
pub(crate) fn is_to_freeze() -> bool {
    // SAFETY: No conditions; it is about the task that calls.
    unsafe { bindings::current_is_freezing() }
}

/// The task, as an address that it has alone while it lives.
#[inline]
fn current() -> *mut bindings::task_struct {
    // SAFETY: No conditions.
    unsafe { bindings::get_current() }
}

/// A number that the task has alone while it lives.
#[inline]
pub(super) fn address() -> usize {
    current() as usize
}

/// Sets what other code of this task finds as its transaction, whatever filesystem it is of (`journal_info`).
///
/// # Safety
///
/// `handle` must be null or a live handle. Before anything runs that is not jbd2's, it must be null again: each
/// filesystem takes what it finds for a structure of its own.
#[inline]
pub(super) unsafe fn set_journal_info(handle: *mut bindings::handle_t) {
    // SAFETY: The task is running, and nobody but itself uses the field.
    unsafe { (*current()).journal_info = handle.cast() };
}

/// `EDEADLK` where the task is in a transaction of another filesystem (`journal_info`), which jbd2 would take for its
/// own.
#[inline]
pub(super) fn check_no_transaction() -> Result {
    // SAFETY: The task is running, and nobody but itself uses the field.
    match unsafe { (*current()).journal_info.is_null() } {
        true => Ok(()),
        false => Err(EDEADLK),
    }
}

/// Lets other tasks run, if one waits for this CPU. For loops that may take long; no spinning lock may be held.
pub(crate) fn reschedule() {
    // SAFETY: No conditions; it may sleep, as the caller was told.
    unsafe { bindings::cond_resched() };
}

/// Waits until `is_unused`. Says in the log if that takes long: whoever uses `what` has a bug, but to unmount all the
/// same would take away what is used. Without end where safe code has leaked it.
pub(super) fn wait_until_unused(what: &str, mut is_unused: impl FnMut() -> bool) {
    let mut waits = 0_u32;
    while !is_unused() {
        if waits == LONG {
            kernel::pr_err!("cannot unmount, as somebody still uses {what}\n");
        }
        waits = waits.saturating_add(1);
        fsleep(WAIT);
    }
}
