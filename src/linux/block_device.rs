// SPDX-License-Identifier: GPL-2.0

//! Block devices that a filesystem is mounted on.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)
//!
//! A [`BlockDevice`] keeps the device open. While one is there, nobody else can mount the device: who unmounts it waits
//! until there is none, and only then gives it up.
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! let device = sb.block_device()?;
//! if device.can_discard() {
//!     device.discard(start, len)?;
//! }
//! device.flush()?;
//! ```

use super::{
    bindings,
    task, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::KVec,
    error::{
        code::*,
        to_result,
        Result, //
    }, //
};

/// Sectors are 512 bytes, whatever the device says.
const SECTOR_SHIFT: u32 = 9;

/// A reference to an open block device.
///
/// # Invariants
///
/// `file` is an open block device, of which the value owns a reference.
pub(crate) struct BlockDevice {
    file: NonNull<bindings::file>,
}

// SAFETY: The reference count of `struct file` is atomic, and the functions called on a `struct
// block_device` may be called by any thread.
unsafe impl Send for BlockDevice {}
// SAFETY: As above; nothing here changes the value itself.
unsafe impl Sync for BlockDevice {}

impl BlockDevice {
    /// The device of a mounted super block; `ENOTBLK` where it has none.
    ///
    /// # Safety
    ///
    /// `sb` must be a valid super block whose device is open: between `fill_super` and the end of `put_super`.
    pub(super) unsafe fn of_super(sb: *mut bindings::super_block) -> Result<Self> {
        // SAFETY: `sb` is valid by the function's requirements.
        let file = NonNull::new(unsafe { (*sb).s_bdev_file }).ok_or(ENOTBLK)?;

        // SAFETY: The super block holds a reference to its file while it is open.
        unsafe { bindings::get_file(file.as_ptr()) };
        // INVARIANT: `s_bdev_file` is an open block device, and we have just taken a reference.
        Ok(Self { file })
    }

    /// Waits until there is no [`BlockDevice`] of the super block any more. Says in the log if that takes long: it is
    /// a bug of who has one, but to go on would give the device to others while it is used.
    ///
    /// # Safety
    ///
    /// As for [`Self::of_super`], which must have succeeded and not be called any more.
    pub(super) unsafe fn wait_until_unused(sb: *mut bindings::super_block) {
        // SAFETY: By the function's requirements.
        let file = unsafe { (*sb).s_bdev_file };

        // The super block has one reference, and only a `BlockDevice` has others: no descriptor leads to this file.
        task::wait_until_unused("the block device", || {
            // SAFETY: By the function's requirements.
            let references = unsafe { bindings::file_count(file) };
            references <= 1
        });
    }

    /// The C structure, valid as long as `self`.
    pub(super) fn as_raw(&self) -> *mut bindings::block_device {
        // SAFETY: `file` is an open block device by the type invariant.
        unsafe { bindings::file_bdev(self.file.as_ptr()) }
    }

    /// The device's number (`dev_t` of the kernel), which its super block has, too.
    pub(crate) fn number(&self) -> u32 {
        // SAFETY: The device is open by the type invariant; its number does not change.
        unsafe { (*self.as_raw()).bd_dev }
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The device is open by the type invariant.
        let bytes = unsafe { bindings::bdev_nr_bytes(self.as_raw()) };

        u64::try_from(bytes).unwrap_or(0)
    }

    /// Whether the device refuses writes.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::bdev_read_only(self.as_raw()) }
    }

    /// Smallest unit of direct I/O, in bytes.
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::bdev_logical_block_size(self.as_raw()) }
    }

    /// To what memory must be aligned for direct I/O, in bytes: a power of two.
    pub(crate) fn memory_alignment(&self) -> u32 {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::bdev_dma_alignment(self.as_raw()) }.saturating_add(1)
    }

    /// The number of the device, as users have it in 32 bits.
    pub(crate) fn user_number(&self) -> u32 {
        // SAFETY: Valid by the type's invariants, and not changed while it is open.
        unsafe { bindings::new_encode_dev((*self.as_raw()).bd_dev) }
    }

    /// Reads from byte `at` of the device, past its cache, and waits for that.
    ///
    /// # Errors
    ///
    /// `EINVAL` where that is not made of whole sectors; its own.
    pub(crate) fn read_direct(&self, at: u64, to: &mut KVec<u8>) -> Result {
        self.transfer(at, to, bindings::req_op_REQ_OP_READ)
    }

    /// Writes to the device from byte `at` on, past its cache, and waits until it has that, durable or not.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_direct`].
    pub(crate) fn write_direct(&self, at: u64, from: &mut KVec<u8>) -> Result {
        self.transfer(at, from, bindings::req_op_REQ_OP_WRITE)
    }

    fn transfer(&self, at: u64, bytes: &mut KVec<u8>, op: bindings::req_op) -> Result {
        let below = u64::from(self.logical_block_size()).wrapping_sub(1);
        if (at | bytes.len() as u64) & below != 0 {
            return Err(EINVAL);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: The device is open. The bytes are from `kmalloc`, as the callee wants, and initialised, and nobody
        // else uses them until it returns.
        to_result(unsafe {
            bindings::bdev_rw_virt(
                self.as_raw(),
                at >> SECTOR_SHIFT,
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                op,
            )
        })
    }

    /// Whether the device can discard.
    pub(crate) fn can_discard(&self) -> bool {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::bdev_max_discard_sectors(self.as_raw()) != 0 }
    }

    /// The device can discard pieces of so many bytes, at multiples of that; zero where nothing is known of it.
    pub(crate) fn discard_granularity(&self) -> u32 {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::bdev_discard_granularity(self.as_raw()) }
    }

    /// Sectors of 512 bytes that were written to the device since it was made.
    pub(crate) fn sectors_written(&self) -> u64 {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::part_stat_sectors_written(self.as_raw()) }
    }

    /// Makes durable what the device has in its cache. Waits.
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: The device is open by the type invariant.
        to_result(unsafe { bindings::blkdev_issue_flush(self.as_raw()) })
    }

    /// Tells the device that `len` bytes from byte `start` on hold nothing. Waits; `EOPNOTSUPP` where it cannot.
    pub(crate) fn discard(&self, start: u64, len: u64) -> Result {
        if !self.can_discard() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: The device is open by the type invariant; the range is checked by the callee.
        to_result(unsafe {
            bindings::blkdev_issue_discard(
                self.as_raw(),
                start >> SECTOR_SHIFT,
                len >> SECTOR_SHIFT,
                bindings::GFP_NOFS,
            )
        })
    }

    /// Whether the device can make bytes zero by giving up what it has for them ([`Self::zero`]).
    pub(crate) fn can_unmap_to_zero(&self) -> bool {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::bdev_write_zeroes_unmap_sectors(self.as_raw()) != 0 }
    }

    /// Makes `len` bytes from byte `start` on zero, by what the device has for that, or else by writing zeros; `unmap`:
    /// the device may give up what it has for them. Waits.
    pub(crate) fn zero(&self, start: u64, len: u64, unmap: bool) -> Result {
        let flags = match unmap {
            true => 0,
            false => bindings::BLKDEV_ZERO_NOUNMAP,
        };
        // SAFETY: The device is open by the type invariant; the range is checked by the callee.
        to_result(unsafe {
            bindings::blkdev_issue_zeroout(
                self.as_raw(),
                start >> SECTOR_SHIFT,
                len >> SECTOR_SHIFT,
                bindings::GFP_NOFS,
                flags,
            )
        })
    }

    /// Freezes the filesystem that is on the device, which writes out all there is, and thaws it when `f` is done. Who
    /// has begun a change, or holds a lock of the filesystem, waits for itself.
    ///
    /// # Errors
    ///
    /// Those of the freeze; then `f` is not called.
    pub(crate) fn while_frozen(&self, f: impl FnOnce()) -> Result {
        // SAFETY: The device is open by the type invariant.
        to_result(unsafe { bindings::bdev_freeze(self.as_raw()) })?;
        f();
        // SAFETY: As above; frozen above.
        to_result(unsafe { bindings::bdev_thaw(self.as_raw()) })
    }

    /// Writes back all dirty cached blocks of the device and waits for them.
    pub(crate) fn write_back(&self) -> Result {
        // SAFETY: The device is open by the type invariant.
        to_result(unsafe { bindings::sync_blockdev(self.as_raw()) })
    }

    /// Drops the cached blocks that are clean and that nobody refers to.
    pub(crate) fn invalidate(&self) {
        // SAFETY: The device is open by the type invariant.
        unsafe { bindings::invalidate_bdev(self.as_raw()) }
    }
}

impl Clone for BlockDevice {
    fn clone(&self) -> Self {
        // SAFETY: `self` owns a reference, so the count is not zero.
        unsafe { bindings::get_file(self.file.as_ptr()) };
        // INVARIANT: The file is the same, and we have just taken a reference.
        Self { file: self.file }
    }
}

impl Drop for BlockDevice {
    fn drop(&mut self) {
        // SAFETY: The value owns a reference by the type invariant and is not used any more.
        unsafe { bindings::fput(self.file.as_ptr()) };
    }
}
