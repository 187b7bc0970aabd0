// SPDX-License-Identifier: GPL-2.0

//! Work queues of one's own. The `kernel` crate has work items, and the system's queues.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)
//!
//! A queue lives until it is dropped, which waits for what is queued. It is not lent as a [`Queue`]: those live for
//! ever, and have items wait for a time in which this one could go.
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! let queue = OwnedQueue::new(c"myfs", sb.id(), Flags::MEM_RECLAIM.with(Flags::UNBOUND))?;
//! let _ = queue.enqueue(work);
//! queue.flush();
//! ```

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    error::{
        code::*,
        Result, //
    },
    str::CStr,
    workqueue::{
        Queue,
        RawWorkItem, //
    }, //
};

/// How a work queue works (`WQ_*`).
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// It has a thread in reserve, so that writing back memory can wait for it.
    pub(crate) const MEM_RECLAIM: Self = Self(bindings::wq_flags_WQ_MEM_RECLAIM);
    /// Its items run on any CPU.
    pub(crate) const UNBOUND: Self = Self(bindings::wq_flags_WQ_UNBOUND);

    /// Both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A work queue; dropping it runs what is queued and then destroys it.
///
/// # Invariants
///
/// `raw` is a work queue that the value owns.
pub(crate) struct OwnedQueue {
    raw: NonNull<bindings::workqueue_struct>,
}

// SAFETY: A work queue may be used by any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Makes a queue named `prefix-name`.
    pub(crate) fn new(prefix: &'static CStr, name: &CStr, flags: Flags) -> Result<Self> {
        // SAFETY: The format has two strings, and both are nul-terminated.
        let raw = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s-%s".as_ptr().cast(),
                flags.0,
                0,
                prefix.as_ptr(),
                name.as_ptr(),
            )
        };

        // INVARIANT: The queue is new.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.raw.as_ptr()
    }

    /// Queues an item, as [`Queue::enqueue`].
    pub(crate) fn enqueue<W, const ID: u64>(&self, item: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        // SAFETY: The queue is valid as long as `self`, and used no longer.
        unsafe { Queue::from_raw(self.raw.as_ptr()) }.enqueue(item)
    }

    /// Waits until what is queued now has run.
    pub(crate) fn flush(&self) {
        // SAFETY: The queue is valid by the type invariant.
        unsafe { bindings::__flush_workqueue(self.raw.as_ptr()) };
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: The value owns the queue, and nothing borrows it any more.
        unsafe { bindings::destroy_workqueue(self.raw.as_ptr()) };
    }
}
