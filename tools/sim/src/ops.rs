// SPDX-License-Identifier: GPL-2.0

//! Operations: how they are chosen, and how they are done.
//!
//! An operation names what it works on by a number that stands for any file, directory or name there is, so that it
//! means something in every list of operations, whatever was left out before it.

use crate::model::Kind;
use crate::random::Random;
use crate::sim::Sim;
use crate::steps::What;
use iomapfs_core::disk::Ino;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "see `apply`")]
pub enum Op {
    Create {
        dir: u16,
        name: u16,
    },
    Mkdir {
        dir: u16,
        name: u16,
    },
    Symlink {
        dir: u16,
        name: u16,
        len: u16,
    },
    Link {
        file: u16,
        dir: u16,
        name: u16,
    },
    LinkMany {
        file: u16,
        dir: u16,
        count: u16,
    },
    Unlink {
        which: u16,
    },
    UnlinkOpen {
        which: u16,
    },
    UnlinkMany {
        dir: u16,
        count: u16,
    },
    Rename {
        which: u16,
        dir: u16,
        name: u16,
    },
    RenameOver {
        which: u16,
        over: u16,
    },
    Open {
        file: u16,
    },
    Close {
        which: u16,
    },
    Write {
        file: u16,
        pos: u32,
        len: u32,
    },
    Append {
        file: u16,
        len: u32,
    },
    Direct {
        file: u16,
        block: u32,
        len: u16,
    },
    Comb {
        file: u16,
        from: u16,
        count: u16,
        order: u16,
    },
    Rewrite {
        file: u16,
        which: u16,
    },
    WriteBack {
        file: u16,
        from: u16,
        count: u16,
    },
    Land {
        which: u16,
    },
    Truncate {
        file: u16,
        size: u32,
    },
    Extend {
        file: u16,
        by: u32,
    },
    Fsync {
        file: u16,
    },
    Sync,
    Commit,
    Step {
        writes: u16,
    },
    Place {
        count: u16,
        somewhere: u16,
    },
    Tail,
    Forget {
        which: u16,
    },
    Shrink,
    Remount,
}

/// What a run does most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taste {
    /// Everything.
    Mixed,
    /// Data.
    Data,
    /// Names.
    Names,
    /// Everything, on a device that is nearly full.
    Full,
}

/// How large files become, in blocks.
const BLOCKS: u64 = 40;
/// How far out some blocks of files are.
const FAR: u64 = 2000;
/// Different short names.
const NAMES: u64 = 24;

impl Op {
    /// Any operation.
    pub fn random(random: &mut Random, taste: Taste, block_size: u32) -> Self {
        let bytes = u64::from(block_size);
        let mut any = || random.next() as u16;
        let (dir, file, which) = (any(), any(), any());
        let name = random.below(NAMES) as u16;
        // Positions are often at the edge of a block.
        let spot = |random: &mut Random, max: u64| {
            let at = random.below(max * bytes);
            match random.below(3) {
                0 => at / bytes * bytes,
                1 => at,
                _ => (at / bytes * bytes + random.below(3)).saturating_sub(1),
            }
        };
        let data = match taste {
            Taste::Mixed => 40,
            Taste::Data => 70,
            Taste::Names => 12,
            Taste::Full => 50,
        };
        let machine = 30;
        let way = random.below(data + machine + 34);
        if way < data {
            let large = match (taste, random.below(5)) {
                (_, 0) => FAR,
                (Taste::Full, _) => 3 * BLOCKS,
                _ => BLOCKS,
            };
            return match random.below(33) / 2 {
                16 => {
                    let from = random.below(large) as u16;
                    let count = 2 + random.below(100) as u16;
                    let order = which;
                    Self::Comb {
                        file,
                        from,
                        count,
                        order,
                    }
                }
                0..=3 => {
                    let pos = spot(random, large) as u32;
                    let len = 1 + spot(random, 5) as u32;
                    Self::Write { file, pos, len }
                }
                4..=5 => {
                    let len = 1 + spot(random, 4) as u32;
                    Self::Append { file, len }
                }
                8 => Self::Rewrite { file, which },
                6..=7 => {
                    let block = random.below(large) as u32;
                    let len = 1 + random.below(5) as u16;
                    Self::Direct { file, block, len }
                }
                9..=12 => {
                    let from = random.below(4 * BLOCKS) as u16;
                    let from = if random.chance(1, 2) { 0 } else { from };
                    let count = 1 + random.below(8) as u16;
                    Self::WriteBack { file, from, count }
                }
                13 => {
                    let size = spot(random, large) as u32;
                    Self::Truncate { file, size }
                }
                14 => {
                    let size = if random.chance(1, 2) {
                        0
                    } else {
                        spot(random, 4) as u32
                    };
                    Self::Truncate { file, size }
                }
                _ => {
                    let by = 1 + spot(random, 4) as u32;
                    Self::Extend { file, by }
                }
            };
        }
        if way < data + machine {
            return match random.below(30) {
                0..=6 => Self::Land { which },
                7..=11 => Self::Fsync { file },
                12 => Self::Sync,
                13..=16 => Self::Commit,
                17..=21 => {
                    let writes = 1 + random.below(6) as u16;
                    Self::Step { writes }
                }
                22..=24 => {
                    let count = 1 + random.below(6) as u16;
                    let somewhere = which;
                    Self::Place { count, somewhere }
                }
                25 => Self::Tail,
                26..=27 => Self::Forget { which },
                28 => Self::Shrink,
                _ if random.chance(1, 2) => Self::Remount,
                _ => Self::Commit,
            };
        }
        match random.below(34) {
            0..=7 => Self::Create { dir, name },
            8..=10 => Self::Mkdir { dir, name },
            11..=12 => {
                let len = match random.below(3) {
                    0 => 1 + random.below(59) as u16,
                    1 => 59 + random.below(3) as u16,
                    _ => 60 + random.below(bytes - 61) as u16,
                };
                Self::Symlink { dir, name, len }
            }
            13..=14 => Self::Link { file, dir, name },
            15 => {
                let count = 1 + random.below(40) as u16;
                Self::LinkMany { file, dir, count }
            }
            16..=18 => Self::Unlink { which },
            19..=20 => Self::UnlinkOpen { which },
            21 => {
                let count = 1 + random.below(60) as u16;
                Self::UnlinkMany { dir, count }
            }
            22..=25 => Self::Rename { which, dir, name },
            26..=28 => Self::RenameOver { which, over: file },
            29..=30 => Self::Open { file },
            31 => Self::UnlinkOpen { which },
            _ if random.chance(1, 2) => Self::Close { which },
            _ => Self::Open { file },
        }
    }
}

/// One of `all`, or `None` where there is none.
fn pick<T: Clone>(all: &[T], which: u16) -> Option<T> {
    let i = usize::from(which).checked_rem(all.len())?;
    Some(all[i].clone())
}

fn short_name(n: u16) -> Vec<u8> {
    // Names of different lengths share blocks.
    let mut name = format!("n{n}").into_bytes();
    name.resize(name.len() + usize::from(n % 5) * 9, b'-');
    name
}

fn long_name(n: usize) -> Vec<u8> {
    let mut name = format!("long-{n}-").into_bytes();
    name.resize(60 + n * 37 % 180, b'x');
    name
}

impl Sim {
    fn of_kind(&self, kind: Kind) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for (ino, inode) in &self.world.model {
            let reachable = inode.links > 0 || self.open.contains(ino);
            if inode.kind == kind && reachable {
                found.push(*ino);
            }
        }
        found
    }

    fn dirs(&self) -> Vec<u32> {
        let mut dirs = self.of_kind(Kind::Dir);
        dirs.retain(|ino| self.world.model[ino].links > 0);
        // What is done in one directory is worth more than what is done in many.
        dirs.truncate(4);
        dirs
    }

    /// All names, but the one that e2fsck wants to be there.
    fn names(&self) -> Vec<(u32, Vec<u8>)> {
        let root = Ino::ROOT.get();
        self.world
            .model
            .iter()
            .flat_map(|(dir, inode)| inode.names.keys().map(|name| (*dir, name.clone())))
            .filter(|(dir, name)| *dir != root || name != b"lost+found")
            .collect()
    }

    fn is_below(&self, mut dir: u32, top: u32) -> bool {
        loop {
            if dir == top {
                return true;
            }
            match self.world.model[&dir].parent {
                parent if parent == dir => return false,
                parent => dir = parent,
            }
        }
    }

    fn can_rename(&self, from: &(u32, Vec<u8>), to: &(u32, Vec<u8>)) -> bool {
        let ino = self.world.model[&from.0].names[&from.1];
        let is_dir = self.world.model[&ino].kind == Kind::Dir;
        if is_dir && self.is_below(to.0, ino) {
            return false;
        }
        match self.world.model[&to.0].names.get(&to.1) {
            None => true,
            Some(victim) => {
                let other = &self.world.model[victim];
                *victim != ino
                    && (other.kind == Kind::Dir) == is_dir
                    && !self.is_below(from.0, *victim)
            }
        }
    }

    fn is_free(&self, dir: u32, name: &[u8]) -> bool {
        !self.world.model[&dir].names.contains_key(name)
    }

    /// Does an operation. One that makes no sense now does nothing.
    ///
    /// # Errors
    ///
    /// What the core does not do as it should.
    pub fn apply(&mut self, op: Op) -> Result<(), String> {
        self.try_apply(op).unwrap_or(Ok(()))?;
        self.complaints()
    }

    fn try_apply(&mut self, op: Op) -> Option<Result<(), String>> {
        let mount = self.mount.clone();
        match op {
            Op::Create { dir, name } => {
                let (dir, name) = (pick(&self.dirs(), dir)?, short_name(name));
                if self.is_free(dir, &name) {
                    self.create(dir, &name, What::File);
                }
            }
            Op::Mkdir { dir, name } => {
                let (dir, name) = (pick(&self.dirs(), dir)?, short_name(name));
                if self.is_free(dir, &name) {
                    self.create(dir, &name, What::Dir);
                }
            }
            Op::Symlink { dir, name, len } => {
                let (dir, name) = (pick(&self.dirs(), dir)?, short_name(name));
                if self.is_free(dir, &name) {
                    let target = vec![b'a' + (len % 26) as u8; usize::from(len)];
                    self.create(dir, &name, What::Link(&target));
                }
            }
            Op::Link { file, dir, name } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let (dir, name) = (pick(&self.dirs(), dir)?, short_name(name));
                if self.is_free(dir, &name) {
                    self.link(file, dir, &name);
                }
            }
            Op::LinkMany { file, dir, count } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let dir = pick(&self.dirs(), dir)?;
                let mut n = 0;
                for _ in 0..count {
                    while !self.is_free(dir, &long_name(n)) {
                        n += 1;
                    }
                    self.link(file, dir, &long_name(n));
                    n += 1;
                    self.tick(150);
                }
            }
            Op::Unlink { which } => {
                let (dir, name) = pick(&self.names(), which)?;
                self.unlink(dir, &name);
            }
            Op::UnlinkOpen { which } => {
                let mut names = self.names();
                names.retain(|(dir, name)| {
                    let ino = self.world.model[dir].names[name];
                    self.world.model[&ino].kind == Kind::File
                });
                let (dir, name) = pick(&names, which)?;
                let ino = self.world.model[&dir].names[&name];
                self.open(ino);
                self.unlink(dir, &name);
            }
            Op::UnlinkMany { dir, count } => {
                let dir = pick(&self.dirs(), dir)?;
                let names: Vec<_> = self.world.model[&dir].names.keys().cloned().collect();
                for name in names
                    .iter()
                    .filter(|name| name.starts_with(b"long"))
                    .take(count.into())
                {
                    self.unlink(dir, name);
                    self.tick(150);
                }
            }
            Op::Rename { which, dir, name } => {
                let from = pick(&self.names(), which)?;
                let to = (pick(&self.dirs(), dir)?, short_name(name));
                if self.can_rename(&from, &to) {
                    self.rename((from.0, &from.1), (to.0, &to.1));
                }
            }
            Op::RenameOver { which, over } => {
                let names = self.names();
                let (from, to) = (pick(&names, which)?, pick(&names, over)?);
                if self.can_rename(&from, &to) {
                    self.rename((from.0, &from.1), (to.0, &to.1));
                }
            }
            Op::Open { file } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                self.open(file);
            }
            Op::Close { which } => {
                let open: Vec<u32> = self.open.iter().copied().collect();
                self.close(pick(&open, which)?);
            }
            Op::Write { file, pos, len } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let _ = self.write(&node, pos.into(), len.into());
            }
            Op::Append { file, len } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let size = node.borrow().size;
                if size < 8 << 20 {
                    let _ = self.write(&node, size, len.into());
                }
            }
            Op::Direct { file, block, len } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let _ = self.write_direct(&node, block, len.into());
            }
            Op::Comb {
                file,
                from,
                count,
                order,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                for n in 0..u32::from(count) {
                    let _ = self.write_direct(&node, u32::from(from) + 2 * n, 1);
                }
                // Most of them are done, in some order.
                let mut random = Random::new(order.into());
                while self.flights.len() > usize::from(count / 8) {
                    let i = random.below(self.flights.len() as u64) as usize;
                    let flight = self.flights.remove(i);
                    self.land(flight);
                    self.tick(150);
                }
            }
            Op::Rewrite { file, which } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let mapped: Vec<u32> = self.world.model[&file].blocks.keys().copied().collect();
                let at = pick(&mapped, which)?;
                // Nothing is left to be committed when the new data is made durable.
                self.fsync(&node);
                let _ = self.write_direct(&node, at, 1);
                self.fsync(&node);
            }
            Op::WriteBack { file, from, count } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.write_back(&node, from.into(), u32::MAX, count.into());
            }
            Op::Land { which } => {
                let i = usize::from(which).checked_rem(self.flights.len())?;
                let flight = self.flights.remove(i);
                self.land(flight);
            }
            Op::Truncate { file, size } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.set_size(&node, size.into());
            }
            Op::Extend { file, by } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let size = node.borrow().size;
                if size < 8 << 20 {
                    self.set_size(&node, size + u64::from(by));
                }
            }
            Op::Fsync { file } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.fsync(&node);
            }
            Op::Sync => self.sync(),
            Op::Commit => self.world.close(&mount),
            Op::Step { writes } => self.world.step(&mount, writes.into()),
            Op::Place { count, somewhere } => {
                self.world.place(&mount, count.into(), somewhere.into());
            }
            Op::Tail => self.world.journal.move_tail(&mut self.world.trace),
            Op::Forget { which } => {
                let all: Vec<u32> = self.nodes.keys().copied().collect();
                let ino = pick(&all, which)?;
                if self.world.model[&ino].links > 0 {
                    self.forget(ino);
                }
            }
            Op::Shrink => self.shrink_caches(),
            Op::Remount => return Some(self.remount()),
        }
        self.tick(150);
        None
    }
}
