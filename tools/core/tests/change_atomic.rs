// SPDX-License-Identifier: GPL-2.0

//! Atomic writes: where they go, and what takes the place of what.

mod change_common;

use change_common::*;
use iomapfs_core::change::atomic::{aside, goes_over, longest_in_place, shortest, show, LONGEST};
use iomapfs_core::change::fallocate::{allocate, punch};
use iomapfs_core::change::publish::publish;
use iomapfs_core::change::sync::Committed;
use iomapfs_core::change::{target, Live};
use iomapfs_core::disk::{LogicalBlock, PhysBlock};
use iomapfs_core::host::{Image, Mkfs, Mounted, Node, Pages};
use iomapfs_core::map::{Mapping, State};
use iomapfs_core::space::{Goal, Share};
use kernel::error::code::*;
use proptest::prelude::*;
use std::ops::Range;

const BLOCK: u64 = 1024;
const BLOCKS: u32 = 700;

fn lookup(node: &Node, at: u32, len: u32) -> Mapping {
    let map = &mut node.map_lock().map;
    map.lookup(node.volume(), LogicalBlock::new(at), len)
        .unwrap()
}

/// Of each block of the file, what it is and where.
fn all(node: &Node) -> Vec<(State, Option<u64>)> {
    let place = |at| {
        let found = lookup(node, at, 1);
        (found.state, found.phys.map(|phys| phys.get()))
    };
    (0..BLOCKS).map(place).collect()
}

/// Writes blocks that take the place of others.
fn replace(node: &Node, blocks: &Range<u32>) -> Mapping {
    let place = (LogicalBlock::new(blocks.start), blocks.len() as u32);
    let end = u64::from(blocks.end) * BLOCK;
    let chosen = aside(node, &mut node.map_lock(), place, end).unwrap();
    assert_eq!(chosen.len as usize, blocks.len());
    let mut written_back = false;
    show(node, &written(node, blocks), |_| {
        written_back = true;
        Ok(())
    })
    .unwrap();
    assert!(written_back);
    chosen
}

fn commit(mounted: &Mounted) {
    let tid = mounted.vol.store.commit().unwrap();
    mounted.vol.space.committed(tid, |_| ());
}

fn end(mounted: &Mounted, image: &Image) {
    commit(mounted);
    assert_eq!(mounted.vol.store.take_reports(), Vec::<String>::new());
    mounted.unmount().unwrap();
    mounted.vol.store.save(image.path()).unwrap();
    image.fsck().unwrap();
}

#[derive(Clone, Debug)]
enum Op {
    Write(u32, u32),
    Comb(u32, u32),
    Punch(u32, u32),
    Allocate(u32, u32),
    Atomic(u32, u32),
    Commit,
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..BLOCKS - 200;
    prop_oneof![
        2 => (at.clone(), 1..20_u32).prop_map(|(at, len)| Op::Write(at, len)),
        2 => (at.clone(), 1..90_u32).prop_map(|(at, len)| Op::Comb(at, len)),
        2 => (at.clone(), 1..20_u32).prop_map(|(at, len)| Op::Punch(at, len)),
        2 => (at.clone(), 1..30_u32).prop_map(|(at, len)| Op::Allocate(at, len)),
        8 => (at, 0..7_u32).prop_map(|(at, bits)| Op::Atomic(at, 1 << bits)),
        1 => Just(Op::Commit),
        1 => Just(Op::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Other blocks than those that are replaced, a part of them, old blocks that stay used or are free too early, a
    /// tree that e2fsck does not like.
    #[test]
    fn replaced(ops in prop::collection::vec(op(), 1..80)) {
        let image = Mkfs::new(16 << 20, 1024).make();
        let mounted = mount(&image);
        let node = file(&mounted, b"file");
        for op in ops {
            let before = all(&node);
            match op {
                Op::Write(at, len) => write(&node, at..at + len, |_, _| ()),
                Op::Comb(at, count) => {
                    for n in 0..count {
                        write(&node, at + 2 * n..at + 2 * n + 1, |_, _| ());
                    }
                }
                Op::Punch(at, len) => {
                    let range = u64::from(at) * BLOCK..u64::from(at + len) * BLOCK;
                    punch(&*node, &mut Pages::new(&node, |_, _, _| ()), range).unwrap();
                }
                Op::Allocate(at, len) => {
                    let range = u64::from(at) * BLOCK..u64::from(at + len) * BLOCK;
                    allocate(&*node, &mut Pages::new(&node, |_, _, _| ()), range, false).unwrap();
                }
                Op::Atomic(at, len) => {
                    let blocks = at / len * len..at / len * len + len;
                    let size = node.size();
                    let chosen = replace(&node, &blocks);
                    let start = chosen.phys.unwrap().get();
                    prop_assert_eq!(start % u64::from(len), 0);
                    let mut want = before;
                    for (n, at) in blocks.clone().enumerate() {
                        want[at as usize] = (State::Written, Some(start + n as u64));
                    }
                    prop_assert_eq!(all(&node), want);
                    prop_assert_eq!(node.size(), size.max(u64::from(blocks.end) * BLOCK));
                    prop_assert_eq!(node.map_lock().disk_size, node.size());
                }
                Op::Commit => commit(&mounted),
                Op::Forget => {
                    node.map_lock().map.shrink(usize::MAX);
                    prop_assert_eq!(all(&node), before);
                }
            }
            prop_assert_eq!(node.map_lock().map.aside(), None);
        }
        // Nothing is promised that nobody wants.
        prop_assert_eq!(node.map_lock().map.reserved().0, 0);
        drop(node);
        end(&mounted, &image);
    }
}

/// A write over data that is not found after a power cut, that the device does in two pieces, or that is longer than it
/// can do at once.
#[test]
fn over_data() {
    let image = Mkfs::new(16 << 20, 1024).make();
    let mounted = mount(&image);
    let vol = &mounted.vol;
    assert_eq!(shortest(vol), 1024);
    assert_eq!(longest_in_place(vol, (0, 0)), 0);
    assert_eq!(longest_in_place(vol, (512, 512)), 0);
    assert_eq!(longest_in_place(vol, (4096, 8192)), 0);
    assert_eq!(longest_in_place(vol, (512, 8192)), 8192);
    assert_eq!(longest_in_place(vol, (512, 1 << 20)), LONGEST);

    let node = file(&mounted, b"file");
    replace(&node, &(0..8));
    let all = || Committed::All;
    let tid = vol.store.running();
    let ends = |at: u32, len: u32| (len, u64::from(at + len) * BLOCK);
    let found = lookup(&node, 0, 8);
    assert!(goes_over(&*node, &found, ends(0, 8), all));
    let before = || Committed::UpTo(tid.wrapping_sub(1));
    assert!(!goes_over(&*node, &found, ends(0, 8), before));
    assert!(goes_over(&*node, &found, ends(0, 8), || Committed::UpTo(
        tid
    )));
    assert!(!goes_over(&*node, &found, ends(0, 8), || {
        Committed::Unknown
    }));
    assert!(goes_over(&*node, &lookup(&node, 4, 4), ends(4, 4), all));
    // It is shorter, or longer than the file.
    assert!(!goes_over(&*node, &lookup(&node, 4, 8), ends(4, 8), all));
    // On the device it begins elsewhere.
    let at = lookup(&node, 1, 2);
    assert_eq!(at.phys.unwrap().get() % 2, 1);
    assert!(!goes_over(&*node, &at, ends(1, 2), all));
    // It has no data.
    let range = 8 * BLOCK..16 * BLOCK;
    allocate(&*node, &mut Pages::new(&node, |_, _, _| ()), range, false).unwrap();
    assert!(!goes_over(&*node, &lookup(&node, 8, 1), ends(8, 1), all));
    drop(node);
    end(&mounted, &image);
}

/// Blocks that stay chosen when a write has failed, or that are shown though they were not all written.
#[test]
fn failed() {
    let image = Mkfs::new(16 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    write(&node, 3..9, |_, _| ());
    let (before, free) = (all(&node), mounted.vol.space.counts().free_blocks);
    let place = (LogicalBlock::new(0), 16);
    let chosen = aside(&*node, &mut node.map_lock(), place, 16 * BLOCK).unwrap();
    // A part of the same write that comes later.
    let rest = (LogicalBlock::new(4), 12);
    let again = aside(&*node, &mut node.map_lock(), rest, 16 * BLOCK).unwrap();
    assert_eq!(again.phys, chosen.phys.unwrap().checked_add(4));
    let part = show(&*node, &written(&node, &(0..15)), |_| {
        panic!("it is not shown")
    });
    assert_eq!(part, Err(EUCLEAN));
    assert_eq!(mounted.vol.store.take_reports().len(), 1);
    let failed = show(&*node, &written(&node, &(0..16)), |_| Err(EIO));
    assert_eq!(failed, Err(EIO));
    node.map_lock().map.drop_aside(&mounted.vol);
    assert_eq!(all(&node), before);
    assert_eq!(mounted.vol.space.counts().free_blocks, free);
    assert_eq!(node.map_lock().map.reserved(), (0, 0));
    // Where there is no such run, there are no blocks.
    let most = free as u32;
    let mut at = 100;
    while mounted.vol.space.counts().free_blocks > 0 && at < 100 + 2 * most {
        let place = (LogicalBlock::new(at), 1);
        let end = u64::from(at + 1) * BLOCK;
        if target::direct(&*node, &mut node.map_lock(), place, end).is_err() {
            break;
        }
        at += 2;
    }
    let full = aside(&*node, &mut node.map_lock(), place, 16 * BLOCK);
    assert_eq!(full.err(), Some(ENOSPC));
    assert_eq!(node.map_lock().map.aside(), None);
    let (from, to) = (LogicalBlock::new(100), LogicalBlock::LIMIT);
    node.map_lock().map.cancel(&mounted.vol, from, to);
    drop(node);
    end(&mounted, &image);
}

/// One block of the new ones fits into the extent in front of them, and all together do not; the root is full.
#[test]
fn behind_the_longest_extent() {
    let image = Mkfs::new(2 << 30, 4096).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    // From the group behind the last one with a copy of the super block on.
    let first = 10 * 32768 + 1024;
    let mut at = 0;
    while at < 32768 {
        let near = Some(PhysBlock::new(first + u64::from(at)));
        let goal = Goal {
            near,
            ..node.goal(false)
        };
        let map = &mut node.map_lock().map;
        let from = LogicalBlock::new(at);
        let chosen = map.choose(node.volume(), from, 32768 - at, goal, Share::Common);
        at = chosen.unwrap().end().get();
    }
    publish(&*node, &mut None, &written(&node, &(0..32768))).unwrap();
    assert_eq!(lookup(&node, 0, u32::MAX).len, 32768);
    for hole in [2, 4, 6] {
        let bytes = hole * 4096..(hole + 1) * 4096;
        punch(&*node, &mut Pages::new(&node, |_, _, _| ()), bytes).unwrap();
    }
    assert_eq!(node.map_lock().map.depth(), 0);
    replace(&node, &(32768..32784));
    assert_eq!(lookup(&node, 32768, u32::MAX).len, 16);
    end(&mounted, &image);
}

/// All that the first leaf has goes, and the next one is full.
#[test]
fn leaf_goes() {
    let image = Mkfs::new(16 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    for n in 0..252 {
        write(&node, 2 * n + 1..2 * n + 2, |_, _| ());
    }
    // The first leaf was split when it was full, and keeps one entry less: so does the second, without this one.
    let mut pages = Pages::new(&node, |_, _, _| ());
    allocate(&*node, &mut pages, 168 * BLOCK..169 * BLOCK, false).unwrap();
    punch(&*node, &mut pages, 64 * BLOCK..167 * BLOCK).unwrap();
    replace(&node, &(0..64));
    assert_eq!(lookup(&node, 0, u32::MAX).len, 64);
    assert_eq!(lookup(&node, 169, u32::MAX).state, State::Written);
    end(&mounted, &image);
}

/// An atomic write that the least journal has no room for, as each block of what it replaces is an extent and in
/// another group: it would find no space on an empty device.
#[test]
fn longest_in_the_least_journal() {
    for groups in ["8192", "256"] {
        let image = Mkfs::new(40 << 20, 1024)
            .arg("-g")
            .arg(groups)
            .features("^resize_inode,^flex_bg")
            .make();
        let mounted = mount(&image);
        let node = file(&mounted, b"file");
        let len = LONGEST / BLOCK as u32;
        let blocks = 1024..1024 + len;
        // A tree of two levels around them.
        for at in (0..4096).step_by(2) {
            write(&node, at..at + 1, |_, _| ());
        }
        for at in (blocks.start..blocks.end).step_by(2) {
            let range = u64::from(at) * BLOCK..u64::from(at + 1) * BLOCK;
            punch(&*node, &mut Pages::new(&node, |_, _, _| ()), range).unwrap();
        }
        let count = mounted.vol.layout.groups();
        for at in blocks.clone() {
            let goal = Goal::in_group(iomapfs_core::disk::Group::new(at * 7 % count));
            let map = &mut node.map_lock().map;
            let chosen = map.choose(&mounted.vol, LogicalBlock::new(at), 1, goal, Share::Common);
            assert_eq!(chosen.unwrap().len, 1);
        }
        publish(&*node, &mut None, &written(&node, &blocks)).unwrap();
        let place = (LogicalBlock::new(blocks.start), len);
        let bytes = u64::from(blocks.end) * BLOCK;
        aside(&*node, &mut node.map_lock(), place, bytes).unwrap();
        let needed = node.map_lock().map.replace_credits(&mounted.vol).unwrap();
        // Of the 256 that are a quarter of a journal of 1 MiB, without what jbd2 needs itself.
        assert!(needed.blocks < 200, "{needed:?}");
        mounted.vol.store.set_max_credits(200);
        show(&*node, &written(&node, &blocks), |_| Ok(())).unwrap();
        assert_eq!(lookup(&node, blocks.start, len).len, len);
        end(&mounted, &image);
    }
}
