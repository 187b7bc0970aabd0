// SPDX-License-Identifier: GPL-2.0

//! An inode as the core has it, and its way from (`read.rs`) and to the inode table (`place.rs`: its bytes there);
//! the inodes that a recovery has to look after (`orphan.rs`); the journal's blocks, before anything can be trusted
//! (`journal.rs`); extended attributes (`xattr.rs`).
//!
//! Tests: `tools/core/tests/{inode,orphans,orphan_xattr,change_xattr}.rs`,
//! `qemu/test/t/{orphans,xattr-blocks,file-flags}.sh`.
//!
//! The VFS inode is the authority for mode, owner, links, times, device number and the size in memory; they
//! come and go as [`Attrs`]. What the VFS does not know is in [`Inode`].
//!
//! # Invariants
//!
//! * An [`Inode`] passed every check that ext4 makes when it reads one: its map, its attribute block and its size
//!   are ones that it can have, and it uses no feature that is not supported.
//! * The deletion time, which also chains orphans, is only changed by [`set_dtime`]: writing an inode for another
//!   reason cannot undo that.
//!
//! # Locks
//!
//! An `Inode` is guarded by the inode's map lock. Inside of the functions here the byte lock of the block of the
//! inode table is taken, which makes changes of neighbours one after the other.

mod journal;
mod orphan;
mod place;
mod read;
mod xattr;

pub use journal::JournalMap;
pub use orphan::{Orphans, ORPHAN_CREDITS};
pub use place::{dtime, pin, set_dtime, wipe};
pub use read::Checked;
pub use xattr::{
    needs_inode, release as release_attributes, release_new as release_new_attributes, value_hash,
    Changed, Draft, How, NewAttribute, Unused, ValueCounts,
};

use crate::disk::bytes::copy;
use crate::disk::inode::{encode_rdev, DiskInode, DiskTime, InodeFlags, I_BLOCK_SIZE};
use crate::disk::{CsumSeed, FileType, Ino, PhysBlock};
use crate::map::FileMap;
use crate::store::{Credits, Store};
use crate::volume::Volume;
use kernel::alloc::{flags::GFP_KERNEL, KBox};
use kernel::error::{code::*, Result};
use place::InodePlace;

/// The largest size that old kernels can cope with; files beyond it need the feature `large_file`.
const SMALL_FILE_MAX: u64 = 0x7fff_ffff;

/// What the VFS inode holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// Type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Links.
    pub nlink: u32,
    /// Device number, 12 bits major and 20 bits minor; for devices only.
    pub rdev: u32,
    /// Last access.
    pub atime: DiskTime,
    /// Last change of the contents.
    pub mtime: DiskTime,
    /// Last change of the inode.
    pub ctime: DiskTime,
    /// Creation.
    pub crtime: DiskTime,
    /// Change counter.
    pub version: u64,
    /// The project that it counts for; 0 where the volume has none.
    pub project: u32,
}

impl Attrs {
    /// The type of the file; that of a regular file where the mode has none.
    pub fn file_type(&self) -> FileType {
        FileType::from_mode(self.mode).unwrap_or(FileType::Regular)
    }
}

/// See the top of the file.
pub struct Inode {
    /// The number.
    pub ino: Ino,
    /// Tells inodes apart that had the same number one after the other.
    pub generation: u32,
    /// What the checksums of the inode's own structures begin with; `None` where metadata has none.
    pub seed: Option<CsumSeed>,
    /// The flags.
    pub flags: InodeFlags,
    /// The size on disk in bytes: up to here, what is mapped is valid.
    pub disk_size: u64,
    /// The block with extended attributes.
    pub file_acl: Option<PhysBlock>,
    /// Bytes of the inode in the table after the first 128 that have fields.
    pub extra_isize: u16,
    /// The map. Empty where `plain` is there.
    pub map: FileMap,
    /// What `i_block` holds where it is no map: the target of a short symbolic link, a device number.
    pub plain: Option<KBox<[u8; I_BLOCK_SIZE]>>,
}

/// What `i_block` of a new inode is.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// The root of an empty extent tree: regular files, directories, long symbolic links.
    Mapped,
    /// The target of a symbolic link, at most [`Inode::MAX_FAST_TARGET`] bytes without a zero.
    Target(&'a [u8]),
    /// Nothing, or the device number of the attributes: devices, pipes, sockets.
    Special,
}

impl Inode {
    /// Longest target of a symbolic link that `i_block` holds, in bytes; it ends with a zero there.
    pub const MAX_FAST_TARGET: usize = I_BLOCK_SIZE - 1;

    /// Credits that [`Inode::write`] and [`Inode::create`] cost: the block of the inode table, and the super block
    /// where the first large file has to be marked there.
    pub const WRITE_CREDITS: Credits = Credits::blocks(2);

    /// Makes a new inode in a slot that [`crate::space::Space::alloc_inode`] gave in this transaction; what was there
    /// is gone. The size is zero, or that of `content`. Costs at most [`Inode::WRITE_CREDITS`].
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` for a target that is too long; `ENOMEM`; those of [`Inode::write`].
    pub fn create<S: Store>(
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        ino: Ino,
        attrs: &Attrs,
        flags: InodeFlags,
        generation: u32,
        content: Content<'_>,
    ) -> Result<Self> {
        let seed = vol
            .layout
            .csum_seed()
            .map(|seed| seed.for_inode(ino, generation));
        let (plain, flags, size) = match content {
            Content::Mapped => (None, flags.with(InodeFlags::EXTENTS), 0),
            Content::Target(target) => {
                let mut block = [0; I_BLOCK_SIZE];
                if target.len() > Self::MAX_FAST_TARGET {
                    return Err(ENAMETOOLONG);
                }
                copy(&mut block, target);
                (Some(block), flags, target.len() as u64)
            }
            Content::Special if attrs.file_type().is_device() => {
                (Some(encode_rdev(attrs.rdev)), flags, 0)
            }
            Content::Special => (Some([0; I_BLOCK_SIZE]), flags, 0),
        };
        let inode = Self {
            ino,
            generation,
            seed,
            flags,
            disk_size: size,
            file_acl: None,
            extra_isize: vol.layout.want_extra_isize(),
            map: FileMap::empty(vol, ino, seed)?,
            plain: plain
                .map(|block| KBox::new(block, GFP_KERNEL))
                .transpose()?,
        };
        let place = InodePlace::of(vol, ino)?;
        inode.encode(vol, tx, attrs, &place, |bytes| bytes.fill(0))?;
        Ok(inode)
    }

    /// Writes the inode to the inode table. What is not known here stays: extended attributes in the inode, the
    /// deletion time. Costs at most [`Inode::WRITE_CREDITS`].
    ///
    /// # Errors
    ///
    /// `EMLINK` and `EUCLEAN` for values that the format cannot hold; `EIO`, `ENOMEM`; what the journal says.
    pub fn write<S: Store>(&self, vol: &Volume<S>, tx: &mut S::Tx<'_>, attrs: &Attrs) -> Result {
        let place = InodePlace::of(vol, self.ino)?;
        self.encode(vol, tx, attrs, &place, |_| ())
    }

    /// The same, with the attributes of `draft` that are in the inode itself.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn write_with<S: Store>(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        attrs: &Attrs,
        draft: &Draft<S>,
    ) -> Result {
        self.encode(vol, tx, attrs, draft.inode_place(), |bytes| {
            draft.fill_own(bytes)
        })
    }

    fn encode<S: Store>(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        attrs: &Attrs,
        place: &InodePlace<S>,
        before: impl FnOnce(&mut [u8]),
    ) -> Result {
        let raw = DiskInode {
            mode: attrs.mode,
            uid: attrs.uid,
            gid: attrs.gid,
            links: attrs.nlink.try_into().map_err(|_| EMLINK)?,
            size: self.disk_size,
            sectors: self.map.sectors(),
            flags: self.flags,
            block: *self.plain.as_deref().unwrap_or(self.map.root()),
            generation: self.generation,
            file_acl: self.file_acl,
            extra_isize: self.extra_isize,
            atime: attrs.atime,
            ctime: attrs.ctime,
            mtime: attrs.mtime,
            crtime: attrs.crtime,
            version: attrs.version,
            project: attrs.project,
        };
        if self.disk_size > SMALL_FILE_MAX && !vol.layout.has_large_file() {
            vol.change_super(tx, |raw| raw.set_large_file())?;
        }
        place.edit(vol, tx, self.ino, |bytes| {
            before(bytes);
            raw.encode(&vol.layout, self.ino, bytes)
        })
    }

    /// The target of a short symbolic link.
    pub fn fast_target(&self) -> Option<&[u8]> {
        let len = usize::try_from(self.disk_size).ok()?;
        self.plain.as_ref()?.get(..len)
    }
}
