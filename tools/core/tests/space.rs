// SPDX-License-Identifier: GPL-2.0

//! Free space on images made by `mke2fs`, judged by `dumpe2fs` and `e2fsck`.

mod space_common;

use space_common::*;

/// Would catch: wrong reading of descriptors, wrong synthesis of bitmaps that were never written, wrong checksums, counts or
/// flags after changes, and padding that is given out: every block of the file system is used and freed once.
#[test]
fn fills_and_empties_every_kind() {
    for (name, mkfs) in kinds() {
        let image = mkfs.make();
        let before = dump_groups(&image);
        let vol = mount(&image);
        let counts = vol.space.counts();
        let sum = |f: fn(&(u32, u32, u32, String)) -> u32| {
            before.values().map(|g| u64::from(f(g))).sum::<u64>()
        };
        assert_eq!(counts.free_blocks, sum(|g| g.0), "{name}");
        assert_eq!(counts.free_inodes, sum(|g| g.1), "{name}");
        assert_eq!(counts.dirs, sum(|g| g.2), "{name}");

        let runs = choose_all(&vol);
        let chosen: u64 = runs.iter().map(|r| u64::from(r.len)).sum();
        assert_eq!(chosen, counts.free_blocks, "{name}");
        assert!(
            vol.store.changed_blocks().is_empty(),
            "{name}: choosing wrote"
        );
        for run in &runs {
            mark(&vol, *run).unwrap();
        }
        assert_eq!(vol.space.counts().free_blocks_on_disk, 0, "{name}");
        vol.store.save(image.path()).unwrap();
        for (nr, group) in dump_groups(&image) {
            assert_eq!((group.0, group.3.as_str()), (0, ""), "{name}: group {nr}");
        }

        // As after another mount: what was written is read and checked.
        let vol = mount(&image);
        assert_eq!(choose_all(&vol), [], "{name}");
        for run in &runs {
            free(&vol, *run).unwrap();
        }
        assert_eq!(vol.space.pending_free(), chosen, "{name}");
        commit(&vol);
        assert_eq!(vol.space.counts(), counts, "{name}");
        assert_eq!(vol.space.pending_free(), 0, "{name}");
        vol.store.save(image.path()).unwrap();
        assert_eq!(dump_groups(&image), before, "{name}");
        image.fsck().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(vol.store.take_reports(), [""; 0], "{name}");
    }
}
