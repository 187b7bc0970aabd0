// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: set, replaced, moved between inode and block, shared and given up, against a model and
//! e2fsprogs.

mod change_common;

use change_common::*;
use iomapfs_core::change::create::{create, tmpfile, What};
use iomapfs_core::change::free::free;
use iomapfs_core::change::xattr::set;
use iomapfs_core::change::{link, Live};
use iomapfs_core::disk::xattr::{Name, Prefix};
use iomapfs_core::disk::{Flaw, Ino, PhysBlock};
use iomapfs_core::host::{new_attrs, HostStore, Image, Mkfs, Mounted, NewNode, Node};
use iomapfs_core::inode::How;
use kernel::error::{code::*, Result};
use kernel::host::fail_allocation;
use std::collections::BTreeMap;
use std::rc::Rc;

fn user(rest: &[u8]) -> Name<'_> {
    Name {
        prefix: Prefix::USER,
        rest,
    }
}

fn get(node: &Node, name: Name<'_>) -> Result<Vec<u8>> {
    let inode = node.map_lock();
    let mut value = vec![0; inode.attribute(node.volume(), name, &mut [])?];
    let len = inode.attribute(node.volume(), name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

fn put(node: &Node, name: Name<'_>, value: &[u8]) -> Result {
    set(node, name, Some(value), How::Any, None)
}

type All = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// All attributes of an inode.
fn all(node: &Node) -> All {
    let mut names = Vec::new();
    let listed = node.map_lock().list_attributes(node.volume(), |name| {
        names.push((name.prefix, name.rest.to_vec()));
        Ok(())
    });
    listed.unwrap();
    let value = |(prefix, rest): (Prefix, Vec<u8>)| {
        let value = get(
            node,
            Name {
                prefix,
                rest: &rest,
            },
        )
        .unwrap();
        ((prefix.0, rest), value)
    };
    let count = names.len();
    let all: All = names.into_iter().map(value).collect();
    assert_eq!(all.len(), count, "a name is there twice");
    all
}

/// The file system is unmounted, and e2fsck is content with it.
fn checked(mounted: Rc<Mounted>, image: &Image, what: &str) {
    mounted.vol.store.save(image.path()).unwrap();
    drop(mounted);
    assert_eq!(image.fsck(), Ok(()), "{what}");
}

/// The inode that debugfs finds by a name.
fn named(mounted: &Rc<Mounted>, image: &Image, name: &str) -> Rc<Node> {
    let text = image.debugfs(&[format!("stat {name}")]);
    let (_, ino) = text.split_once("Inode: ").unwrap();
    let ino = ino.split_whitespace().next().unwrap().parse().unwrap();
    Node::get(mounted, Ino::new(ino).unwrap()).unwrap()
}

fn images() -> Vec<(String, Mkfs)> {
    let mut images = Vec::new();
    for (size, inode_size, features) in [
        (1024, 128, "^metadata_csum"),
        (1024, 256, "metadata_csum"),
        (4096, 256, "^metadata_csum,^ext_attr"),
        (4096, 512, "metadata_csum"),
        (1024, 1024, "metadata_csum_seed"),
        (1024, 128, "ea_inode,^metadata_csum"),
        (1024, 256, "ea_inode"),
        (4096, 256, "ea_inode,metadata_csum_seed"),
    ] {
        let mkfs = Mkfs::new(20 << 20, size)
            .features(features)
            .inode_size(inode_size);
        images.push((format!("{size} {inode_size} {features}"), mkfs));
    }
    images
}

/// A small generator of numbers, so that each run is the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn as_the_model_says() {
    for (what, mkfs) in images() {
        let image = mkfs.make();
        let mounted = mount(&image);
        let mut nodes: Vec<Rc<Node>> = (0..4u8).map(|n| file(&mounted, &[b'a' + n])).collect();
        let mut models: Vec<All> = vec![All::new(); nodes.len()];
        let block = mounted.vol.layout.block_size().bytes() as usize;
        let mut numbers = Numbers(88172645463325252);
        let prefixes = [
            Prefix::USER,
            Prefix::TRUSTED,
            Prefix::SECURITY,
            Prefix::ACL_ACCESS,
        ];
        let mut full = 0;
        for round in 0..3000 {
            let n = numbers.below(nodes.len());
            let prefix = prefixes[numbers.below(prefixes.len())];
            let rest = match prefix.is_acl() {
                true => vec![],
                false => vec![b'n' + numbers.below(3) as u8; 1 + numbers.below(9)],
            };
            let name = Name {
                prefix,
                rest: &rest,
            };
            let key = (prefix.0, rest.clone());
            let how = [How::Any, How::Any, How::Create, How::Replace][numbers.below(4)];
            // Few values, so that blocks are equal now and then.
            let lens = [0, 1, 20, 57, 200, block / 2, block - 60];
            let len = match what.contains("ea_inode") {
                true if numbers.below(3) == 0 => [block - 50, 5000, 65536][numbers.below(3)],
                _ => lens[numbers.below(lens.len())],
            };
            let value = vec![numbers.below(2) as u8 + 1; len];
            let value = (numbers.below(4) != 0).then_some(&*value);
            let done = set(&*nodes[n], name, value, how, None);
            let model = &mut models[n];
            match done {
                Err(error) if error == ENOSPC => {
                    assert!(value.is_some());
                    full += 1;
                }
                Err(error) if error == EEXIST => {
                    assert!(how == How::Create && model.contains_key(&key));
                }
                Err(error) if error == ENODATA => {
                    assert!(how == How::Replace && !model.contains_key(&key));
                }
                Err(error) => panic!("{what} {round}: {error:?}"),
                Ok(()) => {
                    match how {
                        How::Any => {}
                        How::Create => assert!(!model.contains_key(&key)),
                        How::Replace => assert!(model.contains_key(&key)),
                    }
                    match value {
                        Some(value) => model.insert(key, value.to_vec()),
                        None => model.remove(&key),
                    };
                }
            }
            assert_eq!(&all(&nodes[n]), model, "{what} {round}");
            if round % 100 == 0 {
                // Another inode by that name, whose attributes are given up.
                let n = numbers.below(nodes.len());
                let name = [b'a' + n as u8];
                let root = Node::get(&mounted, Ino::ROOT).unwrap();
                link::unlink(&*root, &name, &*nodes[n]).unwrap();
                free(&*nodes[n], 1_700_000_000).unwrap();
                nodes[n].evict();
                nodes[n] = file(&mounted, &name);
                models[n].clear();
            }
            if round % 300 == 0 {
                mounted.vol.store.drop_cache();
            }
        }
        assert!(
            full > 20 || what.contains("ea_inode"),
            "{what}: some did not fit ({full})"
        );
        for (node, model) in nodes.iter().zip(&models) {
            assert_eq!(&all(node), model);
        }
        drop(nodes);
        checked(mounted, &image, &what);
        let features = image.dumpe2fs_value("Filesystem features").unwrap();
        assert!(features.contains("ext_attr"), "{features}");
        let mounted = mount(&image);
        for (n, model) in models.iter().enumerate() {
            let node = named(&mounted, &image, ["a", "b", "c", "d"][n]);
            assert_eq!(&all(&node), model, "{what}: read again");
        }
    }
}

#[test]
fn as_debugfs_reads_and_writes() {
    for (what, mkfs) in images() {
        if what.contains("^ext_attr") {
            // debugfs does not do it there.
            continue;
        }
        let image = mkfs.make();
        let long = "v".repeat(400);
        image.debugfs(&[
            "write /dev/null theirs".into(),
            "ea_set theirs user.short text".into(),
            format!("ea_set theirs user.long {long}"),
        ]);
        let mounted = mount(&image);
        let theirs = named(&mounted, &image, "theirs");
        assert_eq!(get(&theirs, user(b"short")).unwrap(), b"text", "{what}");
        assert_eq!(get(&theirs, user(b"long")).unwrap(), long.as_bytes());
        assert_eq!(get(&theirs, user(b"lon")), Err(ENODATA));
        put(&theirs, user(b"short"), b"").unwrap();
        let ours = file(&mounted, b"ours");
        put(&ours, user(b"short"), b"text").unwrap();
        put(&ours, user(b"long"), long.as_bytes()).unwrap();
        put(
            &ours,
            Name {
                prefix: Prefix::TRUSTED,
                rest: b"more",
            },
            b"1",
        )
        .unwrap();
        drop((theirs, ours));
        checked(mounted, &image, &what);
        let text = image.debugfs(&[
            "ea_get -V ours user.short",
            "ea_get -V ours user.long",
            "ea_get -V ours trusted.more",
        ]);
        assert!(text.contains("text") && text.contains(&long), "{text}");
        assert!(text.lines().any(|line| line == "1"), "{text}");
        assert!(image
            .debugfs(&["ea_list theirs"])
            .contains("user.short (0)"));
    }
}

/// The block of an inode, and how many use it.
fn block_of(node: &Node) -> (Option<u64>, u64) {
    let inode = node.map_lock();
    (inode.file_acl.map(|nr| nr.get()), inode.map.sectors())
}

#[test]
fn equal_attributes_share_a_block() {
    let image = Mkfs::new(20 << 20, 1024).inode_size(256).make();
    let mounted = mount(&image);
    let value = [7; 300];
    let free_blocks = || mounted.vol.space.counts().free_blocks_on_disk;
    let before = free_blocks();
    let nodes: Vec<_> = (0..1030u32)
        .map(|n| file(&mounted, format!("file{n}").as_bytes()))
        .collect();
    let names = before - free_blocks();
    for node in &nodes {
        put(node, user(b"name"), &value).unwrap();
    }
    let (first, _) = block_of(&nodes[0]);
    assert!(nodes[..1024]
        .iter()
        .all(|node| block_of(node) == (first, 2)));
    // A block counts at most 1024 users.
    let (second, _) = block_of(&nodes[1024]);
    assert!(second != first);
    assert!(nodes[1024..]
        .iter()
        .all(|node| block_of(node) == (second, 2)));
    assert_eq!(before - free_blocks(), names + 2);
    // The one that changes leaves the others what they have.
    put(&nodes[3], user(b"name"), &[8; 300]).unwrap();
    assert!(block_of(&nodes[3]).0 != first);
    assert_eq!(get(&nodes[4], user(b"name")).unwrap(), value);
    put(&nodes[3], user(b"name"), &value).unwrap();
    // Seen last is the second block.
    assert_eq!(block_of(&nodes[3]).0, second);
    for node in &nodes {
        set(&**node, user(b"name"), None, How::Replace, None).unwrap();
        assert_eq!(block_of(node), (None, 0));
    }
    assert_eq!(before - free_blocks(), names);
    drop(nodes);
    checked(mounted, &image, "all are gone");
}

#[test]
fn born_with_attributes() {
    let image = Mkfs::new(20 << 20, 1024).inode_size(256).make();
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let newborn = |links| {
        NewNode::new(&mounted, new_attrs(0o100_644, links), 5)
            .with_attribute(Prefix::SECURITY, b"label", b"small")
            .with_attribute(Prefix::ACL_ACCESS, b"", b"what it has is not looked at")
            .with_attribute(Prefix::USER, b"n", &[2; 300])
    };
    let node = create(&*root, b"new", newborn(1), What::Plain)
        .unwrap()
        .unlock();
    let label = Name {
        prefix: Prefix::SECURITY,
        rest: b"label",
    };
    assert_eq!(get(&node, label).unwrap(), b"small");
    assert_eq!(get(&node, user(b"n")).unwrap(), [2; 300]);
    let other = tmpfile(&*root, newborn(1)).unwrap().unlock();
    assert_eq!(all(&other), all(&node));
    assert_eq!(block_of(&other), block_of(&node));
    free(&*other, 1).unwrap();
    other.evict();
    assert_eq!(get(&node, user(b"n")).unwrap(), [2; 300]);
    // Too much is found out before anything is there.
    let counts = mounted.vol.space.counts();
    let newborn = NewNode::new(&mounted, new_attrs(0o100_644, 1), 5)
        .with_attribute(Prefix::USER, b"a", &[2; 600])
        .with_attribute(Prefix::USER, b"b", &[2; 600]);
    let refused = create(&*root, b"too much", newborn, What::Plain);
    assert_eq!(refused.err(), Some(ENOSPC));
    assert_eq!(mounted.vol.space.counts().free_inodes, counts.free_inodes);
    drop((node, other, root));
    checked(mounted, &image, "born");
}

#[test]
fn nothing_is_left_without_memory() {
    let image = Mkfs::new(20 << 20, 1024).inode_size(256).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    put(&node, user(b"first"), &[1; 300]).unwrap();
    let before = all(&node);
    for nth in 0.. {
        fail_allocation(Some(nth));
        let done = put(&node, user(b"second"), &[2; 300]);
        fail_allocation(None);
        match done {
            Ok(()) => {
                assert!(nth > 3);
                break;
            }
            Err(error) => assert_eq!((error, all(&node)), (ENOMEM, before.clone())),
        }
    }
    assert_eq!(get(&node, user(b"second")).unwrap(), [2; 300]);
    drop(node);
    checked(mounted, &image, "no memory");
}

/// The blocks with the bitmaps of blocks.
fn bitmaps(image: &Image) -> Vec<PhysBlock> {
    let dump = image.dumpe2fs();
    let places = dump.split("Block bitmap at ").skip(1);
    places
        .map(|rest| rest.split([' ', ',']).next().unwrap().parse().unwrap())
        .map(PhysBlock::new)
        .collect()
}

/// What a power cut would find of an inode now, when all is committed.
fn all_on_disk(mounted: &Mounted, ino: Ino) -> All {
    let store = &mounted.vol.store;
    store.commit().unwrap();
    let again = Mounted::open(HostStore::new(store.recovered()), false).unwrap();
    let node = Node::get(&again, ino).unwrap();
    all(&node)
}

/// Would catch: an inode that leads to another block of attributes in memory than on the device, or to one that was
/// revoked, as the old one could not be freed.
#[test]
fn what_cannot_be_freed_leaves_the_same_in_memory_and_on_the_device() {
    for (from, to) in [(2, Some(1)), (2, None), (1, Some(2))] {
        let image = Mkfs::new(20 << 20, 1024).inode_size(128).make();
        let mounted = mount(&image);
        let store = &mounted.vol.store;
        let (other, node) = (file(&mounted, b"other"), file(&mounted, b"file"));
        put(&other, user(b"name"), &[1; 300]).unwrap();
        put(&node, user(b"name"), &[from; 300]).unwrap();
        store.commit().unwrap();
        store.checkpoint();
        store.drop_cache();
        // What can be shared is in memory.
        get(&other, user(b"name")).unwrap();
        let bitmaps = bitmaps(&image);
        for nr in &bitmaps {
            store.set_bad_block(*nr, true);
        }
        let value = to.map(|to| [to; 300]);
        let value = value.as_ref().map(|value| &value[..]);
        let done = set(&*node, user(b"name"), value, How::Any, None);
        // Where a block is to be made, that is what fails.
        let expected = if to == Some(2) { Err(EIO) } else { Ok(()) };
        assert_eq!(done, expected);
        for nr in &bitmaps {
            store.set_bad_block(*nr, false);
        }
        let now = all(&node);
        assert_eq!(all_on_disk(&mounted, node.ino()), now, "{from} {to:?}");
        // A new block there is none, a shared one and none there is.
        assert_eq!(
            now.into_values().next(),
            match to {
                Some(2) => Some(vec![1; 300]),
                to => to.map(|to| vec![to; 300]),
            }
        );
    }
}

/// Would catch: a block that is revoked though an inode on the device still leads to it: the recovery that frees the
/// inode after all could not read it.
#[test]
fn what_cannot_be_freed_is_not_revoked() {
    let image = Mkfs::new(20 << 20, 1024).inode_size(128).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let newborn = NewNode::new(&mounted, new_attrs(0o100_644, 1), 5).with_attribute(
        Prefix::USER,
        b"n",
        &[2; 300],
    );
    let node = tmpfile(&*root, newborn).unwrap().unlock();
    store.commit().unwrap();
    store.checkpoint();
    store.drop_cache();
    let bitmaps = bitmaps(&image);
    for nr in &bitmaps {
        store.set_bad_block(*nr, true);
    }
    assert_eq!(free(&*node, 1), Err(EIO));
    assert_eq!(store.revoked(), []);
}

/// Would catch: a block of attributes that nobody has, of an inode that could not be made after all.
#[test]
fn what_cannot_be_made_has_no_block() {
    let image = Mkfs::new(20 << 20, 1024).inode_size(128).make();
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let mut failures = 0;
    for nth in 0..40u32 {
        let before = mounted.vol.space.counts();
        let newborn = NewNode::new(&mounted, new_attrs(0o100_644, 1), 5).with_attribute(
            Prefix::USER,
            b"n",
            &nth.to_le_bytes(),
        );
        mounted.vol.store.fail_read(Some(nth));
        let made = create(
            &*root,
            format!("file{nth}").as_bytes(),
            newborn,
            What::Plain,
        );
        mounted.vol.store.fail_read(None);
        let error = match made {
            Ok(node) => {
                assert!(block_of(&node.unlock()).0.is_some());
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(error, EIO);
        // What gets no name as a directory cannot be read is an orphan.
        let now = mounted.vol.space.counts();
        if now.free_inodes == before.free_inodes {
            assert_eq!(
                now.free_blocks_on_disk, before.free_blocks_on_disk,
                "read {nth}"
            );
        }
        failures += 1;
    }
    assert!(failures > 3, "{failures}");
}

/// Would catch: an attribute that is removed, as its user is told, and is still there, as the values of a damaged block
/// lie over each other and do not fit side by side.
#[test]
fn values_that_lie_over_each_other() {
    let image = Mkfs::new(20 << 20, 1024)
        .features("^metadata_csum")
        .inode_size(128)
        .make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    for name in [b"a", b"b"] {
        put(&node, user(name), &[3; 400]).unwrap();
    }
    let (ino, block) = (node.ino(), block_of(&node).0.unwrap());
    drop(node);
    mounted.vol.store.save(image.path()).unwrap();
    drop(mounted);
    // Both have 600 bytes.
    let mut bytes = std::fs::read(image.path()).unwrap();
    let at = block as usize * 1024 + 32;
    for entry in [at, at + 20] {
        bytes[entry + 2..entry + 4].copy_from_slice(&400u16.to_le_bytes());
        bytes[entry + 8..entry + 12].copy_from_slice(&600u32.to_le_bytes());
    }
    std::fs::write(image.path(), bytes).unwrap();
    let mounted = mount(&image);
    let node = Node::get(&mounted, ino).unwrap();
    let removed = set(&*node, user(b"a"), None, How::Any, None);
    assert_eq!(removed, Err(EUCLEAN));
    let flaws = mounted.vol.store.take_flaws();
    assert!(matches!(flaws[..], [Flaw::XattrValue { .. }]), "{flaws:?}");
}

#[test]
fn names_that_are_too_long() {
    let image = Mkfs::new(20 << 20, 4096).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"file");
    assert_eq!(put(&node, user(&[b'n'; 256]), b"v"), Err(ERANGE));
    put(&node, user(&[b'n'; 255]), b"v").unwrap();
    let mut short = [0; 2];
    put(&node, user(b"v"), &[1; 3]).unwrap();
    let read = node
        .map_lock()
        .attribute(node.volume(), user(b"v"), &mut short);
    assert_eq!((read, short), (Err(ERANGE), [0; 2]));
    drop(node);
    checked(mounted, &image, "names");
}
