// SPDX-License-Identifier: GPL-2.0

//! Free blocks on images made by `mke2fs`, judged by `dumpe2fs` and `e2fsck`.

mod space_common;

use iomapfs_core::disk::{Flaw, Group, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::space::{Claim, Goal, Run, Share};
use kernel::error::code::*;
use kernel::host::fail_allocation;
use space_common::*;

fn run(start: u64, len: u32) -> Run {
    let start = PhysBlock::new(start);
    Run { start, len }
}

/// Would catch: wrong reading of descriptors, wrong synthesis of bitmaps that were never written, wrong
/// checksums, counts or flags after changes, padding that is given out, and wrong credits: every block of the
/// file system is used and freed once.
#[test]
fn fills_and_empties_every_kind() {
    for (name, mkfs) in kinds() {
        let image = mkfs.make();
        let before = dump_groups(&image);
        let vol = mount(&image);
        let counts = vol.space.counts();
        let sum = |f: fn(&GroupDump) -> u32| before.values().map(|g| u64::from(f(g))).sum::<u64>();
        assert_eq!(counts.free_blocks, sum(|g| g.free_blocks), "{name}");
        assert_eq!(counts.free_inodes, sum(|g| g.free_inodes), "{name}");
        assert_eq!(counts.dirs, sum(|g| g.dirs), "{name}");

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
            assert_eq!(group.free_blocks, 0, "{name}: group {nr}");
            assert_eq!(group.free_list, "", "{name}: group {nr}");
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

/// Would catch: an extent of the largest size that cannot be freed because it lies in several groups.
#[test]
fn a_run_over_several_groups() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let vol = mount(&image);
    let mut runs: Vec<Run> = Vec::new();
    let mut all = choose_all(&vol);
    all.sort_by_key(|r| r.start);
    for run in all {
        mark(&vol, run).unwrap();
        match runs.last_mut() {
            Some(last) if last.end() == run.start => last.len += run.len,
            _ => runs.push(run),
        }
    }
    let longest = runs.iter().copied().max_by_key(|r| r.len).unwrap();
    assert!(longest.len > 8192, "no run reaches into another group");
    assert!(vol.space.credits_run(longest).blocks <= vol.space.credits_free(longest.len).blocks);
    free(&vol, longest).unwrap();
    commit(&vol);
    assert_eq!(vol.space.counts().free_blocks, u64::from(longest.len));
}

/// Would catch: reuse before the commit, and blocks that the commit forgets.
#[test]
fn freed_blocks_wait_for_their_commit() {
    let image = Mkfs::new(8 << 20, 1024).make();
    let vol = mount(&image);
    let runs = choose_all(&vol);
    let first = run(runs[0].start.get(), 10);
    for run in runs {
        mark(&vol, run).unwrap();
    }
    commit(&vol);
    free(&vol, first).unwrap();
    let choose = || {
        vol.space
            .choose(&vol.store, anywhere(), 10, Claim::Free(Share::All))
    };
    assert_eq!(choose(), Err(ENOSPC));
    assert_eq!(vol.space.pending_free(), 10);
    assert_eq!(vol.space.counts().free_blocks, 10);
    // Freed by the next transaction, while the first is committing.
    let tid = vol.store.commit().unwrap();
    let second = run(first.start.get() + 10, 5);
    free(&vol, second).unwrap();
    let mut told = Vec::new();
    vol.space.committed(tid, |r| {
        assert_eq!(choose(), Err(ENOSPC), "can be had before the discard");
        told.push(r);
    });
    assert_eq!(told, [first]);
    assert_eq!(choose(), Ok(first));
    assert_eq!(choose(), Err(ENOSPC));
    commit(&vol);
    assert_eq!(choose(), Ok(second));
}

/// Would catch: blocks that are lost, or come back too early, when commits are faster than the giving back.
#[test]
fn many_commits_before_blocks_are_given_back() {
    let image = Mkfs::new(8 << 20, 1024).make();
    let vol = mount(&image);
    let got = vol
        .space
        .choose(&vol.store, anywhere(), 300, Claim::Free(Share::Common))
        .unwrap();
    assert_eq!(got.len, 300);
    mark(&vol, got).unwrap();
    commit(&vol);
    let mut tids = Vec::new();
    for n in 0..20 {
        for part in 0..3 {
            free(&vol, run(got.start.get() + 15 * n + 2 * part, 1)).unwrap();
        }
        tids.push(vol.store.commit().unwrap());
    }
    let mut back = 0;
    for (n, tid) in tids.iter().enumerate() {
        vol.space.committed(*tid, |r| {
            back += 1;
            let of = (r.start.get() - got.start.get()) / 15;
            assert!(of <= n as u64, "given back by an earlier commit");
        });
    }
    assert_eq!(back, 60);
    assert_eq!(vol.space.pending_free(), 0);
}

/// Would catch: damage that goes on silently after the map and the bitmap have come to differ.
#[test]
fn what_is_not_as_it_must_be_is_an_error() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let vol = mount(&image);
    let goal = near(2 * 8192 + 5000);
    let got = vol
        .space
        .choose(&vol.store, goal, 8, Claim::Free(Share::Common))
        .unwrap();
    assert_eq!(got, run(2 * 8192 + 5000, 8));
    mark(&vol, got).unwrap();
    commit(&vol);

    // The file system's own blocks, and none at all.
    for bad in [
        run(1, 1),
        run(2, 1),
        run(8193, 1),
        run(u64::MAX, 1),
        run(40 << 10, 1),
        run(0, 1),
        run(30000, 0),
        run((40 << 10) - 2, 3),
    ] {
        assert_eq!(free(&vol, bad), Err(EUCLEAN), "{bad:?}");
        assert_eq!(vol.store.take_reports().len(), 1, "{bad:?}");
    }
    assert!(vol.store.changed_blocks().is_empty());

    // Free blocks of group 3 cannot be freed; then nothing comes from there any more.
    let free_blocks = vol.space.counts().free_blocks;
    let bad = run(3 * 8192 + 5000, 8);
    assert_eq!(free(&vol, bad), Err(EUCLEAN));
    assert_eq!(vol.store.take_reports().len(), 1);
    let left = vol.space.counts().free_blocks;
    assert!(left < free_blocks);
    assert!(choose_all(&vol)
        .iter()
        .all(|r| (r.start.get() - 1) / 8192 != 3));
    assert_eq!(vol.space.counts().free_blocks, 0);

    // Used blocks of group 2 cannot be marked as used.
    assert_eq!(mark(&vol, got), Err(EUCLEAN));
    assert_eq!(vol.store.take_reports().len(), 1);
}

/// Would catch: a bad bitmap that stops everything, is used all the same, or fills the log.
#[test]
fn a_bad_bitmap_costs_one_group() {
    for (name, mkfs) in kinds().into_iter().take(2) {
        for damage in ["flip", "padding", "count", "metadata", "unreadable"] {
            let image = mkfs.make();
            let vol = mount(&image);
            // Group 0 is never left out of the bitmaps.
            let bits = vol.layout.blocks_per_group();
            let (table, _) = vol.layout.desc_location(Group::new(0));
            let desc = vol.store.read_data(table);
            let bitmap = u64::from(u32::from_le_bytes(desc[..4].try_into().unwrap()));
            let mut bytes = vol.store.read_data(PhysBlock::new(bitmap)).to_vec();
            let at = (bits / 8 - 1) as usize;
            let sealed = match damage {
                "flip" => {
                    bytes[at] ^= 0x80;
                    false
                }
                "count" => {
                    bytes[at] ^= 0x80;
                    true
                }
                "metadata" => {
                    // The block bitmap itself is free, another block is not.
                    let bit = (bitmap - u64::from(vol.layout.first_data_block())) as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    bytes[at] ^= 0x80;
                    true
                }
                _ => false,
            };
            if damage == "padding" {
                continue;
            }
            vol.store.write_data(PhysBlock::new(bitmap), &bytes);
            if sealed {
                let seed = vol.layout.csum_seed().unwrap();
                let sum = seed.checksum(&bytes[..bits as usize / 8]);
                let mut table_bytes = desc.to_vec();
                table_bytes[0x18..0x1a].copy_from_slice(&sum.to_le_bytes()[..2]);
                table_bytes[0x38..0x3a].copy_from_slice(&sum.to_le_bytes()[2..]);
                table_bytes[0x1e..0x20].fill(0);
                let crc = seed.start().with(&[0; 4]).with(&table_bytes[..64]).finish();
                table_bytes[0x1e..0x20].copy_from_slice(&crc.to_le_bytes()[..2]);
                vol.store.write_data(table, &table_bytes);
            }
            vol.store.save(image.path()).unwrap();
            let vol = mount(&image);
            vol.store
                .set_bad_block(PhysBlock::new(bitmap), damage == "unreadable");
            let before = vol.space.counts().free_blocks;
            let in_0 = u64::from(u32::from(u16::from_le_bytes(
                desc[12..14].try_into().unwrap(),
            )));
            // Where the goal is does not matter.
            let goal = near(u64::from(bits) / 2);
            let got = vol
                .space
                .choose(&vol.store, goal, 4, Claim::Free(Share::Common))
                .unwrap();
            assert!(got.start.get() > u64::from(bits), "{name}, {damage}");
            let lines = usize::from(damage != "unreadable");
            assert_eq!(vol.store.take_reports().len(), lines, "{name}, {damage}");
            vol.space.unchoose(got);
            assert_eq!(
                vol.space.counts().free_blocks,
                before - in_0,
                "{name}, {damage}"
            );
            let all: u64 = choose_all(&vol).iter().map(|r| u64::from(r.len)).sum();
            assert_eq!(all, before - in_0, "{name}, {damage}");
            // Freeing there leaks, and says no more about it.
            let inside = run(u64::from(bits) - 2, 1);
            free(&vol, inside).unwrap();
            assert_eq!(vol.store.take_reports(), [""; 0], "{name}, {damage}");
            assert!(vol.store.changed_blocks().is_empty(), "{name}, {damage}");
        }
    }
}

/// Would catch: descriptors that are believed although they cannot be true.
#[test]
fn bad_descriptors_are_refused() {
    let image = Mkfs::new(40 << 20, 1024).features("^metadata_csum").make();
    let table = 2;
    // Offset in the descriptor of group 1, value, what is said.
    let cases: [(usize, u32, Flaw); 9] = [
        (0x00, 0, Flaw::GroupBlockBitmap { block: 0 }),
        (0x00, 40 << 10, Flaw::GroupBlockBitmap { block: 40 << 10 }),
        (
            0x04,
            u32::MAX,
            Flaw::GroupInodeBitmap {
                block: u32::MAX.into(),
            },
        ),
        (
            0x08,
            (40 << 10) - 3,
            Flaw::GroupInodeTable {
                block: (40 << 10) - 3,
            },
        ),
        (
            0x20,
            1,
            Flaw::GroupBlockBitmap {
                block: (1 << 32) + 260,
            },
        ),
        (0x00, 1, Flaw::GroupShared { block: 1 }),
        (0x04, 2, Flaw::GroupShared { block: 2 }),
        (0x08, 8193, Flaw::GroupShared { block: 8193 }),
        (0x0c, 8193, Flaw::GroupFreeBlocks { count: 8193 }),
    ];
    for (at, value, flaw) in cases {
        let copy = image.copy();
        let (store, ..) = try_mount(&copy);
        let mut bytes = store.read_data(PhysBlock::new(table)).to_vec();
        bytes[64 + at..64 + at + 4].copy_from_slice(&value.to_le_bytes());
        store.write_data(PhysBlock::new(table), &bytes);
        store.save(copy.path()).unwrap();
        let (store, _, space) = try_mount(&copy);
        assert_eq!(space.err(), Some(EUCLEAN), "{flaw}");
        assert_eq!(store.take_flaws(), [flaw]);
    }
    // Any byte of a descriptor with a checksum, of either kind.
    for features in ["metadata_csum", "^metadata_csum,uninit_bg"] {
        let image = Mkfs::new(40 << 20, 1024).features(features).make();
        for at in 0..64 {
            let (store, layout, space) = try_mount(&image);
            space.unwrap();
            let mut bytes = store.read_data(PhysBlock::new(table)).to_vec();
            bytes[64 + at] ^= 0x10;
            store.write_data(PhysBlock::new(table), &bytes);
            store.drop_cache();
            let again = iomapfs_core::space::Space::load(&store, &layout);
            assert_eq!(again.err(), Some(EUCLEAN), "{features}: byte {at}");
        }
    }
}

/// Would catch: a block too much or too few, and the last blocks given to those they are not kept for.
#[test]
fn no_space_is_exact() {
    let image = Mkfs::new(40 << 20, 1024).arg("-m").arg("5").make();
    let vol = mount(&image);
    let all = u32::try_from(vol.space.counts().free_blocks).unwrap();
    let reserve = u32::try_from(vol.layout.reserved_blocks()).unwrap();
    let kept = u32::try_from(vol.layout.kept_blocks()).unwrap();
    assert!(reserve > 0);
    assert_eq!(kept, 40 * 1024 / 50);
    let common = all - reserve - kept;
    assert_eq!(vol.space.reserve(common, 1, Share::Common), Err(ENOSPC));
    vol.space.reserve(common - 7, 7, Share::Common).unwrap();
    assert_eq!(vol.space.reserve(1, 0, Share::Common), Err(ENOSPC));
    let choose = |claim| vol.space.choose(&vol.store, anywhere(), 1000, claim);
    assert_eq!(choose(Claim::Free(Share::Common)), Err(ENOSPC));
    // Those whom the reserve is for get that, and no more; what must not fail gets the rest.
    for (share, has) in [(Share::Reserve, reserve), (Share::All, kept)] {
        let mut taken = 0;
        while let Ok(run) = choose(Claim::Free(share)) {
            taken += run.len;
        }
        assert_eq!(taken, has);
        assert_eq!(vol.space.reserve(1, 0, share), Err(ENOSPC));
    }
    // The reservation is good for every block that it promised.
    let mut left = common;
    while left > 0 {
        let run = vol
            .space
            .choose(&vol.store, anywhere(), left.min(333), Claim::Reserved)
            .unwrap();
        left -= run.len;
    }
    assert_eq!(vol.space.counts().free_blocks, 0);
    vol.space.reserve(0, 0, Share::All).unwrap();
}

/// Would catch: streams that get each other's blocks in between, whether they are known as streams from their
/// first block on or only from the second.
#[test]
fn streams_do_not_interleave() {
    for ((name, mkfs), begins) in kinds().into_iter().take(2).zip([true, false]) {
        let image = mkfs.make();
        let vol = mount(&image);
        let streams = 4;
        let mut files: Vec<Vec<Run>> = vec![Vec::new(); streams];
        let rounds = vol.space.counts().free_blocks as usize / streams / 16 / 2;
        for round in 0..rounds {
            for file in &mut files {
                let goal = Goal {
                    near: file.last().map(Run::end),
                    stream: round > 0 || begins,
                    ..anywhere()
                };
                let got = vol
                    .space
                    .choose(&vol.store, goal, 16, Claim::Free(Share::Common))
                    .unwrap();
                match file.last_mut() {
                    Some(last) if last.end() == got.start => last.len += got.len,
                    _ => file.push(got),
                }
            }
        }
        let per_group = vol.layout.blocks_per_group();
        for file in &files {
            let blocks: u32 = file.iter().map(|r| r.len).sum();
            // A new extent where the group ends, or a copy of the super block is in the way.
            assert!(
                file.len() as u32 <= 3 * (blocks / per_group + 1),
                "{name}: {} extents for {blocks} blocks",
                file.len()
            );
        }
        // While there are as many groups as streams each has one of its own.
        let groups: Vec<u64> = files
            .iter()
            .map(|f| f.iter().max_by_key(|r| r.len).unwrap().start.get() / u64::from(per_group))
            .collect();
        let distinct: std::collections::BTreeSet<_> = groups.iter().collect();
        assert_eq!(distinct.len(), streams, "{name}: {groups:?}");
    }
}

/// Would catch: small new files that are scattered over the groups, each with a bitmap to be written.
#[test]
fn small_new_files_stay_with_their_directory() {
    let image = Mkfs::new(600 << 20, 4096).make();
    let vol = mount(&image);
    let goal = Goal {
        stream: true,
        ..anywhere()
    };
    let runs: Vec<Run> = (0..100)
        .map(|_| {
            vol.space
                .choose(&vol.store, goal, 4, Claim::Free(Share::Common))
                .unwrap()
        })
        .collect();
    assert!(runs.iter().all(|r| r.start.get() < 32768), "another group");
    assert!(runs.windows(2).all(|w| w[0].end() == w[1].start), "gaps");
}

/// Would catch: a large request that is torn although there is a place for it, and the longest run that is
/// passed over where there is none.
#[test]
fn large_requests_get_the_best_place() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let vol = mount(&image);
    let per_group = u64::from(vol.layout.blocks_per_group());
    let runs = choose_all(&vol);
    let give = |start: u64, len: u32| vol.space.unchoose(run(start, len));
    let choose = |goal, want| {
        vol.space
            .choose(&vol.store, goal, want, Claim::Free(Share::All))
            .unwrap()
    };
    assert!(runs
        .iter()
        .any(|r| r.start.get() < 4000 && r.end().get() > 4200));
    give(4000, 50);
    give(4100, 20);
    give(2 * per_group + 4000, 60);
    give(2 * per_group + 5000, 100);
    // Long enough, after the goal; before it; in another group.
    assert_eq!(choose(near(4060), 20), run(4100, 20));
    assert_eq!(choose(near(4060), 20), run(4000, 20));
    assert_eq!(choose(near(4060), 80), run(2 * per_group + 5000, 80));
    // Nowhere long enough: the longest.
    assert_eq!(choose(near(4060), 100), run(2 * per_group + 4000, 60));
    assert_eq!(choose(near(4060), 100), run(4020, 30));
    // The wanted block goes first, however short what is free there.
    give(4000, 50);
    give(4100, 1);
    assert_eq!(choose(near(4100), 30), run(4100, 1));
}

/// Would catch: an allocation that fails half-way and leaves counters and bitmaps apart.
#[test]
fn no_memory_is_an_error_and_no_more() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let vol = mount(&image);
    let counts = vol.space.counts();
    for n in 0..20 {
        fail_allocation(Some(n));
        let got = vol.space.choose(
            &vol.store,
            near(30000 - 8192 * (n % 3)),
            10,
            Claim::Free(Share::Common),
        );
        fail_allocation(None);
        match got {
            Ok(got) => {
                fail_allocation(Some(n % 2));
                let marked = mark(&vol, got);
                fail_allocation(None);
                if marked.is_err() {
                    mark(&vol, got).unwrap();
                }
                fail_allocation(Some(n % 3));
                let freed = free(&vol, got);
                fail_allocation(None);
                if freed.is_err() {
                    free(&vol, got).unwrap();
                }
                // Nothing may be needed here.
                let tid = vol.store.commit().unwrap();
                fail_allocation(Some(0));
                vol.space.committed(tid, |_| ());
                fail_allocation(None);
            }
            Err(e) => assert_eq!(e, ENOMEM),
        }
        assert_eq!(vol.space.counts(), counts);
        assert_eq!(vol.store.take_reports(), [""; 0]);
    }
    // Without memory for the index of one group, another will do.
    let all: u64 = choose_all(&vol).iter().map(|r| u64::from(r.len)).sum();
    assert_eq!(all, counts.free_blocks);
}

/// Would catch: blocks of the journal that a file could map.
#[test]
fn the_system_zone_knows_its_blocks() {
    let image = Mkfs::new(40 << 20, 1024).make();
    let mut vol = mount(&image);
    assert!(vol.space.is_system(PhysBlock::new(1), 1));
    assert!(!vol.space.is_system(PhysBlock::new(5000), 3000));
    assert!(vol.space.is_system(PhysBlock::new(5000), 3194));
    assert!(!vol.space.is_system(PhysBlock::new(0), 1));
    let mut add = |start, len| vol.space.add_system(&vol.store, PhysBlock::new(start), len);
    add(5000, 10).unwrap();
    add(5010, 10).unwrap();
    assert_eq!(add(5019, 2), Err(EUCLEAN));
    assert_eq!(add(8193, 1), Err(EUCLEAN));
    for (start, system) in [(4999, false), (5000, true), (5019, true), (5020, false)] {
        assert_eq!(vol.space.is_system(PhysBlock::new(start), 1), system);
    }
    for (group, first) in (0..5).map(|g| (g, 1 + 8192 * g)) {
        let backup = [0, 1, 3].contains(&group);
        assert_eq!(vol.space.is_system(PhysBlock::new(first), 1), backup);
    }
}
