// SPDX-License-Identifier: GPL-2.0

//! What there is in each group, for those who study how space is given out.
//!
//! # Locks
//!
//! The index lock of a group, while its free runs are counted.

use super::Space;
use crate::disk::Group;
use crate::store::Store;
use kernel::sync::atomic::Relaxed;

/// By how many lengths free runs are told apart: the last has those of 2^15 blocks and more.
pub const RUN_CLASSES: usize = LAST_CLASS + 1;
const LAST_CLASS: usize = 15;

/// What there is in a group, as memory has it. Not exact while it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Blocks that can be chosen.
    pub free: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Directories.
    pub dirs: u32,
    /// Its free runs, by the logarithm of their length to the base of two, and the longest; `None` where its bitmap has
    /// not been read, or was given up again.
    pub runs: Option<([u32; RUN_CLASSES], u32)>,
    /// Its bitmap of blocks cannot be trusted, and nothing is given out there.
    pub is_bad: bool,
}

impl<S: Store> Space<S> {
    /// What there is in `group`. Nothing is read for it. `None` if there is no such group.
    pub fn group_state(&self, group: Group) -> Option<GroupState> {
        self.groups.with_index(group, |info, index| {
            let runs = index.as_ref().map(|index| {
                let (mut classes, mut longest) = ([0_u32; RUN_CLASSES], 0);
                for run in index.runs() {
                    let class = run.len.checked_ilog2().unwrap_or(0) as usize;
                    if let Some(count) = classes.get_mut(class.min(LAST_CLASS)) {
                        *count = count.saturating_add(1);
                    }
                    longest = run.len.max(longest);
                }
                (classes, longest)
            });
            GroupState {
                free: info.free(),
                free_inodes: info.free_inodes.load(Relaxed),
                dirs: info.dirs.load(Relaxed),
                runs,
                is_bad: info.is_bad(),
            }
        })
    }
}
