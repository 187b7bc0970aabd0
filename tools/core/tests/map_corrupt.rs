// SPDX-License-Identifier: GPL-2.0

//! Extent trees that are not what they should be: an error and a report, no panic, no endless loop, no access to what
//! does not belong to the file.

mod map_common;

use iomapfs_core::disk::{Flaw, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{Image, Mkfs};
use iomapfs_core::map::State;
use iomapfs_core::space::Share;
use kernel::error::{code::*, Result};
use map_common::*;
use proptest::prelude::*;
use std::sync::OnceLock;

const BLOCK: usize = 1024;
const INO: u32 = 12;
/// File block of the first extent; they lie at every second block.
const FIRST: u32 = 100;
const EXTENTS: u32 = 400;

/// A file with three levels.
fn template() -> &'static Image {
    static TEMPLATE: OnceLock<Image> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let image = Mkfs::new(8 << 20, BLOCK as u32).make();
        assert_eq!(make_files(&image, &["a"])[0].get(), INO);
        let vol = mount(&image);
        let mut file = File::open(&vol, Ino::new(INO).unwrap());
        for i in 0..EXTENTS {
            file.allocate(&vol, FIRST + 2 * i, 1).unwrap();
        }
        assert_eq!(file.map().depth(), 2);
        file.map().evict(&vol);
        save(&vol, &image);
        image.fsck().unwrap();
        image
    })
}

struct Case {
    vol: Vol,
    file: File,
    /// Device block of the index node, and of the leaves.
    index: u64,
    leaves: Vec<u64>,
}

impl Case {
    fn new() -> Self {
        let vol = mount(template());
        let mut file = File::open(&vol, Ino::new(INO).unwrap());
        let child = |slot: &[u8]| u64::from(u32::from_le_bytes(slot[4..8].try_into().unwrap()));
        let index = child(&file.map().root()[12..24]);
        let node = vol.store.read_data(PhysBlock::new(index));
        let count = usize::from(node[2]);
        let leaves = (1..=count).map(|i| child(&node[12 * i..])).collect();
        Self {
            vol,
            file,
            index,
            leaves,
        }
    }

    /// Changes a node on the device; the checksum is right afterwards.
    fn change(&self, nr: u64, f: impl FnOnce(&mut [u8])) {
        let nr = PhysBlock::new(nr);
        let mut bytes = self.vol.store.read_data(nr).to_vec();
        f(&mut bytes);
        let tail = BLOCK - 4;
        let sum = self.file.inode.map.seed().unwrap().checksum(&bytes[..tail]);
        bytes[tail..].copy_from_slice(&sum.to_le_bytes());
        self.vol.store.write_data(nr, &bytes);
    }

    /// Looks up all of the file.
    fn walk(&mut self) -> Result<u32> {
        let mut at = LogicalBlock::ZERO;
        let mut extents = 0;
        while at < LogicalBlock::LIMIT {
            let found = self.file.map().lookup(&self.vol, at, u32::MAX)?;
            extents += u32::from(found.state != State::Hole);
            assert!(found.end() > at);
            at = found.end();
        }
        Ok(extents)
    }

    /// Every way to read and change the file finds the damage, and reports it in one line each.
    #[track_caller]
    fn expect_bad(mut self, flaw: Flaw) {
        assert_eq!(self.walk(), Err(EUCLEAN), "{flaw}");
        assert_eq!(self.vol.store.take_flaws(), [flaw]);
        assert_eq!(self.walk(), Err(EUCLEAN), "{flaw}");
        let reports = self.vol.store.take_reports();
        assert!(reports[0].starts_with("inode 12: "), "{reports:?}");
        let removed = self.file.remove(&self.vol, 0, u32::MAX);
        assert_eq!(removed, Err(EUCLEAN), "{flaw}");
    }
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn template_is_good() {
    let mut case = Case::new();
    assert_eq!(case.walk(), Ok(EXTENTS));
    case.change(case.leaves[2], |_| ());
    assert_eq!(case.leaves.len(), 5);
    assert_eq!(case.vol.store.take_reports(), [""; 0]);
}

/// Would catch a check that is missing or that accepts too much, one by one.
#[test]
fn every_check_of_a_node() {
    type Change = fn(&mut [u8]);
    let leaf: [(Flaw, Change); 10] = [
        (Flaw::ExtentMagic { magic: 0xf30b }, |b| put16(b, 0, 0xf30b)),
        (
            Flaw::ExtentEntries {
                entries: 85,
                max: 84,
            },
            |b| put16(b, 2, 85),
        ),
        (
            Flaw::ExtentMax {
                max: 83,
                expected: 84,
            },
            |b| put16(b, 4, 83),
        ),
        (Flaw::ExtentDepth { depth: 6 }, |b| put16(b, 6, 6)),
        (Flaw::ExtentEmpty, |b| put16(b, 2, 0)),
        (Flaw::ExtentLength { index: 0 }, |b| put16(b, 12 + 4, 0)),
        (Flaw::ExtentOrder { index: 1 }, |b| put16(b, 12 + 4, 3)),
        (
            Flaw::ExtentOutside {
                index: 0,
                block: 0x7fff_ffff,
            },
            |b| put32(b, 12 + 8, 0x7fff_ffff),
        ),
        (
            Flaw::ExtentOutside {
                index: 0,
                block: 1 << 32,
            },
            |b| {
                put32(b, 12 + 8, 0);
                put16(b, 12 + 6, 1)
            },
        ),
        (Flaw::ExtentChildStart { expected: 432 }, |b| {
            let key = u32::from_le_bytes(b[12..16].try_into().unwrap());
            put32(b, 12, key - 1);
        }),
    ];
    for (flaw, change) in leaf {
        let case = Case::new();
        case.change(case.leaves[2], change);
        case.expect_bad(flaw);
    }
    let index: [(Flaw, Change); 6] = [
        (Flaw::ExtentOrder { index: 1 }, |b| put32(b, 24, 0)),
        (
            Flaw::ExtentOutside {
                index: 0,
                block: 0x7fff_ffff,
            },
            |b| put32(b, 12 + 4, 0x7fff_ffff),
        ),
        (Flaw::ExtentOutside { index: 0, block: 0 }, |b| {
            put32(b, 12 + 4, 0)
        }),
        (
            Flaw::ExtentChildEnd {
                end: 265,
                limit: FIRST + 1,
            },
            |b| put32(b, 24, FIRST + 1),
        ),
        (Flaw::ExtentChildStart { expected: 267 }, |b| {
            let key = u32::from_le_bytes(b[24..28].try_into().unwrap());
            put32(b, 24, key + 1);
        }),
        (
            Flaw::ExtentChildDepth {
                depth: 2,
                expected: 1,
            },
            |b| put16(b, 6, 2),
        ),
    ];
    for (flaw, change) in index {
        let case = Case::new();
        case.change(case.index, change);
        case.expect_bad(flaw);
    }
}

#[test]
fn wrong_checksum() {
    let case = Case::new();
    let nr = PhysBlock::new(case.leaves[1]);
    let mut bytes = case.vol.store.read_data(nr).to_vec();
    bytes[12 + 8] ^= 1;
    case.vol.store.write_data(nr, &bytes);
    case.expect_bad(Flaw::Checksum);
}

/// A leaf whose last extent reaches into the range of the next leaf.
#[test]
fn leaf_beyond_its_range() {
    let case = Case::new();
    case.change(case.leaves[1], |b| {
        let last = 12 * usize::from(b[2]);
        put16(b, last + 4, 40);
    });
    case.expect_bad(Flaw::ExtentChildEnd {
        end: 470,
        limit: 432,
    });
}

/// Nodes that are their own children, or children of two parents, do not make a descent endless.
#[test]
fn loops() {
    let case = Case::new();
    let index = case.index as u32;
    case.change(case.index, |b| put32(b, 12 + 4, index));
    case.expect_bad(Flaw::ExtentChildDepth {
        depth: 1,
        expected: 0,
    });

    let case = Case::new();
    let leaf = case.leaves[0] as u32;
    case.change(case.index, |b| put32(b, 24 + 4, leaf));
    case.expect_bad(Flaw::ExtentChildStart { expected: 266 });
}

/// Blocks that hold metadata of the file system are neither data nor nodes of a file.
#[test]
fn metadata_is_not_mapped() {
    let case = Case::new();
    case.change(case.leaves[0], |b| put32(b, 12 + 8, 3));
    case.expect_bad(Flaw::ExtentOverSystem { block: 3 });

    let case = Case::new();
    case.change(case.index, |b| put32(b, 12 + 4, 3));
    case.expect_bad(Flaw::ExtentNodeInSystem { block: 3 });
}

/// A leaf that maps now what was a hole when blocks were chosen for it.
///
/// Would catch: extents of a file that overlap, because the map trusts what it knew.
#[test]
fn mapped_behind_the_back() {
    // The extent before gets longer, or the one behind begins earlier.
    for slot in [12, 24] {
        let mut case = Case::new();
        let at = block(FIRST + 1);
        let chosen = case.file.map().choose(&case.vol, at, 1, goal(), Share::All);
        assert_eq!(chosen.unwrap().state, State::Pending);
        commit_journal(&case.vol);
        case.vol.store.checkpoint();
        case.vol.store.drop_cache();
        case.change(case.leaves[0], |b| {
            put16(b, slot + 4, 2);
            if slot == 24 {
                put32(b, slot, FIRST + 1);
            }
        });
        assert_eq!(case.file.commit(&case.vol, FIRST + 1, 1), Err(EUCLEAN));
        let block = FIRST + 1;
        assert_eq!(case.vol.store.take_flaws(), [Flaw::ExtentMapped { block }]);
    }
}

/// Would catch: extents that come from a node to the root, which was good when it was checked, and are not checked
/// there.
#[test]
fn metadata_is_not_mapped_after_a_collapse() {
    let image = Mkfs::new(8 << 20, BLOCK as u32).make();
    assert_eq!(make_files(&image, &["a"])[0].get(), INO);
    let vol = mount(&image);
    let mut file = File::open(&vol, Ino::new(INO).unwrap());
    for i in 0..5 {
        file.allocate(&vol, FIRST + 2 * i, 1).unwrap();
        file.lookup(&vol, FIRST, 1);
    }
    assert_eq!(file.map().depth(), 1);
    let leaf = u32::from_le_bytes(file.map().root()[16..20].try_into().unwrap());
    file.map().evict(&vol);
    commit_journal(&vol);
    vol.store.checkpoint();
    vol.store.drop_cache();
    let case = Case {
        vol,
        file,
        index: 0,
        leaves: vec![leaf.into()],
    };
    case.change(leaf.into(), |b| put32(b, 12 + 4 * 12 + 8, 3));
    let (vol, mut file) = (case.vol, case.file);
    file.remove(&vol, FIRST, FIRST + 4).unwrap();
    assert_eq!(file.map().depth(), 0);
    let found = file.map().lookup(&vol, block(FIRST + 8), 1);
    assert_eq!(found, Err(EUCLEAN));
}

/// A root that is wrong is found when the inode is read.
#[test]
fn bad_roots() {
    let vol = mount(template());
    let ino = Ino::new(INO).unwrap();
    let good = *File::open(&vol, ino).map().root();
    type Change = fn(&mut [u8; 60]);
    let changes: [(Flaw, Change); 5] = [
        (Flaw::ExtentMagic { magic: 0xf300 }, |b| b[0] = 0),
        (
            Flaw::ExtentMax {
                max: 5,
                expected: 4,
            },
            |b| b[4] = 5,
        ),
        (Flaw::ExtentEntries { entries: 5, max: 4 }, |b| b[2] = 5),
        (Flaw::ExtentEmpty, |b| b[2] = 0),
        (Flaw::ExtentDepth { depth: 6 }, |b| b[6] = 6),
    ];
    for (flaw, change) in changes {
        let mut root = good;
        change(&mut root);
        let checked = iomapfs_core::map::FileMap::check_root(&vol, ino, None, &root);
        assert_eq!(checked, Err(EUCLEAN), "{flaw}");
        assert_eq!(vol.store.take_flaws(), [flaw]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Any bytes of any nodes, with good checksums: whatever is done ends, with or without an error.
    #[test]
    fn random_damage(
        changes in prop::collection::vec((0..6_usize, 0..BLOCK - 4, any::<u8>()), 1..6),
        header in prop::collection::vec((0..6_usize, 0..24_usize, any::<u8>()), 0..2),
        ops in prop::collection::vec((0..5_u8, FIRST - 20..FIRST + 2 * EXTENTS + 20, 1..60_u32), 1..20),
    ) {
        let mut case = Case::new();
        for (node, at, byte) in changes.into_iter().chain(header) {
            let nr = case.leaves.get(node).copied().unwrap_or(case.index);
            case.change(nr, |b| b[at] = byte);
        }
        let _ = case.walk();
        let (vol, file) = (&case.vol, &mut case.file);
        for (op, at, len) in ops {
            let result = match op {
                0 => file.map().choose(vol, block(at), len, goal(), Share::All).map(drop),
                1 => file.commit(vol, at, len),
                2 => file.allocate(vol, at, len).map(drop),
                3 => file.remove(vol, at, at + len),
                _ => file.preallocate(vol, at, len).map(drop),
            };
            if let Err(error) = result {
                prop_assert!([EUCLEAN, EIO, EEXIST, ENOSPC].contains(&error), "{error:?}");
            }
        }
        let _ = file.remove(vol, 0, u32::MAX);
        file.map().evict(vol);
        prop_assert_eq!(file.inode.map.reserved(), (0, 0));
        let _ = case.walk();
    }
}
