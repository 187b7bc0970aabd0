// SPDX-License-Identifier: GPL-2.0

//! Devices whose blocks are memory that the processor has at an address (DAX, direct access): such as persistent
//! memory.
//!
//! A file that is used so has no page cache ([`is_dax`](super::inode::Common::is_dax)). Reads, writes and faults are in
//! [`super::iomap::dax`], the locks in [`super::lock`].
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)
//!
//! # Invariants
//!
//! An inode with `S_DAX` is a regular file of a super block that has a [`Device`] and blocks as large as pages. The
//! flag is set before others know the inode, and stays.
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! if let Some(device) = sb.dax_device() {
//!     device.zero(start, len)?;
//! }
//! ```

use super::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::{
        code::*,
        to_result,
        Result, //
    },
    page::PAGE_SIZE, //
};

/// Whether the kernel can do it (`CONFIG_FS_DAX`).
pub(crate) const SUPPORTED: bool = cfg!(CONFIG_FS_DAX);

/// Memory that is a block device, or a partition of one.
///
/// # Invariants
///
/// The value owns a reference on a device. From byte `start`, where a page begins, `len` bytes of it are the block
/// device.
pub(crate) struct Device {
    raw: NonNull<bindings::dax_device>,
    start: u64,
    len: u64,
}

// SAFETY: The device counts references atomically, and looks itself after who uses it.
unsafe impl Send for Device {}
// SAFETY: As above; nothing here changes the value.
unsafe impl Sync for Device {}

impl Device {
    /// The memory of a super block's device; `None` where it has none, or where its pages are not those of the memory.
    ///
    /// # Safety
    ///
    /// `sb` must be a valid super block whose device is open.
    pub(super) unsafe fn of_super(sb: *mut bindings::super_block) -> Option<Self> {
        let mut start = 0;
        // SAFETY: By the function's requirements.
        let bdev = unsafe { (*sb).s_bdev };
        // SAFETY: The device is open; without a holder nobody calls back.
        let raw = NonNull::new(unsafe { bindings::fs_dax_get_by_bdev(bdev, &mut start) })?;
        // SAFETY: The device is open.
        let len = unsafe { bindings::bdev_nr_bytes(bdev) };
        let len = u64::try_from(len).unwrap_or(0);
        // INVARIANT: The reference is ours, and the callee has checked where the block device begins.
        Some(Self { raw, start, len })
    }

    /// The C structure, valid as long as `self`.
    pub(super) fn as_raw(&self) -> *mut bindings::dax_device {
        self.raw.as_ptr()
    }

    /// Where in the memory bytes `start..start + len` of the block device are, which are whole pages; `None` where they
    /// are not, or not within the device.
    pub(super) fn place(&self, start: u64, len: u64) -> Option<u64> {
        let end = start.checked_add(len).filter(|end| *end <= self.len)?;
        match (start | end) & (PAGE_SIZE as u64).wrapping_sub(1) {
            0 => self.start.checked_add(start),
            _ => None,
        }
    }

    /// Whether what is stored is durable without a flush of the device, if it has left the caches of the processor.
    pub(super) fn is_synchronous(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::dax_synchronous(self.as_raw()) }
    }

    /// Makes bytes `start..start + len` of the block device zero, which are whole pages.
    ///
    /// # Errors
    ///
    /// `EINVAL` where they are not, or not within the device; those of the device.
    pub(crate) fn zero(&self, start: u64, len: u64) -> Result {
        let place = self.place(start, len).ok_or(EINVAL)?;
        let first = place / PAGE_SIZE as u64;
        for page in first..first.saturating_add(len / PAGE_SIZE as u64) {
            // SAFETY: Valid by the type's invariants, and the page is one of the device.
            to_result(unsafe { bindings::dax_zero_page(self.as_raw(), page as usize) })?;
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and not used afterwards.
        unsafe { bindings::fs_put_dax(self.as_raw(), ptr::null_mut()) };
    }
}
