// SPDX-License-Identifier: GPL-2.0

//! Names: lookup, and all that changes a directory but `rename` ([`super::rename`]).
//!
//! # Links
//!
//! An inode has at most [`LINK_MAX`] links. A directory has two and one for each directory in it; a hashed one that
//! would get more has 1 from then on, which stands for "not counted" (feature `dir_nlink`), and keeps it.
//!
//! # Locks
//!
//! The VFS holds `i_rwsem` of the directory, and of an inode that loses or gets a name.

use super::create::{self, What};
use super::dir::Dir;
use super::extents::release_windows;
use super::rename::rename;
use super::{inode, symlink, Core, Fs, Node, Orphans, Tx, Volume};
use crate::disk::inode::InodeFlags;
use crate::linux::attr::{Attr, Idmap, Stat, Wanted};
use crate::linux::dentry::Entry;
use crate::linux::fileattr::FileAttr;
use crate::linux::inode::{Kind, Ready};
use crate::linux::inode_ops::{Operations, Rename};
use crate::map::FileMap;
use crate::names::{self, FileType};
use crate::store::Store;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// The most links of an inode (`EXT4_LINK_MAX`).
pub(super) const LINK_MAX: u32 = 65000;

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
                inode::number(dir),
                fmt!("directory {number}: a name leads to {what}, {ino}"),
            )
        };
        if found.ino == inode::number(dir) {
            return Err(bad("itself"));
        }
        match inode::get(dir.super_block(), found.ino) {
            Ok(node) => Ok(Some(node)),
            Err(error) if error == ESTALE => Err(bad("an inode that is not in use")),
            Err(error) => Err(error),
        }
    }

    fn create(idmap: &Idmap, dir: &Node, name: &[u8], mode: u16) -> Result<Ready<Fs>> {
        let make = Make {
            mode,
            links: 1,
            what: What::Plain,
        };
        make_named(idmap, dir, name, make)
    }

    fn mknod(idmap: &Idmap, dir: &Node, name: &[u8], mode: u16, device: u32) -> Result<Ready<Fs>> {
        let what = match Kind::from_mode(mode) {
            Some(Kind::Regular) => What::Plain,
            _ => What::Special { device },
        };
        let make = Make {
            mode,
            links: 1,
            what,
        };
        make_named(idmap, dir, name, make)
    }

    fn symlink(idmap: &Idmap, dir: &Node, name: &[u8], target: &[u8]) -> Result<Ready<Fs>> {
        // The block has a zero behind it.
        if target.len() >= dir.super_block().block_size() as usize {
            return Err(ENAMETOOLONG);
        }
        let make = Make {
            mode: LINK_MODE,
            links: 1,
            what: What::Link { target },
        };
        make_named(idmap, dir, name, make)
    }

    fn mkdir(idmap: &Idmap, dir: &Node, name: &[u8], mode: u16) -> Result<Ready<Fs>> {
        check_dir_links(dir)?;
        let make = Make {
            mode,
            links: 2,
            what: What::Plain,
        };
        make_named(idmap, dir, name, make)
    }

    fn tmpfile(idmap: &Idmap, dir: &Node, mode: u16) -> Result<Ready<Fs>> {
        let volume = dir.data().volume();
        with_retry(dir, || {
            let credits = create::credits(volume).saturating_add(Orphans::CREDITS);
            let mut tx = volume.store.begin(credits, 0)?;
            // It is born with a link, as an inode without one cannot be told from a free one.
            let node = create::make(idmap, dir, &mut tx, mode, 1, What::Plain)?;
            node.set_links(0);
            let done = inode::mark_orphan(&node, &mut tx)
                .and_then(|_| node.data().write_attrs(&node, &mut tx));
            drop(tx);
            done.map(|()| node)
        })
    }

    fn link(node: &Node, dir: &Node, name: &[u8]) -> Result {
        if node.links() >= LINK_MAX {
            return Err(EMLINK);
        }
        let volume = dir.data().volume();
        let _held = (inode::hold(dir)?, inode::hold(node)?);
        with_retry(dir, || {
            let credits = insert_credits(volume, dir)
                .saturating_add(Core::WRITE_CREDITS)
                .saturating_add(Orphans::CREDITS);
            let mut tx = volume.store.begin(credits, INSERT_REVOKES)?;
            let inserted = insert(dir, &mut tx, name, node);
            // Whatever it came to, the directory may have changed.
            dir.data().write_core_now(dir, &mut tx)?;
            inserted?;
            let was_orphan = node.links() == 0;
            node.set_links(node.links().saturating_add(1));
            let unmarked = match was_orphan {
                true => inode::unmark_orphan(node, &mut tx),
                false => Ok(()),
            };
            node.set_change_time_now();
            node.raise_version();
            unmarked
                .and_then(|()| node.data().write_attrs(node, &mut tx))
                .map_err(|error| inode::half_done(node, "its new name", error))
        })?;
        inode::settle(dir)
    }

    fn unlink(dir: &Node, name: &[u8], node: &Node) -> Result {
        unlink(dir, name, node)?;
        inode::settle(dir)
    }

    fn rmdir(dir: &Node, name: &[u8], node: &Node) -> Result {
        rmdir(dir, name, node)?;
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

/// An inode to be made with a name.
#[derive(Clone, Copy)]
struct Make<'a> {
    mode: u16,
    links: u32,
    what: What<'a>,
}

/// Makes an inode and gives it a name.
fn make_named(idmap: &Idmap, dir: &Node, name: &[u8], make: Make<'_>) -> Result<Ready<Fs>> {
    let node = with_retry(dir, || add(idmap, dir, name, make))?;
    inode::settle(dir)?;
    Ok(node)
}

/// [`make_named`] in one transaction.
fn add(idmap: &Idmap, dir: &Node, name: &[u8], make: Make<'_>) -> Result<Ready<Fs>> {
    let volume = dir.data().volume();
    // What the inode costs, its first block, its name, and its way out if it cannot have one.
    let credits = create::credits(volume)
        .saturating_add(names::make_empty_credits(append_credits(volume, 0)))
        .saturating_add(insert_credits(volume, dir))
        .saturating_add(Orphans::CREDITS);
    let _held = inode::hold(dir)?;
    let mut tx = volume.store.begin(credits, INSERT_REVOKES)?;
    let node = create::make(idmap, dir, &mut tx, make.mode, make.links, make.what)?;
    let named =
        fill(&node, dir, &mut tx, make.what).and_then(|()| insert(dir, &mut tx, name, &node));
    if named.is_ok() && node.is_directory() {
        add_dir_link(dir);
    }
    // Whatever it came to, the directory may have changed.
    let written = dir.data().write_core_now(dir, &mut tx);
    if let Err(error) = named {
        create::give_up(&node, &mut tx);
        drop(tx);
        return Err(error);
    }
    drop(tx);
    written.map(|()| node)
}

/// Removes a name of `node`, which is made an orphan before if it `dies` with that, and is none where it fails.
fn remove_name(dir: &Node, tx: &mut Tx<'_>, name: &[u8], node: &Node, dies: bool) -> Result {
    let marked = dies && inode::mark_orphan(node, tx)?;
    names::remove(&mut Dir::new(dir), tx, name, inode::number(node)).inspect_err(|_| {
        if marked {
            inode::unmark_again(node, tx);
        }
    })
}

/// Takes a name from an inode that is no directory, in one transaction. Does first what can fail.
fn unlink(dir: &Node, name: &[u8], node: &Node) -> Result {
    let volume = dir.data().volume();
    let _held = (inode::hold(dir)?, inode::hold(node)?);
    let mut tx = volume.store.begin(remove_credits(), 0)?;
    remove_name(dir, &mut tx, name, node, node.links() == 1)?;
    changed(dir);
    dir.data()
        .write_attrs(dir, &mut tx)
        .and_then(|()| lost_name(node, &mut tx))
        .map_err(|error| inode::half_done(node, "losing its name", error))
}

/// An inode that is no directory has lost a name.
pub(super) fn lost_name(node: &Node, tx: &mut Tx<'_>) -> Result {
    if node.links() == 0 {
        // The count was too low. The name is gone, which was what was wanted.
        return Ok(());
    }
    node.set_links(node.links().saturating_sub(1));
    node.set_change_time_now();
    node.raise_version();
    if node.links() == 0 {
        inode::mark_orphan(node, tx)?;
    }
    node.data().write_attrs(node, tx)
}

/// Removes an empty directory, in one transaction. Does first what can fail.
fn rmdir(dir: &Node, name: &[u8], node: &Node) -> Result {
    let volume = dir.data().volume();
    if !names::is_empty(&Dir::new(node))? {
        return Err(ENOTEMPTY);
    }
    let _held = (inode::hold(dir)?, inode::hold(node)?);
    let mut tx = volume.store.begin(remove_credits(), 0)?;
    remove_name(dir, &mut tx, name, node, true)?;
    drop_dir_link(dir);
    changed(dir);
    dir.data()
        .write_attrs(dir, &mut tx)
        .and_then(|()| buried(node, &mut tx))
        .map_err(|error| inode::half_done(node, "losing its name", error))
}

/// Gives a new inode its first block, if it needs one.
fn fill(node: &Node, dir: &Node, tx: &mut Tx<'_>, what: What<'_>) -> Result {
    match what {
        What::Link { target } if what.is_slow_link() => symlink::fill(node, tx, target)?,
        What::Plain if node.is_directory() => {
            names::make_empty(&mut Dir::new(node), tx, inode::number(dir))?;
        }
        _ => return Ok(()),
    }
    node.data().write_core_now(node, tx)
}

/// Inserts a name that the VFS has looked up and not found. The caller writes the directory, whatever this returns.
pub(super) fn insert(dir: &Node, tx: &mut Tx<'_>, name: &[u8], node: &Node) -> Result {
    names::insert(
        &mut Dir::new(dir),
        tx,
        name,
        inode::number(node),
        file_type(node),
    )?;
    changed(dir);
    Ok(())
}

/// The names of a directory have changed.
pub(super) fn changed(dir: &Node) {
    dir.touch();
    dir.raise_version();
}

/// A directory, which is empty, has lost its name: it becomes an orphan.
pub(super) fn buried(node: &Node, tx: &mut Tx<'_>) -> Result {
    node.set_links(0);
    node.set_change_time_now();
    node.raise_version();
    inode::mark_orphan(node, tx)?;
    node.data().write_attrs(node, tx)
}

/// Whether `dir` may have more directories than can be counted.
fn may_stop_counting(dir: &Node) -> bool {
    let data = dir.data();
    data.volume().layout.has_dir_nlink() && data.flags().has(InodeFlags::INDEX)
}

/// Whether one more directory can be made in `dir`.
pub(super) fn check_dir_links(dir: &Node) -> Result {
    match dir.links() {
        LINK_MAX.. if !may_stop_counting(dir) => Err(EMLINK),
        _ => Ok(()),
    }
}

/// There is one more directory in `dir`.
pub(super) fn add_dir_link(dir: &Node) {
    let links = dir.links();
    let more = links.saturating_add(1);
    // 1 stands for not counted.
    if links == 1 || (more > LINK_MAX && may_stop_counting(dir)) {
        dir.set_links(1);
    } else {
        dir.set_links(more);
    }
}

/// There is one directory less in `dir`.
pub(super) fn drop_dir_link(dir: &Node) {
    // Two are its own; 1 stands for not counted.
    if dir.links() > 2 {
        dir.set_links(dir.links().saturating_sub(1));
    }
}

/// What an entry says of an inode.
pub(super) fn file_type(node: &Node) -> FileType {
    match node.kind() {
        Kind::Regular => FileType::Regular,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}

/// Credits for a block that is added to a file whose tree has this depth.
fn append_credits(volume: &Volume, depth: u16) -> u32 {
    FileMap::commit_credits(volume, depth).blocks
}

/// Credits for a name that is inserted in `dir`, with the inode of the directory.
pub(super) fn insert_credits(volume: &Volume, dir: &Node) -> u32 {
    // The tree may become deeper by one before the second block is added.
    let depth = dir.data().core().lock().map.depth().saturating_add(1);
    names::insert_credits(append_credits(volume, depth)).saturating_add(Core::WRITE_CREDITS)
}

/// Revokes for a name that is inserted: with each of the two blocks that it may add, the extent tree of a directory
/// that others made may become lower.
pub(super) const INSERT_REVOKES: u32 = 2;

/// Credits for a name that is removed, with the inodes of the directory and of what it led to.
pub(super) const fn remove_credits() -> u32 {
    names::CHANGE_CREDITS
        .saturating_add(Core::WRITE_CREDITS.saturating_mul(2))
        .saturating_add(Orphans::CREDITS)
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
