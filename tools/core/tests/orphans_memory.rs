// SPDX-License-Identifier: GPL-2.0

//! The orphans that a crash has left, found while memory is short.

use iomapfs_core::disk::Ino;
use iomapfs_core::host::{mount, Mkfs};
use iomapfs_core::inode::Orphans;
use iomapfs_core::store::Store;
use kernel::error::code::*;
use kernel::host::fail_allocation;

/// Would catch: orphans that an attempt for which there was no memory has counted as known, and that nobody frees then.
#[test]
fn found_again() {
    for features in ["orphan_file", "^orphan_file"] {
        let image = Mkfs::new(24 << 20, 4096).features(features).make();
        let inodes = [12, 13, 14].map(|ino| Ino::new(ino).unwrap());
        {
            let vol = mount(&image);
            let orphans = Orphans::load(&vol).unwrap();
            for ino in inodes {
                let mut tx = vol.store.begin(8, 0).unwrap();
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
            let mut tx = vol.store.begin(8, 0).unwrap();
            orphans.remove(&vol, &mut tx, ino).unwrap();
        }
        assert!(orphans.file_is_empty());
    }
}
