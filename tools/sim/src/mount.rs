// SPDX-License-Identifier: GPL-2.0

//! A mounted volume, as a mount brings it up when its journal is empty; and how orphans come into memory.

use crate::broken::Broken;
use crate::journal::Place;
use crate::world::World;
use iomapfs_core::change::{free, recover, resize, Live};
use iomapfs_core::disk::{FileType, Ino, LogicalBlock};
use iomapfs_core::host::{Device, HostStore, Mounted, Node, Pages};
use iomapfs_core::volume::Volume;
use kernel::error::Result;
use std::ops::Deref;
use std::rc::Rc;

/// A volume on the host.
pub type Vol = Volume<HostStore>;

/// A reference to an inode in memory.
pub type Shared = Rc<Node>;

/// When inodes are deleted, in seconds of Unix time.
const NOW: u32 = 1_700_000_000;

/// A mounted volume.
pub struct Mount {
    fs: Rc<Mounted>,
    /// Where the journal is.
    pub journal: Place,
}

impl Deref for Mount {
    type Target = Rc<Mounted>;

    fn deref(&self) -> &Rc<Mounted> {
        &self.fs
    }
}

impl Mount {
    /// Mounts what is on `device`, whose journal is empty, for writing.
    ///
    /// # Errors
    ///
    /// Why the core does not take it.
    pub fn open(device: Device, broken: Broken) -> Result<Self, String> {
        let store = HostStore::new(device);
        store.set_broken(broken.in_core());
        let fs = Mounted::open(store, false).map_err(|refused| format!("{refused:?}"))?;
        let map = fs.journal.as_ref().ok_or("without a journal")?;
        let journal = Place {
            blocks: map
                .pieces()
                .iter()
                .flat_map(|piece| (0..u64::from(piece.len)).map(|at| piece.start.get() + at))
                .collect(),
            wide: fs.vol.layout.has_64bit(),
            sums: fs.vol.layout.csum_seed().is_some(),
        };
        Ok(Self { fs, journal })
    }

    /// Frees an inode without links, which leaves memory.
    ///
    /// # Errors
    ///
    /// Those of [`free::free`].
    pub fn free(&self, node: &Node) -> Result {
        free::free(node, NOW)?;
        node.evict();
        Ok(())
    }

    /// Deals with the orphans that a crash has left, as `world` watches. Gives how many there were.
    ///
    /// # Errors
    ///
    /// Those of [`recover::recover`].
    pub fn finish_orphans(&self, world: Option<&mut World>) -> Result<usize> {
        let raw = self.vol.super_block.copy(&self.vol.store)?;
        let mut keeper = Keeper { mount: self, world };
        let done = recover::recover(&self.vol, &self.orphans, &raw, &mut keeper)?;
        Ok((done.freed + done.cut) as usize)
    }
}

/// How orphans come into memory, and are cut off at their size.
struct Keeper<'a> {
    mount: &'a Mount,
    world: Option<&'a mut World>,
}

impl recover::Keeper<HostStore> for Keeper<'_> {
    type Live = Node;
    type Held = Shared;

    fn get(&mut self, ino: Ino) -> Result<Shared> {
        Node::get_orphan(self.mount, ino)
    }

    fn cut_off(&mut self, node: &Node) -> Result {
        if node.file_type() != FileType::Regular {
            return Ok(());
        }
        let Self { mount, world } = self;
        let write = |at: LogicalBlock, phys, bytes: Vec<u8>| match world {
            Some(world) => {
                world.catch_up(mount);
                world.write(mount, (node.ino().get(), at.get()), phys, bytes);
            }
            None => mount.vol.store.write_data(phys, &bytes),
        };
        resize::set_size(node, &mut Pages::new(node, write), node.size())
    }

    fn put(&mut self, node: Shared) {
        if node.links() == 0 {
            self.mount.free(&node).expect("it is freed");
        }
        node.evict();
        if let Some(world) = &mut self.world {
            world.catch_up(self.mount);
        }
    }
}
