// SPDX-License-Identifier: GPL-2.0

//! Directories that are broken: what is said, what still works, and that nothing panics or loops.

mod names_common;

use iomapfs_core::disk::dirent::DirLeafFormat;
use iomapfs_core::disk::dx::{DxFormat, IndexPart};
use iomapfs_core::disk::{BlockKind, Flaw, Format, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{HostStore, Image, Mkfs};
use iomapfs_core::names::{self, Cursor, Directory, Known, Listing};
use iomapfs_core::store::{Credits, Store, Transaction};
use kernel::error::code::*;
use names_common::*;
use proptest::prelude::*;

/// Any block, sealed as `F` is when it is written.
#[derive(Clone)]
struct Unchecked<F: Format>(Option<F>);

impl<F: Format> Format for Unchecked<F> {
    const KIND: BlockKind = BlockKind::Symlink;

    fn verify(&self, _nr: PhysBlock, _bytes: &[u8]) -> Result<(), Flaw> {
        Ok(())
    }

    fn seal(&self, nr: PhysBlock, bytes: &mut [u8]) {
        if let Some(format) = &self.0 {
            format.seal(nr, bytes);
        }
    }
}

/// Writes into a block; with a good checksum if there is a format.
fn scribble<F: Format>(
    store: &HostStore,
    nr: PhysBlock,
    format: Option<F>,
    f: impl FnOnce(&mut [u8]),
) {
    let block = store.read(nr, Unchecked(format)).unwrap();
    let mut tx = store.begin(Credits::new(1, 0)).unwrap();
    tx.edit(&block, f).unwrap();
    drop(tx);
    store.drop_cache();
}

fn dx(dir: &FlatDir<'_>, part: IndexPart) -> Option<DxFormat> {
    Some(DxFormat {
        ino: dir.ino(),
        seed: dir.seed(),
        part,
        levels: dir.params().levels,
    })
}

fn leaf(dir: &FlatDir<'_>) -> Option<DirLeafFormat> {
    Some(DirLeafFormat {
        ino: dir.ino(),
        seed: dir.seed(),
        inodes_count: dir.params().inodes_count,
        allow_index: false,
    })
}

fn name(n: u32) -> Vec<u8> {
    format!("name-{n:05}").into_bytes()
}

/// An image with `/d` of `count` names, hashed; two levels at 1 KiB with more than about 4000.
fn hashed(features: &str, count: u32) -> (World, Image) {
    let world = World::new(&Mkfs::new(32 << 20, 1024).features(features));
    let image = world.build(|dir| {
        for n in 0..count {
            dir.insert(&name(n), world.file).unwrap();
        }
    });
    (world, image)
}

fn nr(dir: &FlatDir<'_>, at: u32) -> PhysBlock {
    dir.run(LogicalBlock::new(at)).unwrap().0.unwrap()
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

type Damage = fn(&mut [u8]);

/// Roots that must not be used, all with a good checksum: names are found by a scan, it is said once, and what
/// `insert` does leaves the directory no worse for e2fsck.
#[test]
fn a_bad_root_is_passed_by() {
    const LIMIT: Flaw = Flaw::IndexLimit {
        limit: 0,
        expected: 0,
    };
    const COUNT: Flaw = Flaw::IndexCount { count: 0, limit: 0 };
    let damages: [(Flaw, Damage); 9] = [
        (Flaw::IndexHash { version: 9 }, |b| b[0x1c] = 9),
        (Flaw::IndexHash { version: 6 }, |b| b[0x1c] = 6),
        (Flaw::IndexHeader, |b| b[0x1d] = 16),
        (Flaw::IndexLevels { levels: 2 }, |b| b[0x1e] = 2),
        (Flaw::IndexFlags { flags: 1 }, |b| b[0x1f] = 1),
        (LIMIT, |b| put16(b, 0x20, 500)),
        (COUNT, |b| put16(b, 0x22, 0)),
        (Flaw::IndexOrder { index: 2 }, |b| put32(b, 0x28, u32::MAX)),
        (Flaw::IndexLoop, |b| {
            for at in (0x24..0x100).step_by(8) {
                put32(b, at, 0);
            }
        }),
    ];
    let count = 200;
    for features in ["metadata_csum", "^metadata_csum"] {
        let (world, image) = hashed(features, count);
        for (what, damage) in damages {
            let image = image.copy();
            let store = open(&image);
            let mut dir = FlatDir::open(&store, &image, "d");
            assert!(dir.is_indexed());
            // Without a tail with a checksum there is room for an entry more.
            let entries = 123 + u16::from(dir.seed().is_none());
            let what = match what {
                LIMIT => Flaw::IndexLimit {
                    limit: 500,
                    expected: entries,
                },
                COUNT => Flaw::IndexCount {
                    count: 0,
                    limit: entries,
                },
                other => other,
            };
            scribble(&store, nr(&dir, 0), dx(&dir, IndexPart::Root), damage);

            for n in 0..count {
                assert_eq!(dir.lookup(&name(n)), Ok(Some(world.file)), "{what}");
            }
            assert_eq!(store.take_flaws(), [what]);
            assert_eq!(dir.lookup(b"not there"), Ok(None));
            assert_eq!(dir.list(10).unwrap().len(), count as usize, "{what}");
            assert_eq!(dir.lookup(b".."), Ok(Some(Ino::ROOT)));
            assert_eq!(names::is_empty(&dir), Ok(false));
            dir.remove(&name(3), world.file).unwrap();
            dir.replace(&name(4), world.file).unwrap();

            let inserted = dir.insert(b"new", world.file);
            if dir.seed().is_some() {
                assert_eq!(inserted, Err(EUCLEAN), "{what}");
                assert!(dir.is_indexed());
            } else {
                assert_eq!(inserted, Ok(()), "{what}");
                assert!(!dir.is_indexed());
                assert_eq!(dir.lookup(b"new"), Ok(Some(world.file)));
                let names = dir.list(9).unwrap().len();
                assert_eq!(names, count as usize);
                store.save(image.path()).unwrap();
                finish(&image, names, false);
                image
                    .fsck()
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            assert_eq!(store.take_reports(), Vec::<String>::new(), "{what}");
        }
    }
}

/// A leaf without a tail of two short names, of which the first may be gone, has records as long as those of a root:
/// nothing but the names tells them apart.
#[test]
fn a_leaf_that_looks_like_a_root_has_names() {
    let world = World::new(&Mkfs::new(32 << 20, 1024).features("^metadata_csum"));
    let short = |n: u32| format!("{n:04}").into_bytes();
    let image = world.build(|dir| {
        for n in 0..300 {
            dir.insert(&short(n), world.file).unwrap();
        }
    });
    for first_goes in [false, true] {
        let image = image.copy();
        let store = open(&image);
        let mut dir = FlatDir::open(&store, &image, "d");
        assert!(dir.is_indexed());
        let format = leaf(&dir).unwrap();
        let names = |dir: &FlatDir<'_>, at| {
            let block = store.read(nr(dir, at), format).unwrap();
            block.with(|bytes| {
                let entries = format.entries(bytes).map(Result::unwrap);
                let used = entries.filter(|entry| entry.ino.is_some());
                used.map(|entry| entry.name.to_vec()).collect::<Vec<_>>()
            })
        };
        // Of one leaf two names stay, or the second only; of the others none.
        let mut kept = names(&dir, 1);
        kept.truncate(2);
        if first_goes {
            kept.remove(0);
        }
        for n in 0..300 {
            if !kept.contains(&short(n)) {
                dir.remove(&short(n), world.file).unwrap();
            }
        }
        assert_eq!(names::is_empty(&dir), Ok(false));
        dir.note(Known::INDEX_FAILED);
        for name in &kept {
            assert_eq!(dir.lookup(name), Ok(Some(world.file)));
        }
        assert_eq!(dir.list(10).unwrap().len(), kept.len());
        for name in &kept {
            dir.remove(name, world.file).unwrap();
        }
        assert_eq!(names::is_empty(&dir), Ok(true));
    }
}

/// Two nodes that are in order each, but not together: the listing ends, and says why. It would go back and forth
/// between them.
#[test]
fn a_listing_of_nodes_out_of_order_ends() {
    for features in ["metadata_csum", "^metadata_csum"] {
        let (_, image) = hashed(features, 6000);
        let store = open(&image);
        let dir = FlatDir::open(&store, &image, "d");
        scribble(&store, nr(&dir, 0), dx(&dir, IndexPart::Root), |b| {
            assert_eq!(b[0x1e], 1, "two levels");
            put32(b, 0x28, u32::MAX);
            // Only two entries.
            put16(b, 0x22, 2);
        });
        let mut cursor = Cursor::new(false);
        let mut calls = 0;
        let end = loop {
            calls += 1;
            assert!(calls < 10_000, "no end");
            match names::readdir(&dir, &mut cursor, |_| true) {
                Ok(Listing::End) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        assert_eq!(end, Err(EUCLEAN));
        let flaws = store.take_flaws();
        assert!(
            matches!(flaws[..], [Flaw::IndexLeafOrder { .. }]),
            "{flaws:?}"
        );
    }
}

/// Somebody else finds the index bad while a directory is listed by it: positions among hashes say nothing about
/// blocks. Until it begins again the listing fails, and does not end early.
#[test]
fn a_listing_that_loses_its_index_fails() {
    // Where there are checksums, a bad index stays.
    for (features, drop_index) in [("metadata_csum", false), ("^metadata_csum", true)] {
        let (_, image) = hashed(features, 400);
        let store = open(&image);
        for narrow in [false, true] {
            let mut dir = FlatDir::open(&store, &image, "d");
            let mut cursor = Cursor::new(narrow);
            let mut done = Cursor::new(narrow);
            dir.list_part(&mut cursor, 100).unwrap();
            dir.list_part(&mut done, 1000).unwrap();
            match drop_index {
                true => dir.set_indexed(false),
                false => dir.note(Known::INDEX_FAILED),
            }
            for _ in 0..2 {
                assert_eq!(dir.list_part(&mut cursor, 1000).err(), Some(EUCLEAN));
            }
            assert_eq!(dir.list_part(&mut done, 1000), Ok((Listing::End, vec![])));
            cursor.seek(0, narrow);
            let (_, first) = dir.list_part(&mut cursor, 100).unwrap();
            // What has begun by blocks may go on by blocks, wherever the user goes.
            let pos = cursor.pos();
            let (_, rest) = dir.list_part(&mut cursor, 1000).unwrap();
            assert_eq!(first.len() + rest.len(), 402);
            cursor.seek(pos, narrow);
            assert_eq!(dir.list_part(&mut cursor, 1000).unwrap().1, rest);
        }
    }
}

/// A checksum that is not looked at, in each kind of block.
#[test]
fn wrong_checksums_are_found() {
    let (world, image) = hashed("metadata_csum", 6000);
    let store = open(&image);
    let dir = FlatDir::open(&store, &image, "d");
    let none: Option<DirLeafFormat> = None;
    let mut roots = 0;
    let mut nodes = 0;
    let mut leaves = 0;
    for at in 0..dir.blocks() {
        let nr = nr(&dir, at);
        // In the unused part of a root or node only the last 8 bytes are covered.
        scribble(&store, nr, none, |bytes| bytes[1017] ^= 1);
        let listed = dir.list(usize::MAX);
        let reports = store.take_reports();
        // Without the index from the begin, or not at all.
        match &reports[..] {
            [one] if one.contains("(directory index)") && at == 0 => {
                assert_eq!(listed.unwrap().len(), 6000);
                roots += 1;
            }
            [one] if one.contains("(directory index)") => nodes += 1,
            [one] if one.contains("(directory leaf)") => {
                assert_eq!(listed.err(), Some(EUCLEAN));
                leaves += 1;
            }
            other => panic!("block {at}: {other:?}"),
        }
        scribble(&store, nr, none, |bytes| bytes[1017] ^= 1);
        dir.forget_failure();
    }
    assert!(
        roots == 1 && nodes >= 2 && leaves > 100,
        "{roots} {nodes} {leaves}"
    );
    assert_eq!(dir.lookup(&name(1)), Ok(Some(world.file)));
}

/// A root whose checksum is wrong: a move of the directory does not give it a good one, so that it would be trusted.
#[test]
fn a_bad_root_is_not_sealed() {
    let (world, image) = hashed("metadata_csum", 200);
    let store = open(&image);
    let mut dir = FlatDir::open(&store, &image, "d");
    let none: Option<DirLeafFormat> = None;
    // The hash of an entry.
    scribble(&store, nr(&dir, 0), none, |bytes| bytes[0x28] ^= 1);
    assert_eq!(dir.lookup(&name(1)), Ok(Some(world.file)));
    assert_eq!(store.take_reports().len(), 1);
    let root = nr(&dir, 0);
    let before = store
        .read(root, Unchecked(none))
        .unwrap()
        .with(|b| b.to_vec());
    assert_eq!(names::check_dotdot(&dir), Err(EUCLEAN));
    let moved = dir.change(|dir, tx| names::set_dotdot(dir, tx, world.file));
    assert_eq!(moved, Err(EUCLEAN));
    let after = store
        .read(root, Unchecked(none))
        .unwrap()
        .with(|b| b.to_vec());
    assert_eq!(before, after);
    assert_eq!(dir.lookup(b".."), Ok(Some(Ino::ROOT)));
}

/// A bad leaf: its names are not said to be missing, the others are found.
#[test]
fn a_bad_leaf_is_no_missing_name() {
    let damages: [(&str, Damage); 7] = [
        ("rec_len 0", |b| put16(b, 4, 0)),
        ("rec_len 8", |b| put16(b, 4, 8)),
        ("rec_len odd", |b| put16(b, 4, 21)),
        ("rec_len past the end", |b| put16(b, 4, 2000)),
        ("rec_len into the tail", |b| put16(b, 4, 1016)),
        ("name_len", |b| b[6] = 255),
        ("inode", |b| put32(b, 0, 0x7fff_ffff)),
    ];
    let count = 200;
    let (world, image) = hashed("metadata_csum", count);
    for (what, damage) in damages {
        let image = image.copy();
        let store = open(&image);
        let mut dir = FlatDir::open(&store, &image, "d");
        scribble(&store, nr(&dir, 1), leaf(&dir), damage);
        let mut bad = 0;
        for n in 0..count {
            match dir.lookup(&name(n)) {
                Ok(Some(ino)) => assert_eq!(ino, world.file),
                Err(error) => {
                    assert_eq!(error, EUCLEAN, "{what}");
                    bad += 1;
                }
                Ok(None) => panic!("{what}: {n} is said to be missing"),
            }
        }
        assert!(bad > 0 && bad < count, "{what}: {bad}");
        let reports = store.take_reports();
        assert!(
            reports[0].contains(&format!("inode {}", dir.ino().get())),
            "{reports:?}"
        );
        assert_eq!(names::is_empty(&dir), Err(EUCLEAN));
        assert_eq!(dir.list(5).err(), Some(EUCLEAN));
        // None of its names can be removed, and nothing is put there.
        for n in 0..count {
            let removed = dir.remove(&name(n), world.file);
            assert!(
                removed == Ok(()) || removed == Err(EUCLEAN),
                "{what}: {removed:?}"
            );
        }
    }
}

/// A block that is missing: the names in the others are found and listed, then it is said that this was not all. It is
/// logged once, and nothing is added.
#[test]
fn a_missing_block_takes_only_its_own_names() {
    let count = 300;
    for features in ["metadata_csum", "^metadata_csum", "^dir_index"] {
        let (world, image) = hashed(features, count);
        let store = open(&image);
        let mut dir = FlatDir::open(&store, &image, "d");
        for at in 0..dir.blocks() {
            dir.holes = vec![at];
            let (listed, end) = dir.list_what_is_there(7);
            let what = format!("{features}: block {at}");
            assert_eq!(end, Err(EUCLEAN), "{what}");
            let names = listed.keys().filter(|name| name.len() > 2).count() as u32;
            // The root of a tree has no names of its own.
            let root = at == 0 && features != "^dir_index";
            assert_eq!(names == count, root, "{what}: {names} names");
            assert!(names > count - 100, "{what}: {names} names");
            for n in 0..count {
                let found = dir.lookup(&name(n));
                match listed.contains_key(&name(n)) {
                    true => assert_eq!(found, Ok(Some(world.file)), "{what}"),
                    false => assert_eq!(found, Err(EUCLEAN), "{what}"),
                }
            }
            assert_eq!(dir.insert(b"new", world.file), Err(EUCLEAN), "{what}");
            assert_eq!(
                store.take_flaws(),
                [Flaw::DirMissing { from: at, to: at }],
                "{what}"
            );
            dir.holes.clear();
            dir.forget_failure();
            assert_eq!(dir.list(9).unwrap().len(), count as usize, "{what}");
        }
    }
}

/// Anything anywhere: no panic, no loop, no other errors, and each `EUCLEAN` was reported.
fn abuse(dir: &mut FlatDir<'_>, count: u32, file: Ino) {
    let mut failed = false;
    let mut check = |error: kernel::error::Error| {
        assert!(
            [EUCLEAN, ENOENT, EEXIST, ENOSPC].contains(&error),
            "{error:?}"
        );
        failed |= error == EUCLEAN;
    };
    for n in (0..count).step_by(7) {
        let _ = dir.lookup(&name(n)).map_err(&mut check);
        let _ = dir.remove(&name(n), file).map_err(&mut check);
        let _ = dir.insert(&name(n + count), file).map_err(&mut check);
    }
    let _ = dir.lookup(b"..").map_err(&mut check);
    let _ = names::is_empty(dir).map_err(&mut check);
    let mut cursor = Cursor::new(false);
    for _ in 0..4 * count {
        match names::readdir(dir, &mut cursor, |_| true) {
            Ok(Listing::More) => {}
            Ok(_) => break,
            Err(error) => {
                check(error);
                break;
            }
        }
    }
    let set = dir.change(|dir, tx| names::set_dotdot(dir, tx, Ino::ROOT));
    let _ = set.map_err(&mut check);
    let reports = dir.store().take_reports();
    assert!(!failed || !reports.is_empty(), "EUCLEAN and nothing said");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        count in prop_oneof![Just(20_u32), Just(300), Just(6000)],
        csum in any::<bool>(),
        rounds in proptest::collection::vec(
            proptest::collection::vec((any::<u32>(), any::<u16>(), any::<u8>(), any::<bool>()), 1..6),
            1..40,
        ),
    ) {
        let features = if csum { "metadata_csum" } else { "^metadata_csum" };
        let (world, image) = hashed(features, count);
        for round in rounds {
            let store = open(&image);
            let mut dir = FlatDir::open(&store, &image, "d");
            let free = (store.blocks() / 2..store.blocks()).map(PhysBlock::new);
            dir.extend_pool(&free.take(50).collect::<Vec<_>>());
            for (block, at, value, index) in round {
                // The first blocks and bytes more often than others.
                let block = block % (1 + (block >> 16) % dir.blocks());
                let nr = nr(&dir, block);
                let part = if block == 0 { IndexPart::Root } else { IndexPart::Node };
                let at = at % (1 + (at >> 4) % 1024);
                let change = |bytes: &mut [u8]| bytes[usize::from(at)] = value;
                if index {
                    scribble(&store, nr, dx(&dir, part), change);
                } else {
                    scribble(&store, nr, leaf(&dir), change);
                }
            }
            abuse(&mut dir, count, world.file);
        }
    }
}
