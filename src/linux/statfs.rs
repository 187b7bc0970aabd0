// SPDX-License-Identifier: GPL-2.0

//! The answer to `statfs(2)`.
//!
//! C header: [`include/linux/statfs.h`](srctree/include/linux/statfs.h)
//!
//! The structure is the VFS's, lent for one call.
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! fn statfs(sb: &SuperBlock<MyFs>, to: &mut StatFs) -> Result {
//!     to.set_kind(MAGIC, 255);
//!     to.set_inodes(1000, sb.data().free_inodes());
//!     Ok(())
//! }
//! ```

use super::bindings;

/// The structure to fill in.
#[repr(transparent)]
pub(crate) struct StatFs(bindings::kstatfs);

/// Blocks of a filesystem.
pub(crate) struct Blocks {
    /// Bytes in a block.
    pub(crate) size: u32,
    /// All that data can be in.
    pub(crate) total: u64,
    /// Free ones.
    pub(crate) free: u64,
    /// Free ones that not only the superuser may use.
    pub(crate) available: u64,
}

impl StatFs {
    /// # Safety
    ///
    /// `to` must be valid, initialised, and the caller's alone, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(to: *mut bindings::kstatfs) -> &'a mut Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &mut *to.cast() }
    }

    /// Sets the filesystem's magic number and the longest name in bytes.
    pub(crate) fn set_kind(&mut self, magic: u32, name_max: u32) {
        self.0.f_type = magic as _;
        self.0.f_namelen = name_max as _;
    }

    /// Sets the numbers of blocks.
    pub(crate) fn set_blocks(&mut self, blocks: &Blocks) {
        self.0.f_bsize = blocks.size as _;
        self.0.f_blocks = blocks.total;
        self.0.f_bfree = blocks.free;
        self.0.f_bavail = blocks.available;
    }

    /// A limit of `limit` bytes, of which `used` are used, is less than what was set: that is all there is. None if 0.
    pub(crate) fn limit_blocks(&mut self, limit: u64, used: u64) {
        let size = u64::try_from(self.0.f_bsize).unwrap_or(1).max(1);
        let limit = limit / size;
        if limit != 0 {
            let free = limit.saturating_sub(used / size);
            self.0.f_blocks = self.0.f_blocks.min(limit);
            self.0.f_bfree = self.0.f_bfree.min(free);
            self.0.f_bavail = self.0.f_bavail.min(free);
        }
    }

    /// The same of inodes.
    pub(crate) fn limit_inodes(&mut self, limit: u64, used: u64) {
        if limit != 0 {
            self.0.f_files = self.0.f_files.min(limit);
            self.0.f_ffree = self.0.f_ffree.min(limit.saturating_sub(used));
        }
    }

    /// Sets how many inodes there are and how many of them are free.
    pub(crate) fn set_inodes(&mut self, total: u64, free: u64) {
        self.0.f_files = total;
        self.0.f_ffree = free;
    }

    /// Sets the filesystem's id, folded from its UUID.
    pub(crate) fn set_id(&mut self, uuid: &[u8; 16]) {
        // SAFETY: The callee reads 16 bytes, which there are.
        self.0.f_fsid = unsafe { bindings::fsid_from_uuid(uuid.as_ptr()) };
    }
}
