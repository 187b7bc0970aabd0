// SPDX-License-Identifier: GPL-2.0

//! What the blocks of the device are for: each block once, and the free ones as they are counted.

mod space_common;

use iomapfs_core::disk::{Group, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::space::{Claim, Goal, Purpose, Share, Usage, RUN_CLASSES};
use kernel::error::code::*;
use kernel::host::fail_allocation;
use space_common::*;
use std::ops::Range;

/// All that is told.
fn usage(vol: &Vol, blocks: Range<u64>) -> Vec<Usage> {
    let mut told = Vec::new();
    let blocks = PhysBlock::new(blocks.start)..PhysBlock::new(blocks.end);
    vol.space
        .usage(&vol.store, blocks, |piece| {
            told.push(piece);
            Ok(true)
        })
        .unwrap();
    told
}

/// The blocks for something.
fn count(told: &[Usage], purpose: Purpose) -> u64 {
    let pieces = told.iter().filter(|piece| piece.purpose == purpose);
    pieces.map(|piece| piece.len).sum()
}

/// A block that is told twice or not at all, a kind that is not counted right, two pieces where one will do.
#[test]
fn each_block_once() {
    for (name, mkfs) in kinds() {
        let image = mkfs.make();
        let vol = mount(&image);
        let told = usage(&vol, 0..u64::MAX);
        assert_eq!(told[0].start.get(), 0, "{name}");
        for pair in told.windows(2) {
            assert_eq!(pair[0].end(), pair[1].start, "{name}: {pair:?}");
            assert_ne!(pair[0].purpose, pair[1].purpose, "{name}: {pair:?}");
        }
        let layout = &vol.layout;
        assert_eq!(
            told.last().unwrap().end().get(),
            layout.blocks_count(),
            "{name}"
        );
        let groups = u64::from(layout.groups());
        let supers = layout.all_groups().filter(|g| layout.has_super(*g)).count() as u64;
        assert_eq!(
            count(&told, Purpose::Free),
            vol.space.counts().free_blocks_on_disk,
            "{name}"
        );
        assert_eq!(count(&told, Purpose::BlockBitmap), groups, "{name}");
        assert_eq!(count(&told, Purpose::InodeBitmap), groups, "{name}");
        assert_eq!(count(&told, Purpose::SuperBlock), supers, "{name}");
        let table = u64::from(layout.inode_table_blocks());
        assert_eq!(count(&told, Purpose::Inodes), groups * table, "{name}");
        let descriptors = u64::from(layout.gdt_blocks());
        assert_eq!(
            count(&told, Purpose::Descriptors),
            supers * descriptors,
            "{name}"
        );
    }
}

/// A part that is told otherwise than in the whole.
#[test]
fn parts() {
    let image = Mkfs::new(8 << 20, 1024).arg("-g").arg("1024").make();
    let vol = mount(&image);
    let whole = usage(&vol, 0..u64::MAX);
    let of = |block: u64| {
        let found = whole.iter().find(|piece| piece.end().get() > block);
        found.unwrap().purpose
    };
    for start in (0..8192).step_by(97) {
        for end in [start + 1, start + 2, start + 50, start + 1500] {
            let told = usage(&vol, start..end);
            let end = end.min(8192);
            assert!(told[0].start.get() <= start && told.last().unwrap().end().get() >= end);
            for piece in &told {
                for block in piece.start.get()..piece.end().get() {
                    assert_eq!(piece.purpose, of(block), "block {block} of {start}..{end}");
                }
                if matches!(piece.purpose, Purpose::Free | Purpose::Unknown) {
                    assert!(piece.start.get() >= start && piece.end().get() <= end);
                }
            }
        }
    }
}

/// What is chosen is not free any more, somebody who has enough is told no more, and errors come out.
#[test]
fn while_something_changes() {
    let image = Mkfs::new(8 << 20, 1024).make();
    let vol = mount(&image);
    let before = count(&usage(&vol, 0..u64::MAX), Purpose::Free);
    let goal = Goal::in_group(Group::new(0));
    let run = vol
        .space
        .choose(&vol.store, goal, 10, Claim::Free(Share::Common))
        .unwrap();
    let after = count(&usage(&vol, 0..u64::MAX), Purpose::Free);
    assert_eq!(after + u64::from(run.len), before);

    let all = || PhysBlock::new(0)..PhysBlock::new(u64::MAX);
    let mut calls = 0;
    let enough = vol.space.usage(&vol.store, all(), |_| {
        calls += 1;
        Ok(calls < 3)
    });
    assert_eq!((enough, calls), (Ok(()), 3));
    assert_eq!(
        vol.space.usage(&vol.store, all(), |_| Err(EINTR)),
        Err(EINTR)
    );
    fail_allocation(Some(0));
    assert_eq!(
        vol.space.usage(&vol.store, all(), |_| Ok(true)),
        Err(ENOMEM)
    );
    fail_allocation(None);
}

/// A run that is counted twice, in the wrong class or not at all, or a group that is told of before its bitmap is read.
#[test]
fn runs_of_a_group() {
    let image = Mkfs::new(8 << 20, 1024).make();
    let vol = mount(&image);
    let group = Group::new(0);
    let state = || vol.space.group_state(group).unwrap();
    assert_eq!(state().runs, None);
    let told = usage(&vol, 0..u64::MAX);
    let free: Vec<u64> = told
        .iter()
        .filter(|piece| piece.purpose == Purpose::Free)
        .map(|piece| piece.len)
        .collect();
    let mut classes = [0; RUN_CLASSES];
    for len in &free {
        classes[len.ilog2() as usize] += 1;
    }
    let longest = *free.iter().max().unwrap() as u32;
    assert_eq!(state().runs, Some((classes, longest)));
    assert_eq!(u64::from(state().free), free.iter().sum());
    assert_eq!((state().dirs, state().is_bad), (2, false));
    // From the middle of the longest, which is two after that.
    let run = told.iter().max_by_key(|piece| match piece.purpose {
        Purpose::Free => piece.len,
        _ => 0,
    });
    let middle = run.unwrap().start.get() + u64::from(longest) / 2;
    let goal = Goal {
        near: Some(PhysBlock::new(middle)),
        ..Goal::in_group(group)
    };
    let claim = Claim::Free(Share::Common);
    let run = vol.space.choose(&vol.store, goal, 1, claim).unwrap();
    assert_eq!(run.start.get(), middle);
    let (after, longest_now) = state().runs.unwrap();
    assert_eq!(after.iter().sum::<u32>(), free.len() as u32 + 1);
    assert!(longest_now < longest && longest_now >= longest / 2 - 1);
    assert_eq!(vol.space.group_state(Group::new(1)), None);
}
