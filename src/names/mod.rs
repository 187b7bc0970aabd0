// SPDX-License-Identifier: GPL-2.0

//! Directories: files of blocks with names, linear or hashed.
//!
//! Tests: `tools/core/tests/names*.rs`, `qemu/test/t/{names-,dir-,odd-directories}*.sh`.
//!
//! A *linear* directory is scanned from its first block on. A *hashed* one (inode flag `INDEX`) has a tree of
//! hashes in its first block and in some others, and leaves that look like blocks of a linear one; its
//! directory becomes hashed when the first block is full (feature `dir_index`) and never goes back. Blocks
//! are not given back when names are removed. Documentation/filesystems/ext4/directory.rst.
//!
//! | file | what is in it |
//! |---|---|
//! | `access` | the interface to the directory's inode; checked reads of its blocks |
//! | `leaf` | what is done to one block of entries |
//! | `tree` | the way through a tree, and its growth |
//! | `readdir` | listing, with positions that survive changes |
//!
//! # A bad index
//!
//! Where the root or a node of a tree is bad, that is reported once per inode in memory, and names are found,
//! listed, replaced and removed by a linear scan. A name is not inserted then, with metadata checksums
//! (`EUCLEAN`): index blocks have no checksum that a linear directory's would have, so that e2fsck would
//! find more wrong than before. Without, the flag `INDEX` is cleared, which is all that it takes to make a
//! linear directory. That is what ext4 does.
//!
//! # Blocks that are missing
//!
//! A directory has no holes. Where one has, or a size beyond what is mapped, or a block that cannot be trusted, that is
//! reported, and the names in the other blocks are found, listed, replaced and removed. A listing ends with `EUCLEAN`
//! once it has given all the others, a name that is not found is answered by `EUCLEAN` where it could be in what is
//! missing, and no name is added. ext4 ends the listing of a hashed directory at the first such block, and says
//! nothing of one in a linear directory.
//!
//! # Locks
//!
//! The caller holds the directory's `i_rwsem`: shared for [`lookup`], [`is_empty`] and [`readdir()`],
//! exclusive for the others, inside one handle. Nothing is called back under a byte lock.

mod access;
mod leaf;
mod readdir;
mod tree;

pub use access::{Directory, Known, Params};
pub use readdir::{readdir, Cursor, Listed, Listing};

use crate::disk::dirent::{put_entry, rec_len_for, set_target, Dots, NAME_LEN};
use crate::disk::dx::{DxFormat, IndexPart};
use crate::disk::hash::HashVersion;
use crate::disk::{FileType, Flaw, Ino, LogicalBlock};
use crate::store::{About, Block, Credits, Store, Transaction};
use access::{
    bad_dir, bad_leaf, check_whole, dx_format, has_good_tree, has_tree, index_failed, leaf_format,
    need_leaf, pass_over, read_index, Fault, Scan,
};
use kernel::error::{code::*, Error, Result};
use leaf::{NewEntry, RoomSearch};
use tree::Located;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameTarget {
    /// The inode.
    pub ino: Ino,
    /// Its type as the entry says; only a hint.
    pub file_type: Option<FileType>,
}

/// Credits for [`insert`] into an index of at most `levels` levels, where `append` covers one [`Directory::append`];
/// the directory's inode comes on top.
///
/// The most is a leaf divided below nodes that are divided: two blocks each, the root, and a block appended for each
/// but that.
pub const fn insert_credits(append: Credits, levels: usize) -> Credits {
    let levels = levels as u32;
    append
        .times(levels)
        .plus(Credits::blocks(levels.saturating_mul(2).saturating_add(1)))
}

/// Credits for [`make_empty`], where `append` covers one [`Directory::append`]; the inode comes on top.
pub const fn make_empty_credits(append: Credits) -> Credits {
    append.plus(Credits::blocks(1))
}

/// Credits for [`remove`], [`replace`] or [`set_dotdot`].
pub const CHANGE_CREDITS: Credits = Credits::blocks(1);

/// Blocks that a linear scan asks for ahead.
const READAHEAD: u32 = 8;

fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// Names that can be inserted, replaced and removed.
fn check_name(name: &[u8]) -> Result {
    match name.len() {
        0 => Err(EINVAL),
        1..=NAME_LEN if !is_dots(name) => Ok(()),
        1..=NAME_LEN => Err(EINVAL),
        _ => Err(ENAMETOOLONG),
    }
}

/// Looks for `name`. Does not allocate.
///
/// # Errors
///
/// `ENAMETOOLONG`; `EUCLEAN` where a block that may have the name is bad or missing; `EIO`.
pub fn lookup<S: Store>(dir: &impl Directory<S>, name: &[u8]) -> Result<Option<NameTarget>> {
    if name.len() > NAME_LEN {
        return Err(ENAMETOOLONG);
    }
    if is_dots(name) {
        let ino = match name {
            b"." => dir.ino(),
            _ => dots(dir)?.parent,
        };
        let file_type = dir.params().file_type(Some(FileType::Directory));
        return Ok(Some(NameTarget { ino, file_type }));
    }
    let found = find(dir, name)?.map(|(_, found)| NameTarget {
        ino: found.ino,
        file_type: dir.params().file_type(found.file_type),
    });
    Ok(found)
}

/// Finds `name`, which is not `.` or `..`.
fn find<S: Store>(dir: &impl Directory<S>, name: &[u8]) -> Result<Option<Located<S>>> {
    if has_good_tree(dir) {
        match tree::find(dir, name) {
            Ok(found) => return Ok(found),
            Err(Fault::Index) => dir.note(Known::INDEX_FAILED),
            Err(Fault::Other(error)) => return Err(error),
        }
    }
    let mut scan = Scan::new(dir, 0);
    while let Some((_, block)) = scan.next(dir)? {
        let found = block.and_then(|block| {
            let format = *block.format();
            match block.with(|bytes| leaf::find(&format, bytes, name)) {
                Ok(found) => Ok(found.map(|found| (block, found))),
                Err(flaw) => Err(bad_leaf(dir, &block, flaw)),
            }
        });
        match found {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => pass_over(dir, error)?,
        }
    }
    // It may be in what is missing.
    match dir.known().has(Known::INCOMPLETE) {
        true => Err(dir.store().reported()),
        false => Ok(None),
    }
}

/// At the start of each run of blocks of a scan: asks for the blocks of the run, if the first is not in memory. A
/// single block is not asked for ahead, as the scan reads it next.
fn read_ahead<S: Store>(dir: &impl Directory<S>, at: u32) {
    if at % READAHEAD != 0 {
        return;
    }
    let end = at.saturating_add(READAHEAD).min(dir.blocks());
    if end.saturating_sub(at) < 2 {
        return;
    }
    for at in at..end {
        let Ok((Some(nr), _)) = dir.run(LogicalBlock::new(at)) else {
            continue;
        };
        let format = leaf_format(dir, has_tree(dir));
        if at % READAHEAD == 0 && dir.store().read_cached(nr, format).is_some() {
            return;
        }
        dir.store().readahead(nr, 1);
    }
}

/// `.` and `..`.
fn dots<S: Store>(dir: &impl Directory<S>) -> Result<Dots> {
    let find = |bytes: &[u8]| Dots::find(bytes, dir.ino(), dir.params().inodes_count);
    let (about, dots) = if has_good_tree(dir) {
        let block = read_index(dir, LogicalBlock::ZERO)?;
        (About::block(block.nr(), block.format()), block.with(find))
    } else {
        let block = need_leaf(dir, LogicalBlock::ZERO, has_tree(dir))?;
        (About::block(block.nr(), block.format()), block.with(find))
    };
    dots.map_err(|flaw| dir.store().flawed(about, flaw))
}

/// Inserts `name`, which the caller has looked up and not found under the same lock.
///
/// Whatever this returns, the caller then writes the directory's inode in the same handle: size, map and flags
/// may have changed. Needs [`insert_credits`].
///
/// # Errors
///
/// `ENOSPC` where no block is free or the tree is as large as it gets; `EEXIST` where the name was met;
/// `EINVAL`, `ENAMETOOLONG` for what cannot be a name; `EUCLEAN`; `EIO`; `ENOMEM`. The name is not there then.
pub fn insert<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    name: &[u8],
    ino: Ino,
    file_type: FileType,
) -> Result {
    check_name(name)?;
    check_whole(dir)?;
    let params = dir.params();
    let new = NewEntry {
        name,
        ino,
        file_type: params.file_type(Some(file_type)),
    };
    let mut may_convert = params.new_tree();
    if has_tree(dir) {
        let done = match index_failed(dir) {
            true => Err(Fault::Index),
            false => tree::insert(dir, tx, new),
        };
        match done {
            Ok(()) => return Ok(()),
            Err(Fault::Other(error)) => return Err(error),
            Err(Fault::Index) => dir.note(Known::INDEX_FAILED),
        }
        if dir.seed().is_some() {
            return Err(dir.store().reported());
        }
        dir.set_indexed(false);
        may_convert = None;
    } else if dir.is_indexed() {
        // Made when the file system had the feature. What is inserted now is not in the tree, and may be in its place.
        dir.set_indexed(false);
    }
    insert_linear(dir, tx, new, may_convert)
}

fn insert_linear<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    new: NewEntry<'_>,
    may_convert: Option<HashVersion>,
) -> Result {
    let blocks = dir.blocks();
    let mut scan = Scan::new(dir, 0);
    while let Some((_, block)) = scan.next(dir)? {
        let block = block?;
        let format = *block.format();
        match block.with(|bytes| leaf::room(&format, bytes, new.name)) {
            Ok(RoomSearch::At(slot)) => {
                return tx
                    .edit(&block, |bytes| leaf::insert_at(bytes, slot, &new))?
                    .ok_or_else(|| changed(dir));
            }
            Ok(RoomSearch::Exists) => return Err(EEXIST),
            Ok(RoomSearch::Full) => {}
            Err(flaw) => return Err(bad_leaf(dir, &block, flaw)),
        }
        if let (1, Some(version)) = (blocks, may_convert) {
            tree::convert(dir, tx, &block, version)?;
            return match tree::insert(dir, tx, new) {
                Ok(()) => Ok(()),
                Err(Fault::Other(error)) => Err(error),
                Err(Fault::Index) => Err(dir.store().reported()),
            };
        }
    }
    let (_, nr) = dir.append(tx)?;
    let format = leaf_format(dir, false);
    let (_, put) = tx.create(nr, format, |bytes| {
        format.clear(bytes);
        let all = format.end(bytes);
        put_entry(bytes, 0, all, Some(new.ino), new.file_type, new.name)
    })?;
    put.ok_or_else(|| no_room(dir))
}

/// A block is not as it was a moment before, although nobody else changes the directory: it is another one's, too.
#[cold]
#[track_caller]
pub fn changed<S: Store>(dir: &impl Directory<S>) -> Error {
    bad_dir(dir, Flaw::DirChanged)
}

/// A name does not fit into a new block.
#[track_caller]
fn no_room<S: Store>(dir: &impl Directory<S>) -> Error {
    dir.store().bug(
        dir.ino(),
        "a name does not fit into a new block of a directory",
    )
}

/// Removes `name`, which the caller has looked up under the same lock: it leads to `ino`. Needs [`CHANGE_CREDITS`].
///
/// # Errors
///
/// `EUCLEAN`, reported, where the name is not there or leads elsewhere; else as [`lookup`].
pub fn remove<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    name: &[u8],
    ino: Ino,
) -> Result {
    check_name(name)?;
    let (block, found) = find(dir, name)?
        .filter(|(_, found)| found.ino == ino)
        .ok_or_else(|| changed(dir))?;
    let format = *block.format();
    match tx.edit(&block, |bytes| leaf::remove(&format, bytes, found.at))? {
        Ok(true) => Ok(()),
        Ok(false) => Err(changed(dir)),
        Err(flaw) => Err(bad_leaf(dir, &block, flaw)),
    }
}

/// Makes `name`, which the caller has looked up under the same lock, lead to `ino`. Needs [`CHANGE_CREDITS`].
///
/// # Errors
///
/// `EUCLEAN`, reported, where the name is not there; else as [`lookup`].
pub fn replace<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    name: &[u8],
    ino: Ino,
    file_type: FileType,
) -> Result {
    check_name(name)?;
    let (block, found) = find(dir, name)?.ok_or_else(|| changed(dir))?;
    let file_type = dir.params().file_type(Some(file_type));
    tx.edit(&block, |bytes| set_target(bytes, found.at, ino, file_type))?
        .ok_or_else(|| changed(dir))
}

/// Whether the directory has no names but `.` and `..`, and those.
///
/// # Errors
///
/// `EUCLEAN` where a block is bad or `.` or `..` is missing; `EIO`.
pub fn is_empty<S: Store>(dir: &impl Directory<S>) -> Result<bool> {
    // Not by the tree: a name that no hash leads to counts as well.
    let first = need_leaf(dir, LogicalBlock::ZERO, has_tree(dir))?;
    let dots = first
        .with(|bytes| Dots::find(bytes, dir.ino(), dir.params().inodes_count))
        .map_err(|flaw| bad_leaf(dir, &first, flaw))?;
    let mut scan = Scan::new(dir, 0);
    while let Some((at, block)) = scan.next(dir)? {
        let block = block?;
        let format = *block.format();
        let from = match at {
            LogicalBlock::ZERO => dots.end,
            _ => 0,
        };
        match block.with(|bytes| leaf::has_names(&format, bytes, from)) {
            Ok(false) => {}
            Ok(true) => return Ok(false),
            Err(flaw) => return Err(bad_leaf(dir, &block, flaw)),
        }
    }
    Ok(true)
}

/// Gives a new directory, which has no blocks, its first one, with `.` and `..`. The caller then writes the
/// inode in the same handle. Needs [`make_empty_credits`].
///
/// # Errors
///
/// `ENOSPC`; `EUCLEAN`, reported, where it has blocks.
pub fn make_empty<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    parent: Ino,
) -> Result {
    if dir.blocks() != 0 {
        return Err(dir.store().bug(dir.ino(), "a new directory has blocks"));
    }
    let (_, nr) = dir.append(tx)?;
    let format = leaf_format(dir, false);
    let file_type = dir.params().file_type(Some(FileType::Directory));
    let ino = dir.ino();
    let dots = |bytes: &mut [u8]| {
        format.clear(bytes);
        let at = rec_len_for(1);
        let rest = format.end(bytes).checked_sub(at)?;
        put_entry(bytes, 0, at, Some(ino), file_type, b".")?;
        put_entry(bytes, at, rest, Some(parent), file_type, b"..")
    };
    let (_, put) = tx.create(nr, format, dots)?;
    put.ok_or_else(|| no_room(dir))
}

/// Whether [`set_dotdot`] will find what it needs, which is in memory then.
///
/// # Errors
///
/// As there.
pub fn check_dotdot<S: Store>(dir: &impl Directory<S>) -> Result {
    dots(dir)?;
    match has_tree(dir) {
        true => root_with_dots(dir).map(drop),
        false => need_leaf(dir, LogicalBlock::ZERO, false).map(drop),
    }
}

/// The root of a tree, to change `..` in it. With a bad node below it, it is still one; what is bad itself must not
/// get a new checksum.
fn root_with_dots<S: Store>(dir: &impl Directory<S>) -> Result<Block<S, DxFormat>> {
    match read_index(dir, LogicalBlock::ZERO) {
        Err(error) if error == EUCLEAN && dir.seed().is_none() => {
            let block = need_leaf(dir, LogicalBlock::ZERO, true)?;
            Ok(block.retyped(dx_format(dir, IndexPart::Root)))
        }
        read => read,
    }
}

/// Makes `..` lead to `parent`, when the directory was moved. Needs [`CHANGE_CREDITS`].
///
/// # Errors
///
/// `EUCLEAN` where the first block is bad; `EIO`.
pub fn set_dotdot<S: Store, D: Directory<S>>(
    dir: &mut D,
    tx: &mut S::Tx<'_>,
    parent: Ino,
) -> Result {
    let at = dots(dir)?.parent_at;
    let file_type = dir.params().file_type(Some(FileType::Directory));
    let set = |bytes: &mut [u8]| set_target(bytes, at, parent, file_type);
    let done = if !has_tree(dir) {
        tx.edit(&need_leaf(dir, LogicalBlock::ZERO, false)?, set)?
    } else {
        tx.edit(&root_with_dots(dir)?, set)?
    };
    done.ok_or_else(|| changed(dir))
}
