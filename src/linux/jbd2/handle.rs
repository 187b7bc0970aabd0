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
    task::set_journal_info, //
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
    _task: NotThreadSafe,
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
            _task: NotThreadSafe,
        }
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
        let (credits, revokes) = self.journal.amounts(credits, revokes).ok_or(ENOSPC)?;
        let restart = |handle| {
            // SAFETY: The handle is valid, has a transaction, and is in `journal_info`.
            unsafe { bindings::jbd2__journal_restart(handle, credits, revokes, bindings::GFP_NOFS) }
        };
        // SAFETY: As said in the closure, which does nothing else.
        to_result(unsafe { self.as_current(restart) })
    }
}

impl<C: Client> Drop for Handle<'_, C> {
    fn drop(&mut self) {
        // An error means that the journal was aborted, which the next handle will find.
        let stop = |handle| {
            // SAFETY: The handle is valid, was started by this task, is in `journal_info`, and is not used any more.
            unsafe { bindings::jbd2_journal_stop(handle) }
        };
        // SAFETY: As said in the closure, which does nothing else.
        unsafe { self.as_current(stop) };
    }
}
