// SPDX-License-Identifier: GPL-2.0

//! Inodes that are in memory, and such as are on their way there.
//!
//! The VFS's inode is the authority for mode, owner, links, times, version and the size in memory. [`Inode`] has the
//! map, the size on disk and the flags; the map lock guards it. Both are written together, by whoever changes one of
//! them. A [`Live`] is both: in the module a VFS inode, on the host a value that stands for one.

use crate::disk::inode::InodeFlags;
use crate::disk::{CsumSeed, FileType, Group, Ino, LogicalBlock, PhysBlock};
use crate::inode::{Attrs, Inode, NewAttribute, Orphans};
use crate::map::Snapshot;
use crate::names::{Known, Params};
use crate::space::Goal;
use crate::store::{Store, Tid};
use crate::volume::Volume;
use core::ops::{Deref, DerefMut};
use kernel::alloc::KVec;
use kernel::error::{code::*, Result};

/// What of an inode a transaction changes, for who makes the inode durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InodePart {
    /// Only what the VFS knows: the data is found without it.
    Attributes,
    /// The map, the size on disk or the flags as well: without it data is not found (`fdatasync`).
    Data,
}

/// What of a file a transaction shows, beside the size on disk; for those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What was written to blocks `.0`..`.1`, which may be none, or zeros: it is on the device, and the size went up
    /// with it.
    Data(LogicalBlock, LogicalBlock),
    /// A greater size, which somebody has asked for.
    Grown,
    /// The size that the file has in memory, as what was only there and would have raised it is dropped.
    Dropped,
    /// Nothing behind the size any more, in this transaction or in those that follow.
    Cut,
    /// Blocks `.0`..`.1` that are there and have no data.
    Unwritten(LogicalBlock, LogicalBlock),
    /// None yet: such blocks are zero on the device by now, where they are from `.2` on ([`Live::zeroed`]).
    #[allow(dead_code, reason = "the host's inodes say it")]
    Zeroed(LogicalBlock, LogicalBlock, PhysBlock),
    /// No blocks `.0`..`.1`.
    Hole(LogicalBlock, LogicalBlock),
    /// What was at `.1` and behind at `.0` and behind. What was at `.0`..`.1` is behind the size, and a recovery would
    /// take away all that is there.
    Collapsed(LogicalBlock, LogicalBlock),
    /// It would not any more.
    Whole,
    /// What was at `.0` and behind at `.1` and behind.
    Inserted(LogicalBlock, LogicalBlock),
}

/// An inode that is in memory. See the top of the file.
pub trait Live<S: Store> {
    /// The map lock while it is held. When it is given up, what can be read without it has followed.
    type MapLock<'a>: DerefMut<Target = Inode>
    where
        Self: 'a;

    /// The volume that the inode is in.
    fn volume(&self) -> &Volume<S>;

    /// The orphans of that volume.
    fn orphans(&self) -> &Orphans<S>;

    /// What the super block says about directories.
    fn params(&self) -> &Params;

    /// Takes the map lock: inside a handle, if one is held, never the other way round.
    fn map_lock(&self) -> Self::MapLock<'_>;

    /// The last mapping that was found, to be read without the map lock.
    fn snapshot(&self) -> &Snapshot;

    /// The number.
    fn ino(&self) -> Ino;

    /// The type.
    fn file_type(&self) -> FileType;

    /// What the checksums of the inode's own structures begin with; `None` where metadata has none.
    fn seed(&self) -> Option<CsumSeed>;

    /// The group that the inode is in.
    fn group(&self) -> Group;

    /// The flags; others may be changing them.
    fn flags(&self) -> InodeFlags;

    /// All that [`Inode::write`] takes from the VFS.
    fn attrs(&self) -> Attrs;

    /// Sets the permissions, and leaves the type of file. The caller holds `i_rwsem` exclusively.
    fn set_mode(&self, mode: u16);

    /// The links.
    fn links(&self) -> u32;

    /// Sets the links.
    fn set_links(&self, links: u32);

    /// The size in memory, in bytes.
    fn size(&self) -> u64;

    /// Sets the size in memory, in bytes.
    fn set_size(&self, size: u64);

    /// The size on disk, in bytes, as it was when the map lock was given up last.
    fn disk_size_hint(&self) -> u64;

    /// Whether the file reaches to byte `end`, in memory and on disk.
    #[inline]
    fn is_within(&self, end: u64) -> bool {
        end <= self.size().min(self.disk_size_hint())
    }

    /// By transaction `tx` the inode occupies so much, in units of 512 bytes: `stat` tells that from now on, and
    /// whoever counts what its owners have counts it in this transaction. What was promised is used up by that. Called
    /// with the map lock held.
    fn account(&self, tx: &mut S::Tx<'_>, sectors: u64);

    /// Whoever counts what the inode's owners have counts so many inodes more, in transaction `tx`: those that hold
    /// values of its attributes ([`Inode::values`]). Nobody else counts these.
    ///
    /// # Errors
    ///
    /// `EDQUOT`; nothing is counted then.
    fn count_inodes(&self, tx: &mut S::Tx<'_>, inodes: u32) -> Result;

    /// So many inodes less: such, or the inode itself, which goes.
    fn uncount_inodes(&self, tx: &mut S::Tx<'_>, inodes: u32);

    /// Asks whoever counts what the inode's owners have for up to `blocks` more, with the map lock held. So many as are
    /// returned, one at least, may become outstanding in the map, or be counted by [`Self::account`]. What does neither
    /// until the map lock is given up is promised no more.
    ///
    /// # Errors
    ///
    /// `EDQUOT`
    #[inline(always)]
    fn promise(&self, blocks: u32) -> Result<u32> {
        Ok(blocks)
    }

    /// The change counter.
    fn version(&self) -> u64;

    /// The inode was changed: change time and change counter go up.
    fn changed(&self);

    /// The contents were changed: the modification time goes up, too.
    fn contents_changed(&self);

    /// What is known of a directory.
    fn known(&self) -> Known;

    /// Adds to that.
    fn note(&self, what: Known);

    /// Transaction `tid` changes `part` of the inode. Called before others can see the change, so that whoever sees it
    /// finds here what makes it durable.
    fn note_transaction(&self, tid: Tid, part: InodePart);

    /// The last transaction that was noted for `part`. A change of [`InodePart::Data`] is one of
    /// [`InodePart::Attributes`], too.
    fn noted_transaction(&self, part: InodePart) -> Tid;

    /// Whether it is known that no block behind the end of the file has data.
    fn has_clean_end(&self) -> bool;

    /// Whether it is known that no block behind the end of the file has data; from now on it is, or it is not any more.
    fn note_clean_end(&self, clean: bool);

    /// Whether times have changed in memory since the inode was written last ([`write_times`](super::write_times)).
    fn has_new_times(&self) -> bool;

    /// Times have changed in memory only; or they are about to be read, to be written: what changes from now on is new.
    fn note_new_times(&self, new: bool);

    /// Transaction `tid` shows this of the file, and the size on disk is `size`. For those who watch.
    fn shown(&self, _tid: Tid, _what: Shown, _size: u64) {}

    /// Blocks `from..to` of the file, which are unwritten and on the device from `phys` on, are zero there. For those
    /// who watch.
    fn zeroed(&self, _from: LogicalBlock, _to: LogicalBlock, _phys: PhysBlock) {}

    /// Whether `node` may get a name in this directory: what is in one that gives its project to what is made in it
    /// counts for that project.
    ///
    /// # Errors
    ///
    /// `EXDEV` where it counts for another one, so that it has to be copied.
    fn check_project(&self, node: &Self) -> Result
    where
        Self: Sized,
    {
        let gives = self.flags().has(InodeFlags::PROJINHERIT);
        match gives && self.attrs().project != node.attrs().project {
            true => Err(EXDEV),
            false => Ok(()),
        }
    }

    /// Whether it is a directory.
    fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Where blocks are best, if no other block of the file says so. `stream` where the file is being appended to.
    fn goal(&self, stream: bool) -> Goal {
        Goal {
            stream,
            ..Goal::in_group(self.group())
        }
    }
}

/// An inode that is being made, as whoever holds inodes in memory makes one.
pub trait Newborn<S: Store>: Sized {
    /// An inode in memory.
    type Live: Live<S>;

    /// The reference to one that [`Self::finish`] gives: nobody else knows the inode yet. Dropped, the inode leaves
    /// memory, and the disk too if it has no links.
    type Ready: Deref<Target = Self::Live>;

    /// Its attributes.
    fn attrs(&self) -> Attrs;

    /// Its generation.
    fn generation(&self) -> u32;

    /// Gives it its number, from which it can be found.
    ///
    /// # Errors
    ///
    /// `EBUSY` where there is an inode with this number in memory already.
    fn insert(&self, ino: Ino) -> Result;

    /// Those of the extended attributes that it is born with which are known before it has its number, if
    /// there are such.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn lists(&self) -> Result<Option<KVec<NewAttribute>>>;

    /// The extended attributes that it is born with, if there are such. It has its number.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; what somebody says who has to label it.
    fn attributes(&self) -> Result<Option<KVec<NewAttribute>>>;

    /// It is on its way to the disk as `inode`, by transaction `tx`, in which whoever counts what its owners have
    /// counts `inodes` more: this one, and those that hold values of its attributes.
    ///
    /// # Errors
    ///
    /// `EDQUOT`, `ENOMEM`; nothing is counted then.
    fn finish(self, tx: &mut S::Tx<'_>, inode: Inode, inodes: u32) -> Result<Self::Ready>;
}
