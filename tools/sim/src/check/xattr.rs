// SPDX-License-Identifier: GPL-2.0

//! Extended attributes, in inodes and in blocks that they share, and inodes with values that they share.

use super::{get16, get32, Check, Found, Tree};
use crate::model::Attributes;
use std::collections::BTreeMap;

/// What the attributes of an inode and of a block begin with.
const XATTR_MAGIC: u32 = 0xea02_0000;

/// Bytes before the first entry of a block.
const HEADER: usize = 32;

/// The name of an attribute.
type Key = (u8, Vec<u8>);

/// An entry whose value is in an inode of its own.
pub(super) struct Elsewhere {
    /// Whose it is, and its name.
    owner: (u32, Key),
    /// The inode with the value.
    ino: u32,
    size: u64,
    hash: u32,
    /// Whether the inode counts it: not if another owner shares the block.
    counts: bool,
}

/// An inode with a value.
pub(super) struct ValueInode {
    found: Found,
    hash: u32,
    users: u64,
}

impl Check<'_> {
    /// An inode of this kind, which is nobody's but of entries that are found elsewhere.
    pub(super) fn note_value(&mut self, ino: u32, bytes: &[u8], found: Found) {
        let (hash, high, low) = (get32(bytes, 8), get32(bytes, 12), get32(bytes, 36));
        let users = u64::from(high) << 32 | u64::from(low);
        self.expect(found.links == 1 && found.attributes.is_empty(), || {
            format!("inode {ino}: holds a value, with {} links", found.links)
        });
        self.values.insert(ino, ValueInode { found, hash, users });
    }

    /// Puts the values that are in inodes of their own where they belong. Each inode counts what leads to it.
    pub(super) fn check_values(&mut self, tree: &mut Tree) {
        let values = std::mem::take(&mut self.values);
        let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in std::mem::take(&mut self.elsewhere) {
            let (owner, key) = entry.owner;
            let Some(inode) = values.get(&entry.ino) else {
                self.flaw(format!("inode {owner}: a value in inode {}", entry.ino));
                continue;
            };
            let mut value = Vec::new();
            for (n, (at, nr)) in inode.found.blocks.iter().enumerate() {
                self.expect(n as u32 == *at, || format!("inode {}: a hole", entry.ino));
                value.extend_from_slice(&self.device.read(*nr));
            }
            value.truncate(entry.size as usize);
            let seed = self.layout.value_seed();
            let hash = seed.map_or(0, |seed| seed.checksum(&value));
            let good = inode.found.size == entry.size
                && value.len() as u64 == entry.size
                && inode.hash == hash
                && entry.hash == entry_hash(&key.1, &hash.to_le_bytes());
            self.expect(good, || {
                format!("inode {owner}: size or hash of the value in {}", entry.ino)
            });
            *counted.entry(entry.ino).or_default() += u64::from(entry.counts);
            if let Some(found) = tree.get_mut(&owner) {
                found.attributes.insert(key, value);
            }
        }
        for (ino, inode) in values {
            let counted = counted.get(&ino).copied().unwrap_or(0);
            self.expect(inode.users == counted, || {
                format!(
                    "inode {ino}: counts {} entries that lead to its value, there are {counted}",
                    inode.users
                )
            });
        }
    }

    /// The attributes of an inode, of which `bytes` are all, with block `nr` if that is not 0. The block belongs to as
    /// many inodes as it says. And how many blocks the values have that are elsewhere.
    pub(super) fn check_attributes(
        &mut self,
        ino: u32,
        bytes: &[u8],
        nr: u64,
    ) -> (Attributes, u64) {
        let before = self.elsewhere.len();
        let all = self.all_attributes(ino, bytes, nr);
        let block = self.device.block_size() as u64;
        let values = self.elsewhere[before..].iter();
        (all, values.map(|value| value.size.div_ceil(block)).sum())
    }

    fn all_attributes(&mut self, ino: u32, bytes: &[u8], nr: u64) -> Attributes {
        let mut all = Attributes::new();
        let extra = match bytes.len() > 128 {
            true => get16(bytes, 128) as usize,
            false => 0,
        };
        let area = bytes.get(128 + extra..).unwrap_or_default();
        if extra != 0 && area.len() >= 4 && get32(area, 0) == XATTR_MAGIC {
            self.entries(ino, &area[4..], 0, true, &mut all);
        }
        if nr == 0 {
            return all;
        }
        let users = self.attributes.entry(nr).or_default();
        *users += 1;
        let first = *users == 1;
        if first {
            self.claim(nr, || format!("attributes of inode {ino}"));
        }
        let block = self.device.read(nr);
        let before = all.len();
        self.entries(ino, &block, HEADER, first, &mut all);
        self.expect(all.len() > before, || {
            format!("inode {ino}: a block without attributes")
        });
        all
    }

    /// The entries from byte `at` of `area` on. `counts`: inodes with their values count them.
    fn entries(
        &mut self,
        ino: u32,
        area: &[u8],
        mut at: usize,
        counts: bool,
        all: &mut Attributes,
    ) {
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
            let noted = get32(area, at + 12);
            let elsewhere = get32(area, at + 4);
            let range = match elsewhere {
                0 => offset..offset + size,
                _ => 0..0,
            };
            let Some(value) = area.get(range) else {
                return self.flaw(format!("inode {ino}: value at byte {offset}"));
            };
            let order = Some((prefix, len, name.clone()));
            let sum = match elsewhere {
                0 => entry_hash(&name, value),
                // It is looked at with the value.
                _ => noted,
            };
            if elsewhere != 0 {
                self.elsewhere.push(Elsewhere {
                    owner: (ino, (prefix, name.clone())),
                    ino: elsewhere,
                    size: size as u64,
                    hash: noted,
                    counts,
                });
            }
            self.expect(!in_block || last < order, || {
                format!("inode {ino}: attributes are not sorted")
            });
            let expected = if in_block || elsewhere != 0 { sum } else { 0 };
            self.expect(noted == expected, || {
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
