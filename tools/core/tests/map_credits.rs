// SPDX-License-Identifier: GPL-2.0

//! Steps in handles that grow by one block until the step fits: a step that does not fit changes nothing, and one
//! that is done has changed no more than it was granted, which the store looks after.
//!
//! What is free lies in single blocks all over the device, so that each block is likely to be in another group than the
//! one before, and each bitmap and descriptor costs.

mod map_common;

use iomapfs_core::disk::{Group, PhysBlock};
use iomapfs_core::host::{HostStore, Image, Mkfs};
use iomapfs_core::map::{FileMap, Progress, State};
use iomapfs_core::space::{Claim, Goal, Run, Share};
use iomapfs_core::store::{Credits, Store};
use kernel::error::Result;
use map_common::*;

/// More than any step costs.
const PLENTY: u32 = 1000;

type Tx<'a> = <HostStore as Store>::Tx<'a>;

struct Bench {
    image: Image,
    vol: Vol,
    file: File,
    /// Grow the revokes that are granted, not the blocks.
    by_revokes: bool,
    random: u32,
}

impl Bench {
    fn new(by_revokes: bool) -> Self {
        let image = Mkfs::new(64 << 20, 1024)
            .arg("-N")
            .arg("64")
            .arg("-g")
            .arg("1024")
            .make();
        let ino = make_files(&image, &["a"])[0];
        let vol = mount(&image);
        while let Ok(run) = vol
            .space
            .choose(&vol.store, goal(), 1024, Claim::Free(Share::All))
        {
            // Never again; the last of each forty stays free.
            for (i, start) in (run.start.get()..).take(run.len as usize).enumerate() {
                if i % 40 == 39 {
                    let start = PhysBlock::new(start);
                    vol.space.unchoose(Run { start, len: 1 });
                }
            }
            if vol.space.counts().free_blocks < 2000 {
                break;
            }
        }
        let file = File::open(&vol, ino);
        Self {
            image,
            vol,
            file,
            by_revokes,
            random: 1,
        }
    }

    fn random(&mut self, below: u32) -> u32 {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        ((u64::from(self.random) * u64::from(below)) >> 32) as u32
    }

    /// Runs a step with nothing granted at first, and one more whenever it does not get on. It gets back where it was.
    fn step(
        &mut self,
        mut step: impl FnMut(&mut FileMap, &Vol, &mut Tx<'_>, Credits) -> Result<Progress>,
    ) {
        let mut n = 0;
        let mut place = None;
        loop {
            let granted = match self.by_revokes {
                false => Credits {
                    blocks: n,
                    revokes: 16,
                },
                true => Credits {
                    blocks: PLENTY,
                    revokes: n,
                },
            };
            let map = &mut self.file.inode.map;
            let (root, sectors) = (*map.root(), map.sectors());
            let mut tx = self
                .vol
                .store
                .begin(Credits::new(granted.blocks, granted.revokes))
                .unwrap();
            let progress = step(map, &self.vol, &mut tx, granted).unwrap();
            drop(tx);
            match progress {
                Progress::Done => break,
                Progress::Again(at) if place == Some(at) => {
                    assert_eq!((*map.root(), map.sectors()), (root, sectors));
                    n += 1;
                }
                Progress::Again(at) => (place, n) = (Some(at), 0),
            }
            assert!(n < PLENTY);
        }
        let mut tx = self.vol.store.begin(Credits::new(2, 0)).unwrap();
        let inode = &self.file.inode;
        inode.write(&self.vol, &mut tx, &self.file.attrs).unwrap();
        drop(tx);
        self.file.check_tree(&self.vol);
    }

    fn commit(&mut self, at: u32) {
        self.step(|map, vol, tx, granted| map.publish(vol, tx, block(at), 1, granted));
    }

    fn remove(&mut self, from: u32, to: u32) {
        let mut end = block(to);
        self.step(|map, vol, tx, granted| {
            let progress = map.remove(vol, tx, block(from), end, granted)?;
            if let Progress::Again(at) = progress {
                end = at;
            }
            Ok(progress)
        });
        commit_journal(&self.vol);
    }

    /// Somewhere on the device.
    fn goal(&mut self) -> Goal {
        let near = self.random(60 << 10) + 2000;
        Goal {
            near: Some(PhysBlock::new(near.into())),
            ..goal()
        }
    }

    fn preallocate(&mut self, at: u32) {
        let goal = self.goal();
        self.step(|map, vol, tx, granted| {
            let got =
                map.preallocate(vol, tx, (block(at), 1), goal, (&mut 0, Share::All), granted)?;
            let Some(got) = got else {
                // It took back what it had chosen.
                assert_eq!(map.outstanding(), 0);
                assert_eq!(map.lookup(vol, block(at), 1)?.state, State::Hole);
                return Ok(Progress::Again(block(at)));
            };
            assert_eq!(got.state, State::Unwritten);
            Ok(Progress::Done)
        });
    }

    fn choose(&mut self, at: u32) -> PhysBlock {
        let goal = self.goal();
        let got = self
            .file
            .map()
            .choose(&self.vol, block(at), 1, goal, Share::All);
        self.file.map().release_window(&self.vol);
        got.unwrap().phys.unwrap()
    }

    /// Commits a block while nothing is free in the groups around it: new nodes have other bitmaps and descriptors.
    fn commit_far(&mut self, at: u32, phys: PhysBlock) {
        let vol = &self.vol;
        let around = |nr| vol.layout.group_of(nr).unwrap().0.get() / vol.layout.descs_per_block();
        let mut taken = Vec::new();
        while let Ok(run) = vol
            .space
            .choose(&vol.store, goal(), 1, Claim::Free(Share::All))
        {
            taken.push(run);
        }
        taken.retain(|run| {
            let here = around(run.start) == around(phys);
            if !here {
                vol.space.unchoose(*run);
            }
            here
        });
        self.commit(at);
        for run in taken {
            self.vol.space.unchoose(run);
        }
    }

    fn run(mut self) {
        const N: u32 = 700;
        let at = |i: u32| 2 * (i * 37 % N);
        self.file.inode.disk_size = u64::from(2 * N) << 10;
        for i in 0..N {
            if i % 3 == 0 {
                self.preallocate(at(i));
            } else {
                let phys = self.choose(at(i));
                self.commit_far(at(i), phys);
            }
        }
        assert_eq!(self.file.map().depth(), 2);
        for i in (0..N).step_by(3) {
            self.choose(at(i));
            self.commit(at(i));
        }
        save(&self.vol, &self.image);
        self.image.fsck().unwrap();
        for _ in 0..40 {
            let from = self.random(2 * N);
            let len = self.random(60) + 1;
            self.remove(from, from + len);
        }
        self.remove(N, u32::MAX);
        self.file.inode.disk_size = 0;
        self.remove(0, u32::MAX);
        assert_eq!((self.file.map().depth(), self.file.map().sectors()), (0, 0));
        save(&self.vol, &self.image);
        self.image.fsck().unwrap();
    }
}

/// Would catch: a cost that leaves out a node on the way, a new one, a bitmap or a descriptor; a step that has begun to
/// change things when it finds that it does not fit; chosen blocks that a preallocation that does not fit keeps.
#[test]
fn blocks() {
    Bench::new(false).run();
}

/// Would catch: nodes that are given up without a revoke being there for them.
#[test]
fn revokes() {
    Bench::new(true).run();
}

/// What was chosen lies in one piece over many groups. Would catch: a run that costs more bitmaps than are paid for,
/// which then is committed for ever, or with more than was granted.
#[test]
fn a_run_over_many_groups() {
    const LEN: u32 = 10 * 512;
    for scattered in [0, 4] {
        let image = Mkfs::new(64 << 20, 1024)
            .arg("-N")
            .arg("64")
            .arg("-g")
            .arg("512")
            .arg("-G")
            .arg("64")
            .make();
        let ino = make_files(&image, &["a"])[0];
        let vol = mount(&image);
        let mut file = File::open(&vol, ino);
        file.inode.disk_size = 30_000 << 10;
        // With four extents the root is full.
        for i in 0..scattered {
            let at = 20_000 + 2 * i;
            file.map()
                .choose(&vol, block(at), 1, goal(), Share::All)
                .unwrap();
            file.commit(&vol, at, 1).unwrap();
        }
        // None of these groups has anything of the file system in it.
        let first = vol.layout.group_first_block(Group::new(10));
        let mut at = 0;
        while at < LEN {
            let near = first.checked_add(at.into());
            let goal = Goal { near, ..goal() };
            let got = file
                .map()
                .choose(&vol, block(at), LEN - at, goal, Share::All);
            let got = got.unwrap();
            assert_eq!(got.phys, near);
            at += got.len;
        }
        assert_eq!(file.lookup(&vol, 0, u32::MAX).len, LEN);
        let mut next = block(0);
        loop {
            let granted = FileMap::publish_credits(&vol, file.map().depth());
            let mut tx = vol
                .store
                .begin(Credits::new(granted.blocks, granted.revokes))
                .unwrap();
            let len = LEN - next.get();
            let progress = file.map().publish(&vol, &mut tx, next, len, granted);
            let Progress::Again(at) = progress.unwrap() else {
                break;
            };
            assert!(at > next, "it does not get on at {next:?}");
            next = at;
        }
        let mut tx = vol.store.begin(Credits::new(2, 0)).unwrap();
        file.inode.write(&vol, &mut tx, &file.attrs).unwrap();
        drop(tx);
        file.check_tree(&vol);
        assert_eq!(file.lookup(&vol, 0, u32::MAX).len, LEN);
        save(&vol, &image);
        image.fsck().unwrap();
    }
}
