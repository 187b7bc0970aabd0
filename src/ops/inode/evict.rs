// SPDX-License-Identifier: GPL-2.0

//! The end of an inode: it leaves memory, and the disk too if it has no links.

use crate::change::{free, Live};
use crate::linux::memalloc::NofsScope;
use crate::linux::printk;
use crate::ops::Node;
use crate::store::Store;
use kernel::prelude::*;

/// `evict_inode`: the inode leaves memory. If it has no links, it is freed with all that it has.
pub(crate) fn evict(node: &Node) {
    let volume = node.data().volume();
    let gone = node.links() == 0 && volume.store.check_writable().is_ok();
    let result = if gone {
        let _writing = node.super_block().internal_write();
        let _nofs = NofsScope::enter();
        free::free(node, printk::unix_time() as u32)
    } else {
        Ok(())
    };
    // The page cache is empty: what it has in memory only is given back.
    node.map_lock().map.evict(volume);
    if let Err(error) = result {
        volume.store.fail(
            error,
            node.ino(),
            fmt!(
                "inode {}: the inode is deleted, but not freed",
                node.number()
            ),
        );
    }
}
