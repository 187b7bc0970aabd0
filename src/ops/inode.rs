// SPDX-License-Identifier: GPL-2.0

//! Inodes: how they come into memory and are written; below, their attributes, and how they leave it.
//!
//! # Who knows what
//!
//! The VFS's inode is the authority for mode, owner, links, times, version and the size in memory. [`Core`] has the
//! map, the size on disk and the flags. Both are written together, by whoever changes one of them.
//!
//! # Locks
//!
//! The map lock ([`Data::core`]) guards [`Core`]. It is taken inside a handle, never the other way round.

use super::{dir, names, regular, symlink, Core, Fs, Node, SuperBlock, Volume};
use crate::change::{self, Live};
use crate::disk::inode::{FileKind, InodeFlags, Time as DiskTime};
use crate::disk::{CsumSeed, Group, Ino};
use crate::inode::Checked;
use crate::linux::fs::Wait;
use crate::linux::inode::{flags, Got, New};
use crate::linux::inode_ops::InodeTable;
use crate::linux::memalloc::NofsScope;
use crate::linux::time::Timestamp;
use crate::map::Snapshot;
use crate::store::{tid_geq, Store, Tid};
use core::ops::{Deref, DerefMut};
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed, Release};

use kernel::sync::{new_mutex, Arc, Mutex, MutexGuard};
use pin_init::init_scope;

mod attr;
mod evict;
mod live;

pub(super) use attr::{get_attributes, get_flags, set_attributes, set_flags};
use attr::{Regular, Special};
pub(super) use evict::evict;
pub(super) use live::NewNode;

/// What we keep of an inode in memory.
#[pin_data]
pub(crate) struct Data {
    /// The volume that the inode is in.
    volume: Arc<Volume>,
    /// The map lock, and what it guards.
    #[pin]
    core: Mutex<Core>,
    /// The last extent that was found, to be read without the lock.
    snapshot: Arc<Snapshot>,
    /// The number.
    ino: Ino,
    /// The type.
    kind: FileKind,
    /// When the file was created.
    created: DiskTime,
    /// The inode's checksum seed.
    seed: Option<CsumSeed>,
    /// The group that the inode is in.
    group: Group,
    /// The transaction of the last change of any kind.
    sync_tid: Atomic<u32>,
    /// The transaction of the last change without which data cannot be found.
    data_tid: Atomic<u32>,
    /// [`Core`]'s size on disk, to be read without the lock.
    disk_size: Atomic<u64>,
    /// [`Core`]'s flags, to be read without the lock.
    flags: Atomic<u32>,
    /// What is known of a directory ([`Known`](crate::names::Known)), as a number.
    known: Atomic<u32>,
    /// Whether it is known that nothing is written behind the end of the file.
    clean_end: Atomic<bool>,
    /// Whether what the file had was cut off by somebody who has it open to write it anew.
    emptied: Atomic<bool>,
}

/// What [`Data`] keeps beside the map lock of what is behind it.
struct Origin {
    ino: Ino,
    kind: FileKind,
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
        // Whoever sees the size must see which transaction makes it durable, which was noted before.
        self.data.disk_size.store(self.core.disk_size, Release);
        self.data.flags.store(self.core.flags.bits(), Relaxed);
    }
}

impl Data {
    /// For an inode that was just made.
    pub(super) fn new(
        volume: Arc<Volume>,
        core: Core,
        kind: FileKind,
        created: DiskTime,
    ) -> impl PinInit<Self, Error> {
        let origin = Origin {
            ino: core.ino,
            kind,
            seed: core.seed,
            size: core.disk_size,
            flags: core.flags,
            snapshot: core.map.snapshot().clone(),
            created,
        };
        Self::with(volume, origin, core)
    }

    /// For an inode that was just read.
    pub(super) fn of_checked(
        volume: Arc<Volume>,
        checked: &Checked,
        created: DiskTime,
    ) -> Result<impl PinInit<Self, Error> + '_> {
        let snapshot = Snapshot::new()?;
        let origin = Origin {
            ino: checked.ino(),
            kind: checked.kind(),
            seed: checked.seed(),
            size: checked.size(),
            flags: checked.flags(),
            snapshot: snapshot.clone(),
            created,
        };
        let in_volume = volume.clone();
        let core = init_scope(move || Ok(checked.inode(&in_volume, snapshot)));
        Ok(Self::with(volume, origin, core))
    }

    fn with(
        volume: Arc<Volume>,
        origin: Origin,
        core: impl PinInit<Core>,
    ) -> impl PinInit<Self, Error> {
        // What was changed before is durable, or in a transaction not later than the latest one.
        let tid = volume.store.latest_tid();
        try_pin_init!(Self {
            snapshot: origin.snapshot,
            disk_size: Atomic::new(origin.size),
            flags: Atomic::new(origin.flags.bits()),
            seed: origin.seed,
            group: match volume.layout.inode_slot(origin.ino) {
                Some(slot) => slot.group,
                None => return Err(EUCLEAN),
            },
            core <- new_mutex!(core, "iomapfs_map"),
            volume,
            ino: origin.ino,
            kind: origin.kind,
            created: origin.created,
            sync_tid: Atomic::new(tid),
            data_tid: Atomic::new(tid),
            known: Atomic::new(0),
            clean_end: Atomic::new(false),
            emptied: Atomic::new(false),
        })
    }

    /// The volume that the inode is in.
    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// A reference of its own on the volume.
    pub(super) fn volume_arc(&self) -> Arc<Volume> {
        self.volume.clone()
    }

    /// Takes the map lock.
    pub(super) fn map_lock(&self) -> MapLock<'_> {
        let nofs = NofsScope::enter();
        MapLock {
            core: self.core.lock(),
            data: self,
            _nofs: nofs,
        }
    }

    /// Takes the map lock, if it is free.
    pub(super) fn try_map_lock(&self) -> Option<MapLock<'_>> {
        let nofs = NofsScope::enter();
        Some(MapLock {
            core: self.core.try_lock()?,
            data: self,
            _nofs: nofs,
        })
    }

    /// The last extent that was found, to be read without the lock.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The flags of the inode; they may be changing.
    pub(super) fn flags(&self) -> InodeFlags {
        InodeFlags::from_bits(self.flags.load(Relaxed))
    }

    /// The size on disk; it may be changing.
    pub(crate) fn disk_size_hint(&self) -> u64 {
        self.disk_size.load(Acquire)
    }

    /// Whether the file reaches to byte `end`, in memory and on disk.
    pub(crate) fn is_within(&self, node: &Node, end: u64) -> bool {
        end <= node.size().min(self.disk_size_hint())
    }

    /// Whether it is known that no block behind the end of the file has data.
    pub(super) fn has_clean_end(&self) -> bool {
        self.clean_end.load(Relaxed)
    }

    /// Remembers that all that the file had was cut off.
    pub(super) fn set_emptied(&self) {
        self.emptied.store(true, Relaxed);
    }

    /// Whether all that the file had was cut off since this was asked last.
    pub(super) fn take_emptied(&self) -> bool {
        self.emptied.load(Relaxed) && self.emptied.xchg(false, Relaxed)
    }

    /// The transaction that must be durable for the inode to be.
    pub(crate) fn sync_tid(&self) -> Tid {
        self.sync_tid.load(Relaxed)
    }

    /// The transaction that must be durable for all data to be found.
    pub(crate) fn data_tid(&self) -> Tid {
        self.data_tid.load(Relaxed)
    }

    /// Whether all data will be found after a crash, once it is on the device.
    pub(crate) fn is_map_durable(&self) -> bool {
        match self.volume.store.journal() {
            Some(journal) => tid_geq(journal.committed_tid(), self.data_tid()),
            None => true,
        }
    }
}

/// The format's form of a timestamp.
pub(super) fn to_disk(time: Timestamp) -> DiskTime {
    DiskTime {
        sec: time.seconds,
        nsec: time.nanoseconds,
    }
}

/// The VFS's form of a timestamp.
pub(super) fn from_disk(time: DiskTime) -> Timestamp {
    Timestamp {
        seconds: time.sec,
        nanoseconds: time.nsec,
    }
}

/// Finds an inode, in memory or else on the device.
///
/// # Errors
///
/// `ESTALE` where it is not in use; `EUCLEAN`, reported; `EOPNOTSUPP`, `EIO`, `ENOMEM`.
pub(super) fn get(sb: &SuperBlock, ino: Ino) -> Result<ARef<Node>> {
    match Node::get(sb, ino.get())? {
        Got::Cached(node) => Ok(node),
        Got::New(new) => {
            let checked = Checked::read(&sb.data().mounted.volume, ino)?;
            set_up(sb, new, &checked)
        }
    }
}

/// Finds an inode that is an orphan: it may be without links.
pub(super) fn get_orphan(sb: &SuperBlock, ino: Ino) -> Result<ARef<Node>> {
    match Node::get(sb, ino.get())? {
        Got::Cached(node) => Ok(node),
        Got::New(new) => {
            let checked = Checked::read_orphan(&sb.data().mounted.volume, ino)?;
            set_up(sb, new, &checked)
        }
    }
}

/// Gives an inode that was read what it needs.
fn set_up(sb: &SuperBlock, new: New<Fs>, checked: &Checked) -> Result<ARef<Node>> {
    let attrs = checked.attrs();
    new.set_mode(attrs.mode)?;
    new.set_ids(attrs.uid, attrs.gid);
    new.set_links(attrs.nlink);
    new.set_size(checked.size());
    new.set_blocks(checked.sectors());
    live::set_times(&new, &attrs);
    new.set_generation(checked.generation());
    new.set_version(attrs.version);
    new.set_flags(vfs_flags(checked.flags()));
    set_operations(&new, checked.kind(), checked.fast_target(), attrs.rdev)?;
    let volume = sb.data().mounted.volume.clone();
    let data = Data::of_checked(volume, checked, attrs.crtime)?;
    Ok(new.init(data)?.unlock())
}

/// Gives an inode the operations of its type. `target` is that of a short symbolic link, `device` the number of a
/// device.
pub(super) fn set_operations(
    new: &New<Fs>,
    kind: FileKind,
    target: Option<&[u8]>,
    device: u32,
) -> Result {
    match kind {
        FileKind::Regular => {
            new.set_operations(InodeTable::of::<Regular>())?;
            new.set_file_operations(regular::file_table());
            new.set_mapping_operations(regular::mapping_table());
            new.set_large_folios();
        }
        FileKind::Directory => {
            new.set_operations(InodeTable::of::<names::Directory>())?;
            new.set_file_operations(dir::file_table());
        }
        FileKind::Symlink => match target {
            Some(target) => {
                new.set_link(target)?;
                new.set_operations(InodeTable::of_links::<Special>())?;
            }
            None => new.set_operations(InodeTable::of::<symlink::Slow>())?,
        },
        FileKind::CharDevice | FileKind::BlockDevice | FileKind::Fifo | FileKind::Socket => {
            new.set_operations(InodeTable::of::<Special>())?;
            new.set_special(device);
        }
    }
    Ok(())
}

/// The flags that the VFS looks after.
pub(super) fn vfs_flags(disk: InodeFlags) -> u32 {
    let pairs = [
        (InodeFlags::SYNC, flags::SYNC),
        (InodeFlags::APPEND, flags::APPEND),
        (InodeFlags::IMMUTABLE, flags::IMMUTABLE),
        (InodeFlags::NOATIME, flags::NOATIME),
        (InodeFlags::DIRSYNC, flags::DIRSYNC),
    ];
    pairs
        .into_iter()
        .filter(|(flag, _)| disk.has(*flag))
        .fold(0, |set, (_, flag)| set | flag)
}

/// Makes the last change of the inode durable.
pub(super) fn commit(node: &Node) -> Result {
    let mounted = &node.super_block().data().mounted;
    mounted.commit(node.data().sync_tid())
}

/// Makes what was done to a directory durable, where the directory or the mount wants that.
pub(super) fn settle(dir: &Node) -> Result {
    match dir.is_directory_sync() {
        true => commit(dir),
        false => Ok(()),
    }
}

/// `dirty_inode`: the VFS has changed a time, or links of a file without a name.
pub(super) fn dirtied(node: &Node) {
    let _nofs = NofsScope::enter();
    if let Err(error) = change::write_attributes(node) {
        // Without a journal to write to there is nothing that could be lost.
        let store = &node.data().volume.store;
        if error != EROFS && !store.errors().is_stopped() {
            store.fail(
                error,
                node.ino(),
                fmt!("inode {}: attributes are not written", node.number()),
            );
        }
    }
}

/// `write_inode`: everything is in the journal already.
pub(super) fn write(node: &Node, wait: Wait) -> Result {
    match wait {
        Wait::No => Ok(()),
        Wait::Yes => commit(node),
    }
}
