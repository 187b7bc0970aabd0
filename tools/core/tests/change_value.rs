// SPDX-License-Identifier: GPL-2.0

//! Extended attributes whose values are in inodes of their own: read as debugfs has written them, shared, given up, and
//! found to be damaged.

mod change_common;

use change_common::*;
use iomapfs_core::change::create::{create, What};
use iomapfs_core::change::free::free;
use iomapfs_core::change::xattr::set;
use iomapfs_core::change::{link, Live};
use iomapfs_core::disk::xattr::{Name, Prefix};
use iomapfs_core::disk::{Flaw, Ino};
use iomapfs_core::host::{new_attrs, Image, Mkfs, Mounted, NewNode, Node};
use iomapfs_core::inode::How;
use kernel::error::{code::*, Result};
use kernel::host::fail_allocation;
use std::rc::Rc;

const NOW: u32 = 1_700_000_000;

fn user(rest: &[u8]) -> Name<'_> {
    Name {
        prefix: Prefix::USER,
        rest,
    }
}

fn get(node: &Node, name: &[u8]) -> Result<Vec<u8>> {
    let inode = node.map_lock();
    let mut value = vec![0; inode.attribute(node.volume(), user(name), &mut [])?];
    let len = inode.attribute(node.volume(), user(name), &mut value)?;
    assert_eq!(len, value.len());
    Ok(value)
}

fn put(node: &Node, name: &[u8], value: &[u8]) -> Result {
    set(node, user(name), Some(value), How::Any, None)
}

fn remove(node: &Node, name: &[u8]) -> Result {
    set(node, user(name), None, How::Replace, None)
}

fn value(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| b'a' + ((n as u32 * 7 / 3) as u8 ^ seed) % 26)
        .collect()
}

fn checked(mounted: Rc<Mounted>, image: &Image, what: &str) {
    mounted.vol.store.save(image.path()).unwrap();
    drop(mounted);
    assert_eq!(image.fsck(), Ok(()), "{what}");
}

fn named(mounted: &Rc<Mounted>, image: &Image, name: &str) -> Result<Rc<Node>> {
    Node::get(mounted, Ino::new(field(image, name, "Inode: ")).unwrap())
}

/// A number that debugfs says of an inode.
fn field(image: &Image, name: &str, before: &str) -> u32 {
    let text = image.debugfs(&[format!("stat {name}")]);
    let (_, number) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{before}: {text}"));
    number.split_whitespace().next().unwrap().parse().unwrap()
}

/// An image of debugfs with a file and a value in an inode, which is returned, too.
fn theirs(mkfs: &Mkfs, value: &[u8]) -> (Image, u32) {
    let image = mkfs.make();
    image.debugfs(&[
        "write /dev/null file".into(),
        format!(
            "ea_set file user.big {}",
            std::str::from_utf8(value).unwrap()
        ),
    ]);
    let listed = image.debugfs(&["inode_dump -x file"]);
    let (_, ino) = listed
        .split_once("value_inum = ")
        .or_else(|| listed.split_once("value_inum="))
        .unwrap_or_else(|| panic!("{listed}"));
    let digits: String = ino.chars().take_while(char::is_ascii_digit).collect();
    (image, digits.parse().unwrap())
}

fn mkfs() -> Mkfs {
    Mkfs::new(20 << 20, 1024)
        .features("ea_inode")
        .inode_size(256)
}

/// How many inodes and blocks are free.
fn free_counts(mounted: &Mounted) -> (u64, u64) {
    let counts = mounted.vol.space.counts();
    (counts.free_inodes, counts.free_blocks_on_disk)
}

#[test]
fn as_debugfs_writes() {
    for features in [
        "ea_inode",
        "ea_inode,^metadata_csum",
        "ea_inode,metadata_csum_seed",
    ] {
        for len in [1000, 1500, 3000, 7000] {
            let (image, _) = theirs(&mkfs().features(features), &value(1, len));
            let mounted = mount(&image);
            let file = named(&mounted, &image, "file").unwrap();
            assert_eq!(
                get(&file, b"big").unwrap(),
                value(1, len),
                "{features} {len}"
            );
            let mut short = vec![0; len - 1];
            let inode = file.map_lock();
            let read = inode.attribute(&mounted.vol, user(b"big"), &mut short);
            assert_eq!(read, Err(ERANGE));
            drop(inode);
            // What was read is found, and shared.
            let other = file_of(&mounted, b"other");
            let before = free_counts(&mounted);
            put(&other, b"big", &value(1, len)).unwrap();
            assert_eq!(free_counts(&mounted), before);
            remove(&file, b"big").unwrap();
            assert_eq!(get(&other, b"big").unwrap(), value(1, len));
            drop((file, other));
            checked(mounted, &image, features);
        }
    }
}

fn file_of(mounted: &Rc<Mounted>, name: &[u8]) -> Rc<Node> {
    change_common::file(mounted, name)
}

#[test]
fn as_debugfs_reads() {
    let image = mkfs().make();
    let mounted = mount(&image);
    let file = file_of(&mounted, b"file");
    let text = "t".repeat(5000);
    put(&file, b"big", text.as_bytes()).unwrap();
    drop(file);
    checked(mounted, &image, "ours");
    assert!(image.debugfs(&["ea_get -V file user.big"]).contains(&text));
}

#[test]
fn equal_values_share_an_inode() {
    let image = mkfs().make();
    let mounted = mount(&image);
    let nodes: Vec<_> = (0..5u8).map(|n| file_of(&mounted, &[b'a' + n])).collect();
    let empty = free_counts(&mounted);
    let big = value(3, 10_000);
    for node in &nodes {
        put(node, b"name", &big).unwrap();
        // Again is the same.
        put(node, b"name", &big).unwrap();
    }
    assert_eq!(free_counts(&mounted), (empty.0 - 1, empty.1 - 10));
    put(&nodes[0], b"name", &value(4, 10_000)).unwrap();
    assert_eq!(free_counts(&mounted), (empty.0 - 2, empty.1 - 20));
    put(&nodes[0], b"name", &big).unwrap();
    assert_eq!(free_counts(&mounted), (empty.0 - 1, empty.1 - 10));
    for node in &nodes {
        assert_eq!(get(node, b"name").unwrap(), big);
        assert_eq!(node.map_lock().map.sectors(), 20);
    }
    for node in &nodes[1..] {
        remove(node, b"name").unwrap();
        assert_eq!(node.map_lock().map.sectors(), 0);
    }
    assert_eq!(get(&nodes[0], b"name").unwrap(), big);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    link::unlink(&*root, b"a", &*nodes[0]).unwrap();
    free(&*nodes[0], NOW).unwrap();
    nodes[0].evict();
    let (inodes, blocks) = free_counts(&mounted);
    assert_eq!((inodes, blocks), (empty.0 + 1, empty.1));
    drop((nodes, root));
    checked(mounted, &image, "all are gone");
}

/// Would catch: an inode with a value that counts inodes in place of blocks, or is given up with a block that others
/// use.
#[test]
fn shared_blocks_count_once() {
    for inode_size in [128, 256] {
        let image = mkfs().inode_size(inode_size).make();
        let mounted = mount(&image);
        let nodes: Vec<_> = (0..4u8).map(|n| file_of(&mounted, &[b'a' + n])).collect();
        let empty = free_counts(&mounted);
        let names: Vec<[u8; 40]> = (0..3u8).map(|n| [b'n' + n; 40]).collect();
        for node in &nodes {
            put(node, b"small", &[5; 100]).unwrap();
            for (n, name) in names.iter().enumerate() {
                put(node, name, &value(n as u8, 3000)).unwrap();
            }
        }
        let (inodes, blocks) = free_counts(&mounted);
        assert_eq!(
            (inodes, blocks),
            (empty.0 - 3, empty.1 - 10),
            "{inode_size}"
        );
        // One leaves the others what they have.
        put(&nodes[1], &names[1], &value(9, 2000)).unwrap();
        remove(&nodes[2], &names[0]).unwrap();
        for (n, name) in names.iter().enumerate() {
            assert_eq!(get(&nodes[0], name).unwrap(), value(n as u8, 3000));
        }
        assert_eq!(get(&nodes[2], &names[2]).unwrap(), value(2, 3000));
        mounted.vol.store.save(image.path()).unwrap();
        assert_eq!(image.fsck(), Ok(()), "{inode_size}: shared");
        let root = Node::get(&mounted, Ino::ROOT).unwrap();
        for (n, node) in nodes.iter().enumerate() {
            link::unlink(&*root, &[b'a' + n as u8], &**node).unwrap();
            free(&**node, NOW).unwrap();
            node.evict();
        }
        let (inodes, blocks) = free_counts(&mounted);
        assert_eq!((inodes, blocks), (empty.0 + 4, empty.1), "{inode_size}");
        drop((nodes, root));
        checked(mounted, &image, "all are gone");
    }
}

/// Would catch: an inode or a block that is lost, or an attribute that is half changed, where there is no memory.
#[test]
fn nothing_is_left_without_memory() {
    let image = mkfs().make();
    let mounted = mount(&image);
    let node = file_of(&mounted, b"file");
    put(&node, b"name", &value(1, 9000)).unwrap();
    let before = free_counts(&mounted);
    for nth in 0.. {
        fail_allocation(Some(nth));
        let done = put(&node, b"name", &value(2, 9000));
        fail_allocation(None);
        let found = get(&node, b"name").unwrap();
        match done {
            Ok(()) => {
                assert_eq!(found, value(2, 9000));
                assert!(nth > 5, "{nth}");
                break;
            }
            Err(error) => assert_eq!((error, &found), (ENOMEM, &value(1, 9000)), "{nth}"),
        }
        assert_eq!(free_counts(&mounted), before, "{nth}");
    }
    assert_eq!(free_counts(&mounted), before);
    drop(node);
    checked(mounted, &image, "no memory");
}

/// Would catch: what stays of a value for which there is no space, or a value that is gone as the next one found none.
#[test]
fn nothing_is_left_without_space() {
    let image = Mkfs::new(4 << 20, 1024).features("ea_inode").make();
    let mounted = mount(&image);
    let node = file_of(&mounted, b"file");
    let mut kept = 0;
    let refused = loop {
        let name = format!("n{kept}");
        match put(&node, name.as_bytes(), &value(kept as u8, 60_000 + kept)) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, ENOSPC);
    let before = free_counts(&mounted);
    assert!(before.1 < 400, "{before:?}");
    assert_eq!(put(&node, b"n0", &value(77, 65536)), Err(ENOSPC));
    assert_eq!(free_counts(&mounted), before);
    for n in 0..kept {
        let found = get(&node, format!("n{n}").as_bytes()).unwrap();
        assert_eq!(found, value(n as u8, 60_000 + n));
    }
    drop(node);
    checked(mounted, &image, "full");
}

/// Would catch: a symbolic link that e2fsck takes for one with its target in a block, as it occupies the block of a
/// value and has no block with attributes.
#[test]
fn of_a_short_link() {
    for born_with in [true, false] {
        let image = mkfs().make();
        let mounted = mount(&image);
        let root = Node::get(&mounted, Ino::ROOT).unwrap();
        let big = value(3, 3000);
        let mut newborn = NewNode::new(&mounted, new_attrs(0o120_777, 1), 5);
        if born_with {
            newborn = newborn.with_attribute(Prefix::USER, b"big", &big);
        }
        let target = &[b'm'; 38];
        let made = create(&*root, b"link", newborn, What::Link { target });
        let link = made.unwrap().unlock();
        if !born_with {
            put(&link, b"big", &big).unwrap();
        }
        put(&link, b"small", b"in the inode").unwrap();
        assert_eq!(get(&link, b"big").unwrap(), big);
        put(&link, b"big", &value(5, 2000)).unwrap();
        assert_eq!(get(&link, b"big").unwrap(), value(5, 2000));
        drop((link, root));
        checked(mounted, &image, "a link");
    }
}

#[test]
fn born_with_a_long_list() {
    for long in [1000, 9000] {
        let image = mkfs().make();
        let mounted = mount(&image);
        let root = Node::get(&mounted, Ino::ROOT).unwrap();
        let make = |name: &[u8], more: bool| {
            let mut newborn = NewNode::new(&mounted, new_attrs(0o100_644, 1), 5)
                .with_attribute(Prefix::ACL_ACCESS, b"", &value(4, long))
                .with_attribute(Prefix::USER, b"n", &[2; 300]);
            if more {
                newborn = newborn.with_attribute(Prefix::USER, b"m", &[2; 900]);
            }
            create(&*root, name, newborn, What::Plain).map(|node| node.unlock())
        };
        let first = make(b"first", false).unwrap();
        let one = free_counts(&mounted);
        let second = make(b"second", false).unwrap();
        let blocks = free_counts(&mounted).1;
        assert_eq!(blocks, one.1, "both have the same");
        let before = free_counts(&mounted);
        assert_eq!(make(b"third", true).err(), Some(ENOSPC));
        assert_eq!(free_counts(&mounted), before);
        let name = Name {
            prefix: Prefix::ACL_ACCESS,
            rest: b"",
        };
        let mut read = vec![0; long];
        let inode = second.map_lock();
        assert_eq!(inode.attribute(&mounted.vol, name, &mut read), Ok(long));
        assert_eq!(read, value(4, long));
        drop(inode);
        drop((first, second, root));
        checked(mounted, &image, "born");
    }
}

/// What reading the value comes to after debugfs has done something to the image.
fn damaged(commands: impl Fn(u32) -> Vec<String>) -> (Result<Vec<u8>>, Vec<Flaw>) {
    let features = "ea_inode,^metadata_csum";
    let (image, ino) = theirs(&mkfs().features(features), &value(1, 3000));
    image.debugfs(&commands(ino));
    let mounted = mount(&image);
    let file = named(&mounted, &image, "file");
    let read = file.and_then(|file| get(&file, b"big"));
    (read, mounted.vol.store.take_flaws())
}

#[test]
fn each_damage_has_a_name() {
    let set = |ino: u32, field: &str, to: &str| vec![format!("sif <{ino}> {field} {to}")];
    assert_eq!(damaged(|_| vec![]).0.unwrap(), value(1, 3000));
    let flaws = |commands: &dyn Fn(u32) -> Vec<String>| {
        let (read, flaws) = damaged(commands);
        assert_eq!(read, Err(EUCLEAN), "{flaws:?}");
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        flaws[0]
    };
    assert_eq!(flaws(&|ino| set(ino, "flags", "0x80000")), Flaw::ValueFlag);
    assert_eq!(
        flaws(&|ino| set(ino, "mode", "040755")),
        Flaw::InodeMode { mode: 0o40755 }
    );
    assert_eq!(
        flaws(&|ino| set(ino, "size", "3001")),
        Flaw::ValueSize {
            size: 3001,
            expected: 3000
        }
    );
    assert_eq!(
        flaws(&|ino| set(ino, "links_count", "2")),
        Flaw::ValueUsers { links: 2, users: 1 }
    );
    assert_eq!(
        flaws(&|ino| set(ino, "links_count", "0")),
        Flaw::ValueUsers { links: 0, users: 1 }
    );
    assert_eq!(
        flaws(&|ino| set(ino, "version", "0")),
        Flaw::ValueUsers { links: 1, users: 0 }
    );
    assert_eq!(flaws(&|ino| set(ino, "file_acl", "300")), Flaw::ValueXattr);
    assert!(matches!(
        flaws(&|ino| set(ino, "atime", "@0x1234")),
        Flaw::ValueHash { .. }
    ));
    assert_eq!(
        flaws(&|ino| vec![
            format!("punch <{ino}> 1 1"),
            format!("sif <{ino}> size 3000")
        ]),
        Flaw::ValueHole { block: 1 }
    );
}

/// Would catch: a value in an inode where the file system has none, or one that an entry cannot have.
#[test]
fn entries_that_cannot_be() {
    let features = "ea_inode,^metadata_csum";
    let (image, ino) = theirs(&mkfs().features(features), &value(1, 3000));
    let entry = |bytes: &[u8]| {
        let mut found = bytes.windows(4).enumerate();
        let (at, _) = found
            .find(|(at, word)| {
                *word == ino.to_le_bytes() && bytes[at + 4..at + 8] == 3000u32.to_le_bytes()
            })
            .unwrap();
        at
    };
    let good = std::fs::read(image.path()).unwrap();
    let at = entry(&good);
    let file = field(&image, "file", "Inode: ");
    for (offset, to, flaw) in [
        (4, 0, Flaw::XattrSize { size: 0, ino }),
        (4, 1 << 25, Flaw::XattrSize { size: 1 << 25, ino }),
        (0, file, Flaw::ValueSelf),
        (0, 2, Flaw::ValueFlag),
        (0, 1 << 30, Flaw::InodeNumber),
        (0, 8, Flaw::InodeNumber),
    ] {
        let mut bytes = good.clone();
        bytes[at + offset..at + offset + 4].copy_from_slice(&u32::to_le_bytes(to));
        std::fs::write(image.path(), bytes).unwrap();
        let mounted = mount(&image);
        let read = named(&mounted, &image, "file").and_then(|file| get(&file, b"big"));
        assert_eq!(read, Err(EUCLEAN), "{flaw:?}");
        assert_eq!(mounted.vol.store.take_flaws(), [flaw]);
    }
    // The hash of the entry.
    let mut bytes = good.clone();
    bytes[at + 8] ^= 1;
    std::fs::write(image.path(), bytes).unwrap();
    let mounted = mount(&image);
    let node = named(&mounted, &image, "file").unwrap();
    assert_eq!(get(&node, b"big"), Err(EUCLEAN));
    let flaws = mounted.vol.store.take_flaws();
    assert!(
        matches!(flaws[..], [Flaw::ValueEntryHash { .. }]),
        "{flaws:?}"
    );
    drop(node);
    // No name and no handle leads to such an inode.
    assert_eq!(
        Node::get(&mounted, Ino::new(ino).unwrap()).err(),
        Some(ESTALE)
    );
    drop(mounted);
    std::fs::write(image.path(), &good).unwrap();
    image.debugfs(&["feature -ea_inode"]);
    let mounted = mount(&image);
    let read = named(&mounted, &image, "file").and_then(|file| get(&file, b"big"));
    assert_eq!(read, Err(EUCLEAN));
    let flaws = mounted.vol.store.take_flaws();
    assert_eq!(flaws, [Flaw::XattrInode { ino }]);
}

/// The old form: no hash, and the inode says whose it is.
#[test]
fn old_form() {
    let features = "ea_inode,^metadata_csum";
    let (image, ino) = theirs(&mkfs().features(features), &value(1, 3000));
    let file = field(&image, "file", "Inode: ");
    image.debugfs(&[
        format!("sif <{ino}> atime @0x12345678"),
        format!("sif <{ino}> ctime @0x12345678"),
        format!("sif <{ino}> version 0"),
        format!("sif <{ino}> mtime @{file}"),
        format!("sif <{ino}> generation 7"),
        "sif file generation 7".into(),
        "sif file blocks 0".into(),
    ]);
    let mounted = mount(&image);
    let node = named(&mounted, &image, "file").unwrap();
    assert_eq!(get(&node, b"big").unwrap(), value(1, 3000));
    let before = free_counts(&mounted);
    remove(&node, b"big").unwrap();
    assert_eq!(node.map_lock().map.sectors(), 0);
    assert_eq!(free_counts(&mounted), (before.0 + 1, before.1 + 3));
    drop(node);
    checked(mounted, &image, "old");
}

/// Would catch: a value that takes the room that is kept for names of values elsewhere, or one that is put elsewhere
/// though there is room.
#[test]
fn room_is_kept_for_names() {
    let image = mkfs().inode_size(128).make();
    let mounted = mount(&image);
    for (len, inodes) in [(892, 0), (896, 0), (897, 1), (968, 1), (969, 1)] {
        let node = file_of(&mounted, format!("file{len}").as_bytes());
        let before = free_counts(&mounted);
        put(&node, b"n", &value(5, len)).unwrap();
        assert_eq!(free_counts(&mounted).0, before.0 - inodes, "{len}");
        assert_eq!(get(&node, b"n").unwrap(), value(5, len));
    }
    checked(mounted, &image, "room");
}

/// Would catch: an inode with a value that counts an entry of a block which was not made after all.
#[test]
fn all_are_counted_or_none() {
    let image = Mkfs::new(20 << 20, 1024)
        .features("ea_inode,^metadata_csum")
        .inode_size(128)
        .make();
    let mounted = mount(&image);
    let nodes: Vec<_> = (0..2u8).map(|n| file_of(&mounted, &[b'a' + n])).collect();
    for node in &nodes {
        put(node, b"first", &value(1, 3000)).unwrap();
        put(node, b"last", &value(2, 3000)).unwrap();
    }
    // The entry with the longer name is the last.
    let (first, last) = (15, 14);
    drop(nodes);
    checked(mounted, &image, "two share a block");
    let links = |ino| field(&image, &format!("<{ino}>"), "Links: ");
    let version = |ino: u32| {
        let text = image.debugfs(&[format!("stat <{ino}>")]);
        text.contains("Version: 0x00000001")
    };
    assert!(links(first) == 1 && links(last) == 1 && version(first) && version(last));
    image.debugfs(&[format!("sif <{last}> links_count 3")]);
    let mounted = mount(&image);
    let node = named(&mounted, &image, "b").unwrap();
    assert_eq!(put(&node, b"more", b"small"), Err(EUCLEAN));
    assert_eq!(get(&node, b"more"), Err(ENODATA));
    drop(node);
    mounted.vol.store.save(image.path()).unwrap();
    drop(mounted);
    assert!(version(first) && version(last));
}
