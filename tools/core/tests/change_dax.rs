// SPDX-License-Identifier: GPL-2.0

//! Blocks that are stored to as memory: when they are zero, and when the file shows them.

mod change_common;

use change_common::*;
use iomapfs_core::change::dax::{extend, place, Place, MOST_ZEROED};
use iomapfs_core::change::fallocate::allocate;
use iomapfs_core::change::resize::set_size;
use iomapfs_core::change::Live;
use iomapfs_core::disk::{LogicalBlock, PhysBlock};
use iomapfs_core::host::{Mkfs, Mounted, Node, Pages};
use iomapfs_core::map::State;
use iomapfs_core::space::Run;
use kernel::error::{code::*, Result};
use std::ops::Range;
use std::rc::Rc;

const BLOCK: u64 = 4096;

/// A new file of `size` bytes, which is a hole.
fn hole(mounted: &Rc<Mounted>, name: &[u8], size: u64) -> Rc<Node> {
    let node = file(mounted, name);
    set_size(&*node, &mut pages(&node), size).unwrap();
    node
}

fn pages(node: &Node) -> Pages<'_, impl FnMut(LogicalBlock, PhysBlock, Vec<u8>)> {
    Pages::new(node, |_, _, _| panic!("nothing is to be written"))
}

/// Blocks for bytes `write`, and which blocks of the file became zero for that.
fn placed(node: &Node, write: Range<u64>) -> (Result<Place>, Vec<(u32, u32)>) {
    let at = LogicalBlock::new((write.start / BLOCK) as u32);
    let len = (write.end.div_ceil(BLOCK) - write.start / BLOCK) as u32;
    let mut zeroed = Vec::new();
    let tid = node.volume().store.running();
    let changes = || node.volume().store.changed_blocks().len();
    let before = changes();
    let zero = |at: LogicalBlock, run: Run| {
        // Nothing of them is in a transaction yet.
        assert_eq!((node.volume().store.running(), changes()), (tid, before));
        zeroed.push((at.get(), run.len));
        Ok(())
    };
    let place = place(node, (at, len), &write, zero);
    (place, zeroed)
}

fn state(node: &Node, at: u32) -> State {
    let map = &mut node.map_lock().map;
    let found = map.lookup(node.volume(), LogicalBlock::new(at), 1);
    found.unwrap().state
}

/// A hole that is shown with what the device has there, or that nobody shows; data that becomes zero.
#[test]
fn within_the_file() {
    let image = Mkfs::new(20 << 20, 4096).make();
    let mounted = mount(&image);
    let node = hole(&mounted, b"file", 10 * BLOCK + 5);
    let (place, zeroed) = placed(&node, 2 * BLOCK + 7..4 * BLOCK + 9);
    let place = place.unwrap();
    assert!(place.new && place.mapping.state == State::Written);
    assert_eq!(zeroed, [(2, 3)]);
    assert_eq!(
        [1, 2, 4, 5].map(|at| state(&node, at)),
        [State::Hole, State::Written, State::Written, State::Hole]
    );
    // It is there.
    let (place, zeroed) = placed(&node, 2 * BLOCK..5 * BLOCK);
    let place = place.unwrap();
    assert!(!place.new && zeroed.is_empty());
    // The block with the end; the size stays.
    let (place, zeroed) = placed(&node, 10 * BLOCK..30 * BLOCK);
    assert_eq!((place.unwrap().mapping.len, zeroed), (1, vec![(10, 1)]));
    assert_eq!(
        (node.size(), node.disk_size_hint()),
        (10 * BLOCK + 5, 10 * BLOCK + 5)
    );
    // Blocks without data have what was there before.
    let node = hole(&mounted, b"unwritten", 0);
    allocate(&*node, &mut pages(&node), 0..8 * BLOCK, false).unwrap();
    let (place, zeroed) = placed(&node, BLOCK..3 * BLOCK);
    assert!(place.unwrap().new);
    assert_eq!(zeroed, [(1, 2)]);
    assert_eq!(
        [0, 1, 2, 3].map(|at| state(&node, at)),
        [
            State::Unwritten,
            State::Written,
            State::Written,
            State::Unwritten
        ]
    );
}

/// Others that wait for too long.
#[test]
fn a_part_at_a_time() {
    let image = Mkfs::new(40 << 20, 4096).make();
    let node = hole(&mount(&image), b"file", 20 << 20);
    let (place, _) = placed(&node, 0..20 << 20);
    assert!(place.unwrap().mapping.len <= MOST_ZEROED);
}

/// Behind the end: what the write does not cover becomes zero, and nothing is shown before it has ended.
#[test]
fn behind_the_end() {
    let image = Mkfs::new(20 << 20, 4096).make();
    let mounted = mount(&image);
    let node = hole(&mounted, b"file", BLOCK / 2);
    let write = 3 * BLOCK + 1..6 * BLOCK - 1;
    let (place, zeroed) = placed(&node, write.clone());
    assert_eq!(place.unwrap().mapping.state, State::Pending);
    assert_eq!(zeroed, [(3, 1), (5, 1)]);
    // A part was written: asked again, nothing of that becomes zero.
    let (place, zeroed) = placed(&node, 4 * BLOCK + 5..write.end);
    assert!(zeroed.is_empty() && place.unwrap().mapping.state == State::Pending);
    assert_eq!(node.size(), BLOCK / 2);
    let free = mounted.vol.space.counts().free_blocks;
    extend(&*node, BLOCK / 2, &(write.start..4 * BLOCK + 5)).unwrap();
    assert_eq!(
        (node.size(), node.disk_size_hint()),
        (4 * BLOCK + 5, 4 * BLOCK + 5)
    );
    assert_eq!(
        [2, 3, 4, 5].map(|at| state(&node, at)),
        [State::Hole, State::Written, State::Written, State::Hole]
    );
    // What was chosen for the rest is free again.
    assert!(mounted.vol.space.counts().free_blocks > free);
    // One block, in the middle of it.
    let (_, zeroed) = placed(&node, 9 * BLOCK + 5..9 * BLOCK + 6);
    assert_eq!(zeroed, [(9, 1)]);
    extend(&*node, node.size(), &(9 * BLOCK + 5..9 * BLOCK + 5)).unwrap();
    assert_eq!((state(&node, 9), node.size()), (State::Hole, 4 * BLOCK + 5));
}

/// The same where blocks were allocated: what is written there becomes zero again.
#[test]
fn behind_the_end_and_allocated() {
    let image = Mkfs::new(20 << 20, 4096).make();
    let mounted = mount(&image);
    let node = hole(&mounted, b"file", BLOCK / 2);
    let range = 2 * BLOCK..9 * BLOCK;
    allocate(&*node, &mut pages(&node), range, true).unwrap();
    let write = 3 * BLOCK + 1..6 * BLOCK;
    let (found, zeroed) = placed(&node, write.clone());
    assert_eq!(found.unwrap().mapping.state, State::Pending);
    assert_eq!(zeroed, [(3, 1)]);
    let (found, zeroed) = placed(&node, 3 * BLOCK + 7..write.end);
    assert!(zeroed.is_empty() && found.unwrap().mapping.state == State::Pending);
    extend(&*node, BLOCK / 2, &(write.start..4 * BLOCK + 5)).unwrap();
    assert_eq!(
        [2, 3, 4, 5].map(|at| state(&node, at)),
        [
            State::Unwritten,
            State::Written,
            State::Written,
            State::Unwritten
        ]
    );
    // Nothing but what was asked for: who has the rest mapped would not be told.
    let few = hole(&mounted, b"few", 0);
    allocate(&*few, &mut pages(&few), 0..4 * BLOCK, false).unwrap();
    assert!(placed(&few, BLOCK..2 * BLOCK).0.is_ok());
    assert_eq!([0, 2, 3].map(|at| state(&few, at)), [State::Unwritten; 3]);
    // Within the file now, and chosen by somebody who could not show it.
    let node = hole(&mounted, b"within", 0);
    allocate(&*node, &mut pages(&node), 0..9 * BLOCK, false).unwrap();
    mounted.vol.store.abort();
    let at = (LogicalBlock::new(1), 2);
    let mut zeroed = 0;
    for _ in 0..2 {
        let zero = |_, _| {
            zeroed += 1;
            Ok(())
        };
        assert!(place(&*node, at, &(BLOCK..3 * BLOCK), zero).is_err());
    }
    assert_eq!(zeroed, 1);
}

/// Blocks that could not become zero, and are shown all the same.
#[test]
fn the_device_fails() {
    let image = Mkfs::new(20 << 20, 4096).make();
    let mounted = mount(&image);
    let node = hole(&mounted, b"file", 10 * BLOCK);
    let free = mounted.vol.space.counts().free_blocks;
    for write in [2 * BLOCK..4 * BLOCK, 20 * BLOCK + 1..22 * BLOCK] {
        let at = LogicalBlock::new((write.start / BLOCK) as u32);
        let done = place(&*node, (at, 2), &write, |_, _| Err(EIO));
        assert_eq!(done, Err(EIO));
        assert_eq!(state(&node, at.get()), State::Hole);
    }
    node.map_lock().map.release_window(&mounted.vol);
    assert_eq!(mounted.vol.space.counts().free_blocks, free);
}
