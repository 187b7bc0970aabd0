// SPDX-License-Identifier: GPL-2.0

//! Directories as the VFS calls them: lookup, and all that changes one.
//!
//! # Locks
//!
//! The VFS holds `i_rwsem` of the directory, and of an inode that loses or gets a name.

use super::Directory;
use crate::change::create::{self, What};
use crate::change::rename::{self, Side};
use crate::change::{link, Dir, Live};
use crate::disk::{FileType, Flaw};
use crate::linux::attr::Idmap;
use crate::linux::dentry::{Entry, EntryName};
use crate::linux::fiemap::ExtentInfo;
use crate::linux::inode::{InodeRef, Ready};
use crate::linux::inode_ops::{rename as flags, DirectoryOperations, Rename};
use crate::names;
use crate::ops::file::{iomap_ops, replace};
use crate::ops::inode::live::NewNode;
use crate::ops::inode::read;
use crate::ops::reclaim::{with_space, Effort};
use crate::ops::{durable, Fs, Node};
use crate::store::Store;
use kernel::prelude::*;

impl DirectoryOperations for Directory {
    type FileSystem = Fs;

    fn fiemap(node: &Node, to: &mut ExtentInfo, start: u64, len: u64) -> Result {
        iomap_ops::fiemap(node, to, start, len)
    }

    fn lookup<'a>(dir: &'a Node, name: &[u8]) -> Result<Option<InodeRef<'a, Fs>>> {
        let Some(found) = names::lookup(&Dir::new(dir), name)? else {
            return Ok(None);
        };
        let volume = dir.data().volume();
        let bad = |flaw| volume.store.flawed(dir.ino(), flaw);
        if found.ino == dir.ino() {
            return Err(bad(Flaw::DirEntrySelf));
        }
        match read::get(dir.super_block(), found.ino) {
            Ok(node) => Ok(Some(node)),
            Err(error) if error == ESTALE => {
                let ino = found.ino.get();
                Err(bad(Flaw::DirEntryUnused { ino }))
            }
            Err(error) => Err(error),
        }
    }

    fn create<'a>(
        idmap: &Idmap,
        dir: &'a Node,
        name: &EntryName,
        mode: u16,
    ) -> Result<Ready<'a, Fs>> {
        make(idmap, dir, name, mode, 1, 0, What::Plain)
    }

    fn mknod<'a>(
        idmap: &Idmap,
        dir: &'a Node,
        name: &EntryName,
        mode: u16,
        device: u32,
    ) -> Result<Ready<'a, Fs>> {
        let what = match FileType::from_mode(mode) {
            Some(FileType::Regular) => What::Plain,
            _ => What::Special,
        };
        make(idmap, dir, name, mode, 1, device, what)
    }

    fn symlink<'a>(
        idmap: &Idmap,
        dir: &'a Node,
        name: &EntryName,
        target: &[u8],
    ) -> Result<Ready<'a, Fs>> {
        dir.data().volume().store.check_writable()?;
        // The block has a zero behind it.
        if target.len() >= dir.super_block().block_size() as usize {
            return Err(ENAMETOOLONG);
        }
        make(idmap, dir, name, LINK_MODE, 1, 0, What::Link { target })
    }

    fn mkdir<'a>(
        idmap: &Idmap,
        dir: &'a Node,
        name: &EntryName,
        mode: u16,
    ) -> Result<Ready<'a, Fs>> {
        make(idmap, dir, name, mode, 2, 0, What::Plain)
    }

    fn tmpfile<'a>(idmap: &Idmap, dir: &'a Node, mode: u16) -> Result<Ready<'a, Fs>> {
        with_space(dir, Effort::Blocks, || {
            let newborn = NewNode::new(idmap, dir, mode, 1, 0, &[], None)?;
            create::tmpfile(dir, newborn)
        })
    }

    fn link(node: &Node, dir: &Node, name: &[u8]) -> Result {
        dir.initialize_quota()?;
        with_space(dir, Effort::Blocks, || link::link(node, dir, name))?;
        durable::names(dir)
    }

    fn unlink(dir: &Node, name: &[u8], node: &Node) -> Result {
        link::unlink(dir, name, node)?;
        durable::names(dir)
    }

    fn rmdir(dir: &Node, name: &[u8], node: &Node) -> Result {
        link::unlink(dir, name, node)?;
        durable::names(dir)
    }

    fn rename(idmap: &Idmap, how: &Rename<'_, Fs>) -> Result {
        rename(idmap, how)?;
        durable::names(how.old_dir)?;
        durable::names(how.new_dir)
    }
}

/// The mode of a symbolic link: all may do everything, and it does not matter.
const LINK_MODE: u16 = 0o120_777;

/// The mode of a whiteout: a character device with number 0.
const WHITEOUT_MODE: u16 = 0o020_000;

/// Makes an inode and gives it a name.
fn make<'a>(
    idmap: &Idmap,
    dir: &'a Node,
    name: &EntryName,
    mode: u16,
    links: u32,
    device: u32,
    what: What<'_>,
) -> Result<Ready<'a, Fs>> {
    dir.initialize_quota()?;
    let node = with_space(dir, Effort::Blocks, || {
        let newborn = NewNode::new(idmap, dir, mode, links, device, what.target(), Some(name))?;
        create::create(dir, name, newborn, what)
    })?;
    durable::names(dir)?;
    Ok(node)
}

/// A name as the core has it.
fn side<'a>(dir: &'a Node, entry: &'a Entry<'_, Fs>) -> Side<'a, Node> {
    Side {
        dir,
        name: entry.name(),
        inode: entry.inode(),
    }
}

/// `rename`, in all its forms.
fn rename(idmap: &Idmap, how: &Rename<'_, Fs>) -> Result {
    let known = flags::NOREPLACE | flags::EXCHANGE | flags::WHITEOUT;
    if how.flags & !known != 0 {
        return Err(EINVAL);
    }
    let (old, new) = (side(how.old_dir, &how.old), side(how.new_dir, &how.new));
    if how.flags & flags::EXCHANGE != 0 {
        return rename::exchange(old, new);
    }
    if let (Some(node), Some(_)) = (old.inode, new.inode) {
        replace::write_before_replacing(node)?;
    }
    how.new_dir.initialize_quota()?;
    let left = with_space(how.new_dir, Effort::Blocks, || {
        let whiteout = match how.flags & flags::WHITEOUT {
            0 => None,
            _ => Some(NewNode::new(
                idmap,
                how.old_dir,
                WHITEOUT_MODE,
                1,
                0,
                &[],
                None,
            )?),
        };
        rename::rename(old, new, whiteout)
    })?;
    // Nobody has looked the whiteout up; a name that is looked up finds it.
    drop(left.map(Ready::unlock));
    Ok(())
}
