// SPDX-License-Identifier: GPL-2.0

//! Handles: how a task takes part in the running transaction, and changes blocks in it.

use super::super::bindings;
use super::super::buffer::BufferHead;
use super::{Client, Journal};
use core::ptr::NonNull;
use kernel::error::{code::*, to_result, Error, Result};
use kernel::types::NotThreadSafe;

/// An open handle: part of the running transaction. Dropping it stops it.
///
/// # Invariants
///
/// `raw` is a handle of `journal`, started by this task.
pub struct Handle<'a, C: Client> {
    pub(super) raw: NonNull<bindings::handle_t>,
    pub(super) journal: &'a Journal<C>,
    pub(super) _task: NotThreadSafe,
}

impl<C: Client> Handle<'_, C> {
    fn as_ptr(&self) -> *mut bindings::handle_t {
        self.raw.as_ptr()
    }

    /// A handle that was aborted, or could not be restarted, has no transaction.
    fn check(&self) -> Result {
        // SAFETY: The handle is valid by the type invariant.
        if unsafe { bindings::is_handle_aborted(self.as_ptr()) } != 0 {
            return Err(EROFS);
        }
        Ok(())
    }

    /// Number of the transaction; the latest one of the journal after an abort.
    pub fn tid(&self) -> u32 {
        if self.check().is_err() {
            return self.journal.latest_tid();
        }
        // SAFETY: The handle is valid and has a transaction, which stays while the handle is open.
        unsafe {
            let anonymous = &raw const (*self.as_ptr()).__bindgen_anon_1;
            let transaction = (*anonymous).h_transaction;

            (*transaction).t_tid
        }
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
    /// `EROFS` after an abort, and nothing was changed. Other errors abort the journal.
    pub fn edit<R>(&mut self, buffer: &BufferHead, f: impl FnOnce(&mut [u8]) -> R) -> Result<R> {
        self.check()?;
        // SAFETY: The handle is valid and has a transaction, the buffer is valid.
        to_result(unsafe {
            bindings::jbd2_journal_get_write_access(self.as_ptr(), buffer.as_raw())
        })?;

        // SAFETY: The handle has write access.
        let result = unsafe { buffer.with_mut(f) };

        // SAFETY: As above, and access was given.
        to_result(unsafe { bindings::jbd2_journal_dirty_metadata(self.as_ptr(), buffer.as_raw()) })
            .map_err(|error| self.fail(error))?;
        Ok(result)
    }

    /// Makes new contents for block `nr`, which this transaction allocated: zeros, then what `f` does with them. What
    /// the device has there is not read. Costs one credit.
    pub fn create<R>(
        &mut self,
        nr: u64,
        f: impl FnOnce(&BufferHead, &mut [u8]) -> R,
    ) -> Result<(BufferHead, R)> {
        self.check()?;
        let buffer = self.journal.0.cache.get(nr)?;

        // SAFETY: The handle is valid and has a transaction, the buffer is valid, and locked as the callee wants.
        let access = unsafe {
            bindings::lock_buffer(buffer.as_raw());
            to_result(bindings::jbd2_journal_get_create_access(
                self.as_ptr(),
                buffer.as_raw(),
            ))
        };
        let result = access.map(|()| {
            // SAFETY: The handle has create access.
            let result = unsafe {
                buffer.with_mut(|bytes| {
                    bytes.fill(0);
                    f(&buffer, bytes)
                })
            };

            // SAFETY: The buffer is valid, and its bytes are now the true ones.
            unsafe { bindings::set_buffer_uptodate(buffer.as_raw()) };
            result
        });
        // SAFETY: The buffer was locked above.
        unsafe { bindings::unlock_buffer(buffer.as_raw()) };
        let result = result?;

        // SAFETY: As above, and access was given.
        to_result(unsafe { bindings::jbd2_journal_dirty_metadata(self.as_ptr(), buffer.as_raw()) })
            .map_err(|error| self.fail(error))?;
        Ok((buffer, result))
    }

    /// Block `nr` is freed in this transaction: its changes need not get to the device, and replay must not write it.
    /// Costs one revoke credit.
    pub fn revoke(&mut self, nr: u64) -> Result {
        self.check()?;
        let buffer = self.journal.0.cache.cached(nr);
        let mut raw = core::ptr::null_mut();
        if let Some(buffer) = &buffer {
            buffer.set_tag(0);
            raw = buffer.as_raw();
        }
        // SAFETY: The handle is valid and has a transaction; the buffer is valid or null.
        let result = to_result(unsafe { bindings::jbd2_journal_revoke(self.as_ptr(), nr, raw) });
        // The callee takes over the reference, unless it refuses, as for a block that is revoked already.
        if !matches!(result, Err(error) if error == EIO || error == EINVAL) {
            buffer.map(BufferHead::into_raw);
        }
        result.map_err(|error| self.fail(error))
    }

    /// Blocks that can still be changed.
    pub fn credits(&self) -> u32 {
        if self.check().is_err() {
            return 0;
        }
        // SAFETY: The handle is valid and has a transaction.
        u32::try_from(unsafe { bindings::jbd2_handle_buffer_credits(self.as_ptr()) }).unwrap_or(0)
    }

    /// Blocks that can still be revoked.
    pub fn revoke_credits(&self) -> u32 {
        // SAFETY: The handle is valid.
        u32::try_from(unsafe { (*self.as_ptr()).h_revoke_credits }).unwrap_or(0)
    }

    /// Asks for `credits` and `revokes` more, without waiting. `false` where the transaction has no room.
    pub fn extend(&mut self, credits: u32, revokes: u32) -> Result<bool> {
        self.check()?;
        let (Ok(credits), Ok(revokes)) = (i32::try_from(credits), i32::try_from(revokes)) else {
            return Ok(false);
        };
        // SAFETY: The handle is valid and has a transaction.
        match unsafe { bindings::jbd2_journal_extend(self.as_ptr(), credits, revokes) } {
            0 => Ok(true),
            error if error < 0 => Err(Error::from_errno(error)),
            _ => Ok(false),
        }
    }

    /// Ends this handle's part in its transaction and goes on in a new one with `credits` and `revokes`. Waits for
    /// the old one's other handles: nothing may be held that one of them might wait for.
    pub fn restart(&mut self, credits: u32, revokes: u32) -> Result {
        self.check()?;
        let (Ok(credits), Ok(revokes)) = (i32::try_from(credits), i32::try_from(revokes)) else {
            return Err(ENOSPC);
        };
        // SAFETY: The handle is valid and has a transaction.
        to_result(unsafe {
            bindings::jbd2__journal_restart(self.as_ptr(), credits, revokes, bindings::GFP_NOFS)
        })
    }
}

impl<C: Client> Drop for Handle<'_, C> {
    fn drop(&mut self) {
        // An error means that the journal was aborted, which the next handle will find.
        // SAFETY: The handle is valid, was started by this task, and is not used any more.
        unsafe { bindings::jbd2_journal_stop(self.as_ptr()) };
    }
}
