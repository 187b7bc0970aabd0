// SPDX-License-Identifier: GPL-2.0

//! New inodes, and the names they get.

use super::{add_dir_link, file_type, INSERT_REVOKES, ORPHAN_CREDITS, WRITE_CREDITS};
use crate::mount::{Mount, Node, Shared};
use iomapfs_core::disk::inode::InodeFlags;
use iomapfs_core::disk::symlink::TargetFormat;
use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::{new_attrs, Tx};
use iomapfs_core::inode::{wipe, Content, Inode};
use iomapfs_core::map::FileMap;
use iomapfs_core::names;
use iomapfs_core::space::Share;
use iomapfs_core::store::{Store, Transaction};
use kernel::error::{Error, Result};

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link(&'a [u8]),
    /// A character device with number 0: what `rename` leaves as a whiteout.
    Device,
}

/// An inode that was made. In an error: one that was made, got no name, and is an orphan that is to be freed.
pub type Created = Result<Shared, (Error, Option<Shared>)>;

impl Mount {
    /// Credits to make an inode, without a name.
    pub(super) fn create_credits(&self) -> u32 {
        self.vol.space.credits_alloc_inode()
            + WRITE_CREDITS
            + FileMap::commit_credits(&self.vol, 0).blocks
    }

    /// `create`, `mknod`, `mkdir`, `symlink`.
    ///
    /// # Errors
    ///
    /// See [`Created`].
    pub fn create(&self, dir: &Shared, name: &[u8], what: What<'_>, generation: u32) -> Created {
        let vol = &self.vol;
        let credits = self.create_credits()
            + names::make_empty_credits(FileMap::commit_credits(vol, 0).blocks)
            + self.insert_credits(dir)
            + ORPHAN_CREDITS;
        let _held = self.hold(dir).map_err(|e| (e, None))?;
        let begun = vol.store.begin(credits, INSERT_REVOKES);
        let mut tx = begun.map_err(|e| (e, None))?;
        let made = self.make(&mut tx, dir, what, generation);
        let node = made.map_err(|e| (e, None))?;
        let named = self
            .fill(&mut tx, dir, &node, what)
            .and_then(|()| self.insert(&mut tx, dir, name, &node));
        if named.is_ok() && matches!(what, What::Dir) {
            add_dir_link(dir);
        }
        let written = dir.borrow_mut().write_core(self, &mut tx);
        if let Err(error) = named {
            self.give_up(&mut tx, &node);
            return Err((error, Some(node)));
        }
        drop(tx);
        written.map(|()| node).map_err(|e| (e, None))
    }

    /// `O_TMPFILE`: a file without a name, near `dir`.
    pub fn tmpfile(&self, dir: &Shared, generation: u32) -> Created {
        let alone = |error| (error, None);
        let credits = self.create_credits() + ORPHAN_CREDITS;
        let mut tx = self.vol.store.begin(credits, 0).map_err(alone)?;
        let node = self.make(&mut tx, dir, What::File, generation);
        let node = node.map_err(alone)?;
        node.borrow_mut().attrs.nlink = 0;
        self.mark_orphan(&mut tx, &node).map_err(alone)?;
        node.borrow_mut().write(self, &mut tx).map_err(alone)?;
        Ok(node)
    }

    /// Makes an inode in `dir`, without a name yet.
    pub(super) fn make(
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
        let mode = match what {
            What::File => 0o100_644,
            What::Dir => 0o040_755,
            What::Link(_) => 0o120_777,
            What::Device => 0o020_000,
        };
        let attrs = new_attrs(mode, if is_dir { 2 } else { 1 });
        let content = match what {
            What::Link(target) if target.len() <= Inode::MAX_FAST_TARGET => Content::Target(target),
            What::Device => Content::Special,
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

    /// The inode gets no name after all.
    pub(super) fn give_up(&self, tx: &mut Tx<'_>, node: &Shared) {
        node.borrow_mut().attrs.nlink = 0;
        let ino = node.borrow().ino();
        self.orphans
            .add(&self.vol, tx, ino)
            .and_then(|_| node.borrow_mut().write(self, tx))
            .expect("there are credits for it");
    }

    /// Gives a new inode its first block, if it needs one.
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
                let run = map.allocate(&self.vol, tx, at, 1, goal, Share::Common)?;
                node.size = target.len() as u64;
                node.core.disk_size = node.size;
                tx.create(run.start, TargetFormat, |bytes| {
                    bytes[..target.len()].copy_from_slice(target);
                })?;
            }
            _ => return Ok(()),
        }
        node.borrow_mut().write_core(self, tx)
    }

    /// Inserts a name; the caller writes the directory, whatever this returns.
    pub(super) fn insert(
        &self,
        tx: &mut Tx<'_>,
        dir: &Shared,
        name: &[u8],
        node: &Shared,
    ) -> Result {
        let (ino, kind) = (node.borrow().ino(), file_type(&node.borrow()));
        names::insert(&mut self.dir(dir), tx, name, ino, kind)?;
        dir.borrow_mut().touch();
        Ok(())
    }
}
