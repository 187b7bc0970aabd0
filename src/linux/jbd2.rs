// SPDX-License-Identifier: GPL-2.0

//! The journal: transactions on blocks of the buffer cache.
//!
//! C header: [`include/linux/jbd2.h`](srctree/include/linux/jbd2.h)
//!
//! A journal lies in blocks of the device that it protects. Where, the caller of [`Unloaded::open`] says, so no VFS
//! inode is needed for it.
//!
//! # Invariants
//!
//! * A device has one journal, as it has one [`BufferCache`], which the journal owns.
//! * A buffer's bytes change only within [`Handle::edit`] or [`Handle::create`], which have asked jbd2
//!   for access before and give it the buffer after.
//! * A handle stays with the task that has started it: [`Handle`] is not `Send`.
//! * While anything but jbd2 runs, no handle is in `current->journal_info`. A filesystem takes what is there for a
//!   structure of its own, and who has a handle may come to another filesystem, say by a fault of a user's memory. jbd2
//!   looks there when a handle is started, restarted or stopped, and then only.
//!
//! # A handle that is never dropped
//!
//! Safe code can leak one ([`core::mem::forget`]). Nothing that was freed is used then, nor anything taken for what it
//! is not:
//!
//! * jbd2 frees a handle in `jbd2_journal_stop()` and nowhere else, so it stays. Nobody has a pointer to it: the task's
//!   `journal_info` is null as always.
//! * Its transaction counts it (`t_updates`) and does not commit, not even after an abort. So the transaction stays,
//!   and so do its buffers.
//! * Who waits for the commit, for room in the journal, or until no handle is open, waits without end. So does who
//!   drops the journal, and with that the unmount: journal, cache and device stay.
//! * The task goes on without calling filesystems when it allocates.
//!
//! # Waiting
//!
//! A handle waits like a lock, and so does a commit, for all handles. A task that starts one while it has another, or
//! waits for a commit, may wait for itself: that is a deadlock, which lockdep knows of (`j_trans_commit_map`), and no
//! more than that.
//!
//! # Examples
//!
//! ```ignore
//! let journal = Unloaded::open(cache, blocks, client)?.load(features, Features::default())?;
//! let block = journal.cache().read(nr)?;
//! let mut handle = journal.start(1, 0)?;
//! handle.edit(&block, |bytes| bytes.fill(0))?;
//! let tid = handle.tid();
//! drop(handle);
//! journal.complete(tid)?;
//! ```

use super::{
    bindings,
    buffer::{
        is_aborted,
        BufferCache,
        BufferHead,
        Run, //
    },
    memalloc::wait_for_memory,
    task::check_no_transaction, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::{
        flags::GFP_KERNEL,
        KBox,
        KVec, //
    },
    error::{
        code::*,
        from_err_ptr,
        to_result,
        Error,
        Result, //
    },
    ffi,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic, //
        },
        SpinLock, //
    }, //
};

mod handle;

pub(crate) use handle::Handle;
use handle::LentHandles;

/// Who uses a journal: what happens when a transaction has committed.
pub(crate) trait Client: Send + Sync + 'static {
    /// Whether the first block of those for fast commits, `bytes`, begins one that follows on transaction `tid - 1`,
    /// the last one in the journal. If so, [`Unloaded::load`] fails with `EOPNOTSUPP` before it has changed anything.
    /// Asked where the journal has the feature; must not sleep.
    fn begins_fast_commit(&self, tid: u32, bytes: &[u8]) -> bool;

    /// Transaction `tid` is on the device. Called by the journal's thread: must not wait for a handle.
    fn committed(&self, tid: u32);
}

/// Features of a journal, as sets of bits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Features {
    compat: ffi::c_ulong,
    incompat: ffi::c_ulong,
}

impl Features {
    /// Checksums of version 1, in the commit block.
    pub(crate) const CHECKSUM: Self = Self::compat(bindings::JBD2_FEATURE_COMPAT_CHECKSUM);
    /// Blocks may be revoked.
    pub(crate) const REVOKE: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_REVOKE);
    /// Block numbers have 64 bits.
    pub(crate) const BITS_64: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_64BIT);
    /// The commit block is not waited for.
    pub(crate) const ASYNC_COMMIT: Self =
        Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT);
    /// Checksums of version 2.
    pub(crate) const CSUM_V2: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V2);
    /// Checksums of version 3.
    pub(crate) const CSUM_V3: Self = Self::incompat(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V3);

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
    pub(crate) const fn with(self, other: Self) -> Self {
        Self {
            compat: self.compat | other.compat,
            incompat: self.incompat | other.incompat,
        }
    }
}

/// How a journal commits.
#[derive(Clone, Copy)]
pub(crate) struct Parameters {
    /// After how many seconds a transaction commits by itself.
    pub(crate) interval_seconds: u32,
    /// Whether commits flush the device's cache.
    pub(crate) barrier: bool,
    /// Whether a mount goes on where the last one has ended, rather than wear out the journal's begin.
    pub(crate) cycle_record: bool,
}

/// A journal that was found but not yet loaded: nothing was replayed.
///
/// # Invariants
///
/// `raw` is a journal of ours, `j_private` points to what `inner` owns, and both stay until drop.
/// Its device is the one of the cache, its block size too.
struct Raw<C: Client> {
    raw: NonNull<bindings::journal_t>,
    inner: KBox<Inner<C>>,
}

/// What the callbacks of a journal work on.
struct Inner<C> {
    client: C,
    /// It knows where the journal's blocks are.
    cache: BufferCache,
    /// Handles that their owners have lent to those that they call.
    lent: Pin<KBox<SpinLock<LentHandles>>>,
}

// SAFETY: jbd2 locks what it changes; `Client` is `Send` and `Sync`.
unsafe impl<C: Client> Send for Raw<C> {}
// SAFETY: As above.
unsafe impl<C: Client> Sync for Raw<C> {}

impl<C: Client> Raw<C> {
    fn as_raw(&self) -> *mut bindings::journal_t {
        self.raw.as_ptr()
    }

    /// See [`Journal::set_parameters`].
    fn set_parameters(&self, parameters: &Parameters) {
        let journal = self.as_raw();
        let milliseconds = parameters.interval_seconds.saturating_mul(1000);
        let mut set = 0;
        if parameters.barrier {
            set |= FLAG_BARRIER;
        }
        if parameters.cycle_record {
            set |= FLAG_CYCLE_RECORD;
        }
        // SAFETY: No conditions.
        let interval = unsafe { bindings::__msecs_to_jiffies(milliseconds) };
        // SAFETY: The journal is valid.
        unsafe { bindings::journal_state_write_lock(journal) };
        // SAFETY: The journal is valid; under its lock.
        unsafe { (*journal).j_commit_interval = interval };
        // SAFETY: As above.
        let flags = unsafe { &raw mut (*journal).j_flags };
        // SAFETY: As above: nobody else changes it.
        let old = unsafe { flags.read() };
        // SAFETY: As above. Others read it without the lock: the word is written at once.
        unsafe { flags.write_volatile(old & !(FLAG_BARRIER | FLAG_CYCLE_RECORD) | set) };
        // SAFETY: Locked above.
        unsafe { bindings::journal_state_write_unlock(journal) };
    }
}

impl<C: Client> Drop for Raw<C> {
    fn drop(&mut self) {
        // Commits and checkpoints what there is; an error was reported by jbd2, and `Journal::flush` finds it earlier.
        // SAFETY: The journal is ours, and `inner` is still there. A handle would borrow `self`; one that was leaked
        // keeps its transaction open, for which the callee waits without end: it finds everything still there.
        unsafe { bindings::jbd2_journal_destroy(self.as_raw()) };
    }
}

/// A journal before it is loaded.
pub(crate) struct Unloaded<C: Client>(Raw<C>);

impl<C: Client> Unloaded<C> {
    /// Opens the journal that lies in `blocks`, one after the other, of the device of `cache`.
    ///
    /// Whatever was read of the device before is read anew from here on: a [`BufferHead`] that somebody has kept stays
    /// as it is, and is of no use any more. The cache comes back with [`Journal::cache`].
    ///
    /// # Errors
    ///
    /// `EUCLEAN` or `EINVAL` where there is no journal that jbd2 could use (it says why in the log), `EIO`, `ENOMEM`.
    /// `EUCLEAN` also where a run has no blocks, as jbd2 takes the start of the first for the journal's super block;
    /// and where two have one in common: jbd2 would take it for two, each with a buffer of its own.
    pub(crate) fn open(mut cache: BufferCache, blocks: KVec<Run>, client: C) -> Result<Self> {
        if blocks.iter().any(|run| run.len == 0) || !Run::are_apart(&blocks)? {
            return Err(EUCLEAN);
        }
        let first = blocks.first().ok_or(EUCLEAN)?.start;
        let count = blocks
            .iter()
            .try_fold(0_u32, |sum, run| sum.checked_add(run.len))
            .ok_or(EUCLEAN)?;
        let (Ok(count), Ok(size)) = (i32::try_from(count), i32::try_from(cache.block_size()))
        else {
            return Err(EUCLEAN);
        };
        cache.detach()?;
        // INVARIANT: No buffer of these blocks is out.
        cache.set_journal(blocks);
        let lent = KBox::pin_init(
            new_spinlock!(LentHandles::new(), "lent_handles"),
            GFP_KERNEL,
        )?;
        let inner = KBox::new(
            Inner {
                client,
                cache,
                lent,
            },
            GFP_KERNEL,
        )?;
        let device = inner.cache.device().as_raw();
        // SAFETY: The device is open, and stays so as the cache is kept with the journal.
        let raw = from_err_ptr(unsafe {
            bindings::jbd2_journal_init_dev(device, device, first, count, size)
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let private = core::ptr::from_ref::<Inner<C>>(&inner).cast_mut().cast();
        // INVARIANT: `j_private` is set with the callbacks; a box keeps its contents in place.
        let this = Self(Raw { raw, inner });

        // SAFETY: The journal is ours alone until it is loaded, which starts its thread.
        unsafe { (*raw.as_ptr()).j_private = private };
        // SAFETY: As above; the callbacks are for a journal whose `j_private` is that.
        unsafe { (*raw.as_ptr()).j_bmap = Some(map_callback::<C>) };
        // SAFETY: As above.
        unsafe { (*raw.as_ptr()).j_commit_callback = Some(commit_callback::<C>) };
        // SAFETY: As above.
        unsafe { (*raw.as_ptr()).j_fc_replay_callback = Some(fast_commit_callback::<C>) };
        Ok(this)
    }

    /// Whether the journal could have all of `features` (one of format version 1 can have none).
    pub(crate) fn can_have(&self, features: Features) -> bool {
        // SAFETY: The journal is valid by the invariant of `Raw`.
        unsafe {
            bindings::jbd2_journal_check_available_features(
                self.0.as_raw(),
                features.compat,
                0,
                features.incompat,
            ) != 0
        }
    }

    /// Drops what is in the journal, in memory, and on the device if `write`.
    pub(crate) fn wipe(&mut self, write: bool) -> Result {
        // SAFETY: The journal is valid and not loaded.
        to_result(unsafe { bindings::jbd2_journal_wipe(self.0.as_raw(), write.into()) })
    }

    /// As [`Journal::set_parameters`]. Before [`Self::load`], as with a barrier what is replayed is durable before the
    /// journal says that it is empty.
    pub(crate) fn set_parameters(&mut self, parameters: &Parameters) {
        self.0.set_parameters(parameters);
    }

    /// Replays what is in the journal and starts its thread. Then takes away the features `off` and adds `on`: later
    /// commits might be under way.
    ///
    /// Fast commits are not replayed: where there are some ([`Client::begins_fast_commit`]), this fails with
    /// `EOPNOTSUPP`, and nothing was changed. The journal says that it has none from then on.
    ///
    /// Replay writes to any block of the device's cache, of which nobody has one (see [`Self::open`]).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` also where the journal cannot have `on` and [`Features::REVOKE`]. An error was reported by jbd2;
    /// what was replayed so far is then on the device.
    pub(crate) fn load(self, on: Features, off: Features) -> Result<Journal<C>> {
        // `Handle::revoke` asks for it when it is too late to refuse.
        if !self.can_have(on.with(Features::REVOKE)) {
            return Err(EOPNOTSUPP);
        }
        let journal = self.0.as_raw();
        // SAFETY: The journal is valid and not loaded.
        to_result(unsafe { bindings::jbd2_journal_load(journal) })?;
        // SAFETY: The journal is valid, and no transaction has begun.
        unsafe { bindings::jbd2_journal_clear_features(journal, off.compat, 0, off.incompat) };
        // SAFETY: As above.
        match unsafe { bindings::jbd2_journal_set_features(journal, on.compat, 0, on.incompat) } {
            0 => Err(EOPNOTSUPP),
            _ => Ok(Journal(self.0)),
        }
    }
}

/// A journal in use. Dropping it commits, writes back all blocks and marks the journal empty.
pub(crate) struct Journal<C: Client>(Raw<C>);

impl<C: Client> Journal<C> {
    /// Its client.
    pub(crate) fn client(&self) -> &C {
        &self.0.inner.client
    }

    /// Handles that are lent.
    fn lent(&self) -> &SpinLock<LentHandles> {
        &self.0.inner.lent
    }

    /// The cache of the device. It does not have the journal's own blocks.
    pub(crate) fn cache(&self) -> &BufferCache {
        &self.0.inner.cache
    }

    /// Blocks of the journal.
    pub(crate) fn blocks(&self) -> u32 {
        // SAFETY: The journal is valid; this does not change once it is open.
        unsafe { (*self.0.as_raw()).j_total_len }
    }

    /// Sets how the journal commits.
    pub(crate) fn set_parameters(&self, parameters: &Parameters) {
        self.0.set_parameters(parameters);
    }

    /// Whether commits flush the device's cache.
    pub(crate) fn has_barrier(&self) -> bool {
        self.flags() & FLAG_BARRIER != 0
    }

    fn flags(&self) -> usize {
        // SAFETY: The journal is valid; a word is read at once.
        unsafe { core::ptr::read_volatile(&raw const (*self.0.as_raw()).j_flags) }
    }

    /// The error that the last user of the journal recorded in it, `None` if there is none; `-EROFS` after an abort.
    /// What the disk says can be any number.
    pub(crate) fn recorded_error(&self) -> Option<i32> {
        // SAFETY: The journal is valid.
        let error = unsafe { bindings::jbd2_journal_errno(self.0.as_raw()) };

        (error != 0).then_some(error)
    }

    /// Forgets the recorded error, also on the device.
    pub(crate) fn clear_recorded_error(&self) {
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_journal_clear_err(self.0.as_raw()) };
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_journal_update_sb_errno(self.0.as_raw()) };
    }

    /// Stops the journal for good: nothing commits any more. Records `error` in it. May sleep.
    pub(crate) fn abort(&self, error: Error) {
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_journal_abort(self.0.as_raw(), error.to_errno()) };
    }

    /// Whether the journal was aborted.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: The journal is valid.
        unsafe { is_aborted(self.0.as_raw()) }
    }

    /// The running transaction, else the committing one, else the last one that committed.
    pub(crate) fn latest_tid(&self) -> u32 {
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_get_latest_transaction(self.0.as_raw()) }
    }

    /// The last transaction that has committed. `None` after an abort, which ends transactions that have not as if they
    /// had.
    #[inline]
    pub(crate) fn last_committed(&self) -> Option<u32> {
        // SAFETY: The journal is valid.
        let place = unsafe { &raw mut (*self.0.as_raw()).j_commit_sequence };
        // SAFETY: It is valid as long as the journal, and C code changes it a word at a time.
        let tid = unsafe { Atomic::from_ptr(place) }.load(Acquire);
        // The abort comes before a transaction that it ends is counted, so it is seen here.
        (!self.is_aborted()).then_some(tid)
    }

    /// Whether the journal has given out `tid`. Numbers are taken modulo 2^32: of those that are not in use, half are
    /// taken for older ones, the others for ones to come.
    fn gave_out(&self, tid: u32) -> bool {
        // SAFETY: The journal is valid; a word is read at once. Who was given a number sees those that follow on it.
        let next = unsafe {
            core::ptr::read_volatile(&raw const (*self.0.as_raw()).j_transaction_sequence)
        };

        next.wrapping_sub(tid).wrapping_sub(1) <= i32::MAX as u32
    }

    /// Commits transaction `tid` if it has not committed, and waits. A number that is neither that of the running
    /// transaction nor of the committing one is not waited for.
    pub(crate) fn complete(&self, tid: u32) -> Result {
        // SAFETY: The journal is valid.
        to_result(unsafe { bindings::jbd2_complete_transaction(self.0.as_raw(), tid) })
    }

    /// Whether the commit of `tid` is still to flush the device's cache, and so makes data durable that was written
    /// before this call. `false` for a `tid` that the journal has not given out.
    pub(crate) fn will_flush(&self, tid: u32) -> bool {
        if !self.gave_out(tid) {
            return false;
        }
        // SAFETY: The journal is valid.
        unsafe { bindings::jbd2_trans_will_send_data_barrier(self.0.as_raw(), tid) != 0 }
    }

    /// Starts a commit of the running transaction, if there is one.
    pub(crate) fn start_commit(&self) {
        // SAFETY: The journal is valid; nobody asks for the number.
        unsafe { bindings::jbd2_journal_start_commit(self.0.as_raw(), core::ptr::null_mut()) };
    }

    /// Commits all there is and waits. `EDEADLK` in a transaction of another filesystem.
    pub(crate) fn force_commit(&self) -> Result {
        check_no_transaction()?;
        // SAFETY: The journal is valid.
        to_result(unsafe { bindings::jbd2_journal_force_commit(self.0.as_raw()) })
    }

    /// Runs `f` while no handle is open and none can be started, in this task or another: others wait, and `f` would
    /// wait for itself.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub(crate) fn with_updates_locked<R>(
        &self,
        f: impl FnOnce(&UpdatesLocked<'_, C>) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: The journal is valid; the lock is given back below.
        unsafe { bindings::jbd2_journal_lock_updates(self.0.as_raw()) };
        let result = f(&UpdatesLocked(self));
        // SAFETY: The lock was taken above.
        unsafe { bindings::jbd2_journal_unlock_updates(self.0.as_raw()) };
        result
    }

    /// Starts a handle that may change `credits` blocks and revoke `revokes`. Waits for a commit if need be, and for
    /// memory: a change that has begun in memory cannot always be taken back.
    ///
    /// # Errors
    ///
    /// `EROFS` after an abort; `ENOSPC` where the journal can never hold so much; `EDEADLK` where the task is in a
    /// transaction of another filesystem.
    pub(crate) fn start(&self, credits: u32, revokes: u32) -> Result<Handle<'_, C>> {
        check_no_transaction()?;
        let (credits, revokes) = self.amounts(credits, revokes).ok_or(ENOSPC)?;
        loop {
            // SAFETY: The journal is valid and outlives the handle, which borrows it. The task is in no other
            // transaction, as was checked.
            let started = from_err_ptr(unsafe {
                bindings::jbd2__journal_start(
                    self.0.as_raw(),
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
                    let raw = NonNull::new(started?).ok_or(EROFS)?;
                    // SAFETY: The callee has started it for this task.
                    return Ok(unsafe { Handle::started(raw, self) });
                }
            }
        }
    }

    /// Credits as jbd2 takes them; `None` where they are more than a transaction of this journal can have. jbd2 would
    /// take that for a mistake, and write a warning to the log.
    fn amounts(&self, credits: u32, revokes: u32) -> Option<(ffi::c_int, ffi::c_int)> {
        let journal = self.0.as_raw();
        // SAFETY: The journal is valid; none of these changes once it is loaded.
        let (most, overhead, per_block) = unsafe {
            (
                (*journal).j_max_transaction_buffers,
                (*journal).j_transaction_overhead_buffers,
                (*journal).j_revoke_records_per_block,
            )
        };
        let most = u32::try_from(most.saturating_sub(overhead)).unwrap_or(0);
        let per_block = u32::try_from(per_block).unwrap_or(0);
        let rounded = revokes.saturating_add(per_block.saturating_sub(1));
        let for_revokes = rounded.checked_div(per_block).unwrap_or(0);
        (credits.saturating_add(for_revokes) <= most)
            .then_some((credits as ffi::c_int, revokes as ffi::c_int))
    }
}

/// Proof that no handle is open.
pub(crate) struct UpdatesLocked<'a, C: Client>(&'a Journal<C>);

/// What becomes of the blocks of a journal that is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Erase {
    /// They stay as they are.
    Not,
    /// The device is told that they hold nothing.
    Discard,
    /// They become zero.
    Zero,
}

impl<C: Client> UpdatesLocked<'_, C> {
    /// Commits, writes back all blocks and marks the journal empty. Then its blocks are erased, if `erase` says so.
    pub(crate) fn flush(&self, erase: Erase) -> Result {
        let flags = match erase {
            Erase::Not => 0,
            Erase::Discard => bindings::JBD2_JOURNAL_FLUSH_DISCARD,
            Erase::Zero => bindings::JBD2_JOURNAL_FLUSH_ZEROOUT,
        };
        // SAFETY: The journal is valid; no handle is open, as the callee wants.
        to_result(unsafe { bindings::jbd2_journal_flush(self.0 .0.as_raw(), flags) })
    }
}

const FLAG_BARRIER: usize = bindings::JBD2_BARRIER as usize;
const FLAG_CYCLE_RECORD: usize = bindings::JBD2_CYCLE_RECORD as usize;
/// What ends the reading of fast commits.
const FAST_COMMIT_STOP: ffi::c_int = bindings::JBD2_FC_REPLAY_STOP as ffi::c_int;

/// What the callbacks of a journal work on.
///
/// # Safety
///
/// `journal` must be valid for the lifetime, one of [`Unloaded::open`] of a `C`.
unsafe fn inner<'a, C: Client>(journal: *mut bindings::journal_t) -> &'a Inner<C> {
    // SAFETY: By the invariants of `Raw`, as `j_private` is set before jbd2 calls anything.
    unsafe { &*(*journal).j_private.cast::<Inner<C>>() }
}

/// `j_bmap`: the device block of block `*block` of the journal.
///
/// # Safety
///
/// For jbd2, with a journal of [`Unloaded::open`] of a `C`, and a `block` to be read and written.
unsafe extern "C" fn map_callback<C: Client>(
    journal: *mut bindings::journal_t,
    block: *mut bindings::sector_t,
) -> ffi::c_int {
    // SAFETY: By the function's requirements.
    let inner = unsafe { inner::<C>(journal) };
    // SAFETY: By the function's requirements.
    let block = unsafe { &mut *block };

    match inner.cache.journal_block(*block) {
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

/// `j_fc_replay_callback`: called by `fc_do_one_pass()` for each block of those for fast commits.
///
/// # Safety
///
/// For jbd2, with a journal of [`Unloaded::open`] of a `C` and a buffer of it that is up to date, of which the caller
/// keeps its reference.
unsafe extern "C" fn fast_commit_callback<C: Client>(
    journal: *mut bindings::journal_t,
    buffer: *mut bindings::buffer_head,
    pass: bindings::passtype,
    index: ffi::c_int,
    expected: bindings::tid_t,
) -> ffi::c_int {
    // The log is read first, and nothing was changed by then.
    let (Some(buffer), 0, bindings::passtype_PASS_SCAN) = (NonNull::new(buffer), index, pass)
    else {
        return FAST_COMMIT_STOP;
    };
    // SAFETY: By the function's requirements.
    let client = unsafe { &inner::<C>(journal).client };
    let mut begins = false;
    let ask = |buffer: &BufferHead| {
        begins = buffer.with(|bytes| client.begins_fast_commit(expected, bytes));
    };
    // SAFETY: By the function's requirements. The block is the journal's: only jbd2 writes to it, and waits for this.
    unsafe { BufferHead::with_borrowed(buffer, ask) };
    match begins {
        true => EOPNOTSUPP.to_errno(),
        false => FAST_COMMIT_STOP,
    }
}

/// `j_commit_callback`: called by `jbd2_journal_commit_transaction()` at the end of a commit.
///
/// # Safety
///
/// For jbd2, with a journal of [`Unloaded::open`] of a `C` and its transaction.
unsafe extern "C" fn commit_callback<C: Client>(
    journal: *mut bindings::journal_t,
    transaction: *mut bindings::transaction_t,
) {
    // SAFETY: By the function's requirements.
    let client = unsafe { &inner::<C>(journal).client };
    // SAFETY: The transaction is valid during the call; its number does not change.
    let tid = unsafe { (*transaction).t_tid };

    // SAFETY: By the function's requirements. jbd2 calls also after a commit that failed.
    if unsafe { !is_aborted(journal) } {
        client.committed(tid);
    }
}
