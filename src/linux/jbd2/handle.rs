// SPDX-License-Identifier: GPL-2.0

//! Handles: how a task takes part in the running transaction, and changes blocks in it.
//!
//! A [`Handle`] borrows its journal, and is open until it is dropped. What comes of one that never is, is said in
//! [`super`].
//!
//! C header: [`include/linux/jbd2.h`](srctree/include/linux/jbd2.h)
//!
//! # Locks
//!
//! A handle waits like a lock: for a commit when it is started or restarted, which waits for all other handles.
//!
//! # Examples
//!
//! ```ignore
//! let mut handle = journal.start(2, 0)?;
//! handle.edit(&bitmap, |bytes| bytes[0] |= 1)?;
//! let (block, ()) = handle.create(nr, |_, bytes| bytes.fill(0xff))?;
//! ```

use super::super::{
    bindings,
    buffer::BufferHead,
    task::{
        self,
        set_journal_info, //
    }, //
};
use super::{
    Client,
    Journal, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::{
        code::*,
        to_result,
        Error,
        Result, //
    },
    ffi,
    sync::SpinLock,
    types::NotThreadSafe, //
};

/// An open handle: part of the running transaction. Dropping it stops it.
///
/// # Invariants
///
/// `raw` is a handle of `journal`, started by this task. `journal_info` of the task is null, but for calls of jbd2 that
/// look there.
pub(crate) struct Handle<'a, C: Client> {
    raw: NonNull<bindings::handle_t>,
    journal: &'a Journal<C>,
    /// Whether it is another value's, which has lent it.
    borrowed: bool,
    _task: NotThreadSafe,
}

/// Handles that are lent ([`Handle::lend`]): those who call back find theirs here, by the task.
///
/// # Invariants
///
/// Each entry of the list is on the stack of a task that is in [`Handle::lend`] and takes it away before it returns.
pub(super) struct LentHandles(*const Lent);

// SAFETY: The entries are read under the lock only, and stay while they are in the list.
unsafe impl Send for LentHandles {}

/// An entry of [`LentHandles`].
struct Lent {
    task: usize,
    handle: NonNull<bindings::handle_t>,
    next: *const Lent,
}

impl LentHandles {
    /// None.
    pub(super) const fn new() -> Self {
        Self(ptr::null())
    }

    /// What this task has lent last.
    fn of_current(&self) -> Option<NonNull<bindings::handle_t>> {
        let (task, mut at) = (task::address(), self.0);
        // SAFETY: In the list, by the type's invariants.
        while let Some(lent) = unsafe { at.as_ref() } {
            if lent.task == task {
                return Some(lent.handle);
            }
            at = lent.next;
        }
        None
    }

    /// Takes an entry away, which is in the list.
    fn remove(&mut self, lent: *const Lent) {
        let mut at: *mut *const Lent = &raw mut self.0;
        // SAFETY: `at` is the list's head or the link of an entry, which stay while the lock is held. The list is ours
        // to change, as the reference to it is.
        while unsafe { *at } != lent {
            // SAFETY: As above: `*at` is an entry, as `lent` comes later.
            at = unsafe { &raw mut (*(*at).cast_mut()).next };
        }
        // SAFETY: As above; `lent` is valid.
        unsafe { *at = (*lent).next };
    }
}

impl<'a, C: Client> Handle<'a, C> {
    /// # Safety
    ///
    /// `raw` must be a handle of `journal` that was just started by this task. The value takes it over.
    #[inline]
    pub(super) unsafe fn started(
        raw: NonNull<bindings::handle_t>,
        journal: &'a Journal<C>,
    ) -> Self {
        // INVARIANT: `journal_info` has the handle now, and not any more.
        // SAFETY: Null is always allowed.
        unsafe { set_journal_info(ptr::null_mut()) };
        Self {
            raw,
            journal,
            borrowed: false,
            _task: NotThreadSafe,
        }
    }

    /// Runs `f`, which may call what calls back in this task: [`Journal::with_lent`] gives those this handle.
    pub(crate) fn lend<R>(&mut self, f: impl FnOnce() -> R) -> R {
        /// Ends it, whatever `f` does.
        struct End<'a>(&'a SpinLock<LentHandles>, Lent);

        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.lock().remove(&raw const self.1);
            }
        }

        let handles = self.journal.lent();
        let end = End(
            handles,
            Lent {
                task: task::address(),
                handle: self.raw,
                next: ptr::null(),
            },
        );
        {
            let mut list = handles.lock();
            let entry = (&raw const end.1).cast_mut();
            // INVARIANT: It is on the stack, and stays there, as nobody moves `end`, until it is dropped.
            // SAFETY: Nobody else has it yet.
            unsafe { (*entry).next = list.0 };
            list.0 = entry;
        }
        f()
    }

    /// Calls a function of jbd2's that wants the handle to be the one in `journal_info`, and may take it out.
    ///
    /// # Safety
    ///
    /// As for `f`, which must be such a function and nothing else.
    #[inline]
    unsafe fn as_current(
        &self,
        f: impl FnOnce(*mut bindings::handle_t) -> ffi::c_int,
    ) -> ffi::c_int {
        // SAFETY: The handle is live, and only jbd2 runs until it is null again.
        unsafe { set_journal_info(self.as_raw()) };
        let ret = f(self.as_raw());
        // SAFETY: Null is always allowed.
        unsafe { set_journal_info(ptr::null_mut()) };
        ret
    }

    fn as_raw(&self) -> *mut bindings::handle_t {
        self.raw.as_ptr()
    }

    /// A handle that was aborted, or could not be restarted, has no transaction.
    fn check(&self) -> Result {
        // SAFETY: The handle is valid by the type invariant.
        if unsafe { bindings::is_handle_aborted(self.as_raw()) } != 0 {
            return Err(EROFS);
        }
        Ok(())
    }

    /// Number of the transaction; the latest one of the journal after an abort.
    pub(crate) fn tid(&self) -> u32 {
        if self.check().is_err() {
            return self.journal.latest_tid();
        }
        // SAFETY: The handle is valid and has a transaction, which stays while the handle is open.
        let transaction = unsafe { (*self.as_raw()).__bindgen_anon_1.h_transaction };
        // SAFETY: As above; the number does not change.
        unsafe { (*transaction).t_tid }
    }

    /// A change could not be given to the journal: what is in memory must not get to the device.
    fn fail(&self, error: Error) -> Error {
        if self.check().is_ok() {
            self.journal.abort(error);
        }
        error
    }

    /// Changes a block: `f` gets its bytes, under the byte lock. Costs one credit where the transaction has not
    /// changed the block yet.
    ///
    /// # Errors
    ///
    /// `EROFS` after an abort, and `EINVAL` for a block of another device, or one that was read before the journal was
    /// opened: nothing was changed. Other errors abort the journal.
    pub(crate) fn edit<R>(
        &mut self,
        buffer: &BufferHead,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R> {
        self.check()?;
        // SAFETY: The journal is valid; its device does not change.
        if !buffer.is_of(unsafe { (*self.journal.0.as_raw()).j_fs_dev }) {
            return Err(EINVAL);
        }
        // SAFETY: The handle is valid and has a transaction, the buffer is valid.
        to_result(unsafe {
            bindings::jbd2_journal_get_write_access(self.as_raw(), buffer.as_raw())
        })?;

        // SAFETY: The handle has write access.
        let result = unsafe { buffer.with_mut(f) };

        // SAFETY: As above, and access was given.
        to_result(unsafe { bindings::jbd2_journal_dirty_metadata(self.as_raw(), buffer.as_raw()) })
            .map_err(|error| self.fail(error))?;
        Ok(result)
    }

    /// Makes new contents for block `nr`, which this transaction allocated: zeros, then what `f` does with them. What
    /// the device has there is not read. Costs one credit.
    pub(crate) fn create<R>(
        &mut self,
        nr: u64,
        f: impl FnOnce(&BufferHead, &mut [u8]) -> R,
    ) -> Result<(BufferHead, R)> {
        self.check()?;
        let buffer = self.journal.cache().get(nr)?;

        // SAFETY: The buffer is valid.
        unsafe { bindings::lock_buffer(buffer.as_raw()) };
        // SAFETY: The handle is valid and has a transaction, the buffer is valid, and locked as the callee wants.
        let access = to_result(unsafe {
            bindings::jbd2_journal_get_create_access(self.as_raw(), buffer.as_raw())
        });
        let result = access.map(|()| {
            let fill = |bytes: &mut [u8]| {
                bytes.fill(0);
                f(&buffer, bytes)
            };
            // SAFETY: The handle has create access.
            let result = unsafe { buffer.with_mut(fill) };

            // SAFETY: The buffer is valid, and its bytes are now the true ones.
            unsafe { bindings::set_buffer_uptodate(buffer.as_raw()) };
            result
        });
        // SAFETY: The buffer was locked above.
        unsafe { bindings::unlock_buffer(buffer.as_raw()) };
        let result = result?;

        // SAFETY: As above, and access was given.
        to_result(unsafe { bindings::jbd2_journal_dirty_metadata(self.as_raw(), buffer.as_raw()) })
            .map_err(|error| self.fail(error))?;
        Ok((buffer, result))
    }

    /// Block `nr` is freed in this transaction: its changes need not get to the device, and replay must not write it.
    /// Costs one revoke credit.
    pub(crate) fn revoke(&mut self, nr: u64) -> Result {
        self.check()?;
        let buffer = self.journal.cache().cached(nr);
        let mut raw = ptr::null_mut();
        if let Some(buffer) = &buffer {
            buffer.set_tag(0);
            raw = buffer.as_raw();
        }
        // SAFETY: The handle is valid and has a transaction; the buffer is valid or null.
        let result = to_result(unsafe { bindings::jbd2_journal_revoke(self.as_raw(), nr, raw) });
        // The callee takes over the reference, unless it refuses, as for a block that is revoked already.
        if !matches!(result, Err(error) if error == EIO || error == EINVAL) {
            buffer.map(BufferHead::into_raw);
        }
        result.map_err(|error| self.fail(error))
    }

    /// Blocks that can still be changed.
    pub(crate) fn credits(&self) -> u32 {
        if self.check().is_err() {
            return 0;
        }
        // SAFETY: The handle is valid and has a transaction.
        u32::try_from(unsafe { bindings::jbd2_handle_buffer_credits(self.as_raw()) }).unwrap_or(0)
    }

    /// Blocks that can still be revoked.
    pub(crate) fn revoke_credits(&self) -> u32 {
        // SAFETY: The handle is valid.
        u32::try_from(unsafe { (*self.as_raw()).h_revoke_credits }).unwrap_or(0)
    }

    /// Asks for `credits` and `revokes` more, without waiting. `false` where the transaction has no room.
    pub(crate) fn extend(&mut self, credits: u32, revokes: u32) -> Result<bool> {
        self.check()?;
        let Some((credits, revokes)) = self.journal.amounts(credits, revokes) else {
            return Ok(false);
        };
        // SAFETY: The handle is valid and has a transaction.
        match unsafe { bindings::jbd2_journal_extend(self.as_raw(), credits, revokes) } {
            0 => Ok(true),
            error if error < 0 => Err(Error::from_errno(error)),
            _ => Ok(false),
        }
    }

    /// Ends this handle's part in its transaction and goes on in a new one with `credits` and `revokes`. Waits for
    /// the old one's other handles: nothing may be held that one of them might wait for.
    pub(crate) fn restart(&mut self, credits: u32, revokes: u32) -> Result {
        self.check()?;
        if self.borrowed {
            // Who has lent it counts on what was changed before.
            return Err(ENOSPC);
        }
        let (credits, revokes) = self.journal.amounts(credits, revokes).ok_or(ENOSPC)?;
        let restart = |handle| {
            // SAFETY: The handle is valid, has a transaction, and is in `journal_info`.
            unsafe { bindings::jbd2__journal_restart(handle, credits, revokes, bindings::GFP_NOFS) }
        };
        // SAFETY: As said in the closure, which does nothing else.
        to_result(unsafe { self.as_current(restart) })
    }
}

impl<C: Client> Journal<C> {
    /// Whether this task has lent a handle ([`Handle::lend`]), and so is being called back.
    pub(crate) fn has_lent(&self) -> bool {
        self.lent().lock().of_current().is_some()
    }

    /// Gives `f` the handle that this task has lent, if it has. It goes on afterwards, and cannot be restarted.
    pub(crate) fn with_lent<R>(&self, f: impl for<'a> FnOnce(Handle<'a, C>) -> R) -> Option<R> {
        let raw = self.lent().lock().of_current()?;
        // INVARIANT: It is one of this journal, as it was lent here, by this task. It is lent until we return, and `f`
        // can keep nothing of the value.
        Some(f(Handle {
            raw,
            journal: self,
            borrowed: true,
            _task: NotThreadSafe,
        }))
    }
}

impl<C: Client> Drop for Handle<'_, C> {
    fn drop(&mut self) {
        if self.borrowed {
            return;
        }
        // An error means that the journal was aborted, which the next handle will find.
        let stop = |handle| {
            // SAFETY: The handle is valid, was started by this task, is in `journal_info`, and is not used any more.
            unsafe { bindings::jbd2_journal_stop(handle) }
        };
        // SAFETY: As said in the closure, which does nothing else.
        unsafe { self.as_current(stop) };
    }
}
