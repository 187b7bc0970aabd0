// SPDX-License-Identifier: GPL-2.0

//! The geometry of a file system: what the super block says, checked once at mount.
//!
//! # Invariants
//!
//! The values of a [`Layout`] fit each other and the device: sizes are powers of two, the groups cover the
//! blocks, every bitmap fits a block, inode numbers fit the groups. They never change while mounted.
//!
//! What is checked is what ext4 checks when it fills its super block, and what `mke2fs` guarantees where ext4
//! relies on it silently.

use super::features::{compat, incompat, ro_compat, FeatureSet, Features};
use super::superblock::{RawSuper, FLAG_UNSIGNED_HASH, GOOD_OLD_REV, SUPER_MAGIC, SUPER_OFFSET};
use super::{BlockSize, CsumSeed, Group, Ino, PhysBlock};
use core::num::{NonZeroU32, NonZeroU64};
use kernel::error::{code::*, Error};
use kernel::fmt;

/// Size of an inode in the first revision, and the least that there is.
pub const GOOD_OLD_INODE_SIZE: u16 = 128;
/// First inode that is not reserved, in the first revision.
const GOOD_OLD_FIRST_INO: u32 = 11;
/// Bytes of the inode body that are defined, after the first 128.
const EXTRA_ISIZE: u16 = 32;
/// Size of a group descriptor without the feature `64bit`.
pub const DESC_SIZE_32BIT: u16 = 32;
/// Least size of a group descriptor with the feature `64bit`.
pub const DESC_SIZE_64BIT: u16 = 64;

/// `s_creator_os`, which says how some fields of inodes are used.
const OS_LINUX: u32 = 0;
const OS_HURD: u32 = 1;

/// Why a file system is not mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No ext4 file system.
    NoMagic,
    /// The super block's checksum is wrong.
    Checksum,
    /// Checksums of a kind that is not known (`s_checksum_type`).
    ChecksumType(u8),
    /// Features that cannot be read.
    Features(FeatureSet),
    /// A feature that is needed is off.
    MissingFeature(&'static str),
    /// Features that cannot be written; a read-only mount works.
    FeaturesForWriting(FeatureSet),
    /// A field, its value, and what is wrong with it.
    Field(&'static str, u64, &'static str),
}

impl Refusal {
    /// The error for the mount.
    pub fn error(&self) -> Error {
        match self {
            Self::Checksum => EFSBADCRC,
            Self::FeaturesForWriting(_) => EROFS,
            _ => EINVAL,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMagic => f.write_str("no ext4 file system found"),
            Self::Checksum => f.write_str("the super block has a wrong checksum"),
            Self::ChecksumType(nr) => write!(f, "unknown checksum type {nr}"),
            Self::Features(set) => {
                f.write_str("unsupported features: ")?;
                fmt::Display::fmt(set, f)
            }
            Self::MissingFeature(name) => write!(f, "needs the feature {name}"),
            Self::FeaturesForWriting(set) => {
                f.write_str("can only be mounted read-only because of the features: ")?;
                fmt::Display::fmt(set, f)
            }
            Self::Field(name, value, what) => write!(f, "super block: {name} is {value}: {what}"),
        }
    }
}

/// How names in directories are hashed, where the directory does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashParams {
    /// `s_hash_seed`; all zero for the hash's own.
    pub seed: [u32; 4],
    /// `s_def_hash_version`, for new directories.
    pub version: u8,
    /// Whether characters are unsigned.
    pub unsigned: bool,
}

/// Where an inode is in the inode table of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeSlot {
    /// The group.
    pub group: Group,
    /// The inode's bit in the inode bitmap.
    pub index: u32,
    /// Block of the group's inode table.
    pub block: u32,
    /// Where the inode begins in that block, in bytes.
    pub offset: usize,
}

/// See the top of the file.
#[derive(Clone, Debug)]
pub struct Layout {
    features: Features,
    uuid: [u8; 16],
    csum_seed: Option<CsumSeed>,
    block_size: BlockSize,
    blocks_count: u64,
    first_data_block: u32,
    blocks_per_group: NonZeroU32,
    groups: u32,
    inodes_per_group: NonZeroU32,
    inodes_per_block: NonZeroU32,
    inodes_count: u32,
    first_ino: u32,
    inode_size: u16,
    want_extra_isize: u16,
    desc_size: u16,
    gdt_blocks: u32,
    reserved_gdt_blocks: u16,
    flex_bits: u8,
    backup_groups: [u32; 2],
    reserved_blocks: u64,
    hash: HashParams,
    journal_ino: Option<Ino>,
    orphan_file_ino: Option<Ino>,
    creator_is_linux: bool,
}

/// How many times `d` are needed for `n`.
fn div_ceil(n: u64, d: NonZeroU64) -> u64 {
    (n / d).saturating_add(u64::from(n % d != 0))
}

fn field<T>(
    ok: bool,
    name: &'static str,
    value: impl Into<u64>,
    what: &'static str,
    then: T,
) -> Result<T, Refusal> {
    if ok {
        Ok(then)
    } else {
        Err(Refusal::Field(name, value.into(), what))
    }
}

impl Layout {
    /// The block size that the super block gives, which a mount must know before the rest can be read.
    ///
    /// # Errors
    ///
    /// Where there is no file system, or one with a block size that the format does not have.
    pub fn probe_block_size(raw: &RawSuper) -> Result<BlockSize, Refusal> {
        if raw.magic.get() != SUPER_MAGIC {
            return Err(Refusal::NoMagic);
        }
        let log = raw.log_block_size.get();
        log.checked_add(10)
            .and_then(BlockSize::from_bits)
            .ok_or(Refusal::Field(
                "s_log_block_size",
                log.into(),
                "not a block size",
            ))
    }

    /// Checks a super block. `device_blocks` is the size of the device in blocks of the file system.
    ///
    /// # Errors
    ///
    /// The first thing found for which the file system cannot be mounted, for writing unless `read_only`.
    pub fn new(raw: &RawSuper, device_blocks: u64, read_only: bool) -> Result<Self, Refusal> {
        let block_size = Self::probe_block_size(raw)?;
        let bits_per_block = block_size.bytes().saturating_mul(8);

        let features = raw.features();
        if let Some(set) = features.unsupported() {
            return Err(Refusal::Features(set));
        }
        if !features.has_incompat(incompat::EXTENTS) {
            return Err(Refusal::MissingFeature("extent"));
        }
        if let (Some(set), false) = (features.unsupported_for_writing(), read_only) {
            return Err(Refusal::FeaturesForWriting(set));
        }
        let creator = raw.creator_os.get();
        field(
            creator != OS_HURD,
            "s_creator_os",
            creator,
            "inodes of the Hurd are not supported",
            (),
        )?;
        let csum_seed = raw.csum_seed();
        if csum_seed.is_some() && raw.checksum_type != 1 {
            return Err(Refusal::ChecksumType(raw.checksum_type));
        }
        if !raw.checksum_ok() {
            return Err(Refusal::Checksum);
        }

        let log_cluster_size = raw.log_cluster_size.get();
        field(
            log_cluster_size == raw.log_block_size.get(),
            "s_log_cluster_size",
            log_cluster_size,
            "clusters are not supported",
            (),
        )?;

        let revision_0 = raw.rev_level.get() == GOOD_OLD_REV;
        let (inode_size, first_ino) = if revision_0 {
            (GOOD_OLD_INODE_SIZE, GOOD_OLD_FIRST_INO)
        } else {
            (raw.inode_size.get(), raw.first_ino.get())
        };
        field(
            inode_size >= GOOD_OLD_INODE_SIZE
                && inode_size.is_power_of_two()
                && u32::from(inode_size) <= block_size.bytes(),
            "s_inode_size",
            inode_size,
            "not an inode size",
            (),
        )?;
        field(
            first_ino >= GOOD_OLD_FIRST_INO,
            "s_first_ino",
            first_ino,
            "below the reserved inodes",
            (),
        )?;
        let want_extra_isize = Self::check_extra_isize(raw, inode_size)?;

        let desc_size = if features.has_incompat(incompat::SIXTY_FOUR_BIT) {
            let size = raw.desc_size.get();
            field(
                (DESC_SIZE_64BIT..=1024).contains(&size)
                    && size.is_power_of_two()
                    && u32::from(size) <= block_size.bytes(),
                "s_desc_size",
                size,
                "not the size of a group descriptor",
                size,
            )?
        } else {
            DESC_SIZE_32BIT
        };

        let per_group = raw.blocks_per_group.get();
        let blocks_per_group = NonZeroU32::new(per_group)
            .filter(|n| n.get() <= bits_per_block && n.get() % 8 == 0)
            .ok_or(Refusal::Field(
                "s_blocks_per_group",
                per_group.into(),
                "not what a bitmap can hold",
            ))?;
        field(
            raw.clusters_per_group.get() == per_group,
            "s_clusters_per_group",
            raw.clusters_per_group.get(),
            "not the blocks of a group",
            (),
        )?;

        let per_block = block_size.bytes() / u32::from(inode_size);
        let inodes_per_block = NonZeroU32::new(per_block).ok_or(Refusal::Field(
            "s_inode_size",
            inode_size.into(),
            "larger than a block",
        ))?;
        let per_group = raw.inodes_per_group.get();
        let inodes_per_group = NonZeroU32::new(per_group)
            .filter(|n| {
                n.get() >= per_block
                    && n.get() <= bits_per_block
                    && n.get() % 8 == 0
                    && n.get() % inodes_per_block == 0
            })
            .ok_or(Refusal::Field(
                "s_inodes_per_group",
                per_group.into(),
                "not what a bitmap can hold, or no whole blocks of inodes",
            ))?;

        let blocks_count = raw.blocks_count();
        field(
            blocks_count <= PhysBlock::MAX,
            "s_blocks_count",
            blocks_count,
            "more than extents can reach",
            (),
        )?;
        field(
            blocks_count <= device_blocks,
            "s_blocks_count",
            blocks_count,
            "more than the device has",
            (),
        )?;
        let first_data_block = raw.first_data_block.get();
        field(
            u64::from(first_data_block) == SUPER_OFFSET.wrapping_shr(block_size.bits()),
            "s_first_data_block",
            first_data_block,
            "not the block with the super block",
            (),
        )?;
        field(
            u64::from(first_data_block) < blocks_count,
            "s_blocks_count",
            blocks_count,
            "ends before the first group",
            (),
        )?;
        let in_groups = blocks_count.saturating_sub(first_data_block.into());
        let groups = div_ceil(in_groups, blocks_per_group.into());
        let descs_per_block = block_size.bytes() / u32::from(desc_size);
        let groups = u32::try_from(groups)
            .ok()
            .filter(|n| n.checked_add(descs_per_block).is_some())
            .ok_or(Refusal::Field(
                "s_blocks_count",
                blocks_count,
                "too many groups",
            ))?;

        let inodes_count = raw.inodes_count.get();
        field(
            u64::from(groups).checked_mul(inodes_per_group.get().into())
                == Some(inodes_count.into()),
            "s_inodes_count",
            inodes_count,
            "not the inodes of all groups",
            (),
        )?;
        field(
            first_ino <= inodes_count,
            "s_first_ino",
            first_ino,
            "past the last inode",
            (),
        )?;

        let reserved_gdt_blocks = raw.reserved_gdt_blocks.get();
        field(
            u32::from(reserved_gdt_blocks) <= block_size.bytes() / 4,
            "s_reserved_gdt_blocks",
            reserved_gdt_blocks,
            "more than the resize inode can map",
            (),
        )?;
        let per_block = NonZeroU64::new(descs_per_block.into()).unwrap_or(NonZeroU64::MIN);
        let gdt_blocks = div_ceil(groups.into(), per_block) as u32;
        let base_meta = u64::from(gdt_blocks) + u64::from(reserved_gdt_blocks) + 1;
        field(
            base_meta < u64::from(blocks_per_group.get()) && base_meta < in_groups,
            "s_reserved_gdt_blocks",
            reserved_gdt_blocks,
            "the group descriptors do not fit into a group",
            (),
        )?;

        let flex_bits = if features.has_incompat(incompat::FLEX_BG) {
            // As ext4 does: a size that makes no sense is no flex_bg.
            match raw.log_groups_per_flex {
                bits @ 1..=31 => bits,
                _ => 0,
            }
        } else {
            0
        };

        let named_inode = |present: bool, name, nr: u32| match Ino::new(nr) {
            Some(ino) if present && nr <= inodes_count => Ok(Some(ino)),
            None if present => Ok(None),
            _ if present => Err(Refusal::Field(name, nr.into(), "no such inode")),
            _ => Ok(None),
        };
        let journal_ino = named_inode(
            features.has_compat(compat::HAS_JOURNAL),
            "s_journal_inum",
            raw.journal_inum.get(),
        )?;
        let orphan_file_ino = named_inode(
            features.has_compat(compat::ORPHAN_FILE),
            "s_orphan_file_inum",
            raw.orphan_file_inum.get(),
        )?;
        field(
            orphan_file_ino.is_some() || !features.has_compat(compat::ORPHAN_FILE),
            "s_orphan_file_inum",
            raw.orphan_file_inum.get(),
            "no such inode",
            (),
        )?;

        Ok(Self {
            features,
            uuid: raw.uuid,
            csum_seed,
            block_size,
            blocks_count,
            first_data_block,
            blocks_per_group,
            groups,
            inodes_per_group,
            inodes_per_block,
            inodes_count,
            first_ino,
            inode_size,
            want_extra_isize,
            desc_size,
            gdt_blocks,
            reserved_gdt_blocks,
            flex_bits,
            backup_groups: raw.backup_bgs.map(|nr| nr.get()),
            reserved_blocks: raw.reserved_blocks_count().min(blocks_count),
            hash: HashParams {
                seed: raw.hash_seed.map(|word| word.get()),
                version: raw.def_hash_version,
                unsigned: raw.flags.get() & FLAG_UNSIGNED_HASH != 0,
            },
            journal_ino,
            orphan_file_ino,
            creator_is_linux: creator == OS_LINUX,
        })
    }

    /// The size of the inode body of new inodes: at least what is defined, more where the super block asks.
    fn check_extra_isize(raw: &RawSuper, inode_size: u16) -> Result<u16, Refusal> {
        let room = inode_size.saturating_sub(GOOD_OLD_INODE_SIZE);
        if room == 0 {
            return Ok(0);
        }
        let mut want = EXTRA_ISIZE;
        if raw.features().has_ro_compat(ro_compat::EXTRA_ISIZE) {
            for (name, size) in [
                ("s_want_extra_isize", raw.want_extra_isize.get()),
                ("s_min_extra_isize", raw.min_extra_isize.get()),
            ] {
                field(
                    size <= room && size % 4 == 0,
                    name,
                    size,
                    "does not fit the inodes",
                    (),
                )?;
                want = want.max(size);
            }
        }
        Ok(want)
    }

    /// The features, as they were at mount.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The UUID.
    pub fn uuid(&self) -> &[u8; 16] {
        &self.uuid
    }

    /// The seed of the checksums; `None` where metadata has none.
    pub fn csum_seed(&self) -> Option<CsumSeed> {
        self.csum_seed
    }

    /// Whether group descriptors have the CRC-16 of the feature `gdt_csum` (`uninit_bg`).
    pub fn has_gdt_csum(&self) -> bool {
        self.csum_seed.is_none() && self.features.has_ro_compat(ro_compat::GDT_CSUM)
    }

    /// Whether directory entries have the file's type.
    pub fn has_filetype(&self) -> bool {
        self.features.has_incompat(incompat::FILETYPE)
    }

    /// Whether block numbers and group descriptors are wide.
    pub fn has_64bit(&self) -> bool {
        self.features.has_incompat(incompat::SIXTY_FOUR_BIT)
    }

    /// Whether directories may have a hash tree.
    pub fn has_dir_index(&self) -> bool {
        self.features.has_compat(compat::DIR_INDEX)
    }

    /// Whether a directory may have a link count of 1 for "many".
    pub fn has_dir_nlink(&self) -> bool {
        self.features.has_ro_compat(ro_compat::DIR_NLINK)
    }

    /// Whether there may be files larger than 2 GiB - 1, as of mount.
    pub fn has_large_file(&self) -> bool {
        self.features.has_ro_compat(ro_compat::LARGE_FILE)
    }

    /// Whether `i_blocks` is wide.
    pub fn has_huge_file(&self) -> bool {
        self.features.has_ro_compat(ro_compat::HUGE_FILE)
    }

    /// The block size.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// Size of the file system in blocks.
    pub fn blocks_count(&self) -> u64 {
        self.blocks_count
    }

    /// The first block of group 0: 1 where blocks are 1 KiB, else 0.
    pub fn first_data_block(&self) -> u32 {
        self.first_data_block
    }

    /// Blocks of a group; the last one may have less.
    pub fn blocks_per_group(&self) -> u32 {
        self.blocks_per_group.get()
    }

    /// How many groups there are.
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Inodes of a group.
    pub fn inodes_per_group(&self) -> u32 {
        self.inodes_per_group.get()
    }

    /// Inodes of a block of an inode table.
    pub fn inodes_per_block(&self) -> u32 {
        self.inodes_per_block.get()
    }

    /// Blocks of a group's inode table.
    pub fn inode_table_blocks(&self) -> u32 {
        self.inodes_per_group.get() / self.inodes_per_block
    }

    /// How many inodes there are.
    pub fn inodes_count(&self) -> u32 {
        self.inodes_count
    }

    /// The first inode that is not reserved.
    pub fn first_ino(&self) -> u32 {
        self.first_ino
    }

    /// Size of an inode in bytes.
    pub fn inode_size(&self) -> u16 {
        self.inode_size
    }

    /// `i_extra_isize` of new inodes, in bytes; zero where inodes have 128 bytes.
    pub fn want_extra_isize(&self) -> u16 {
        self.want_extra_isize
    }

    /// Bytes of an inode after the first 128 for all fields that there are; zero where inodes have 128 bytes.
    pub fn defined_extra_isize(&self) -> u16 {
        EXTRA_ISIZE.min(self.inode_size.saturating_sub(GOOD_OLD_INODE_SIZE))
    }

    /// Size of a group descriptor in bytes.
    pub fn desc_size(&self) -> u16 {
        self.desc_size
    }

    /// Group descriptors of a block.
    pub fn descs_per_block(&self) -> u32 {
        self.block_size.bytes() / u32::from(self.desc_size).max(1)
    }

    /// Blocks of the group descriptor table.
    pub fn gdt_blocks(&self) -> u32 {
        self.gdt_blocks
    }

    /// Base-two logarithm of the number of groups in a flex group; zero for one.
    pub fn flex_bits(&self) -> u32 {
        self.flex_bits.into()
    }

    /// The flex group that a group belongs to.
    pub fn flex_group_of(&self, group: Group) -> u32 {
        group.get().wrapping_shr(self.flex_bits.into())
    }

    /// Blocks that only the privileged may use, as of mount.
    pub fn reserved_blocks(&self) -> u64 {
        self.reserved_blocks
    }

    /// How names are hashed.
    pub fn hash(&self) -> &HashParams {
        &self.hash
    }

    /// The inode of the journal; `None` where there is no journal, or it is on another device.
    pub fn journal_ino(&self) -> Option<Ino> {
        self.journal_ino
    }

    /// Whether there is a journal, wherever it is.
    pub fn has_journal(&self) -> bool {
        self.features.has_compat(compat::HAS_JOURNAL)
    }

    /// The inode of the orphan file.
    pub fn orphan_file_ino(&self) -> Option<Ino> {
        self.orphan_file_ino
    }

    /// Whether inodes have the fields in `osd2` as Linux uses them.
    pub fn creator_is_linux(&self) -> bool {
        self.creator_is_linux
    }

    /// The block with the super block, and where in it that begins.
    pub fn super_location(&self) -> (PhysBlock, usize) {
        let block = SUPER_OFFSET.wrapping_shr(self.block_size.bits());
        let offset = SUPER_OFFSET & u64::from(self.block_size.bytes()).wrapping_sub(1);
        (PhysBlock::new(block), offset as usize)
    }

    /// The largest size that a file mapped by extents can have, in bytes.
    pub fn max_file_size(&self) -> u64 {
        let bits = self.block_size.bits();
        let by_extents = u64::from(u32::MAX).wrapping_shl(bits);
        if self.has_huge_file() {
            by_extents
        } else {
            // i_blocks counts sectors in 32 bits then.
            let blocks = u64::from(u32::MAX).wrapping_shr(bits.wrapping_sub(9));
            by_extents.min(blocks.wrapping_shl(bits))
        }
    }

    /// Whether the device has the `len` blocks from `start` on, within the groups.
    pub fn contains(&self, start: PhysBlock, len: u32) -> bool {
        start.get() >= self.first_data_block.into()
            && start
                .checked_add(len.into())
                .is_some_and(|end| end.get() <= self.blocks_count)
    }

    /// The groups in order.
    pub fn all_groups(&self) -> impl Iterator<Item = Group> {
        (0..self.groups).map(Group::new)
    }

    /// The group of a block and the block's bit in the block bitmap.
    pub fn group_of(&self, block: PhysBlock) -> Option<(Group, u32)> {
        if !self.contains(block, 1) {
            return None;
        }
        let n = block.get().checked_sub(self.first_data_block.into())?;
        let per_group = u64::from(self.blocks_per_group.get());
        let group = u32::try_from(n.checked_div(per_group)?).ok()?;
        Some((Group::new(group), n.checked_rem(per_group)? as u32))
    }

    /// The first block of a group.
    pub fn group_first_block(&self, group: Group) -> PhysBlock {
        let before = u64::from(group.get()).saturating_mul(self.blocks_per_group.get().into());
        PhysBlock::new(before.saturating_add(self.first_data_block.into()))
    }

    /// How many blocks a group has: fewer in the last one, none past it.
    pub fn blocks_in_group(&self, group: Group) -> u32 {
        let rest = self
            .blocks_count
            .saturating_sub(self.group_first_block(group).get());
        rest.min(self.blocks_per_group.get().into()) as u32
    }

    /// Whether a group begins with a copy of the super block and the group descriptors.
    pub fn has_super(&self, group: Group) -> bool {
        let nr = group.get();
        if nr == 0 {
            return true;
        }
        if self.features.has_compat(compat::SPARSE_SUPER2) {
            return self.backup_groups.contains(&nr);
        }
        if nr == 1 || !self.features.has_ro_compat(ro_compat::SPARSE_SUPER) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base: u32| {
            core::iter::successors(Some(base), |power| power.checked_mul(base))
                .take_while(|power| *power <= nr)
                .any(|power| power == nr)
        })
    }

    /// How many blocks at the beginning of a group hold the super block, the group descriptors and the blocks
    /// kept for more of these.
    pub fn base_meta_blocks(&self, group: Group) -> u32 {
        if !self.has_super(group) {
            return 0;
        }
        self.gdt_blocks
            .saturating_add(self.reserved_gdt_blocks.into())
            .saturating_add(1)
    }

    /// Block number `nr` of the group descriptor table.
    pub fn gdt_block(&self, nr: u32) -> PhysBlock {
        let (block, _) = self.super_location();
        PhysBlock::new(block.get().saturating_add(1).saturating_add(nr.into()))
    }

    /// The block with a group's descriptor, and where in it that begins, in bytes.
    pub fn desc_location(&self, group: Group) -> (PhysBlock, usize) {
        let per_block = self.descs_per_block().max(1);
        let nr = group.get().checked_div(per_block).unwrap_or(0);
        let index = group.get().checked_rem(per_block).unwrap_or(0);
        let offset = index.saturating_mul(self.desc_size.into());
        (self.gdt_block(nr), offset as usize)
    }

    /// Where an inode is in the inode table; `None` where there is no such inode.
    pub fn inode_slot(&self, ino: Ino) -> Option<InodeSlot> {
        if ino.get() > self.inodes_count {
            return None;
        }
        let n = ino.get().wrapping_sub(1);
        let index = n % self.inodes_per_group;
        let in_block = index % self.inodes_per_block;
        Some(InodeSlot {
            group: Group::new(n / self.inodes_per_group),
            index,
            block: index / self.inodes_per_block,
            offset: in_block.checked_mul(self.inode_size.into())? as usize,
        })
    }

    /// The inode of a bit in a group's inode bitmap; `None` where there is no such inode.
    pub fn ino_of(&self, group: Group, index: u32) -> Option<Ino> {
        if index >= self.inodes_per_group.get() {
            return None;
        }
        let before = group.get().checked_mul(self.inodes_per_group.get())?;
        let nr = before.checked_add(index)?.checked_add(1)?;
        Ino::new(nr).filter(|_| nr <= self.inodes_count)
    }

    /// Whether an inode is one that users can reach: the root, or past the reserved ones.
    pub fn is_user_ino(&self, ino: Ino) -> bool {
        ino == Ino::ROOT || (ino.get() >= self.first_ino && ino.get() <= self.inodes_count)
    }

    /// Blocks of the file system's own that are there from the beginning, without the journal: what comes before
    /// the first group, and the super blocks, descriptors, bitmaps and inode tables of all groups.
    pub fn overhead(&self) -> u64 {
        let per_group = u64::from(self.inode_table_blocks()) + 2;
        self.all_groups()
            .map(|group| per_group + u64::from(self.base_meta_blocks(group)))
            .fold(u64::from(self.first_data_block), u64::saturating_add)
    }
}
