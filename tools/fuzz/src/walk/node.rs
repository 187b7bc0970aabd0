// SPDX-License-Identifier: GPL-2.0

//! The inodes of a mounted image, as the VFS would hold them.

use iomapfs_core::disk::{Group, Ino, LogicalBlock};
use iomapfs_core::host::{Dir, HostStore, InodeAndKnown, Tx};
use iomapfs_core::inode::{Attrs, Inode};
use iomapfs_core::map::FileMap;
use iomapfs_core::names::{self, Known};
use iomapfs_core::space::Goal;
use iomapfs_core::volume::Volume;
use kernel::error::Result;
use std::cell::{Cell, RefCell};

pub(super) type Vol = Volume<HostStore>;

/// An inode in memory. There is one for each number.
pub(super) struct Node {
    pub(super) inode: RefCell<Inode>,
    pub(super) attrs: Attrs,
    known: Cell<Known>,
}

impl Node {
    pub(super) fn new((inode, attrs): (Inode, Attrs)) -> Self {
        Self {
            inode: RefCell::new(inode),
            attrs,
            known: Cell::new(Known::default()),
        }
    }

    pub(super) fn write(&self, vol: &Vol, tx: &mut Tx<'_>) -> Result {
        self.inode.borrow().write(vol, tx, &self.attrs)
    }

    pub(super) fn ino(&self) -> Ino {
        self.inode.borrow().ino
    }

    /// The node as a directory.
    pub(super) fn dir<'d>(&'d self, vol: &'d Vol) -> Dir<'d, InodeAndKnown<'d>> {
        Dir::new(vol, (&self.inode, &self.known))
    }

    /// Credits for a name that is inserted, with the inode of the directory.
    pub(super) fn insert_credits(&self, vol: &Vol) -> u32 {
        let depth = self.inode.borrow().map.depth().saturating_add(1);
        let append = FileMap::commit_credits(vol, depth).blocks;
        names::insert_credits(append) + Inode::WRITE_CREDITS
    }

    /// Looks at the whole map, as reading the file would.
    pub(super) fn check_map(&self, vol: &Vol) -> Result {
        let mut at = LogicalBlock::ZERO;
        let inode = &mut *self.inode.borrow_mut();
        // As many as can be in an image, and more.
        for _ in 0..20_000 {
            if at >= LogicalBlock::LIMIT {
                return Ok(());
            }
            let found = inode.map.lookup(vol, at, u32::MAX)?;
            assert!(
                found.start == at && found.end() > at,
                "{found:?} for {at:?}"
            );
            if let Some(phys) = found.phys {
                assert!(
                    vol.layout.contains(phys, found.len),
                    "inode {} has blocks {found:?} that there are not",
                    inode.ino.get()
                );
                assert!(
                    !vol.space.is_system(phys, found.len),
                    "inode {} has blocks {found:?} of the file system's own",
                    inode.ino.get()
                );
            }
            at = found.end();
        }
        panic!("a map without end");
    }
}

pub(super) fn goal() -> Goal {
    Goal {
        near: None,
        group: Group::new(0),
        stream: false,
    }
}
