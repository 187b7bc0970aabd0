// SPDX-License-Identifier: GPL-2.0

//! The buffer cache: blocks of a block device in memory.
//!
//! C header: [`include/linux/buffer_head.h`](srctree/include/linux/buffer_head.h)
//!
//! # Who may touch the bytes
//!
//! * Code in Rust, under the *byte lock*: a bit of `b_state` that spins. [`BufferHead::with`] gives the
//!   bytes to read, [`super::jbd2::Handle`] gives them to change.
//! * jbd2. It reads the bytes of a block that a transaction changed when all handles of that
//!   transaction have been stopped, and it lets no handle of a later transaction have the block before
//!   it is done with it (`jbd2_journal_get_write_access()`). So it never reads while a handle gives the
//!   bytes to be changed. It writes to the bytes while it replays a journal, that is within
//!   [`super::jbd2::Unloaded::load`], whose caller uses no block of the device meanwhile.
//! * The device. It fills a block before `BH_Uptodate` is set, once only (a block that could not be
//!   written is not read again), and bytes are given out after that. It reads a block under `BH_Lock`,
//!   which `jbd2_journal_get_write_access()` waits for; then the block is not dirty for the block layer
//!   until its transaction has committed.
//! * Somebody with the device file open for writing. As for every file system, that is the
//!   administrator's decision (`CONFIG_BLK_DEV_WRITE_MOUNTED`).
//!
//! # Lock
//!
//! The byte lock is innermost: under it nothing sleeps, and no other byte lock is taken.

use super::bindings;
use super::block_device::BlockDevice;
use core::ptr::NonNull;
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::{code::*, Result};
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed};

/// First of the bits of `b_state` that are free for us.
const FIRST_BIT: u32 = bindings::jbd_state_bits_BH_JBDPrivateStart;
/// The byte lock.
const BYTES_BIT: u32 = FIRST_BIT;
/// Lowest bit of the tag.
const TAG_SHIFT: u32 = FIRST_BIT + 1;
/// Width of the tag, in bits.
const TAG_BITS: u32 = 4;
const TAG_MASK: usize = ((1 << TAG_BITS) - 1) << TAG_SHIFT;

const _: () = assert!(TAG_SHIFT + TAG_BITS <= usize::BITS);

/// Reads of metadata come first: somebody waits for them.
const READ_FLAGS: bindings::blk_opf_t =
    1 << bindings::req_flag_bits___REQ_META | 1 << bindings::req_flag_bits___REQ_PRIO;
const READAHEAD_FLAG: bindings::blk_opf_t = 1 << bindings::req_flag_bits___REQ_RAHEAD;

const fn bit(nr: bindings::bh_state_bits) -> usize {
    1 << nr
}

/// A reference to a cached block.
///
/// # Invariants
///
/// `raw` is a mapped buffer of a block device's cache, of which the value owns a reference.
/// The buffer was up to date when the value was made, or only code of this room has the value.
pub struct BufferHead {
    raw: NonNull<bindings::buffer_head>,
}

// SAFETY: The reference count and the state of a buffer are atomic; its bytes are guarded by the byte lock.
unsafe impl Send for BufferHead {}
// SAFETY: As above.
unsafe impl Sync for BufferHead {}

/// Holds the byte lock of a buffer.
struct Bytes<'a> {
    buffer: &'a BufferHead,
}

impl<'a> Bytes<'a> {
    fn lock(buffer: &'a BufferHead) -> Self {
        // SAFETY: The buffer is valid by its invariant.
        unsafe { bindings::bit_spin_lock(BYTES_BIT as i32, &raw mut (*buffer.as_raw()).b_state) };
        Self { buffer }
    }

    fn pointer(&self) -> *mut u8 {
        // SAFETY: The buffer is valid; a mapped buffer has its memory in the kernel's linear mapping, as the cache
        // of a block device has no high memory. The pointer does not change while there is a reference.
        unsafe { (*self.buffer.as_raw()).b_data.cast() }
    }

    fn len(&self) -> usize {
        // SAFETY: The buffer is valid; its size does not change while there is a reference.
        unsafe { (*self.buffer.as_raw()).b_size }
    }

    fn get(&self) -> &[u8] {
        // SAFETY: `pointer` is valid for `len` bytes. The byte lock keeps Rust code from changing them, and nobody
        // else does (see the top of the file).
        unsafe { core::slice::from_raw_parts(self.pointer(), self.len()) }
    }

    /// # Safety
    ///
    /// A handle must have write or create access to the buffer, so that nobody reads the bytes but under the byte lock.
    unsafe fn get_mut(&mut self) -> &mut [u8] {
        // SAFETY: `pointer` is valid for `len` bytes. The byte lock keeps other Rust code out, the requirement on the
        // caller everybody else (see the top of the file).
        unsafe { core::slice::from_raw_parts_mut(self.pointer(), self.len()) }
    }
}

impl Drop for Bytes<'_> {
    fn drop(&mut self) {
        // SAFETY: The buffer is valid, and we hold the lock.
        unsafe {
            bindings::bit_spin_unlock(BYTES_BIT as i32, &raw mut (*self.buffer.as_raw()).b_state)
        };
    }
}

impl BufferHead {
    /// # Safety
    ///
    /// `raw` must be a mapped buffer of a block device's cache; the value takes over one reference. It must be up to
    /// date, or not leave this room before it is.
    unsafe fn from_raw(raw: NonNull<bindings::buffer_head>) -> Self {
        // INVARIANT: By the function's requirements.
        Self { raw }
    }

    /// Gives `f` a buffer whose reference somebody else keeps.
    ///
    /// # Safety
    ///
    /// `raw` must be a mapped buffer of a block device's cache that is up to date, with a reference that stays until
    /// `f` returns.
    pub(in crate::linux) unsafe fn with_borrowed<R>(
        raw: NonNull<bindings::buffer_head>,
        f: impl FnOnce(&Self) -> R,
    ) -> R {
        // INVARIANT: By the function's requirements; the reference is not given up.
        f(&core::mem::ManuallyDrop::new(Self { raw }))
    }

    pub(in crate::linux) fn as_raw(&self) -> *mut bindings::buffer_head {
        self.raw.as_ptr()
    }

    /// Gives up the value, not the reference.
    pub(in crate::linux) fn into_raw(self) -> *mut bindings::buffer_head {
        core::mem::ManuallyDrop::new(self).raw.as_ptr()
    }

    fn state(&self) -> &Atomic<usize> {
        // SAFETY: `b_state` is valid and aligned while we hold a reference, and is changed by atomic operations only.
        unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).b_state) }
    }

    fn test(&self, bits: usize) -> bool {
        self.state().load(Acquire) & bits != 0
    }

    /// The block's number on its device, in units of its size.
    pub fn nr(&self) -> u64 {
        // SAFETY: The buffer is valid by its invariant, and a mapped one keeps its place.
        unsafe { (*self.as_raw()).b_blocknr }
    }

    /// Gives `f` the bytes, a whole block, under the byte lock: `f` must not sleep, nor touch another block.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(Bytes::lock(self).get())
    }

    /// Like [`Self::with`], to change the bytes.
    ///
    /// # Safety
    ///
    /// A handle must have write or create access to the buffer.
    pub(in crate::linux) unsafe fn with_mut<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut bytes = Bytes::lock(self);

        // SAFETY: By the function's requirements.
        f(unsafe { bytes.get_mut() })
    }

    /// The tag, four bits for the user of the cache; 0 in a block that has just come into memory.
    pub fn tag(&self) -> u8 {
        ((self.state().load(Acquire) & TAG_MASK) >> TAG_SHIFT) as u8
    }

    /// Sets the tag, 0 to 15. Who sees it then, sees what was stored before.
    pub fn set_tag(&self, tag: u8) {
        let tag = ((tag as usize) << TAG_SHIFT) & TAG_MASK;
        let mut old = self.state().load(Relaxed);

        while old & TAG_MASK != tag {
            match self.state().cmpxchg(old, (old & !TAG_MASK) | tag, Full) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Whether the last attempt to write the block failed. Its bytes in memory are the true ones.
    pub fn write_failed(&self) -> bool {
        self.test(bit(bindings::bh_state_bits_BH_Write_EIO))
    }

    pub(in crate::linux) fn is_uptodate(&self) -> bool {
        self.test(bit(bindings::bh_state_bits_BH_Uptodate))
    }

    /// A buffer that was once up to date has the true bytes even if it could not be written: it must not be read again.
    fn revive(&self) -> bool {
        if self.is_uptodate() {
            return true;
        }
        if self.write_failed() {
            // SAFETY: The buffer is valid by its invariant.
            unsafe { bindings::set_buffer_uptodate(self.as_raw()) };
            return true;
        }
        false
    }

    /// Changes a block without a transaction and writes it to the device at once, past its cache if `fua`. Waits.
    ///
    /// For a block that no running transaction has changed: the super block before the journal is used, after it was
    /// emptied, or after it was aborted. `f` works on a copy, so it may take its time.
    pub fn write_through(&self, fua: bool, f: impl FnOnce(&mut [u8])) -> Result {
        let mut copy = KVec::new();

        // An allocation may sleep, with the byte lock nobody may: it must be free again after this line.
        let len = self.with(|bytes| bytes.len());

        copy.resize(len, 0u8, GFP_KERNEL)?;
        self.with(|bytes| {
            for (to, from) in copy.iter_mut().zip(bytes) {
                *to = *from;
            }
        });
        f(&mut copy);

        // SAFETY: The buffer is valid. `BH_Lock` keeps the device from reading the bytes while they change, the byte
        // lock other Rust code. If jbd2 should read them in an aborted commit, that is a race between copies in C,
        // as with ext4's super block, and what it reads is never used.
        unsafe {
            bindings::lock_buffer(self.as_raw());
            let bytes = Bytes::lock(self);

            core::ptr::copy_nonoverlapping(
                copy.as_ptr(),
                bytes.pointer(),
                bytes.len().min(copy.len()),
            );
            drop(bytes);
            bindings::set_buffer_uptodate(self.as_raw());
            bindings::clear_buffer_dirty(self.as_raw());
        }

        let mut flags = bindings::req_op_REQ_OP_WRITE | 1 << bindings::req_flag_bits___REQ_SYNC;

        if fua {
            flags |= 1 << bindings::req_flag_bits___REQ_FUA;
        }
        // SAFETY: The buffer is valid, mapped and locked; `bh_end_write()` unlocks it.
        unsafe {
            bindings::bh_submit(self.as_raw(), flags, Some(bindings::bh_end_write));
            bindings::wait_on_buffer(self.as_raw());
        }
        if self.write_failed() {
            self.revive();
            return Err(EIO);
        }
        Ok(())
    }
}

impl Clone for BufferHead {
    fn clone(&self) -> Self {
        // SAFETY: The buffer is valid; `self` owns a reference, so the count is not zero.
        unsafe { bindings::get_bh(self.as_raw()) };
        // SAFETY: A mapped buffer, whose reference we have just taken, up to date as `self`.
        unsafe { Self::from_raw(self.raw) }
    }
}

impl Drop for BufferHead {
    fn drop(&mut self) {
        // SAFETY: The value owns a reference by its invariant and is not used any more.
        unsafe { bindings::__brelse(self.as_raw()) };
    }
}

/// The cache of a block device, in blocks of the size that the device was set to.
pub struct BufferCache {
    device: BlockDevice,
    size: u32,
}

impl BufferCache {
    /// The cache of `device`, in blocks of the size set with `sb_set_blocksize()`.
    pub fn new(device: BlockDevice) -> Self {
        // SAFETY: The device is open.
        let size = unsafe { bindings::block_size(device.as_raw()) };

        Self { device, size }
    }

    /// The device.
    pub fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// The block size in bytes.
    pub fn block_size(&self) -> u32 {
        self.size
    }

    /// Number of blocks on the device.
    pub fn blocks(&self) -> u64 {
        self.device.size() / u64::from(self.size.max(1))
    }

    /// A buffer for block `nr`, up to date or not.
    fn buffer(&self, nr: u64, wait: bool) -> Result<BufferHead> {
        // The cache does not look at the device's end until the buffer is submitted.
        if nr >= self.blocks() {
            return Err(EIO);
        }
        // SAFETY: The device is open, and the size is the one that it was set to.
        let raw = unsafe {
            if wait {
                bindings::__getblk(self.device.as_raw(), nr, self.size)
            } else {
                bindings::bdev_getblk(self.device.as_raw(), nr, self.size, bindings::GFP_NOWAIT)
            }
        };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY: The callee gives a buffer with a reference, or null. It leaves this room only when it is up to date.
        let buffer = unsafe { BufferHead::from_raw(raw) };

        // A device that shrank leaves buffers that are not mapped, which must not be submitted.
        if !buffer.test(bit(bindings::bh_state_bits_BH_Mapped)) {
            return Err(EIO);
        }
        Ok(buffer)
    }

    /// Block `nr`, from memory or else read from the device. Waits. `EIO` also past the device's end.
    pub fn read(&self, nr: u64) -> Result<BufferHead> {
        let buffer = self.buffer(nr, true)?;

        if !buffer.revive() {
            // SAFETY: The buffer is valid and mapped.
            if unsafe { bindings::bh_read(buffer.as_raw(), READ_FLAGS) } < 0 {
                return Err(EIO);
            }
        }
        Ok(buffer)
    }

    /// Block `nr` if it is in memory. Never waits.
    pub fn cached(&self, nr: u64) -> Option<BufferHead> {
        // SAFETY: The device is open, and the size is the one that it was set to.
        let raw = unsafe { bindings::__find_get_block(self.device.as_raw(), nr, self.size) };
        // SAFETY: The callee gives a buffer with a reference, or null. It leaves this room only when it is up to date.
        let buffer = unsafe { BufferHead::from_raw(NonNull::new(raw)?) };

        (buffer.test(bit(bindings::bh_state_bits_BH_Mapped)) && buffer.is_uptodate())
            .then_some(buffer)
    }

    /// Starts reading `count` blocks from `nr` on, as far as there are such. Does not wait for them.
    pub fn readahead(&self, nr: u64, count: u32) {
        for i in 0..u64::from(count) {
            let Some(nr) = nr.checked_add(i) else { return };
            let Ok(buffer) = self.buffer(nr, false) else {
                return;
            };
            if !buffer.is_uptodate() && !buffer.write_failed() {
                // SAFETY: The buffer is valid and mapped.
                unsafe { bindings::bh_readahead(buffer.as_raw(), READ_FLAGS | READAHEAD_FLAG) };
            }
        }
    }

    /// A buffer for block `nr` that will be filled by [`super::jbd2::Handle::create`]. May not be up to date.
    pub(in crate::linux) fn get(&self, nr: u64) -> Result<BufferHead> {
        self.buffer(nr, true)
    }
}
