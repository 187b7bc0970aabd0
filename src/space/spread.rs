// SPDX-License-Identifier: GPL-2.0

//! Which group a new inode begins to look in.
//!
//! Files go where their directory is, so that what is used together lies together. Directories would then
//! pile up in one place, and with them all files: those in the root directory are each put somewhere else, as
//! they are likely to have nothing to do with each other; others stay near their parent as long as there is
//! room for what will be in them (the idea is Orlov's, for the BSD file system). The unit is the flex group,
//! whose inode tables lie side by side.
//!
//! All is decided by looking at counters without a lock: a hint, not a promise.

use super::groups::GroupInfo;
use super::Space;
use crate::disk::{Group, Ino};
use crate::store::Store;
use kernel::sync::atomic::Relaxed;

/// What a flex group has.
#[derive(Clone, Copy, Default)]
struct FlexRoom {
    inodes: u64,
    blocks: u64,
    dirs: u64,
}

impl FlexRoom {
    fn add(self, info: &GroupInfo) -> Self {
        Self {
            inodes: self
                .inodes
                .saturating_add(info.free_inodes.load(Relaxed).into()),
            blocks: self.blocks.saturating_add(info.free().into()),
            dirs: self.dirs.saturating_add(info.dirs.load(Relaxed).into()),
        }
    }
}

impl<S: Store> Space<S> {
    /// The group to begin in for a new inode in directory `parent`.
    pub(super) fn inode_group(&self, parent: Ino, is_dir: bool) -> Group {
        let home = self
            .layout
            .inode_slot(parent)
            .map_or(Group::new(0), |slot| slot.group);
        if !is_dir {
            return home;
        }
        let last = Group::new(self.groups.count().saturating_sub(1));
        let flexes = self.layout.flex_group_of(last).saturating_add(1);
        let counts = self.counts();
        let share = |n: u64| n.checked_div(flexes.into()).unwrap_or(0);
        let average = FlexRoom {
            inodes: share(counts.free_inodes),
            blocks: share(counts.free_blocks),
            dirs: share(counts.dirs),
        };
        let flex = if parent == Ino::ROOT {
            self.spread_flex(flexes, average)
        } else {
            self.near_flex(self.layout.flex_group_of(home), flexes, average)
        };
        // Within a flex group the first group with inodes will do.
        flex.map_or(home, |flex| {
            Group::new(flex.saturating_mul(self.flex_groups()))
        })
    }

    /// Room of flex group number `flex`.
    fn flex_room(&self, flex: u32) -> FlexRoom {
        let first = flex.saturating_mul(self.flex_groups());
        (first..first.saturating_add(self.flex_groups()))
            .map_while(|nr| self.groups.get(Group::new(nr)))
            .fold(FlexRoom::default(), FlexRoom::add)
    }

    /// For a directory in the root: from a place that moves on with each, the flex group with the fewest
    /// directories among those with hardly less room than the average.
    fn spread_flex(&self, flexes: u32, average: FlexRoom) -> Option<u32> {
        // A step that is odd and large visits everything, far apart.
        let turn = self.spread.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b1);
        let start = ((u64::from(turn) * u64::from(flexes)) >> 32) as u32;
        let least = |average: u64| average.saturating_sub(average >> 2);
        let (inodes, blocks) = (least(average.inodes), least(average.blocks));
        let mut best: Option<(u64, u32)> = None;
        for flex in (start..flexes).chain(0..start) {
            let room = self.flex_room(flex);
            if room.inodes == 0 || room.inodes < inodes || room.blocks < blocks {
                continue;
            }
            if best.is_none_or(|(dirs, _)| room.dirs < dirs) {
                best = Some((room.dirs, flex));
            }
        }
        best.map(|(_, flex)| flex)
    }

    /// For other directories: the parent's flex group or the next one that has some room left and not much
    /// more directories than the others.
    fn near_flex(&self, home: u32, flexes: u32, average: FlexRoom) -> Option<u32> {
        let per_flex =
            u64::from(self.layout.inodes_per_group()).saturating_mul(self.flex_groups().into());
        let most_dirs = average.dirs.saturating_add(per_flex >> 4);
        let least_inodes = average.inodes >> 2;
        let least_blocks = average.blocks >> 2;
        let good = |flex: &u32| {
            let room = self.flex_room(*flex);
            room.inodes > 0
                && room.inodes >= least_inodes
                && room.blocks >= least_blocks
                && room.dirs <= most_dirs
        };
        (home..flexes).chain(0..home).find(good)
    }
}
