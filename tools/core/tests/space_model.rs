// SPDX-License-Identifier: GPL-2.0

//! Random operations on free space against a model that has a state for each block.

mod space_common;

use iomapfs_core::disk::{Group, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::space::{Claim, Goal, Run, Share};
use kernel::error::code::*;
use proptest::prelude::*;
use space_common::*;
use std::collections::BTreeMap;

/// What the model knows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Used from the beginning.
    Before,
    Free,
    Chosen,
    Used,
    /// Freed by this transaction.
    Pending(u32),
}

#[derive(Clone, Debug)]
enum Op {
    Choose {
        near: Option<u32>,
        group: u32,
        stream: bool,
        want: u32,
        claim: u8,
    },
    /// Of a chosen run: give some back, mark the rest as used.
    Settle {
        which: usize,
        keep: u32,
    },
    Free {
        which: usize,
        skip: u32,
        len: u32,
    },
    Reserve {
        n: u32,
        share: u8,
    },
    Unreserve {
        n: u32,
    },
    Commit,
    /// Two commits, of which the allocator is told only by the second.
    LateCommit,
    Shrink(u32),
    Remount,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (proptest::option::of(0..6000_u32), 0..8_u32, any::<bool>(), 1..700_u32, 0..4_u8).prop_map(
            |(near, group, stream, want, claim)| Op::Choose { near, group, stream, want, claim }
        ),
        6 => (any::<usize>(), 0..700_u32).prop_map(|(which, keep)| Op::Settle { which, keep }),
        4 => (any::<usize>(), 0..300_u32, 1..700_u32)
            .prop_map(|(which, skip, len)| Op::Free { which, skip, len }),
        2 => (0..3000_u32, 0..3_u8).prop_map(|(n, share)| Op::Reserve { n, share }),
        1 => (0..3000_u32).prop_map(|n| Op::Unreserve { n }),
        1 => Just(Op::Commit),
        1 => Just(Op::LateCommit),
        1 => (0..10_u32).prop_map(Op::Shrink),
        1 => Just(Op::Remount),
    ]
}

struct Model {
    blocks: Vec<State>,
    chosen: Vec<Run>,
    used: Vec<Run>,
    reserved: u32,
    /// What is reserved for some users, and what is kept back from all.
    kept: (u32, u32),
    transaction: u32,
}

impl Model {
    fn count(&self, f: impl Fn(State) -> bool) -> u32 {
        self.blocks.iter().filter(|s| f(**s)).count() as u32
    }

    /// One of the three shares, and the blocks that it does not have.
    fn share(&self, nr: u8) -> (Share, u32) {
        let (reserved, kept) = self.kept;
        match nr {
            0 => (Share::Common, reserved + kept),
            1 => (Share::Reserve, kept),
            _ => (Share::All, 0),
        }
    }

    fn available(&self) -> u32 {
        self.count(|s| s == State::Free) - self.reserved
    }

    #[track_caller]
    fn change(&mut self, run: Run, from: State, to: State) {
        for nr in run.start.get()..run.end().get() {
            let state = &mut self.blocks[nr as usize];
            assert_eq!(*state, from, "block {nr} becomes {to:?}");
            *state = to;
        }
    }

    /// Length of the longest free run within a group, and of the one at a block.
    fn longest(&self, first: u32, per_group: u32) -> u32 {
        let mut best = 0;
        for group in self.blocks[first as usize..].chunks(per_group as usize) {
            let runs = group.split(|s| *s != State::Free);
            best = best.max(runs.map(<[State]>::len).max().unwrap_or(0));
        }
        best as u32
    }

    fn committed(&mut self, upto: u32) {
        for state in &mut self.blocks {
            if matches!(state, State::Pending(t) if *t <= upto) {
                *state = State::Free;
            }
        }
    }
}

fn cut(run: Run, skip: u32, len: u32) -> Option<Run> {
    let skip = skip.min(run.len);
    let len = len.min(run.len - skip);
    let start = PhysBlock::new(run.start.get() + u64::from(skip));
    (len > 0).then_some(Run { start, len })
}

fn play(mkfs: Mkfs, ops: &[Op]) {
    let image = mkfs.make();
    let mut vol = mount(&image);
    let first = vol.layout.first_data_block();
    let per_group = vol.layout.blocks_per_group();
    let groups = vol.layout.groups();
    let mut model = Model {
        blocks: vec![State::Before; vol.layout.blocks_count() as usize],
        chosen: Vec::new(),
        used: Vec::new(),
        reserved: 0,
        kept: (
            vol.layout.reserved_blocks() as u32,
            vol.layout.kept_blocks() as u32,
        ),
        transaction: 0,
    };
    for run in choose_all(&vol) {
        model.change(run, State::Before, State::Free);
    }
    vol = mount(&image);

    for op in ops {
        match *op {
            Op::Choose {
                near,
                group,
                stream,
                want,
                claim,
            } => {
                let near = near.map(|n| PhysBlock::new(n.into()));
                let goal = Goal {
                    near,
                    stream,
                    ..Goal::in_group(Group::new(group))
                };
                let available = model.available();
                let (claim, most) = match claim {
                    3 => (Claim::Reserved, model.reserved),
                    nr => {
                        let (share, out_of_reach) = model.share(nr);
                        (Claim::Free(share), available.saturating_sub(out_of_reach))
                    }
                };
                if claim == Claim::Reserved && model.reserved == 0 {
                    continue;
                }
                let want = if claim == Claim::Reserved {
                    want.min(model.reserved)
                } else {
                    want
                };
                // One search reads so many bitmaps, and makes do then with what it has seen.
                let all_seen = groups - vol.space.cached() <= 4;
                let got = vol.space.choose(&vol.store, goal, want, claim);
                if most == 0 {
                    assert_eq!(got, Err(ENOSPC));
                    continue;
                }
                let got = got.unwrap();
                let want = want.min(most);
                assert!((1..=want).contains(&got.len));
                let at = near.filter(|n| model.blocks.get(n.get() as usize) == Some(&State::Free));
                match at {
                    Some(at) => assert_eq!(got.start, at),
                    // Half of the best is guaranteed; as long as there is enough, all of it.
                    None if all_seen => {
                        let longest = model.longest(first, per_group);
                        let least = if longest >= want {
                            want
                        } else {
                            longest.div_ceil(2)
                        };
                        assert!(
                            got.len >= least.min(want),
                            "{got:?}: {least} of {longest}, {want}"
                        );
                    }
                    None => {}
                }
                model.change(got, State::Free, State::Chosen);
                model.chosen.push(got);
                if claim == Claim::Reserved {
                    model.reserved -= got.len;
                }
            }
            Op::Settle { which, keep } => {
                if model.chosen.is_empty() {
                    continue;
                }
                let run = model.chosen.swap_remove(which % model.chosen.len());
                if let Some(rest) = cut(run, keep, u32::MAX) {
                    vol.space.unchoose(rest);
                    model.change(rest, State::Chosen, State::Free);
                }
                if let Some(run) = cut(run, 0, keep) {
                    mark(&vol, run).unwrap();
                    model.change(run, State::Chosen, State::Used);
                    model.used.push(run);
                }
            }
            Op::Free { which, skip, len } => {
                if model.used.is_empty() {
                    continue;
                }
                let run = model.used.swap_remove(which % model.used.len());
                let part = cut(run, skip, len);
                if let Some(part) = part {
                    free(&vol, part).unwrap();
                    model.change(part, State::Used, State::Pending(model.transaction));
                }
                let freed = part.map_or(0, |p| p.len);
                model.used.extend(cut(run, 0, skip));
                model
                    .used
                    .extend(cut(run, skip.saturating_add(freed), u32::MAX));
            }
            Op::Reserve { n, share } => {
                let (share, out_of_reach) = model.share(share);
                let fits = model
                    .available()
                    .checked_sub(out_of_reach)
                    .is_some_and(|have| have >= n)
                    || n == 0;
                let got = vol.space.reserve(n / 3, n - n / 3, share);
                assert_eq!(got, if fits { Ok(()) } else { Err(ENOSPC) });
                model.reserved += if fits { n } else { 0 };
            }
            Op::Unreserve { n } => {
                let n = n.min(model.reserved);
                vol.space.unreserve(n, 0);
                model.reserved -= n;
            }
            Op::Commit => {
                commit(&vol);
                model.committed(model.transaction);
                model.transaction += 1;
            }
            Op::LateCommit => {
                vol.store.commit().unwrap();
                model.transaction += 1;
                commit(&vol);
                model.committed(model.transaction);
                model.transaction += 1;
            }
            Op::Shrink(nr) => {
                let before = vol.space.cached();
                let gone = vol.space.shrink(nr);
                assert!(gone <= nr);
                assert_eq!(vol.space.cached(), before - gone);
                let busy = |s: &State| matches!(s, State::Chosen | State::Pending(_));
                let groups = model.blocks[first as usize..].chunks(per_group as usize);
                let busy = groups.filter(|g| g.iter().any(busy)).count() as u32;
                if nr > before {
                    assert_eq!(vol.space.cached(), busy);
                }
            }
            Op::Remount => {
                // What was only chosen, pending or reserved is free after a crash.
                vol.store.save(image.path()).unwrap();
                vol = mount(&image);
                for state in &mut model.blocks {
                    if matches!(state, State::Chosen | State::Pending(_)) {
                        *state = State::Free;
                    }
                }
                model.chosen.clear();
                model.reserved = 0;
            }
        }
        let counts = vol.space.counts();
        let pending = model.count(|s| matches!(s, State::Pending(_)));
        assert_eq!(vol.space.pending_free(), pending.into());
        assert_eq!(counts.free_blocks, (model.available() + pending).into());
        let on_disk = model.count(|s| !matches!(s, State::Before | State::Used));
        assert_eq!(counts.free_blocks_on_disk, on_disk.into());
    }

    // After all that the bitmaps are good, and have exactly what the model has.
    vol.store.save(image.path()).unwrap();
    let vol = mount(&image);
    let mut free: Vec<bool> = vec![false; model.blocks.len()];
    for run in choose_all(&vol) {
        free[run.start.get() as usize..run.end().get() as usize].fill(true);
    }
    let expected = model
        .blocks
        .iter()
        .map(|s| !matches!(s, State::Before | State::Used));
    assert!(free.iter().copied().eq(expected));
    let dumped: BTreeMap<u32, GroupDump> = dump_groups(&image);
    let sum: u32 = dumped.values().map(|g| g.free_blocks).sum();
    assert_eq!(sum, free.iter().filter(|f| **f).count() as u32);
    assert_eq!(vol.store.take_reports(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Would catch: a block with two owners, one that is lost, counters that drift, a short run where there
    /// is a longer one, reuse before a commit, reservations that are not good, and bitmaps that differ from
    /// all that.
    #[test]
    fn small_groups(ops in proptest::collection::vec(op(), 1..150)) {
        play(Mkfs::new(6 << 20, 1024).arg("-g").arg("1024").arg("-N").arg("256").arg("-m").arg("3"), &ops);
    }

    /// The same with larger groups, of which one is not whole, and without flex groups.
    #[test]
    fn a_short_last_group(ops in proptest::collection::vec(op(), 1..100)) {
        play(Mkfs::new((14 << 20) - 5 * 1024, 1024).features("^flex_bg,^has_journal"), &ops);
    }
}
