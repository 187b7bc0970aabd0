// SPDX-License-Identifier: GPL-2.0

//! What we keep of an inode in memory, and the map lock.
//!
//! # Who knows what
//!
//! The VFS's inode is the authority for mode, owner, links, times, version and the size in memory. [`Core`] has the
//! map, the size on disk and the flags. Both are written together, by whoever changes one of them.
//!
//! # Locks
//!
//! The map lock ([`Data::map_lock`]) guards [`Core`]. It is taken inside a handle, never the other way round.

use crate::disk::inode::{DiskTime, InodeFlags};
use crate::disk::{CsumSeed, FileType, Group, Ino};
use crate::inode::{self, Checked};
use crate::linux::memalloc::NofsScope;
use crate::map::Snapshot;
use crate::ops::{Node, Volume};
use crate::store::Store;
use core::ops::{Deref, DerefMut};
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed, Release};
use kernel::sync::{static_lock_class, Arc, Mutex, MutexGuard};
use pin_init::init_scope;

/// An inode as the core has it; the map lock guards it.
pub(crate) type Core = inode::Inode;

/// What we keep of an inode in memory.
#[pin_data]
pub(crate) struct Data {
    /// The volume that the inode is in.
    pub(super) volume: Arc<Volume>,
    /// The map lock, and what it guards.
    #[pin]
    core: Mutex<Core>,
    /// The last extent that was found, to be read without the lock.
    pub(super) snapshot: Arc<Snapshot>,
    /// The number.
    pub(super) ino: Ino,
    /// The type.
    pub(super) file_type: FileType,
    /// When the file was created.
    pub(super) created: DiskTime,
    /// The inode's checksum seed.
    pub(super) seed: Option<CsumSeed>,
    /// The group that the inode is in.
    pub(super) group: Group,
    /// The transaction of the last change of any kind.
    pub(super) sync_tid: Atomic<u32>,
    /// The transaction of the last change without which data cannot be found.
    pub(super) data_tid: Atomic<u32>,
    /// [`Core`]'s size on disk, to be read without the lock.
    pub(super) disk_size: Atomic<u64>,
    /// [`Core`]'s flags, to be read without the lock.
    pub(super) flags: Atomic<u32>,
    /// What is known of a directory ([`Known`](crate::names::Known)), as a number.
    pub(super) known: Atomic<u32>,
    /// Whether it is known that nothing is written behind the end of the file.
    pub(super) clean_end: Atomic<bool>,
    /// The size in bytes when the file was synchronised last, was cut off, or came into memory.
    stream_start: Atomic<u64>,
    /// Whether times have changed since the inode was written last.
    pub(super) new_times: Atomic<bool>,
    /// Whether what the file had was cut off by somebody who has it open to write it anew.
    pub(super) emptied: Atomic<bool>,
}

/// What [`Data`] keeps beside the map lock of what is behind it.
struct Origin {
    ino: Ino,
    file_type: FileType,
    seed: Option<CsumSeed>,
    size: u64,
    flags: InodeFlags,
    snapshot: Arc<Snapshot>,
    created: DiskTime,
}

/// The map lock while it is held, and what it guards. What can be read without it follows when it is given up.
pub(crate) struct MapLock<'a> {
    core: MutexGuard<'a, Core>,
    data: &'a Data,
    /// The inode, where what its owners have is counted.
    counted: Option<&'a Node>,
    // Who reclaims memory may need the lock, to write back the pages of this very file.
    _nofs: NofsScope,
}

impl Deref for MapLock<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl DerefMut for MapLock<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl Drop for MapLock<'_> {
    fn drop(&mut self) {
        // Whoever sees the size of a file must see which transaction makes it durable, which was noted before.
        self.data.disk_size.store(self.core.disk_size, Release);
        self.data.flags.store(self.core.flags.bits(), Relaxed);
        if let Some(node) = self.counted {
            // What was promised and is not needed.
            let size = self.data.volume.layout.block_size().bytes();
            let outstanding = u64::from(self.core.map.outstanding());
            node.shrink_reserved_quota(outstanding.saturating_mul(size.into()));
        }
    }
}

impl Data {
    /// For an inode that was just made.
    pub(crate) fn new(
        volume: Arc<Volume>,
        core: Core,
        file_type: FileType,
        created: DiskTime,
    ) -> impl PinInit<Self, Error> {
        let origin = Origin {
            ino: core.ino,
            file_type,
            seed: core.map.seed(),
            size: core.disk_size,
            flags: core.flags,
            snapshot: core.map.snapshot().clone(),
            created,
        };
        Self::with(volume, origin, core)
    }

    /// For an inode that was just read.
    pub(crate) fn of_checked(
        volume: Arc<Volume>,
        checked: &Checked,
        created: DiskTime,
    ) -> Result<impl PinInit<Self, Error> + '_> {
        let snapshot = Snapshot::new()?;
        let origin = Origin {
            ino: checked.ino(),
            file_type: checked.file_type(),
            seed: checked.seed(),
            size: checked.size(),
            flags: checked.flags(),
            snapshot: snapshot.clone(),
            created,
        };
        let in_volume = volume.clone();
        let plain = checked.plain()?;
        let core = init_scope(move || Ok(checked.inode(&in_volume, snapshot, plain)));
        Ok(Self::with(volume, origin, core))
    }

    fn with(
        volume: Arc<Volume>,
        origin: Origin,
        core: impl PinInit<Core>,
    ) -> impl PinInit<Self, Error> {
        // What was changed before is durable, or in a transaction not later than the latest one.
        let tid = volume.store.latest_tid();
        // Its map lock is taken within those of others.
        let is_quota_file = volume.layout.quota_inodes().contains(&origin.ino.get());
        try_pin_init!(Self {
            snapshot: origin.snapshot,
            disk_size: Atomic::new(origin.size),
            flags: Atomic::new(origin.flags.bits()),
            seed: origin.seed,
            group: match volume.layout.inode_slot(origin.ino) {
                Some(slot) => slot.group,
                None => return Err(volume.store.bug(origin.ino, "an inode has no group")),
            },
            core <- match is_quota_file {
                true => Mutex::new(core, c"iomapfs_quota_map", static_lock_class!()),
                false => Mutex::new(core, c"iomapfs_map", static_lock_class!()),
            },
            volume,
            ino: origin.ino,
            file_type: origin.file_type,
            created: origin.created,
            sync_tid: Atomic::new(tid),
            data_tid: Atomic::new(tid),
            known: Atomic::new(0),
            clean_end: Atomic::new(false),
            stream_start: Atomic::new(origin.size),
            new_times: Atomic::new(false),
            emptied: Atomic::new(false),
        })
    }

    /// The volume that the inode is in.
    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The size in bytes when the file was synchronised last, was cut off, or came into memory: a hint.
    #[inline]
    pub(crate) fn stream_start(&self) -> u64 {
        self.stream_start.load(Relaxed)
    }

    /// The file was synchronised or cut off, and has `size` bytes now.
    pub(crate) fn set_stream_start(&self, size: u64) {
        self.stream_start.store(size, Relaxed);
    }

    /// A reference of its own on the volume.
    pub(crate) fn volume_arc(&self) -> Arc<Volume> {
        self.volume.clone()
    }

    /// Takes the map lock, to look. [`Live::map_lock`](crate::change::Live::map_lock) is to change something.
    pub(crate) fn map_lock(&self) -> MapLock<'_> {
        self.map_lock_for(None)
    }

    /// Takes the map lock. `counted` is the inode, for those who may change what it has.
    pub(super) fn map_lock_for<'a>(&'a self, counted: Option<&'a Node>) -> MapLock<'a> {
        let nofs = NofsScope::enter();
        MapLock {
            core: self.core.lock(),
            data: self,
            counted: counted.filter(|_| self.volume.layout.has_quota()),
            _nofs: nofs,
        }
    }

    /// Takes the map lock, if it is free.
    pub(crate) fn try_map_lock(&self) -> Option<MapLock<'_>> {
        let nofs = NofsScope::enter();
        Some(MapLock {
            core: self.core.try_lock()?,
            data: self,
            counted: None,
            _nofs: nofs,
        })
    }

    /// The last extent that was found, to be read without the lock.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The flags of the inode; they may be changing.
    pub(crate) fn flags(&self) -> InodeFlags {
        InodeFlags::from_bits(self.flags.load(Relaxed))
    }

    /// Remembers that all that the file had was cut off.
    pub(crate) fn set_emptied(&self) {
        self.emptied.store(true, Relaxed);
    }

    /// Whether all that the file had was cut off since this was asked last.
    pub(crate) fn take_emptied(&self) -> bool {
        self.emptied.load(Relaxed) && self.emptied.xchg(false, Relaxed)
    }
}
