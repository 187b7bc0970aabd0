// SPDX-License-Identifier: GPL-2.0

//! Many tasks that allocate and free at the same time, while transactions commit.

mod space_common;

use iomapfs_core::disk::{Group, Ino, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::space::{Claim, Goal, Run, Share};
use iomapfs_core::store::Store;
use kernel::error::code::*;
use space_common::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Mutex;

/// A small generator of numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) % u64::from(n)) as u32
    }
}

/// Who has a block, as seen by the tasks.
struct Owners(Vec<AtomicU8>);

impl Owners {
    fn change(&self, run: Run, from: u8, to: u8) {
        for nr in run.start.get()..run.end().get() {
            let was = self.0[nr as usize].swap(to, Ordering::SeqCst);
            assert_eq!(was, from, "block {nr}");
        }
    }
}

/// Would catch: a block with two owners or reused before its commit, a reservation that is not good although
/// the space is short, counts that drift, a deadlock, bitmaps and descriptors apart.
#[test]
fn blocks() {
    let image = Mkfs::new(12 << 20, 1024)
        .arg("-g")
        .arg("2048")
        .arg("-N")
        .arg("640")
        .make();
    let vol = mount(&image);
    let counts = vol.space.counts();
    let owners = Owners(
        (0..vol.layout.blocks_count())
            .map(|_| AtomicU8::new(0))
            .collect(),
    );
    let done = AtomicBool::new(false);
    let short = AtomicBool::new(false);
    let commit_now = || {
        let tid = vol.store.commit().unwrap();
        vol.space.committed(tid, |run| owners.change(run, 255, 0));
    };
    let task = |me: u8| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(me) << 32);
        let mut chosen: Vec<Run> = Vec::new();
        let mut used: Vec<Run> = Vec::new();
        for _ in 0..15000 {
            match random.below(5) {
                0 | 1 => {
                    let near = PhysBlock::new(random.below(12 << 10).into());
                    let goal = Goal {
                        near: (random.below(2) == 0).then_some(near),
                        stream: random.below(2) == 0,
                        ..Goal::in_group(Group::new(random.below(6)))
                    };
                    let want = random.below(600) + 1;
                    let reserved = vol.space.reserve(want, 0, Share::Common).is_ok();
                    let claim = if reserved {
                        Claim::Reserved
                    } else {
                        Claim::Free(Share::Common)
                    };
                    match vol.space.choose(&vol.store, goal, want, claim) {
                        Ok(run) => {
                            owners.change(run, 0, me);
                            chosen.push(run);
                            if reserved {
                                vol.space.unreserve(want - run.len, 0);
                            }
                        }
                        Err(e) => {
                            assert_eq!((e, reserved), (ENOSPC, false));
                            short.store(true, Ordering::SeqCst);
                        }
                    }
                }
                2 => {
                    if let Some(run) = chosen.pop() {
                        owners.change(run, me, 0);
                        vol.space.unchoose(run);
                    }
                }
                3 => {
                    if let Some(run) = chosen.pop() {
                        mark(&vol, run).unwrap();
                        used.push(run);
                    }
                }
                _ => {
                    if !used.is_empty() {
                        let at = random.below(used.len() as u32) as usize;
                        let run = used.swap_remove(at);
                        owners.change(run, me, 255);
                        free(&vol, run).unwrap();
                    }
                }
            }
        }
        for run in chosen {
            owners.change(run, me, 0);
            vol.space.unchoose(run);
        }
        for run in used {
            owners.change(run, me, 255);
            free(&vol, run).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                commit_now();
                vol.space.shrink(2);
                std::thread::yield_now();
            }
        });
        let tasks: Vec<_> = (1..=4).map(|me| scope.spawn(move || task(me))).collect();
        let ends: Vec<_> = tasks.into_iter().map(|t| t.join()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(ends.iter().all(Result::is_ok));
    });
    assert!(short.load(Ordering::SeqCst), "there was always space");
    commit_now();
    assert_eq!(vol.space.counts(), counts);
    assert_eq!(vol.store.take_reports(), [""; 0]);
    vol.store.save(image.path()).unwrap();
    image.fsck().unwrap();
    let all: u64 = choose_all(&mount(&image))
        .iter()
        .map(|r| u64::from(r.len))
        .sum();
    assert_eq!(all, counts.free_blocks);
}

/// Would catch: two files with one inode, lost counts, a deadlock between inode and block allocation.
#[test]
fn inodes() {
    let image = Mkfs::new(12 << 20, 1024)
        .arg("-g")
        .arg("2048")
        .arg("-N")
        .arg("640")
        .make();
    let vol = mount(&image);
    let counts = vol.space.counts();
    let alive = Mutex::new(BTreeSet::new());
    let task = |me: u64| {
        let mut random = Random(0x1234_5678_9abc_def1 ^ me << 32);
        let mut mine = Vec::new();
        for _ in 0..3000 {
            if random.below(5) < 3 {
                let dir = random.below(2) == 0;
                let mut tx = vol.store.begin(vol.space.credits_alloc_inode()).unwrap();
                match vol.space.alloc_inode(&vol.store, &mut tx, Ino::ROOT, dir) {
                    Ok(ino) => {
                        assert!(alive.lock().unwrap().insert(ino), "{ino:?} twice");
                        mine.push((ino, dir));
                    }
                    Err(e) => assert_eq!(e, ENOSPC),
                }
            } else if let Some((ino, dir)) = mine.pop() {
                assert!(alive.lock().unwrap().remove(&ino));
                let mut tx = vol.store.begin(vol.space.credits_free_inode()).unwrap();
                vol.space.free_inode(&vol.store, &mut tx, ino, dir).unwrap();
            }
        }
        for (ino, dir) in mine {
            assert!(alive.lock().unwrap().remove(&ino));
            let mut tx = vol.store.begin(vol.space.credits_free_inode()).unwrap();
            vol.space.free_inode(&vol.store, &mut tx, ino, dir).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for me in 1..=3 {
            scope.spawn(move || task(me));
        }
    });
    assert_eq!(vol.space.counts(), counts);
    vol.store.save(image.path()).unwrap();
    image.fsck().unwrap();
}
