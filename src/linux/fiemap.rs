// SPDX-License-Identifier: GPL-2.0

//! The answer to the `FS_IOC_FIEMAP` call.
//!
//! C header: [`include/linux/fiemap.h`](srctree/include/linux/fiemap.h)
//!
//! The structure is the VFS's, lent for one call. iomap fills it in ([`super::iomap::fiemap`]), or the filesystem
//! itself with what is no data.
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

use super::{
    bindings,
    fs::FileSystem,
    inode::INode, //
};
use kernel::{
    error::{
        to_result,
        Result, //
    },
    types::Opaque, //
};

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

    /// The flags.
    fn flags(&mut self) -> &mut u32 {
        // SAFETY: Valid by the type's invariants, and ours alone.
        unsafe { &mut (*self.as_raw()).fi_flags }
    }

    /// Whether it is asked for the attributes ([`Self::tell_attributes`]), and not for data.
    pub(crate) fn wants_attributes(&mut self) -> bool {
        *self.flags() & bindings::FIEMAP_FLAG_XATTR != 0
    }

    /// Whether what is known of the whole map is to be in memory then, which the filesystem does: it is not asked any
    /// more. iomap would refuse it.
    pub(crate) fn take_cache(&mut self) -> bool {
        let set = *self.flags() & bindings::FIEMAP_FLAG_CACHE != 0;
        *self.flags() &= !bindings::FIEMAP_FLAG_CACHE;
        set
    }

    /// Tells where the attributes of `inode` are, if it has some: the first byte on the device, how many, and whether
    /// that is no whole block but a part of the inode. Byte 0 is the first of them, and bytes from `start` on are asked
    /// for, `len` of them.
    ///
    /// # Errors
    ///
    /// `EINVAL` where nothing is asked for; `EFBIG` where no file has such a byte; `EBADR` where something is asked for
    /// that the filesystem does not do; `EFAULT`; what the data comes to that is to be written before.
    pub(crate) fn tell_attributes<T: FileSystem>(
        &mut self,
        inode: &INode<T>,
        (start, mut len): (u64, u64),
        extent: Option<(u64, u64, bool)>,
    ) -> Result {
        // SAFETY: The inode is live, and the structure valid by the type's invariants.
        to_result(unsafe {
            bindings::fiemap_prep(
                inode.as_raw(),
                self.as_raw(),
                start,
                &mut len,
                bindings::FIEMAP_FLAG_XATTR,
            )
        })?;
        *self.flags() &= !bindings::FIEMAP_FLAG_XATTR;
        let Some((physical, size, inside)) = extent.filter(|(_, size, _)| start < *size) else {
            return Ok(());
        };
        let flags = match inside {
            true => bindings::FIEMAP_EXTENT_LAST | bindings::FIEMAP_EXTENT_DATA_INLINE,
            false => bindings::FIEMAP_EXTENT_LAST,
        };
        // SAFETY: The structure is valid by the type's invariants; the callee checks the memory of the user.
        to_result(unsafe {
            bindings::fiemap_fill_next_extent(self.as_raw(), 0, physical, size, flags)
        })
    }

    /// The C structure.
    pub(super) fn as_raw(&mut self) -> *mut bindings::fiemap_extent_info {
        self.0.get()
    }
}
