// SPDX-License-Identifier: GPL-2.0

//! How inodes are written when the VFS says so.

use crate::change::{self, Live};
use crate::linux::fs::Wait;
use crate::linux::memalloc::NofsScope;
use crate::ops::{durable, Node};
use crate::store::Store;
use kernel::prelude::*;

/// `dirty_inode`: the VFS has changed a time, or links of a file without a name.
pub(crate) fn dirtied(node: &Node) {
    let _nofs = NofsScope::enter();
    if let Err(error) = change::write_attributes(node) {
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

/// `write_inode`: everything is in the journal already.
pub(crate) fn write(node: &Node, wait: Wait) -> Result {
    match wait {
        Wait::No => Ok(()),
        Wait::Yes => durable::inode(node),
    }
}
