// SPDX-License-Identifier: GPL-2.0

//! Making a file durable.
//!
//! The data is written back first, which maps what was not mapped yet: by the time that writeback has ended, the
//! changes that show the data are in a transaction, whose number the inode keeps. Then that transaction is
//! committed. Where nothing of the file is uncommitted, only the device's cache has to be flushed.

use super::Fs;
use crate::linux::file::File;
use kernel::error::Result;

/// `fsync(2)`, and `fdatasync(2)` if `data_only`: no handle is open, no lock held.
pub(super) fn fsync(file: File<'_, Fs>, start: i64, end: i64, data_only: bool) -> Result {
    let node = file.inode();
    file.write_and_wait(start, end)?;
    let tid = if data_only {
        node.data().data_tid()
    } else {
        node.data().sync_tid()
    };
    let committed = node.super_block().data().mounted.commit(tid);
    // An error of writeback that came meanwhile.
    let noted = file.check_writeback_error();
    committed.and(noted)
}
