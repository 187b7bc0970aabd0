// SPDX-License-Identifier: GPL-2.0

//! Two files exchange blocks: the first has the same data before and after, wherever it is.

mod change_common;

use change_common::*;
use iomapfs_core::change::exchange::{exchange, Copier, Wanted};
use iomapfs_core::change::resize::set_size;
use iomapfs_core::change::{fallocate, InodePart, Live};
use iomapfs_core::disk::{LogicalBlock, PhysBlock};
use iomapfs_core::host::{HostStore, Mkfs, Mounted, Node};
use iomapfs_core::map::State;
use iomapfs_core::store::Tid;
use kernel::error::{code::*, Result};
use kernel::host::fail_allocation;
use std::ops::Range;
use std::rc::Rc;

const BLOCK: u64 = 1024;

/// A file of `blocks` blocks without data.
fn hole(mounted: &Rc<Mounted>, name: &[u8], blocks: u64) -> Rc<Node> {
    let node = file(mounted, name);
    with_pages(&node, |pages| set_size(&*node, pages, blocks * BLOCK)).unwrap();
    node
}

/// Writes blocks of a file, each with bytes of its own.
fn fill(node: &Node, blocks: Range<u32>, byte: u8) {
    write(node, blocks, |at, phys| {
        let bytes = [byte ^ at as u8; BLOCK as usize];
        node.volume().store.write_data(phys, &bytes);
    });
}

fn allocate(node: &Node, blocks: Range<u64>) {
    let range = blocks.start * BLOCK..blocks.end * BLOCK;
    with_pages(node, |pages| fallocate::allocate(node, pages, range, false)).unwrap();
}

/// What is read of a file, and where that is.
fn contents(node: &Node, blocks: u32) -> Vec<(u8, State, Option<u64>)> {
    let vol = node.volume();
    (0..blocks)
        .map(|n| {
            let found = {
                let map = &mut node.map_lock().map;
                map.lookup(vol, LogicalBlock::new(n), 1).unwrap()
            };
            let byte = match found.state {
                State::Written => vol.store.read_data(found.phys.unwrap())[0],
                _ => 0,
            };
            (byte, found.state, found.phys.map(PhysBlock::get))
        })
        .collect()
}

fn read(node: &Node, blocks: u32) -> Vec<u8> {
    contents(node, blocks).iter().map(|block| block.0).collect()
}

/// Copies, so many times, and knows which transaction was waited for last.
struct Device<'a>(&'a HostStore, u32, Option<Tid>);

impl Copier for Device<'_> {
    fn copy(&mut self, from: PhysBlock, to: PhysBlock, len: u32) -> Result {
        self.1 = self.1.checked_sub(1).ok_or(EIO)?;
        for n in 0..u64::from(len) {
            let bytes = self.0.read_data(PhysBlock::new(from.get() + n));
            self.0.write_data(PhysBlock::new(to.get() + n), &bytes);
        }
        Ok(())
    }

    fn commit(&mut self, tid: Tid) -> Result {
        self.2 = Some(tid);
        Ok(())
    }
}

fn wanted(start: u32, donor_start: u32, len: u32) -> Wanted {
    Wanted {
        start: LogicalBlock::new(start),
        donor_start: LogicalBlock::new(donor_start),
        len,
    }
}

/// Data that is lost, blocks that are lost or in both files, an extent more than there need be.
#[test]
fn fragments_become_one() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let (node, other) = (hole(&mounted, b"file", 600), hole(&mounted, b"other", 600));
    // In a tree of two levels, and a hole and unwritten blocks among it.
    for n in 0..600 {
        if !(100..120).contains(&n) && !(300..330).contains(&n) {
            fill(&node, n..n + 1, 0x55);
            fill(&other, n..n + 1, 0xaa);
        }
    }
    allocate(&node, 300..330);
    let donor = hole(&mounted, b"donor", 600);
    allocate(&donor, 0..600);
    let (before, sectors) = (contents(&node, 600), node.map_lock().map.sectors());
    let free = mounted.vol.space.counts().free_blocks_on_disk;

    // A part in the middle of an extent of the donor.
    let (moved, done) = exchange(
        &*node,
        &*donor,
        wanted(50, 70, 10),
        &mut Device(store, 1000, None),
    );
    assert_eq!((moved, done), (10, Ok(())));
    assert_eq!(
        read(&node, 600),
        before.iter().map(|b| b.0).collect::<Vec<_>>()
    );
    assert!(contents(&donor, 600)
        .iter()
        .all(|block| block.1 == State::Unwritten));

    let mut device = Device(store, 10_000, None);
    let (moved, done) = exchange(&*node, &*donor, wanted(0, 0, 600), &mut device);
    assert_eq!((moved, done), (580, Ok(())));
    // Before anybody can write to the donor.
    assert_eq!(device.2, Some(node.noted_transaction(InodePart::Data)));
    let after = contents(&node, 600);
    for (n, (old, new)) in before.iter().zip(&after).enumerate() {
        assert_eq!((old.0, old.1), (new.0, new.1), "block {n}");
    }
    assert_eq!(after[100].1, State::Hole);
    assert_eq!(after[310].1, State::Unwritten);
    let behind = (120..300).filter(|n| after[n + 1].2 != after[*n].2.map(|at| at + 1));
    assert!(behind.count() <= 2);
    // Nothing was allocated but nodes, which are given back.
    assert!(node.map_lock().map.sectors() <= sectors);
    assert!(mounted.vol.space.counts().free_blocks_on_disk + 8 >= free);
    assert_eq!(node.map_lock().map.reserved(), (0, 0));
    assert_eq!(donor.map_lock().map.reserved(), (0, 0));

    drop((node, donor, other));
    mounted.unmount().unwrap();
    store.save(image.path()).unwrap();
    image.fsck().unwrap();
}

/// Nothing is copied to blocks that on disk still have data of the donor.
#[test]
fn the_donor_has_no_data_on_disk() {
    struct Waits(Option<Tid>);

    impl Copier for Waits {
        fn copy(&mut self, _: PhysBlock, _: PhysBlock, _: u32) -> Result {
            assert!(self.0.is_none(), "it has not committed");
            Ok(())
        }

        fn commit(&mut self, tid: Tid) -> Result {
            self.0 = self.0.filter(|needed| *needed != tid);
            Ok(())
        }
    }

    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let (node, donor) = (hole(&mounted, b"file", 8), hole(&mounted, b"donor", 8));
    fill(&node, 0..8, 0x55);
    fill(&donor, 0..8, 0xaa);
    let range = 0..8 * BLOCK;
    with_pages(&donor, |pages| fallocate::zero(&*donor, pages, range, true)).unwrap();
    let needed = donor.noted_transaction(InodePart::Data);
    let done = exchange(&*node, &*donor, wanted(0, 0, 8), &mut Waits(Some(needed)));
    assert_eq!(done, (8, Ok(())));
}

/// An exchange that fails: each block is exchanged or is not.
#[test]
fn failures() {
    for memory in 0..60 {
        let image = Mkfs::new(20 << 20, 1024).make();
        let mounted = mount(&image);
        let store = &mounted.vol.store;
        let (node, other) = (hole(&mounted, b"file", 40), hole(&mounted, b"other", 40));
        for n in 0..40 {
            fill(&node, n..n + 1, 0x55);
            fill(&other, n..n + 1, 0xaa);
        }
        let donor = hole(&mounted, b"donor", 40);
        allocate(&donor, 0..40);
        let before = read(&node, 40);
        let copies = if memory % 2 == 0 { 7 } else { 1000 };
        fail_allocation((memory < 50).then_some(memory));
        let (moved, done) = exchange(
            &*node,
            &*donor,
            wanted(0, 0, 40),
            &mut Device(store, copies, None),
        );
        fail_allocation(None);
        match done {
            Ok(()) => assert_eq!(moved, 40),
            Err(error) => assert!(error == ENOMEM || (error == EIO && moved == 7), "{error:?}"),
        }
        assert_eq!(read(&node, 40), before);
        let places = |node| contents(node, 40).into_iter().map(|block| block.2.unwrap());
        let mut all: Vec<_> = places(&node).chain(places(&donor)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 80);
        assert_eq!(node.map_lock().map.reserved(), (0, 0));
        assert_eq!(donor.map_lock().map.reserved(), (0, 0));
        drop((node, donor, other));
        mounted.unmount().unwrap();
        store.save(image.path()).unwrap();
        image.fsck().unwrap();
    }
}
