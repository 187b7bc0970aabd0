// SPDX-License-Identifier: GPL-2.0

//! Extended attributes, in inodes and in blocks that they share.

use super::{get16, get32, Check};
use crate::model::Attributes;

/// What the attributes of an inode and of a block begin with.
const XATTR_MAGIC: u32 = 0xea02_0000;

/// Bytes before the first entry of a block.
const HEADER: usize = 32;

impl Check<'_> {
    /// The attributes of an inode, of which `bytes` are all, with block `nr` if that is not 0. The block belongs to as
    /// many inodes as it says.
    pub(super) fn check_attributes(&mut self, ino: u32, bytes: &[u8], nr: u64) -> Attributes {
        let mut all = Attributes::new();
        let extra = match bytes.len() > 128 {
            true => get16(bytes, 128) as usize,
            false => 0,
        };
        let area = bytes.get(128 + extra..).unwrap_or_default();
        if extra != 0 && area.len() >= 4 && get32(area, 0) == XATTR_MAGIC {
            self.entries(ino, &area[4..], 0, &mut all);
        }
        if nr == 0 {
            return all;
        }
        let users = self.attributes.entry(nr).or_default();
        *users += 1;
        if *users == 1 {
            self.claim(nr, || format!("attributes of inode {ino}"));
        }
        let block = self.device.read(nr);
        let before = all.len();
        self.entries(ino, &block, HEADER, &mut all);
        self.expect(all.len() > before, || {
            format!("inode {ino}: a block without attributes")
        });
        all
    }

    /// The entries from byte `at` of `area` on.
    fn entries(&mut self, ino: u32, area: &[u8], mut at: usize, all: &mut Attributes) {
        let in_block = at != 0;
        let mut last = None;
        let mut hash = 0u32;
        while area.len() >= at + 4 && get32(area, at) != 0 {
            let fits = area.len() >= at + 16 && area.len() >= at + 16 + usize::from(area[at]) + 4;
            if !fits {
                return self.flaw(format!("inode {ino}: attribute at byte {at}"));
            }
            let (len, prefix) = (usize::from(area[at]), area[at + 1]);
            let (offset, size) = (get16(area, at + 2) as usize, get32(area, at + 8) as usize);
            let name = area[at + 16..at + 16 + len].to_vec();
            let Some(value) = area.get(offset..offset + size) else {
                return self.flaw(format!("inode {ino}: value at byte {offset}"));
            };
            let order = Some((prefix, len, name.clone()));
            let sum = entry_hash(&name, value);
            let noted = get32(area, at + 12);
            self.expect(!in_block || last < order, || {
                format!("inode {ino}: attributes are not sorted")
            });
            self.expect(noted == if in_block { sum } else { 0 }, || {
                format!("inode {ino}: hash of an attribute")
            });
            last = order;
            hash = if sum == 0 {
                0
            } else {
                hash.rotate_left(16) ^ sum
            };
            let twice = all.insert((prefix, name), value.to_vec()).is_some();
            self.expect(!twice, || format!("inode {ino}: an attribute twice"));
            at += (16 + len).next_multiple_of(4);
        }
        // debugfs leaves the hash 0.
        let good = !in_block || [0, hash].contains(&get32(area, 12));
        self.expect(good, || {
            format!("inode {ino}: hash of its block of attributes")
        });
    }

    /// Blocks of extended attributes count their users.
    pub(super) fn check_attribute_blocks(&mut self) {
        for (nr, users) in std::mem::take(&mut self.attributes) {
            let block = self.device.read(nr);
            let head = get32(&block, 0) == XATTR_MAGIC && get32(&block, 8) == 1;
            self.expect(head, || format!("attributes in block {nr}: header"));
            let count = get32(&block, 4);
            self.expect(count == users, || {
                format!("attributes in block {nr}: {count} users are counted, there are {users}")
            });
            let sum = self.sum(&[&nr.to_le_bytes(), &block[..16], &[0; 4], &block[20..]]);
            let good = sum.is_none_or(|sum| sum == get32(&block, 16));
            self.expect(good, || format!("attributes in block {nr}: checksum"));
        }
    }
}

fn entry_hash(name: &[u8], value: &[u8]) -> u32 {
    let fold = |hash: u32, byte: &u8| hash.rotate_left(5) ^ u32::from(*byte);
    let hash = name.iter().fold(0, fold);
    value.chunks(4).fold(hash, |hash, part| {
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}
