// SPDX-License-Identifier: GPL-2.0

//! `fallocate`: what is promised, what is where afterwards.

mod change_common;

use change_common::*;
use iomapfs_core::change::fallocate::{allocate, collapse, insert, punch, write_zeroes, zero};
use iomapfs_core::change::publish::publish;
use iomapfs_core::change::resize::set_size;
use iomapfs_core::change::target::reserve;
use iomapfs_core::change::Live;
use iomapfs_core::disk::{Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{Device, HostStore, Image, Mkfs, Mounted, NewWrite, Node};
use iomapfs_core::map::{Shift, State};
use iomapfs_core::space::{Goal, Share};
use iomapfs_core::store::{Credits, Store};
use kernel::error::code::*;
use kernel::host::fail_allocation;
use std::rc::Rc;

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
    store.set_max_credits(3);
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

/// What does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    Read,
    Memory,
    Write,
}

/// From now on the journal is too small for what moves from block `from` on, unless the tree is built anew.
fn too_small_for(node: &Node, from: u32) {
    let volume = node.volume();
    let from = LogicalBlock::new(from);
    let needed = node.map_lock().map.shift_credits(volume, from).unwrap();
    volume.store.set_max_credits(needed.blocks);
}

/// A file in which something has moved and something has not, or that is an orphan, when a block cannot be read or
/// there is no memory.
#[test]
fn what_moves_moves_whole() {
    for (what, anew) in [
        (Fails::Read, false),
        (Fails::Memory, false),
        (Fails::Read, true),
        (Fails::Memory, true),
        (Fails::Write, true),
    ] {
        let image = Mkfs::new(20 << 20, 1024).make();
        let mounted = mount(&image);
        let store = &mounted.vol.store;
        let node = file(&mounted, b"file");
        for at in (0..1200).step_by(4) {
            write(&node, at..at + 3, |_, _| ());
        }
        if anew {
            too_small_for(&node, 601);
        }
        let before = blocks(&node);
        let moves = |shrink: bool, expected: Vec<(u32, u64)>| {
            let (blocks_before, size) = (blocks(&node), node.size());
            let mut failures = 0;
            let done = loop {
                match what {
                    Fails::Memory => fail_allocation(Some(failures)),
                    Fails::Read => store.fail_read(Some(failures as u32)),
                    Fails::Write => store.fail_new_write(Some(failures as u32)),
                }
                let done = with_pages(&node, |pages| match shrink {
                    true => collapse(&*node, pages, 601 * BLOCK..605 * BLOCK, PAGE),
                    false => insert(&*node, pages, (601 * BLOCK, 4 * BLOCK), PAGE),
                });
                fail_allocation(None);
                store.fail_read(None);
                store.fail_new_write(None);
                store.take_reports();
                if done.is_ok() || node.size() != size {
                    break done;
                }
                assert_eq!(done, Err(if what == Fails::Memory { ENOMEM } else { EIO }));
                assert!(blocks(&node) == blocks_before, "{failures}");
                assert!(!mounted.orphans.contains(node.ino()));
                failures += 1;
            };
            assert!(failures > 2);
            assert_eq!(!store.take_new_writes().is_empty(), anew);
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
        // Old nodes are lost where a bitmap cannot be read.
        if what != Fails::Read || !anew {
            image.fsck().unwrap();
        }
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

/// A file of `count` extents of one block each, in a tree of half as many as were written.
fn comb(mounted: &Rc<Mounted>, count: u32) -> Rc<Node> {
    let node = file(mounted, b"file");
    for at in (0..count * 4).step_by(2) {
        write(&node, at..at + 1, |_, _| ());
    }
    for at in (0..u64::from(count) * 4).step_by(4) {
        let size = u64::from(mounted.vol.layout.block_size().bytes());
        let range = at * size..(at + 1) * size;
        with_pages(&node, |pages| punch(&*node, pages, range)).unwrap();
    }
    node
}

fn commit(mounted: &Mounted) {
    let tid = mounted.vol.store.commit().unwrap();
    mounted.vol.space.committed(tid, |_| ());
}

/// What moves: from which block on, and by how many blocks.
fn moved(places: &[(u32, u64)], from: u32, by: i64) -> Vec<(u32, u64)> {
    let new = |(at, phys): &(u32, u64)| match *at >= from {
        true => ((i64::from(*at) + by) as u32, *phys),
        false => (*at, *phys),
    };
    places.iter().map(new).collect()
}

/// Trees that the journal cannot hold in one transaction: blocks at other places than in one that it can, nodes that
/// are lost or in two trees, more nodes or credits than are needed.
#[test]
fn trees_built_anew() {
    for (block_size, count) in [(1024, 3000), (1024, 12_000), (4096, 12_000)] {
        let image = Mkfs::new(u64::from(block_size) * 60_000, block_size).make();
        let mounted = mount(&image);
        let store = &mounted.vol.store;
        let node = comb(&mounted, count);
        let size = u64::from(block_size);
        commit(&mounted);
        let (before, sectors) = (blocks(&node), node.map_lock().map.sectors());
        let free = mounted.vol.space.counts().free_blocks;
        // What a journal of the least size has room for.
        store.set_max_credits(128);
        let hole = (3 * size, 7 * size);
        let done = with_pages(&node, |pages| insert(&*node, pages, hole, PAGE));
        done.unwrap();
        assert!(!store.take_new_writes().is_empty());
        assert_eq!(blocks(&node), moved(&before, 3, 7));
        commit(&mounted);
        let saved = mounted.vol.space.counts().free_blocks - free;
        let now = node.map_lock().map.sectors();
        assert_eq!(sectors - now, saved * (size / 512));
        assert!(saved > 0, "{sectors} {now}");
        // In the middle of the hole, and then in what was at its end.
        let range = 5 * size..10 * size;
        let done = with_pages(&node, |pages| collapse(&*node, pages, range, PAGE));
        done.unwrap();
        assert_eq!(blocks(&node), moved(&before, 3, 2));
        commit(&mounted);
        let at = count + 5;
        let is_gone = |(is, _): &(u32, u64)| (at..at + 300).contains(is);
        let left: Vec<_> = moved(&before, 3, 2);
        let left: Vec<_> = left.into_iter().filter(|block| !is_gone(block)).collect();
        let range = u64::from(at) * size..u64::from(at + 300) * size;
        let done = with_pages(&node, |pages| collapse(&*node, pages, range, PAGE));
        done.unwrap();
        assert_eq!(blocks(&node), moved(&left, at, -300));
        assert!(!mounted.orphans.contains(node.ino()));
        commit(&mounted);
        assert_eq!(mounted.vol.space.free_blocks().chosen, 0);
        assert_eq!(store.take_reports(), Vec::<String>::new());
        node.evict();
        assert_eq!(mounted.vol.space.free_blocks().reserved, 0);
        store.save(image.path()).unwrap();
        image.fsck().unwrap();
    }
}

/// What a device has after a power cut: a check, and the blocks of the file.
fn after_cut(image: &Image, device: Device, ino: Ino) -> Vec<(u32, u64)> {
    let copy = image.copy();
    device.save(copy.path()).unwrap();
    copy.fsck().unwrap();
    let store = HostStore::open(copy.path(), 1024).unwrap();
    let mounted = Mounted::open(store, true).unwrap();
    blocks(&Node::get(&mounted, ino).unwrap())
}

/// A new tree that a power cut shows before it is whole, in whichever order its nodes get to the device; one that it
/// does not show when the commit is there.
#[test]
fn power_cuts_while_a_tree_is_built() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let node = comb(&mounted, 500);
    // What the nodes have is in the journal still, and would be written again.
    commit(&mounted);
    let (base, before) = (store.recovered(), blocks(&node));
    too_small_for(&node, 3);
    let hole = (3 * BLOCK, 7 * BLOCK);
    with_pages(&node, |pages| insert(&*node, pages, hole, PAGE)).unwrap();
    let events = store.take_new_writes();
    let nodes: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            NewWrite::Submitted(nr, bytes) => Some((*nr, bytes.clone())),
            NewWrite::Done(nr) => {
                assert!(events
                    .iter()
                    .any(|is| matches!(is, NewWrite::Submitted(n, _) if n == nr)));
                None
            }
        })
        .collect();
    assert_eq!((nodes.len(), events.len()), (7, 14));
    for kept in 0..1 << nodes.len() {
        let mut device = base.clone();
        for (_, (nr, bytes)) in nodes.iter().enumerate().filter(|(i, _)| kept >> i & 1 != 0) {
            device.write(*nr, bytes.clone());
        }
        assert_eq!(after_cut(&image, device, node.ino()), before);
    }
    // In memory only.
    assert_eq!(after_cut(&image, store.recovered(), node.ino()), before);
    commit(&mounted);
    let after = moved(&before, 3, 7);
    assert_eq!(after_cut(&image, store.recovered(), node.ino()), after);
    // The old nodes are free by now: what is written there next is not written over by a recovery.
    let free = mounted.vol.space.counts().free_blocks as u32;
    let goal = Goal::in_group(node.group());
    let claim = iomapfs_core::space::Claim::Free(Share::Common);
    let mut taken = Vec::new();
    while let Ok(run) = mounted.vol.space.choose(store, goal, free, claim) {
        (0..u64::from(run.len)).for_each(|n| taken.push(run.start.get() + n));
    }
    for nr in &taken {
        store.write_data(PhysBlock::new(*nr), &[b'd'; 1024]);
    }
    let device = store.recovered();
    assert!(taken.iter().all(|nr| device.read(*nr)[0] == b'd'));
}

/// What is left behind where there is no space for the tree, or the journal cannot even hold what leads to it.
#[test]
fn no_tree_is_built() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let node = comb(&mounted, 500);
    commit(&mounted);
    let before = (blocks(&node), node.size(), node.map_lock().map.sectors());
    let is = || (blocks(&node), node.size(), node.map_lock().map.sectors());
    let both = || {
        let hole = (3 * BLOCK, 7 * BLOCK);
        let done = with_pages(&node, |pages| insert(&*node, pages, hole, PAGE));
        assert_eq!(done, Err(ENOSPC));
        let range = 3 * BLOCK..10 * BLOCK;
        let done = with_pages(&node, |pages| collapse(&*node, pages, range, PAGE));
        assert_eq!(done, Err(ENOSPC));
        assert!(is() == before);
        assert!(!mounted.orphans.contains(node.ino()));
        assert_eq!(mounted.vol.space.free_blocks().chosen, 0);
    };
    store.set_max_credits(4);
    let free = mounted.vol.space.counts().free_blocks;
    both();
    assert_eq!(mounted.vol.space.counts().free_blocks, free);
    too_small_for(&node, 3);
    store.take_new_writes();
    // All but six blocks, where seven are needed.
    let taken = fill_device(&node);
    let others = mounted.vol.space.set_aside() as u32 + 6;
    mounted.vol.space.unreserve(others, 0);
    both();
    assert_eq!(store.take_new_writes(), []);
    mounted.vol.space.unreserve(1, 0);
    let hole = (3 * BLOCK, 7 * BLOCK);
    with_pages(&node, |pages| insert(&*node, pages, hole, PAGE)).unwrap();
    assert_eq!(blocks(&node), moved(&before.0, 3, 7));
    commit(&mounted);
    mounted.vol.space.unreserve(taken - others - 1, 0);
    let far = (0, (u64::from(u32::MAX) - 310) * BLOCK);
    too_small_for(&node, 0);
    let done = with_pages(&node, |pages| insert(&*node, pages, far, PAGE));
    assert_eq!(done, Err(EINVAL));
    assert_eq!(blocks(&node), moved(&before.0, 3, 7));
    commit(&mounted);
    store.save(image.path()).unwrap();
    image.fsck().unwrap();
}

/// Data whose write needs a node, as what moves is an extent more in the inode now.
#[test]
fn outstanding_while_a_tree_is_built() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    for blocks in [10..11, 20..21, 30..40] {
        write(&node, blocks, |_, _| ());
    }
    let goal = Goal::in_group(node.group());
    let chosen = {
        let map = &mut node.map_lock().map;
        map.choose(node.volume(), LogicalBlock::new(2), 1, goal, Share::Common)
    };
    assert_eq!(chosen.unwrap().len, 1);
    too_small_for(&node, 35);
    let hole = (35 * BLOCK, BLOCK);
    with_pages(&node, |pages| insert(&*node, pages, hole, PAGE)).unwrap();
    mounted.vol.store.set_max_credits(1000);
    fill_device(&node);
    publish(&*node, &mut None, &written(&node, &(2..3))).unwrap();
    let places: Vec<_> = runs(&node).iter().map(|run| (run.0, run.1)).collect();
    assert_eq!(places, [(2, 1), (10, 1), (20, 1), (30, 5), (36, 5)]);
    assert_eq!(node.map_lock().map.depth(), 1);
}

/// Extents that are joined to a longer one than the format has.
#[test]
fn long_extents_move() {
    let image = Mkfs::new(4 << 27, 4096)
        .features("sparse_super2")
        .arg("-E")
        .arg("num_backup_sb=0")
        .make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    write(&node, 0..80_000, |_, _| ());
    let before = blocks(&node);
    let size = 4096;
    for at in [5, 35_000] {
        too_small_for(&node, at);
        let at = u64::from(at);
        let hole = (at * size, 7 * size);
        with_pages(&node, |pages| insert(&*node, pages, hole, PAGE)).unwrap();
        assert_eq!(blocks(&node), moved(&before, at as u32, 7));
        let range = at * size..(at + 7) * size;
        with_pages(&node, |pages| collapse(&*node, pages, range, PAGE)).unwrap();
        assert_eq!(blocks(&node), before);
    }
    commit(&mounted);
    mounted.vol.store.save(image.path()).unwrap();
    image.fsck().unwrap();
}

/// A tree is not taken that was built for a file that has got other blocks since.
#[test]
fn trees_that_are_too_old() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let node = comb(&mounted, 500);
    let range = LogicalBlock::new(3)..LogicalBlock::new(10);
    let shift = Shift::Insert { range };
    let build = || {
        let map = &mut node.map_lock().map;
        map.build(&mounted.vol, &shift, Goal::in_group(node.group()))
            .unwrap()
    };
    let new = build();
    write(&node, 0..1, |_, _| ());
    let before = blocks(&node);
    let take = |new| {
        let mut tx = store.begin(Credits::new(100, 100)).unwrap();
        let mut inode = node.map_lock();
        let taken = inode.map.take(&mounted.vol, &mut tx, new).unwrap();
        inode.write(&mounted.vol, &mut tx, &node.attrs()).unwrap();
        taken
    };
    assert_eq!(take(new), None);
    assert_eq!(blocks(&node), before);
    assert!(take(build()).is_some());
    assert_eq!(blocks(&node), moved(&before, 3, 7));
    assert_eq!(mounted.vol.space.free_blocks().chosen, 0);
}
