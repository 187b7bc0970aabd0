// SPDX-License-Identifier: GPL-2.0

//! Flags of files, as `FS_IOC_GETFLAGS` and `FS_IOC_SETFLAGS` (`lsattr`, `chattr`) tell and set them.
//!
//! C header: [`include/linux/fileattr.h`](srctree/include/linux/fileattr.h)
//!
//! The structure is the VFS's, lent for one call.
//!
//! # Locks
//!
//! `i_rwsem` of the inode is held exclusively for a change.
//!
//! # Examples
//!
//! ```ignore
//! fn get_flags(inode: &INode<MyFs>, to: &mut FileAttr) -> Result {
//!     to.fill(inode.data().flags());
//!     Ok(())
//! }
//! ```

use super::bindings;

/// The flags of a file, and what else comes with them.
#[repr(transparent)]
pub(crate) struct FileAttr(bindings::file_kattr);

impl FileAttr {
    /// # Safety
    ///
    /// `attr` must be valid, initialised, and the caller's alone, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(attr: *mut bindings::file_kattr) -> &'a mut Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &mut *attr.cast() }
    }

    /// Tells the flags (`FS_*_FL`).
    pub(crate) fn fill(&mut self, flags: u32) {
        // SAFETY: The structure is valid, and ours alone.
        unsafe { bindings::fileattr_fill_flags(&mut self.0, flags) };
    }

    /// Tells the project (`fsx_projid`).
    pub(crate) fn set_project(&mut self, project: u32) {
        self.0.fsx_projid = project;
    }

    /// The flags (`FS_*_FL`) that are wanted.
    pub(crate) fn flags(&self) -> u32 {
        self.0.flags
    }

    /// The project that is wanted; the one that there is where the caller has said nothing of it.
    pub(crate) fn project(&self) -> u32 {
        self.0.fsx_projid
    }

    /// Whether what is wanted cannot be said in flags and a project, as an extent size.
    pub(crate) fn has_more(&self) -> bool {
        let common = bindings::FS_XFLAG_COMMON;
        self.0.fsx_valid()
            && (self.0.fsx_xflags & !common != 0
                || self.0.fsx_extsize != 0
                || self.0.fsx_cowextsize != 0)
    }
}
