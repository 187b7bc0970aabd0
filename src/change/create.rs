// SPDX-License-Identifier: GPL-2.0

//! New inodes, with a name or without.
//!
//! An inode is made in the transaction that gives it its name. If the name cannot be had after all, the inode is left
//! without links and as an orphan: dropping it frees it, and if the machine stops before, recovery does.

use super::dir::{add_dir_link, check_dir_links, Dir};
use super::link::insert;
use super::live::{InodePart, Live, Newborn};
use super::value::{self, Stored};
use super::xattr::note_feature;
use super::{mark_orphan, pin, reservation, write, write_now};
use crate::disk::inode::InodeFlags;
use crate::disk::symlink::TargetFormat;
use crate::disk::{FileType, Flaw, LogicalBlock};
use crate::inode::{
    release_new_attributes, wipe, Changed, Content, Draft, How, Inode, ValueCounts,
};
use crate::names;
use crate::store::{Rule, Store, Transaction};
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A regular file; a directory.
    Plain,
    /// A device, pipe or socket.
    Special,
    /// A symbolic link.
    Link {
        /// Where it leads: shorter than a block.
        target: &'a [u8],
    },
}

impl<'a> What<'a> {
    /// Where it leads; nothing for what is no link.
    pub fn target(self) -> &'a [u8] {
        match self {
            Self::Link { target } => target,
            _ => &[],
        }
    }

    /// What is in `i_block`.
    fn content(self) -> Content<'a> {
        match self {
            Self::Special => Content::Special,
            Self::Link { target } if target.len() <= Inode::MAX_FAST_TARGET => {
                Content::Target(target)
            }
            Self::Plain | Self::Link { .. } => Content::Mapped,
        }
    }
}

/// Flags that an inode has from the directory it is made in.
const INHERITED: InodeFlags = InodeFlags::SYNC
    .with(InodeFlags::NODUMP)
    .with(InodeFlags::NOATIME)
    .with(InodeFlags::DIRSYNC)
    .with(InodeFlags::PROJINHERIT)
    .with(InodeFlags::DAX);

/// Those of them that anything but regular files and directories can have.
const INHERITED_BY_OTHERS: InodeFlags = InodeFlags::NODUMP.with(InodeFlags::NOATIME);

/// The flags of a new inode of this type in a directory with flags `dir`.
fn inherited(dir: InodeFlags, file_type: FileType) -> InodeFlags {
    let mask = match file_type {
        FileType::Directory => INHERITED,
        FileType::Regular => INHERITED
            .without(InodeFlags::DIRSYNC)
            .without(InodeFlags::PROJINHERIT),
        _ => INHERITED_BY_OTHERS,
    };
    InodeFlags::from_bits(dir.bits() & mask.bits())
}

/// `create`, `mknod`, `mkdir`, `symlink`: makes an inode and gives it the name `name` in `dir`, which has no such name.
/// The newborn has the links that it is to have.
///
/// # Errors
///
/// `ENOSPC` where there is no free inode or block; `EDQUOT`; `EMLINK` for one directory too many; `EUCLEAN`, reported;
/// `EIO`, `ENOMEM`.
pub fn create<S, L, N>(dir: &L, name: &[u8], newborn: N, what: What<'_>) -> Result<N::Ready>
where
    S: Store,
    L: Live<S>,
    N: Newborn<S, Live = L>,
{
    let volume = dir.volume();
    let is_dir = newborn.attrs().file_type() == FileType::Directory;
    if is_dir {
        check_dir_links(dir)?;
    }
    let _pinned = pin(dir)?;
    let lists = newborn.lists()?;
    let stored = value::store(dir, lists.as_deref())?;
    let stored = stored.as_deref().unwrap_or(&[]);
    let mut tx = volume.store.begin(reservation::create(dir))?;
    let node = make(dir, &mut tx, newborn, what, stored)?;
    let named =
        add_content(&*node, dir, &mut tx, what).and_then(|()| insert(dir, &mut tx, name, &*node));
    if named.is_ok() && is_dir {
        add_dir_link(dir);
    }
    // Whatever it came to, the directory may have changed.
    let written = match volume.store.breaks(Rule::DirectoryWritten) {
        true => Ok(()),
        false => write_now(dir, &mut tx, InodePart::Data),
    };
    if named.is_err() && !volume.store.breaks(Rule::GiveUp) {
        give_up(&*node, &mut tx);
    }
    // Before the inode is given up, if it is.
    drop(tx);
    named.and(written).map(|()| node)
}

/// `O_TMPFILE`: makes a file without a name in the file system of `dir`, as an orphan. The newborn has a link.
///
/// # Errors
///
/// Those of [`create`].
pub fn tmpfile<S, L, N>(dir: &L, newborn: N) -> Result<N::Ready>
where
    S: Store,
    L: Live<S>,
    N: Newborn<S, Live = L>,
{
    let volume = dir.volume();
    let lists = newborn.lists()?;
    let stored = value::store(dir, lists.as_deref())?;
    let stored = stored.as_deref().unwrap_or(&[]);
    let mut tx = volume.store.begin(reservation::tmpfile(volume))?;
    // It is born with a link, as an inode without one cannot be told from a free one.
    let node = make(dir, &mut tx, newborn, What::Plain, stored)?;
    node.set_links(0);
    let done = mark_orphan(&*node, &mut tx)
        .and_then(|_| write_now(&*node, &mut tx, InodePart::Attributes));
    drop(tx);
    done.map(|()| node)
}

/// Makes an inode in `dir`, without a name yet. On an error nothing is left. With what it returns, and an error
/// afterwards, the caller does [`give_up`]. `stored` are values of attributes that it is born with.
pub(super) fn make<S, L, N>(
    dir: &L,
    tx: &mut S::Tx<'_>,
    newborn: N,
    what: What<'_>,
    stored: &[Stored<'_, S, L>],
) -> Result<N::Ready>
where
    S: Store,
    L: Live<S>,
    N: Newborn<S, Live = L>,
{
    let volume = dir.volume();
    let attrs = newborn.attrs();
    let file_type = attrs.file_type();
    let is_dir = file_type == FileType::Directory;
    let ino = volume
        .space
        .alloc_inode(&volume.store, tx, dir.ino(), is_dir)?;
    // One that is being freed in many steps would be waited for, which waits for this handle in turn.
    if dir.orphans().contains(ino) || newborn.insert(ino).is_err() {
        // Then it must not be freed, either.
        return Err(volume.store.flawed(ino, Flaw::InodeStillUsed));
    }
    let flags = inherited(dir.flags(), file_type);
    let generation = newborn.generation();
    let content = what.content();
    let made = Inode::create(volume, tx, ino, &attrs, flags, generation, content);
    // On an error the newborn has gone before somebody else gets its number, who must not meet it.
    let ready = match made {
        Ok(inode) => finish(dir, tx, newborn, inode, stored),
        Err(error) => Err(error),
    };
    match ready {
        Ok(node) => {
            // Nobody has to look at its map before the first write.
            node.note_clean_end(true);
            node.account(tx, node.map_lock().map.sectors());
            Ok(node)
        }
        Err(error) => {
            // What this fails with is reported; the error that led here tells more.
            let _ = wipe(volume, tx, ino)
                .and_then(|()| volume.space.free_inode(&volume.store, tx, ino, is_dir));
            Err(error)
        }
    }
}

/// The last steps of [`make`]: `inode` gets its attributes, and is the newborn's. It is large, so few hands pass it on.
#[inline(always)]
fn finish<S, L, N>(
    dir: &L,
    tx: &mut S::Tx<'_>,
    newborn: N,
    mut inode: Inode,
    stored: &[Stored<'_, S, L>],
) -> Result<N::Ready>
where
    S: Store,
    L: Live<S>,
    N: Newborn<S, Live = L>,
{
    let volume = dir.volume();
    let labelled = label(dir, tx, &mut inode, &newborn, stored);
    let (owner, attributes) = (inode.owner(), inode.file_acl);
    let finished = labelled.and_then(|values| newborn.finish(tx, inode, values.saturating_add(1)));
    finished.inspect_err(|_| {
        let budget = stored.len() as u32;
        let mut counts = ValueCounts::lock(volume, dir.orphans(), &[], budget);
        // What this fails with is reported.
        let _ = release_new_attributes(volume, tx, attributes, owner, &mut counts);
    })
}

/// Gives a new inode the attributes that it is born with, and returns how many inodes hold values of them.
fn label<S: Store, L: Live<S>, N: Newborn<S>>(
    dir: &L,
    tx: &mut S::Tx<'_>,
    inode: &mut Inode,
    newborn: &N,
    stored: &[Stored<'_, S, L>],
) -> Result<u32> {
    let volume = dir.volume();
    let Some(attributes) = newborn.attributes()? else {
        return Ok(0);
    };
    let mut made = KVec::new();
    for value in stored {
        made.extend_from_slice(value.made(), GFP_KERNEL)?;
    }
    let mut counts = ValueCounts::lock(volume, dir.orphans(), &made, 0);
    let mut draft = Draft::of(volume, inode)?;
    for new in &attributes {
        let (name, value) = (new.name(), &*new.value);
        if draft.set(volume, name, Some(value), How::Create)? == Changed::NotYet {
            // One that has gone since it was found is as rare as no space, and tried again like that.
            let found = stored.iter().find(|stored| stored.is_of(value));
            let found = found.filter(|stored| stored.is_right(&mut counts));
            draft.set_elsewhere(volume, name, found.ok_or(ENOSPC)?.entry(name))?;
        }
    }
    let (_, values) = draft.wants(volume);
    note_feature(volume, tx)?;
    draft.write(volume, tx, inode, &mut counts)?;
    for value in stored {
        value.note(&mut counts);
    }
    drop(counts);
    inode.write_with(volume, tx, &newborn.attrs(), &draft)?;
    Ok(values)
}

/// The inode gets no name after all: it becomes an orphan in this transaction, and is freed when the caller has ended
/// the handle and drops it.
pub(super) fn give_up<S: Store, L: Live<S>>(node: &L, tx: &mut S::Tx<'_>) {
    node.set_links(0);
    let done = mark_orphan(node, tx).and_then(|_| write_now(node, tx, InodePart::Attributes));
    if let Err(error) = done {
        let ino = node.ino();
        node.volume().store.fail(
            error,
            ino,
            fmt!(
                "inode {}: the inode has no name and is no orphan: only e2fsck can free it",
                ino.get()
            ),
        );
    }
}

/// Gives a new inode its first block, if it needs one.
fn add_content<S: Store, L: Live<S>>(
    node: &L,
    dir: &L,
    tx: &mut S::Tx<'_>,
    what: What<'_>,
) -> Result {
    match (what, what.content()) {
        (What::Link { target }, Content::Mapped) => write_target(node, tx, target),
        (What::Plain, _) if node.is_dir() => {
            names::make_empty(&mut Dir::new(node), tx, dir.ino())?;
            write_now(node, tx, InodePart::Data)
        }
        _ => Ok(()),
    }
}

/// Gives a new symbolic link the block with its target.
fn write_target<S: Store, L: Live<S>>(node: &L, tx: &mut S::Tx<'_>, target: &[u8]) -> Result {
    let volume = node.volume();
    let mut inode = node.map_lock();
    node.promise(1)?;
    let run = volume.with_reserves(|share| {
        let goal = node.goal(false);
        inode
            .map
            .allocate(volume, tx, LogicalBlock::ZERO, 1, goal, share)
    })?;
    inode.disk_size = target.len() as u64;
    node.set_size(inode.disk_size);
    let (_, fits) = tx.create(run.start, TargetFormat, |bytes| {
        match bytes.get_mut(..target.len()) {
            Some(to) => {
                to.copy_from_slice(target);
                true
            }
            None => false,
        }
    })?;
    if !fits {
        return Err(ENAMETOOLONG);
    }
    write(node, &inode, tx, InodePart::Data)
}
