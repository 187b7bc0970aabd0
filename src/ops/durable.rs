// SPDX-License-Identifier: GPL-2.0

//! What is done to make a change durable.
//!
//! The data of a file is written back first, which maps what was not mapped yet: by the time that writeback has ended,
//! the changes that show the data are in a transaction, whose number the inode keeps. Then that transaction is
//! committed. Where nothing of the inode is uncommitted, only the device's cache has to be flushed
//! ([`sync`](mod@crate::change::sync)).
//!
//! # Locks
//!
//! No handle is open in the task, and no map lock held: a commit waits for the handles of others.

use super::{Fs, Node};
use crate::change::{sync, InodePart, Live};
use crate::linux::file::File;
use kernel::error::Result;

/// `fsync(2)`, and `fdatasync(2)` if `data_only`.
pub(crate) fn fsync(file: File<'_, Fs>, start: i64, end: i64, data_only: bool) -> Result {
    let node = file.inode();
    file.write_and_wait(start, end)?;
    node.data().set_stream_start(node.size());
    let committed = commit(
        node,
        match data_only {
            true => InodePart::Data,
            false => InodePart::Attributes,
        },
    );
    // An error of writeback that came meanwhile.
    let noted = file.check_writeback_error();
    committed.and(noted)
}

/// Makes the last change of the inode durable; in a directory, names are data.
pub(crate) fn inode(node: &Node) -> Result {
    commit(node, InodePart::Attributes)
}

/// Makes what was done to the names of a directory durable, where the directory or the mount wants that.
pub(crate) fn names(dir: &Node) -> Result {
    match dir.is_directory_sync() {
        true => inode(dir),
        false => Ok(()),
    }
}

/// Makes a change of attributes durable, where the inode or the mount wants that.
pub(crate) fn attributes(node: &Node) -> Result {
    match node.is_sync() {
        true => inode(node),
        false => Ok(()),
    }
}

fn commit(node: &Node, part: InodePart) -> Result {
    let written = sync::write_rest(node, part);
    let needed = sync::transaction(node, part);
    let committed = node.super_block().data().mounted.commit(needed);
    committed.and(written)
}
