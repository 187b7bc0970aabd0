// SPDX-License-Identifier: GPL-2.0

//! Operations in the transactions that the module makes of them (`src/ops`): the same calls of the core in the
//! same handles, with the same credits.

use crate::broken::Rule;
use crate::mount::{Mount, Node, Shared, Watch};
use iomapfs_core::disk::inode::{FileKind, InodeFlags, Time};
use iomapfs_core::disk::superblock::STATE_ERROR;
use iomapfs_core::disk::symlink::TargetFormat;
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::{HostStore, Tx};
use iomapfs_core::inode::{set_dtime, wipe, Attrs, Content, Inode, Orphans};
use iomapfs_core::map::{FileMap, Progress};
use iomapfs_core::names::{self, FileType};
use iomapfs_core::store::{Store, Transaction};
use kernel::error::{code::*, Result};

const ORPHAN_CREDITS: u32 = Orphans::<HostStore>::CREDITS;
const WRITE_CREDITS: u32 = Inode::WRITE_CREDITS;

/// Blocks of a directory that are freed, and revoked, in one transaction at most.
const REVOKES: u32 = 64;
/// Revokes for a name that is inserted.
const INSERT_REVOKES: u32 = 2;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link(&'a [u8]),
}

fn file_type(node: &Node) -> FileType {
    match node.attrs.kind() {
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        _ => FileType::Regular,
    }
}

fn add_link(dir: &mut Node) {
    if dir.attrs.nlink > 1 {
        dir.attrs.nlink += 1;
    }
}

fn drop_link(dir: &mut Node) {
    if dir.attrs.nlink > 2 {
        dir.attrs.nlink -= 1;
    }
}

impl Mount {
    fn insert_credits(&self, dir: &Shared) -> u32 {
        let depth = dir.borrow().core.map.depth() + 1;
        names::insert_credits(FileMap::commit_credits(&self.vol, depth).blocks) + WRITE_CREDITS
    }

    fn create_credits(&self) -> u32 {
        self.vol.space.credits_alloc_inode()
            + WRITE_CREDITS
            + FileMap::commit_credits(&self.vol, 0).blocks
    }

    fn mark_orphan(&self, tx: &mut Tx<'_>, node: &Node) -> Result {
        if self.broken.is(Rule::NoOrphan) {
            return Ok(());
        }
        self.orphans.add(&self.vol, tx, node.ino()).map(|_| ())
    }

    /// `create`, `mkdir`, `symlink`. Where the inode is made but gets no name, it becomes an orphan, and is given in
    /// the error to be freed.
    pub fn create(
        &self,
        dir: &Shared,
        name: &[u8],
        what: What<'_>,
        generation: u32,
    ) -> Result<Shared, (kernel::error::Error, Option<Shared>)> {
        let vol = &self.vol;
        let credits = self.create_credits()
            + names::make_empty_credits(FileMap::commit_credits(vol, 0).blocks)
            + self.insert_credits(dir)
            + ORPHAN_CREDITS;
        let mut tx = vol
            .store
            .begin(credits, INSERT_REVOKES)
            .map_err(|e| (e, None))?;
        let node = self
            .make(&mut tx, dir, what, generation)
            .map_err(|e| (e, None))?;
        let named = self.fill(&mut tx, dir, &node, what).and_then(|()| {
            let (ino, kind) = (node.borrow().ino(), file_type(&node.borrow()));
            names::insert(&mut self.dir(dir), &mut tx, name, ino, kind)
        });
        if named.is_ok() {
            let dir = &mut *dir.borrow_mut();
            dir.touch();
            if matches!(what, What::Dir) {
                add_link(dir);
            }
        }
        let written = dir.borrow_mut().write(self, &mut tx);
        match named.and(written) {
            Ok(()) => Ok(node),
            Err(error) => {
                {
                    let node = &mut *node.borrow_mut();
                    node.attrs.nlink = 0;
                    self.orphans
                        .add(vol, &mut tx, node.ino())
                        .and_then(|_| node.write(self, &mut tx))
                        .expect("there are credits for it");
                }
                Err((error, Some(node)))
            }
        }
    }

    fn make(
        &self,
        tx: &mut Tx<'_>,
        dir: &Shared,
        what: What<'_>,
        generation: u32,
    ) -> Result<Shared> {
        let vol = &self.vol;
        let is_dir = matches!(what, What::Dir);
        let parent = dir.borrow().ino();
        let ino = vol.space.alloc_inode(vol, tx, parent, is_dir)?;
        let now = Time {
            sec: 1_700_000_000,
            nsec: 1,
        };
        let attrs = Attrs {
            mode: match what {
                What::File => 0o100_644,
                What::Dir => 0o040_755,
                What::Link(_) => 0o120_777,
            },
            uid: 1000,
            gid: 1000,
            nlink: if is_dir { 2 } else { 1 },
            rdev: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            version: 1,
        };
        let content = match what {
            What::Link(target) if target.len() <= Inode::MAX_FAST_TARGET => Content::Target(target),
            _ => Content::Mapped,
        };
        let flags = InodeFlags::from_bits(0);
        let core = Inode::create(vol, tx, ino, &attrs, flags, generation, content);
        match core {
            Ok(core) => Ok(Node::new(self, (core, attrs))),
            Err(error) => {
                wipe(vol, tx, ino)?;
                vol.space.free_inode(vol, tx, ino, is_dir)?;
                Err(error)
            }
        }
    }

    fn fill(&self, tx: &mut Tx<'_>, dir: &Shared, node: &Shared, what: What<'_>) -> Result {
        match what {
            What::Dir => {
                let parent = dir.borrow().ino();
                names::make_empty(&mut self.dir(node), tx, parent)?;
            }
            What::Link(target) if target.len() > Inode::MAX_FAST_TARGET => {
                let node = &mut *node.borrow_mut();
                let goal = node.goal(self, false);
                let at = LogicalBlock::ZERO;
                let map = &mut node.core.map;
                let run = map.allocate(&self.vol, tx, at, 1, goal, false)?;
                node.size = target.len() as u64;
                node.core.disk_size = node.size;
                tx.create(run.start, TargetFormat, |bytes| {
                    bytes[..target.len()].copy_from_slice(target);
                })?;
            }
            _ => {}
        }
        node.borrow_mut().write(self, tx)
    }

    /// `link`
    pub fn link(&self, node: &Shared, dir: &Shared, name: &[u8]) -> Result {
        let credits = self.insert_credits(dir) + WRITE_CREDITS + ORPHAN_CREDITS;
        let mut tx = self.vol.store.begin(credits, INSERT_REVOKES)?;
        let ino = node.borrow().ino();
        let kind = file_type(&node.borrow());
        let inserted = names::insert(&mut self.dir(dir), &mut tx, name, ino, kind);
        if inserted.is_ok() {
            dir.borrow_mut().touch();
        }
        dir.borrow_mut().write(self, &mut tx)?;
        inserted?;
        let node = &mut *node.borrow_mut();
        node.attrs.nlink += 1;
        if node.attrs.nlink == 1 {
            self.orphans.remove(&self.vol, &mut tx, ino)?;
        }
        node.write(self, &mut tx)
    }

    fn lost_name(&self, tx: &mut Tx<'_>, node: &Shared) -> Result {
        let node = &mut *node.borrow_mut();
        let is_dir = node.attrs.kind() == FileKind::Directory;
        node.attrs.nlink = if is_dir { 0 } else { node.attrs.nlink - 1 };
        if node.attrs.nlink == 0 {
            self.mark_orphan(tx, node)?;
        }
        node.write(self, tx)
    }

    /// `unlink`, and `rmdir` of an empty directory.
    pub fn unlink(&self, dir: &Shared, name: &[u8], node: &Shared) -> Result {
        let is_dir = node.borrow().attrs.kind() == FileKind::Directory;
        if is_dir && !names::is_empty(&self.dir(node))? {
            return Err(ENOTEMPTY);
        }
        let credits = names::CHANGE_CREDITS + WRITE_CREDITS * 2 + ORPHAN_CREDITS;
        let mut tx = self.vol.store.begin(credits, 0)?;
        let ino = node.borrow().ino();
        names::remove(&mut self.dir(dir), &mut tx, name, ino)?;
        {
            let dir = &mut *dir.borrow_mut();
            dir.touch();
            if is_dir {
                drop_link(dir);
            }
            dir.write(self, &mut tx)?;
        }
        self.lost_name(&mut tx, node)
    }

    /// `rename`: `node` gets `new` in `to` for `old` in `from`, and takes that name from `victim`.
    pub fn rename(
        &self,
        (from, old): (&Shared, &[u8]),
        (to, new): (&Shared, &[u8]),
        node: &Shared,
        victim: Option<&Shared>,
    ) -> Result {
        let crosses = from.borrow().ino() != to.borrow().ino();
        let is_dir = node.borrow().attrs.kind() == FileKind::Directory;
        if let Some(victim) = victim {
            let directory = victim.borrow().attrs.kind() == FileKind::Directory;
            if directory && !names::is_empty(&self.dir(victim))? {
                return Err(ENOTEMPTY);
            }
        }
        let credits = self.insert_credits(to)
            + names::CHANGE_CREDITS * 2
            + WRITE_CREDITS * 3
            + ORPHAN_CREDITS;
        let mut tx = self.vol.store.begin(credits, INSERT_REVOKES)?;
        let ino = node.borrow().ino();
        let kind = file_type(&node.borrow());
        let mut dir = self.dir(to);
        match victim {
            Some(_) => names::replace(&mut dir, &mut tx, new, ino, kind)?,
            None => {
                let inserted = names::insert(&mut dir, &mut tx, new, ino, kind);
                if inserted.is_err() {
                    to.borrow_mut().write(self, &mut tx)?;
                }
                inserted?;
            }
        }
        to.borrow_mut().touch();
        names::remove(&mut self.dir(from), &mut tx, old, ino)?;
        if is_dir && crosses {
            let parent = to.borrow().ino();
            names::set_dotdot(&mut self.dir(node), &mut tx, parent)?;
            drop_link(&mut from.borrow_mut());
            if victim.is_none() {
                add_link(&mut to.borrow_mut());
            }
        } else if is_dir && victim.is_some() {
            drop_link(&mut from.borrow_mut());
        }
        from.borrow_mut().touch();
        from.borrow_mut().write(self, &mut tx)?;
        if crosses {
            to.borrow_mut().write(self, &mut tx)?;
        }
        node.borrow_mut().touch();
        node.borrow_mut().write(self, &mut tx)?;
        match victim {
            Some(victim) => self.lost_name(&mut tx, victim),
            None => Ok(()),
        }
    }

    /// A handle with at least these credits: a new one, or the one that there is, which may go on in another
    /// transaction.
    fn ready<'h, 'm>(
        &'m self,
        handle: &'h mut Option<Tx<'m>>,
        credits: u32,
        revokes: u32,
        watch: &mut dyn Watch,
    ) -> Result<&'h mut Tx<'m>> {
        match handle {
            Some(tx) => {
                if tx.ensure(credits, revokes)? {
                    watch.closed(self);
                }
                Ok(tx)
            }
            none => Ok(none.insert(self.vol.store.begin(credits, revokes)?)),
        }
    }

    /// The data of bytes `..end` in blocks `from..to` is on the device: the file shows it.
    pub fn complete(
        &self,
        watch: &mut dyn Watch,
        node: &Shared,
        (from, to): (u32, u32),
        end: u64,
    ) -> Result {
        let vol = &self.vol;
        let bits = vol.layout.block_size().bits();
        let mut at = LogicalBlock::new(from);
        let to = LogicalBlock::new(to);
        let mut handle: Option<Tx<'_>> = None;
        loop {
            let depth = node.borrow().core.map.snapshot().depth();
            let granted = FileMap::commit_credits(vol, depth);
            let credits = granted.blocks + WRITE_CREDITS;
            let tx = self.ready(&mut handle, credits, granted.revokes, watch)?;
            let node = &mut *node.borrow_mut();
            let len = to.saturating_distance_from(at);
            let progress = node.core.map.commit(vol, tx, at, len, granted)?;
            let done = match progress {
                Progress::Done => to,
                Progress::Again(next) => next,
            };
            let shown = (u64::from(done.get()) << bits).min(end);
            if done > at || progress == Progress::Done {
                node.core.disk_size = node.core.disk_size.max(shown);
            }
            node.write(self, tx)?;
            let size = node.core.disk_size;
            watch.mapped(node.ino().get(), at.get(), done.get(), size);
            match progress {
                Progress::Done => return Ok(()),
                Progress::Again(next) => at = next,
            }
        }
    }

    /// Raises the size on disk.
    pub fn grow(&self, node: &Shared, size: u64) -> Result {
        let mut tx = self.vol.store.begin(WRITE_CREDITS, 0)?;
        let node = &mut *node.borrow_mut();
        node.core.disk_size = size;
        node.write(self, &mut tx)
    }

    /// Makes everything from block `from` on a hole; the first transaction sets the size.
    pub fn shrink(&self, watch: &mut dyn Watch, node: &Shared, from: u32, size: u64) -> Result {
        let vol = &self.vol;
        let from = LogicalBlock::new(from);
        let mut to = LogicalBlock::LIMIT;
        let mut handle: Option<Tx<'_>> = None;
        let (mut asked, mut ours) = (false, false);
        loop {
            let depth = node.borrow().core.map.snapshot().depth();
            let granted = FileMap::remove_credits(vol, depth);
            let credits = granted.blocks + WRITE_CREDITS + ORPHAN_CREDITS;
            let tx = self.ready(&mut handle, credits, granted.revokes, watch)?;
            let node = &mut *node.borrow_mut();
            node.core.disk_size = size;
            let progress = node.core.map.remove(vol, tx, from, to, granted);
            node.write(self, tx)?;
            match progress? {
                Progress::Done => {
                    if ours {
                        self.orphans.remove(vol, tx, node.ino())?;
                    }
                    return Ok(());
                }
                Progress::Again(next) => {
                    to = next;
                    if !asked && !self.broken.is(Rule::NoOrphanOnTruncate) {
                        ours = self.orphans.add(vol, tx, node.ino())?;
                        asked = true;
                    }
                }
            }
        }
    }

    /// Frees the blocks of a directory or a long symbolic link.
    fn free_metadata_blocks(&self, watch: &mut dyn Watch, node: &Shared) -> Result {
        let vol = &self.vol;
        let granted = FileMap::remove_credits(vol, node.borrow().core.map.depth());
        let credits = granted.blocks + WRITE_CREDITS;
        let revokes = granted.revokes + REVOKES;
        let size = node.borrow().core.disk_size;
        let mut to = vol.layout.block_size().blocks_for(size) as u32;
        let mut handle: Option<Tx<'_>> = None;
        while to > 0 {
            let tx = self.ready(&mut handle, credits, revokes, watch)?;
            let from = to.saturating_sub(REVOKES);
            let node = &mut *node.borrow_mut();
            let mut held = Vec::new();
            for at in (from..to).map(LogicalBlock::new) {
                if let Some(nr) = node.core.map.lookup(vol, at, 1)?.phys {
                    held.push((at, nr));
                }
            }
            let first = LogicalBlock::new(from);
            let map = &mut node.core.map;
            let progress = map.remove(vol, tx, first, LogicalBlock::LIMIT, granted);
            for (at, nr) in held {
                let there = node.core.map.lookup(vol, at, 1);
                let gone = !there.is_ok_and(|found| found.phys == Some(nr));
                if gone && !self.broken.is(Rule::NoForget) {
                    tx.forget(nr)?;
                }
            }
            node.write(self, tx)?;
            to = match progress? {
                Progress::Done => from,
                Progress::Again(done) => done.get().min(to),
            };
        }
        Ok(())
    }

    /// An inode without links leaves memory: frees it with all that it has.
    pub fn free(&self, watch: &mut dyn Watch, node: &Shared) -> Result {
        let vol = &self.vol;
        let kind = node.borrow().attrs.kind();
        if node.borrow().core.map.sectors() == 0 {
            // Nothing is mapped.
        } else if kind == FileKind::Regular {
            self.shrink(watch, node, 0, 0)?;
        } else {
            self.free_metadata_blocks(watch, node)?;
        }
        let credits = WRITE_CREDITS
            + 1
            + 1
            + vol.space.credits_free(1)
            + ORPHAN_CREDITS
            + vol.space.credits_free_inode();
        let mut tx = vol.store.begin(credits, 1)?;
        let node = &mut *node.borrow_mut();
        node.write(self, &mut tx)?;
        self.orphans.remove(vol, &mut tx, node.ino())?;
        set_dtime(vol, &mut tx, node.ino(), 1_700_000_000)?;
        let is_dir = kind == FileKind::Directory;
        vol.space.free_inode(vol, &mut tx, node.ino(), is_dir)?;
        drop(tx);
        node.core.map.evict(vol);
        Ok(())
    }

    /// Deals with the orphans that a crash has left. Gives how many there were.
    pub fn finish_orphans(&self, watch: &mut dyn Watch) -> Result<usize> {
        let vol = &self.vol;
        let (nr, offset) = vol.layout.super_location();
        let raw = vol
            .store
            .read(nr, iomapfs_core::disk::superblock::SuperFormat::new(offset))?;
        let raw = raw.with(|bytes| {
            iomapfs_core::disk::superblock::RawSuper::from_block(bytes, offset).cloned()
        });
        let raw = raw.ok_or(EUCLEAN)?;
        if raw.state.get() & STATE_ERROR != 0 {
            return Err(EUCLEAN);
        }
        let orphans = self.orphans.left_over(vol, &raw)?;
        for ino in orphans.iter() {
            let node = Node::new(self, Inode::read_orphan(vol, *ino)?);
            if node.borrow().attrs.nlink == 0 {
                self.free(watch, &node)?;
                continue;
            }
            if node.borrow().attrs.kind() == FileKind::Regular {
                let size = node.borrow().core.disk_size;
                let from = vol.layout.block_size().blocks_for(size) as u32;
                self.shrink(watch, &node, from, size)?;
            }
            let mut tx = vol.store.begin(ORPHAN_CREDITS, 0)?;
            self.orphans.remove(vol, &mut tx, *ino)?;
        }
        Ok(orphans.len())
    }
}
