// SPDX-License-Identifier: GPL-2.0

//! The inodes of a mounted image, as the VFS would hold them, and what is done with them.

use arbitrary::Unstructured;
use iomapfs_core::disk::inode::{FileKind, InodeFlags, Time};
use iomapfs_core::disk::xattr::{XattrFormat, XattrHeader};
use iomapfs_core::disk::{CsumSeed, Group, Ino, LogicalBlock, PhysBlock};
use iomapfs_core::host::{HostStore, Tx};
use iomapfs_core::inode::{dtime, set_dtime, Attrs, Content, Inode};
use iomapfs_core::map::{Credits, FileMap, Progress, State};
use iomapfs_core::names::{self, Cursor, Directory, FileType, Params};
use iomapfs_core::space::{Goal, Run};
use iomapfs_core::store::{Store, Transaction};
use iomapfs_core::volume::Volume;
use kernel::error::{code::*, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

type Vol = Volume<HostStore>;

/// Inodes that are held at most.
const MOST_NODES: usize = 48;
/// Names that are listed of one directory at most.
const MOST_NAMES: usize = 1500;
/// Revokes for a name that is inserted, as in the module.
const INSERT_REVOKES: u32 = 2;

/// An inode in memory. There is one for each number.
pub(super) struct Node {
    pub(super) inode: RefCell<Inode>,
    attrs: Attrs,
    index_failed: Cell<bool>,
}

impl Node {
    fn new((inode, attrs): (Inode, Attrs)) -> Self {
        Self {
            inode: RefCell::new(inode),
            attrs,
            index_failed: Cell::new(false),
        }
    }

    fn write(&self, vol: &Vol, tx: &mut Tx<'_>) -> Result {
        self.inode.borrow().write(vol, tx, &self.attrs)
    }
}

/// A directory with its volume.
struct Dir<'d> {
    vol: &'d Vol,
    node: &'d mut Node,
}

impl Directory<HostStore> for Dir<'_> {
    fn store(&self) -> &HostStore {
        &self.vol.store
    }

    fn params(&self) -> Params {
        Params::new(&self.vol.layout)
    }

    fn ino(&self) -> Ino {
        self.node.inode.borrow().ino
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.node.inode.borrow().seed
    }

    fn blocks(&self) -> u32 {
        let size = self.node.inode.borrow().disk_size;
        let blocks = self.vol.layout.block_size().blocks_for(size);
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    fn is_indexed(&self) -> bool {
        self.node.inode.borrow().flags.has(InodeFlags::INDEX)
    }

    fn set_indexed(&mut self, indexed: bool) {
        let flags = &mut self.node.inode.get_mut().flags;
        *flags = match indexed {
            true => flags.with(InodeFlags::INDEX),
            false => flags.without(InodeFlags::INDEX),
        };
    }

    fn index_failed(&self) -> bool {
        self.node.index_failed.get()
    }

    fn set_index_failed(&self) {
        self.node.index_failed.set(true);
    }

    fn map(&self, at: LogicalBlock) -> Result<Option<PhysBlock>> {
        let mapping = self.node.inode.borrow_mut().map.lookup(self.vol, at, 1)?;
        Ok(mapping.phys.filter(|_| mapping.state == State::Written))
    }

    fn append(&mut self, tx: &mut Tx<'_>) -> Result<(LogicalBlock, PhysBlock)> {
        let at = LogicalBlock::new(self.blocks());
        let inode = self.node.inode.get_mut();
        let run = inode.map.allocate(self.vol, tx, at, 1, goal(), false)?;
        inode.disk_size += u64::from(self.vol.layout.block_size().bytes());
        Ok((at, run.start))
    }
}

impl Dir<'_> {
    /// Credits for a name that is inserted, with the inode of the directory.
    fn insert_credits(&self) -> u32 {
        let depth = self.node.inode.borrow().map.depth().saturating_add(1);
        let append = FileMap::commit_credits(self.vol, depth).blocks;
        names::insert_credits(append) + Inode::WRITE_CREDITS
    }
}

fn goal() -> Goal {
    Goal {
        near: None,
        group: Group::new(0),
        stream: false,
    }
}

/// A name that was seen.
#[derive(Clone)]
struct Seen {
    dir: u32,
    name: Vec<u8>,
    ino: u32,
}

/// The use of one image.
pub(super) struct Walk<'w, 'd> {
    vol: &'w Vol,
    u: &'w mut Unstructured<'d>,
    nodes: BTreeMap<u32, Node>,
    seen: Vec<Seen>,
    /// Whether an error came or something was reported.
    flawed: bool,
    reported: bool,
    made: u32,
}

impl<'w, 'd> Walk<'w, 'd> {
    pub(super) fn new(vol: &'w Vol, u: &'w mut Unstructured<'d>) -> Self {
        Self {
            vol,
            u,
            nodes: BTreeMap::new(),
            seen: Vec::new(),
            flawed: false,
            reported: false,
            made: 0,
        }
    }

    /// Takes note of how something ended.
    fn note(&mut self, result: Result) {
        let reports = self.vol.store.take_reports();
        assert!(reports.len() < 300, "{} reports at once", reports.len());
        assert!(reports.iter().all(|line| !line.trim().is_empty()));
        self.reported |= !reports.is_empty();
        self.flawed |= !reports.is_empty();
        if let Err(error) = result {
            assert!(
                error != EUCLEAN || self.reported,
                "EUCLEAN, and nothing was said"
            );
            self.flawed |= ![ENOSPC, EEXIST, ENOENT, EMLINK].contains(&error);
        }
    }

    /// Looks at all that can be reached, as far as it goes.
    pub(super) fn look(&mut self) {
        let mut todo = vec![Ino::ROOT.get()];
        let mut done = Vec::new();
        self.seen.clear();
        while let Some(ino) = todo.pop() {
            if done.contains(&ino) || done.len() >= MOST_NODES {
                continue;
            }
            done.push(ino);
            let Some(mut node) = self.take(ino) else {
                continue;
            };
            let looked = node.check_map(self.vol);
            self.note(looked);
            let looked = self.look_at_attributes(&node);
            self.note(looked);
            if node.attrs.kind() == FileKind::Directory {
                let first = self.seen.len();
                let listed = self.list(ino, &mut node);
                self.note(listed);
                let new = self.seen[first..].iter().map(|seen| seen.ino);
                todo.extend(new.filter(|ino| !done.contains(ino)));
                todo.sort_unstable();
                todo.dedup();
            }
            self.nodes.insert(ino, node);
        }
    }

    /// The inode, to be put back.
    fn take(&mut self, ino: u32) -> Option<Node> {
        if let Some(node) = self.nodes.remove(&ino) {
            return Some(node);
        }
        match Inode::read(self.vol, Ino::new(ino)?) {
            Ok(read) => {
                self.note(Ok(()));
                Some(Node::new(read))
            }
            Err(error) => {
                self.note(Err(error));
                self.flawed = true;
                None
            }
        }
    }

    fn look_at_attributes(&self, node: &Node) -> Result {
        let inode = node.inode.borrow();
        let seed = self.vol.layout.csum_seed();
        if let Some(nr) = inode.file_acl {
            self.vol.store.read(nr, XattrFormat { seed })?;
        }
        dtime(self.vol, inode.ino)?;
        if let Some(target) = inode.fast_target() {
            assert!(target.len() <= Inode::MAX_FAST_TARGET);
        }
        Ok(())
    }

    /// Lists a directory in pieces, and looks its names up.
    fn list(&mut self, ino: u32, node: &mut Node) -> Result {
        let dir = Dir {
            vol: self.vol,
            node,
        };
        let narrow = self.u.ratio(1, 8).unwrap_or(false);
        let piece = self.u.int_in_range(1..=200).unwrap_or(50);
        let mut cursor = Cursor::new(narrow);
        let mut found: Vec<Seen> = Vec::new();
        let mut calls = 0;
        loop {
            let mut room = piece;
            let progress = names::readdir(&dir, &mut cursor, |listed| {
                assert!(!listed.name.is_empty() && listed.name.len() <= 255);
                assert!(listed.ino.get() <= self.vol.layout.inodes_count());
                if room == 0 {
                    return false;
                }
                room -= 1;
                if !matches!(listed.name, b"." | b"..") {
                    found.push(Seen {
                        dir: ino,
                        name: listed.name.to_vec(),
                        ino: listed.ino.get(),
                    });
                }
                true
            });
            calls += 1;
            assert!(calls < 100_000, "a directory without end");
            match progress {
                Ok(names::Progress::End) => break,
                Ok(_) if found.len() < MOST_NAMES => {}
                Ok(_) => break,
                Err(error) => {
                    self.seen.append(&mut found);
                    return Err(error);
                }
            }
        }
        let step = found.len() / 12 + 1;
        for seen in found.iter().step_by(step) {
            names::lookup(&dir, &seen.name)?;
        }
        names::lookup(&dir, b"not there")?;
        names::lookup(&dir, b"..")?;
        names::is_empty(&dir)?;
        self.seen.append(&mut found);
        Ok(())
    }

    /// Changes this and that.
    pub(super) fn change(&mut self) {
        for _ in 0..self.u.int_in_range(2..=24).unwrap_or(2) {
            if self.u.is_empty() {
                break;
            }
            let result = self.one_change();
            self.note(result);
        }
    }

    fn number(&mut self, most: u32) -> u32 {
        self.u.int_in_range(0..=most).unwrap_or(0)
    }

    fn one_change(&mut self) -> Result {
        match self.number(13) {
            0..=1 => self.create(false),
            2 => self.create(true),
            3..=4 => self.unlink(),
            5 => self.rename(),
            6 => self.link(),
            7..=8 => self.write(),
            9 => self.preallocate(),
            10..=11 => self.truncate(),
            12 => self.commit(),
            _ => {
                // Everything is read and checked again.
                for (_, node) in std::mem::take(&mut self.nodes) {
                    node.inode.into_inner().map.evict(self.vol);
                }
                self.vol.store.drop_cache();
                self.vol.space.shrink(u32::MAX);
                Ok(())
            }
        }
    }

    /// A directory among the inodes that are held.
    fn some_dir(&mut self) -> Option<(u32, Node)> {
        self.some(|kind| kind == FileKind::Directory)
    }

    fn some(&mut self, wanted: impl Fn(FileKind) -> bool) -> Option<(u32, Node)> {
        let all: Vec<u32> = self
            .nodes
            .iter()
            .filter(|(_, node)| wanted(node.attrs.kind()))
            .map(|(ino, _)| *ino)
            .collect();
        let nr = self.number(all.len().checked_sub(1)? as u32);
        let ino = all[nr as usize];
        Some((ino, self.nodes.remove(&ino)?))
    }

    fn new_name(&mut self) -> Vec<u8> {
        self.made += 1;
        let len = 8 + self.number(60) as usize;
        format!("{:0len$}", self.made).into_bytes()
    }

    fn create(&mut self, directory: bool) -> Result {
        let Some((parent, mut node)) = self.some_dir() else {
            return Ok(());
        };
        let name = self.new_name();
        let made = self.create_in(&mut node, &name, directory);
        self.nodes.insert(parent, node);
        let (ino, new) = made?;
        self.seen.push(Seen {
            dir: parent,
            name,
            ino,
        });
        self.nodes.insert(ino, new);
        Ok(())
    }

    fn create_in(
        &mut self,
        parent: &mut Node,
        name: &[u8],
        directory: bool,
    ) -> Result<(u32, Node)> {
        let vol = self.vol;
        let mut dir = Dir { vol, node: parent };
        if names::lookup(&dir, name)?.is_some() {
            return Err(EEXIST);
        }
        let append = FileMap::commit_credits(vol, 0).blocks;
        let credits = vol.space.credits_alloc_inode()
            + Inode::WRITE_CREDITS
            + append
            + names::make_empty_credits(append)
            + dir.insert_credits();
        let mut tx = vol.store.begin(credits, INSERT_REVOKES)?;
        let ino = vol.space.alloc_inode(vol, &mut tx, dir.ino(), directory)?;
        if self.nodes.contains_key(&ino.get()) || ino == dir.ino() {
            // In use, although its bit is clear. The module reports that, as it finds it in the VFS.
            self.flawed = true;
            return Err(EIO);
        }
        let now = Time {
            sec: 1_700_000_000,
            nsec: 0,
        };
        let attrs = Attrs {
            mode: if directory { 0o040_755 } else { 0o100_644 },
            uid: 0,
            gid: 0,
            nlink: if directory { 2 } else { 1 },
            rdev: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            version: 1,
        };
        let flags = InodeFlags::NONE;
        let inode = Inode::create(vol, &mut tx, ino, &attrs, flags, 5, Content::Mapped)?;
        let mut new = Node::new((inode, attrs));
        let mut file_type = FileType::Regular;
        if directory {
            file_type = FileType::Directory;
            let mut child = Dir {
                vol,
                node: &mut new,
            };
            let made = names::make_empty(&mut child, &mut tx, dir.ino());
            new.write(vol, &mut tx)?;
            made?;
            dir.node.attrs.nlink = dir.node.attrs.nlink.saturating_add(1).min(65000);
        }
        let done = names::insert(&mut dir, &mut tx, name, ino, file_type);
        dir.node.write(vol, &mut tx)?;
        done.map(|()| (ino.get(), new))
    }

    /// A name that was seen, whose directory is held.
    fn some_name(&mut self) -> Option<Seen> {
        let nr = self.number(self.seen.len().checked_sub(1)? as u32);
        let seen = self.seen.swap_remove(nr as usize);
        self.nodes.contains_key(&seen.dir).then_some(seen)
    }

    fn unlink(&mut self) -> Result {
        let Some(seen) = self.some_name() else {
            return Ok(());
        };
        if seen.ino == seen.dir {
            return Ok(());
        }
        let vol = self.vol;
        let Some(mut child) = self.take(seen.ino) else {
            return Ok(());
        };
        let Some(mut parent) = self.nodes.remove(&seen.dir) else {
            self.nodes.insert(seen.ino, child);
            return Ok(());
        };
        let is_dir = child.attrs.kind() == FileKind::Directory;
        let mut last = false;
        let done = (|| {
            if is_dir {
                let dir = Dir {
                    vol,
                    node: &mut child,
                };
                if !names::is_empty(&dir)? {
                    return Ok(());
                }
            }
            let mut dir = Dir {
                vol,
                node: &mut parent,
            };
            let credits = names::CHANGE_CREDITS + 2 * Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, 0)?;
            let ino = Ino::new(seen.ino).ok_or(EINVAL)?;
            names::remove(&mut dir, &mut tx, &seen.name, ino)?;
            let links = &mut child.attrs.nlink;
            *links = match is_dir {
                true => 0,
                false => links.saturating_sub(1),
            };
            last = *links == 0;
            if is_dir {
                let links = &mut dir.node.attrs.nlink;
                *links = links.saturating_sub(1).max(2);
            }
            dir.node.write(vol, &mut tx)?;
            child.write(vol, &mut tx)
        })();
        self.nodes.insert(seen.dir, parent);
        if last && done.is_ok() && seen.ino != Ino::ROOT.get() {
            return self.free(child);
        }
        self.nodes.insert(seen.ino, child);
        done
    }

    /// Frees an inode with all that it has.
    fn free(&mut self, node: Node) -> Result {
        let vol = self.vol;
        let is_dir = node.attrs.kind() == FileKind::Directory;
        let ino = node.inode.borrow().ino;
        let removed = self.remove(&node, 0, u32::MAX, 0);
        node.inode.borrow_mut().map.evict(vol);
        removed?;
        let credits =
            2 * Inode::WRITE_CREDITS + vol.space.credits_free_inode() + vol.space.credits_free(1);
        let mut tx = vol.store.begin(credits, 1)?;
        let attributes = node.inode.borrow_mut().file_acl.take();
        if let Some(nr) = attributes {
            let sectors = vol.layout.block_size().sectors() as i64;
            node.inode.borrow_mut().map.add_sectors(-sectors);
            let seed = vol.layout.csum_seed();
            let block = vol.store.read(nr, XattrFormat { seed })?;
            let users = block.with(|b| XattrHeader::split(b).map(|(head, _)| head.refcount.get()));
            // Shared blocks are not in the corpus.
            self.flawed |= users != Some(1);
            tx.forget(nr)?;
            vol.space.free(vol, &mut tx, Run { start: nr, len: 1 })?;
        }
        node.write(vol, &mut tx)?;
        set_dtime(vol, &mut tx, ino, 1_700_000_000)?;
        vol.space.free_inode(vol, &mut tx, ino, is_dir)
    }

    fn rename(&mut self) -> Result {
        let (Some(seen), Some((to, mut target))) = (self.some_name(), self.some_dir()) else {
            return Ok(());
        };
        let vol = self.vol;
        let name = self.new_name();
        let ino = Ino::new(seen.ino).ok_or(EINVAL)?;
        let from = self.nodes.remove(&seen.dir);
        let done = (|| {
            let mut dir = Dir {
                vol,
                node: &mut target,
            };
            let credits = dir.insert_credits() + names::CHANGE_CREDITS + Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, INSERT_REVOKES)?;
            let done = names::insert(&mut dir, &mut tx, &name, ino, FileType::Unknown);
            dir.node.write(vol, &mut tx)?;
            done?;
            Ok(())
        })();
        self.nodes.insert(to, target);
        let from = from.or_else(|| (seen.dir == to).then(|| self.nodes.remove(&to))?);
        let Some(mut from) = from else { return done };
        let removed = done.and_then(|()| {
            let mut dir = Dir {
                vol,
                node: &mut from,
            };
            let credits = names::CHANGE_CREDITS + Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, 0)?;
            names::remove(&mut dir, &mut tx, &seen.name, ino)?;
            dir.node.write(vol, &mut tx)
        });
        self.nodes.insert(seen.dir, from);
        // A directory has a new parent.
        if let (Ok(()), Some(mut child)) = (removed, self.nodes.remove(&seen.ino)) {
            let moved = (|| {
                if child.attrs.kind() != FileKind::Directory {
                    return Ok(());
                }
                let mut tx = vol.store.begin(names::CHANGE_CREDITS, 0)?;
                let mut dir = Dir {
                    vol,
                    node: &mut child,
                };
                names::set_dotdot(&mut dir, &mut tx, Ino::new(to).ok_or(EINVAL)?)
            })();
            self.nodes.insert(seen.ino, child);
            // Its link counts are not kept right here.
            self.flawed = true;
            return moved;
        }
        removed
    }

    fn link(&mut self) -> Result {
        let Some((parent, mut node)) = self.some_dir() else {
            return Ok(());
        };
        let vol = self.vol;
        let name = self.new_name();
        let file = self.some(|kind| kind == FileKind::Regular);
        let mut done = Ok(());
        if let Some((ino, mut file)) = file {
            done = (|| {
                let mut dir = Dir {
                    vol,
                    node: &mut node,
                };
                let credits = dir.insert_credits() + Inode::WRITE_CREDITS;
                let mut tx = vol.store.begin(credits, INSERT_REVOKES)?;
                if file.attrs.nlink >= 65000 {
                    return Err(EMLINK);
                }
                let nr = Ino::new(ino).ok_or(EINVAL)?;
                let done = names::insert(&mut dir, &mut tx, &name, nr, FileType::Regular);
                if done.is_ok() {
                    file.attrs.nlink += 1;
                    file.write(vol, &mut tx)?;
                }
                dir.node.write(vol, &mut tx)?;
                done
            })();
            self.nodes.insert(ino, file);
        }
        self.nodes.insert(parent, node);
        done
    }

    /// Blocks of the file to begin with: where it ends, somewhere in it, or far behind.
    fn some_block(&mut self, node: &Node) -> u32 {
        let size = node.inode.borrow().disk_size;
        let end = self.vol.layout.block_size().blocks_for(size);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        match self.number(5) {
            0 => end,
            1..=3 => self.number(end.min(400)),
            4 => self.number(2000),
            _ => u32::MAX - self.number(40),
        }
    }

    /// Writes: blocks are chosen, and then committed.
    fn write(&mut self) -> Result {
        let Some((ino, node)) = self.some(|kind| kind == FileKind::Regular) else {
            return Ok(());
        };
        let at = self.some_block(&node);
        let len = 1 + self.number(12);
        let delayed = self.number(1) == 0;
        let done = self.write_to(&node, at, len, delayed);
        self.nodes.insert(ino, node);
        done
    }

    fn write_to(&mut self, node: &Node, at: u32, len: u32, delayed: bool) -> Result {
        let vol = self.vol;
        let block = LogicalBlock::new;
        let end = block(at).saturating_add(len);
        let mut next = block(at);
        node.inode.borrow_mut().map.add_writer();
        while next < end {
            let map = &mut node.inode.borrow_mut().map;
            if delayed {
                map.reserve(vol, next, end.get() - next.get(), false)?;
            }
            let chosen = map.choose(vol, next, end.get() - next.get(), goal(), false)?;
            assert!(chosen.end() > next);
            next = chosen.end();
        }
        let mut next = block(at);
        let done = self.steps(
            node,
            FileMap::commit_credits,
            |vol, map, tx, granted| {
                let progress = map.commit(vol, tx, next, end.get() - next.get(), granted)?;
                if let Progress::Again(at) = progress {
                    next = at;
                }
                Ok(progress)
            },
            Some(u64::from(end.get()) << vol.layout.block_size().bits()),
        );
        node.inode.borrow_mut().map.remove_writer(vol);
        done
    }

    /// Runs steps in handles with just what they ask for, and writes the inode.
    fn steps(
        &self,
        node: &Node,
        credits: impl Fn(&Vol, u16) -> Credits,
        mut step: impl FnMut(&Vol, &mut FileMap, &mut Tx<'_>, Credits) -> Result<Progress>,
        size: Option<u64>,
    ) -> Result {
        let vol = self.vol;
        let depth = || node.inode.borrow().map.snapshot().depth();
        let mut granted = credits(vol, depth());
        let more = Inode::WRITE_CREDITS;
        let mut tx = vol.store.begin(granted.blocks + more, granted.revokes)?;
        for _ in 0..100_000 {
            let progress = {
                let mut inode = node.inode.borrow_mut();
                if let Some(size) = size {
                    inode.disk_size = inode.disk_size.max(size).min(vol.layout.max_file_size());
                }
                step(vol, &mut inode.map, &mut tx, granted)
            };
            node.write(vol, &mut tx)?;
            if let Progress::Done = progress? {
                return Ok(());
            }
            granted = credits(vol, depth());
            tx.ensure(granted.blocks + more, granted.revokes)?;
        }
        panic!("a map that is changed without end");
    }

    fn preallocate(&mut self) -> Result {
        let Some((ino, node)) = self.some(|kind| kind == FileKind::Regular) else {
            return Ok(());
        };
        let at = LogicalBlock::new(self.some_block(&node).min(u32::MAX - 100));
        let len = 1 + self.number(30);
        let vol = self.vol;
        let done = (|| {
            let granted = FileMap::commit_credits(vol, node.inode.borrow().map.depth());
            let credits = granted.blocks + Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, granted.revokes)?;
            let map = &mut node.inode.borrow_mut().map;
            map.preallocate(vol, &mut tx, at, len, goal(), false, granted)
                .map(|_| ())
        })();
        let written = vol
            .store
            .begin(Inode::WRITE_CREDITS, 0)
            .and_then(|mut tx| node.write(vol, &mut tx));
        self.nodes.insert(ino, node);
        // Blocks behind the end of a file are right only with a flag.
        self.flawed = true;
        done.and(written)
    }

    fn truncate(&mut self) -> Result {
        let Some((ino, node)) = self.some(|kind| kind == FileKind::Regular) else {
            return Ok(());
        };
        let from = self.some_block(&node);
        let size = u64::from(from) << self.vol.layout.block_size().bits();
        let size = size.min(self.vol.layout.max_file_size());
        let to = match self.number(3) {
            // A hole in the middle.
            0 => from.saturating_add(self.number(20)),
            _ => u32::MAX,
        };
        let size = if to == u32::MAX {
            size
        } else {
            node.inode.borrow().disk_size
        };
        let done = self.remove(&node, from, to, size);
        self.nodes.insert(ino, node);
        done
    }

    fn remove(&self, node: &Node, from: u32, to: u32, size: u64) -> Result {
        let block = LogicalBlock::new;
        let mut end = block(to);
        node.inode.borrow_mut().disk_size = size;
        self.steps(
            node,
            FileMap::remove_credits,
            |vol, map, tx, granted| {
                let progress = map.remove(vol, tx, block(from), end, granted)?;
                if let Progress::Again(at) = progress {
                    end = at;
                }
                Ok(progress)
            },
            None,
        )
    }

    fn commit(&mut self) -> Result {
        let tid = self.vol.store.commit()?;
        self.vol.space.committed(tid, |_| ());
        if self.number(1) == 0 {
            self.vol.store.checkpoint();
        }
        Ok(())
    }

    /// Gives everything up, and says whether all went as on a good image.
    pub(super) fn end(mut self) -> bool {
        for (_, node) in std::mem::take(&mut self.nodes) {
            node.inode.into_inner().map.evict(self.vol);
        }
        let done = self.commit();
        self.note(done);
        !self.flawed
    }
}
