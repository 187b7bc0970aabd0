// SPDX-License-Identifier: GPL-2.0

//! The blocks of a journal (Documentation/filesystems/ext4/journal.rst), made and taken apart. Numbers are
//! big-endian.

use iomapfs_core::crc32c;
use std::collections::BTreeSet;

/// `h_magic` of every block but those of data.
const MAGIC: u32 = 0xc03b_3998;
/// Bytes of the header.
const HEADER: usize = 12;
/// Bytes of the journal's super block.
pub const SUPER: usize = 1024;

/// `h_blocktype`
pub const DESCRIPTOR: u32 = 1;
/// `h_blocktype`
pub const COMMIT: u32 = 2;
/// `h_blocktype`
pub const REVOKE: u32 = 5;

const INCOMPAT_REVOKE: u32 = 1;
const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_CSUM_V3: u32 = 0x10;

const FLAG_ESCAPED: u32 = 1;
const FLAG_SAME_UUID: u32 = 2;
const FLAG_LAST: u32 = 8;

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// The form of one journal.
#[derive(Clone, Debug)]
pub struct Form {
    /// Size of a block.
    pub block_size: usize,
    /// Feature `64bit`.
    pub wide: bool,
    /// Feature `csum_v3`: what checksums begin with.
    pub seed: Option<u32>,
    /// Identifies the file system.
    pub uuid: [u8; 16],
}

/// A block that a descriptor announces.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Where it belongs.
    pub nr: u64,
    /// It begins with the magic number, which was replaced with zeros.
    pub escaped: bool,
    /// Its checksum, as much as the form has of it.
    pub sum: u32,
}

/// The type and sequence number of a block of the journal's own; `None` for anything else.
pub fn header(bytes: &[u8]) -> Option<(u32, u32)> {
    (get32(bytes, 0) == MAGIC).then(|| (get32(bytes, 4), get32(bytes, 8)))
}

/// The journal's super block.
#[derive(Clone, Debug)]
pub struct Super {
    bytes: Vec<u8>,
}

impl Super {
    /// Takes over the block.
    pub fn new(block: &[u8]) -> Result<Self, String> {
        match header(block) {
            Some((4, _)) => Ok(Self {
                bytes: block.to_vec(),
            }),
            _ => Err("the journal has no super block".to_string()),
        }
    }

    /// Whether the checksum is right, where there is one.
    pub fn is_intact(&self) -> bool {
        get32(&self.bytes, 40) & INCOMPAT_CSUM_V3 == 0 || get32(&self.bytes, 252) == self.checksum()
    }

    fn checksum(&self) -> u32 {
        let mut bytes = self.bytes[..SUPER].to_vec();
        put32(&mut bytes, 252, 0);
        crc32c(!0, &bytes)
    }

    /// How many blocks the journal has.
    pub fn blocks(&self) -> u32 {
        get32(&self.bytes, 16)
    }

    /// Its first block behind the super block.
    pub fn first(&self) -> u32 {
        get32(&self.bytes, 20)
    }

    /// The number of the first transaction in the log, or the next one to be used.
    pub fn sequence(&self) -> u32 {
        get32(&self.bytes, 24)
    }

    /// Where the log begins; zero where it is empty.
    pub fn start(&self) -> u32 {
        get32(&self.bytes, 28)
    }

    /// How its blocks are written.
    pub fn form(&self) -> Form {
        let features = get32(&self.bytes, 40);
        let uuid: [u8; 16] = self.bytes[48..64].try_into().expect("16 bytes");
        Form {
            block_size: self.bytes.len(),
            wide: features & INCOMPAT_64BIT != 0,
            seed: (features & INCOMPAT_CSUM_V3 != 0).then(|| crc32c(!0, &uuid)),
            uuid,
        }
    }

    /// The block, with features and the place of the log.
    pub fn with(&self, wide: bool, sums: bool, sequence: u32, start: u32) -> Self {
        let mut new = self.clone();
        let mut features = INCOMPAT_REVOKE;
        if wide {
            features |= INCOMPAT_64BIT;
        }
        if sums {
            features |= INCOMPAT_CSUM_V3;
        }
        put32(&mut new.bytes, 40, features);
        new.bytes[80] = if sums { 4 } else { 0 };
        put32(&mut new.bytes, 24, sequence);
        put32(&mut new.bytes, 28, start);
        let sum = if sums { new.checksum() } else { 0 };
        put32(&mut new.bytes, 252, sum);
        new
    }

    /// The block.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Form {
    fn tag_len(&self) -> usize {
        match (self.seed, self.wide) {
            (Some(_), _) => 16,
            (None, true) => 12,
            (None, false) => 8,
        }
    }

    fn tail_len(&self) -> usize {
        if self.seed.is_some() {
            4
        } else {
            0
        }
    }

    /// How many blocks one descriptor announces.
    pub fn tags_per_block(&self) -> usize {
        (self.block_size - HEADER - 16 - self.tail_len()) / self.tag_len()
    }

    /// How many blocks one revoke block has room for.
    pub fn revokes_per_block(&self) -> usize {
        (self.block_size - HEADER - 4 - self.tail_len()) / self.revoke_len()
    }

    fn revoke_len(&self) -> usize {
        if self.wide {
            8
        } else {
            4
        }
    }

    fn block(&self, kind: u32, sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.block_size];
        put32(&mut bytes, 0, MAGIC);
        put32(&mut bytes, 4, kind);
        put32(&mut bytes, 8, sequence);
        bytes
    }

    /// Sets or makes the checksum in the last four bytes.
    fn tail_sum(&self, bytes: &[u8]) -> Option<u32> {
        let seed = self.seed?;
        let sum = crc32c(seed, &bytes[..self.block_size - 4]);
        Some(crc32c(sum, &[0; 4]))
    }

    fn seal(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(sum) = self.tail_sum(&bytes) {
            put32(&mut bytes, self.block_size - 4, sum);
        }
        bytes
    }

    /// Whether the checksum of a descriptor or revoke block is right.
    pub fn is_intact(&self, bytes: &[u8]) -> bool {
        self.tail_sum(bytes)
            .is_none_or(|sum| sum == get32(bytes, self.block_size - 4))
    }

    /// The checksum of a block of data in transaction `sequence`, as much as a tag has of it.
    pub fn data_sum(&self, sequence: u32, bytes: &[u8]) -> u32 {
        self.seed.map_or(0, |seed| {
            crc32c(crc32c(seed, &sequence.to_be_bytes()), bytes)
        })
    }

    /// A block as it is written to the journal: whether it is escaped, and its bytes then.
    pub fn escape(bytes: &[u8]) -> (bool, Vec<u8>) {
        let mut new = bytes.to_vec();
        let escaped = get32(bytes, 0) == MAGIC;
        if escaped {
            put32(&mut new, 0, 0);
        }
        (escaped, new)
    }

    /// Undoes [`Self::escape`].
    pub fn unescape(bytes: &mut [u8]) {
        put32(bytes, 0, MAGIC);
    }

    /// A descriptor block.
    pub fn descriptor(&self, sequence: u32, tags: &[Tag]) -> Vec<u8> {
        let mut bytes = self.block(DESCRIPTOR, sequence);
        let mut at = HEADER;
        for (i, tag) in tags.iter().enumerate() {
            let mut flags = 0;
            if tag.escaped {
                flags |= FLAG_ESCAPED;
            }
            if i > 0 {
                flags |= FLAG_SAME_UUID;
            }
            if i + 1 == tags.len() {
                flags |= FLAG_LAST;
            }
            put32(&mut bytes, at, tag.nr as u32);
            // Without checksums the flags are the lower half of what is the whole with them.
            put32(&mut bytes, at + 4, flags);
            if self.wide {
                put32(&mut bytes, at + 8, (tag.nr >> 32) as u32);
            }
            if self.seed.is_some() {
                put32(&mut bytes, at + 12, tag.sum);
            }
            at += self.tag_len();
            if i == 0 {
                bytes[at..at + 16].copy_from_slice(&self.uuid);
                at += 16;
            }
        }
        self.seal(bytes)
    }

    /// What a descriptor block announces.
    pub fn tags(&self, bytes: &[u8]) -> Vec<Tag> {
        let mut tags = Vec::new();
        let mut at = HEADER;
        while at + self.tag_len() <= self.block_size - self.tail_len() {
            let flags = get32(bytes, at + 4);
            let high = match self.wide {
                true => u64::from(get32(bytes, at + 8)) << 32,
                false => 0,
            };
            tags.push(Tag {
                nr: u64::from(get32(bytes, at)) | high,
                escaped: flags & FLAG_ESCAPED != 0,
                sum: match self.seed {
                    Some(_) => get32(bytes, at + 12),
                    None => 0,
                },
            });
            at += self.tag_len();
            if flags & FLAG_SAME_UUID == 0 {
                at += 16;
            }
            if flags & FLAG_LAST != 0 {
                break;
            }
        }
        tags
    }

    /// A block of revoked blocks.
    pub fn revoke(&self, sequence: u32, blocks: &[u64]) -> Vec<u8> {
        let mut bytes = self.block(REVOKE, sequence);
        let mut at = HEADER + 4;
        for nr in blocks {
            match self.wide {
                true => bytes[at..at + 8].copy_from_slice(&nr.to_be_bytes()),
                false => put32(&mut bytes, at, *nr as u32),
            }
            at += self.revoke_len();
        }
        put32(&mut bytes, HEADER, at as u32);
        self.seal(bytes)
    }

    /// What a revoke block revokes.
    pub fn revoked(&self, bytes: &[u8]) -> BTreeSet<u64> {
        let end = (get32(bytes, HEADER) as usize).min(self.block_size);
        bytes[HEADER + 4..end.max(HEADER + 4)]
            .chunks_exact(self.revoke_len())
            .map(|nr| nr.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
            .collect()
    }

    /// A commit block.
    pub fn commit(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.block(COMMIT, sequence);
        if let Some(seed) = self.seed {
            let sum = crc32c(seed, &bytes);
            put32(&mut bytes, 16, sum);
        }
        bytes
    }

    /// Whether the checksum of a commit block is right.
    pub fn is_commit_intact(&self, bytes: &[u8]) -> bool {
        let Some(seed) = self.seed else {
            return true;
        };
        let mut zeroed = bytes.to_vec();
        put32(&mut zeroed, 16, 0);
        get32(bytes, 16) == crc32c(seed, &zeroed)
    }
}
