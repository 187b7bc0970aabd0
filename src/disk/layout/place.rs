// SPDX-License-Identifier: GPL-2.0

//! Where things are: blocks and inodes in their groups, group descriptors, copies of the super block.
//!
//! All of it follows from the values of a [`Layout`] alone, without I/O.

use super::Layout;
use crate::disk::features::{compat, ro_compat};
use crate::disk::superblock::SUPER_OFFSET;
use crate::disk::{BlockSize, Group, Ino, PhysBlock};

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

impl BlockSize {
    /// The block with the super block, and where in it that begins.
    pub fn super_location(self) -> (PhysBlock, usize) {
        self.location(SUPER_OFFSET)
    }

    /// The block of a byte, and where in it that is.
    fn location(self, byte: u64) -> (PhysBlock, usize) {
        let block = byte.wrapping_shr(self.bits());
        let offset = byte & u64::from(self.bytes()).wrapping_sub(1);
        (PhysBlock::new(block), offset as usize)
    }
}

impl Layout {
    /// The block with the super block that is used, and where in it that begins.
    pub fn super_location(&self) -> (PhysBlock, usize) {
        self.block_size.location(self.super_offset)
    }

    /// The same with a copy of the super block, which begins so many bytes from the device's begin, and with the group
    /// descriptors behind it.
    pub fn with_copy_at(mut self, byte: u64) -> Self {
        self.super_offset = byte;
        self
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
        // Blocks of 1 KiB in clusters: the groups begin with block 0 and the super block is the next one.
        let before = match group.get() {
            0 => {
                let (block, _) = self.block_size.super_location();
                (block.get() as u32).saturating_sub(self.first_data_block)
            }
            _ => 0,
        };
        self.gdt_blocks
            .saturating_add(self.reserved_gdt_blocks.into())
            .saturating_add(1)
            .saturating_add(before)
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

    /// Whether an inode is one that users can reach: the root, or past the reserved ones and neither the orphan file
    /// nor a quota file.
    pub fn is_user_ino(&self, ino: Ino) -> bool {
        let reachable = self.first_ino..=self.inodes_count;
        let own = Some(ino) == self.orphan_file_ino || self.quota_inodes.contains(&ino.get());
        ino == Ino::ROOT || (reachable.contains(&ino.get()) && !own)
    }

    /// Blocks of the file system's own that are there from the beginning, which `statfs` does not count
    /// (`ext4_calculate_overhead`): what comes before the first group, the super blocks, descriptors, bitmaps and inode
    /// tables of all groups, and `journal` blocks of a journal. With clusters, the super block has it.
    ///
    /// No more than the `used` blocks of the file system are taken for the journal's, whatever its inode says, and none
    /// of them that are there for something else: what is left is never less than what is free.
    pub fn overhead(&self, journal: u64, used: u64) -> u64 {
        let recorded = u64::from(self.recorded_overhead).wrapping_shl(self.cluster_bits.into());
        if self.cluster_bits > 0 && (1..=used).contains(&recorded) {
            return recorded;
        }
        let per_group = u64::from(self.inode_table_blocks()) + 2;
        let own = self
            .all_groups()
            .map(|group| per_group + u64::from(self.base_meta_blocks(group)))
            .fold(u64::from(self.first_data_block), u64::saturating_add);
        own.saturating_add(journal.min(used.saturating_sub(own)))
    }
}
