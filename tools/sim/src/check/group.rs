// SPDX-License-Identifier: GPL-2.0

//! Groups: descriptors, and bitmaps of what is used.

use super::inode::is_value;
use super::{get16, get32, Check, Tree};
use crate::model::Kind;
use iomapfs_core::disk::{Group, Ino};

/// A group descriptor.
pub(super) struct Desc {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) dirs: u32,
    pub(super) flags: u32,
    pub(super) block_sum: u32,
    pub(super) inode_sum: u32,
    pub(super) unused: u32,
}

pub(super) const INODE_UNINIT: u32 = 1;
pub(super) const BLOCK_UNINIT: u32 = 2;

impl Check<'_> {
    pub(super) fn desc(&self, group: u32) -> Desc {
        let (nr, offset) = self.layout.desc_location(Group::new(group));
        let block = self.device.read(nr.get());
        let bytes = &block[offset..offset + usize::from(self.layout.desc_size())];
        let wide = bytes.len() >= 64;
        let high16 = |at: usize| if wide { get16(bytes, at) << 16 } else { 0 };
        let high = |at: usize| {
            if wide {
                u64::from(get32(bytes, at)) << 32
            } else {
                0
            }
        };
        Desc {
            block_bitmap: u64::from(get32(bytes, 0)) | high(32),
            inode_bitmap: u64::from(get32(bytes, 4)) | high(36),
            inode_table: u64::from(get32(bytes, 8)) | high(40),
            free_blocks: get16(bytes, 12) | high16(44),
            free_inodes: get16(bytes, 14) | high16(46),
            dirs: get16(bytes, 16) | high16(48),
            flags: get16(bytes, 18),
            block_sum: get16(bytes, 24) | high16(56),
            inode_sum: get16(bytes, 26) | high16(58),
            unused: get16(bytes, 28) | high16(50),
        }
    }

    fn desc_sum_ok(&self, group: u32) -> bool {
        let (nr, offset) = self.layout.desc_location(Group::new(group));
        let block = self.device.read(nr.get());
        let bytes = &block[offset..offset + usize::from(self.layout.desc_size())];
        let le = group.to_le_bytes();
        let is = get16(bytes, 30);
        if let Some(sum) = self.sum(&[&le, &bytes[..30], &[0; 2], &bytes[32..]]) {
            return sum & 0xffff == is;
        }
        if self.layout.has_gdt_csum() {
            let sum = crc16(!0, self.layout.uuid());
            let sum = crc16(crc16(sum, &le), &bytes[..30]);
            return u32::from(crc16(sum, &bytes[32..])) == is;
        }
        true
    }

    /// Bitmap and count of blocks of a group.
    pub(super) fn check_group(&mut self, group: u32) {
        let desc = self.desc(group);
        let blocks = self.layout.blocks_in_group(Group::new(group));
        let good = self.desc_sum_ok(group);
        self.expect(good, || {
            format!("group {group}: checksum of the descriptor")
        });
        let used: u32 = self.used[group as usize]
            .iter()
            .map(|byte| byte.count_ones())
            .sum();
        let free = blocks - used;
        self.expect(desc.free_blocks == free, || {
            format!(
                "group {group}: {free} blocks are free, {} in the descriptor",
                desc.free_blocks
            )
        });
        if self.is_uninit(&desc, BLOCK_UNINIT) {
            // A reader makes up a bitmap in which only that is used.
            let occupied = self.occupied.contains(&group);
            return self.expect(!occupied, || {
                format!("group {group}: its bitmap counts for nothing, and there are used blocks")
            });
        }
        let bitmap = self.device.read(desc.block_bitmap);
        let expected = &mut self.used[group as usize];
        for bit in blocks..(bitmap.len() * 8) as u32 {
            expected[bit as usize / 8] |= 1 << (bit % 8);
        }
        if bitmap[..] != expected[..] {
            let first = self.layout.group_first_block(Group::new(group)).get();
            let wrong = (0..bitmap.len() * 8)
                .find(|bit| (bitmap[bit / 8] ^ expected[bit / 8]) >> (bit % 8) & 1 != 0)
                .unwrap_or(0);
            let is = bitmap[wrong / 8] >> (wrong % 8) & 1 != 0;
            let nr = first + wrong as u64;
            self.flaw(format!(
                "group {group}: block {nr} is marked as {}, and is not",
                if is { "used" } else { "free" }
            ));
        }
        let bytes = (self.layout.blocks_per_group() / 8) as usize;
        let mask = if self.layout.desc_size() >= 64 {
            !0
        } else {
            0xffff
        };
        if let Some(sum) = self.sum(&[&bitmap[..bytes]]) {
            self.expect(sum & mask == desc.block_sum, || {
                format!("group {group}: checksum of the block bitmap")
            });
        }
    }

    /// The inodes of a group, its bitmap of them, and its counts.
    pub(super) fn check_inodes(&mut self, group: u32, tree: &mut Tree) {
        let desc = self.desc(group);
        let count = self.layout.inodes_per_group();
        let uninit = self.is_uninit(&desc, INODE_UNINIT);
        let in_use = if self.has_sums() {
            count.saturating_sub(desc.unused)
        } else {
            count
        };
        let bitmap = match uninit {
            true => vec![0; self.device.block_size()].into(),
            false => self.device.read(desc.inode_bitmap),
        };
        self.expect(!uninit || in_use == 0, || {
            format!("group {group}: has no inodes, but {in_use} were used")
        });
        let size = usize::from(self.layout.inode_size());
        let per_block = self.device.block_size() / size;
        let (mut free, mut dirs) = (0, 0);
        let mut block = None;
        for index in 0..count {
            let ino = group * count + index + 1;
            let marked = bitmap[index as usize / 8] >> (index % 8) & 1 != 0;
            if index >= in_use {
                free += u32::from(!marked);
                self.expect(!marked, || {
                    format!("inode {ino}: is marked as used, and never was")
                });
                continue;
            }
            let at = index as usize % per_block;
            if at == 0 || block.is_none() {
                let nr = desc.inode_table + u64::from(index) / per_block as u64;
                block = Some(self.device.read(nr));
            }
            let bytes = block
                .as_ref()
                .map(|block| &block[at * size..(at + 1) * size]);
            let bytes = bytes.unwrap_or_default();
            let system = ino < self.layout.first_ino() && ino != Ino::ROOT.get()
                || self
                    .layout
                    .orphan_file_ino()
                    .is_some_and(|file| file.get() == ino);
            let used = if system {
                true
            } else if let Some(found) = self.check_inode(ino, bytes) {
                dirs += u32::from(found.kind == Kind::Dir);
                match is_value(bytes) {
                    true => self.note_value(ino, bytes, found),
                    false => drop(tree.insert(ino, found)),
                }
                true
            } else {
                false
            };
            free += u32::from(!used);
            self.expect(marked == used, || {
                let is = if used { "in use" } else { "not in use" };
                format!("inode {ino}: is {is}, and not marked so")
            });
        }
        self.expect((free, dirs) == (desc.free_inodes, desc.dirs), || {
            format!(
                "group {group}: {free} free inodes and {dirs} directories, {} and {} in the descriptor",
                desc.free_inodes, desc.dirs
            )
        });
        if !uninit {
            let padded = bitmap[count as usize / 8..]
                .iter()
                .all(|byte| *byte == 0xff);
            self.expect(padded, || {
                format!("group {group}: padding of the inode bitmap")
            });
            let mask = if self.layout.desc_size() >= 64 {
                !0
            } else {
                0xffff
            };
            if let Some(sum) = self.sum(&[&bitmap[..count as usize / 8]]) {
                self.expect(sum & mask == desc.inode_sum, || {
                    format!("group {group}: checksum of the inode bitmap")
                });
            }
        }
    }
}

/// CRC-16 as group descriptors without metadata checksums have it.
fn crc16(sum: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| match sum & 1 {
            0 => sum >> 1,
            _ => sum >> 1 ^ 0xa001,
        })
    })
}
