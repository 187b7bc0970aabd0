// SPDX-License-Identifier: GPL-2.0

//! Directories as the VFS calls them: lookup, and all that changes one.
//!
//! # Locks
//!
//! The VFS holds `i_rwsem` of the directory, and of an inode that loses or gets a name.

use super::extents::release_windows;
use super::inode::NewNode;
use super::{inode, write, Fs, Node};
use crate::change::create::{self, What};
use crate::change::rename::{self, Side};
use crate::change::{link, Dir, Live};
use crate::disk::inode::FileKind;
use crate::linux::attr::{Attr, Idmap, Stat, Wanted};
use crate::linux::dentry::Entry;
use crate::linux::fileattr::FileAttr;
use crate::linux::inode::Ready;
use crate::linux::inode_ops::{rename as flags, Operations, Rename};
use crate::names;
use crate::store::Store;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// The operations of directories.
pub(super) struct Directory;

#[vtable]
impl Operations for Directory {
    type FileSystem = Fs;

    fn lookup(dir: &Node, name: &[u8]) -> Result<Option<ARef<Node>>> {
        let Some(found) = names::lookup(&Dir::new(dir), name)? else {
            return Ok(None);
        };
        let volume = dir.data().volume();
        let bad = |what| {
            let (number, ino) = (dir.number(), found.ino.get());
            volume.store.corrupt(
                dir.ino(),
                fmt!("directory {number}: a name leads to {what}, {ino}"),
            )
        };
        if found.ino == dir.ino() {
            return Err(bad("itself"));
        }
        match inode::get(dir.super_block(), found.ino) {
            Ok(node) => Ok(Some(node)),
            Err(error) if error == ESTALE => Err(bad("an inode that is not in use")),
            Err(error) => Err(error),
        }
    }

    fn create(idmap: &Idmap, dir: &Node, name: &[u8], mode: u16) -> Result<Ready<Fs>> {
        make(idmap, dir, name, mode, 1, 0, What::Plain)
    }

    fn mknod(idmap: &Idmap, dir: &Node, name: &[u8], mode: u16, device: u32) -> Result<Ready<Fs>> {
        let what = match FileKind::from_mode(mode) {
            Some(FileKind::Regular) => What::Plain,
            _ => What::Special,
        };
        make(idmap, dir, name, mode, 1, device, what)
    }

    fn symlink(idmap: &Idmap, dir: &Node, name: &[u8], target: &[u8]) -> Result<Ready<Fs>> {
        // The block has a zero behind it.
        if target.len() >= dir.super_block().block_size() as usize {
            return Err(ENAMETOOLONG);
        }
        make(idmap, dir, name, LINK_MODE, 1, 0, What::Link { target })
    }

    fn mkdir(idmap: &Idmap, dir: &Node, name: &[u8], mode: u16) -> Result<Ready<Fs>> {
        make(idmap, dir, name, mode, 2, 0, What::Plain)
    }

    fn tmpfile(idmap: &Idmap, dir: &Node, mode: u16) -> Result<Ready<Fs>> {
        with_retry(dir, || {
            let newborn = NewNode::new(idmap, dir, mode, 1, 0)?;
            create::tmpfile(dir, newborn)
        })
    }

    fn link(node: &Node, dir: &Node, name: &[u8]) -> Result {
        with_retry(dir, || link::link(node, dir, name))?;
        inode::settle(dir)
    }

    fn unlink(dir: &Node, name: &[u8], node: &Node) -> Result {
        link::unlink(dir, name, node)?;
        inode::settle(dir)
    }

    fn rmdir(dir: &Node, name: &[u8], node: &Node) -> Result {
        link::unlink(dir, name, node)?;
        inode::settle(dir)
    }

    fn rename(idmap: &Idmap, how: &Rename<'_, Fs>) -> Result {
        rename(idmap, how)?;
        inode::settle(how.old_dir)?;
        inode::settle(how.new_dir)
    }

    fn setattr(idmap: &Idmap, entry: &Entry<'_, Fs>, node: &Node, attr: &mut Attr) -> Result {
        inode::set_attributes(idmap, entry, node, attr)
    }

    fn get_flags(node: &Node, to: &mut FileAttr) -> Result {
        inode::get_flags(node, to);
        Ok(())
    }

    fn set_flags(node: &Node, wanted: &FileAttr) -> Result {
        inode::set_flags(node, wanted)
    }

    fn getattr(idmap: &Idmap, node: &Node, wanted: Wanted, to: &mut Stat) -> Result {
        inode::get_attributes(idmap, node, wanted, to);
        Ok(())
    }
}

/// The mode of a symbolic link: all may do everything, and it does not matter.
const LINK_MODE: u16 = 0o120_777;

/// The mode of a whiteout: a character device with number 0.
const WHITEOUT_MODE: u16 = 0o020_000;

/// Makes an inode and gives it a name.
fn make(
    idmap: &Idmap,
    dir: &Node,
    name: &[u8],
    mode: u16,
    links: u32,
    device: u32,
    what: What<'_>,
) -> Result<Ready<Fs>> {
    let node = with_retry(dir, || {
        let newborn = NewNode::new(idmap, dir, mode, links, device)?;
        create::create(dir, name, newborn, what)
    })?;
    inode::settle(dir)?;
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
        write::start_replacing(node);
    }
    let left = with_retry(how.new_dir, || {
        let whiteout = match how.flags & flags::WHITEOUT {
            0 => None,
            _ => Some(NewNode::new(idmap, how.old_dir, WHITEOUT_MODE, 1, 0)?),
        };
        rename::rename(old, new, whiteout)
    })?;
    // Nobody has looked the whiteout up; a name that is looked up finds it.
    drop(left.map(Ready::unlock));
    Ok(())
}

/// Does something that may need space. Where there is none, does it again with the blocks that were chosen ahead for
/// files, and, if there are any, those that were freed and wait for a commit.
pub(super) fn with_retry<R>(dir: &Node, mut f: impl FnMut() -> Result<R>) -> Result<R> {
    let mounted = &dir.super_block().data().mounted;
    match f() {
        Err(error) if error == ENOSPC => {
            release_windows(dir.super_block());
            if mounted.volume.space.pending_free() > 0 {
                mounted.reclaim_freed()?;
            }
            f()
        }
        result => result,
    }
}
