// SPDX-License-Identifier: GPL-2.0

//! The journal: transactions on blocks of the buffer cache.
//!
//! C header: [`include/linux/jbd2.h`](srctree/include/linux/jbd2.h)
//!
//! A journal lies in blocks of the device that it protects. Where, the client says block by block
//! ([`Client::map`]), so no VFS inode is needed for it.
//!
//! # Invariants
//!
//! * A buffer's bytes change only within [`Handle::edit`] or [`Handle::create`], which have asked jbd2
//!   for access before and give it the buffer after.
//! * A task has one handle at a time, and keeps it: [`Handle`] is not `Send`.

use super::bindings;
use super::block_device::BlockDevice;
use super::buffer::{BufferCache, BufferHead};
use super::memalloc::wait_for_memory;
use core::ptr::NonNull;
use kernel::alloc::{flags::GFP_KERNEL, KBox};
use kernel::error::{code::*, from_err_ptr, to_result, Error, Result};
use kernel::ffi;
use kernel::types::NotThreadSafe;

mod handle;

pub use handle::Handle;

/// Who uses a journal: where its blocks are, and what happens when a transaction has committed.
pub trait Client: Send + Sync + 'static {
    /// The device block of block `block` of the journal. `None` aborts the journal.
    fn map(&self, block: u64) -> Option<u64>;

    /// Whether the first block of those for fast commits, `bytes`, begins one that follows on transaction `tid - 1`,
    /// the last one in the journal. If so, [`Unloaded::load`] fails with `EOPNOTSUPP` before it has changed anything.
    /// Asked where the journal has the feature; must not sleep.
    fn begins_fast_commit(&self, tid: u32, bytes: &[u8]) -> bool;

    /// Transaction `tid` is on the device. Called by the journal's thread: must not wait for a handle.
    fn committed(&self, tid: u32);
}

/// Features of a journal, as sets of bits.
#[derive(Clone, Copy, Default)]
pub struct Features {
    compat: ffi::c_ulong,
    incompat: ffi::c_ulong,
}

impl Features {
    /// Checksums of version 1, in the commit block.
    pub const CHECKSUM: Self = Self::compat(bindings::JBD2_FEATURE_COMPAT_CHECKSUM);
    /// Blocks may be revoked.
    pub const REVOKE: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_REVOKE);
    /// Block numbers have 64 bits.
    pub const BITS_64: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_64BIT);
    /// The commit block is not waited for.
    pub const ASYNC_COMMIT: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT);
    /// Checksums of version 2.
    pub const CSUM_V2: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V2);
    /// Checksums of version 3.
    pub const CSUM_V3: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V3);

    const fn compat(bits: u32) -> Self {
        Self {
            compat: bits as ffi::c_ulong,
            incompat: 0,
        }
    }

    const fn incompat(bits: u32) -> Self {
        Self {
            compat: 0,
            incompat: bits as ffi::c_ulong,
        }
    }

    /// All of both.
    pub const fn with(self, other: Self) -> Self {
        Self {
            compat: self.compat | other.compat,
            incompat: self.incompat | other.incompat,
        }
    }
}

/// A journal that was found but not yet loaded: nothing was replayed.
///
/// # Invariants
///
/// `raw` is a journal of ours, `j_private` points to `client`, and both stay until drop.
/// Its device is the one of `cache`, its block size too.
struct Raw<C: Client> {
    raw: NonNull<bindings::journal_t>,
    client: KBox<C>,
    cache: BufferCache,
}

// SAFETY: jbd2 locks what it changes; `Client` is `Send` and `Sync`.
unsafe impl<C: Client> Send for Raw<C> {}
// SAFETY: As above.
unsafe impl<C: Client> Sync for Raw<C> {}

impl<C: Client> Raw<C> {
    fn as_ptr(&self) -> *mut bindings::journal_t {
        self.raw.as_ptr()
    }

    /// See [`Journal::set_parameters`].
    fn set_parameters(&self, interval_seconds: u32, barrier: bool) {
        // SAFETY: The journal is valid; the flags are changed under their lock.
        unsafe {
            let journal = self.as_ptr();

            bindings::journal_state_write_lock(journal);
            (*journal).j_commit_interval =
                bindings::__msecs_to_jiffies(interval_seconds.saturating_mul(1000));
            if barrier {
                (*journal).j_flags |= FLAG_BARRIER;
            } else {
                (*journal).j_flags &= !FLAG_BARRIER;
            }
            // Go on where the last mount ended, rather than wear out the journal's begin.
            (*journal).j_flags |= FLAG_CYCLE_RECORD;
            bindings::journal_state_write_unlock(journal);
        }
    }
}

impl<C: Client> Drop for Raw<C> {
    fn drop(&mut self) {
        // Commits and checkpoints what there is; an error was reported by jbd2, and `Journal::flush` finds it earlier.
        // SAFETY: The journal is ours, and the client is still there. A handle would borrow `self`; one that was leaked
        // keeps its transaction open, for which the callee waits without end: it finds everything still there.
        unsafe { bindings::jbd2_journal_destroy(self.as_ptr()) };
    }
}

/// A journal before it is loaded.
pub struct Unloaded<C: Client>(Raw<C>);

impl<C: Client> Unloaded<C> {
    /// Opens the journal of `blocks` blocks on `device`, whose first block, with its super block, `client` maps.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` or `EINVAL` where there is no journal that jbd2 could use (it says why in the log), `EIO`, `ENOMEM`.
    pub fn open(device: BlockDevice, blocks: u32, client: C) -> Result<Self> {
        let cache = BufferCache::new(device);
        let client = KBox::new(client, GFP_KERNEL)?;
        let first = client.map(0).ok_or(EUCLEAN)?;
        let bdev = cache.device().as_raw();
        let (Ok(blocks), Ok(size)) = (i32::try_from(blocks), i32::try_from(cache.block_size()))
        else {
            return Err(EUCLEAN);
        };
        // SAFETY: The device is open, and stays so as `cache` is kept with the journal.
        let raw = from_err_ptr(unsafe {
            bindings::jbd2_journal_init_dev(bdev, bdev, first, blocks, size)
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;

        // SAFETY: The journal is ours alone until it is loaded, which starts its thread.
        unsafe {
            (*raw.as_ptr()).j_private = core::ptr::from_ref::<C>(&client).cast_mut().cast();
            (*raw.as_ptr()).j_bmap = Some(map_callback::<C>);
            (*raw.as_ptr()).j_commit_callback = Some(commit_callback::<C>);
            (*raw.as_ptr()).j_fc_replay_callback = Some(fast_commit_callback::<C>);
        }
        // INVARIANT: `j_private` was set; a box keeps its contents in place.
        Ok(Self(Raw { raw, client, cache }))
    }

    /// Whether the journal could have all of `features` (one of format version 1 can have none).
    pub fn can_have(&self, features: Features) -> bool {
        // SAFETY: The journal is valid by the invariant of `Raw`.
        unsafe {
            bindings::jbd2_journal_check_available_features(
                self.0.as_ptr(),
                features.compat,
                0,
                features.incompat,
            ) != 0
        }
    }

    /// Drops what is in the journal, in memory, and on the device if `write`.
    pub fn wipe(&mut self, write: bool) -> Result {
        // SAFETY: The journal is valid and not loaded.
        to_result(unsafe { bindings::jbd2_journal_wipe(self.0.as_ptr(), write.into()) })
    }

    /// As [`Journal::set_parameters`]. Before [`Self::load`], as with `barrier` what is replayed is durable before the
    /// journal says that it is empty.
    pub fn set_parameters(&mut self, interval_seconds: u32, barrier: bool) {
        self.0.set_parameters(interval_seconds, barrier);
    }

    /// Replays what is in the journal and starts its thread.
    ///
    /// Fast commits are not replayed: where there are some ([`Client::begins_fast_commit`]), this fails with
    /// `EOPNOTSUPP`, and nothing was changed. The journal says that it has none from then on.
    ///
    /// Replay writes to any block of the device's cache: nobody else uses it meanwhile, and what was read before must
    /// be read again. An error was reported by jbd2; what was replayed so far is then on the device.
    pub fn load(self) -> Result<Journal<C>> {
        // SAFETY: The journal is valid and not loaded.
        to_result(unsafe { bindings::jbd2_journal_load(self.0.as_ptr()) })?;
        Ok(Journal(self.0))
    }
}

/// A journal in use. Dropping it commits, writes back all blocks and marks the journal empty.
pub struct Journal<C: Client>(Raw<C>);

impl<C: Client> Journal<C> {
    /// Its client.
    pub fn client(&self) -> &C {
        &self.0.client
    }

    /// Blocks of the journal.
    pub fn blocks(&self) -> u32 {
        // SAFETY: The journal is valid; this does not change once it is open.
        unsafe { (*self.0.as_ptr()).j_total_len }
    }

    /// Takes away the features `off` and adds `on`. `EINVAL` where the journal cannot have them.
    pub fn set_features(&self, on: Features, off: Features) -> Result {
        // SAFETY: The journal is valid; its super block is locked by the callees.
        unsafe {
            bindings::jbd2_journal_clear_features(self.0.as_ptr(), off.compat, 0, off.incompat);
            if bindings::jbd2_journal_set_features(self.0.as_ptr(), on.compat, 0, on.incompat) == 0
            {
                return Err(EINVAL);
            }
        }
        Ok(())
    }

    /// Sets how often a transaction commits by itself, and whether commits flush the device's cache.
    pub fn set_parameters(&self, interval_seconds: u32, barrier: bool) {
        self.0.set_parameters(interval_seconds, barrier);
    }

    /// Whether commits flush the device's cache.
    pub fn has_barrier(&self) -> bool {
        self.flags() & FLAG_BARRIER != 0
    }

    fn flags(&self) -> usize {
        // SAFETY: The journal is valid; a word is read at once.
        unsafe { core::ptr::read_volatile(&raw const (*self.0.as_ptr()).j_flags) }
    }

    /// The error that the last user of the journal recorded in it, `None` if there is none; `-EROFS` after an abort.
    /// What the disk says can be any number.
    pub fn recorded_error(&self) -> Option<i32> {
        // SAFETY: The journal is valid.
        let error = unsafe { bindings::jbd2_journal_errno(self.0.as_ptr()) };

        (error != 0).then_some(error)
    }

    /// Forgets the recorded error, also on the device.
    pub fn clear_recorded_error(&self) {
        // SAFETY: The journal is valid.
        unsafe {
            bindings::jbd2_journal_clear_err(self.0.as_ptr());
            bindings::jbd2_journal_update_sb_errno(self.0.as_ptr());
        }
    }

    /// Stops the journal for good: nothing commits any more. Records `error` in it. May sleep.
    pub fn abort(&self, error: Error) {
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_journal_abort(self.0.as_ptr(), error.to_errno()) };
    }

    /// Whether the journal was aborted.
    pub fn is_aborted(&self) -> bool {
        self.flags() & FLAG_ABORT != 0
    }

    /// The running transaction, else the committing one, else the last one that committed.
    pub fn latest_tid(&self) -> u32 {
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_get_latest_transaction(self.0.as_ptr()) }
    }

    /// The last transaction that has committed.
    pub fn committed_tid(&self) -> u32 {
        // SAFETY: The journal is valid; a word is read at once.
        unsafe { core::ptr::read_volatile(&raw const (*self.0.as_ptr()).j_commit_sequence) }
    }

    /// Commits transaction `tid` if it has not committed, and waits. No handle may be open in this task.
    pub fn complete(&self, tid: u32) -> Result {
        // SAFETY: The journal is valid.
        to_result(unsafe { bindings::jbd2_complete_transaction(self.0.as_ptr(), tid) })
    }

    /// Whether the commit of `tid` is still to flush the device's cache, and so makes data durable that was written
    /// before this call.
    ///
    /// `tid` must be one that the journal gave out.
    pub fn will_flush(&self, tid: u32) -> bool {
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_trans_will_send_data_barrier(self.0.as_ptr(), tid) != 0 }
    }

    /// Starts a commit of the running transaction; the number of the one that is under way then, if any.
    pub fn start_commit(&self) -> Option<u32> {
        let mut tid = 0;

        // SAFETY: The journal is valid, `tid` too.
        (unsafe { bindings::jbd2_journal_start_commit(self.0.as_ptr(), &mut tid) } != 0)
            .then_some(tid)
    }

    /// Waits until `tid`, whose commit was started, has committed.
    pub fn wait_commit(&self, tid: u32) -> Result {
        // SAFETY: The journal is valid.
        to_result(unsafe { bindings::jbd2_log_wait_commit(self.0.as_ptr(), tid) })
    }

    /// Commits all there is and waits. No handle may be open in this task.
    pub fn force_commit(&self) -> Result {
        // SAFETY: The journal is valid.
        to_result(unsafe { bindings::jbd2_journal_force_commit(self.0.as_ptr()) })
    }

    /// Runs `f` while no handle is open and none can be started, in this task or another.
    pub fn with_updates_locked<R>(&self, f: impl FnOnce(&UpdatesLocked<'_, C>) -> R) -> R {
        // SAFETY: The journal is valid; the lock is given back below.
        unsafe { bindings::jbd2_journal_lock_updates(self.0.as_ptr()) };
        let result = f(&UpdatesLocked(self));
        // SAFETY: The lock was taken above.
        unsafe { bindings::jbd2_journal_unlock_updates(self.0.as_ptr()) };
        result
    }

    /// Starts a handle that may change `credits` blocks and revoke `revokes`. Waits for a commit if need be, and for
    /// memory: a change that has begun in memory cannot always be taken back.
    ///
    /// # Errors
    ///
    /// `EROFS` after an abort; `ENOSPC` where the journal can never hold so much; `EDEADLK` where the task has a handle
    /// already.
    pub fn start(&self, credits: u32, revokes: u32) -> Result<Handle<'_, C>> {
        // jbd2 would nest the handle and give it no credits of its own; the handle of another journal would be a bug.
        // SAFETY: There is always a current task.
        if unsafe { !bindings::journal_current_handle().is_null() } {
            return Err(EDEADLK);
        }
        let (Ok(credits), Ok(revokes)) = (i32::try_from(credits), i32::try_from(revokes)) else {
            return Err(ENOSPC);
        };
        loop {
            // SAFETY: The journal is valid and outlives the handle, which borrows it.
            let started = from_err_ptr(unsafe {
                bindings::jbd2__journal_start(
                    self.0.as_ptr(),
                    credits,
                    0,
                    revokes,
                    bindings::GFP_NOFS,
                    0,
                    0,
                )
            });

            match started {
                Err(error) if error == ENOMEM => wait_for_memory(),
                started => {
                    return Ok(Handle {
                        raw: NonNull::new(started?).ok_or(EROFS)?,
                        journal: self,
                        _task: NotThreadSafe,
                    })
                }
            }
        }
    }
}

/// Proof that no handle is open.
pub struct UpdatesLocked<'a, C: Client>(&'a Journal<C>);

impl<C: Client> UpdatesLocked<'_, C> {
    /// Commits, writes back all blocks and marks the journal empty.
    pub fn flush(&self) -> Result {
        // SAFETY: The journal is valid; no handle is open, as the callee wants.
        to_result(unsafe { bindings::jbd2_journal_flush(self.0 .0.as_ptr(), 0) })
    }
}

const FLAG_ABORT: usize = bindings::JBD2_ABORT as usize;
const FLAG_BARRIER: usize = bindings::JBD2_BARRIER as usize;
const FLAG_CYCLE_RECORD: usize = bindings::JBD2_CYCLE_RECORD as usize;
/// What ends the reading of fast commits.
const FAST_COMMIT_STOP: core::ffi::c_int = bindings::JBD2_FC_REPLAY_STOP as core::ffi::c_int;

/// # Safety
///
/// For jbd2, with a journal of [`Unloaded::open`].
unsafe extern "C" fn map_callback<C: Client>(
    journal: *mut bindings::journal_t,
    block: *mut bindings::sector_t,
) -> core::ffi::c_int {
    // SAFETY: `j_private` is the journal's client, which outlives it; `block` is valid.
    let (client, block) = unsafe { (&*(*journal).j_private.cast::<C>(), &mut *block) };

    match client.map(*block) {
        Some(mapped) => {
            *block = mapped;
            0
        }
        None => {
            // SAFETY: The journal is valid.
            unsafe { bindings::jbd2_journal_abort(journal, EUCLEAN.to_errno()) };
            EUCLEAN.to_errno()
        }
    }
}

/// # Safety
///
/// For jbd2, with a journal of [`Unloaded::open`] and a buffer of it that is up to date.
unsafe extern "C" fn fast_commit_callback<C: Client>(
    journal: *mut bindings::journal_t,
    buffer: *mut bindings::buffer_head,
    pass: bindings::passtype,
    index: core::ffi::c_int,
    expected: bindings::tid_t,
) -> core::ffi::c_int {
    // The log is read first, and nothing was changed by then.
    let (Some(buffer), 0, bindings::passtype_PASS_SCAN) = (NonNull::new(buffer), index, pass)
    else {
        return FAST_COMMIT_STOP;
    };
    // SAFETY: `j_private` is the journal's client, which outlives it.
    let client = unsafe { &*(*journal).j_private.cast::<C>() };
    // SAFETY: The caller keeps its reference on the buffer, which is up to date.
    let begins = unsafe {
        BufferHead::with_borrowed(buffer, |buffer| {
            buffer.with(|bytes| client.begins_fast_commit(expected, bytes))
        })
    };
    match begins {
        true => EOPNOTSUPP.to_errno(),
        false => FAST_COMMIT_STOP,
    }
}

/// # Safety
///
/// For jbd2, with a journal of [`Unloaded::open`] and its transaction.
unsafe extern "C" fn commit_callback<C: Client>(
    journal: *mut bindings::journal_t,
    transaction: *mut bindings::transaction_t,
) {
    // SAFETY: `j_private` is the journal's client, which outlives it; the transaction is valid during the call.
    let (client, tid, flags) = unsafe {
        (
            &*(*journal).j_private.cast::<C>(),
            (*transaction).t_tid,
            core::ptr::read_volatile(&raw const (*journal).j_flags),
        )
    };

    // jbd2 calls also after a commit that failed.
    if flags & FLAG_ABORT == 0 {
        client.committed(tid);
    }
}
