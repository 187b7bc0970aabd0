// SPDX-License-Identifier: GPL-2.0

//! The answer to the `FS_IOC_FIEMAP` call.
//!
//! C header: [`include/linux/fiemap.h`](srctree/include/linux/fiemap.h)
//!
//! The structure is the VFS's, lent for one call. iomap fills it in ([`super::iomap::fiemap`]).
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! fn fiemap(inode: &INode<MyFs>, to: &mut ExtentInfo, start: u64, len: u64) -> Result {
//!     iomap::fiemap::<Lookup>(inode, to, start, len)
//! }
//! ```

use super::bindings;
use kernel::types::Opaque;

/// Where the extents of a file are told.
///
/// # Invariants
///
/// Wraps a valid `struct fiemap_extent_info`.
#[repr(transparent)]
pub(crate) struct ExtentInfo(Opaque<bindings::fiemap_extent_info>);

impl ExtentInfo {
    /// # Safety
    ///
    /// `info` must be valid, and the caller's alone, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(info: *mut bindings::fiemap_extent_info) -> &'a mut Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &mut *info.cast() }
    }

    /// The C structure.
    pub(super) fn as_raw(&mut self) -> *mut bindings::fiemap_extent_info {
        self.0.get()
    }
}
