// SPDX-License-Identifier: GPL-2.0

//! Two files exchange blocks: the first has the same data before and after, wherever it is.

use iomapfs_core::change::create::{create, What};
use iomapfs_core::change::exchange::{exchange, Copier, Wanted};
use iomapfs_core::change::publish::{publish, WrittenData};
use iomapfs_core::change::resize::{set_size, PageCache};
use iomapfs_core::change::{fallocate, Live};
use iomapfs_core::disk::{Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{new_attrs, HostStore, Image, Mkfs, Mounted, NewNode, Node, Pages};
use iomapfs_core::map::State;
use iomapfs_core::space::Share;
use kernel::error::{code::*, Result};
use kernel::host::fail_allocation;
use std::ops::Range;
use std::rc::Rc;

const BLOCK: u64 = 1024;

fn mount(image: &Image) -> Rc<Mounted> {
    let layout = image.layout(false).unwrap();
    let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
    Mounted::open(store, false).unwrap()
}

fn with_pages(node: &Node, f: impl FnOnce(&mut dyn PageCache) -> Result) -> Result {
    let store = &node.volume().store;
    let write = |_, phys: PhysBlock, bytes: Vec<u8>| store.write_data(phys, &bytes);
    f(&mut Pages::new(node, write))
}

/// A file of `blocks` blocks without data.
fn file(mounted: &Rc<Mounted>, name: &[u8], blocks: u64) -> Rc<Node> {
    let root = Node::get(mounted, Ino::ROOT).unwrap();
    let newborn = NewNode::new(mounted, new_attrs(0o100_644, 1), 77);
    let node = create(&*root, name, newborn, What::Plain).map(|ready| ready.unlock());
    let node = node.unwrap();
    with_pages(&node, |pages| set_size(&*node, pages, blocks * BLOCK)).unwrap();
    node
}

/// Writes blocks of a file, each with bytes of its own.
fn write(node: &Node, blocks: Range<u32>, byte: u8) {
    let vol = node.volume();
    let mut at = LogicalBlock::new(blocks.start);
    while at.get() < blocks.end {
        let (len, goal) = (blocks.end - at.get(), node.goal(true));
        let chosen = {
            let map = &mut node.map_lock().map;
            map.choose(vol, at, len, goal, Share::Common).unwrap()
        };
        for n in 0..chosen.len {
            let phys = PhysBlock::new(chosen.phys.unwrap().get() + u64::from(n));
            let bytes = [byte ^ (at.get() + n) as u8; BLOCK as usize];
            vol.store.write_data(phys, &bytes);
        }
        at = chosen.end();
    }
    let written = WrittenData {
        pos: u64::from(blocks.start) * BLOCK,
        end: u64::from(blocks.end) * BLOCK,
        unwritten: true,
        direct: true,
    };
    publish(node, &mut None, &written).unwrap();
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

/// Copies, so many times.
struct Device<'a>(&'a HostStore, u32);

impl Copier for Device<'_> {
    fn copy(&mut self, from: PhysBlock, to: PhysBlock, len: u32) -> Result {
        self.1 = self.1.checked_sub(1).ok_or(EIO)?;
        for n in 0..u64::from(len) {
            let bytes = self.0.read_data(PhysBlock::new(from.get() + n));
            self.0.write_data(PhysBlock::new(to.get() + n), &bytes);
        }
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
    let (node, other) = (file(&mounted, b"file", 600), file(&mounted, b"other", 600));
    // In a tree of two levels, and a hole and unwritten blocks among it.
    for n in 0..600 {
        if !(100..120).contains(&n) && !(300..330).contains(&n) {
            write(&node, n..n + 1, 0x55);
            write(&other, n..n + 1, 0xaa);
        }
    }
    allocate(&node, 300..330);
    let donor = file(&mounted, b"donor", 600);
    allocate(&donor, 0..600);
    let (before, sectors) = (contents(&node, 600), node.map_lock().map.sectors());
    let free = mounted.vol.space.counts().free_blocks_on_disk;

    // A part in the middle of an extent of the donor.
    let (moved, done) = exchange(
        &*node,
        &*donor,
        wanted(50, 70, 10),
        &mut Device(store, 1000),
    );
    assert_eq!((moved, done), (10, Ok(())));
    assert_eq!(
        read(&node, 600),
        before.iter().map(|b| b.0).collect::<Vec<_>>()
    );
    assert!(contents(&donor, 600)
        .iter()
        .all(|block| block.1 == State::Unwritten));

    let (moved, done) = exchange(
        &*node,
        &*donor,
        wanted(0, 0, 600),
        &mut Device(store, 10_000),
    );
    assert_eq!((moved, done), (580, Ok(())));
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

/// An exchange that fails: each block is exchanged or is not.
#[test]
fn failures() {
    for memory in 0..60 {
        let image = Mkfs::new(20 << 20, 1024).make();
        let mounted = mount(&image);
        let store = &mounted.vol.store;
        let (node, other) = (file(&mounted, b"file", 40), file(&mounted, b"other", 40));
        for n in 0..40 {
            write(&node, n..n + 1, 0x55);
            write(&other, n..n + 1, 0xaa);
        }
        let donor = file(&mounted, b"donor", 40);
        allocate(&donor, 0..40);
        let before = read(&node, 40);
        let copies = if memory % 2 == 0 { 7 } else { 1000 };
        fail_allocation((memory < 50).then_some(memory));
        let (moved, done) = exchange(
            &*node,
            &*donor,
            wanted(0, 0, 40),
            &mut Device(store, copies),
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
