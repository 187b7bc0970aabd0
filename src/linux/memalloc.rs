// SPDX-License-Identifier: GPL-2.0

//! Scopes of memory allocation.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)
//!
//! # Locks
//!
//! None. A scope is entered after a lock that freeing memory might take, and left before it is given up.
//!
//! # Examples
//!
//! ```ignore
//! let _nofs = NofsScope::enter();
//! let bytes = KVec::<u8>::with_capacity(4096, GFP_KERNEL)?;
//! ```

use super::bindings;
use kernel::types::NotThreadSafe;

/// While it lives, what this task allocates does not call back into filesystems to free memory.
pub(crate) struct NofsScope {
    flags: u32,
    _task: NotThreadSafe,
}

impl NofsScope {
    /// Enters a scope.
    pub(crate) fn enter() -> Self {
        Self {
            // SAFETY: Given back when the value is dropped, by the same task, as it is not `Send`.
            flags: unsafe { bindings::memalloc_nofs_save() },
            _task: NotThreadSafe,
        }
    }
}

/// There was no memory, and giving up is not possible or would be worse: waits a little before the next attempt.
pub(crate) fn wait_for_memory() {
    // SAFETY: May be called wherever one may sleep.
    unsafe { bindings::memalloc_retry_wait(bindings::GFP_NOFS) };
}

impl Drop for NofsScope {
    fn drop(&mut self) {
        // SAFETY: `flags` are what `memalloc_nofs_save()` gave to this task.
        unsafe { bindings::memalloc_nofs_restore(self.flags) };
    }
}
