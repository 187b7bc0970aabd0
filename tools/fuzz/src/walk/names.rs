// SPDX-License-Identifier: GPL-2.0

//! Names are made, moved and removed, and inodes with them.

use super::visit::{Seen, Visit, NOW};
use iomapfs_core::change::create::{create, tmpfile, What};
use iomapfs_core::change::free::free;
use iomapfs_core::change::link::{link, unlink};
use iomapfs_core::change::rename::{exchange, rename, Side};
use iomapfs_core::change::{Dir, Live};
use iomapfs_core::disk::{FileType, Ino};
use iomapfs_core::host::{new_attrs, NewNode, Node};
use iomapfs_core::names;
use kernel::error::{code::*, Result};
use std::rc::Rc;

/// What is to be made.
#[derive(Clone, Copy)]
pub(super) enum New {
    File,
    Directory,
    /// A symbolic link with a target of so many bytes.
    Link(usize),
    Device,
    /// A file without a name.
    Nameless,
}

impl Visit<'_> {
    fn newborn(&self, new: New) -> NewNode {
        let (mode, links) = match new {
            New::File | New::Nameless => (0o100_644, 1),
            New::Directory => (0o040_755, 2),
            New::Link(_) => (0o120_777, 1),
            New::Device => (0o020_000, 1),
        };
        NewNode::new(&self.fs, new_attrs(mode, links), 5)
    }

    pub(super) fn create(&mut self, new: New) -> Result {
        let Some(parent) = self.some_dir() else {
            return Ok(());
        };
        let name = self.new_name();
        if names::lookup(&Dir::new(&*parent), &name)?.is_some() {
            return Err(EEXIST);
        }
        let newborn = self.newborn(new);
        let target = match new {
            New::Link(len) => vec![b't'; len],
            _ => Vec::new(),
        };
        let made = match new {
            New::File | New::Directory => create(&*parent, &name, newborn, What::Plain),
            New::Link(_) => create(&*parent, &name, newborn, What::Link { target: &target }),
            New::Device => create(&*parent, &name, newborn, What::Special),
            New::Nameless => tmpfile(&*parent, newborn),
        };
        self.free_dropped()?;
        let node = made?.unlock();
        if node.links() == 0 {
            return self.free(&node);
        }
        let ino = node.ino().get();
        self.seen.push(Seen {
            dir: parent.ino().get(),
            name,
            ino,
        });
        self.nodes.insert(ino, node);
        Ok(())
    }

    /// What was made and could have no name goes away again.
    fn free_dropped(&mut self) -> Result {
        for node in self.fs.take_dropped() {
            self.free(&node)?;
        }
        Ok(())
    }

    /// Frees an inode without links, with all that it has.
    pub(super) fn free(&mut self, node: &Node) -> Result {
        let done = free(node, NOW);
        self.nodes.remove(&node.ino().get());
        node.evict();
        done
    }

    /// What a name that was seen leads to, with the directory that it is in. As in the VFS, nothing is in itself.
    fn some_entry(&mut self) -> Option<(Seen, Rc<Node>, Rc<Node>)> {
        let seen = self.some_name()?;
        let dir = self.get(seen.dir)?;
        let node = self.get(seen.ino)?;
        (seen.ino != seen.dir && node.ino() != Ino::ROOT).then_some((seen, dir, node))
    }

    pub(super) fn unlink(&mut self) -> Result {
        let Some((seen, dir, node)) = self.some_entry() else {
            return Ok(());
        };
        match unlink(&*dir, &seen.name, &*node) {
            Err(error) if error == ENOTEMPTY => Ok(()),
            Err(error) => Err(error),
            Ok(()) if node.links() == 0 => self.free(&node),
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn rename(&mut self) -> Result {
        let (Some((seen, from, node)), Some(to)) = (self.some_entry(), self.some_dir()) else {
            return Ok(());
        };
        if to.ino() == node.ino() {
            return Ok(());
        }
        let name = self.new_name();
        let old = Side {
            dir: &*from,
            name: &seen.name,
            inode: Some(&*node),
        };
        let new = Side {
            dir: &*to,
            name: &name,
            inode: None,
        };
        let whiteout = (self.number(3) == 0).then(|| self.newborn(New::Device));
        let left = rename(old, new, whiteout);
        self.free_dropped()?;
        drop(left?.map(|left| left.unlock()));
        Ok(())
    }

    /// Gives what a name leads to another name that is there, or makes the two change places.
    pub(super) fn replace(&mut self) -> Result {
        let (Some(one), Some(other)) = (self.some_entry(), self.some_entry()) else {
            return Ok(());
        };
        let ((seen, from, node), (over, to, victim)) = (one, other);
        let same = node.ino() == victim.ino();
        let within = to.ino() == node.ino() || from.ino() == victim.ino();
        let one_name = seen.dir == over.dir && seen.name == over.name;
        if same || within || one_name {
            return Ok(());
        }
        let old = Side {
            dir: &*from,
            name: &seen.name,
            inode: Some(&*node),
        };
        let new = Side {
            dir: &*to,
            name: &over.name,
            inode: Some(&*victim),
        };
        if self.number(1) == 0 {
            return exchange(old, new);
        }
        if node.is_dir() != victim.is_dir() {
            return Ok(());
        }
        match rename(old, new, None::<NewNode>) {
            Err(error) if error == ENOTEMPTY => Ok(()),
            Err(error) => Err(error),
            Ok(_) if victim.links() == 0 => self.free(&victim),
            Ok(_) => Ok(()),
        }
    }

    pub(super) fn link(&mut self) -> Result {
        let file = self.some(|kind| kind == FileType::Regular);
        let (Some(dir), Some(file)) = (self.some_dir(), file) else {
            return Ok(());
        };
        let name = self.new_name();
        link(&*file, &*dir, &name)
    }
}
