// SPDX-License-Identifier: GPL-2.0

//! A file system at work: inodes in memory, names, and all of what a user and the machine do to it.

use crate::broken::Broken;
use crate::check::Tree;
use crate::device::Bytes;
use crate::file::Page;
use crate::journal::{format::Super, Journal};
use crate::model::{self, Content, State, Version};
use crate::mount::{change_super, Mount, Node, Shared};
use crate::steps::What;
use crate::world::World;
use iomapfs_core::disk::inode::FileKind;
use iomapfs_core::disk::{Ino, LogicalBlock};
use iomapfs_core::host::{Device, Restart};
use iomapfs_core::inode::Inode;
use iomapfs_core::map::State as BlockState;
use kernel::error::{code::*, Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Data on its way to the device.
pub struct Flight {
    /// The file.
    pub ino: u32,
    /// Its first block.
    pub from: u32,
    /// The block behind the last.
    pub to: u32,
    /// The byte behind the last.
    pub end: u64,
    /// Block of the file and number of the write.
    pub ids: Vec<(u32, usize)>,
    /// Whether the blocks must be mapped when it is done.
    pub unwritten: bool,
    /// Whether it does not come from the page cache.
    pub direct: bool,
}

impl Flight {
    /// Whether block `at` is a part of it.
    pub fn covers(&self, at: u32) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// See the top of the file.
pub struct Sim {
    /// The mount.
    pub mount: Rc<Mount>,
    /// The device, the journal and the model.
    pub world: World,
    /// The inodes in memory.
    pub nodes: BTreeMap<u32, Shared>,
    /// The inodes that somebody has open.
    pub open: BTreeSet<u32>,
    /// The page cache: inode, file block.
    pub pages: BTreeMap<(u32, u32), Page>,
    /// What users must see in the blocks that were written: inode, file block.
    pub shadow: BTreeMap<(u32, u32), Vec<u8>>,
    /// Data on its way.
    pub flights: Vec<Flight>,
    /// Size of a block.
    pub block_size: u32,
    /// The rule that is broken, if any.
    pub broken: Broken,
    restart: Restart,
    version: u32,
    generation: u32,
}

/// How a run begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Where in the journal, more or less.
    pub head: u32,
    /// When handles restart.
    pub restart: Restart,
    /// The number of writes before.
    pub version: u32,
    /// The rule that is broken, if any.
    pub broken: Broken,
}

impl Sim {
    /// Mounts `device`, whose journal is empty, and deals with the orphans on it; `tree` is what must be there then.
    ///
    /// # Errors
    ///
    /// Why the core does not take it.
    pub fn new(device: Device, tree: &Tree, start: Start) -> Result<Self, String> {
        let (mount, journal) =
            Self::mount(device.clone(), start.head, start.restart, start.broken)?;
        let mut sim = Self {
            world: World::new(journal, adopt(tree, &device), &mount, start.broken),
            block_size: mount.vol.layout.block_size().bytes(),
            mount: Rc::new(mount),
            nodes: BTreeMap::new(),
            open: BTreeSet::new(),
            pages: BTreeMap::new(),
            shadow: BTreeMap::new(),
            flights: Vec::new(),
            broken: start.broken,
            restart: start.restart,
            version: start.version,
            generation: start.version,
        };
        let model = sim.world.model.clone();
        let files = model.iter();
        for (ino, inode) in files.filter(|(_, inode)| inode.kind == model::Kind::File) {
            for (at, content) in &inode.blocks {
                let bytes = content.borrow()[0].bytes.to_vec();
                sim.shadow.insert((*ino, *at), bytes);
            }
            sim.cut_shadow(*ino, inode.size);
        }
        let mount = sim.mount.clone();
        mount
            .finish_orphans(&mut sim.world)
            .map_err(|error| format!("orphans: {error:?}"))?;
        Ok(sim)
    }

    fn mount(
        device: Device,
        head: u32,
        restart: Restart,
        broken: Broken,
    ) -> Result<(Mount, Journal), String> {
        let mount = Mount::open(device, broken)?;
        mount.vol.store.set_restart(restart);
        let place = mount.journal.clone();
        let sb = mount.vol.store.recovered().read(place.blocks[0]);
        let journal = Journal::new(place, Super::new(&sb)?, head, broken);
        Ok((mount, journal))
    }

    /// The inode in memory; it comes there if it is not.
    pub fn node(&mut self, ino: u32) -> Shared {
        let mount = &self.mount;
        let node = self.nodes.entry(ino).or_insert_with(|| {
            let ino = Ino::new(ino).expect("a number of an inode");
            let read = Inode::read(&mount.vol, ino);
            Node::new(mount, read.expect("the inode can be read"))
        });
        node.clone()
    }

    /// How many writes there were.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// A number for the next write.
    pub fn next_version(&mut self) -> u32 {
        self.version += 1;
        self.version
    }

    /// Does something that may need space; if there is none, again when all that can be had is free.
    pub fn with_retry<R>(&mut self, mut f: impl FnMut(&mut Self) -> Result<R>) -> Result<R> {
        match f(self) {
            Err(error) if error == ENOSPC => {
                let mount = self.mount.clone();
                for node in self.nodes.values() {
                    node.borrow_mut().core.map.release_window(&mount.vol);
                }
                if mount.vol.space.pending_free() > 0 {
                    self.world.close(&mount);
                    self.world.finish_writing(&mount);
                }
                f(self)
            }
            result => result,
        }
    }

    /// What has committed must not be lost from now on.
    pub fn promise(&mut self) {
        let now = self.world.trace.now();
        let last = self.world.journal.committed();
        self.world.history.promise(now, last);
    }

    /// Makes something with a name. `None` where there is no space.
    pub fn create(&mut self, dir: u32, name: &[u8], what: What<'_>) -> Option<u32> {
        let parent = self.node(dir);
        self.generation += 1;
        let generation = self.generation.wrapping_mul(0x9e37_79b9);
        let mut spoiled = Vec::new();
        let made = self.with_retry(|sim| {
            let made = sim.mount.create(&parent, name, what, generation);
            made.map_err(|(error, left)| {
                spoiled.extend(left);
                error
            })
        });
        for node in spoiled {
            let mount = self.mount.clone();
            mount.free(&mut self.world, &node).expect("it is freed");
        }
        let node = made.inspect_err(|error| no_space(*error)).ok()?;
        let (ino, links) = (node.borrow().ino().get(), node.borrow().attrs.nlink);
        let (kind, target) = match what {
            What::File => (model::Kind::File, Vec::new()),
            What::Dir => (model::Kind::Dir, Vec::new()),
            What::Link(target) => (model::Kind::Link, target.to_vec()),
        };
        let inode = model::Inode {
            kind,
            links,
            size: target.len() as u64,
            blocks: BTreeMap::new(),
            names: BTreeMap::new(),
            parent: dir,
            target,
            synced: Rc::default(),
        };
        assert!(
            !self.nodes.contains_key(&ino) && !self.world.model.contains_key(&ino),
            "inode {ino} is in use and was taken again"
        );
        self.nodes.insert(ino, node);
        self.world.model.insert(ino, Rc::new(inode));
        self.world.inode(dir).names.insert(name.to_vec(), ino);
        self.note_links(dir);
        Some(ino)
    }

    fn note_links(&mut self, ino: u32) {
        let links = self.node(ino).borrow().attrs.nlink;
        self.world.inode(ino).links = links;
    }

    /// `link`
    pub fn link(&mut self, ino: u32, dir: u32, name: &[u8]) {
        let (node, parent) = (self.node(ino), self.node(dir));
        let done = self.with_retry(|sim| sim.mount.link(&node, &parent, name));
        if done.inspect_err(|error| no_space(*error)).is_ok() {
            self.world.inode(dir).names.insert(name.to_vec(), ino);
            self.world.inode(ino).links += 1;
            assert_eq!(node.borrow().attrs.nlink, self.world.inode(ino).links);
        }
    }

    /// `unlink` and `rmdir`
    pub fn unlink(&mut self, dir: u32, name: &[u8]) {
        let ino = self.world.model[&dir].names[name];
        let (node, parent) = (self.node(ino), self.node(dir));
        let empty = self.world.model[&ino].names.is_empty();
        match self.mount.unlink(&parent, name, &node) {
            Ok(()) => assert!(empty, "directory {ino} was removed with names in it"),
            Err(error) => {
                assert!(error == ENOTEMPTY && !empty, "unlink: {error:?}");
                return;
            }
        }
        self.world.inode(dir).names.remove(name);
        self.lost_name(ino);
        self.note_links(dir);
    }

    fn lost_name(&mut self, ino: u32) {
        self.note_links(ino);
        if !self.open.contains(&ino) {
            self.put(ino);
        }
    }

    /// Nobody uses the inode any more: it is freed if it has no links.
    pub fn put(&mut self, ino: u32) {
        let node = self.node(ino);
        if node.borrow().attrs.nlink > 0 {
            return;
        }
        self.drop_all_pages(ino);
        self.cut_shadow(ino, 0);
        let mount = self.mount.clone();
        mount.free(&mut self.world, &node).expect("it is freed");
        self.nodes.remove(&ino);
        self.world.model.remove(&ino);
    }

    /// `rename`; whether it is allowed is for the caller.
    pub fn rename(&mut self, from: (u32, &[u8]), to: (u32, &[u8])) {
        let ino = self.world.model[&from.0].names[from.1];
        let victim = self.world.model[&to.0].names.get(to.1).copied();
        let (old_dir, new_dir, node) = (self.node(from.0), self.node(to.0), self.node(ino));
        let gone = victim.map(|victim| self.node(victim));
        let done = self.with_retry(|sim| {
            let (old, new) = ((&old_dir, from.1), (&new_dir, to.1));
            sim.mount.rename(old, new, &node, gone.as_ref())
        });
        match done {
            Ok(()) => {}
            Err(error) if error == ENOTEMPTY => return,
            Err(error) => return no_space(error),
        }
        self.world.inode(from.0).names.remove(from.1);
        self.world.inode(to.0).names.insert(to.1.to_vec(), ino);
        if self.world.model[&ino].kind == model::Kind::Dir {
            self.world.inode(ino).parent = to.0;
        }
        self.note_links(from.0);
        self.note_links(to.0);
        if let Some(victim) = victim {
            self.lost_name(victim);
        }
    }

    /// Opens a file for writing.
    pub fn open(&mut self, ino: u32) {
        if self.open.insert(ino) {
            self.node(ino).borrow_mut().core.map.add_writer();
        }
    }

    /// Closes it.
    pub fn close(&mut self, ino: u32) {
        if self.open.remove(&ino) {
            let node = self.node(ino);
            let mount = self.mount.clone();
            node.borrow_mut().core.map.remove_writer(&mount.vol);
            self.put(ino);
        }
    }

    /// An inode that nobody uses leaves memory.
    pub fn forget(&mut self, ino: u32) {
        if self.open.contains(&ino) {
            return;
        }
        let node = self.node(ino);
        if self.world.model[&ino].kind == model::Kind::File {
            self.write_and_wait(&node, 0, u32::MAX);
        }
        self.drop_all_pages(ino);
        node.borrow_mut().core.map.evict(&self.mount.vol);
        self.nodes.remove(&ino);
    }

    /// `sync`
    pub fn sync(&mut self) {
        let all: Vec<Shared> = self.nodes.values().cloned().collect();
        for node in &all {
            if node.borrow().attrs.kind() == FileKind::Regular {
                self.write_and_wait(node, 0, u32::MAX);
            }
        }
        let mount = self.mount.clone();
        self.world.close(&mount);
        self.world.finish_writing(&mount);
        self.world.trace.flush();
        let now = self.world.trace.now();
        self.world.history.synced(now);
        self.promise();
    }

    /// Unmounts and mounts again.
    ///
    /// # Errors
    ///
    /// Why the core does not take it again.
    pub fn remount(&mut self) -> Result<(), String> {
        for ino in self.open.clone() {
            self.close(ino);
        }
        self.sync();
        for ino in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.forget(ino);
        }
        let mount = self.mount.clone();
        self.world.close(&mount);
        self.world.finish_writing(&mount);
        self.world.place(&mount, usize::MAX, 0);
        self.world.journal.mark_empty(&mut self.world.trace);
        self.promise();
        let counts = mount.vol.space.counts();
        if counts.free_blocks != counts.free_blocks_on_disk {
            return Err(format!("unmount: blocks are still reserved: {counts:?}"));
        }
        let mut device = mount.vol.store.recovered();
        let sb = self.world.journal.super_block();
        device.write(mount.journal.blocks[0], sb.bytes().into());
        let orphan_file = mount.vol.layout.orphan_file_ino().is_some();
        let (nr, bytes) = change_super(&mut device, |raw| {
            raw.set_free(counts.free_blocks_on_disk, counts.free_inodes as u32);
            raw.set_needs_recovery(false);
            raw.set_orphan_present(false);
        });
        self.world.trace.fua(nr, Bytes::from(&*bytes));
        let head = self.world.journal.head();
        let (mount, journal) = Self::mount(device.clone(), head, self.restart, self.broken)?;
        let (nr, bytes) = change_super(&mut device, |raw| {
            raw.set_needs_recovery(true);
            if orphan_file {
                raw.set_orphan_present(true);
            }
        });
        self.world.trace.fua(nr, Bytes::from(&*bytes));
        // The core's own copy of it.
        drop(mount);
        let (mount, journal) = {
            let _ = journal;
            Self::mount(device, head, self.restart, self.broken)?
        };
        self.world.remounted(journal, &mount);
        self.mount = Rc::new(mount);
        Ok(())
    }

    /// Memory is short: caches are given up.
    pub fn shrink_caches(&mut self) {
        for node in self.nodes.values() {
            node.borrow_mut().core.map.shrink(usize::MAX);
        }
        self.mount.vol.store.drop_cache();
        self.mount.vol.space.shrink(u32::MAX);
    }

    /// Between two operations: what jbd2's thread would do by itself.
    pub fn tick(&mut self, limit: usize) {
        let mount = self.mount.clone();
        if mount.vol.store.changed_blocks().len() > limit {
            self.world.close(&mount);
        }
        if self.world.journal.room() < 300 {
            self.world.close(&mount);
            self.world.finish_writing(&mount);
            self.world.place(&mount, usize::MAX, 0);
            self.world.journal.move_tail(&mut self.world.trace);
        }
    }

    /// What the core complained about, which is an error: nothing on the device is bad.
    ///
    /// # Errors
    ///
    /// The complaints.
    pub fn complaints(&self) -> Result<(), String> {
        let reports = self.mount.vol.store.take_reports();
        match reports.is_empty() {
            true => Ok(()),
            false => Err(format!("the core reports {reports:?}")),
        }
    }

    /// Compares what is on the device with what was written there last, file by file.
    ///
    /// # Errors
    ///
    /// What differs.
    pub fn check_mapped(&mut self) -> Result<(), String> {
        let files: Vec<u32> = self.nodes.keys().copied().collect();
        for ino in files {
            let inode = self.world.model[&ino].clone();
            if inode.kind != model::Kind::File {
                continue;
            }
            let node = self.node(ino);
            for (at, content) in &inode.blocks {
                let map = &mut node.borrow_mut().core.map;
                let found = map.lookup(&self.mount.vol, LogicalBlock::new(*at), 1);
                let found = found.map_err(|error| format!("{error:?}"))?;
                let phys = found.phys.filter(|_| found.state == BlockState::Written);
                let phys = phys.ok_or(format!("inode {ino}: block {at} is {:?}", found.state))?;
                let is = self.mount.vol.store.read_data(phys);
                let versions = content.borrow();
                if versions.last().is_none_or(|last| *last.bytes != *is) {
                    return Err(format!(
                        "inode {ino}: block {at}, on {}, has {}",
                        phys.get(),
                        model::describe(&is)
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What is on a device, as the model of it.
fn adopt(tree: &Tree, device: &Device) -> State {
    let content = |nr: u64| -> Content {
        Rc::new(RefCell::new(vec![Version {
            bytes: device.read(nr),
            submitted: 0,
            done: Some(0),
        }]))
    };
    tree.iter()
        .map(|(ino, found)| {
            let blocks = found.blocks.iter().map(|(at, nr)| (*at, content(*nr)));
            let inode = model::Inode {
                kind: found.kind,
                links: found.links,
                size: found.size,
                blocks: match found.kind {
                    model::Kind::File => blocks.collect(),
                    _ => BTreeMap::new(),
                },
                names: found.names.clone(),
                parent: found.parent,
                target: found.target.clone(),
                synced: Rc::default(),
            };
            (*ino, Rc::new(inode))
        })
        .collect()
}

/// An operation may fail for lack of space, and for nothing else.
fn no_space(error: Error) {
    assert!(error == ENOSPC, "an operation failed: {error:?}");
}
