// SPDX-License-Identifier: GPL-2.0

//! How inodes are written when the VFS says so.
//!
//! All changes are in a transaction as they are made, but for times that a read or a write changes: those go with the
//! next transaction of the inode. If there is none, the VFS has the inode written after half a minute, as dirty pages
//! are (`dirty_expire_centisecs`), or when it is synchronised.

use crate::change::{self, Live};
use crate::linux::fs::Wait;
use crate::linux::memalloc::NofsScope;
use crate::ops::{durable, Node};
use crate::store::Store;
use kernel::prelude::*;

/// `dirty_inode`: the VFS has changed more than times, or wants times to be written that it kept by itself.
pub(crate) fn dirtied(node: &Node) {
    written(node, change::write_attributes);
}

/// Writes attributes by `write`; an error is reported.
fn written(node: &Node, write: impl FnOnce(&Node) -> Result) {
    let _nofs = NofsScope::enter();
    if let Err(error) = write(node) {
        // Without a journal to write to there is nothing that could be lost.
        let store = &node.data().volume().store;
        if error != EROFS && !store.errors().is_stopped() {
            store.fail(
                error,
                node.ino(),
                fmt!(
                    "inode {}: changed attributes could not be written",
                    node.number()
                ),
            );
        }
    }
}

/// `write_inode`: everything is in the journal already, but for times.
pub(crate) fn write(node: &Node, wait: Wait) -> Result {
    written(node, change::write_times);
    match wait {
        Wait::No => Ok(()),
        Wait::Yes => durable::inode(node),
    }
}
