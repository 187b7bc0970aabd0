// SPDX-License-Identifier: GPL-2.0

//! Inodes and their extent trees.

use super::{get16, get32, Check, Found};
use crate::model::Kind;
use iomapfs_core::crc32c;
use std::collections::BTreeMap;

const INDEX: u32 = 0x1000;
const EXTENTS: u32 = 0x8_0000;
const EA_INODE: u32 = 0x20_0000;
/// Blocks in an extent, above which it is unwritten.
const UNWRITTEN: u32 = 32768;
const MAGIC: u32 = 0xf30a;

/// What an extent tree holds.
#[derive(Default)]
pub(super) struct Mapped {
    /// File block, device block.
    pub(super) written: Vec<(u32, u64)>,
    /// The same for those that are allocated and not written.
    pub(super) unwritten: Vec<(u32, u64)>,
    /// Blocks, with those of the tree.
    count: u64,
    /// The file block behind the last extent of any kind.
    next: u64,
}

/// Where in a tree a node is.
#[derive(Clone, Copy)]
struct Spot {
    depth: u32,
    /// The key that leads here.
    from: Option<u32>,
    /// The key behind that.
    to: u64,
}

/// Whether an inode holds the value of an attribute.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    get32(bytes, 32) & EA_INODE != 0
}

impl Check<'_> {
    /// Checks an inode; `None` where it is free.
    pub(super) fn check_inode(&mut self, ino: u32, bytes: &[u8]) -> Option<Found> {
        let empty = bytes.iter().all(|byte| *byte == 0);
        let generation = &bytes[100..104];
        let seed = self.sum(&[&ino.to_le_bytes(), generation]);
        if let Some(seed) = seed.filter(|_| !empty) {
            let mut zeroed = bytes.to_vec();
            zeroed[124..126].fill(0);
            let mut is = get16(bytes, 124);
            let mut mask = 0xffff;
            if bytes.len() > 128 && get16(bytes, 128) >= 4 {
                zeroed[130..132].fill(0);
                is |= get16(bytes, 130) << 16;
                mask = !0;
            }
            let good = crc32c(seed, &zeroed) & mask == is;
            self.expect(good, || format!("inode {ino}: checksum"));
        }
        let (mode, links) = (get16(bytes, 0), get16(bytes, 26));
        let dtime = get32(bytes, 20);
        if links == 0 {
            self.expect(mode == 0 || dtime != 0, || {
                format!("inode {ino}: was deleted at no time")
            });
            return None;
        }
        self.expect(dtime == 0, || {
            format!("inode {ino}: is in use, and deleted at {dtime}")
        });
        let kind = match mode >> 12 {
            0o10 => Kind::File,
            0o04 => Kind::Dir,
            0o12 => Kind::Link,
            0o02 => Kind::Device,
            _ => {
                self.flaw(format!("inode {ino}: mode {mode:o}"));
                return None;
            }
        };
        let size = u64::from(get32(bytes, 4)) | u64::from(get32(bytes, 108)) << 32;
        let sectors = u64::from(get32(bytes, 28)) | u64::from(get16(bytes, 116)) << 32;
        let flags = get32(bytes, 32);
        let block_size = self.device.block_size() as u64;
        let mut mapped = Mapped::default();
        if flags & EXTENTS != 0 {
            let root = &bytes[40..100];
            let spot = Spot {
                depth: get16(root, 6),
                from: None,
                to: 1 << 32,
            };
            self.check_node(ino, seed, root, spot, &mut mapped);
        } else {
            let without = matches!(kind, Kind::Link | Kind::Device);
            self.expect(without, || format!("inode {ino}: has no extents"));
        }
        let block = u64::from(get32(bytes, 104)) | u64::from(get16(bytes, 118)) << 32;
        mapped.count += u64::from(block != 0);
        let (attributes, elsewhere) = self.check_attributes(ino, bytes, block);
        mapped.count += elsewhere;
        let expected = mapped.count * (block_size / 512);
        self.expect(sectors == expected, || {
            format!("inode {ino}: i_blocks is {sectors}, should be {expected}")
        });
        let blocks = size.div_ceil(block_size);
        let last = mapped
            .written
            .last()
            .map_or(0, |(at, _)| u64::from(*at) + 1);
        self.expect(last <= blocks, || {
            format!(
                "inode {ino}: i_size is {size}, but block {} is written",
                last - 1
            )
        });
        let version = u64::from(get32(bytes, 36));
        let version = match bytes.len() > 128 && get16(bytes, 128) >= 28 {
            true => version | u64::from(get32(bytes, 152)) << 32,
            false => version,
        };
        let mut found = Found {
            kind,
            generation: get32(bytes, 100),
            attributes,
            links,
            size,
            version,
            blocks: mapped.written,
            unwritten: mapped.unwritten.iter().map(|(at, _)| *at).collect(),
            names: BTreeMap::new(),
            types: Vec::new(),
            target: Vec::new(),
            parent: 0,
        };
        self.unwritten
            .extend(mapped.unwritten.iter().map(|(_, nr)| *nr));
        match kind {
            Kind::File => {}
            Kind::Device => {
                let good = size == 0 && flags & EXTENTS == 0;
                self.expect(good, || format!("inode {ino}: a device with data"));
            }
            Kind::Link if flags & EXTENTS == 0 => {
                let target = bytes.get(40..40 + size as usize).unwrap_or_default();
                let good = (1..60).contains(&size) && !target.contains(&0);
                self.expect(good, || format!("inode {ino}: target of a link"));
                found.target = target.to_vec();
            }
            Kind::Link => {
                let block = match found.blocks[..] {
                    [(0, nr)] if (1..block_size).contains(&size) => self.device.read(nr),
                    _ => {
                        self.flaw(format!("inode {ino}: a link without a target"));
                        return Some(found);
                    }
                };
                let (target, rest) = block.split_at(size as usize);
                let good = !target.contains(&0) && rest[0] == 0;
                self.expect(good, || format!("inode {ino}: target of a link"));
                found.target = target.to_vec();
            }
            Kind::Dir => {
                let whole = size == blocks * block_size
                    && found.blocks.len() as u64 == blocks
                    && last == blocks
                    && blocks > 0;
                self.expect(whole, || format!("directory {ino}: size {size}, or holes"));
                if whole {
                    let hashed = flags & INDEX != 0;
                    let blocks: Vec<u64> = found.blocks.iter().map(|(_, nr)| *nr).collect();
                    self.check_dir(ino, seed, hashed, &blocks, &mut found);
                }
            }
        }
        Some(found)
    }

    fn check_node(
        &mut self,
        ino: u32,
        seed: Option<u32>,
        bytes: &[u8],
        spot: Spot,
        mapped: &mut Mapped,
    ) {
        let (entries, max) = (get16(bytes, 2), get16(bytes, 4));
        let good = get16(bytes, 0) == MAGIC
            && max as usize == (bytes.len() - 12) / 12
            && entries <= max
            && get16(bytes, 6) == spot.depth
            && spot.depth <= 5
            && (entries > 0 || spot.from.is_none() && spot.depth == 0);
        if !good {
            return self.flaw(format!("inode {ino}: head of an extent node"));
        }
        let entry = |i: u32| &bytes[12 + 12 * i as usize..][..12];
        if spot.from.is_some() {
            let first = get32(entry(0), 0);
            self.expect(spot.from == Some(first), || {
                format!(
                    "inode {ino}: extent node begins at {first}, not {:?}",
                    spot.from
                )
            });
            let end = 12 + 12 * max as usize;
            if let Some(seed) = seed {
                let good = crc32c(seed, &bytes[..end]) == get32(bytes, end);
                self.expect(good, || format!("inode {ino}: checksum of an extent node"));
            }
        }
        for i in 0..entries {
            let here = entry(i);
            let key = get32(here, 0);
            let to = match i + 1 < entries {
                true => u64::from(get32(entry(i + 1), 0)),
                false => spot.to,
            };
            if u64::from(key) >= to || u64::from(key) < mapped.next {
                return self.flaw(format!("inode {ino}: extents are not in order at {key}"));
            }
            let who = || format!("inode {ino}, block {key}");
            if spot.depth > 0 {
                let nr = u64::from(get32(here, 4)) | u64::from(get16(here, 8)) << 32;
                if nr >= self.device.blocks() {
                    return self.flaw(format!("{}: no such block, {nr}", who()));
                }
                self.claim(nr, who);
                mapped.count += 1;
                let child = self.device.read(nr);
                let below = Spot {
                    depth: spot.depth - 1,
                    from: Some(key),
                    to,
                };
                self.check_node(ino, seed, &child, below, mapped);
                continue;
            }
            let len = get16(here, 4);
            let written = len <= UNWRITTEN;
            let len = if written { len } else { len - UNWRITTEN };
            let nr = u64::from(get32(here, 8)) | u64::from(get16(here, 6)) << 32;
            if len == 0 || u64::from(key) + u64::from(len) > to {
                return self.flaw(format!("inode {ino}: length of an extent at {key}"));
            }
            for n in 0..len {
                self.claim(nr + u64::from(n), who);
                let blocks = match written {
                    true => &mut mapped.written,
                    false => &mut mapped.unwritten,
                };
                blocks.push((key + n, nr + u64::from(n)));
            }
            mapped.count += u64::from(len);
            mapped.next = u64::from(key) + u64::from(len);
        }
    }
}
