// SPDX-License-Identifier: GPL-2.0

//! Flags of files, as `FS_IOC_GETFLAGS` and `FS_IOC_SETFLAGS` (`lsattr`, `chattr`) tell and set them.
//!
//! C header: [`include/linux/fileattr.h`](srctree/include/linux/fileattr.h)

use super::bindings;
use kernel::types::Opaque;

/// The flags of a file, and what else comes with them.
///
/// # Invariants
///
/// Wraps a valid `struct file_kattr` that is the caller's alone.
#[repr(transparent)]
pub(crate) struct FileAttr(Opaque<bindings::file_kattr>);

impl FileAttr {
    /// # Safety
    ///
    /// `attr` must be valid, and the caller's alone, for the lifetime of the reference.
    pub(super) unsafe fn from_raw<'a>(attr: *mut bindings::file_kattr) -> &'a mut Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the caller's promise.
        unsafe { &mut *attr.cast() }
    }

    /// Tells the flags (`FS_*_FL`).
    pub(crate) fn fill(&mut self, flags: u32) {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::fileattr_fill_flags(self.0.get(), flags) };
    }

    /// The flags (`FS_*_FL`) that are wanted.
    pub(crate) fn flags(&self) -> u32 {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.0.get()).flags }
    }

    /// Whether what is wanted cannot be said in flags: an extent size, a project.
    pub(crate) fn has_more(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::fileattr_has_fsx(self.0.get()) }
    }
}
