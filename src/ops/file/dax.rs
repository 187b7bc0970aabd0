// SPDX-License-Identifier: GPL-2.0

//! Reads of files whose blocks are memory, and writes to them. How blocks are found, for faults as well, is in
//! [`Memory`]; what decides about them is in [`dax`](mod@crate::change::dax).
//!
//! # Locks
//!
//! `i_rwsem`, shared by a read and exclusively by a write. Below it, as everywhere: a journal handle, then the map
//! lock.

use super::checks::{self, prepare, Need};
use super::iomap_ops::Memory;
use crate::change::dax::extend;
use crate::change::Live;
use crate::linux::file::{Answer, IterDest, IterSource, Kiocb};
use crate::linux::iomap::dax;
use crate::linux::lock::Held;
use crate::linux::memalloc::NofsScope;
use crate::ops::Fs;
use crate::store::Store;
use kernel::error::{code::*, Result};

/// Reads.
pub(crate) fn read<'a>(mut iocb: Kiocb<'a, Fs>, to: &mut IterDest<'_>) -> Answer<'a> {
    let node = iocb.inode();
    let file = iocb.file();
    let Some(lock) = Held::shared(node, !iocb.is_nowait()) else {
        return iocb.done(Err(EAGAIN));
    };
    let read = dax::read::<Memory>(&mut iocb, to, &lock);
    drop(lock);
    file.accessed();
    iocb.done(read)
}

/// Writes, once.
fn write_once(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result<usize> {
    let node = iocb.inode();
    let (lock, count) = prepare(iocb, from, Need::Exclusive)?;
    if count == 0 {
        return Ok(0);
    }
    let Held::Exclusive(lock) = lock else {
        let store = &node.data().volume().store;
        return Err(store.bug(
            node.ino(),
            "a write that asked for the inode lock alone shares it",
        ));
    };
    let (pos, size) = (iocb.pos() as u64, node.size());
    let end = pos.saturating_add(count as u64);
    if end > size && iocb.is_nowait() {
        return Err(EAGAIN);
    }
    let written = dax::write::<Memory>(iocb, from, &lock);
    if end > size {
        let _nofs = NofsScope::enter();
        let done = written.as_ref().map_or(0, |done| *done as u64);
        extend(node, size, &(pos..pos.saturating_add(done)))?;
    }
    written
}

/// Writes, as [`checks::write`].
pub(crate) fn write(iocb: &mut Kiocb<'_, Fs>, from: &mut IterSource<'_>) -> Result<usize> {
    checks::write(iocb, from, write_once)
}
