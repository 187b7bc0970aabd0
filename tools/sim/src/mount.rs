// SPDX-License-Identifier: GPL-2.0

//! A mounted volume, and the inodes of it that are in memory: what `ops` is in the module, without a VFS.

use crate::broken::Broken;
use crate::journal::Place;
use iomapfs_core::disk::superblock::{RawSuper, SuperFormat};
use iomapfs_core::disk::{Ino, Layout, PhysBlock};
use iomapfs_core::host::{Device, Dir, Held, HostStore, Tx};
use iomapfs_core::inode::{Attrs, Inode, JournalMap, Orphans};
use iomapfs_core::names::Known;
use iomapfs_core::space::{Goal, Space};
use iomapfs_core::store::{Format, Tid, Transaction};
use iomapfs_core::volume::Volume;
use kernel::error::{code::*, Result};
use std::cell::RefCell;
use std::rc::Rc;

/// A volume on the host.
pub type Vol = Volume<HostStore>;

/// A mounted volume.
pub struct Mount {
    /// What the core works on.
    pub vol: Vol,
    /// The inodes that a recovery has to look after.
    pub orphans: Orphans<HostStore>,
    /// Where the journal is.
    pub journal: Place,
    /// The rule that is broken, if any.
    pub broken: Broken,
}

/// The super block of a device.
pub fn read_super(device: &Device) -> RawSuper {
    let (nr, offset) = super_location(device);
    RawSuper::from_block(&device.read(nr), offset)
        .expect("a block has room for it")
        .clone()
}

/// Changes the super block of a device at once.
pub fn change_super(device: &mut Device, f: impl FnOnce(&mut RawSuper)) -> (u64, Rc<[u8]>) {
    let (nr, offset) = super_location(device);
    let mut bytes = device.read(nr).to_vec();
    f(RawSuper::from_block_mut(&mut bytes, offset).expect("a block has room for it"));
    SuperFormat::new(offset).seal(PhysBlock::new(nr), &mut bytes);
    device.write(nr, bytes.as_slice().into());
    (nr, bytes.into())
}

fn super_location(device: &Device) -> (u64, usize) {
    match device.block_size() {
        1024 => (1, 0),
        _ => (0, 1024),
    }
}

/// Finds the journal, and makes its blocks known as the file system's own.
fn load_journal(vol: &mut Vol) -> Result<Place> {
    let ino = vol.layout.journal_ino().ok_or(EINVAL)?;
    let map = JournalMap::find(&vol.store, &vol.layout, ino)?;
    let mut blocks = Vec::new();
    for piece in map.pieces() {
        vol.space.add_system(piece.start, piece.len)?;
        blocks.extend(piece.start.get()..piece.start.get() + u64::from(piece.len));
    }
    Ok(Place {
        blocks,
        wide: vol.layout.has_64bit(),
        sums: vol.layout.csum_seed().is_some(),
    })
}

impl Mount {
    /// Mounts what is on `device`, whose journal is empty.
    ///
    /// # Errors
    ///
    /// Why the core does not take it.
    pub fn open(device: Device, broken: Broken) -> Result<Self, String> {
        let raw = read_super(&device);
        let layout =
            Layout::new(&raw, device.blocks(), false).map_err(|refusal| refusal.to_string())?;
        let store = HostStore::new(device);
        let space = match Space::load(&store, &layout) {
            Ok(space) => space,
            Err(error) => return Err(format!("{error:?}: {:?}", store.take_reports())),
        };
        let mut vol = Volume {
            store,
            layout,
            space,
        };
        let (journal, orphans) = load_journal(&mut vol)
            .and_then(|journal| Ok((journal, Orphans::load(&vol)?)))
            .map_err(|error| format!("{error:?}: {:?}", vol.store.take_reports()))?;
        Ok(Self {
            vol,
            orphans,
            journal,
            broken,
        })
    }
}

/// What an operation of several transactions tells while it is under way.
pub trait Watch {
    /// In the running transaction the file `ino` has this size on disk, and what was written to these blocks.
    fn mapped(&mut self, ino: u32, from: u32, to: u32, size: u64);
    /// The block `of` a file (inode, file block), on `nr`, is written again, and that is waited for.
    fn write(&mut self, mount: &Mount, of: (u32, u32), nr: PhysBlock, bytes: Vec<u8>);
    /// The transaction was closed, another one is running.
    fn closed(&mut self, mount: &Mount);
}

/// Nobody watches.
pub struct Unwatched;

impl Watch for Unwatched {
    fn mapped(&mut self, _ino: u32, _from: u32, _to: u32, _size: u64) {}
    fn write(&mut self, mount: &Mount, _of: (u32, u32), nr: PhysBlock, bytes: Vec<u8>) {
        mount.vol.store.write_data(nr, &bytes);
    }
    fn closed(&mut self, _mount: &Mount) {}
}

/// An inode in memory.
pub struct Node {
    /// As the core has it.
    pub core: Inode,
    /// What the VFS would know.
    pub attrs: Attrs,
    /// Size in memory.
    pub size: u64,
    /// The transaction of the last change of any kind.
    pub sync_tid: Tid,
    /// The transaction of the last change without which data cannot be found.
    pub data_tid: Tid,
    known: Known,
}

/// A reference to an inode in memory.
pub type Shared = Rc<RefCell<Node>>;

impl Node {
    /// Whether the file reaches to byte `end`, in memory and on disk.
    pub fn is_within(&self, end: u64) -> bool {
        end <= self.size.min(self.core.disk_size)
    }

    /// An inode that was just read or made.
    pub fn new(mount: &Mount, (core, attrs): (Inode, Attrs)) -> Shared {
        Rc::new(RefCell::new(Self {
            size: core.disk_size,
            core,
            attrs,
            sync_tid: mount.vol.store.running(),
            data_tid: mount.vol.store.running(),
            known: Known::default(),
        }))
    }

    /// The number.
    pub fn ino(&self) -> Ino {
        self.core.ino
    }

    /// Where its blocks are best.
    pub fn goal(&self, mount: &Mount, stream: bool) -> Goal {
        let slot = mount.vol.layout.inode_slot(self.core.ino);
        Goal {
            near: None,
            group: slot.expect("it has a place").group,
            stream,
        }
    }

    /// Writes the inode in this transaction: its map or its size on disk have changed.
    pub fn write_core(&mut self, mount: &Mount, tx: &mut Tx<'_>) -> Result {
        self.data_tid = tx.tid();
        self.write(mount, tx)
    }

    /// Writes the inode in this transaction: what the VFS knows has changed.
    pub fn write(&mut self, mount: &Mount, tx: &mut Tx<'_>) -> Result {
        self.sync_tid = tx.tid();
        self.core.write(&mount.vol, tx, &self.attrs)
    }

    /// Something was changed that a user can see.
    pub fn touch(&mut self) {
        self.attrs.version += 1;
        self.attrs.ctime.sec += 1;
        self.attrs.mtime = self.attrs.ctime;
    }
}

/// The inode of a directory.
pub struct HeldDir<'a>(&'a Shared);

impl Held for HeldDir<'_> {
    fn with<R>(&self, act: impl FnOnce(&mut Inode, &mut Known) -> R) -> R {
        let node = &mut *self.0.borrow_mut();
        let result = act(&mut node.core, &mut node.known);
        node.size = node.core.disk_size;
        result
    }

    fn version(&self) -> u64 {
        self.0.borrow().attrs.version
    }
}

impl Mount {
    /// A directory as the core sees it.
    pub fn dir<'a>(&'a self, node: &'a Shared) -> Dir<'a, HeldDir<'a>> {
        Dir::new(&self.vol, HeldDir(node))
    }
}
