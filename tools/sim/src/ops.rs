// SPDX-License-Identifier: GPL-2.0

//! Operations, and how they are done.
//!
//! An operation names what it works on by a number that stands for any file, directory or name there is, so that it
//! means something in every list of operations, whatever was left out before it.

use crate::file::{How, Memory, What as Falloc};
use crate::model::Kind;
use crate::mount::Shared;
use crate::random::Random;
use crate::sim::Sim;
use crate::tree::What;
use crate::trim::Trim;
use iomapfs_core::change::Live;
use iomapfs_core::disk::Ino;
use kernel::error::code::ENOSPC;

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
    Whiteout {
        which: u16,
        dir: u16,
        name: u16,
    },
    Exchange {
        which: u16,
        with: u16,
    },
    FsyncDir {
        dir: u16,
    },
    Mknod {
        dir: u16,
        name: u16,
    },
    Tmpfile {
        dir: u16,
    },
    SetGeneration {
        file: u16,
    },
    SetAttribute {
        which: u16,
        name: u16,
        len: Option<u16>,
    },
    SetLabel {
        number: u16,
    },
    SetUuid {
        number: u16,
    },
    MoveExtents {
        file: u16,
        donor: u16,
        pos: u32,
        donor_pos: u32,
        len: u32,
        /// The donor loses its data there just before.
        zeroed: bool,
        /// Somebody writes to the blocks that the donor has got.
        written: bool,
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
        pos: u32,
        len: u32,
        how: How,
    },
    Memory {
        file: u16,
        pos: u32,
        len: u32,
        what: Memory,
    },
    Atomic {
        file: u16,
        which: Option<u16>,
        at: u16,
        blocks: u16,
        how: How,
        before: Before,
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
        durable: bool,
    },
    Sectors {
        file: u16,
        which: u16,
        order: u16,
    },
    Regrow {
        file: u16,
        which: u16,
        fails: bool,
        way: u16,
    },
    Fallocate {
        file: u16,
        what: Falloc,
        pos: u32,
        len: u32,
    },
    DropEnd {
        file: u16,
        len: u32,
        what: Falloc,
    },
    WriteBack {
        file: u16,
        from: u16,
        count: u16,
    },
    Land {
        which: u16,
        others: u32,
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
        data_only: bool,
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
    Trim(Trim),
    Remount,
    Freeze,
}

/// What is done to the bytes of an atomic write before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// They are written in the same way, and made durable.
    Same,
    /// They are written in two halves, and the first is durable.
    Halves,
}

/// Bytes that direct writes are made of.
pub const SECTOR: u64 = 512;

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
    pub(crate) fn of_kind(&self, kind: Kind) -> Vec<u32> {
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

    fn can_exchange(&self, one: &(u32, Vec<u8>), other: &(u32, Vec<u8>)) -> bool {
        let ino = |name: &(u32, Vec<u8>)| self.world.model[&name.0].names[&name.1];
        let is_below = |dir: u32, top: u32| {
            self.world.model[&top].kind == Kind::Dir && self.is_below(dir, top)
        };
        let (old, new) = (ino(one), ino(other));
        old != new && !is_below(other.0, old) && !is_below(one.0, new)
    }

    /// Where a file has data: at which byte one of its blocks begins.
    fn data(&self, file: u32, which: u32) -> Option<u64> {
        let mapped: Vec<u32> = self.world.model[&file].blocks.keys().copied().collect();
        Some(u64::from(pick(&mapped, which as u16)?) * u64::from(self.block_size))
    }

    fn try_write(&mut self, node: &Shared, pos: u64, len: u64) {
        if let Err(error) = self.write(node, pos, len) {
            // The first piece of a write has failed, and that could be one block.
            self.no_space(error, 1, false);
        }
    }

    pub(crate) fn try_write_direct(&mut self, node: &Shared, pos: u64, len: u64, how: How) {
        if let Err(error) = self.write_direct(node, pos, len, how) {
            self.no_space(error, self.blocks_for(len).into(), false);
        }
    }

    fn try_write_atomic(&mut self, node: &Shared, pos: u64, len: u64, how: How) {
        if let Err(error) = self.write_atomic(node, pos, len, how) {
            // Space there may be, but not in one piece.
            assert!(error == ENOSPC, "an atomic write failed: {error:?}");
        }
    }

    /// A file that was cut off goes on, in one way or another, and what is written to new blocks gets to the device
    /// first.
    fn regrow(&mut self, node: &Shared, way: u16) {
        let (block, end) = (u64::from(self.block_size), node.size());
        if way & 1 != 0 {
            self.try_write(node, end, 2 * block + 7);
        }
        let size = node.size();
        match way / 2 % 3 {
            0 => self.try_write(node, size + 2 * block, block),
            1 => self.set_size(node, size + 3 * block),
            _ => {}
        }
        let first = self.blocks_for(end);
        self.write_and_wait(node, first, u32::MAX);
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
            Op::Rename { which, dir, name } | Op::Whiteout { which, dir, name } => {
                let from = pick(&self.names(), which)?;
                let to = (pick(&self.dirs(), dir)?, short_name(name));
                if self.can_rename(&from, &to) {
                    let whiteout = matches!(op, Op::Whiteout { .. });
                    self.rename((from.0, &from.1), (to.0, &to.1), whiteout);
                }
            }
            Op::Exchange { which, with } => {
                let names = self.names();
                let (one, other) = (pick(&names, which)?, pick(&names, with)?);
                if self.can_exchange(&one, &other) {
                    self.exchange((one.0, &one.1), (other.0, &other.1));
                }
            }
            Op::FsyncDir { dir } => {
                let dir = pick(&self.dirs(), dir)?;
                self.fsync_dir(dir);
            }
            Op::Tmpfile { dir } => {
                let dir = pick(&self.dirs(), dir)?;
                self.tmpfile(dir);
            }
            Op::Mknod { dir, name } => {
                let (dir, name) = (pick(&self.dirs(), dir)?, short_name(name));
                if self.is_free(dir, &name) {
                    self.create(dir, &name, What::Device);
                }
            }
            Op::RenameOver { which, over } => {
                let names = self.names();
                let (from, to) = (pick(&names, which)?, pick(&names, over)?);
                if self.can_rename(&from, &to) {
                    self.rename((from.0, &from.1), (to.0, &to.1), false);
                }
            }
            Op::SetGeneration { file } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                self.set_generation(file);
            }
            Op::SetAttribute { which, name, len } => {
                let mut all = self.of_kind(Kind::File);
                all.extend(self.dirs());
                all.extend(self.of_kind(Kind::Link));
                let ino = pick(&all, which)?;
                self.set_attribute(ino, name, len);
            }
            Op::SetLabel { number } => self.set_label(number),
            Op::SetUuid { number } => self.set_uuid(number),
            Op::MoveExtents {
                file,
                donor,
                pos,
                donor_pos,
                len,
                zeroed,
                written,
            } => {
                let files = self.of_kind(Kind::File);
                let (file, donor) = (pick(&files, file)?, pick(&files, donor)?);
                let places = match zeroed || written {
                    true => (self.data(file, pos)?, self.data(donor, donor_pos)?),
                    false => (pos.into(), donor_pos.into()),
                };
                let (node, donor) = (self.node(file), self.node(donor));
                if zeroed {
                    // The donor has no data there, but on disk it has.
                    self.fsync(&donor, true);
                    let zero = Falloc::Zero { keep_size: true };
                    if let Err(error) = self.fallocate(&donor, zero, places.1, len.into()) {
                        self.no_space(error, self.blocks_for(len.into()).into(), false);
                    }
                }
                let what = (places.0, places.1, len.into());
                if let Err(error) = self.move_extents(&node, &donor, what) {
                    self.no_space(error, self.blocks_for(len.into()).into(), false);
                }
                if written {
                    let block = u64::from(self.block_size);
                    self.try_write_direct(&donor, places.1 / block * block, block, How::Waits);
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
                self.try_write(&node, pos.into(), len.into());
            }
            Op::Append { file, len } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let size = node.size();
                if size < 8 << 20 {
                    self.try_write(&node, size, len.into());
                }
            }
            Op::Direct {
                file,
                pos,
                len,
                how,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.try_write_direct(&node, pos.into(), len.into(), how);
            }
            Op::Atomic {
                file,
                which,
                at,
                blocks,
                how,
                before,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let mapped: Vec<u32> = self.world.model[&file].blocks.keys().copied().collect();
                let blocks = u64::from(blocks);
                let at = match which {
                    Some(which) => pick(&mapped, which)?.into(),
                    None => u64::from(at),
                };
                let size = u64::from(self.block_size);
                let (pos, len) = (at / blocks * blocks * size, blocks * size);
                match before {
                    Before::Nothing => {}
                    Before::Same => {
                        self.try_write_atomic(&node, pos, len, How::Waits);
                        self.fsync(&node, true);
                    }
                    Before::Halves => {
                        let half = (len / 2).max(size);
                        self.try_write_direct(&node, pos, half, How::Waits);
                        self.world.close(&mount);
                        self.world.finish_writing(&mount);
                        self.try_write_direct(&node, pos + half, half, How::Waits);
                    }
                }
                self.try_write_atomic(&node, pos, len, how);
            }
            Op::Comb {
                file,
                from,
                count,
                order,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let size = u64::from(self.block_size);
                for n in 0..u64::from(count) {
                    let pos = (u64::from(from) + 2 * n) * size;
                    self.try_write_direct(&node, pos, size, How::Queued);
                }
                // Most of them are done, in some order.
                let mut random = Random::new(order.into());
                while self.flights.len() > usize::from(count / 8) {
                    let i = random.below(self.flights.len() as u64) as usize;
                    let others = random.next() & random.next() & random.next();
                    self.land(i, others as u32);
                    self.tick(150);
                }
            }
            Op::Memory {
                file,
                pos,
                len,
                what,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                if !matches!(what, Memory::Fallocate(Falloc::Insert { .. }))
                    || node.size() < 8 << 20
                {
                    self.try_use_memory(&node, pos.into(), len.into(), what);
                }
            }
            Op::Rewrite {
                file,
                which,
                durable,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let mapped: Vec<u32> = self.world.model[&file].blocks.keys().copied().collect();
                let at = pick(&mapped, which)?;
                let size = u64::from(self.block_size);
                let pos = u64::from(at) * size;
                if durable {
                    // What shows the block may be still to be committed.
                    self.try_write_direct(&node, pos, size, How::Durable);
                } else {
                    // Nothing is left to be committed when the new data is made durable.
                    self.fsync(&node, true);
                    self.try_write_direct(&node, pos, size, How::Waits);
                    self.fsync(&node, true);
                }
            }
            Op::Sectors { file, which, order } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let mapped: Vec<u32> = self.world.model[&file].blocks.keys().copied().collect();
                let block = u64::from(self.block_size);
                let end = u64::from(pick(&mapped, which)?) * block + SECTOR;
                self.set_size(&node, end);
                // Several at a time around the end, in any order, most of them behind it.
                let mut random = Random::new(order.into());
                for _ in 0..4 {
                    let pos = end + random.below(6) * SECTOR;
                    self.try_write_direct(&node, pos - SECTOR, SECTOR, How::Queued);
                }
            }
            Op::Regrow {
                file,
                which,
                fails,
                way,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let mapped: Vec<u32> = self.world.model[&file].blocks.keys().copied().collect();
                let block = u64::from(self.block_size);
                let end = u64::from(pick(&mapped, which)?) * block + u64::from(which) % block;
                match fails {
                    true => {
                        // What can be cut off in several steps.
                        for n in 0..100 {
                            let pos = end / block * block + (2 * n + 1) * block;
                            self.try_write_direct(&node, pos, block, How::Queued);
                        }
                        self.finish_flights(|flight| flight.ino == file);
                        self.fail_set_size(&node, end);
                    }
                    false => self.set_size(&node, end),
                }
                self.regrow(&node, way);
                self.world.close(&mount);
                self.world.finish_writing(&mount);
            }
            Op::Fallocate {
                file,
                what,
                pos,
                len,
            } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                if !matches!(what, Falloc::Insert { .. }) || node.size() < 8 << 20 {
                    if let Err(error) = self.fallocate(&node, what, pos.into(), len.into()) {
                        self.no_space(error, self.blocks_for(len.into()).into(), false);
                    }
                }
            }
            Op::DropEnd { file, len, what } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let (size, len) = (node.size(), u64::from(len));
                if size < 8 << 20 {
                    // What is in memory only goes away again, and the size stays.
                    self.try_write(&node, size, len + 2 * u64::from(self.block_size));
                    if let Err(error) = self.fallocate(&node, what, size + len / 2, 2 * len) {
                        self.no_space(error, self.blocks_for(2 * len).into(), false);
                    }
                    self.fsync(&node, true);
                }
            }
            Op::WriteBack { file, from, count } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.write_back(&node, from.into(), u32::MAX, count.into());
                if from % 2 == 0 {
                    self.write_inode(&node);
                }
            }
            Op::Land { which, others } => {
                let i = usize::from(which).checked_rem(self.flights.len())?;
                self.land(i, others);
            }
            Op::Truncate { file, size } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.set_size(&node, size.into());
            }
            Op::Extend { file, by } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                let size = node.size();
                if size < 8 << 20 {
                    self.set_size(&node, size + u64::from(by));
                }
            }
            Op::Fsync { file, data_only } => {
                let file = pick(&self.of_kind(Kind::File), file)?;
                let node = self.node(file);
                self.fsync(&node, data_only);
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
            Op::Trim(how) => return Some(self.trim(how)),
            Op::Remount => return Some(self.remount()),
            Op::Freeze => self.freeze(),
        }
        self.tick(150);
        None
    }
}
