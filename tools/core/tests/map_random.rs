// SPDX-License-Identifier: GPL-2.0

//! Random operations on file maps, compared with a model that knows each block by itself, and judged by `e2fsck`
//! and `debugfs`.
//!
//! Would catch: wrong splits, merges and conversions; keys of index nodes that are not those of their children; blocks
//! that are lost, given out twice or to two files; reservations that are not given back or are too few; a handle that
//! changes more blocks than the formulas say; anything in memory that does not agree with what is on disk.

mod map_common;

use iomapfs_core::host::{Image, Mkfs, Restart};
use iomapfs_core::map::State;
use iomapfs_core::space::{Claim, Share};
use iomapfs_core::store::{Credits, Store};
use kernel::error::code::*;
use map_common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Where things happen: the start of the file, the middle, the end of what a file can be.
const REGIONS: [u32; 3] = [0, 70_000, u32::MAX - 600];

#[derive(Clone, Copy, Debug)]
struct Range {
    at: u32,
    len: u32,
}

#[derive(Clone, Debug)]
enum Op {
    Reserve(Range),
    Choose(Range),
    Commit(Range, u32),
    Allocate(Range),
    Preallocate(Range),
    Remove(Range, u32),
    Truncate(u32),
    Unwrite(Range),
    Collapse(Range, u32),
    Insert(Range),
    Cancel(Range),
    /// Single blocks with holes between.
    Sprinkle(u32, u32),
    /// Delayed blocks, chosen one by one from the end.
    Backwards(Range),
    /// Somebody else takes all that is free; what is delayed is written nevertheless, block by block.
    Exhaust(bool),
    ReleaseWindow,
    Shrink(usize),
    CommitJournal,
    Remount,
}

fn range() -> impl Strategy<Value = Range> {
    let len = prop_oneof![4 => 1..8_u32, 2 => 1..60_u32, 1 => 1..600_u32];
    (0..REGIONS.len(), 0..500_u32, len).prop_map(|(region, offset, len)| {
        let at = REGIONS[region] + offset;
        let len = len.min(u32::MAX - at);
        Range { at, len }
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => range().prop_map(Op::Reserve),
        8 => range().prop_map(Op::Choose),
        12 => (range(), 1..4_u32).prop_map(|(r, n)| Op::Commit(r, n)),
        4 => range().prop_map(Op::Allocate),
        3 => range().prop_map(Op::Preallocate),
        5 => (range(), 0..40_u32).prop_map(|(r, n)| Op::Remove(r, n)),
        1 => range().prop_map(|r| Op::Truncate(r.at)),
        3 => range().prop_map(Op::Unwrite),
        2 => (range(), 0..700_u32).prop_map(|(r, more)| Op::Collapse(r, more)),
        2 => range().prop_map(Op::Insert),
        2 => range().prop_map(Op::Cancel),
        2 => (0..REGIONS.len(), 0..250_u32).prop_map(|(r, n)| Op::Sprinkle(REGIONS[r], n)),
        1 => range().prop_map(Op::Backwards),
        2 => any::<bool>().prop_map(Op::Exhaust),
        1 => Just(Op::ReleaseWindow),
        1 => (0..20_usize).prop_map(Op::Shrink),
        2 => Just(Op::CommitJournal),
        1 => Just(Op::Remount),
    ]
}

type Model = BTreeMap<u32, (State, Option<u64>)>;

/// Joined runs of a model, as [`File::runs`] gives them.
fn runs_of(model: &Model) -> Vec<(u32, u32, State, Option<u64>)> {
    let mut runs: Vec<(u32, u32, State, Option<u64>)> = Vec::new();
    for (at, (state, phys)) in model {
        match runs.last_mut() {
            Some(last)
                if last.0 + last.1 == *at
                    && last.2 == *state
                    && last.3.map(|phys| phys + u64::from(last.1)) == *phys =>
            {
                last.1 += 1;
            }
            _ => runs.push((*at, 1, *state, *phys)),
        }
    }
    runs
}

struct Bench {
    image: Image,
    vol: Vol,
    files: Vec<File>,
    models: Vec<Model>,
    /// Free blocks plus all that the files hold.
    all: u64,
}

impl Bench {
    fn new(template: &Image) -> Self {
        let image = template.copy();
        let mut bench = Self {
            vol: mount(&image),
            files: Vec::new(),
            models: vec![Model::new(); 2],
            image,
            all: 0,
        };
        bench.vol.store.set_restart(Restart::Every(2));
        bench.open();
        bench.all = bench.total();
        bench.reload(0);
        bench
    }

    fn open(&mut self) {
        // The first inodes that are not reserved, after lost+found.
        self.files = [12, 13]
            .map(|nr| File::open(&self.vol, iomapfs_core::disk::Ino::new(nr).unwrap()))
            .into();
    }

    /// Free blocks and all that the files hold or have reserved, but for their windows.
    fn total(&self) -> u64 {
        let mut total = self.vol.space.counts().free_blocks;
        for file in &self.files {
            let map = &file.inode.map;
            let (data, nodes) = map.reserved();
            let spb = self.vol.layout.block_size().sectors();
            assert_eq!(map.sectors() % spb, 0);
            total += map.sectors() / spb;
            // What is reserved and what is pending is no longer free.
            let pending = map.outstanding() - data;
            total += u64::from(data) + u64::from(nodes) + u64::from(pending);
        }
        total
    }

    fn set(&mut self, f: usize, at: u32, len: u32, state: State, phys: Option<u64>) {
        for i in 0..len {
            let phys = phys.map(|phys| phys + u64::from(i));
            self.models[f].insert(at + i, (state, phys));
        }
    }

    fn state(&self, f: usize, at: u32) -> State {
        self.models[f].get(&at).map_or(State::Hole, |e| e.0)
    }

    fn choose(&mut self, f: usize, at: u32, len: u32) {
        let seq = self.files[f].inode.map.snapshot().seq();
        let before = self.state(f, at);
        match self.files[f]
            .map()
            .choose(&self.vol, block(at), len, goal(), Share::All)
        {
            Ok(got) => {
                assert!(got.len >= 1 && got.len <= len && got.start == block(at));
                let phys = got.phys.map(|phys| phys.get());
                match before {
                    State::Hole | State::Delayed => {
                        assert_eq!(got.state, State::Pending);
                        assert_ne!(got.seq, seq);
                        for i in 0..got.len {
                            assert_eq!(self.state(f, at + i), before);
                        }
                        self.set(f, at, got.len, State::Pending, phys);
                    }
                    _ => assert_eq!(Some(&(got.state, phys)), self.models[f].get(&at)),
                }
            }
            Err(error) => {
                assert_eq!(error, ENOSPC);
                assert_ne!(before, State::Delayed, "a delayed block got none");
            }
        }
    }

    fn remove_range(&mut self, f: usize, from: u32, to: u32, more: u32) {
        match self.files[f].remove_with(&self.vol, from, to, more) {
            Ok(()) => self.models[f].retain(|at, _| *at < from || *at >= to),
            Err(error) => {
                // Only where a hole inside an extent needs a tree block: nothing is unmapped then.
                assert_eq!(error, ENOSPC);
                for at in from.saturating_sub(1)..=to {
                    let state = self.state(f, at);
                    assert!(matches!(state, State::Written | State::Unwritten));
                }
            }
        }
    }

    fn run(&mut self, f: usize, op: &Op) {
        match *op {
            Op::Reserve(Range { at, len }) => {
                match self.files[f]
                    .map()
                    .reserve(&self.vol, block(at), len, Share::Common)
                {
                    Ok(got) => {
                        assert_eq!(got.new, self.state(f, at) == State::Hole);
                        let got = got.mapping;
                        if self.state(f, at) == State::Hole {
                            assert_eq!(got.state, State::Delayed);
                            self.set(f, at, got.len, State::Delayed, None);
                        } else {
                            assert_eq!(got.state, self.state(f, at));
                        }
                    }
                    Err(error) => assert_eq!(error, ENOSPC),
                }
            }
            Op::Choose(Range { at, len }) => self.choose(f, at, len),
            Op::Commit(Range { at, len }, many) => {
                // As far as there are blocks.
                let n = (0..len)
                    .take_while(|i| !matches!(self.state(f, at + i), State::Hole | State::Delayed))
                    .count() as u32;
                if n == 0 {
                    let done = self.files[f].commit(&self.vol, at, 1);
                    assert_eq!(done, Err(EUCLEAN));
                    assert_eq!(self.vol.store.take_reports().len(), 1);
                    return;
                }
                match self.files[f].commit_with(&self.vol, at, n, many) {
                    Ok(()) => {
                        for i in at..at + n {
                            let entry = self.models[f].get_mut(&i).unwrap();
                            entry.0 = State::Written;
                        }
                    }
                    Err(error) => {
                        // Conversions that nobody has announced may fail.
                        assert_eq!(error, ENOSPC);
                        assert!((at..at + n).any(|i| self.state(f, i) == State::Unwritten));
                        self.reload(f);
                    }
                }
            }
            Op::Allocate(Range { at, len }) => match self.files[f].allocate(&self.vol, at, len) {
                Ok(got) => {
                    let phys = got.phys.map(|phys| phys.get());
                    self.set(f, at, got.len, State::Written, phys);
                }
                Err(error) if error == EEXIST => assert_ne!(self.state(f, at), State::Hole),
                Err(error) => assert_eq!(error, ENOSPC),
            },
            Op::Preallocate(Range { at, len }) => {
                let before = self.state(f, at);
                match self.files[f].preallocate(&self.vol, at, len) {
                    Ok(got) if !matches!(before, State::Unwritten | State::Written) => {
                        assert_eq!(got.state, State::Unwritten);
                        let phys = got.phys.map(|phys| phys.get());
                        // What was longer before is joined.
                        self.set(f, at, got.len, State::Unwritten, phys);
                    }
                    Ok(got) => assert_eq!(got.state, before),
                    Err(error) => assert_eq!(error, ENOSPC),
                }
            }
            Op::Remove(Range { at, len }, more) => self.remove_range(f, at, at + len, more),
            Op::Truncate(at) => self.remove_range(f, at, u32::MAX, 0),
            Op::Unwrite(Range { at, len }) => {
                match self.files[f].unwrite(&self.vol, at, at + len) {
                    Ok(()) => {
                        for (_, entry) in self.models[f].range_mut(at..at + len) {
                            if entry.0 == State::Written {
                                entry.0 = State::Unwritten;
                            }
                        }
                    }
                    Err(error) => {
                        assert_eq!(error, ENOSPC);
                        self.reload(f);
                    }
                }
            }
            Op::Collapse(Range { at, len }, more) => self.collapse(f, at, len, more),
            Op::Insert(Range { at, len }) => self.insert(f, at, len),
            Op::Cancel(Range { at, len }) => {
                self.files[f]
                    .map()
                    .cancel(&self.vol, block(at), block(at + len));
                self.forget_held(f, at, at + len);
            }
            Op::Sprinkle(region, n) => {
                for i in 0..n {
                    let at = region + 2 * i + 1;
                    if self.state(f, at) == State::Hole {
                        self.run(f, &Op::Allocate(Range { at, len: 1 }));
                    }
                }
            }
            Op::Backwards(Range { at, len }) => {
                self.run(f, &Op::Reserve(Range { at, len }));
                let order: Vec<u32> = (0..len).rev().step_by(2).chain((0..len).rev()).collect();
                for i in &order {
                    if self.state(f, at + i) == State::Delayed {
                        self.choose(f, at + i, 1);
                    }
                }
                for i in &order {
                    if self.state(f, at + i) == State::Pending {
                        self.run(f, &Op::Commit(Range { at: at + i, len: 1 }, 1));
                    }
                }
            }
            Op::Exhaust(odd_first) => {
                commit_journal(&self.vol);
                let mut taken = Vec::new();
                while let Ok(run) =
                    self.vol
                        .space
                        .choose(&self.vol.store, goal(), 1000, Claim::Free(Share::All))
                {
                    taken.push(run);
                }
                let delayed: Vec<u32> = self.models[f]
                    .iter()
                    .filter(|(_, (state, _))| *state == State::Delayed)
                    .map(|(at, _)| *at)
                    .collect();
                let odd = u32::from(odd_first);
                let (first, second): (Vec<u32>, Vec<u32>) =
                    delayed.iter().partition(|at| *at % 2 == odd);
                for at in first.into_iter().chain(second) {
                    self.choose(f, at, 1);
                    self.files[f].commit(&self.vol, at, 1).unwrap();
                    self.models[f].get_mut(&at).unwrap().0 = State::Written;
                }
                for run in taken {
                    self.vol.space.unchoose(run);
                }
            }
            Op::ReleaseWindow => self.files[f].map().release_window(&self.vol),
            Op::Shrink(n) => {
                let seq = self.files[f].inode.map.snapshot().seq();
                self.files[f].map().shrink(n);
                assert_eq!(self.files[f].inode.map.snapshot().seq(), seq);
            }
            Op::CommitJournal => commit_journal(&self.vol),
            Op::Remount => self.remount(),
        }
    }

    /// What was only in memory was taken back.
    fn forget_held(&mut self, f: usize, from: u32, to: u32) {
        self.models[f].retain(|i, (state, _)| {
            *i < from || *i >= to || !matches!(state, State::Delayed | State::Pending)
        });
    }

    fn collapse(&mut self, f: usize, at: u32, len: u32, more: u32) {
        let least = at.saturating_add(more).min(u32::MAX - len);
        let moved = self.files[f].collapse(&self.vol, at, at + len, least);
        self.forget_held(f, at, u32::MAX);
        let (from, to) = match moved {
            Ok(moved) => moved,
            Err(error) => return assert_eq!(error, ENOSPC),
        };
        assert_eq!(to - from, len);
        assert!(from >= least);
        let behind = self.models[f].split_off(&at);
        for (i, entry) in behind {
            let i = match i < at + len {
                true => i - at + from,
                false => i - len,
            };
            assert!(self.models[f].insert(i, entry).is_none());
        }
        self.check();
        self.remove_range(f, from, to, 3);
    }

    fn insert(&mut self, f: usize, at: u32, len: u32) {
        let last = self.models[f].iter().rev();
        let mut last = last.filter(|(_, e)| !matches!(e.0, State::Delayed | State::Pending));
        let fits = last.next().is_none_or(|(i, _)| u32::MAX - i > len);
        match self.files[f].insert(&self.vol, at, len) {
            Err(error) if error == EINVAL && !fits => return,
            done => {
                self.forget_held(f, at, u32::MAX);
                if let Err(error) = done {
                    return assert_eq!(error, ENOSPC);
                }
            }
        }
        assert!(fits);
        let behind = self.models[f].split_off(&at);
        self.models[f].extend(behind.into_iter().map(|(i, entry)| (i + len, entry)));
    }

    /// Takes over what the map says: after an operation that may have done a part.
    fn reload(&mut self, f: usize) {
        self.models[f].clear();
        for (at, len, state, phys) in self.files[f].runs(&self.vol) {
            self.set(f, at, len, state, phys);
        }
    }

    fn check(&mut self) {
        for (file, model) in self.files.iter_mut().zip(&self.models) {
            file.check_tree(&self.vol);
            assert_eq!(file.runs(&self.vol), runs_of(model));
        }
        let blocks: Vec<u64> = self
            .models
            .iter()
            .flat_map(|m| m.values())
            .filter_map(|e| e.1)
            .collect();
        let distinct: BTreeSet<&u64> = blocks.iter().collect();
        assert_eq!(blocks.len(), distinct.len(), "a block has two users");
    }

    fn remount(&mut self) {
        self.settle();
        save(&self.vol, &self.image);
        self.image.fsck().unwrap();
        let expected: Vec<_> = self.models.iter().map(runs_of).collect();
        assert_eq!(dump_extents(&self.image, "a"), expected[0]);
        assert_eq!(dump_extents(&self.image, "b"), expected[1]);
        self.vol = mount(&self.image);
        self.vol.store.set_restart(Restart::Every(2));
        self.open();
        self.check();
    }

    /// Takes back all that is only in memory, and looks whether all is accounted for.
    fn settle(&mut self) {
        for f in 0..2 {
            self.files[f].map().evict(&self.vol);
            assert_eq!(self.files[f].inode.map.reserved(), (0, 0));
            self.models[f]
                .retain(|_, (state, _)| !matches!(state, State::Delayed | State::Pending));
            // The size covers all that is written. Where index nodes lie below the root it covers all that is mapped:
            // e2fsck takes the size for the end of the root's last entry, and so thinks that what is unwritten behind
            // the size is outside of its parent, and clears it (e2fsprogs, github issue 145; it is the same for ext4).
            // Whether the nodes are right `File::check_tree` knows better.
            let deep = self.files[f].inode.map.depth() > 1;
            let end = self.models[f]
                .iter()
                .filter(|(_, (state, _))| deep || *state == State::Written)
                .map(|(at, _)| u64::from(*at) + 1)
                .max();
            self.files[f].inode.disk_size = end.unwrap_or(0) << self.vol.layout.block_size().bits();
            let mut tx = self.vol.store.begin(Credits::new(2, 0)).unwrap();
            let file = &self.files[f];
            file.inode.write(&self.vol, &mut tx, &file.attrs).unwrap();
        }
        assert_eq!(self.total(), self.all);
    }
}

/// An image on which the tree of file `a` has three levels, in the middle of what a file can be.
fn deep_template() -> Image {
    let image = template(1024, 32768);
    let vol = mount(&image);
    let mut file = File::open(&vol, iomapfs_core::disk::Ino::new(12).unwrap());
    for i in 0..1200 {
        file.allocate(&vol, REGIONS[1] - 600 + 2 * i, 1).unwrap();
    }
    assert_eq!(file.map().depth(), 2);
    file.map().evict(&vol);
    save(&vol, &image);
    image.fsck().unwrap();
    image
}

fn template(block_size: u32, blocks: u32) -> Image {
    let size = u64::from(blocks) * u64::from(block_size);
    let image = Mkfs::new(size, block_size).arg("-N").arg("32").make();
    let inos = make_files(&image, &["a", "b"]);
    assert_eq!(
        inos.iter().map(|ino| ino.get()).collect::<Vec<_>>(),
        [12, 13]
    );
    image
}

fn play(template: &Image, ops: &[(usize, Op)]) {
    let mut bench = Bench::new(template);
    for (f, op) in ops {
        bench.run(*f, op);
        bench.check();
        for f in 0..2 {
            bench.files[f].map().release_window(&bench.vol);
        }
        assert_eq!(bench.total(), bench.all, "after {op:?}");
        assert_eq!(bench.vol.store.take_reports(), [""; 0], "after {op:?}");
    }
    bench.remount();
}

/// Leaves and an index node that hold only unwritten blocks behind the size, in a deep tree.
///
/// Would catch: a bench that takes what `e2fsck` says of those for a fault of the tree; and keys that are wrong there.
#[test]
fn unwritten_behind_the_size() {
    let far = |i: u32| {
        Op::Preallocate(Range {
            at: REGIONS[2] + 2 * i,
            len: 1,
        })
    };
    let mut ops = vec![(0, Op::Sprinkle(REGIONS[0], 250))];
    ops.extend((0..250).map(|i| (0, far(i))));
    ops.push((0, Op::Remount));
    ops.push((0, Op::Remove(Range { at: 100, len: 300 }, 0)));
    ops.push((0, Op::Remount));
    ops.push((0, Op::Truncate(REGIONS[2] + 100)));
    play(&template(1024, 4000), &ops);
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        max_shrink_iters: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(32))]

    /// Small blocks, so that trees get deep.
    #[test]
    fn small_blocks(ops in prop::collection::vec((0..2_usize, op()), 1..60)) {
        static TEMPLATE: OnceLock<Image> = OnceLock::new();
        play(TEMPLATE.get_or_init(|| template(1024, 32768)), &ops);
    }

    /// Like the above, in a tree with three levels.
    #[test]
    fn deep_trees(ops in prop::collection::vec((0..2_usize, op()), 1..40)) {
        static TEMPLATE: OnceLock<Image> = OnceLock::new();
        play(TEMPLATE.get_or_init(deep_template), &ops);
    }

    /// A device that is full most of the time: what is reserved must be there.
    #[test]
    fn little_space(ops in prop::collection::vec((0..2_usize, op()), 1..80)) {
        static TEMPLATE: OnceLock<Image> = OnceLock::new();
        play(TEMPLATE.get_or_init(|| template(1024, 2600)), &ops);
    }

    /// The usual block size.
    #[test]
    fn usual_blocks(ops in prop::collection::vec((0..2_usize, op()), 1..60)) {
        static TEMPLATE: OnceLock<Image> = OnceLock::new();
        play(TEMPLATE.get_or_init(|| template(4096, 16384)), &ops);
    }
}
