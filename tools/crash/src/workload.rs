// SPDX-License-Identifier: GPL-2.0

//! One thread of the workload: does operations at random, writes down what it did, and after each thing that makes
//! something durable, what it was promised.
//!
//! Which operations come is repeatable by the seed; how those of several threads fall together is not.

use crate::history::{
    first_node, own_dir, prefix, shared_dir, striped, Kind, Mark, Name, NodeId, Op, Promise, Seq,
};
use crate::model::{own_name, SHARED};
use crate::tree::Tree;
use anyhow::{anyhow, Context, Result};
use fastrand::Rng;
use iomapfs_helper::Helper;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::Mutex;

mod content;
mod names;

/// What the threads have in common.
pub struct Shared {
    pub mount: PathBuf,
    /// The name of the logged device.
    pub device: String,
    pub block: u64,
    /// What each thread has done.
    pub done: Vec<AtomicU32>,
    pub marks: Mutex<BTreeMap<u32, Mark>>,
    pub next_mark: AtomicU32,
    /// Bytes that each thread may have in its own files.
    pub budget: u64,
    /// Has the device FUA?
    pub fua: bool,
    /// Are writes atomic that the device cannot do at once?
    pub atomic: bool,
    /// Is what replaces something there with it, as a whole?
    pub whole: bool,
}

impl Shared {
    /// What the mark says is promised from here on.
    pub fn promise(&self, helper: &mut Helper, mark: Mark) -> Result<()> {
        let number = self.next_mark.fetch_add(1, SeqCst);
        self.marks
            .lock()
            .map_err(|_| anyhow!("another thread died"))?
            .insert(number, mark);
        helper.mark(&self.device, number)
    }
}

/// How much of what a thread does. Each number is a weight.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub name: &'static str,
    make: u32,
    write: u32,
    /// And `fallocate`, and exchanges of blocks.
    truncate: u32,
    names: u32,
    sync: u32,
    striped: u32,
    /// In 16: how many of the writes are direct (a quarter of those atomic), through a mapping, durable at once.
    direct: u8,
    mapped: u8,
    durable: u8,
}

/// `make`, `write`, `truncate`, `names`, `sync`, `striped`; then `direct`, `mapped`, `durable`.
const fn profile(name: &'static str, weights: [u32; 6], how: [u8; 3]) -> Profile {
    let [make, write, truncate, names, sync, striped] = weights;
    let [direct, mapped, durable] = how;
    Profile {
        name,
        make,
        write,
        truncate,
        names,
        sync,
        striped,
        direct,
        mapped,
        durable,
    }
}

pub const PROFILES: [Profile; 5] = [
    profile("mixed", [8, 20, 10, 14, 12, 8], [6, 2, 4]),
    profile("append", [3, 30, 4, 2, 25, 4], [4, 1, 6]),
    profile("names", [20, 8, 3, 40, 12, 1], [5, 1, 3]),
    profile("direct", [5, 30, 10, 5, 6, 10], [14, 0, 6]),
    profile("shared", [1, 4, 1, 2, 8, 40], [8, 2, 4]),
];

struct Live {
    size: u64,
    links: u32,
    /// Written, and not yet flushed out of the device's cache: a FUA write to the same block, if the device has that,
    /// would be logged in front of it (see `log.rs`), though it comes later.
    unflushed: bool,
}

pub struct Worker<'a> {
    shared: &'a Shared,
    thread: usize,
    profile: Profile,
    rng: Rng,
    helper: &'a mut Helper,
    tree: Tree,
    live: BTreeMap<NodeId, Live>,
    /// Directories that are there, each with its name.
    dirs: BTreeMap<NodeId, Option<Name>>,
    /// The last operation on a node's names or attributes, or on names in it; and the one that made it.
    named: BTreeMap<NodeId, Seq>,
    made: BTreeMap<NodeId, Seq>,
    next_node: NodeId,
    ops: Vec<Op>,
    /// Files without a name that are still open.
    held: Vec<(File, NodeId)>,
}

impl<'a> Worker<'a> {
    pub fn new(
        shared: &'a Shared,
        thread: usize,
        profile: Profile,
        seed: u64,
        helper: &'a mut Helper,
    ) -> Self {
        let mut tree = Tree::default();
        let roots = [own_dir(thread), shared_dir(thread)];
        roots
            .iter()
            .for_each(|root| drop(tree.dirs.insert(*root, BTreeMap::new())));
        Worker {
            shared,
            thread,
            profile,
            rng: Rng::with_seed(seed),
            helper,
            tree,
            live: [(
                striped(thread),
                Live {
                    size: 0,
                    links: 0,
                    unflushed: false,
                },
            )]
            .into(),
            dirs: roots.map(|root| (root, None)).into(),
            named: BTreeMap::new(),
            made: BTreeMap::new(),
            next_node: first_node(thread),
            ops: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Does `count` operations; returns all that were done.
    pub fn run(mut self, count: usize) -> Result<Vec<Op>> {
        for _ in 0..count {
            self.step().with_context(|| {
                format!("thread {}, operation {}", self.thread, self.ops.len() + 1)
            })?;
        }
        Ok(self.ops)
    }

    fn step(&mut self) -> Result<()> {
        let p = self.profile;
        let own = |(node, _): &(&NodeId, &Live)| **node != striped(self.thread);
        let used: u64 = self.live.iter().filter(own).map(|(_, l)| l.size).sum();
        if used > self.shared.budget || self.live.len() > 40 {
            return self.remove();
        }
        let mut roll = self
            .rng
            .u32(..p.make + p.write + p.truncate + p.names + p.sync + p.striped);
        let mut is = |weight: u32| {
            let hit = roll < weight;
            roll = roll.wrapping_sub(weight);
            hit
        };
        if is(p.make) {
            self.make()
        } else if is(p.write) {
            self.write_own()
        } else if is(p.truncate) {
            match self.rng.u8(..6) {
                0 | 1 => self.truncate(),
                2 | 3 => self.fallocate(),
                4 => self.rewrite(),
                _ => self.exchange(),
            }
        } else if is(p.names) {
            match self.rng.u8(..16) {
                13.. => self.set_extended(),
                9.. => self.set_attributes(),
                0 => self.link(),
                1..=4 => self.rename(),
                5 => self.swap(),
                _ => self.remove(),
            }
        } else if is(p.sync) {
            self.sync()
        } else {
            self.write_striped()
        }
    }

    fn did(&mut self, op: Op) {
        let seq = self.ops.len() as Seq + 1;
        let mut touched: Vec<NodeId> = match op {
            Op::Set { node, .. } => vec![node],
            _ => Vec::new(),
        };
        for at in op.names() {
            touched.push(at.0);
            touched.extend(self.tree.get(at));
        }
        self.tree.apply(&op);
        for at in op.names() {
            touched.extend(self.tree.get(at));
        }
        self.named
            .extend(touched.into_iter().map(|node| (node, seq)));
        self.ops.push(op);
        self.shared.done[self.thread].store(seq, SeqCst);
    }

    fn promise(&mut self, promise: Promise) -> Result<()> {
        let mark = Mark {
            thread: self.thread,
            done: self.ops.len() as Seq,
            promise,
        };
        self.shared.promise(self.helper, mark)
    }

    // Places.

    fn dir_path(&self, dir: NodeId) -> PathBuf {
        if dir == own_dir(self.thread) {
            return self.shared.mount.join(own_name(self.thread));
        }
        match self.dirs.get(&dir) {
            Some(Some((parent, name))) => self.dir_path(*parent).join(name),
            _ => self.shared.mount.join(SHARED),
        }
    }

    fn path(&self, at: &Name) -> PathBuf {
        self.dir_path(at.0).join(&at.1)
    }

    fn any_dir(&mut self) -> NodeId {
        let n = self.rng.usize(..self.dirs.len());
        self.dirs
            .keys()
            .nth(n)
            .copied()
            .unwrap_or(own_dir(self.thread))
    }

    fn new_name(&mut self) -> Name {
        let dir = self.any_dir();
        let start = if dir == shared_dir(self.thread) {
            prefix(self.thread)
        } else {
            String::new()
        };
        // Some are long, so that a directory has more than one block.
        let long = if self.rng.u8(..4) == 0 {
            "-long".repeat(self.rng.usize(1..40))
        } else {
            String::new()
        };
        (dir, format!("{start}n{}{long}", self.ops.len() + 1))
    }

    /// A name that leads to a node for which `f` holds.
    fn any_name(&mut self, f: impl Fn(&Kind) -> bool) -> Option<(Name, NodeId)> {
        let mut all = Vec::new();
        for dir in self.dirs.keys() {
            for (name, node) in self.tree.dirs.get(dir)? {
                if self.tree.info.get(node).is_some_and(|i| f(&i.kind)) {
                    all.push(((*dir, name.clone()), *node));
                }
            }
        }
        let n = self.rng.usize(..all.len().max(1));
        all.into_iter().nth(n)
    }

    fn any_file(&mut self) -> Option<(PathBuf, NodeId)> {
        let (at, node) = self.any_name(|kind| *kind == Kind::File)?;
        Some((self.path(&at), node))
    }
}
