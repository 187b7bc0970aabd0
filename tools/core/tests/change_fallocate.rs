// SPDX-License-Identifier: GPL-2.0

//! `fallocate`: what is promised, what is where afterwards.

mod change_common;

use change_common::*;
use iomapfs_core::change::fallocate::{allocate, collapse, insert, punch, write_zeroes, zero};
use iomapfs_core::change::resize::set_size;
use iomapfs_core::change::target::reserve;
use iomapfs_core::change::Live;
use iomapfs_core::disk::{LogicalBlock, PhysBlock};
use iomapfs_core::host::{Mkfs, Node};
use iomapfs_core::map::State;
use iomapfs_core::space::Share;
use kernel::error::code::*;
use kernel::host::fail_allocation;

const PAGE: u64 = 4096;
const BLOCK: u64 = 1024;

/// All that is no hole: first block, number, state, place on the device.
fn runs(node: &Node) -> Vec<(u32, u32, State, Option<u64>)> {
    let (mut runs, mut at) = (Vec::new(), LogicalBlock::ZERO);
    while at < LogicalBlock::LIMIT {
        let map = &mut node.map_lock().map;
        let found = map.lookup(node.volume(), at, u32::MAX).unwrap();
        if found.state != State::Hole {
            let phys = found.phys.map(|phys| phys.get());
            runs.push((at.get(), found.len, found.state, phys));
        }
        at = found.end();
    }
    runs
}

/// A part that was allocated when the device is full, or space that stays promised.
#[test]
fn space_is_promised_first() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    let free = || mounted.vol.space.counts().free_blocks;
    let before = free();
    let most = (before + 100) * BLOCK;
    for keep_size in [false, true] {
        let done = with_pages(&node, |pages| allocate(&*node, pages, 5..most, keep_size));
        assert_eq!(done, Err(ENOSPC));
        let done = with_pages(&node, |pages| zero(&*node, pages, 5..most, keep_size));
        assert_eq!(done, Err(ENOSPC));
        assert_eq!((runs(&node), free(), node.size()), (vec![], before, 0));
    }
    let range = 5..9000 * BLOCK;
    with_pages(&node, |pages| allocate(&*node, pages, range, false)).unwrap();
    let blocks: u32 = runs(&node).iter().map(|run| run.1).sum();
    assert_eq!(blocks, 9000);
    assert!(runs(&node).iter().all(|run| run.2 == State::Unwritten));
    let spb = mounted.vol.layout.block_size().sectors();
    assert_eq!(free(), before - node.map_lock().map.sectors() / spb);
    assert_eq!(node.size(), 9000 * BLOCK);
    with_pages(&node, |pages| punch(&*node, pages, 0..u64::MAX >> 2)).unwrap();
    assert!(runs(&node).is_empty());
    assert_eq!(node.size(), 9000 * BLOCK);
    let tid = mounted.vol.store.commit().unwrap();
    mounted.vol.space.committed(tid, |_| ());
    assert_eq!(free(), before);
}

/// Blocks behind the end that a recovery would take back, as a truncate before has failed halfway and the inode is an
/// orphan since then.
#[test]
fn after_a_truncate_that_failed() {
    for data in [false, true] {
        let image = Mkfs::new(20 << 20, 1024).make();
        let mounted = mount(&image);
        let node = file(&mounted, b"file");
        for at in (0..400).step_by(2) {
            let range = at * BLOCK..(at + 1) * BLOCK;
            match data {
                true => write(&node, at as u32..at as u32 + 1, |_, _| ()),
                false => {
                    with_pages(&node, |pages| allocate(&*node, pages, range, false)).unwrap();
                }
            }
        }
        mounted.vol.store.fail_to_extend(true);
        let done = with_pages(&node, |pages| set_size(&*node, pages, BLOCK));
        assert_eq!(done, Err(ENOMEM));
        mounted.vol.store.fail_to_extend(false);
        assert!(mounted.orphans.contains(node.ino()) && runs(&node).len() > 1);
        let range = 500 * BLOCK..510 * BLOCK;
        with_pages(&node, |pages| allocate(&*node, pages, range, true)).unwrap();
        assert!(!mounted.orphans.contains(node.ino()));
        let places: Vec<_> = runs(&node).iter().map(|run| (run.0, run.1)).collect();
        assert_eq!(places, [(0, 1), (500, 10)]);
    }
}

/// Zeros that are shown as written, and are none on the device; a device that cannot make any, and a file that shows
/// what it has there.
#[test]
fn written_zeroes() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let node = file(&mounted, b"file");
    write(&node, 0..20, |_, _| ());
    let range = 5 * BLOCK..30 * BLOCK - 7;
    store.fail_to_zero(true);
    let done = with_pages(&node, |pages| write_zeroes(&*node, pages, range.clone()));
    assert_eq!(done, Err(EIO));
    let states = |node: &Node| -> Vec<_> {
        let runs = runs(node).into_iter();
        runs.map(|(at, len, state, _)| (at, len, state)).collect()
    };
    assert_eq!(states(&node)[0], (0, 5, State::Written));
    let rest = &states(&node)[1..];
    assert!(rest.iter().all(|run| run.2 == State::Unwritten));
    assert_eq!(node.size(), range.end);
    store.fail_to_zero(false);
    for (at, len, state, phys) in runs(&node) {
        for nr in phys.unwrap()..phys.unwrap() + u64::from(len) {
            store.write_data(PhysBlock::new(nr), &[at as u8 + 1; 1024]);
        }
        assert_eq!(state == State::Written, at == 0);
    }
    with_pages(&node, |pages| write_zeroes(&*node, pages, range)).unwrap();
    let blocks: u32 = states(&node).iter().map(|run| run.1).sum();
    assert_eq!(blocks, 30);
    for (at, len, state, phys) in runs(&node) {
        assert_eq!(state, State::Written);
        for n in 0..len {
            let bytes = store.read_data(PhysBlock::new(phys.unwrap() + u64::from(n)));
            let wanted = u8::from(at + n < 5);
            assert!(bytes.iter().all(|byte| *byte == wanted), "block {}", at + n);
        }
    }
}

/// Zeros within the file that are written, although it ends before them on disk: in the middle of a block, too.
#[test]
fn written_zeroes_behind_the_size_on_disk() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    node.set_size(100 * BLOCK);
    let range = 5 * BLOCK + 3..5 * BLOCK + 9;
    with_pages(&node, |pages| write_zeroes(&*node, pages, range)).unwrap();
    let found = runs(&node)[0];
    assert_eq!((found.0, found.1, found.2), (5, 1, State::Written));
    assert_eq!(node.map_lock().disk_size, 6 * BLOCK);
}

/// A collapse that is begun although the journal cannot hold it; blocks that are not where they should be afterwards.
#[test]
fn what_is_collapsed() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    write(&node, 0..20, |_, _| ());
    let phys = runs(&node)[0].3.unwrap();
    // Nothing is there at the end.
    node.set_size(100 * BLOCK);
    node.map_lock().disk_size = 100 * BLOCK;
    let range = 5 * BLOCK..10 * BLOCK;
    let store = &mounted.vol.store;
    store.set_max_credits(10);
    let done = with_pages(&node, |pages| collapse(&*node, pages, range.clone(), PAGE));
    assert_eq!(done, Err(ENOSPC));
    assert_eq!(runs(&node), [(0, 20, State::Written, Some(phys))]);
    assert_eq!(node.size(), 100 * BLOCK);
    assert!(!mounted.orphans.contains(node.ino()));
    store.set_max_credits(1000);
    with_pages(&node, |pages| collapse(&*node, pages, range, PAGE)).unwrap();
    let moved = [
        (0, 5, State::Written, Some(phys)),
        (5, 10, State::Written, Some(phys + 10)),
    ];
    assert_eq!(runs(&node), moved);
    assert_eq!(node.size(), 95 * BLOCK);
    assert!(!mounted.orphans.contains(node.ino()));
}

/// Blocks that are given back to the wrong place, or lost, where a hole comes into a file.
#[test]
fn what_is_inserted() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    write(&node, 0..20, |_, _| ());
    let phys = runs(&node)[0].3.unwrap();
    let hole = (7 * BLOCK, 300 * BLOCK);
    with_pages(&node, |pages| insert(&*node, pages, hole, PAGE)).unwrap();
    let moved = vec![
        (0, 7, State::Written, Some(phys)),
        (307, 13, State::Written, Some(phys + 7)),
    ];
    assert_eq!(runs(&node), moved);
    assert_eq!(node.size(), 320 * BLOCK);
    let far = (0, (u64::from(u32::MAX) - 310) * BLOCK);
    let done = with_pages(&node, |pages| insert(&*node, pages, far, PAGE));
    assert_eq!(done, Err(EINVAL));
    assert_eq!(runs(&node), moved);
}

/// Takes all blocks that anybody can have. Returns how many those are.
fn fill_device(node: &Node) -> u32 {
    let volume = node.volume();
    let tid = volume.store.commit().unwrap();
    volume.space.committed(tid, |_| ());
    let mut taken = 0;
    while volume.space.reserve(1, 0, Share::All).is_ok() {
        taken += 1;
    }
    taken
}

/// All blocks that are no holes, with their places on the device.
fn blocks(node: &Node) -> Vec<(u32, u64)> {
    let each = |(at, len, state, phys): (u32, u32, State, Option<u64>)| {
        assert_eq!(state, State::Written);
        (0..len).map(move |n| (at + n, phys.unwrap() + u64::from(n)))
    };
    runs(node).into_iter().flat_map(each).collect()
}

/// Blocks that a recovery would take away: they came behind the end after a collapse that found no space, and the inode
/// was an orphan since then.
#[test]
fn collapsed_without_space() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    // A full leaf.
    for at in (0..84 * 4).step_by(4) {
        write(&node, at..at + 2, |_, _| ());
    }
    let (before, size) = (blocks(&node), node.size());
    let taken = fill_device(&node);
    // The first extent to go is split.
    let range = 41 * BLOCK..42 * BLOCK;
    let done = with_pages(&node, |pages| collapse(&*node, pages, range.clone(), PAGE));
    assert_eq!(done, Err(ENOSPC));
    assert_eq!((blocks(&node), node.size()), (before, size));
    assert!(!mounted.orphans.contains(node.ino()));
    mounted.vol.space.unreserve(taken, 0);
    let behind = size..size + 100 * BLOCK;
    with_pages(&node, |pages| allocate(&*node, pages, behind, true)).unwrap();
    assert!(!mounted.orphans.contains(node.ino()));
    with_pages(&node, |pages| collapse(&*node, pages, range, PAGE)).unwrap();
    assert!(!mounted.orphans.contains(node.ino()));
}

/// Who must not wait is told that there is no space, which somebody who waits could make: here for the nodes that data
/// in unwritten blocks may need.
#[test]
fn unwritten_without_space() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    // All that fits into the inode.
    for at in [0, 20, 40, 60] {
        let range = at * BLOCK..(at + 10) * BLOCK;
        with_pages(&node, |pages| allocate(&*node, pages, range, false)).unwrap();
    }
    fill_device(&node);
    for (wait, error) in [(false, EAGAIN), (true, ENOSPC)] {
        let place = (LogicalBlock::new(3), 1);
        let done = reserve(&*node, &mut node.map_lock(), place, wait);
        assert_eq!(done.err(), Some(error));
    }
}

/// A file in which something has moved and something has not, or that is an orphan, when a block cannot be read or
/// there is no memory.
#[test]
fn what_moves_moves_whole() {
    for memory in [false, true] {
        let image = Mkfs::new(20 << 20, 1024).make();
        let mounted = mount(&image);
        let store = &mounted.vol.store;
        let node = file(&mounted, b"file");
        for at in (0..1200).step_by(4) {
            write(&node, at..at + 3, |_, _| ());
        }
        let before = blocks(&node);
        let moves = |shrink: bool, expected: Vec<(u32, u64)>| {
            let (blocks_before, size) = (blocks(&node), node.size());
            let mut failures = 0;
            let done = loop {
                match memory {
                    true => fail_allocation(Some(failures)),
                    false => store.fail_read(Some(failures as u32)),
                }
                let done = with_pages(&node, |pages| match shrink {
                    true => collapse(&*node, pages, 601 * BLOCK..605 * BLOCK, PAGE),
                    false => insert(&*node, pages, (601 * BLOCK, 4 * BLOCK), PAGE),
                });
                fail_allocation(None);
                store.fail_read(None);
                store.take_reports();
                if done.is_ok() || node.size() != size {
                    break done;
                }
                assert_eq!(done, Err(if memory { ENOMEM } else { EIO }));
                assert!(blocks(&node) == blocks_before, "{failures}");
                assert!(!mounted.orphans.contains(node.ino()));
                failures += 1;
            };
            assert!(failures > 3);
            // It may have failed when all had moved, and what was collapsed was to be freed.
            if done.is_err() {
                let size = node.size();
                with_pages(&node, |pages| set_size(&*node, pages, size)).unwrap();
            }
            assert!(blocks(&node) == expected);
            assert!(!mounted.orphans.contains(node.ino()));
        };
        let shifted = |(at, phys): &(u32, u64)| (at + 4 * u32::from(*at >= 601), *phys);
        moves(false, before.iter().map(shifted).collect());
        moves(true, before.clone());
        let left = before.iter().filter(|(at, _)| !(601..605).contains(at));
        let left = left.map(|(at, phys)| (at - 4 * u32::from(*at >= 605), *phys));
        moves(true, left.collect());
        mounted.vol.store.save(image.path()).unwrap();
        image.fsck().unwrap();
    }
}

/// A handle with fewer credits than there are leaves to be changed.
#[test]
fn many_pieces_move() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    for at in (0..24_000).step_by(2) {
        write(&node, at..at + 1, |_, _| ());
    }
    let before = runs(&node);
    assert_eq!(before.len(), 12_000);
    let hole = (3 * BLOCK, 7 * BLOCK);
    with_pages(&node, |pages| insert(&*node, pages, hole, PAGE)).unwrap();
    let moved = |(at, ..): &(u32, u32, State, Option<u64>)| at + 7 * u32::from(*at >= 3);
    let places = |runs: &[_]| runs.iter().map(moved).collect::<Vec<u32>>();
    let is: Vec<u32> = runs(&node).iter().map(|run| run.0).collect();
    assert_eq!(is, places(&before));
    let range = 3 * BLOCK..10 * BLOCK;
    with_pages(&node, |pages| collapse(&*node, pages, range, PAGE)).unwrap();
    assert_eq!(runs(&node), before);
}

/// Would catch: rests that are made zero for nothing, as the file does not show them with the data beside them.
#[test]
fn rests_of_two_extents() {
    let image = Mkfs::new(16 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    with_pages(&node, |pages| set_size(&*node, pages, 64 * BLOCK)).unwrap();
    for start in [10, 30] {
        let range = start * BLOCK..(start + 10) * BLOCK;
        with_pages(&node, |pages| allocate(&*node, pages, range, false)).unwrap();
    }
    write(&node, 15..35, |_, _| ());
    let runs = runs(&node);
    assert!(runs.iter().all(|run| run.2 == State::Written), "{runs:?}");
    assert_eq!(runs.iter().map(|run| run.1).sum::<u32>(), 30);
}
