// SPDX-License-Identifier: GPL-2.0

//! What owners have is counted with each change, and asked for before; the files that records of it are in.

mod change_common;

use change_common::*;
use iomapfs_core::change::create::{create, tmpfile, What};
use iomapfs_core::change::fallocate::{allocate, collapse, punch};
use iomapfs_core::change::free::free;
use iomapfs_core::change::rename::{exchange, rename, Side};
use iomapfs_core::change::resize::set_size;
use iomapfs_core::change::xattr::set;
use iomapfs_core::change::{link, quota, target, Live};
use iomapfs_core::disk::inode::InodeFlags;
use iomapfs_core::disk::xattr::{Name, Prefix};
use iomapfs_core::disk::{Ino, LogicalBlock};
use iomapfs_core::host::{new_attrs, Image, Mkfs, Mounted, NewNode, Node};
use iomapfs_core::inode::{Attrs, How, Inode};
use iomapfs_core::store::Store;
use kernel::error::{code::*, Result};
use std::rc::Rc;

/// When inodes are deleted: no number of an inode.
const NOW: u32 = 1_700_000_000;

const ATTRIBUTE: Name<'_> = Name {
    prefix: Prefix::USER,
    rest: b"a",
};

fn image(block_size: u32) -> Image {
    Mkfs::new(20 << 20, block_size)
        .features("quota,project")
        .arg("-E")
        .arg("quotatype=usrquota:grpquota:prjquota")
        .make()
}

/// What all inodes have that users can reach: sectors, and how many there are, with those that hold values of their
/// attributes.
fn scanned(mounted: &Mounted) -> (i64, i64) {
    let mut all = (0, 0);
    for number in 1..=mounted.vol.layout.inodes_count() {
        let ino = Ino::new(number).unwrap();
        if mounted.vol.layout.is_user_ino(ino) {
            // One that was never used has no checksum.
            if let Ok((inode, _)) = Inode::read(&mounted.vol, ino) {
                let inodes = 1 + inode.values(&mounted.vol).unwrap();
                all = (
                    all.0 + inode.map.sectors() as i64,
                    all.1 + i64::from(inodes),
                );
            }
        }
    }
    mounted.vol.store.take_reports();
    all
}

fn newborn(mounted: &Rc<Mounted>, mode: u16, links: u32) -> NewNode {
    NewNode::new(mounted, new_attrs(mode, links), 1)
}

fn make(dir: &Node, name: &[u8], mode: u16, links: u32, what: What<'_>) -> Result<Rc<Node>> {
    let newborn = newborn(dir.mounted(), mode, links);
    create(dir, name, newborn, what).map(|ready| ready.unlock())
}

/// Those that were given up go.
fn bury(mounted: &Mounted) {
    for node in mounted.take_dropped() {
        free(&*node, NOW).unwrap();
        node.evict();
    }
}

/// An operation that changes a map or the number of inodes and forgets to say so.
#[test]
fn everything_is_counted() {
    for block_size in [1024, 4096] {
        let image = Mkfs::new(20 << 20, block_size).make();
        let mounted = mount(&image);
        let before = scanned(&mounted);
        let check = |what: &str| {
            bury(&mounted);
            let (now, counted) = (scanned(&mounted), mounted.counted());
            let more = (now.0 - before.0, now.1 - before.1);
            assert_eq!(more, counted, "{block_size}: {what}");
        };
        let root = Node::get(&mounted, Ino::ROOT).unwrap();
        let file = make(&root, b"file", 0o100_644, 1, What::Plain).unwrap();
        check("a file");
        let dir = make(&root, b"dir", 0o040_755, 2, What::Plain).unwrap();
        check("a directory");
        for n in 0..40 {
            let name = [b'n' + n % 8; 250];
            let name = [&name[..], &n.to_string().into_bytes()].concat();
            make(&dir, &name, 0o010_644, 1, What::Special).unwrap();
        }
        check("a larger directory");
        let target = [b'x'; 200];
        let what = What::Link { target: &target };
        make(&root, b"long", 0o120_777, 1, what).unwrap();
        check("a long link");
        let born = newborn(&mounted, 0o100_644, 1).with_attribute(Prefix::USER, b"a", &[7; 600]);
        let labelled = create(&*dir, b"labelled", born, What::Plain)
            .unwrap()
            .unlock();
        check("born with a block of attributes");
        set(&*file, ATTRIBUTE, Some(&[7; 600]), How::Any, None).unwrap();
        check("a shared block of attributes");
        set(&*file, ATTRIBUTE, Some(&[8; 600]), How::Any, None).unwrap();
        check("one of its own");
        write(&file, 0..10, |_, _| ());
        check("written");
        write(&file, 100..101, |_, _| ());
        for n in 0..30 {
            write(&file, 200 + 2 * n..201 + 2 * n, |_, _| ());
        }
        check("a tree");
        let size = u64::from(block_size);
        with_pages(&file, |pages| allocate(&*file, pages, 0..50 * size, true)).unwrap();
        check("allocated");
        with_pages(&file, |pages| punch(&*file, pages, size..20 * size)).unwrap();
        check("punched");
        with_pages(&file, |pages| collapse(&*file, pages, 4096..8192, 4096)).unwrap();
        check("collapsed");
        with_pages(&file, |pages| set_size(&*file, pages, 5)).unwrap();
        check("cut off");
        set(&*file, ATTRIBUTE, None, How::Any, None).unwrap();
        check("no attribute");
        let left = tmpfile(&*root, newborn(&mounted, 0o100_644, 1))
            .unwrap()
            .unlock();
        free(&*left, NOW).unwrap();
        left.evict();
        check("gone");
        let side = |dir, name, inode| Side { dir, name, inode };
        let old = side(&*root, &b"file"[..], Some(&*file));
        let new = side(&*dir, &b"labelled"[..], Some(&*labelled));
        let whiteout = newborn(&mounted, 0o020_000, 1);
        let left = rename(old, new, Some(whiteout)).unwrap();
        drop(left.map(|ready| ready.unlock()));
        free(&*labelled, NOW).unwrap();
        labelled.evict();
        check("renamed over another, with a whiteout");
        link::unlink(&*dir, b"labelled", &*file).unwrap();
        free(&*file, NOW).unwrap();
        file.evict();
        check("removed");
        drop((root, dir));
        mounted.unmount().unwrap();
        mounted.vol.store.save(image.path()).unwrap();
        assert_eq!(image.fsck(), Ok(()));
    }
}

/// An entry that leads to a value and is not counted as it comes, changes or goes, or one that is counted for the inode
/// that holds the value, or once where several inodes share a block.
#[test]
fn values_count_as_inodes() {
    for (block_size, inode_size) in [(1024, 128), (1024, 256), (4096, 256)] {
        let image = Mkfs::new(20 << 20, block_size)
            .features("ea_inode")
            .inode_size(inode_size)
            .make();
        let mounted = mount(&image);
        let before = scanned(&mounted);
        // In units of blocks.
        let sectors = mounted.vol.layout.block_size().sectors() as i64;
        let check = |blocks: i64, inodes: i64, what: &str| {
            bury(&mounted);
            let (now, counted) = (scanned(&mounted), mounted.counted());
            let more = (now.0 - before.0, now.1 - before.1);
            assert_eq!(more, counted, "{block_size}, {inode_size}: {what}");
            let expected = (blocks * sectors, inodes);
            assert_eq!(counted, expected, "{block_size}, {inode_size}: {what}");
        };
        let put = |node: &Node, name: &[u8], value: Option<&[u8]>| {
            let name = Name {
                prefix: Prefix::USER,
                rest: name,
            };
            set(node, name, value, How::Any, None).unwrap();
        };
        let root = Node::get(&mounted, Ino::ROOT).unwrap();
        let (one, two) = (file(&mounted, b"one"), file(&mounted, b"two"));
        check(0, 2, "files");
        let long = vec![7; 3 * block_size as usize];
        // Where inodes are small the entry is in a block, which both share.
        let block = i64::from(inode_size == 128);
        put(&one, b"a", Some(&long));
        check(3 + block, 3, "a value");
        put(&two, b"a", Some(&long));
        check(2 * (3 + block), 4, "it is led to from elsewhere, too");
        put(&one, b"a", Some(&long[1..]));
        check(2 * (3 + block), 4, "another one");
        put(&one, b"a", Some(&long[..2 * block_size as usize]));
        check(5 + 2 * block, 4, "a shorter one");
        put(&one, b"a", Some(b"short"));
        check(3 + 2 * block, 3, "none");
        put(&one, b"a", Some(&long));
        check(2 * (3 + block), 4, "a value again");
        // More than there is room for in an inode.
        let names = [[b'm'; 60], [b'n'; 60]];
        for node in [&one, &two] {
            for name in &names {
                put(node, name, Some(&long));
            }
        }
        check(2 * (9 + 1), 8, "a block of entries");
        assert_eq!(one.map_lock().file_acl, two.map_lock().file_acl);
        put(&one, &names[0], None);
        check(9 + 6 + 2, 7, "an entry less of a shared block");
        put(&one, &names[0], Some(&long));
        check(2 * (9 + 1), 8, "and again");
        for (name, node, blocks, inodes) in [(b"one", &one, 10, 4), (b"two", &two, 0, 0)] {
            link::unlink(&*root, name, &**node).unwrap();
            free(&**node, NOW).unwrap();
            node.evict();
            check(blocks, inodes, "gone");
        }
        let newborn = |value: &[u8]| {
            newborn(&mounted, 0o100_644, 1).with_attribute(Prefix::USER, b"a", value)
        };
        create(&*root, b"born", newborn(&long), What::Plain)
            .unwrap()
            .unlock();
        check(3 + block, 2, "born with one");
        drop((root, one, two));
        mounted.unmount().unwrap();
        mounted.vol.store.save(image.path()).unwrap();
        assert_eq!(image.fsck(), Ok(()));
    }
}

/// A value that is there though an owner may have no further inode or no further blocks, something that is left of it,
/// or the old value that is gone.
#[test]
fn values_that_owners_may_not_have() {
    let image = Mkfs::new(20 << 20, 1024).features("ea_inode").make();
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let file = file(&mounted, b"file");
    let put = |value: Option<&[u8]>| set(&*file, ATTRIBUTE, value, How::Any, None);
    let state = || {
        let counts = mounted.vol.space.counts();
        let mut value = [0; 5000];
        let value = match file
            .map_lock()
            .attribute(&mounted.vol, ATTRIBUTE, &mut value)
        {
            Ok(len) => Some((len, value[0])),
            Err(_) => None,
        };
        let counts = (counts.free_blocks_on_disk, counts.free_inodes);
        (counts, mounted.counted(), value)
    };
    let long = |of: u8| [of; 4000];
    for old in [None, Some(&long(1)[..])] {
        mounted.quota.set(None);
        mounted.inode_quota.set(None);
        put(old).unwrap();
        let before = state();
        for (blocks, inodes) in [(None, Some(0)), (Some(0), None), (Some(3), Some(1))] {
            mounted.quota.set(blocks);
            mounted.inode_quota.set(inodes);
            assert_eq!(put(Some(&long(2))), Err(EDQUOT));
            assert_eq!(state(), before);
            let left = mounted.inode_quota.get();
            assert_eq!(left, inodes, "what was counted is given back");
        }
        let newborn =
            || newborn(&mounted, 0o100_644, 1).with_attribute(Prefix::USER, b"a", &long(3));
        for (blocks, inodes) in [(None, Some(1)), (Some(3), None)] {
            mounted.quota.set(blocks);
            mounted.inode_quota.set(inodes);
            let made = create(&*root, b"born", newborn(), What::Plain);
            assert_eq!(made.map(|_| ()), Err(EDQUOT));
            assert_eq!(state(), before);
        }
    }
    // As much as there may be.
    mounted.quota.set(Some(4));
    mounted.inode_quota.set(Some(1));
    put(Some(&long(2))).unwrap();
    // The old one has gone.
    assert_eq!(mounted.inode_quota.get(), Some(1));
    mounted.quota.set(Some(0));
    mounted.inode_quota.set(Some(0));
    put(None).unwrap();
    assert_eq!(state().2, None);
    assert!(mounted.vol.store.reports().is_empty());
}

/// A value that a power cut has left without an entry, and that is counted as it goes.
#[test]
fn orphans_with_values_are_not_counted() {
    let image = Mkfs::new(20 << 20, 1024)
        .features("ea_inode,^metadata_csum,^orphan_file")
        .make();
    image.debugfs(&[
        "write /dev/null file".into(),
        format!("ea_set file user.big {}", "x".repeat(3000)),
    ]);
    let ino = image.debugfs(&["inode_dump -x file"]);
    let (_, ino) = ino.split_once("value_inum = ").unwrap();
    let ino: String = ino.chars().take_while(char::is_ascii_digit).collect();
    image.debugfs(&[
        format!("ssv last_orphan {ino}"),
        format!("sif <{ino}> links_count 0"),
    ]);
    let mounted = mount(&image);
    let raw = image.read_super();
    let left = mounted.orphans.left_over(&mounted.vol, &raw).unwrap();
    assert_eq!(left.len(), 1);
    let node = Node::get_orphan(&mounted, left[0]).unwrap();
    assert_ne!(node.map_lock().map.sectors(), 0);
    free(&*node, NOW).unwrap();
    node.evict();
    assert_eq!(mounted.counted(), (0, 0));
}

/// Something is left of what an owner may not have, or is had all the same.
#[test]
fn what_owners_may_not_have() {
    let image = image(1024);
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let file = file(&mounted, b"file");
    write(&file, 0..1, |_, _| ());
    let counts = || {
        let counts = mounted.vol.space.counts();
        (counts.free_blocks, counts.free_inodes)
    };
    let before = (counts(), mounted.counted());
    mounted.quota.set(Some(0));
    mounted.inode_quota.set(Some(0));
    let what = What::Link {
        target: &[b'x'; 200],
    };
    for (mode, links, what) in [
        (0o100_644, 1, What::Plain),
        (0o040_755, 2, What::Plain),
        (0o120_777, 1, what),
    ] {
        let made = make(&root, b"name", mode, links, what);
        assert_eq!(made.map(|_| ()), Err(EDQUOT));
        bury(&mounted);
    }
    let place = (LogicalBlock::new(5), 3);
    let end = 8 * 1024;
    let done = with_pages(&file, |pages| allocate(&*file, pages, 0..end, false));
    assert_eq!(done, Err(EDQUOT));
    let mut inode = file.map_lock();
    assert_eq!(
        target::reserve(&*file, &mut inode, place, true).map(|_| ()),
        Err(EDQUOT)
    );
    assert_eq!(
        target::reserve(&*file, &mut inode, place, false).map(|_| ()),
        Err(EAGAIN)
    );
    assert_eq!(
        target::direct(&*file, &mut inode, place, end).map(|_| ()),
        Err(EDQUOT)
    );
    assert_eq!(
        target::direct_now(&*file, &mut inode, place, end).map(|_| ()),
        Err(EAGAIN)
    );
    // What is there can be written to.
    let there = (LogicalBlock::ZERO, 1);
    assert!(target::direct(&*file, &mut inode, there, 1024).is_ok());
    drop(inode);
    let big = Some(&[7; 600][..]);
    assert_eq!(set(&*file, ATTRIBUTE, big, How::Any, None), Err(EDQUOT));
    assert_eq!(
        set(&*file, ATTRIBUTE, Some(b"short"), How::Any, None),
        Ok(())
    );
    assert_eq!((counts(), mounted.counted()), before);

    // As much as there may be of it.
    mounted.quota.set(Some(2));
    mounted.inode_quota.set(None);
    let mut inode = file.map_lock();
    let reserved = target::reserve(&*file, &mut inode, place, true).unwrap();
    assert_eq!((reserved.new, reserved.mapping.len), (true, 2));
    assert_eq!(
        target::direct(&*file, &mut inode, (LogicalBlock::new(20), 3), 1 << 20)
            .unwrap()
            .len,
        2
    );
    drop(inode);
    file.evict();
    mounted.quota.set(None);
    assert!(mounted.vol.store.reports().is_empty());
}

/// A new inode that does not count for the project of its directory, or one that does where it must not.
#[test]
fn projects() {
    let image = image(4096);
    image.debugfs(&[
        "mkdir dir",
        "sif dir projid 42",
        "sif dir flags 0x20080000",
        "mkdir other",
    ]);
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let find = |name: &[u8]| {
        let found = iomapfs_core::names::lookup(&iomapfs_core::change::Dir::new(&*root), name);
        Node::get(&mounted, found.unwrap().unwrap().ino).unwrap()
    };
    let (dir, other) = (find(b"dir"), find(b"other"));
    assert_eq!((dir.attrs().project, other.attrs().project), (42, 0));
    assert!(dir.flags().has(InodeFlags::PROJINHERIT));
    let of = |project| {
        let attrs = Attrs {
            project,
            ..new_attrs(0o100_644, 1)
        };
        NewNode::new(&mounted, attrs, 1)
    };
    let ours = create(&*dir, b"ours", of(42), What::Plain)
        .unwrap()
        .unlock();
    let theirs = create(&*other, b"theirs", of(0), What::Plain)
        .unwrap()
        .unlock();
    assert!(!ours.flags().has(InodeFlags::PROJINHERIT));
    let below = Attrs {
        project: 42,
        ..new_attrs(0o040_755, 2)
    };
    let below = create(
        &*dir,
        b"below",
        NewNode::new(&mounted, below, 1),
        What::Plain,
    )
    .unwrap();
    assert!(below.unlock().flags().has(InodeFlags::PROJINHERIT));
    fn side<'a>(dir: &'a Node, name: &'a [u8], inode: Option<&'a Node>) -> Side<'a, Node> {
        Side { dir, name, inode }
    }
    let moved = |old, new| rename(old, new, None::<NewNode>).map(|_| ());
    assert_eq!(link::link(&*theirs, &*dir, b"link"), Err(EXDEV));
    let (out, into) = (
        side(&other, b"theirs", Some(&theirs)),
        side(&dir, b"theirs", None),
    );
    assert_eq!(moved(out, into), Err(EXDEV));
    let inside = side(&dir, b"ours", Some(&ours));
    assert_eq!(exchange(out, inside), Err(EXDEV));
    assert_eq!(exchange(inside, out), Err(EXDEV));
    assert_eq!(moved(inside, side(&other, b"ours", None)), Ok(()));
    assert_eq!(link::link(&*ours, &*dir, b"link"), Ok(()));
    mounted.unmount().unwrap();
    mounted.vol.store.save(image.path()).unwrap();
    let text = image.debugfs(&["stat other/ours"]);
    assert!(text.contains("Project:    42"), "{text}");
}

/// Bytes of a quota file that are not where they were put.
#[test]
fn files() {
    for block_size in [1024_u64, 4096] {
        let image = image(block_size as u32);
        let mounted = mount(&image);
        let file = file(&mounted, b"file");
        let write = |pos: u64, from: &[u8]| {
            let credits = quota::credits(&mounted.vol, 1);
            let mut tx = mounted.vol.store.begin(credits)?;
            quota::write_bytes(&*file, &mut tx, pos, from)
        };
        let read = |pos: u64, len: usize| {
            let mut to = vec![0; len];
            let len = quota::read(&*file, pos, &mut to).unwrap();
            to.truncate(len);
            to
        };
        assert_eq!(read(0, 10), b"");
        write(5, b"record").unwrap();
        assert_eq!((read(3, 100), file.size()), (b"\0\0record".to_vec(), 11));
        // Over the edge of a block, with a hole before.
        let edge = 7 * block_size;
        write(edge - 3, b"abcdef").unwrap();
        assert_eq!(read(edge - 5, 9), b"\0\0abcdef");
        assert_eq!(read(2 * block_size, 4), b"\0\0\0\0");
        write(edge - 1, b"XY").unwrap();
        assert_eq!(read(edge - 3, 6), b"abXYef");
        assert_eq!(read(edge + 3, 1), b"");
        assert_eq!(write(u64::MAX - 3, b"abc"), Err(EFBIG));
        mounted.unmount().unwrap();
        mounted.vol.store.drop_cache();
        assert_eq!(read(edge - 3, 6), b"abXYef");
        assert_eq!(read(5, 6), b"record");
    }
}
