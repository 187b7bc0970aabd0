// SPDX-License-Identifier: GPL-2.0

//! The geometry of a file system: what the super block says, checked once at mount.
//!
//! # Invariants
//!
//! The values of a [`Layout`] fit each other and the device: sizes are powers of two, the groups cover the
//! blocks, every bitmap fits a block, inode numbers fit the groups. They never change while mounted.
//!
//! [`check`] makes one of a super block, or refuses; [`place`] is where things are on the device, by these values.

pub mod check;
mod place;

pub use place::InodeSlot;

use super::features::{compat, incompat, ro_compat, Features};
use super::{BlockSize, CsumSeed, Group, Ino};
use core::num::NonZeroU32;

/// Size of an inode in the first revision, and the least that there is.
pub const GOOD_OLD_INODE_SIZE: u16 = 128;
/// Bytes of the inode body that are defined, after the first 128.
const EXTRA_ISIZE: u16 = 32;
/// Size of a group descriptor without the feature `64bit`.
pub const DESC_SIZE_32BIT: u16 = 32;
/// Least size of a group descriptor with the feature `64bit`.
pub const DESC_SIZE_64BIT: u16 = 64;

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

/// Who may use the reserved blocks, besides those with the capability for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveOwner {
    /// The user (`s_def_resuid`), as a rule 0.
    pub uid: u32,
    /// The group (`s_def_resgid`); 0 stands for none.
    pub gid: u32,
}

/// See the top of the file.
#[derive(Clone, Debug)]
pub struct Layout {
    features: Features,
    uuid: [u8; 16],
    csum_seed: Option<CsumSeed>,
    value_seed: Option<CsumSeed>,
    block_size: BlockSize,
    blocks_count: u64,
    first_data_block: u32,
    blocks_per_group: NonZeroU32,
    cluster_bits: u8,
    recorded_overhead: u32,
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
    reserve_owner: ReserveOwner,
    super_offset: u64,
    hash: HashParams,
    journal_ino: Option<Ino>,
    orphan_file_ino: Option<Ino>,
    quota_inodes: [u32; 3],
    creator_is_linux: bool,
}

impl Layout {
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

    /// The seed of the hashes of attributes' values that are in inodes of their own; `None` where there are none.
    pub fn value_seed(&self) -> Option<CsumSeed> {
        self.value_seed
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

    /// Whether directories may be larger than 4 GiB, with hash trees of three levels.
    pub fn has_large_dir(&self) -> bool {
        self.features.has_incompat(incompat::LARGE_DIR)
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

    /// Whether inodes count for projects.
    pub fn has_project(&self) -> bool {
        self.features.has_ro_compat(ro_compat::PROJECT)
    }

    /// Whether what users and groups have is counted.
    pub fn has_quota(&self) -> bool {
        self.features.has_ro_compat(ro_compat::QUOTA)
    }

    /// The inode with the quota file of users, of groups and of projects; 0 where there is none.
    pub fn quota_inodes(&self) -> [u32; 3] {
        self.quota_inodes
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

    /// Base-two logarithm of the blocks of a cluster, the unit of allocation; zero without the feature `bigalloc`.
    pub fn cluster_bits(&self) -> u32 {
        self.cluster_bits.into()
    }

    /// Bits of a group's block bitmap that count: clusters of a group; the last one may have less.
    pub fn clusters_per_group(&self) -> u32 {
        self.blocks_per_group
            .get()
            .wrapping_shr(self.cluster_bits.into())
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

    /// Blocks that only the users of [`Self::reserve_owner`] and the privileged may use, as of mount
    /// ([`Space::set_aside`](crate::space::Space::set_aside) follows what changes).
    pub fn reserved_blocks(&self) -> u64 {
        self.reserved_blocks
    }

    /// Who may use the reserved blocks, by the super block as of mount.
    pub fn reserve_owner(&self) -> ReserveOwner {
        self.reserve_owner
    }

    /// Blocks that are kept back from everybody for what must not fail for lack of space, and that `statfs` does not
    /// count as available: 2 % of all, at most 4096 clusters, as ext4 has it (`ext4_set_resv_clusters`).
    pub fn kept_blocks(&self) -> u64 {
        let clusters = self.blocks_count.wrapping_shr(self.cluster_bits.into()) / 50;
        clusters.min(4096).wrapping_shl(self.cluster_bits.into())
    }

    /// Free blocks that not everybody may take: the reserved ones and those that are kept back.
    pub fn set_aside_blocks(&self) -> u64 {
        self.reserved_blocks().saturating_add(self.kept_blocks())
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
}
