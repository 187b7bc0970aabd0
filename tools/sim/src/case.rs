// SPDX-License-Identifier: GPL-2.0

//! One case: a file system, operations, and power cuts at all that they do to the device.

use crate::base::Base;
use crate::broken::Broken;
use crate::check::Tree;
use crate::choose::Taste;
use crate::device::{Bytes, Event, Follower};
use crate::ops::Op;
use crate::random::Random;
use crate::sim::{Sim, Start};
use crate::verify::{recover, verify, Moment, Recovered};
use anyhow::Result;
use iomapfs_core::host::{Device, Restart};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

/// What a case is made from.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which of the file systems.
    pub base: usize,
    /// How it begins.
    pub start: Start,
    /// What is done in each life; between two of them the power is cut.
    pub lives: Vec<Vec<Op>>,
    /// What the cuts begin with.
    pub seed: u64,
}

/// What is to be done at each cut beside the checks.
pub trait Judge {
    /// Looks at a power cut: the device as it was left, and as it was recovered.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn judge(&mut self, base: &Base, cut: &Device, recovered: &Recovered) -> Result<(), String>;
    /// Whether to go on.
    fn goes_on(&self) -> bool;
}

/// What is wrong, and where.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How many power cuts there were before.
    pub life: usize,
    /// The operation, if the power was still on.
    pub op: Option<usize>,
    /// The event after which the power was cut.
    pub event: usize,
    /// What.
    pub what: String,
}

impl Case {
    /// Case number `n` of a seed.
    pub fn random(bases: usize, seed: u64, n: u64, broken: Broken, block_size: &[u32]) -> Self {
        let mut random = Random::part(seed, n);
        let base = random.below(bases as u64) as usize;
        let restart = match random.below(3) {
            0 => Restart::Never,
            1 => Restart::Always,
            _ => Restart::Every(1 + random.below(4) as u32),
        };
        let start = Start {
            head: match random.chance(1, 3) {
                true => 950 + random.below(70) as u32,
                false => random.below(1023) as u32,
            },
            restart,
            version: 0,
            broken,
        };
        let taste = match random.below(8) {
            0..=2 => Taste::Mixed,
            3..=4 => Taste::Data,
            5..=6 => Taste::Names,
            _ => Taste::Full,
        };
        let lives = 1 + random.below(3);
        let size = block_size[base];
        let life = |first: &mut Vec<Op>, random: &mut Random| {
            let count = (20 + random.below(80)) / lives;
            first.extend((0..count).map(|_| Op::random(random, taste, size)));
        };
        // Something to work on.
        let mut first = vec![
            Op::Create { dir: 0, name: 0 },
            Op::Create { dir: 0, name: 1 },
            Op::Open { file: 0 },
        ];
        life(&mut first, &mut random);
        let mut all = vec![first];
        for _ in 1..lives {
            let mut ops = Vec::new();
            life(&mut ops, &mut random);
            all.push(ops);
        }
        Self {
            base,
            start,
            lives: all,
            seed: random.next(),
        }
    }

    /// Runs it, with the power cut after every event, in `ways` ways each. Gives the number of cuts.
    ///
    /// # Errors
    ///
    /// What is wrong; a panic of the core is that, too.
    pub fn run(&self, base: &Base, ways: usize, judge: &mut dyn Judge) -> Result<usize, Failure> {
        let mut random = Random::new(self.seed);
        let mut life = Life {
            number: 0,
            device: Device::of_blocks(Arc::clone(&base.blocks)),
            tree: base.tree.clone(),
            start: self.start,
        };
        let mut cuts = 0;
        for ops in &self.lives {
            let sim = life.work(ops)?;
            cuts += life.cut_everywhere(&sim, base, ways, &mut random, judge)?;
            if !judge.goes_on() {
                break;
            }
            life = life.next(&sim, base, &mut random)?;
        }
        Ok(cuts)
    }
}

/// What happens between two power cuts.
struct Life {
    number: usize,
    /// What it begins with: the journal was replayed.
    device: Device,
    /// What there is when the orphans have gone.
    tree: Tree,
    start: Start,
}

impl Life {
    fn failure(&self, op: Option<usize>, event: usize, what: String) -> Failure {
        let life = self.number;
        Failure {
            life,
            op,
            event,
            what,
        }
    }

    fn blocks(&self) -> Arc<Vec<Bytes>> {
        let blocks = (0..self.device.blocks()).map(|nr| self.device.read(nr));
        Arc::new(blocks.collect())
    }

    /// Does the operations.
    fn work(&self, ops: &[Op]) -> Result<Sim, Failure> {
        let device = Device::of_blocks(self.blocks());
        let started = guarded(|| Sim::new(device, &self.tree, self.start));
        let mut sim = started.map_err(|what| self.failure(Some(0), 0, what))?;
        for (i, op) in ops.iter().enumerate() {
            let done = guarded(|| sim.apply(*op));
            done.map_err(|what| self.failure(Some(i), sim.world.trace.now(), what))?;
        }
        let done = guarded(|| {
            sim.finish_flights(|_| true);
            sim.check_mapped()?;
            sim.check_shadow()?;
            // What is under way comes to its end, as after the last operation of a test.
            sim.sync();
            sim.complaints()
        });
        done.map_err(|what| self.failure(Some(ops.len()), sim.world.trace.now(), what))?;
        Ok(sim)
    }

    fn cut_everywhere(
        &self,
        sim: &Sim,
        base: &Base,
        ways: usize,
        random: &mut Random,
        judge: &mut dyn Judge,
    ) -> Result<usize, Failure> {
        let mut follower = Follower::new(self.blocks());
        let mut flushed = 0;
        let mut cuts = 0;
        for (id, event) in sim.world.trace.events.iter().enumerate() {
            follower.follow(id, event);
            if matches!(event, Event::Flush) {
                flushed = id;
            }
            if matches!(event, Event::Done(_)) {
                // It makes a difference only with the flush after it.
                continue;
            }
            let moment = Moment {
                now: id + 1,
                flushed,
            };
            // With nothing to lose there is one way only.
            let ways = if follower.loose() == 0 { 1 } else { ways };
            for _ in 0..ways {
                if !judge.goes_on() {
                    return Ok(cuts);
                }
                let cut = follower.cut(random);
                let checked = guarded(|| {
                    let recovered = recover(cut.clone(), &sim.mount.journal, self.start.broken)?;
                    verify(&recovered, &base.fixed, &sim.world.history, moment)?;
                    judge.judge(base, &cut, &recovered)
                });
                checked.map_err(|what| self.failure(None, id, what))?;
                cuts += 1;
            }
        }
        Ok(cuts)
    }

    /// The life after a power cut somewhere in this one.
    fn next(self, sim: &Sim, base: &Base, random: &mut Random) -> Result<Self, Failure> {
        let events = &sim.world.trace.events;
        let last = random.below(events.len().max(1) as u64) as usize;
        let mut follower = Follower::new(self.blocks());
        let mut flushed = 0;
        for (id, event) in events.iter().enumerate().take(last + 1) {
            follower.follow(id, event);
            if matches!(event, Event::Flush) {
                flushed = id;
            }
        }
        let moment = Moment {
            now: last + 1,
            flushed,
        };
        let cut = follower.cut(random);
        let found = guarded(|| {
            let recovered = recover(cut, &sim.mount.journal, self.start.broken)?;
            let tree = verify(&recovered, &base.fixed, &sim.world.history, moment)?;
            Ok((recovered, tree))
        });
        let (recovered, tree) = found.map_err(|what| self.failure(None, last, what))?;
        Ok(Self {
            number: self.number + 1,
            device: recovered.replayed_device,
            tree,
            start: Start {
                head: random.below(1023) as u32,
                version: sim.version(),
                ..self.start
            },
        })
    }
}

/// Makes a panic an error.
fn guarded<R>(f: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without a word")))
        }
    }
}
