// SPDX-License-Identifier: GPL-2.0

//! Writes through the page cache.
//!
//! # Locks
//!
//! `i_rwsem` exclusively. Whoever may change the size while it is not the only one does so under the map lock
//! ([`super::complete`]); a buffered write that extends the file waits for direct I/O first, so that it does not set
//! the size back.

use super::checks::{self, prepare, Need};
use super::iomap_ops::Buffered;
use crate::change::Live;
use crate::linux::file::{IterSource, Kiocb};
use crate::linux::iomap::buffered;
use crate::linux::lock::Held;
use crate::ops::Fs;
use crate::store::Store;
use kernel::error::{code::*, Result};

/// Writes through the page cache, once.
fn write_once(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result<usize> {
    let node = iocb.inode();
    let mut need = Need::Exclusive;
    loop {
        let (lock, count) = prepare(iocb, from, need)?;
        let Held::Exclusive(lock) = lock else {
            let store = &node.data().volume().store;
            return Err(store.bug(
                node.ino(),
                "a write that asked for the inode lock alone shares it",
            ));
        };
        if count == 0 {
            return Ok(0);
        }
        let end = (iocb.pos() as u64).saturating_add(count as u64);
        if end > node.size() && node.dio_in_flight() {
            if iocb.is_nowait() {
                return Err(EAGAIN);
            }
            // The end may move, and with it the place of an append: it is checked again, without giving the lock up
            // after the wait. There may always be others who want it.
            need = Need::Alone;
            continue;
        }
        return buffered::write::<Buffered>(iocb, from, &lock);
    }
}

/// Writes through the page cache, as [`checks::write`].
pub(crate) fn write(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result<usize> {
    checks::write(iocb, from, write_once)
}
