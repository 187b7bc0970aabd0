// SPDX-License-Identifier: GPL-2.0

//! Directories against a model, and judged by `e2fsck`.

mod names_common;

use iomapfs_core::disk::hash::{HashVersion, NameHasher};
use iomapfs_core::disk::{FileType, Flaw, Ino};
use iomapfs_core::host::Mkfs;
use iomapfs_core::names::{self, Cursor, Directory};
use kernel::error::code::*;
use names_common::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::process::Command;

/// A hash that differs from everybody else's in any bit: wrong rounds, padding, sign, key, end mark.
#[test]
fn hashes_are_those_of_debugfs() {
    let seed_words = [0x0123_4567, 0x89ab_cdef, 0xfedc_ba98, 0x7654_3210_u32];
    // A UUID is written byte by byte, and read as little-endian words.
    let seed = seed_words.map(u32::swap_bytes);
    let long: String = "0123456789abcdef".repeat(15);
    let mut names: Vec<String> = (1..=70).map(|n| long[..n].to_string()).collect();
    names.extend(
        [
            "n\u{e4}m\u{e9}",
            "\u{ff}\u{fe}",
            "\u{65e5}\u{672c}\u{8a9e}.txt",
            &long,
        ]
        .map(String::from),
    );
    let mut script = String::new();
    for version in 0..6 {
        for name in &names {
            script +=
                &format!("dx_hash -h {version} -s 01234567-89ab-cdef-fedc-ba9876543210 {name}\n");
        }
        script += &format!("dx_hash -h {version} plain\n");
    }
    let path = std::env::temp_dir().join(format!("iomapfs-dxhash-{}", std::process::id()));
    std::fs::write(&path, script).unwrap();
    let path_env = std::env::var("PATH").unwrap_or_default();
    let out = Command::new("debugfs")
        .env("PATH", format!("{path_env}:/usr/sbin:/sbin"))
        .arg("-f")
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut lines = text.lines().filter(|line| line.starts_with("Hash of "));
    for version in 0..6_u8 {
        let hasher = |seed| {
            let unsigned = version >= 3;
            NameHasher::new(HashVersion::from_disk(version % 3).unwrap(), unsigned, seed)
        };
        let mut check = |hasher: NameHasher, name: &str| {
            let hash = hasher.hash(name.as_bytes());
            let ours = format!(
                "Hash of {name} is {:#x} (minor {:#x})",
                hash.major, hash.minor
            );
            assert_eq!(lines.next(), Some(ours.as_str()), "version {version}");
        };
        for name in &names {
            check(hasher(&seed), name);
        }
        check(hasher(&[0; 4]), "plain");
    }
}

/// Rounds of MD4 that are only right for short names, the end mark let through.
#[test]
fn no_name_has_the_hash_of_the_end() {
    let hasher = NameHasher::new(HashVersion::Legacy, false, &[0; 4]);
    for n in 0..2_000_000_u32 {
        let hash = hasher.hash(&n.to_le_bytes()).major;
        assert!(hash & 1 == 0 && hash < 0xffff_fffe);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>),
    Remove(usize),
    Replace(usize),
    Miss(Vec<u8>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'a'), b'0'..=b'9', 0x80..=0xff_u8];
    prop_oneof![
        4 => proptest::collection::vec(byte.clone(), 1..12),
        1 => proptest::collection::vec(byte, 1..=255),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => name().prop_map(Op::Insert),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Replace),
        1 => name().prop_map(Op::Miss),
    ]
}

fn pick(model: &BTreeMap<Vec<u8>, Ino>, n: usize) -> Option<Vec<u8>> {
    model.keys().nth(n % model.len().max(1)).cloned()
}

fn play(dir: &mut FlatDir<'_>, ops: &[Op], inos: [Ino; 2]) -> BTreeMap<Vec<u8>, Ino> {
    let mut model = BTreeMap::new();
    for op in ops {
        match op {
            Op::Insert(name) => {
                if let std::collections::btree_map::Entry::Vacant(vacant) =
                    model.entry(name.clone())
                {
                    dir.insert(name, inos[0]).unwrap();
                    vacant.insert(inos[0]);
                }
            }
            Op::Remove(n) => {
                if let Some(name) = pick(&model, *n) {
                    let ino = model.remove(&name).unwrap();
                    if let Some(&other) = inos.iter().find(|other| **other != ino) {
                        assert_eq!(dir.remove(&name, other), Err(EUCLEAN), "leads elsewhere");
                        assert_eq!(dir.store().take_flaws(), [Flaw::DirChanged]);
                    }
                    dir.remove(&name, ino).unwrap();
                    assert_eq!(dir.remove(&name, ino), Err(EUCLEAN));
                    assert_eq!(dir.store().take_flaws(), [Flaw::DirChanged]);
                }
            }
            Op::Replace(n) => {
                if let Some(name) = pick(&model, *n) {
                    dir.replace(&name, inos[1]).unwrap();
                    model.insert(name, inos[1]);
                }
            }
            Op::Miss(name) => {
                assert_eq!(dir.lookup(name), Ok(model.get(name).copied()));
                if !model.contains_key(name) {
                    assert_eq!(dir.replace(name, inos[0]), Err(EUCLEAN));
                    assert_eq!(dir.store().take_flaws(), [Flaw::DirChanged]);
                }
            }
        }
    }
    for (name, ino) in &model {
        assert_eq!(dir.lookup(name), Ok(Some(*ino)), "{name:?}");
    }
    assert_eq!(names::is_empty(dir), Ok(model.is_empty()));
    model
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Names lost, found twice, left behind or leading elsewhere; blocks and trees that e2fsck does not take.
    #[test]
    fn behaves_as_a_map(
        ops in proptest::collection::vec(op(), 0..600),
        big in any::<bool>(),
        csum in any::<bool>(),
        index in prop::bool::weighted(0.7),
        filetype in prop::bool::weighted(0.8),
        room in 1..100_usize,
    ) {
        let mut mkfs = Mkfs::new(16 << 20, if big { 4096 } else { 1024 });
        for (on, feature) in [(csum, "^metadata_csum"), (index, "^dir_index"), (filetype, "^filetype")] {
            if !on {
                mkfs = mkfs.features(feature);
            }
        }
        let world = World::new(&mkfs);
        let inos = [world.file, world.file];
        world.build(|dir| {
            let model = play(dir, &ops, inos);
            assert_eq!(dir.list(room).unwrap(), model);
        });
        // With inode numbers that differ, which e2fsck would not like.
        let store = open(&world.image);
        let free = (store.blocks() / 2..store.blocks()).map(iomapfs_core::disk::PhysBlock::new);
        let mut dir = FlatDir::open(&store, &world.image, "d").with_pool(free.collect());
        make_empty(&mut dir);
        let model = play(&mut dir, &ops, [world.file, Ino::ROOT]);
        store.drop_cache();
        assert_eq!(dir.list(room).unwrap(), model);
        prop_assert_eq!(store.take_reports(), Vec::<String>::new());
    }
}

fn numbered(n: u32) -> Vec<u8> {
    format!("file-{n:06}.dat").into_bytes()
}

/// Division of nodes and growth of the root: wrong limits, hashes, levels, checksums.
#[test]
fn a_tree_of_two_levels_is_sound() {
    let world = World::new(&Mkfs::new(64 << 20, 1024));
    let count = 50_000;
    let image = world.build(|dir| {
        for n in 0..count {
            dir.insert(&numbered(n), world.file).unwrap();
        }
    });
    let dump = image.debugfs(&["htree_dump d"]);
    assert!(dump.contains("Indirect levels: 1"), "{}", &dump[..500]);
    let store = open(&image);
    let mut dir = FlatDir::open(&store, &image, "d");
    for n in 0..count {
        assert_eq!(dir.lookup(&numbered(n)), Ok(Some(world.file)));
        assert_eq!(dir.lookup(&numbered(n + count)), Ok(None));
    }
    assert_eq!(dir.list(1000).unwrap().len(), count as usize);

    // Emptied by us, taken by e2fsck, and usable again without a new block.
    for n in (0..count).rev() {
        dir.remove(&numbered(n), world.file).unwrap();
    }
    assert_eq!(names::is_empty(&dir), Ok(true));
    assert!(dir.list(10).unwrap().is_empty());
    let blocks = dir.len();
    for n in 0..count / 2 {
        dir.insert(&numbered(n), world.file).unwrap();
    }
    assert_eq!(dir.len(), blocks);
    store.save(image.path()).unwrap();
    finish(&image, count as usize / 2, true);
    image.fsck().unwrap();
}

/// A tree that is full: everything still there, nothing half done.
#[test]
fn a_full_tree_takes_no_more() {
    let world = World::new(&Mkfs::new(64 << 20, 1024));
    let store = open(&world.image);
    let free = store.blocks() / 4..store.blocks();
    let mut dir = FlatDir::open(&store, &world.image, "d")
        .with_pool(free.map(iomapfs_core::disk::PhysBlock::new).collect());
    make_empty(&mut dir);
    let name = |n: u32| format!("{n:0255}").into_bytes();
    let mut count = 0;
    let full = loop {
        match dir.insert(&name(count), world.file) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, ENOSPC);
    // Nodes are at least half full.
    assert!(
        dir.len() > 123 * 126 / 2,
        "{count} names in {} blocks",
        dir.len()
    );
    assert_eq!(dir.list(usize::MAX).unwrap().len(), count as usize);
    assert_eq!(dir.lookup(&name(count)), Ok(None));
    // What has room goes on.
    dir.remove(&name(7), world.file).unwrap();
    dir.insert(&name(7), world.file).unwrap();
    assert_eq!(store.take_reports(), Vec::<String>::new());
}

/// No block to be had at any point of the growth: the name is not there, all others are.
#[test]
fn no_space_leaves_a_sound_directory() {
    for index in ["dir_index", "^dir_index"] {
        for limit in 1..8 {
            let world = World::new(&Mkfs::new(16 << 20, 1024).features(index));
            let image = world.build(|dir| {
                dir.set_pool_len(limit);
                let mut there = Vec::new();
                for n in 0..400 {
                    match dir.insert(&numbered(n), world.file) {
                        Ok(()) => there.push(numbered(n)),
                        Err(error) => assert_eq!(error, ENOSPC),
                    }
                }
                let names: Vec<_> = dir.list(3).unwrap().into_keys().collect();
                assert_eq!(names, there);
            });
            drop(image);
        }
    }
}

/// An allocation that fails in the middle of a change: nothing is changed.
#[test]
fn no_memory_changes_nothing() {
    let world = World::new(&Mkfs::new(16 << 20, 1024));
    world.build(|dir| {
        let mut failed = 0;
        for n in 0..300 {
            for allocation in 0.. {
                kernel::host::fail_allocation(Some(allocation));
                let done = dir.insert(&numbered(n), world.file);
                kernel::host::fail_allocation(None);
                match done {
                    Ok(()) => break,
                    Err(error) => {
                        assert_eq!(error, ENOMEM);
                        assert_eq!(dir.lookup(&numbered(n)), Ok(None));
                        failed += 1;
                    }
                }
            }
        }
        assert!(failed > 20, "{failed} allocations only");
        assert_eq!(dir.list(7).unwrap().len(), 300);
    });
}

/// `.` and `..` treated as other names, names of impossible length.
#[test]
fn dots_and_lengths() {
    let world = World::new(&Mkfs::new(16 << 20, 1024));
    let image = world.build(|dir| {
        let ino = world.file;
        for name in [b"".as_slice(), b".", b".."] {
            assert_eq!(dir.insert(name, ino), Err(EINVAL));
            assert_eq!(dir.remove(name, ino), Err(EINVAL));
            assert_eq!(dir.replace(name, ino), Err(EINVAL));
        }
        assert_eq!(dir.insert(&[b'x'; 256], ino), Err(ENAMETOOLONG));
        assert_eq!(dir.lookup(&[b'x'; 256]), Err(ENAMETOOLONG));
        assert_eq!(dir.lookup(b""), Ok(None));
        assert_eq!(dir.lookup(b".."), Ok(Some(Ino::ROOT)));
        dir.insert(&[b'x'; 255], ino).unwrap();
        dir.insert(b"...", ino).unwrap();
        dir.insert(b".x", ino).unwrap();
        assert_eq!(dir.lookup(&[b'x'; 255]), Ok(Some(ino)));
        for n in 0..100 {
            dir.insert(&numbered(n), ino).unwrap();
            // In a leaf, and in the root of a tree.
            dir.change(|dir, tx| names::set_dotdot(dir, tx, ino))
                .unwrap();
            assert_eq!(dir.lookup(b".."), Ok(Some(ino)));
            dir.change(|dir, tx| names::set_dotdot(dir, tx, Ino::ROOT))
                .unwrap();
            assert_eq!(dir.lookup(b".."), Ok(Some(Ino::ROOT)));
        }
    });
    assert!(stat(&image, "d").flags & INDEX_FL != 0);
}

/// Record lengths of blocks of 64 KiB, which do not fit into 16 bits.
#[test]
fn blocks_of_64_kib() {
    for csum in ["metadata_csum", "^metadata_csum"] {
        let world = World::new(&Mkfs::new(128 << 20, 65536).features(csum));
        world.build(|dir| {
            for n in 0..6000 {
                dir.insert(&numbered(n), world.file).unwrap();
            }
            for n in 0..6000 {
                dir.remove(&numbered(n), world.file).unwrap();
            }
            assert_eq!(names::is_empty(dir), Ok(true));
            for n in 0..4000 {
                dir.insert(&numbered(n), world.file).unwrap();
            }
            assert_eq!(dir.list(77).unwrap().len(), 4000);
        });
    }
}

/// Room that comes in pieces: removed records must be joined with those before them.
#[test]
fn removed_records_are_joined() {
    let world = World::new(&Mkfs::new(16 << 20, 1024).features("^dir_index"));
    world.build(|dir| {
        for n in 0..35 {
            dir.insert(&numbered(n), world.file).unwrap();
        }
        for n in 0..35 {
            dir.remove(&numbered(n), world.file).unwrap();
        }
        for n in 0..3_u8 {
            dir.insert(&[b'a' + n; 255], world.file).unwrap();
        }
        assert_eq!(dir.len(), 1);
    });
}

/// Types that are left in the entries of a file system that has no longer the feature for them.
#[test]
fn types_need_the_feature() {
    let world = World::new(&Mkfs::new(16 << 20, 1024));
    let image = world.build(|dir| dir.insert(b"name", world.file).unwrap());
    let types = || {
        let store = open(&image);
        let dir = FlatDir::open(&store, &image, "d");
        let found = names::lookup(&dir, b"name").unwrap().unwrap();
        let mut types = vec![found.file_type];
        let listed = names::readdir(&dir, &mut Cursor::new(false), |listed| {
            types.push(listed.file_type);
            true
        });
        listed.unwrap();
        types
    };
    use FileType::{Directory, Regular};
    let mut with = types();
    with.sort_by_key(|file_type| FileType::to_entry(*file_type));
    assert_eq!(with, [Regular, Regular, Directory, Directory].map(Some));
    image.debugfs(&["feature -filetype"]);
    assert_eq!(types(), [None; 4]);
}
