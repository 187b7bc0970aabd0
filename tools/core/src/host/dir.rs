// SPDX-License-Identifier: GPL-2.0

//! A directory of a mounted image: what the module makes of a VFS inode, with whatever holds inodes here.

use super::{HostStore, Tx};
use crate::disk::inode::InodeFlags;
use crate::disk::{CsumSeed, Group, Ino, LogicalBlock, PhysBlock};
use crate::inode::Inode;
use crate::map::State;
use crate::names::{Directory, Known, Params};
use crate::space::{Goal, Share};
use crate::volume::Volume;
use kernel::error::Result;
use std::cell::{Cell, RefCell};

/// What holds the inode of a directory in memory.
pub trait Held {
    /// Does something with the inode, and with what is known of it as a directory.
    fn with<R>(&self, act: impl FnOnce(&mut Inode, &mut Known) -> R) -> R;

    /// [`Directory::version`]; the default is for who goes on with no listing after a change.
    fn version(&self) -> u64 {
        0
    }
}

/// An inode, and what is known of it as a directory.
pub type InodeAndKnown<'d> = (&'d RefCell<Inode>, &'d Cell<Known>);

impl Held for InodeAndKnown<'_> {
    fn with<R>(&self, act: impl FnOnce(&mut Inode, &mut Known) -> R) -> R {
        let mut known = self.1.get();
        let result = act(&mut self.0.borrow_mut(), &mut known);
        self.1.set(known);
        result
    }
}

/// See the top of the file.
pub struct Dir<'d, H> {
    vol: &'d Volume<HostStore>,
    held: H,
}

impl<'d, H: Held> Dir<'d, H> {
    /// The directory whose inode is `held`.
    pub fn new(vol: &'d Volume<HostStore>, held: H) -> Self {
        Self { vol, held }
    }
}

impl<H: Held> Directory<HostStore> for Dir<'_, H> {
    fn store(&self) -> &HostStore {
        &self.vol.store
    }

    fn params(&self) -> Params {
        Params::new(&self.vol.layout)
    }

    fn ino(&self) -> Ino {
        self.held.with(|inode, _| inode.ino)
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.held.with(|inode, _| inode.seed)
    }

    fn blocks(&self) -> u32 {
        let size = self.held.with(|inode, _| inode.disk_size);
        let blocks = self.vol.layout.block_size().blocks_for(size);
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    fn version(&self) -> u64 {
        self.held.version()
    }

    fn is_indexed(&self) -> bool {
        self.held
            .with(|inode, _| inode.flags.has(InodeFlags::INDEX))
    }

    fn set_indexed(&mut self, indexed: bool) {
        self.held.with(|inode, _| {
            inode.flags = match indexed {
                true => inode.flags.with(InodeFlags::INDEX),
                false => inode.flags.without(InodeFlags::INDEX),
            }
        });
    }

    fn known(&self) -> Known {
        self.held.with(|_, known| *known)
    }

    fn note(&self, what: Known) {
        self.held.with(|_, known| *known = known.with(what));
    }

    fn run(&self, at: LogicalBlock) -> Result<(Option<PhysBlock>, u32)> {
        let found = self
            .held
            .with(|inode, _| inode.map.lookup(self.vol, at, u32::MAX))?;
        let phys = found.phys.filter(|_| found.state == State::Written);
        Ok((phys, found.len))
    }

    fn append(&mut self, tx: &mut Tx<'_>) -> Result<(LogicalBlock, PhysBlock)> {
        let at = LogicalBlock::new(self.blocks());
        let slot = self.vol.layout.inode_slot(self.ino());
        let goal = Goal {
            near: None,
            group: slot.map_or(Group::new(0), |slot| slot.group),
            stream: false,
        };
        self.held.with(|inode, _| {
            let run = inode
                .map
                .allocate(self.vol, tx, at, 1, goal, Share::Common)?;
            inode.disk_size += u64::from(self.vol.layout.block_size().bytes());
            Ok((at, run.start))
        })
    }
}
