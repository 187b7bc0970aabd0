// SPDX-License-Identifier: GPL-2.0

//! Errors of a mounted filesystem, told to who listens for them (`FAN_FS_ERROR`).
//!
//! C header: [`include/linux/fserror.h`](srctree/include/linux/fserror.h)
//!
//! What the filesystem keeps of a mount may live longer than the VFS's super block, and an error may be found by what
//! has no super block at hand. So a [`Reporter`] knows the super block only as long as that is mounted.
//!
//! # Locks
//!
//! None is taken but the `i_lock` of an inode. Nothing sleeps.
//!
//! # Examples
//!
//! ```ignore
//! fn fill_super(sb: &super_block::New<'_, MyFs>, ..) -> Result<MyData> {
//!     Ok(MyData { reporter: sb.reporter().clone(), .. })
//! }
//!
//! fn found_error(data: &MyData, inode: u64) {
//!     data.reporter.metadata(EUCLEAN, Some(inode));
//! }
//! ```

use super::bindings;
use core::ptr;
use kernel::{
    error::Error,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        rcu,
        Arc, //
    }, //
};

/// Tells of the errors of one mount.
///
/// # Invariants
///
/// `sb` is null or a super block whose filesystem's part has not ended; it becomes null before that ends. The VFS frees
/// a super block only after a grace period that begins later.
pub(crate) struct Reporter {
    sb: Atomic<*mut bindings::super_block>,
}

impl Reporter {
    /// An error of metadata was found, of an inode if there is its number. Who listens is told by a work queue; where
    /// there is no memory to do so, the log is.
    ///
    /// Nobody can listen before the mount is complete, or when it ends: that comes to nothing.
    pub(crate) fn metadata(&self, error: Error, inode: Option<u64>) {
        let guard = rcu::read_lock();
        let sb = self.sb.load(Acquire);
        // SAFETY: By the type's invariants a super block that is there as long as `guard` is; other bits of the word
        // may change meanwhile.
        if sb.is_null()
            || unsafe { (&raw const (*sb).s_flags).read_volatile() } & bindings::SB_ACTIVE == 0
        {
            return;
        }
        let found = inode.map_or(ptr::null_mut(), |inode| {
            // SAFETY: The super block is valid, and this is an RCU reader.
            unsafe { bindings::find_inode_by_ino_rcu(sb, inode) }
        });
        // SAFETY: The super block is valid. The inode is null or one of that super block, whose memory is there for as
        // long as `guard` is; the callee takes a reference, or none where the inode is on its way out of memory. The
        // number is negative, as that of each `Error`. What is allocated may not wait.
        unsafe {
            bindings::fserror_report(
                sb,
                found,
                bindings::fserror_type_FSERR_METADATA,
                0,
                0,
                error.to_errno(),
                bindings::GFP_ATOMIC,
            )
        };
        drop(guard);
    }
}

/// Keeps a [`Reporter`] together with its super block. Dropped, it takes them apart.
pub(super) struct Link(Arc<Reporter>);

impl Link {
    /// # Safety
    ///
    /// `sb` must be a valid super block, and the value be dropped before the filesystem's part of it ends.
    pub(super) unsafe fn new(sb: *mut bindings::super_block) -> Result<Self> {
        // INVARIANT: By the function's requirements, and `Drop`.
        let reporter = Reporter {
            sb: Atomic::new(sb),
        };
        Ok(Self(Arc::new(reporter, GFP_KERNEL)?))
    }

    /// The reporter.
    pub(super) fn reporter(&self) -> &Arc<Reporter> {
        &self.0
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.sb.store(ptr::null_mut(), Release);
    }
}
