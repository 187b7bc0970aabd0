// SPDX-License-Identifier: GPL-2.0

//! Allocation of inodes on images made by `mke2fs`, judged by `dumpe2fs` and `e2fsck`.

mod space_common;

use iomapfs_core::disk::inode::InodeTableFormat;
use iomapfs_core::disk::{Flaw, Group, Ino, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::store::{Credits, Store, Transaction};
use kernel::error::{code::*, Result};
use space_common::*;
use std::collections::{BTreeMap, BTreeSet};

#[track_caller]
fn alloc(vol: &Vol, parent: Ino, is_dir: bool) -> Result<Ino> {
    let mut tx = vol.store.begin(vol.space.credits_alloc_inode())?;
    vol.space.alloc_inode(&vol.store, &mut tx, parent, is_dir)
}

#[track_caller]
fn free(vol: &Vol, ino: Ino, is_dir: bool) -> Result {
    let mut tx = vol.store.begin(vol.space.credits_free_inode())?;
    vol.space.free_inode(&vol.store, &mut tx, ino, is_dir)
}

fn group_of(vol: &Vol, ino: Ino) -> u32 {
    vol.layout.inode_slot(ino).unwrap().group.get()
}

/// Would catch: an inode given twice or never, reserved inodes given, wrong counts, flags, checksums or
/// number of unused inodes, a bitmap without padding, wrong credits: every inode is allocated and freed once.
#[test]
fn takes_and_frees_all_of_every_kind() {
    for (name, mkfs) in kinds() {
        let image = mkfs.arg("-i").arg("65536").make();
        let before = dump_groups(&image);
        let vol = mount(&image);
        let counts = vol.space.counts();
        let mut seen = BTreeSet::new();
        let mut dirs = 0;
        loop {
            let dir = seen.len() % 3 == 0;
            match alloc(&vol, Ino::ROOT, dir) {
                Ok(ino) => {
                    assert!(seen.insert((ino, dir)), "{name}: {ino:?} twice");
                    assert!(ino.get() >= vol.layout.first_ino(), "{name}");
                    dirs += u64::from(dir);
                }
                Err(e) => {
                    assert_eq!(e, ENOSPC, "{name}");
                    break;
                }
            }
        }
        assert_eq!(seen.len() as u64, counts.free_inodes, "{name}");
        let now = vol.space.counts();
        assert_eq!(
            (now.free_inodes, now.dirs),
            (0, counts.dirs + dirs),
            "{name}"
        );
        vol.store.save(image.path()).unwrap();
        for (nr, group) in dump_groups(&image) {
            assert_eq!(group.free_inodes, 0, "{name}: group {nr}");
            assert_eq!(group.free_inode_list, "", "{name}: group {nr}");
        }
        let vol = mount(&image);
        assert_eq!(alloc(&vol, Ino::ROOT, false), Err(ENOSPC), "{name}");
        for (ino, dir) in seen {
            free(&vol, ino, dir).unwrap();
        }
        assert_eq!(vol.space.counts(), counts, "{name}");
        vol.store.save(image.path()).unwrap();
        let after = dump_groups(&image);
        assert_eq!(after, before, "{name}");
        image.fsck().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(vol.store.take_reports(), [""; 0], "{name}");
    }
}

/// Would catch: an inode table block that was never written and is read as if it had been, or one with inodes
/// in it that is wiped.
#[test]
fn table_blocks_that_were_never_written_are_made() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let vol = mount(&image);
    let per_block = vol.layout.inodes_per_block();
    // Inodes 1 to 11 are there.
    let used = 11_u32.div_ceil(per_block);
    let table = |group: u32| vol.space.inode_table(Group::new(group)).unwrap().get();
    let junk = vec![0xe5; 1024];
    for group in 0..vol.layout.groups() {
        let first = if group == 0 { used } else { 0 };
        for block in first..vol.layout.inode_table_blocks() {
            let nr = PhysBlock::new(table(group) + u64::from(block));
            vol.store.write_data(nr, &junk);
        }
    }
    let mut left: BTreeMap<Ino, u8> = BTreeMap::new();
    while let Ok(ino) = alloc(&vol, Ino::ROOT, false) {
        let slot = vol.layout.inode_slot(ino).unwrap();
        let nr = PhysBlock::new(table(slot.group.get()) + u64::from(slot.block));
        let block = vol.store.read(nr, InodeTableFormat).unwrap();
        let size = usize::from(vol.layout.inode_size());
        let fresh = block.with(|b| b[slot.offset..slot.offset + size].iter().all(|b| *b == 0));
        assert!(fresh, "{ino:?}");
        let value = (ino.get() % 250) as u8 + 1;
        let mut tx = vol.store.begin(Credits::new(1, 0)).unwrap();
        tx.edit(&block, |b| b[slot.offset] = value).unwrap();
        left.insert(ino, value);
    }
    for (ino, value) in left {
        let slot = vol.layout.inode_slot(ino).unwrap();
        let nr = PhysBlock::new(table(slot.group.get()) + u64::from(slot.block));
        let block = vol.store.read(nr, InodeTableFormat).unwrap();
        assert_eq!(block.with(|b| b[slot.offset]), value, "{ino:?}");
    }
}

/// Would catch: files that are scattered, directories that pile up, or a directory far from its parent.
#[test]
fn files_stay_and_directories_spread() {
    let image = Mkfs::new(8 << 30, 4096).features("^has_journal").make();
    let vol = mount(&image);
    let flexes = vol.layout.groups().div_ceil(16);
    assert!(flexes >= 4);
    let mut tops = BTreeSet::new();
    // The root and lost+found are in the first flex group.
    for _ in 1..flexes {
        let dir = alloc(&vol, Ino::ROOT, true).unwrap();
        let flex = group_of(&vol, dir) / 16;
        assert!(tops.insert(flex), "two of the first directories in {flex}");
        let file = alloc(&vol, dir, false).unwrap();
        assert_eq!(group_of(&vol, file), group_of(&vol, dir));
        let sub = alloc(&vol, dir, true).unwrap();
        assert_eq!(group_of(&vol, sub) / 16, flex);
    }
    // Many directories in one place go on elsewhere before inodes run out there.
    let dir = alloc(&vol, Ino::ROOT, true).unwrap();
    let per_flex = vol.layout.inodes_per_group() * 16;
    let moved = (0..per_flex).any(|_| {
        let sub = alloc(&vol, dir, true).unwrap();
        group_of(&vol, sub) / 16 != group_of(&vol, dir) / 16
    });
    assert!(moved);
}

/// Would catch: a bad inode bitmap that stops everything, is used all the same, or fills the log; a wrong
/// free.
#[test]
fn a_bad_bitmap_costs_one_group() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let vol = mount(&image);
    let (table, _) = vol.layout.desc_location(Group::new(0));
    let desc = vol.store.read_data(table);
    let bitmap = PhysBlock::new(u32::from_le_bytes(desc[4..8].try_into().unwrap()).into());
    let mut bytes = vol.store.read_data(bitmap).to_vec();
    bytes[7] ^= 1;
    vol.store.write_data(bitmap, &bytes);
    for _ in 0..5 {
        let ino = alloc(&vol, Ino::ROOT, false).unwrap();
        assert_ne!(group_of(&vol, ino), 0);
    }
    assert_eq!(vol.store.take_reports().len(), 1);
    let dir = alloc(&vol, Ino::ROOT, true).unwrap();
    free(&vol, dir, true).unwrap();
    for ino in [dir.get(), 1, 2, 10, vol.layout.inodes_count(), u32::MAX] {
        let ino = Ino::new(ino).unwrap();
        assert_eq!(free(&vol, ino, false), Err(EUCLEAN), "{ino:?}");
        assert_eq!(vol.store.take_reports().len(), 1, "{ino:?}");
    }
}

/// Would catch: a count of free blocks that is believed because an inode is the first to need the group's bitmap.
#[test]
fn a_group_without_a_bitmap_has_what_it_says() {
    let image = Mkfs::new(40 << 20, 1024).arg("-N").arg("80").make();
    // "Group 4: (Blocks 32769-40959) csum 0x1234 [INODE_UNINIT, BLOCK_UNINIT, ITABLE_ZEROED]"
    let dump = image.dumpe2fs();
    let line = dump.lines().find(|line| line.contains("BLOCK_UNINIT"));
    let group = line.unwrap().split([' ', ':']).nth(1).unwrap();
    image.debugfs(&[
        format!("set_bg {group} free_blocks_count 10"),
        format!("set_bg {group} checksum calc"),
    ]);
    let group: u32 = group.parse().unwrap();
    let vol = mount(&image);
    let mut count = 0;
    while let Ok(ino) = alloc(&vol, Ino::ROOT, false) {
        assert_ne!(group_of(&vol, ino), group);
        count += 1;
    }
    assert!(count > 40);
    let flaws = vol.store.take_flaws();
    assert!(
        matches!(flaws[..], [Flaw::GroupWithoutBitmap { found: 10, .. }]),
        "{flaws:?}"
    );
}
