// SPDX-License-Identifier: GPL-2.0

//! What the tests of operations on files share: a mount of a new image, a file, data in it.

#![allow(dead_code, reason = "each test uses some of it")]

use iomapfs_core::change::create::{create, What};
use iomapfs_core::change::publish::{publish, WrittenData};
use iomapfs_core::change::resize::PageCache;
use iomapfs_core::change::Live;
use iomapfs_core::disk::{Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{new_attrs, HostStore, Image, Mounted, NewNode, Node, Pages};
use iomapfs_core::space::Share;
use kernel::error::Result;
use std::ops::Range;
use std::rc::Rc;

/// The file system of an image, mounted.
pub fn mount(image: &Image) -> Rc<Mounted> {
    let layout = image.layout(false).unwrap();
    let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
    Mounted::open(store, false).unwrap()
}

/// A new file in the root, without data.
pub fn file(mounted: &Rc<Mounted>, name: &[u8]) -> Rc<Node> {
    let root = Node::get(mounted, Ino::ROOT).unwrap();
    let newborn = NewNode::new(mounted, new_attrs(0o100_644, 1), 77);
    let node = create(&*root, name, newborn, What::Plain).map(|ready| ready.unlock());
    node.unwrap()
}

/// The page cache of a file, in which nothing is dirty.
pub fn with_pages(node: &Node, f: impl FnOnce(&mut dyn PageCache) -> Result) -> Result {
    let store = &node.volume().store;
    let write = |_, phys: PhysBlock, bytes: Vec<u8>| store.write_data(phys, &bytes);
    f(&mut Pages::new(node, write))
}

/// Whole blocks that were written past the page cache.
pub fn written(node: &Node, blocks: &Range<u32>) -> WrittenData {
    let size = u64::from(node.volume().layout.block_size().bytes());
    WrittenData {
        pos: u64::from(blocks.start) * size,
        end: u64::from(blocks.end) * size,
        unwritten: true,
        direct: true,
    }
}

/// Writes blocks as a direct write at the end does. `data` gets each of them, by its number in the file and its place,
/// to write it.
pub fn write(node: &Node, blocks: Range<u32>, mut data: impl FnMut(u32, PhysBlock)) {
    let written = written(node, &blocks);
    let mut at = blocks.start;
    while at < blocks.end {
        let (len, goal) = (blocks.end - at, node.goal(true));
        let chosen = {
            let map = &mut node.map_lock().map;
            let at = LogicalBlock::new(at);
            map.choose(node.volume(), at, len, goal, Share::Common)
                .unwrap()
        };
        for n in 0..chosen.len {
            let phys = PhysBlock::new(chosen.phys.unwrap().get() + u64::from(n));
            data(at + n, phys);
        }
        at = chosen.end().get();
    }
    publish(node, &mut None, &written).unwrap();
}
