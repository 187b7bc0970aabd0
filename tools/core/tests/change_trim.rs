// SPDX-License-Identifier: GPL-2.0

//! Trimming: what of the volume, in which pieces, and what is left out.

mod space_common;

use iomapfs_core::change::trim::{trim, Wanted};
use iomapfs_core::disk::{Group, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::space::{Claim, Goal, Run, Share, Trimmer};
use kernel::error::{code::*, Result};
use kernel::host::fail_allocation;
use space_common::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

const ALL: Wanted = Wanted {
    start: 0,
    len: u64::MAX,
    min_len: 0,
};

/// A device that notes what it is told.
struct Device<F> {
    told: Vec<Run>,
    /// Answers, as [`Trimmer::discard`].
    answer: F,
    /// So many questions later it stops.
    patience: u32,
}

fn device<F: FnMut(Run) -> Result<bool>>(answer: F) -> Device<F> {
    Device {
        told: Vec::new(),
        answer,
        patience: u32::MAX,
    }
}

impl<F: FnMut(Run) -> Result<bool>> Trimmer for Device<F> {
    fn is_stopped(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience == 0
    }

    fn discard(&mut self, run: Run) -> Result<bool> {
        let told = (self.answer)(run);
        if told == Ok(true) {
            self.told.push(run);
        }
        told
    }
}

/// Trims, and gives what the device was told. What is returned fits to that.
#[track_caller]
fn told(vol: &Vol, wanted: Wanted) -> Vec<Run> {
    let mut device = device(|_| Ok(true));
    let bytes = trim(vol, wanted, 0, &mut device).unwrap();
    let blocks: u64 = device.told.iter().map(|run| u64::from(run.len)).sum();
    assert_eq!(bytes, blocks * u64::from(vol.layout.block_size().bytes()));
    device.told
}

fn blocks(runs: &[Run]) -> BTreeSet<u64> {
    let all: Vec<u64> = runs
        .iter()
        .flat_map(|run| run.start.get()..run.end().get())
        .collect();
    let set: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(all.len(), set.len(), "a block twice");
    set
}

/// Would catch: metadata or data that is told to be nothing, free blocks that are left out, in groups that have no
/// bitmap yet, too; a change of counts or of the device; groups that are trimmed again for nothing, or forgotten under
/// memory pressure.
#[test]
fn every_kind_whole() {
    for (name, mkfs) in kinds() {
        let image = mkfs.make();
        let vol = mount(&image);
        let counts = vol.space.counts();
        let first = told(&vol, ALL);
        assert_eq!(blocks(&first).len() as u64, counts.free_blocks, "{name}");
        assert_eq!(vol.space.counts(), counts, "{name}");
        assert!(vol.store.changed_blocks().is_empty(), "{name}");
        vol.space.shrink(u32::MAX);
        assert_eq!(vol.space.cached(), 0, "{name}: something stays taken");
        assert_eq!(told(&vol, ALL), [], "{name}: again");
        assert_eq!(blocks(&choose_all(&vol)), blocks(&first), "{name}");
        assert_eq!(vol.store.take_reports(), [""; 0], "{name}");
    }
}

/// Would catch: another answer than ext4's.
#[test]
fn arguments() {
    let image = Mkfs::new(40 << 20, 4096).arg("-g").arg("1024").make();
    let fs = 40 << 20;
    let group = 1024 * 4096;
    let wanted = |start, len, min_len| Wanted {
        start,
        len,
        min_len,
    };
    for (wanted, granularity, expected) in [
        (wanted(fs, u64::MAX, 0), 0, Err(EINVAL)),
        (wanted(u64::MAX, u64::MAX, 0), 0, Err(EINVAL)),
        (wanted(fs - 1, u64::MAX, 0), 0, Ok(true)),
        (wanted(0, 0, 0), 0, Err(EINVAL)),
        (wanted(0, 4095, 0), 0, Err(EINVAL)),
        // The super block.
        (wanted(0, 4096, 0), 0, Ok(false)),
        (wanted(fs - 4096, 4096, 0), 0, Ok(true)),
        (wanted(0, u64::MAX, group + 4096), 0, Err(EINVAL)),
        (wanted(0, u64::MAX, u64::MAX), 0, Err(EINVAL)),
        // The groups without metadata are free as a whole.
        (wanted(0, u64::MAX, group + 4095), 0, Ok(true)),
        (wanted(0, u64::MAX, 0), group as u32 + 4096, Ok(false)),
        (wanted(0, u64::MAX, 0), u32::MAX, Ok(false)),
        (wanted(0, u64::MAX, 0), 512, Ok(true)),
    ] {
        let vol = mount(&image);
        let done = trim(&vol, wanted, granularity, &mut device(|_| Ok(true)));
        let case = format!("{wanted:?}, {granularity}");
        assert_eq!(done.map(|bytes| bytes > 0), expected, "{case}");
        assert!(done.is_ok_and(|bytes| bytes < fs) || done.is_err());
    }
}

/// Would catch: blocks outside the range, or some within that are missing; a group that counts as trimmed of which
/// only a part was.
#[test]
fn ranges() {
    for size in [1024_u64, 4096] {
        let mkfs = Mkfs::new(size * 6 * 1024 - 300 * size, size as u32);
        let image = mkfs.arg("-g").arg("1024").make();
        let vol = mount(&image);
        let free = blocks(&choose_all(&mount(&image)));
        let count = vol.layout.blocks_count();
        for (start, len) in [
            (0, 1),
            (0, 1500),
            (700, 10),
            (700, 2000),
            (1023, 1),
            (1024, 1024),
            (1025, 1023),
            (3000, 1),
            (count - 1, 1),
            (count - 1, 9),
            (4000, count),
        ] {
            let wanted = Wanted {
                start: start * size + size / 2,
                len: len * size + size / 3,
                min_len: 0,
            };
            // Whole groups are there once only.
            let vol = mount(&image);
            let in_range: BTreeSet<u64> = free.range(start..start + len).copied().collect();
            let case = format!("{start}+{len} of {size} bytes");
            assert_eq!(blocks(&told(&vol, wanted)), in_range, "{case}");
            assert!(in_range.len() < free.len());
        }
        let part = Wanted {
            start: 1500 * size,
            len: 100 * size,
            min_len: 0,
        };
        assert_eq!(told(&vol, part), told(&vol, part));
        assert_eq!(blocks(&told(&vol, ALL)), free);
        assert_eq!(told(&vol, part), []);
    }
}

/// Uses blocks of group 4, so that there is a free run of each length from 1 to `most`.
fn comb(vol: &Vol, most: u64) -> u64 {
    let first = vol.layout.group_first_block(Group::new(4));
    let mut at = first.get() + 100;
    for len in 1..=most + 1 {
        let goal = Goal {
            near: Some(PhysBlock::new(at)),
            ..anywhere()
        };
        let claim = Claim::Free(Share::Common);
        let got = vol.space.choose(&vol.store, goal, 1, claim).unwrap();
        assert_eq!(got.start.get(), at);
        mark(vol, got).unwrap();
        at += len + 1;
    }
    commit(vol);
    first.get() + 100
}

/// Would catch: runs that are shorter than what is wanted or than the device can, longer ones that are left out; a
/// group that is passed over although only longer runs were trimmed before.
#[test]
fn short_runs() {
    let mkfs = Mkfs::new(24 << 20, 4096).arg("-g").arg("1024");
    let image = mkfs.make();
    let vol = mount(&image);
    let from = comb(&vol, 9);
    let trimmed = |min_len: u64, granularity: u32| {
        let mut device = device(|_| Ok(true));
        let wanted = Wanted { min_len, ..ALL };
        trim(&vol, wanted, granularity, &mut device).unwrap();
        let inside = |run: &&Run| (from..from + 70).contains(&run.start.get());
        let lens: Vec<u32> = device.told.iter().filter(inside).map(|r| r.len).collect();
        // The last one goes on to the end of the group.
        lens.into_iter().filter(|len| *len < 10).collect::<Vec<_>>()
    };
    assert_eq!(trimmed(8 * 4096, 0), [8, 9]);
    assert_eq!(trimmed(8 * 4096, 0), []);
    assert_eq!(trimmed(9 * 4096, 4096), []);
    // By what the device can.
    assert_eq!(trimmed(0, 6 * 4096), [6, 7, 8, 9]);
    assert_eq!(trimmed(3 * 4096 + 4095, 4096), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(trimmed(0, 0), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(trimmed(2 * 4096, 0), []);
}

/// Would catch: blocks of which somebody has need, because they were chosen, or because the transaction that freed them
/// may be lost; a group that is passed over although something has become free there.
#[test]
fn only_what_is_free() {
    let image = Mkfs::new(24 << 20, 4096).arg("-g").arg("1024").make();
    let vol = mount(&image);
    let choose = |near: u64, len| {
        let goal = Goal {
            near: Some(PhysBlock::new(near)),
            ..anywhere()
        };
        let claim = Claim::Free(Share::Common);
        vol.space.choose(&vol.store, goal, len, claim).unwrap()
    };
    let (chosen, used, freed) = (choose(3000, 7), choose(3100, 8), choose(3200, 9));
    mark(&vol, used).unwrap();
    mark(&vol, freed).unwrap();
    commit(&vol);
    free(&vol, freed).unwrap();
    let held: BTreeSet<u64> = blocks(&[chosen, used, freed]);
    assert!(blocks(&told(&vol, ALL)).is_disjoint(&held));
    assert_eq!(told(&vol, ALL), []);

    // Closed, but it has not committed.
    let tid = vol.store.commit().unwrap();
    assert_eq!(told(&vol, ALL), []);
    vol.space.committed(tid, |_| ());
    let again = blocks(&told(&vol, ALL));
    assert!(again.is_superset(&blocks(&[freed])));
    assert!(again.is_disjoint(&blocks(&[chosen, used])));
    assert!(again.len() < 1024, "other groups, too");
    assert_eq!(told(&vol, ALL), []);
    vol.space.unchoose(chosen);
    assert!(blocks(&told(&vol, ALL)).is_superset(&blocks(&[chosen])));
}

/// Would catch: a group that counts as trimmed because somebody has begun to, blocks that are lost when it fails; a run
/// that somebody gets meanwhile; something that has become free behind the trim, and is forgotten.
#[test]
fn in_the_middle() {
    let image = Mkfs::new(24 << 20, 4096).arg("-g").arg("1024").make();
    let vol = mount(&image);
    comb(&vol, 9);
    let counts = vol.space.counts();
    let failing = |answer: Result<bool>| {
        let mut left = 8;
        device(move |_| {
            left -= 1;
            if left == 0 {
                answer
            } else {
                Ok(true)
            }
        })
    };
    let mut device_fails = failing(Err(EIO));
    assert_eq!(trim(&vol, ALL, 0, &mut device_fails), Err(EIO));
    assert_eq!(device_fails.told.len(), 7);
    let mut refuses = failing(Ok(false));
    assert!(trim(&vol, ALL, 0, &mut refuses).unwrap() > 0);
    let mut stops = device(|_| Ok(true));
    stops.patience = 9;
    assert!(trim(&vol, ALL, 0, &mut stops).unwrap() > 0);
    fail_allocation(Some(0));
    vol.space.shrink(u32::MAX);
    assert_eq!(trim(&vol, ALL, 0, &mut device(|_| Ok(true))), Err(ENOMEM));
    fail_allocation(None);
    assert_eq!(vol.space.counts(), counts);

    let mut given = Vec::new();
    let claim = Claim::Free(Share::Common);
    let mut beside = device(|run: Run| {
        let goal = Goal {
            near: Some(run.start),
            ..anywhere()
        };
        let got = vol.space.choose(&vol.store, goal, 1, claim).unwrap();
        assert!(!blocks(&[run]).contains(&got.start.get()));
        given.push(got);
        Ok(true)
    });
    trim(&vol, ALL, 0, &mut beside).unwrap();
    for run in given {
        vol.space.unchoose(run);
    }
    assert_eq!(vol.space.counts(), counts);
    assert!(!told(&vol, ALL).is_empty());
    assert_eq!(vol.store.take_reports(), [""; 0]);
}

/// Would catch: blocks of a group that turns out to be bad while it is trimmed, which are counted as free for ever.
#[test]
fn a_group_becomes_bad() {
    let image = Mkfs::new(24 << 20, 4096).arg("-g").arg("1024").make();
    let vol = mount(&image);
    let mut device = device(|run: Run| {
        if (run.start.get() / 1024, run.len > 1) == (4, true) {
            // It is free already.
            assert_eq!(free(&vol, Run { len: 1, ..run }), Err(EUCLEAN));
        }
        Ok(true)
    });
    trim(&vol, ALL, 0, &mut device).unwrap();
    assert_eq!(vol.store.take_reports().len(), 1);
    let left = blocks(&choose_all(&vol));
    assert!(left.iter().all(|nr| nr / 1024 != 4));
    assert_eq!(vol.space.counts().free_blocks, 0);
}

/// Would catch: `ENOSPC` for a block that was promised, or for anybody else, because the last ones are being trimmed;
/// one who must not wait and does.
#[test]
fn the_last_blocks() {
    let image = Mkfs::new(8 << 20, 1024).make();
    let vol = mount(&image);
    let mut all = choose_all(&vol);
    let last = all.iter().position(|run| run.len > 20).unwrap();
    vol.space.unchoose(all.swap_remove(last));
    let left = vol.space.counts().free_blocks as u32;
    vol.space.reserve(left - 5, 0, Share::All).unwrap();
    let (away, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let claim = Claim::Free(Share::All);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !away.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            assert_eq!(vol.space.choose_now(anywhere(), 5, claim), Err(EAGAIN));
            let got = vol.space.choose(&vol.store, anywhere(), 5, claim).unwrap();
            assert!(done.load(Ordering::SeqCst), "it did not wait");
            assert_eq!(got.len, 5);
            let claim = Claim::Reserved;
            let got = vol.space.choose(&vol.store, anywhere(), left - 5, claim);
            assert_eq!(got.map(|run| run.len), Ok(left - 5));
        });
        let mut device = device(|_| {
            away.store(true, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(200));
            done.store(true, Ordering::SeqCst);
            Ok(true)
        });
        trim(&vol, ALL, 0, &mut device).unwrap();
        other.join().unwrap();
    });
    assert_eq!(vol.space.counts().free_blocks, 0);
}
