// SPDX-License-Identifier: GPL-2.0

//! From the super block to a [`Layout`]: what is checked at mount, and why a mount is refused.
//!
//! What is checked is what ext4 checks when it fills its super block, and what `mke2fs` guarantees where ext4
//! relies on it silently.

use super::{
    HashParams, Layout, DESC_SIZE_32BIT, DESC_SIZE_64BIT, EXTRA_ISIZE, GOOD_OLD_INODE_SIZE,
};
use crate::disk::features::{compat, incompat, ro_compat, FeatureSet};
use crate::disk::superblock::{
    RawSuper, FLAG_SIGNED_HASH, GOOD_OLD_REV, SUPER_MAGIC, SUPER_OFFSET,
};
use crate::disk::{BlockSize, Ino, PhysBlock};
use core::num::{NonZeroU32, NonZeroU64};
use kernel::error::{code::*, Error};
use kernel::fmt;

/// First inode that is not reserved, in the first revision.
const GOOD_OLD_FIRST_INO: u32 = 11;

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

        let cluster_bits = Self::check_cluster_size(raw)?;
        let per_group = raw.blocks_per_group.get();
        let clusters_per_group = per_group.wrapping_shr(cluster_bits.into());
        // Whole bytes of a bitmap with a bit for each cluster.
        let unit_bits = u32::from(cluster_bits).saturating_add(3);
        let blocks_per_group = NonZeroU32::new(per_group)
            .filter(|n| clusters_per_group <= bits_per_block && n.trailing_zeros() >= unit_bits)
            .ok_or(Refusal::Field(
                "s_blocks_per_group",
                per_group.into(),
                "not what a bitmap can hold",
            ))?;
        field(
            raw.clusters_per_group.get() == clusters_per_group,
            "s_clusters_per_group",
            raw.clusters_per_group.get(),
            "not the clusters of a group",
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
            u64::from(first_data_block) == SUPER_OFFSET.wrapping_shr(block_size.bits())
                // With clusters the groups begin with block 0, whatever the block size.
                || first_data_block == 0 && cluster_bits > 0,
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
            cluster_bits,
            recorded_overhead: raw.overhead_clusters.get(),
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
            reserve_owner: raw.reserve_owner(),
            hash: HashParams {
                seed: raw.hash_seed.map(|word| word.get()),
                version: raw.def_hash_version,
                unsigned: raw.flags.get() & FLAG_SIGNED_HASH == 0,
            },
            journal_ino,
            orphan_file_ino,
            creator_is_linux: creator == OS_LINUX,
        })
    }

    /// How many times larger than a block a cluster is, as a base-two logarithm: 0 without the feature `bigalloc`.
    fn check_cluster_size(raw: &RawSuper) -> Result<u8, Refusal> {
        /// The largest cluster has 1 GiB (`EXT4_MAX_CLUSTER_LOG_SIZE`).
        const LOG_MAX: u32 = 20;
        let log = raw.log_cluster_size.get();
        let bits = log.checked_sub(raw.log_block_size.get());
        let wanted = match raw.features().has_ro_compat(ro_compat::BIGALLOC) {
            true => log <= LOG_MAX,
            false => bits == Some(0),
        };
        match bits.and_then(|bits| u8::try_from(bits).ok()) {
            Some(bits) if wanted => Ok(bits),
            _ => Err(Refusal::Field(
                "s_log_cluster_size",
                log.into(),
                "not a cluster size",
            )),
        }
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
}
