// SPDX-License-Identifier: GPL-2.0

//! What is done where there is no space: what is to be had is made free, and the caller tries again, once.
//!
//! Free and not to be had are blocks that were chosen ahead for files, blocks that were freed in a transaction that has
//! not committed, and blocks that are reserved for more than what is written will need.
//!
//! # Locks
//!
//! The caller holds no map lock, no handle and no locked folio.

use super::trace::{self, Retry};
use super::{Node, SuperBlock};
use crate::linux::time::monotonic;
use core::ops::ControlFlow;
use kernel::error::{code::*, Result};
use kernel::sync::atomic::Relaxed;

/// What is made free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Blocks that were chosen ahead for files, and those that were freed and wait for a commit.
    Blocks,
    /// Before that, all data is written back, for which more is reserved than it needs.
    All,
}

/// Does something for the file or directory `node` that may need space. Where there is none, makes some and does it
/// again.
///
/// # Errors
///
/// Those of `f`, and of [`make_space`].
pub(crate) fn with_space<R>(
    node: &Node,
    effort: Effort,
    mut f: impl FnMut() -> Result<R>,
) -> Result<R> {
    match f() {
        Err(error) if error == ENOSPC => {
            make_space(node, effort)?;
            f()
        }
        result => result,
    }
}

/// Makes space, for the sake of the file or directory `node`.
///
/// # Errors
///
/// `EROFS` where nothing can be committed any more.
pub(crate) fn make_space(node: &Node, effort: Effort) -> Result {
    node.super_block().data().retries.fetch_add(1, Relaxed);
    if !Retry::is_on() {
        return free_what_can_be(node.super_block(), effort);
    }
    let began = monotonic();
    let result = free_what_can_be(node.super_block(), effort);
    let duration = trace::since(began);
    let (dev, ino) = trace::file::who(node);
    let kind = match effort {
        Effort::Blocks => trace::IOMAPFS_RETRY_BLOCKS,
        Effort::All => trace::IOMAPFS_RETRY_ALL,
    };
    let free = node.data().volume().space.counts().free_blocks;
    Retry::tell(dev, ino, kind, free, trace::ret(&result), duration);
    result
}

fn free_what_can_be(sb: &SuperBlock, effort: Effort) -> Result {
    if effort == Effort::All {
        sb.try_to_write_back();
    }
    let mounted = &sb.data().mounted;
    let volume = &mounted.volume;
    // Fewer blocks may be reserved by now.
    volume.refresh_reserve();
    sb.for_each_inode_data(|data| {
        // But not those of files that somebody is at work on.
        if let Some(mut core) = data.try_map_lock() {
            core.map.release_window(volume);
        }
        ControlFlow::Continue(())
    });
    if volume.space.pending_free() > 0 {
        mounted.reclaim_freed()?;
    }
    Ok(())
}
