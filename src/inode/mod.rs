// SPDX-License-Identifier: GPL-2.0

//! An inode as the core has it, and its way from and to the inode table (`place.rs`: its bytes there);
//! the inodes that a recovery has to look after (`orphan.rs`).
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
//! An `Inode` is guarded by the inode's map lock. Inside of the functions here the buffer lock of the block of the
//! inode table is taken, which makes changes of neighbours one after the other.

mod orphan;
mod place;

pub use orphan::Orphans;
pub use place::{dtime, hold, set_dtime, wipe};

use crate::disk::inode::{
    decode_rdev, encode_rdev, DiskInode, FileKind, InodeFlags, Time, I_BLOCK_SIZE,
};
use crate::disk::{CsumSeed, Ino, PhysBlock};
use crate::map::FileMap;
use crate::store::{Flaw, Store};
use crate::volume::Volume;
use kernel::error::{code::*, Result};
use place::{corrupt, Place};

/// The largest size that old kernels can cope with; files beyond it need the feature `large_file`.
const SMALL_FILE_MAX: u64 = 0x7fff_ffff;

/// Flags that say that an inode is of a form which comes with a feature that is not supported. The feature was found
/// off at mount, so the flag is a corruption.
const FOREIGN: InodeFlags = InodeFlags::ENCRYPT
    .with(InodeFlags::EA_INODE)
    .with(InodeFlags::INLINE_DATA)
    .with(InodeFlags::CASEFOLD);

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
    pub atime: Time,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation.
    pub crtime: Time,
    /// Change counter.
    pub version: u64,
}

impl Attrs {
    /// The type of the file; that of a regular file where the mode has none.
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode).unwrap_or(FileKind::Regular)
    }
}

/// What an inode is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    User,
    System,
    Orphan,
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
    pub plain: Option<[u8; I_BLOCK_SIZE]>,
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
    pub const WRITE_CREDITS: u32 = 2;

    /// Reads an inode that a directory entry or a file handle names.
    ///
    /// # Errors
    ///
    /// * `ESTALE`: it has no links; the caller knows whether that is a corruption.
    /// * `EUCLEAN`, reported: it is none that users can reach, or it is corrupt.
    /// * `EOPNOTSUPP`: its form is valid and not supported (block map without extents, verity).
    /// * `EIO`, `ENOMEM`.
    pub fn read<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::read_for(vol, ino, Purpose::User)
    }

    /// Reads an inode of the file system's own, as the super block names it: journal, orphan file.
    ///
    /// # Errors
    ///
    /// Those of [`Inode::read`], but `EUCLEAN` for one without links.
    pub fn read_system<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::read_for(vol, ino, Purpose::System)
    }

    /// Reads an inode that is marked as an orphan, with or without links.
    ///
    /// # Errors
    ///
    /// Those of [`Inode::read`]; `ESTALE` only for one that has no type, and so was never used or is free.
    pub fn read_orphan<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::read_for(vol, ino, Purpose::Orphan)
    }

    fn read_for<S: Store>(vol: &Volume<S>, ino: Ino, purpose: Purpose) -> Result<(Self, Attrs)> {
        let bad = |what| corrupt(vol, ino, Flaw(what));
        if purpose != Purpose::System && !vol.layout.is_user_ino(ino) {
            return Err(bad("not an inode that can be reached"));
        }
        let raw = Place::of(vol, ino)?
            .with(vol, |bytes| DiskInode::decode(&vol.layout, ino, bytes))
            .map_err(|flaw| corrupt(vol, ino, flaw))?;
        if raw.links == 0 {
            match purpose {
                Purpose::System => return Err(bad("is not in use")),
                Purpose::Orphan if raw.mode != 0 => {}
                _ => return Err(ESTALE),
            }
        }
        let kind = FileKind::from_mode(raw.mode).ok_or_else(|| bad("unknown type of file"))?;
        Self::check(vol, ino, &raw, kind, purpose)?;

        let seed = vol
            .layout
            .csum_seed()
            .map(|seed| seed.for_inode(ino, raw.generation));
        let mut flags = raw.flags;
        let (map, plain) = match kind {
            FileKind::Regular | FileKind::Directory => {
                (Self::read_map(vol, ino, seed, &raw, &mut flags)?, None)
            }
            FileKind::Symlink if !is_fast_symlink(vol, &raw) => {
                (Self::read_map(vol, ino, seed, &raw, &mut flags)?, None)
            }
            _ => {
                let mut map = FileMap::empty(vol, ino, seed)?;
                map.add_sectors(raw.sectors.try_into().unwrap_or(i64::MAX));
                (map, Some(raw.block))
            }
        };
        let rdev = if kind.is_device() {
            decode_rdev(&raw.block)
        } else {
            0
        };
        let inode = Self {
            ino,
            generation: raw.generation,
            seed,
            flags,
            disk_size: raw.size,
            file_acl: raw.file_acl,
            // The fields are there although the inode was made when they were not: begin to use them.
            extra_isize: match raw.extra_isize {
                0 => vol.layout.defined_extra_isize(),
                size => size,
            },
            map,
            plain,
        };
        let attrs = Attrs {
            mode: raw.mode,
            uid: raw.uid,
            gid: raw.gid,
            nlink: raw.links.into(),
            rdev,
            atime: raw.atime,
            mtime: raw.mtime,
            ctime: raw.ctime,
            crtime: raw.crtime,
            version: raw.version,
        };
        Ok((inode, attrs))
    }

    /// What can be checked without the map.
    fn check<S: Store>(
        vol: &Volume<S>,
        ino: Ino,
        raw: &DiskInode,
        kind: FileKind,
        purpose: Purpose,
    ) -> Result {
        let layout = &vol.layout;
        let bad = |what| Err(corrupt(vol, ino, Flaw(what)));
        if raw.flags.has_any(FOREIGN) {
            return bad("has a flag of a feature that the file system does not have");
        }
        if raw.flags.has(InodeFlags::VERITY) {
            return Err(EOPNOTSUPP);
        }
        if raw.size > layout.max_file_size() {
            return bad("bad i_size");
        }
        if let Some(block) = raw.file_acl {
            if !layout.contains(block, 1) || vol.space.is_system(block, 1) {
                return bad("bad block of extended attributes");
            }
        }
        match kind {
            FileKind::Directory => {
                if raw.flags.has(InodeFlags::INDEX)
                    && layout.csum_seed().is_some()
                    && !layout.has_dir_index()
                {
                    return bad("hashed directory without the feature dir_index");
                }
                let partial = raw.size % u64::from(layout.block_size().bytes()) != 0;
                // A directory without links may have been emptied already.
                if partial || raw.size == 0 && raw.links != 0 {
                    return bad("bad size of a directory");
                }
                // Directories have no holes. A scan must not take as long as a false size says, nor as false counts do.
                let blocks = raw.size >> layout.block_size().bits();
                let held = raw.sectors / layout.block_size().sectors().max(1);
                if raw.links != 0 && blocks > held.min(layout.blocks_count()) {
                    return bad("directory is larger than its blocks");
                }
            }
            FileKind::Symlink => {
                if raw
                    .flags
                    .has_any(InodeFlags::IMMUTABLE.with(InodeFlags::APPEND))
                {
                    return bad("symbolic link with the flag immutable or append");
                }
                let max = if is_fast_symlink(vol, raw) {
                    Self::MAX_FAST_TARGET as u64
                } else {
                    u64::from(layout.block_size().bytes()).wrapping_sub(1)
                };
                let bad_target = is_fast_symlink(vol, raw) && fast_target(raw).is_none();
                // An orphan may have been emptied already; its target is no longer read.
                if purpose != Purpose::Orphan && (raw.size == 0 || raw.size > max || bad_target) {
                    return bad("bad target of a symbolic link");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read_map<S: Store>(
        vol: &Volume<S>,
        ino: Ino,
        seed: Option<CsumSeed>,
        raw: &DiskInode,
        flags: &mut InodeFlags,
    ) -> Result<FileMap> {
        if flags.has(InodeFlags::EXTENTS) {
            return FileMap::from_root(vol, ino, seed, &raw.block, raw.sectors);
        }
        // A block map of the older kind. One without blocks is as good as an empty extent tree.
        if raw.block.iter().any(|byte| *byte != 0) {
            return Err(EOPNOTSUPP);
        }
        *flags = flags.with(InodeFlags::EXTENTS);
        let mut map = FileMap::empty(vol, ino, seed)?;
        map.add_sectors(raw.sectors.try_into().unwrap_or(i64::MAX));
        Ok(map)
    }

    /// Makes a new inode in a slot that [`crate::space::Space::alloc_inode`] gave in this transaction; what was there
    /// is gone. The size is zero, or that of `content`. Costs at most [`Inode::WRITE_CREDITS`].
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` for a target that is too long; those of [`Inode::write`].
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
                for (to, from) in block.iter_mut().zip(target) {
                    *to = *from;
                }
                (Some(block), flags, target.len() as u64)
            }
            Content::Special if attrs.kind().is_device() => {
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
            plain,
        };
        inode.put(vol, tx, attrs, true)?;
        Ok(inode)
    }

    /// Writes the inode to the inode table. What is not known here stays: extended attributes in the inode, the
    /// deletion time. Costs at most [`Inode::WRITE_CREDITS`].
    ///
    /// # Errors
    ///
    /// `EMLINK` and `EUCLEAN` for values that the format cannot hold; `EIO`, `ENOMEM`; what the journal says.
    pub fn write<S: Store>(&self, vol: &Volume<S>, tx: &mut S::Tx<'_>, attrs: &Attrs) -> Result {
        self.put(vol, tx, attrs, false)
    }

    fn put<S: Store>(
        &self,
        vol: &Volume<S>,
        tx: &mut S::Tx<'_>,
        attrs: &Attrs,
        fresh: bool,
    ) -> Result {
        let raw = DiskInode {
            mode: attrs.mode,
            uid: attrs.uid,
            gid: attrs.gid,
            links: attrs.nlink.try_into().map_err(|_| EMLINK)?,
            size: self.disk_size,
            sectors: self.map.sectors(),
            flags: self.flags,
            block: self.plain.unwrap_or(*self.map.root()),
            generation: self.generation,
            file_acl: self.file_acl,
            extra_isize: self.extra_isize,
            atime: attrs.atime,
            ctime: attrs.ctime,
            mtime: attrs.mtime,
            crtime: attrs.crtime,
            version: attrs.version,
        };
        if self.disk_size > SMALL_FILE_MAX && !vol.layout.has_large_file() {
            vol.change_super(tx, |raw| raw.set_large_file())?;
        }
        Place::of(vol, self.ino)?.edit(vol, tx, self.ino, |bytes| {
            if fresh {
                bytes.fill(0);
            }
            raw.encode(&vol.layout, self.ino, bytes)
        })
    }

    /// The target of a short symbolic link.
    pub fn fast_target(&self) -> Option<&[u8]> {
        let len = usize::try_from(self.disk_size).ok()?;
        self.plain.as_ref()?.get(..len)
    }
}

/// Whether a symbolic link has its target in the inode: it has no blocks but one of extended attributes.
fn is_fast_symlink<S: Store>(vol: &Volume<S>, raw: &DiskInode) -> bool {
    let attributes = match raw.file_acl {
        Some(_) => vol.layout.block_size().sectors(),
        None => 0,
    };
    raw.sectors == attributes
}

/// The target that `i_block` holds: as long as the size says, and without a zero.
fn fast_target(raw: &DiskInode) -> Option<&[u8]> {
    let len = usize::try_from(raw.size).ok()?;
    let target = raw.block.get(..len)?;
    let end = raw.block.get(len)?;
    (!target.contains(&0) && *end == 0).then_some(target)
}
