// SPDX-License-Identifier: GPL-2.0

//! A file system at work: what is in memory of it. What is done to names is in [`tree`](crate::tree), to data in
//! [`file`](crate::file), to all at once in [`machine`](crate::machine).

use crate::broken::Broken;
use crate::check::Tree;
use crate::file::{Flight, Page};
use crate::journal::{format::Super, Journal};
use crate::model::{self, Content, State, Version};
use crate::mount::{Mount, Shared};
use crate::world::World;
use iomapfs_core::change::Live;
use iomapfs_core::disk::{Ino, LogicalBlock};
use iomapfs_core::host::{Device, Node, Restart};
use kernel::error::{code::*, Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Blocks that trees of extents and directories may grow by in one operation, more or less.
const TREE: u64 = 5;

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
    pub(crate) restart: Restart,
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
            .finish_orphans(Some(&mut sim.world))
            .map_err(|error| format!("orphans: {error:?}"))?;
        Ok(sim)
    }

    pub(crate) fn mount(
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
            Node::get(mount, ino).expect("the inode can be read")
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

    /// A number for the next inode.
    pub fn next_generation(&mut self) -> u32 {
        self.generation += 1;
        self.generation.wrapping_mul(0x9e37_79b9)
    }

    /// All files give back the blocks that were chosen ahead for them.
    pub fn release_windows(&mut self) {
        for node in self.nodes.values() {
            node.map_lock().map.release_window(&self.mount.vol);
        }
    }

    /// Commits, so that what was freed can be used again.
    pub fn reclaim_freed(&mut self) {
        let mount = self.mount.clone();
        self.world.close(&mount);
        self.world.finish_writing(&mount);
    }

    /// Does something with names that may need space; if there is none, again when all that can be had is free.
    pub fn with_retry<R>(&mut self, mut f: impl FnMut(&mut Self) -> Result<R>) -> Result<R> {
        match f(self) {
            Err(error) if error == ENOSPC => {
                self.release_windows();
                if self.mount.vol.space.pending_free() > 0 {
                    self.reclaim_freed();
                }
                f(self)
            }
            result => result,
        }
    }

    /// An operation may fail for lack of space, of so many blocks or an inode if it takes one, and for nothing else.
    ///
    /// # Panics
    ///
    /// Where it was another error, or there is space.
    pub fn no_space(&self, error: Error, blocks: u64, takes_inode: bool) {
        assert!(error == ENOSPC, "an operation failed: {error:?}");
        let (space, layout) = (&self.mount.vol.space, &self.mount.vol.layout);
        let counts = space.counts();
        // What was tried has left blocks that become free by the next commit only.
        let free = counts.free_blocks.saturating_sub(space.pending_free());
        let free = free.saturating_sub(layout.set_aside_blocks());
        // Each block that is still to be mapped may need a node, in a tree that has just become deeper.
        let in_flight = self.flights.iter().filter(|flight| flight.unwritten);
        let delayed = |node: &Shared| u64::from(node.map_lock().map.reserved().0);
        let unmapped = in_flight.count() as u64 + self.nodes.values().map(delayed).sum::<u64>();
        assert!(
            free < blocks + TREE + unmapped || takes_inode && counts.free_inodes == 0,
            "ENOSPC for {blocks} blocks: {counts:?}, {free} of them for users"
        );
    }

    /// What has committed must not be lost from now on.
    pub fn promise(&mut self) {
        let now = self.world.trace.now();
        let last = self.world.journal.committed();
        self.world.history.promise(now, last);
    }

    /// Nobody uses the inode any more: it is freed if it has no links.
    pub fn put(&mut self, ino: u32) {
        let node = self.node(ino);
        if node.links() > 0 {
            return;
        }
        self.drop_all_pages(ino);
        self.cut_shadow(ino, 0);
        self.free(&node);
        self.nodes.remove(&ino);
        self.world.forget(ino);
    }

    /// Frees an inode without links.
    pub(crate) fn free(&mut self, node: &Shared) {
        self.mount.free(node).expect("it is freed");
        self.world.catch_up(&self.mount);
    }

    /// Opens a file for writing.
    pub fn open(&mut self, ino: u32) {
        if self.open.insert(ino) {
            self.node(ino).map_lock().map.add_writer();
        }
    }

    /// Closes it.
    pub fn close(&mut self, ino: u32) {
        if self.open.remove(&ino) {
            let node = self.node(ino);
            let mount = self.mount.clone();
            // A request that is under way keeps the file open.
            self.finish_flights(|flight| flight.ino == ino && flight.is_direct());
            let end = LogicalBlock::new(self.blocks_for(node.size()));
            node.map_lock().map.remove_writer(&mount.vol, end);
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
        self.write_inode(&node);
        self.drop_all_pages(ino);
        node.evict();
        self.nodes.remove(&ino);
    }
}

/// What is on a device, as the model of it.
fn adopt(tree: &Tree, device: &Device) -> State {
    let content = |nr: u64| -> Content {
        Rc::new(RefCell::new(vec![Version {
            bytes: device.read(nr),
            end: 0,
            submitted: 0,
            done: Some(0),
            durable: false,
        }]))
    };
    tree.iter()
        .map(|(ino, found)| {
            let blocks = found.blocks.iter().map(|(at, nr)| (*at, content(*nr)));
            let inode = model::Inode {
                kind: found.kind,
                generation: found.generation,
                attributes: found.attributes.clone(),
                links: found.links,
                size: found.size,
                blocks: match found.kind {
                    model::Kind::File => blocks.collect(),
                    _ => BTreeMap::new(),
                },
                ends: BTreeMap::new(),
                unwritten: found.unwritten.iter().copied().collect(),
                may_be_cut: false,
                names: found.names.clone(),
                parent: found.parent,
                target: found.target.clone(),
                synced: Rc::default(),
                whole: Rc::default(),
                versions: Rc::default(),
            };
            (*ino, Rc::new(inode))
        })
        .collect()
}
