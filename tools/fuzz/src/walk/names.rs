// SPDX-License-Identifier: GPL-2.0

//! Names are made, moved and removed, and inodes with them.

use super::node::Node;
use super::visit::{Seen, Visit};
use iomapfs_core::disk::inode::{FileKind, InodeFlags};
use iomapfs_core::disk::xattr::{XattrFormat, XattrHeader};
use iomapfs_core::disk::Ino;
use iomapfs_core::host::{new_attrs, HostStore};
use iomapfs_core::inode::{set_dtime, Content, Inode, Orphans};
use iomapfs_core::map::FileMap;
use iomapfs_core::names::{self, FileType};
use iomapfs_core::space::Run;
use iomapfs_core::store::{Store, Transaction};
use kernel::error::{code::*, Result};

/// Revokes for a name that is inserted, as in the module.
const INSERT_REVOKES: u32 = 2;

impl Visit<'_, '_> {
    pub(super) fn create(&mut self, directory: bool) -> Result {
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
        if names::lookup(&parent.dir(vol), name)?.is_some() {
            return Err(EEXIST);
        }
        let append = FileMap::commit_credits(vol, 0).blocks;
        let credits = vol.space.credits_alloc_inode()
            + Inode::WRITE_CREDITS
            + append
            + names::make_empty_credits(append)
            + parent.insert_credits(vol);
        let mut tx = vol.store.begin(credits, INSERT_REVOKES)?;
        let ino = vol
            .space
            .alloc_inode(vol, &mut tx, parent.ino(), directory)?;
        if self.nodes.contains_key(&ino.get()) || ino == parent.ino() {
            // In use, although its bit is clear. The module reports that, as it finds it in the VFS.
            self.flawed = true;
            return Err(EIO);
        }
        let (mode, nlink) = if directory {
            (0o040_755, 2)
        } else {
            (0o100_644, 1)
        };
        let attrs = new_attrs(mode, nlink);
        let flags = InodeFlags::NONE;
        let inode = Inode::create(vol, &mut tx, ino, &attrs, flags, 5, Content::Mapped)?;
        let new = Node::new((inode, attrs));
        let mut file_type = FileType::Regular;
        if directory {
            file_type = FileType::Directory;
            let made = names::make_empty(&mut new.dir(vol), &mut tx, parent.ino());
            new.write(vol, &mut tx)?;
            made?;
            parent.attrs.nlink = parent.attrs.nlink.saturating_add(1).min(65000);
        }
        let done = names::insert(&mut parent.dir(vol), &mut tx, name, ino, file_type);
        parent.write(vol, &mut tx)?;
        done.map(|()| (ino.get(), new))
    }

    pub(super) fn unlink(&mut self) -> Result {
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
            if is_dir && !names::is_empty(&child.dir(vol))? {
                return Ok(());
            }
            let credits = names::CHANGE_CREDITS + 2 * Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, 0)?;
            let ino = Ino::new(seen.ino).ok_or(EINVAL)?;
            names::remove(&mut parent.dir(vol), &mut tx, &seen.name, ino)?;
            let links = &mut child.attrs.nlink;
            *links = match is_dir {
                true => 0,
                false => links.saturating_sub(1),
            };
            last = *links == 0;
            if is_dir {
                let links = &mut parent.attrs.nlink;
                *links = links.saturating_sub(1).max(2);
            }
            parent.write(vol, &mut tx)?;
            child.write(vol, &mut tx)
        })();
        self.nodes.insert(seen.dir, parent);
        if last && done.is_ok() && seen.ino != Ino::ROOT.get() {
            return self.free(child, None);
        }
        self.nodes.insert(seen.ino, child);
        done
    }

    /// Frees an inode with all that it has; it may be one of the orphans.
    pub(super) fn free(&mut self, node: Node, orphans: Option<&Orphans<HostStore>>) -> Result {
        let vol = self.vol;
        let is_dir = node.attrs.kind() == FileKind::Directory;
        let ino = node.inode.borrow().ino;
        let removed = self.remove(&node, 0, u32::MAX, 0);
        node.inode.borrow_mut().map.evict(vol);
        removed?;
        let credits = 2 * Inode::WRITE_CREDITS
            + vol.space.credits_free_inode()
            + vol.space.credits_free(1)
            + Orphans::<HostStore>::CREDITS;
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
        if let Some(orphans) = orphans {
            orphans.remove(vol, &mut tx, ino)?;
        }
        set_dtime(vol, &mut tx, ino, 1_700_000_000)?;
        vol.space.free_inode(vol, &mut tx, ino, is_dir)
    }

    pub(super) fn rename(&mut self) -> Result {
        let (Some(seen), Some((to, target))) = (self.some_name(), self.some_dir()) else {
            return Ok(());
        };
        let vol = self.vol;
        let name = self.new_name();
        let ino = Ino::new(seen.ino).ok_or(EINVAL)?;
        let from = self.nodes.remove(&seen.dir);
        let done = (|| {
            let credits = target.insert_credits(vol) + names::CHANGE_CREDITS + Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, INSERT_REVOKES)?;
            let done = names::insert(&mut target.dir(vol), &mut tx, &name, ino, FileType::Unknown);
            target.write(vol, &mut tx)?;
            done?;
            Ok(())
        })();
        self.nodes.insert(to, target);
        let from = from.or_else(|| (seen.dir == to).then(|| self.nodes.remove(&to))?);
        let Some(from) = from else { return done };
        let removed = done.and_then(|()| {
            let credits = names::CHANGE_CREDITS + Inode::WRITE_CREDITS;
            let mut tx = vol.store.begin(credits, 0)?;
            names::remove(&mut from.dir(vol), &mut tx, &seen.name, ino)?;
            from.write(vol, &mut tx)
        });
        self.nodes.insert(seen.dir, from);
        // A directory has a new parent.
        if let (Ok(()), Some(child)) = (removed, self.nodes.remove(&seen.ino)) {
            let moved = (|| {
                if child.attrs.kind() != FileKind::Directory {
                    return Ok(());
                }
                let mut tx = vol.store.begin(names::CHANGE_CREDITS, 0)?;
                names::set_dotdot(&mut child.dir(vol), &mut tx, Ino::new(to).ok_or(EINVAL)?)
            })();
            self.nodes.insert(seen.ino, child);
            // Its link counts are not kept right here.
            self.flawed = true;
            return moved;
        }
        removed
    }

    pub(super) fn link(&mut self) -> Result {
        let Some((parent, node)) = self.some_dir() else {
            return Ok(());
        };
        let vol = self.vol;
        let name = self.new_name();
        let file = self.some(|kind| kind == FileKind::Regular);
        let mut done = Ok(());
        if let Some((ino, mut file)) = file {
            done = (|| {
                let credits = node.insert_credits(vol) + Inode::WRITE_CREDITS;
                let mut tx = vol.store.begin(credits, INSERT_REVOKES)?;
                if file.attrs.nlink >= 65000 {
                    return Err(EMLINK);
                }
                let nr = Ino::new(ino).ok_or(EINVAL)?;
                let done = names::insert(&mut node.dir(vol), &mut tx, &name, nr, FileType::Regular);
                if done.is_ok() {
                    file.attrs.nlink += 1;
                    file.write(vol, &mut tx)?;
                }
                node.write(vol, &mut tx)?;
                done
            })();
            self.nodes.insert(ino, file);
        }
        self.nodes.insert(parent, node);
        done
    }
}
