// SPDX-License-Identifier: GPL-2.0

//! New inodes.
//!
//! An inode is made in the transaction that gives it its name. If the name cannot be had after all, the inode is
//! left without links and as an orphan: dropping it frees it, and if the machine stops before, recovery does.

use super::{inode, Core, Data, Fs, Node, Tx, Volume};
use crate::disk::inode::{FileKind, InodeFlags, Time};
use crate::disk::Ino;
use crate::inode::{wipe, Attrs, Content, Inode};
use crate::linux::attr::Idmap;
use crate::linux::inode::{New, Ready};
use crate::linux::random;
use crate::map::FileMap;
use crate::store::Store;
use kernel::prelude::*;

/// What is to be made.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    /// A regular file, an empty directory without blocks.
    Plain,
    /// A device, pipe or socket.
    Special {
        /// The device number; 0 where there is none.
        device: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: &'a [u8],
    },
}

impl What<'_> {
    /// Whether it is a link whose target needs a block.
    pub(super) fn is_slow_link(&self) -> bool {
        matches!(self, Self::Link { target } if target.len() > Inode::MAX_FAST_TARGET)
    }
}

/// Flags that an inode has from the directory it is made in.
const INHERITED: InodeFlags = InodeFlags::SYNC
    .with(InodeFlags::NODUMP)
    .with(InodeFlags::NOATIME)
    .with(InodeFlags::DIRSYNC);

/// Those of them that anything but regular files and directories can have.
const INHERITED_BY_OTHERS: InodeFlags = InodeFlags::NODUMP.with(InodeFlags::NOATIME);

/// The flags of a new inode of mode `mode` in a directory with flags `dir`.
fn inherited(dir: InodeFlags, kind: FileKind) -> InodeFlags {
    let mask = match kind {
        FileKind::Directory => INHERITED,
        FileKind::Regular => INHERITED.without(InodeFlags::DIRSYNC),
        _ => INHERITED_BY_OTHERS,
    };
    InodeFlags::from_bits(dir.bits() & mask.bits())
}

/// Credits to make an inode, without a name.
pub(super) fn credits(volume: &Volume) -> u32 {
    // A long link has a block.
    volume
        .space
        .credits_alloc_inode()
        .saturating_add(Core::WRITE_CREDITS)
        .saturating_add(FileMap::commit_credits(volume, 0).blocks)
}

/// Makes an inode in `dir`, which has `links` links but no name yet. Costs [`credits`].
///
/// # Errors
///
/// `ENOSPC` where there is no free inode or block; `EUCLEAN`, reported; `EDQUOT` never. On an error nothing is left.
/// With what it returns, and an error afterwards, the caller does [`give_up`].
pub(super) fn make(
    idmap: &Idmap,
    dir: &Node,
    tx: &mut Tx<'_>,
    mode: u16,
    links: u32,
    what: What<'_>,
) -> Result<Ready<Fs>> {
    let volume = dir.data().volume();
    let new = Node::new(dir.super_block())?;
    new.set_owner(idmap, dir, mode)?;
    new.set_links(links);
    let kind = FileKind::from_mode(new.mode()).ok_or(EINVAL)?;
    let is_dir = kind == FileKind::Directory;
    let ino = volume
        .space
        .alloc_inode(volume, tx, inode::number(dir), is_dir)?;
    // One that is being freed in many steps would be waited for, which waits for this handle in turn.
    let orphans = &dir.super_block().data().mounted.orphans;
    if orphans.contains(ino) || new.insert(ino.get()).is_err() {
        // Then it must not be freed, either.
        return Err(volume.store.corrupt(
            ino,
            fmt!("inode {}: is in use, but was marked as free", ino.get()),
        ));
    }
    let flags = inherited(dir.data().flags(), kind);
    match fill(&new, dir, tx, ino, flags, what) {
        Ok((core, created)) => new.init(Data::new(dir.data().volume_arc(), core, created)),
        Err(error) => {
            // Before somebody else gets its number, who must not meet it.
            drop(new);
            Err(error)
        }
    }
    .inspect_err(|_| {
        // What this fails with is reported; the error that led here tells more.
        let _ =
            wipe(volume, tx, ino).and_then(|()| volume.space.free_inode(volume, tx, ino, is_dir));
    })
}

/// Sets up the inode in memory and on the device.
fn fill(
    new: &New<Fs>,
    dir: &Node,
    tx: &mut Tx<'_>,
    ino: Ino,
    flags: InodeFlags,
    what: What<'_>,
) -> Result<(Core, Time)> {
    let now = inode::to_disk(new.set_times_now());
    let generation = random::number();
    new.set_generation(generation);
    new.set_version(1);
    new.set_flags(inode::vfs_flags(flags));
    let attrs = Attrs {
        mode: new.mode(),
        uid: new.uid(),
        gid: new.gid(),
        nlink: new.links(),
        rdev: match what {
            What::Special { device } => device,
            _ => 0,
        },
        atime: now,
        mtime: now,
        ctime: now,
        crtime: now,
        version: 1,
    };
    let kind = attrs.kind();
    let content = match what {
        What::Plain => Content::Mapped,
        What::Special { .. } => Content::Special,
        What::Link { .. } if what.is_slow_link() => Content::Mapped,
        What::Link { target } => Content::Target(target),
    };
    let volume = dir.data().volume();
    let core = Inode::create(volume, tx, ino, &attrs, flags, generation, content)?;
    new.set_size(core.disk_size);
    inode::set_operations(new, kind, core.fast_target(), attrs.rdev)?;
    Ok((core, now))
}

/// The inode gets no name after all: it becomes an orphan in this transaction, and is freed when the caller has
/// ended the handle and drops it.
pub(super) fn give_up(new: &Node, tx: &mut Tx<'_>) {
    new.set_links(0);
    let done = inode::mark_orphan(new, tx).and_then(|_| new.data().write_attrs(new, tx));
    if let Err(error) = done {
        new.data().volume().store.fail(
            error,
            inode::number(new),
            fmt!("inode {}: is lost until the next check", new.number()),
        );
    }
}
