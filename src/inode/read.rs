// SPDX-License-Identifier: GPL-2.0

//! An inode on its way from the inode table into memory: here it is checked, once.
//!
//! [`Checked`] is what was found to be good, and is not in its place yet: an [`Inode`] is large, and is made where it
//! stays ([`Checked::inode`]).

use super::place::InodePlace;
use super::{Attrs, Inode};
use crate::disk::inode::{attributes, decode_rdev, DiskInode, InodeFlags, I_BLOCK_SIZE};
use crate::disk::xattr::Area;
use crate::disk::{CsumSeed, FileType, Flaw, Ino};
use crate::map::{FileMap, Snapshot};
use crate::store::Store;
use crate::volume::Volume;
use kernel::alloc::{flags::GFP_KERNEL, KBox};
use kernel::error::{code::*, Result};
use kernel::sync::Arc;

/// Flags that say that an inode is of a form which comes with a feature that is not supported. The feature was found
/// off at mount, so the flag is a corruption.
const FOREIGN: InodeFlags = InodeFlags::ENCRYPT
    .with(InodeFlags::INLINE_DATA)
    .with(InodeFlags::CASEFOLD);

/// What an inode is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    User,
    System,
    Orphan,
    Value,
}

/// What `i_block` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IBlock {
    /// The root of an extent tree, which was checked.
    Tree,
    /// A block map of the older kind without blocks, which is as good as an empty extent tree.
    Nothing,
    /// The target of a short symbolic link, a device number, nothing.
    Plain,
}

/// An inode of the inode table that passed every check. See the top of the file.
pub struct Checked {
    ino: Ino,
    raw: DiskInode,
    file_type: FileType,
    seed: Option<CsumSeed>,
    block: IBlock,
    may_have_acl: bool,
}

impl Checked {
    /// Reads an inode that a directory entry or a file handle names.
    ///
    /// # Errors
    ///
    /// * `ESTALE`: it has no links, or holds the value of an attribute; the caller knows whether that is a corruption.
    /// * `EUCLEAN`, reported: it is none that users can reach, or it is corrupt.
    /// * `EOPNOTSUPP`: its form is valid and not supported (block map without extents, verity).
    /// * `EIO`, `ENOMEM`.
    pub fn read<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<Self> {
        Self::read_known(vol, ino, |_| {})
    }

    /// The same. `known` is told the generation before more is checked: whoever hears of what is wrong then may want to
    /// know whose inode it is.
    ///
    /// # Errors
    ///
    /// Those of [`Checked::read`].
    pub fn read_known<S: Store>(
        vol: &Volume<S>,
        ino: Ino,
        known: impl FnOnce(u32),
    ) -> Result<Self> {
        Self::read_for(vol, ino, Purpose::User, known)
    }

    /// Reads an inode of the file system's own, as the super block names it: journal, orphan file.
    ///
    /// # Errors
    ///
    /// Those of [`Checked::read`], but `EUCLEAN` for one without links.
    pub fn read_system<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<Self> {
        Self::read_for(vol, ino, Purpose::System, |_| {})
    }

    /// Reads an inode that is marked as an orphan, with or without links.
    ///
    /// # Errors
    ///
    /// Those of [`Checked::read`]; `ESTALE` only for one that has no type, and so was never used or is free.
    pub fn read_orphan<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<Self> {
        Self::read_for(vol, ino, Purpose::Orphan, |_| {})
    }

    /// Reads an inode that holds the value of an extended attribute, as an entry of another inode says.
    ///
    /// # Errors
    ///
    /// Those of [`Checked::read`], but `EUCLEAN` for one without links.
    pub fn read_value<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<Self> {
        Self::read_for(vol, ino, Purpose::Value, |_| {})
    }

    fn read_for<S: Store>(
        vol: &Volume<S>,
        ino: Ino,
        purpose: Purpose,
        known: impl FnOnce(u32),
    ) -> Result<Self> {
        let bad = |flaw| vol.store.flawed(ino, flaw);
        if purpose != Purpose::System && !vol.layout.is_user_ino(ino) {
            return Err(bad(Flaw::InodeNumber));
        }
        let values = vol.layout.value_seed().is_some();
        let (raw, has_own) = InodePlace::of(vol, ino)?
            .with(vol, |bytes| {
                let raw = DiskInode::decode(&vol.layout, ino, bytes)?;
                let own = attributes(bytes);
                own.map_or(Ok(()), |own| own.check(values))?;
                let is_acl = |own: Area<'_>| own.entries().any(|entry| entry.name.prefix.is_acl());
                Ok((raw, own.map(is_acl)))
            })
            .map_err(bad)?;
        known(raw.generation);
        let is_value = values && raw.flags.has(InodeFlags::EA_INODE);
        if purpose == Purpose::Value {
            check_value(vol, ino, &raw, has_own.is_some())?;
        } else if is_value && (purpose != Purpose::Orphan || raw.links != 0) {
            // What a handle has may be one by now.
            return Err(ESTALE);
        }
        if raw.links == 0 {
            match purpose {
                Purpose::System => return Err(bad(Flaw::InodeUnused)),
                Purpose::Orphan | Purpose::Value if raw.mode != 0 => {}
                _ => return Err(ESTALE),
            }
        }
        let file_type =
            FileType::from_mode(raw.mode).ok_or_else(|| bad(Flaw::InodeMode { mode: raw.mode }))?;
        check(vol, ino, &raw, file_type, purpose)?;

        let seed = vol.layout.csum_seed();
        let seed = seed.map(|seed| seed.for_inode(ino, raw.generation));
        let mapped = match file_type {
            FileType::Regular | FileType::Directory => true,
            FileType::Symlink => !is_fast_symlink(vol, &raw),
            _ => false,
        };
        let block = if !mapped {
            IBlock::Plain
        } else if raw.flags.has(InodeFlags::EXTENTS) {
            FileMap::check_root(vol, ino, seed, &raw.block)?;
            IBlock::Tree
        } else if raw.block.iter().all(|byte| *byte == 0) {
            IBlock::Nothing
        } else {
            return Err(EOPNOTSUPP);
        };
        Ok(Self {
            ino,
            raw,
            file_type,
            seed,
            block,
            may_have_acl: has_own == Some(true) || raw.file_acl.is_some(),
        })
    }

    /// Whether there may be an access control list among its attributes.
    pub fn may_have_acl(&self) -> bool {
        self.may_have_acl
    }

    /// The type of the file.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// The number.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// What the checksums of the inode's own structures begin with.
    pub fn seed(&self) -> Option<CsumSeed> {
        self.seed
    }

    /// Tells inodes apart that had the same number one after the other.
    pub fn generation(&self) -> u32 {
        self.raw.generation
    }

    /// The size on disk in bytes.
    pub fn size(&self) -> u64 {
        self.raw.size
    }

    /// What it occupies, in units of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.raw.sectors
    }

    /// The flags.
    pub fn flags(&self) -> InodeFlags {
        match self.block {
            IBlock::Nothing => self.raw.flags.with(InodeFlags::EXTENTS),
            IBlock::Tree | IBlock::Plain => self.raw.flags,
        }
    }

    /// The target of a short symbolic link.
    pub fn fast_target(&self) -> Option<&[u8]> {
        let len = usize::try_from(self.raw.size).ok()?;
        match self.block {
            IBlock::Plain => self.raw.block.get(..len),
            IBlock::Tree | IBlock::Nothing => None,
        }
    }

    /// What the VFS is to know of it.
    pub fn attrs(&self) -> Attrs {
        let raw = &self.raw;
        Attrs {
            mode: raw.mode,
            uid: raw.uid,
            gid: raw.gid,
            nlink: raw.links.into(),
            rdev: match self.file_type.is_device() {
                true => decode_rdev(&raw.block),
                false => 0,
            },
            atime: raw.atime,
            mtime: raw.mtime,
            ctime: raw.ctime,
            crtime: raw.crtime,
            version: raw.version,
            project: raw.project,
        }
    }

    /// A copy of `i_block`, where it is no map.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn plain(&self) -> Result<Option<KBox<[u8; I_BLOCK_SIZE]>>> {
        match self.block {
            IBlock::Plain => Ok(Some(KBox::new(self.raw.block, GFP_KERNEL)?)),
            IBlock::Tree | IBlock::Nothing => Ok(None),
        }
    }

    /// The inode in memory, with `snapshot`, which is of no other, and what [`Checked::plain`] gave.
    #[inline]
    pub fn inode<S: Store>(
        &self,
        vol: &Volume<S>,
        snapshot: Arc<Snapshot>,
        plain: Option<KBox<[u8; I_BLOCK_SIZE]>>,
    ) -> Inode {
        let raw = &self.raw;
        let root = match self.block {
            IBlock::Tree => raw.block,
            IBlock::Plain | IBlock::Nothing => FileMap::EMPTY_ROOT,
        };
        Inode {
            ino: self.ino,
            generation: raw.generation,
            flags: self.flags(),
            disk_size: raw.size,
            file_acl: raw.file_acl,
            // The fields are there although the inode was made when they were not: begin to use them.
            extra_isize: match raw.extra_isize {
                0 => vol.layout.defined_extra_isize(),
                size => size,
            },
            map: FileMap::of_checked(self.ino, self.seed, root, raw.sectors, snapshot),
            plain,
        }
    }
}

#[allow(
    dead_code,
    reason = "for the host: the kernel makes all but a few inodes where they stay"
)]
impl Inode {
    /// [`Checked::read`], with memory for what it gives.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::made_of(vol, &Checked::read(vol, ino)?)
    }

    /// [`Checked::read_system`], with memory for what it gives.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_system<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::made_of(vol, &Checked::read_system(vol, ino)?)
    }

    /// [`Checked::read_orphan`], with memory for what it gives.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_orphan<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::made_of(vol, &Checked::read_orphan(vol, ino)?)
    }

    /// [`Checked::read_value`], with memory for what it gives.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_value<S: Store>(vol: &Volume<S>, ino: Ino) -> Result<(Self, Attrs)> {
        Self::made_of(vol, &Checked::read_value(vol, ino)?)
    }

    fn made_of<S: Store>(vol: &Volume<S>, checked: &Checked) -> Result<(Self, Attrs)> {
        let inode = checked.inode(vol, Snapshot::new()?, checked.plain()?);
        Ok((inode, checked.attrs()))
    }
}

/// Whether the inode may hold the value of an attribute that somebody has.
fn check_value<S: Store>(vol: &Volume<S>, ino: Ino, raw: &DiskInode, has_own: bool) -> Result {
    let flaw = if !raw.flags.has(InodeFlags::EA_INODE) {
        Flaw::ValueFlag
    } else if FileType::from_mode(raw.mode) != Some(FileType::Regular) {
        Flaw::InodeMode { mode: raw.mode }
    } else if has_own || raw.file_acl.is_some() {
        Flaw::ValueXattr
    } else {
        return Ok(());
    };
    Err(vol.store.flawed(ino, flaw))
}

/// What can be checked without the map.
fn check<S: Store>(
    vol: &Volume<S>,
    ino: Ino,
    raw: &DiskInode,
    file_type: FileType,
    purpose: Purpose,
) -> Result {
    let layout = &vol.layout;
    let bad = |flaw| Err(vol.store.flawed(ino, flaw));
    let size = raw.size;
    let foreign = match layout.value_seed() {
        Some(_) => FOREIGN,
        None => FOREIGN.with(InodeFlags::EA_INODE),
    };
    if raw.flags.has_any(foreign) {
        let flags = raw.flags.bits();
        return bad(Flaw::InodeFlags { flags });
    }
    if raw.flags.has(InodeFlags::VERITY) {
        return Err(EOPNOTSUPP);
    }
    if size > layout.max_file_size() {
        return bad(Flaw::InodeSize { size });
    }
    if let Some(block) = raw.file_acl {
        if !layout.contains(block, 1) || vol.space.is_system(block, 1) {
            let block = block.get();
            return bad(Flaw::InodeXattrBlock { block });
        }
    }
    match file_type {
        FileType::Directory => {
            if raw.flags.has(InodeFlags::INDEX)
                && layout.csum_seed().is_some()
                && !layout.has_dir_index()
            {
                return bad(Flaw::InodeIndexFlag);
            }
            let partial = size % u64::from(layout.block_size().bytes()) != 0;
            // A directory without links may have been emptied already.
            if partial || size == 0 && raw.links != 0 {
                return bad(Flaw::DirSize { size });
            }
        }
        FileType::Symlink => {
            if raw
                .flags
                .has_any(InodeFlags::IMMUTABLE.with(InodeFlags::APPEND))
            {
                return bad(Flaw::SymlinkFlags);
            }
            let max = if is_fast_symlink(vol, raw) {
                Inode::MAX_FAST_TARGET as u64
            } else {
                u64::from(layout.block_size().bytes()).wrapping_sub(1)
            };
            let bad_target = is_fast_symlink(vol, raw) && fast_target(raw).is_none();
            // An orphan may have been emptied already; its target is no longer read.
            if purpose != Purpose::Orphan && (size == 0 || size > max || bad_target) {
                return bad(Flaw::SymlinkTarget { size });
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether a symbolic link has its target in the inode: it has no blocks but one of extended attributes. Where values
/// of attributes count as blocks, too, its size says it.
fn is_fast_symlink<S: Store>(vol: &Volume<S>, raw: &DiskInode) -> bool {
    if vol.layout.value_seed().is_some() {
        return (1..=Inode::MAX_FAST_TARGET as u64).contains(&raw.size);
    }
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
