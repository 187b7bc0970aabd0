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
            Self::ChecksumType(nr) => write!(
                f,
                "super block: s_checksum_type is {nr}: not a known type of checksum"
            ),
            Self::Features(set) => {
                f.write_str("unsupported features: ")?;
                fmt::Display::fmt(set, f)
            }
            Self::MissingFeature(name) => write!(f, "the file system needs the feature {name}"),
            Self::FeaturesForWriting(set) => {
                f.write_str(
                    "the file system can only be mounted read-only because of the features: ",
                )?;
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

/// Refuses field `name`, which has this value, unless it is `ok`.
fn require(
    ok: bool,
    name: &'static str,
    value: impl Into<u64>,
    what: &'static str,
) -> Result<(), Refusal> {
    match ok {
        true => Ok(()),
        false => Err(Refusal::Field(name, value.into(), what)),
    }
}

/// What the super block says of inodes.
struct Inodes {
    size: u16,
    first: u32,
    want_extra_isize: u16,
    per_block: NonZeroU32,
    per_group: NonZeroU32,
}

/// What the super block says of groups.
struct Groups {
    desc_size: u16,
    cluster_bits: u8,
    blocks_per_group: NonZeroU32,
    blocks_count: u64,
    first_data_block: u32,
    count: u32,
    gdt_blocks: u32,
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
        Self::check_features(raw, read_only)?;
        let inodes = Self::check_inodes(raw, block_size)?;
        let groups = Self::check_groups(raw, block_size, device_blocks)?;
        let inodes_count = Self::check_inodes_count(raw, &inodes, &groups)?;
        let (journal_ino, orphan_file_ino) = Self::check_named_inodes(raw)?;

        Ok(Self {
            features: raw.features(),
            uuid: raw.uuid,
            csum_seed: raw.csum_seed(),
            value_seed: raw.value_seed(),
            block_size,
            blocks_count: groups.blocks_count,
            first_data_block: groups.first_data_block,
            blocks_per_group: groups.blocks_per_group,
            cluster_bits: groups.cluster_bits,
            recorded_overhead: raw.overhead_clusters.get(),
            groups: groups.count,
            inodes_per_group: inodes.per_group,
            inodes_per_block: inodes.per_block,
            inodes_count,
            first_ino: inodes.first,
            inode_size: inodes.size,
            want_extra_isize: inodes.want_extra_isize,
            desc_size: groups.desc_size,
            gdt_blocks: groups.gdt_blocks,
            reserved_gdt_blocks: raw.reserved_gdt_blocks.get(),
            flex_bits: Self::flex_bits_of(raw),
            backup_groups: raw.backup_bgs.map(|nr| nr.get()),
            reserved_blocks: raw.reserved_blocks_count().min(groups.blocks_count),
            reserve_owner: raw.reserve_owner(),
            super_offset: SUPER_OFFSET,
            hash: HashParams {
                seed: raw.hash_seed.map(|word| word.get()),
                version: raw.def_hash_version,
                unsigned: raw.flags.get() & FLAG_SIGNED_HASH == 0,
            },
            journal_ino,
            orphan_file_ino,
            quota_inodes: match raw.features().has_ro_compat(ro_compat::QUOTA) {
                true => [
                    raw.usr_quota_inum.get(),
                    raw.grp_quota_inum.get(),
                    raw.prj_quota_inum.get(),
                ],
                false => [0; 3],
            },
            creator_is_linux: raw.creator_os.get() == OS_LINUX,
        })
    }

    /// Features, and what of the super block can be trusted: its maker and its checksum.
    fn check_features(raw: &RawSuper, read_only: bool) -> Result<(), Refusal> {
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
        require(
            creator != OS_HURD,
            "s_creator_os",
            creator,
            "inodes of the Hurd are not supported",
        )?;
        if raw.csum_seed().is_some() && raw.checksum_type != 1 {
            return Err(Refusal::ChecksumType(raw.checksum_type));
        }
        match raw.checksum_ok() {
            true => Ok(()),
            false => Err(Refusal::Checksum),
        }
    }

    /// Sizes and numbers of inodes.
    fn check_inodes(raw: &RawSuper, block_size: BlockSize) -> Result<Inodes, Refusal> {
        let (size, first) = match raw.rev_level.get() == GOOD_OLD_REV {
            true => (GOOD_OLD_INODE_SIZE, GOOD_OLD_FIRST_INO),
            false => (raw.inode_size.get(), raw.first_ino.get()),
        };
        let per_block = NonZeroU32::new(block_size.bytes() / u32::from(size).max(1))
            .filter(|_| size >= GOOD_OLD_INODE_SIZE && size.is_power_of_two())
            .ok_or(Refusal::Field(
                "s_inode_size",
                size.into(),
                "not an inode size",
            ))?;
        require(
            first >= GOOD_OLD_FIRST_INO,
            "s_first_ino",
            first,
            "an inode that is reserved",
        )?;
        let want_extra_isize = Self::check_extra_isize(raw, size)?;
        let per_group = raw.inodes_per_group.get();
        let per_group = NonZeroU32::new(per_group)
            .filter(|n| {
                n.get() >= per_block.get()
                    && n.get() <= block_size.bytes().saturating_mul(8)
                    && n.get() % 8 == 0
                    && n.get() % per_block == 0
            })
            .ok_or(Refusal::Field(
                "s_inodes_per_group",
                per_group.into(),
                "more than a bitmap can hold, or not whole blocks of inodes",
            ))?;
        Ok(Inodes {
            size,
            first,
            want_extra_isize,
            per_block,
            per_group,
        })
    }

    /// Blocks, the groups that they make, and the descriptors of these.
    fn check_groups(
        raw: &RawSuper,
        block_size: BlockSize,
        device_blocks: u64,
    ) -> Result<Groups, Refusal> {
        let desc_size = Self::check_desc_size(raw, block_size)?;
        let cluster_bits = Self::check_cluster_size(raw)?;
        let blocks_per_group = Self::check_group_size(raw, block_size, cluster_bits)?;
        let blocks_count = raw.blocks_count();
        let first_data_block = raw.first_data_block.get();
        let of_blocks = |ok, what| require(ok, "s_blocks_count", blocks_count, what);
        of_blocks(
            blocks_count <= PhysBlock::MAX,
            "more than extents can reach",
        )?;
        of_blocks(blocks_count <= device_blocks, "more than the device has")?;
        require(
            u64::from(first_data_block) == SUPER_OFFSET.wrapping_shr(block_size.bits())
                // With clusters the groups begin with block 0, whatever the block size.
                || first_data_block == 0 && cluster_bits > 0,
            "s_first_data_block",
            first_data_block,
            "not the block with the super block",
        )?;
        of_blocks(
            u64::from(first_data_block) < blocks_count,
            "the file system ends before its first group",
        )?;
        let in_groups = blocks_count.saturating_sub(first_data_block.into());
        let descs_per_block = block_size.bytes() / u32::from(desc_size).max(1);
        let count = u32::try_from(div_ceil(in_groups, blocks_per_group.into()))
            .ok()
            .filter(|n| n.checked_add(descs_per_block).is_some())
            .ok_or(Refusal::Field(
                "s_blocks_count",
                blocks_count,
                "too many groups",
            ))?;

        let reserved = raw.reserved_gdt_blocks.get();
        let of_reserved = |ok, what| require(ok, "s_reserved_gdt_blocks", reserved, what);
        of_reserved(
            u32::from(reserved) <= block_size.bytes() / 4,
            "more than the resize inode can map",
        )?;
        let per_block = NonZeroU64::new(descs_per_block.into()).unwrap_or(NonZeroU64::MIN);
        let gdt_blocks = div_ceil(count.into(), per_block) as u32;
        let base_meta = u64::from(gdt_blocks) + u64::from(reserved) + 1;
        of_reserved(
            base_meta < u64::from(blocks_per_group.get()) && base_meta < in_groups,
            "the group descriptors do not fit into a group",
        )?;
        Ok(Groups {
            desc_size,
            cluster_bits,
            blocks_per_group,
            blocks_count,
            first_data_block,
            count,
            gdt_blocks,
        })
    }

    /// Bytes of a group descriptor.
    fn check_desc_size(raw: &RawSuper, block_size: BlockSize) -> Result<u16, Refusal> {
        if !raw.features().has_incompat(incompat::SIXTY_FOUR_BIT) {
            return Ok(DESC_SIZE_32BIT);
        }
        let size = raw.desc_size.get();
        require(
            (DESC_SIZE_64BIT..=1024).contains(&size)
                && size.is_power_of_two()
                && u32::from(size) <= block_size.bytes(),
            "s_desc_size",
            size,
            "not the size of a group descriptor",
        )?;
        Ok(size)
    }

    /// Blocks of a group: whole bytes of a bitmap with a bit for each cluster.
    fn check_group_size(
        raw: &RawSuper,
        block_size: BlockSize,
        cluster_bits: u8,
    ) -> Result<NonZeroU32, Refusal> {
        let blocks = raw.blocks_per_group.get();
        let clusters = blocks.wrapping_shr(cluster_bits.into());
        let unit_bits = u32::from(cluster_bits).saturating_add(3);
        let size = NonZeroU32::new(blocks)
            .filter(|n| {
                clusters <= block_size.bytes().saturating_mul(8) && n.trailing_zeros() >= unit_bits
            })
            .ok_or(Refusal::Field(
                "s_blocks_per_group",
                blocks.into(),
                "not whole bytes of a bitmap that fits into a block",
            ))?;
        require(
            raw.clusters_per_group.get() == clusters,
            "s_clusters_per_group",
            raw.clusters_per_group.get(),
            "not s_blocks_per_group in clusters",
        )?;
        Ok(size)
    }

    /// The inodes of all groups.
    fn check_inodes_count(
        raw: &RawSuper,
        inodes: &Inodes,
        groups: &Groups,
    ) -> Result<u32, Refusal> {
        let count = raw.inodes_count.get();
        let expected = u64::from(groups.count).checked_mul(inodes.per_group.get().into());
        require(
            expected == Some(count.into()),
            "s_inodes_count",
            count,
            "not s_inodes_per_group for each group",
        )?;
        require(
            inodes.first <= count,
            "s_first_ino",
            inodes.first,
            "past the last inode",
        )?;
        Ok(count)
    }

    /// How many groups a flex group has, as a base-two logarithm. As ext4 has it, a size that makes no sense is none.
    fn flex_bits_of(raw: &RawSuper) -> u8 {
        match raw.log_groups_per_flex {
            bits @ 1..=31 if raw.features().has_incompat(incompat::FLEX_BG) => bits,
            _ => 0,
        }
    }

    /// The inodes of the journal and of the orphan file. A journal without an inode is on another device.
    fn check_named_inodes(raw: &RawSuper) -> Result<(Option<Ino>, Option<Ino>), Refusal> {
        let named = |feature, name, nr: u32| {
            if !raw.features().has_compat(feature) {
                return Ok(None);
            }
            require(nr <= raw.inodes_count.get(), name, nr, "no such inode")?;
            Ok(Ino::new(nr))
        };
        let journal = named(
            compat::HAS_JOURNAL,
            "s_journal_inum",
            raw.journal_inum.get(),
        )?;
        let nr = raw.orphan_file_inum.get();
        let orphan_file = named(compat::ORPHAN_FILE, "s_orphan_file_inum", nr)?;
        require(
            orphan_file.is_some() || !raw.features().has_compat(compat::ORPHAN_FILE),
            "s_orphan_file_inum",
            nr,
            "no such inode",
        )?;
        Ok((journal, orphan_file))
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
                let ok = size <= room && size % 4 == 0;
                require(ok, name, size, "does not fit s_inode_size")?;
                want = want.max(size);
            }
        }
        Ok(want)
    }
}
