// SPDX-License-Identifier: GPL-2.0

//! Directories with a hash tree of three levels (the feature `large_dir`), and what becomes of those without it.

mod change_common;

use change_common::*;
use iomapfs_core::change::link::{link, unlink};
use iomapfs_core::change::Dir;
use iomapfs_core::disk::Ino;
use iomapfs_core::host::{Mkfs, Mounted, Node};
use iomapfs_core::names::{self, Cursor, Listed, Listing};
use kernel::error::code::*;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A name that leaves little room for others in its leaf.
fn name(n: u32) -> Vec<u8> {
    format!("{n:0>250}").into_bytes()
}

/// Links files under names from 0 on until there are `count`, or the directory is full. Gives how many there are.
fn fill(mounted: &Rc<Mounted>, root: &Node, count: u32) -> u32 {
    let mut target = None;
    for n in 0..count {
        // A file has at most 65000 links.
        if n % 60_000 == 0 {
            target = Some(file(mounted, format!("target{n}").as_bytes()));
        }
        let target = target.as_ref().unwrap();
        match link(&**target, root, &name(n)) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, ENOSPC);
                return n;
            }
        }
    }
    count
}

/// All names that are long.
fn listed(root: &Node) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    let mut cursor = Cursor::new(false);
    let mut emit = |listed: Listed<'_>| {
        if listed.name.len() == 250 {
            let new = all.insert(listed.name.to_vec());
            assert!(new, "a name is listed twice");
        }
        true
    };
    while names::readdir(&Dir::new(root), &mut cursor, &mut emit).unwrap() == Listing::More {}
    all
}

#[test]
fn three_levels() {
    const COUNT: u32 = 60_000;
    let image = Mkfs::new(96 << 20, 1024).features("large_dir").make();
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    assert_eq!(fill(&mounted, &root, COUNT), COUNT);
    assert_eq!(listed(&root).len() as u32, COUNT);
    for n in (0..COUNT).step_by(7) {
        let found = names::lookup(&Dir::new(&*root), &name(n)).unwrap();
        let node = Node::get(&mounted, found.unwrap().ino).unwrap();
        unlink(&*root, &name(n), &*node).unwrap();
        assert!(names::lookup(&Dir::new(&*root), &name(n))
            .unwrap()
            .is_none());
    }
    assert_eq!(listed(&root).len() as u32, COUNT - COUNT.div_ceil(7));
    drop(root);
    mounted.vol.store.save(image.path()).unwrap();
    drop(mounted);
    assert_eq!(image.fsck(), Ok(()));
    let levels = image.debugfs(&["htree_dump /"]);
    assert!(levels.contains("Indirect levels: 2"), "{}", &levels[..400]);
}

#[test]
fn two_levels_are_full() {
    let image = Mkfs::new(96 << 20, 1024).make();
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let count = fill(&mounted, &root, 60_000);
    assert!((20_000..60_000).contains(&count), "{count}");
    assert_eq!(listed(&root).len() as u32, count);
    drop(root);
    mounted.vol.store.save(image.path()).unwrap();
    drop(mounted);
    assert_eq!(image.fsck(), Ok(()));
}
