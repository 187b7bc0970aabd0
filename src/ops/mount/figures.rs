// SPDX-License-Identifier: GPL-2.0

//! What debugfs has of each mount, in `iomapfs/DEVICE`: one number in each file, and a table of the groups.
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
//! | `groups` | a line for each group |
//!
//! A line of `groups` has the blocks that can be chosen, free inodes, and directories. Where the bitmap of blocks is in
//! memory there follow how many free runs that is, the longest, and how many there are of each length, by powers of
//! two; else `-`, or `bad` where it cannot be trusted.
//!
//! # Locks
//!
//! The index locks of the groups, one after the other; the list of inodes, where a map lock is only tried.

use crate::linux::debugfs::Figure;
use crate::ops::{Fs, SuperBlock, Volume};
use crate::space::{FreeBlocks, GroupState, RUN_CLASSES};
use core::ops::ControlFlow;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use kernel::sync::atomic::Relaxed;

/// See the top of the file.
pub(super) const FIGURES: [Figure<Fs>; 8] = [
    Figure::new(c"free", |sb, to| print(to, blocks(sb).free)),
    Figure::new(c"reserved", |sb, to| print(to, blocks(sb).reserved)),
    Figure::new(c"chosen", |sb, to| print(to, blocks(sb).chosen)),
    Figure::new(c"pending", |sb, to| print(to, blocks(sb).pending)),
    Figure::new(c"windows", |sb, to| print(to, windows(sb).0)),
    Figure::new(c"window_blocks", |sb, to| print(to, windows(sb).1)),
    Figure::new(c"retries", |sb, to| {
        print(to, sb.data().retries.load(Relaxed));
    }),
    Figure::new(c"groups", |sb, to| {
        print_groups(&sb.data().mounted.volume, to)
    }),
];

/// The table of the groups.
fn print_groups(volume: &Volume, to: &SeqFile) {
    seq_print!(to, "group free inodes dirs runs longest [");
    for class in 0..RUN_CLASSES {
        seq_print!(to, " 2^{class}");
    }
    seq_print!(to, " ]\n");
    for group in volume.layout.all_groups() {
        let Some(state) = volume.space.group_state(group) else {
            continue;
        };
        let GroupState {
            free,
            free_inodes,
            dirs,
            ..
        } = state;
        seq_print!(to, "{} {free} {free_inodes} {dirs}", group.get());
        match state.runs {
            _ if state.is_bad => seq_print!(to, " bad\n"),
            None => seq_print!(to, " -\n"),
            Some((classes, longest)) => {
                let runs = classes.iter().fold(0_u32, |sum, n| sum.saturating_add(*n));
                seq_print!(to, " {runs} {longest} [");
                for count in classes {
                    seq_print!(to, " {count}");
                }
                seq_print!(to, " ]\n");
            }
        }
    }
}

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
