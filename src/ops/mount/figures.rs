// SPDX-License-Identifier: GPL-2.0

//! What debugfs has of each mount, in `iomapfs/DEVICE`: one number in each file.
//!
//! | file | what it has |
//! |---|---|
//! | `free` | blocks that nobody uses, has chosen or reserved |
//! | `reserved` | blocks that are reserved for data in the page cache, and for tree nodes |
//! | `chosen` | blocks that are chosen, and free on the device: for data on its way, and ahead |
//! | `pending` | blocks that were freed, and can be chosen after the next commit |
//! | `windows` | files for which blocks are chosen ahead, but for those that somebody is at work on |
//! | `window_blocks` | how many blocks that are |
//! | `retries` | how often space was made for somebody who found none |
//!
//! # Locks
//!
//! The index locks of the groups, one after the other; the list of inodes, where a map lock is only tried.

use crate::linux::debugfs::Figure;
use crate::ops::{Fs, SuperBlock};
use crate::space::FreeBlocks;
use core::ops::ControlFlow;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::Relaxed;

/// See the top of the file.
pub(super) const FIGURES: [Figure<Fs>; 7] = [
    Figure::new(c"free", |sb, to| print(to, blocks(sb).free)),
    Figure::new(c"reserved", |sb, to| print(to, blocks(sb).reserved)),
    Figure::new(c"chosen", |sb, to| print(to, blocks(sb).chosen)),
    Figure::new(c"pending", |sb, to| print(to, blocks(sb).pending)),
    Figure::new(c"windows", |sb, to| print(to, windows(sb).0)),
    Figure::new(c"window_blocks", |sb, to| print(to, windows(sb).1)),
    Figure::new(c"retries", |sb, to| {
        print(to, sb.data().retries.load(Relaxed));
    }),
];

fn print(to: &SeqFile, number: u64) {
    seq_print!(to, "{number}\n");
}

fn blocks(sb: &SuperBlock) -> FreeBlocks {
    sb.data().mounted.volume.space.free_blocks()
}

/// Files with blocks that are chosen ahead, and all these blocks.
fn windows(sb: &SuperBlock) -> (u64, u64) {
    let (mut files, mut blocks) = (0_u64, 0_u64);
    sb.for_each_inode_data(|data| {
        let ahead = data
            .try_map_lock()
            .map_or(0, |core| core.map.chosen_ahead());
        if ahead > 0 {
            files = files.saturating_add(1);
            blocks = blocks.saturating_add(ahead.into());
        }
        ControlFlow::Continue(())
    });
    (files, blocks)
}
