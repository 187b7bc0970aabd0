// SPDX-License-Identifier: GPL-2.0

//! The orphans that a crash has left: found while memory is short, and those that are none.

use iomapfs_core::disk::{Flaw, Ino};
use iomapfs_core::host::{mount, Mkfs};
use iomapfs_core::inode::Orphans;
use iomapfs_core::store::{Credits, Store};
use kernel::error::code::*;
use kernel::host::fail_allocation;

/// Would catch: orphans that an attempt for which there was no memory has counted as known, and that nobody frees then.
#[test]
fn found_again() {
    for features in ["orphan_file", "^orphan_file"] {
        let image = Mkfs::new(24 << 20, 4096).features(features).make();
        let mut inodes = Vec::new();
        {
            let vol = mount(&image);
            let orphans = Orphans::load(&vol).unwrap();
            for _ in 0..3 {
                let mut tx = vol.store.begin(Credits::new(16, 0)).unwrap();
                let ino = vol.space.alloc_inode(&vol.store, &mut tx, Ino::ROOT, false);
                let ino = ino.unwrap();
                inodes.push(ino);
                assert_eq!(orphans.add(&vol, &mut tx, ino), Ok(true));
            }
            vol.store.save(image.path()).unwrap();
        }
        let vol = mount(&image);
        let raw = image.read_super();
        let orphans = Orphans::load(&vol).unwrap();
        let mut attempts = 0;
        let mut found = loop {
            fail_allocation(Some(attempts));
            let result = orphans.left_over(&vol, &raw);
            fail_allocation(None);
            match result {
                Ok(found) => break found.iter().copied().collect::<Vec<_>>(),
                Err(error) => assert_eq!(error, ENOMEM),
            }
            attempts += 1;
        };
        found.sort();
        assert_eq!(found, inodes, "{features}");
        assert!(attempts > 3, "{features}: {attempts} allocations");
        assert_eq!(vol.store.take_reports(), Vec::<String>::new());
        for ino in inodes {
            let mut tx = vol.store.begin(Credits::new(8, 0)).unwrap();
            orphans.remove(&vol, &mut tx, ino).unwrap();
        }
        assert!(orphans.file_is_empty());
    }
}

/// Would catch: an inode that is free and is freed again, with blocks that are others' by now.
#[test]
fn a_free_inode_is_none() {
    for features in ["orphan_file", "^orphan_file"] {
        let image = Mkfs::new(24 << 20, 4096).features(features).make();
        let free = Ino::new(100).unwrap();
        let vol = mount(&image);
        let orphans = Orphans::load(&vol).unwrap();
        let mut tx = vol.store.begin(Credits::new(16, 0)).unwrap();
        let used = vol.space.alloc_inode(&vol.store, &mut tx, Ino::ROOT, false);
        let used = used.unwrap();
        for ino in [free, used] {
            assert_eq!(orphans.add(&vol, &mut tx, ino), Ok(true));
        }
        drop(tx);
        vol.store.save(image.path()).unwrap();
        let vol = mount(&image);
        let orphans = Orphans::load(&vol).unwrap();
        let found = orphans.left_over(&vol, &image.read_super()).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [&used], "{features}");
        let flaw = match vol.layout.orphan_file_ino() {
            Some(_) => Flaw::OrphanFileEntry,
            None => Flaw::OrphanListEntry { ino: 100 },
        };
        assert_eq!(vol.store.take_flaws(), [flaw]);
    }
}
