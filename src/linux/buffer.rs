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
//!   bytes to be changed. [`BufferHead::write_through`] and [`BufferCache::write_new`] look at jbd2's own state, under
//!   its lock.
//!   It writes to the bytes of the journal's blocks, which [`BufferCache`] does not give out, and to any
//!   while it replays a journal: [`super::jbd2::Unloaded::open`] takes the only [`BufferCache`] of the
//!   device, and before it does anything it takes what was given out until then out of the cache.
//! * The device. It fills a block before `BH_Uptodate` is set, once only (a block that could not be
//!   written is not read again), and bytes are given out after that. It reads a block under `BH_Lock`,
//!   which `jbd2_journal_get_write_access()` waits for; then the block is not dirty for the block layer
//!   until its transaction has committed.
//! * Somebody with the device file open for writing. As for every filesystem, that is the
//!   administrator's decision (`CONFIG_BLK_DEV_WRITE_MOUNTED`).
//!
//! # Lock
//!
//! Under the byte lock nothing sleeps, and no other byte lock is taken. The user of the cache may take spinning locks
//! of its own under it, if no byte lock is taken under those.
//!
//! # Examples
//!
//! ```ignore
//! fn fill_super(sb: &super_block::New<'_, Self>, mut cache: BufferCache) -> Result<u32> {
//!     sb.set_block_size(&mut cache, 4096)?;
//!     let magic = cache.read(0)?.with(|bytes| bytes.first_chunk::<4>().copied());
//!     magic.map(u32::from_le_bytes).ok_or(EINVAL)
//! }
//! ```

use super::{
    bindings,
    block_device::BlockDevice, //
};
use core::{
    mem::{
        self,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    alloc::{
        flags::GFP_KERNEL,
        KVec, //
    },
    error::{
        code::*,
        Result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed, //
    }, //
};

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

/// Whether a journal was aborted.
///
/// # Safety
///
/// `journal` must be valid.
pub(super) unsafe fn is_aborted(journal: *const bindings::journal_t) -> bool {
    // SAFETY: By the function's requirements; a word is read at once.
    let flags = unsafe { ptr::read_volatile(&raw const (*journal).j_flags) };

    flags & bindings::JBD2_ABORT as usize != 0
}

/// A reference to a cached block.
///
/// # Invariants
///
/// `raw` is a buffer of a block device's cache, of which the value owns a reference. It is mapped, or it was taken out
/// of the cache ([`BufferCache::detach`]) and its bytes stay as they are.
/// The buffer was up to date when the value was made, or only code of this room has the value.
pub(crate) struct BufferHead {
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
    pub(super) unsafe fn with_borrowed<R>(
        raw: NonNull<bindings::buffer_head>,
        f: impl FnOnce(&Self) -> R,
    ) -> R {
        // INVARIANT: By the function's requirements; the reference is not given up.
        f(&ManuallyDrop::new(Self { raw }))
    }

    pub(super) fn as_raw(&self) -> *mut bindings::buffer_head {
        self.raw.as_ptr()
    }

    /// Gives up the value, not the reference.
    pub(super) fn into_raw(self) -> *mut bindings::buffer_head {
        ManuallyDrop::new(self).raw.as_ptr()
    }

    fn state(&self) -> &Atomic<usize> {
        // SAFETY: `b_state` is valid and aligned while we hold a reference, and is changed by atomic operations only.
        unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).b_state) }
    }

    fn test(&self, bits: usize) -> bool {
        self.state().load(Acquire) & bits != 0
    }

    /// The block's number on its device, in units of its size.
    pub(crate) fn nr(&self) -> u64 {
        // SAFETY: The buffer is valid by its invariant, and a mapped one keeps its place.
        unsafe { (*self.as_raw()).b_blocknr }
    }

    /// Gives `f` the bytes, a whole block, under the byte lock: `f` must not sleep, nor touch another block.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(Bytes::lock(self).get())
    }

    /// Like [`Self::with`], to change the bytes.
    ///
    /// # Safety
    ///
    /// A handle must have write or create access to the buffer.
    pub(super) unsafe fn with_mut<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut bytes = Bytes::lock(self);

        // SAFETY: By the function's requirements.
        f(unsafe { bytes.get_mut() })
    }

    /// The tag: four bits for the user of the cache. It is 0 in a block that was just brought into memory.
    pub(crate) fn tag(&self) -> u8 {
        ((self.state().load(Acquire) & TAG_MASK) >> TAG_SHIFT) as u8
    }

    /// Sets the tag, 0 to 15. Whoever reads the new tag also sees everything that this task stored before the call.
    pub(crate) fn set_tag(&self, tag: u8) {
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
    pub(crate) fn write_failed(&self) -> bool {
        self.test(bit(bindings::bh_state_bits_BH_Write_EIO))
    }

    pub(super) fn is_uptodate(&self) -> bool {
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

    /// Whether the buffer is in its device's cache, under the block's number.
    fn is_mapped(&self) -> bool {
        self.test(bit(bindings::bh_state_bits_BH_Mapped))
    }

    /// Whether it is a block of `device`, and in its cache.
    pub(super) fn is_of(&self, device: *mut bindings::block_device) -> bool {
        // SAFETY: The buffer is valid by its invariant; a word is read at once.
        let of = unsafe { ptr::read_volatile(&raw const (*self.as_raw()).b_bdev) };

        of == device && self.is_mapped()
    }

    /// Changes a block without a transaction and writes it to the device at once, past its cache if `fua`. Waits.
    /// `f` works on a copy, so it may take its time.
    ///
    /// # Errors
    ///
    /// `EBUSY` where a transaction holds the block that has not committed, unless its journal was aborted, and `f` was
    /// not called if that was so from the beginning. `EIO`, `ENOMEM`.
    pub(crate) fn write_through(&self, fua: bool, f: impl FnOnce(&mut [u8])) -> Result {
        drop(Still::lock(self)?);
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

        let still = Still::lock(self)?;

        still.put(&copy);
        still.submit(fua);
        self.wait_written()
    }

    /// Waits until the block is on the device, which it is on its way to. Its bytes in memory are the true ones, also
    /// after an error.
    ///
    /// # Errors
    ///
    /// `EIO` where it could not be written.
    pub(crate) fn wait_written(&self) -> Result {
        // SAFETY: The buffer is valid by its invariant.
        unsafe { bindings::wait_on_buffer(self.as_raw()) };
        if self.write_failed() {
            self.revive();
            return Err(EIO);
        }
        Ok(())
    }
}

/// A buffer that neither the device nor jbd2 reads, by `BH_Lock` and `b_state_lock`.
///
/// # Invariants
///
/// This task has `BH_Lock` of the buffer, which is mapped. `head` is null, or jbd2's part of the buffer, of which the
/// value has a reference and the lock; `BH_Shadow`, which is set under that lock, is not set.
struct Still<'a> {
    buffer: &'a BufferHead,
    head: *mut bindings::journal_head,
}

impl<'a> Still<'a> {
    /// Waits for whoever reads the bytes. See [`BufferHead::write_through`] for the errors.
    fn lock(buffer: &'a BufferHead) -> Result<Self> {
        loop {
            let raw = buffer.as_raw();
            // SAFETY: The buffer is valid by its invariant.
            unsafe { bindings::lock_buffer(raw) };
            // Who takes a buffer out of the cache has its lock, too.
            if !buffer.is_mapped() {
                // SAFETY: Locked above.
                unsafe { bindings::unlock_buffer(raw) };
                return Err(EIO);
            }
            // SAFETY: The buffer is valid. The callee gives jbd2's part of it with a reference, or null.
            let head = unsafe { bindings::jbd2_journal_grab_journal_head(raw) };
            if !head.is_null() {
                // SAFETY: `head` is valid, as we have a reference.
                unsafe { bindings::spin_lock(&raw mut (*head).b_state_lock) };
            }
            // INVARIANT: All was taken above; what is not so yet is looked at before the value is given out.
            let this = Self { buffer, head };
            if buffer.test(bit(bindings::jbd_state_bits_BH_Shadow)) {
                drop(this);
                // SAFETY: The buffer is valid. The end of the I/O of the commit clears the bit, and needs no lock.
                unsafe { bindings::wait_on_buffer_shadow(raw) };
                continue;
            }
            return match this.is_held() {
                true => Err(EBUSY),
                false => Ok(this),
            };
        }
    }

    /// Whether a transaction holds the block that will yet commit.
    fn is_held(&self) -> bool {
        if self.head.is_null() {
            return false;
        }
        // SAFETY: Valid by the invariants, and read under their lock, under which transactions take and leave a buffer.
        let transactions = unsafe { [(*self.head).b_transaction, (*self.head).b_next_transaction] };

        transactions.into_iter().any(|transaction| {
            // SAFETY: A transaction that has a buffer stays, as does its journal.
            !transaction.is_null() && unsafe { !is_aborted((*transaction).t_journal) }
        })
    }

    /// Sets the bytes.
    fn put(&self, from: &[u8]) {
        let bytes = Bytes::lock(self.buffer);

        // SAFETY: `pointer` is valid for `len` bytes, which are not `from`'s. The byte lock keeps Rust code out. jbd2
        // and the device do not read the bytes, by the invariants.
        unsafe {
            ptr::copy_nonoverlapping(from.as_ptr(), bytes.pointer(), bytes.len().min(from.len()));
        }
    }

    /// Gives `f` the bytes to change, under the byte lock.
    fn fill<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let bytes = Bytes::lock(self.buffer);

        // SAFETY: `pointer` is valid for `len` bytes. The byte lock keeps other Rust code out; jbd2 and the device do
        // not read the bytes, by the invariants.
        f(unsafe { core::slice::from_raw_parts_mut(bytes.pointer(), bytes.len()) })
    }

    /// Starts writing the block. The end of that gives `BH_Lock` back, which keeps the buffer in memory until then.
    fn submit(self, fua: bool) {
        let this = ManuallyDrop::new(self);
        let raw = this.buffer.as_raw();
        let mut flags = bindings::req_op_REQ_OP_WRITE | 1 << bindings::req_flag_bits___REQ_SYNC;

        if fua {
            flags |= 1 << bindings::req_flag_bits___REQ_FUA;
        }
        this.release();
        // SAFETY: The buffer is valid, and `BH_Lock` is ours.
        unsafe { bindings::set_buffer_uptodate(raw) };
        // SAFETY: As above.
        unsafe { bindings::clear_buffer_dirty(raw) };
        // SAFETY: As above, and it is mapped; `bh_end_write()` gives the lock back.
        unsafe { bindings::bh_submit(raw, flags, Some(bindings::bh_end_write)) };
    }

    /// Gives jbd2's part back. Called once.
    fn release(&self) {
        if self.head.is_null() {
            return;
        }
        // SAFETY: The lock is ours by the invariants.
        unsafe { bindings::spin_unlock(&raw mut (*self.head).b_state_lock) };
        // SAFETY: The reference is ours by the invariants.
        unsafe { bindings::jbd2_journal_put_journal_head(self.head) };
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.release();
        // SAFETY: Locked by the invariants.
        unsafe { bindings::unlock_buffer(self.buffer.as_raw()) };
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

/// Blocks of a device that follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// The first.
    pub(crate) start: u64,
    /// How many.
    pub(crate) len: u32,
}

impl Run {
    /// Whether no two of `runs` have a block in common, and none goes beyond the numbers that there are.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn are_apart(runs: &[Self]) -> Result<bool> {
        /// # Safety
        ///
        /// For `sort()`, with two runs.
        unsafe extern "C" fn compare(a: *const c_void, b: *const c_void) -> c_int {
            // SAFETY: By the function's requirements.
            let a = unsafe { (*a.cast::<Run>()).start };
            // SAFETY: By the function's requirements.
            let b = unsafe { (*b.cast::<Run>()).start };
            a.cmp(&b) as c_int
        }

        let mut sorted = KVec::with_capacity(runs.len(), GFP_KERNEL)?;
        for run in runs {
            sorted.push(*run, GFP_KERNEL)?;
        }
        // SAFETY: There are so many runs of that size, which may be moved by copies of their bytes.
        unsafe {
            bindings::sort(
                sorted.as_mut_ptr().cast(),
                sorted.len(),
                mem::size_of::<Self>(),
                Some(compare),
                None,
            )
        };
        let mut free = Some(0_u64);
        Ok(sorted.iter().all(|run| {
            let apart = free.is_some_and(|free| free <= run.start);
            free = run.start.checked_add(run.len.into());
            apart
        }) && free.is_some())
    }
}

/// The cache of a block device, in blocks of the size that the device was set to.
///
/// There is one for each mount, which [`super::fs::FileSystem::fill_super`] gets. The device is not given up before it
/// is dropped: unmounting waits for that. A [`BufferHead`] that somebody has kept is of no use any more then, and
/// shares nothing with who uses the device next.
///
/// # Invariants
///
/// Nobody else gives out [`BufferHead`]s of the device. `journal` has all blocks that a journal in use may write to.
pub(crate) struct BufferCache {
    device: BlockDevice,
    size: u32,
    journal: KVec<Run>,
}

impl BufferCache {
    /// The cache of `device`.
    ///
    /// # Safety
    ///
    /// There must be no other of the device.
    pub(super) unsafe fn new(device: BlockDevice) -> Self {
        // INVARIANT: By the function's requirements; there is no journal in use.
        let mut this = Self {
            device,
            size: 0,
            journal: KVec::new(),
        };
        this.update_block_size();
        this
    }

    /// The device's block size has been set. Buffers of another size have been taken out of the cache with that.
    pub(super) fn update_block_size(&mut self) {
        // SAFETY: The device is open.
        self.size = unsafe { bindings::block_size(self.device.as_raw()) };
    }

    /// Writes all dirty blocks and takes all blocks out of the cache: whoever has a [`BufferHead`] keeps the bytes as
    /// they are, and shares them with nobody who reads the block anew.
    pub(super) fn detach(&mut self) -> Result {
        let written = self.device.write_back();
        // SAFETY: The device is open.
        let mapping = unsafe { (*self.device.as_raw()).bd_mapping };

        // SAFETY: The mapping stays with the open device.
        unsafe { bindings::filemap_invalidate_lock(mapping) };
        // SAFETY: No conditions.
        unsafe { bindings::invalidate_bh_lrus() };
        // SAFETY: As above. What was dirty has been written, or cannot be; who writes to the device's file meanwhile
        // does so at the administrator's risk, as with `set_blocksize()`.
        unsafe { bindings::truncate_inode_pages(mapping, 0) };
        // SAFETY: Locked above.
        unsafe { bindings::filemap_invalidate_unlock(mapping) };
        written
    }

    /// A journal may write to `blocks` from now on.
    pub(super) fn set_journal(&mut self, blocks: KVec<Run>) {
        self.journal = blocks;
    }

    /// The device block of block `block` of the journal.
    pub(super) fn journal_block(&self, block: u64) -> Option<u64> {
        let mut offset = block;

        for run in &self.journal {
            match offset.checked_sub(run.len.into()) {
                Some(left) => offset = left,
                None => return run.start.checked_add(offset),
            }
        }
        None
    }

    /// Whether block `nr` is the journal's.
    fn is_journal(&self, nr: u64) -> bool {
        self.journal.iter().any(|run| {
            nr.checked_sub(run.start)
                .is_some_and(|offset| offset < u64::from(run.len))
        })
    }

    /// The device.
    pub(crate) fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// The block size in bytes.
    pub(crate) fn block_size(&self) -> u32 {
        self.size
    }

    /// Number of blocks on the device.
    pub(crate) fn blocks(&self) -> u64 {
        self.device.size() / u64::from(self.size.max(1))
    }

    /// A buffer for block `nr`, up to date or not.
    fn buffer(&self, nr: u64, wait: bool) -> Result<BufferHead> {
        // The cache does not look at the device's end until the buffer is submitted.
        if nr >= self.blocks() || self.is_journal(nr) {
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
        if !buffer.is_mapped() {
            return Err(EIO);
        }
        Ok(buffer)
    }

    /// Block `nr`, from memory or else read from the device. Waits. `EIO` also past the device's end, and for a block
    /// of the journal.
    pub(crate) fn read(&self, nr: u64) -> Result<BufferHead> {
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
    pub(crate) fn cached(&self, nr: u64) -> Option<BufferHead> {
        if self.is_journal(nr) {
            return None;
        }
        // SAFETY: The device is open, and the size is the one that it was set to.
        let raw = unsafe { bindings::__find_get_block(self.device.as_raw(), nr, self.size) };
        // SAFETY: The callee gives a buffer with a reference, or null. It leaves this room only when it is up to date.
        let buffer = unsafe { BufferHead::from_raw(NonNull::new(raw)?) };

        (buffer.is_mapped() && buffer.is_uptodate()).then_some(buffer)
    }

    /// Starts reading `count` blocks from `nr` on, as far as there are such. Does not wait for them.
    pub(crate) fn readahead(&self, nr: u64, count: u32) {
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

    /// Makes new contents for block `nr`, which is nobody's: zeros, then what `f` does with them, under the byte lock.
    /// What the device has there is not read. The block has tag 0 then, and is on its way to the device, past the
    /// journal: [`BufferHead::wait_written`].
    ///
    /// # Errors
    ///
    /// Nothing is on its way then: `EBUSY` where a transaction holds the block; `EIO` past the device's end, and for a
    /// block of the journal; `ENOMEM`.
    pub(crate) fn write_new<R>(
        &self,
        nr: u64,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<(BufferHead, R)> {
        let buffer = self.buffer(nr, true)?;
        let still = Still::lock(&buffer)?;
        let result = still.fill(|bytes| {
            bytes.fill(0);
            buffer.set_tag(0);
            f(bytes)
        });

        // The buffer is up to date from here on, so it may leave this room.
        still.submit(false);
        Ok((buffer, result))
    }

    /// A buffer for block `nr` that will be filled by [`super::jbd2::Handle::create`]. May not be up to date.
    pub(super) fn get(&self, nr: u64) -> Result<BufferHead> {
        self.buffer(nr, true)
    }
}

impl Drop for BufferCache {
    fn drop(&mut self) {
        // The last user of the device does the same when it is closed, and has nobody to tell either.
        let _ = self.detach();
    }
}
