// SPDX-License-Identifier: GPL-2.0

//! A check of a whole file system by the rules of e2fsck, in memory and in a fraction of a millisecond. It takes
//! nothing from the core but the geometry and the hash of names: the bytes are looked at here once more.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | what is used and by whom, the super block |
//! | `group.rs` | groups: descriptors, bitmaps |
//! | `inode.rs` | inodes and extent trees |
//! | `links.rs` | names and links |
//! | `xattr.rs` | extended attributes |
//! | `dir.rs` | directories, linear and hashed |

mod dir;
mod group;
mod inode;
mod links;
mod xattr;

use crate::model::{Attributes, Kind};
use group::{Desc, BLOCK_UNINIT, INODE_UNINIT};
use iomapfs_core::crc32c;
use iomapfs_core::disk::{Group, Layout, PhysBlock};
use iomapfs_core::host::Device;
use std::collections::{BTreeMap, BTreeSet};

/// What does not change for all the life of a file system, and what no inode of a user has: learnt from a new one.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The geometry.
    pub layout: Layout,
    /// Blocks of the file system's own files.
    pub blocks: BTreeSet<u64>,
    /// Blocks of the orphan file.
    pub orphan_file: Vec<u64>,
}

/// An inode that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its type.
    pub kind: Kind,
    /// Its generation.
    pub generation: u32,
    /// Its extended attributes.
    pub attributes: Attributes,
    /// Its links.
    pub links: u32,
    /// Its size.
    pub size: u64,
    /// Its change counter.
    pub version: u64,
    /// Its blocks that are written: file block, device block.
    pub blocks: Vec<(u32, u64)>,
    /// Its file blocks that are allocated and not written.
    pub unwritten: Vec<u32>,
    /// The names in it.
    pub names: BTreeMap<Vec<u8>, u32>,
    /// What the names say of what they lead to.
    pub(crate) types: Vec<(u32, u8)>,
    /// Where a link leads.
    pub target: Vec<u8>,
    /// Number of its parent, of a directory.
    pub parent: u32,
}

/// All inodes of users.
pub type Tree = BTreeMap<u32, Found>;

fn get16(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What the tail of each block of an orphan file begins with.
const ORPHAN_MAGIC: u32 = 0x0b10_ca04;

/// One check.
struct Check<'a> {
    device: &'a Device,
    fixed: &'a Fixed,
    layout: &'a Layout,
    /// Expected bitmaps of blocks.
    used: Vec<Vec<u8>>,
    /// Groups in which there is more than their own metadata.
    occupied: BTreeSet<u32>,
    /// Blocks that are allocated and not written.
    unwritten: Vec<u64>,
    /// Blocks of extended attributes, with how many inodes use each.
    attributes: BTreeMap<u64, u32>,
    /// Inodes with values of attributes.
    values: BTreeMap<u32, xattr::ValueInode>,
    /// What leads to them.
    elsewhere: Vec<xattr::Elsewhere>,
    flaws: Vec<String>,
}

/// Checks what is on `device`. Gives what is there.
///
/// # Errors
///
/// All that e2fsck would not like.
pub fn check(device: &Device, fixed: &Fixed) -> Result<Tree, Vec<String>> {
    let mut check = Check::new(device, fixed);
    let tree = check.run();
    match check.flaws.is_empty() {
        true => Ok(tree),
        false => Err(check.flaws),
    }
}

impl Fixed {
    /// Learns from a file system that was just made.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn learn(device: &Device, layout: Layout, orphan_file: Vec<u64>) -> Result<Self, String> {
        let mut fixed = Self {
            layout,
            blocks: BTreeSet::new(),
            orphan_file,
        };
        let copy = fixed.clone();
        let mut check = Check::new(device, &copy);
        check.run();
        for group in 0..copy.layout.groups() {
            let desc = check.desc(group);
            if check.is_uninit(&desc, BLOCK_UNINIT) {
                continue;
            }
            let bitmap = device.read(desc.block_bitmap);
            let first = copy.layout.group_first_block(Group::new(group)).get();
            for bit in 0..copy.layout.blocks_in_group(Group::new(group)) {
                let (byte, mask) = (bit as usize / 8, 1 << (bit % 8));
                if bitmap[byte] & mask != 0 && check.used[group as usize][byte] & mask == 0 {
                    fixed.blocks.insert(first + u64::from(bit));
                }
            }
        }
        match self::check(device, &fixed) {
            Ok(_) => Ok(fixed),
            Err(flaws) => Err(flaws.join("; ")),
        }
    }
}

/// Blocks whose contents mean nothing: free and unwritten ones, and metadata that was never used. Of an intact file
/// system.
pub fn meaningless(device: &Device, fixed: &Fixed) -> Vec<u64> {
    let mut check = Check::new(device, fixed);
    check.run();
    let layout = &fixed.layout;
    let mut found = std::mem::take(&mut check.unwritten);
    for group in 0..layout.groups() {
        let (desc, nr) = (check.desc(group), Group::new(group));
        let first = layout.group_first_block(nr).get();
        let free = |bit: &u32| check.used[group as usize][*bit as usize / 8] >> (bit % 8) & 1 == 0;
        let free = (0..layout.blocks_in_group(nr)).filter(free);
        found.extend(free.map(|bit| first + u64::from(bit)));
        if check.is_uninit(&desc, BLOCK_UNINIT) {
            found.push(desc.block_bitmap);
        }
        if check.is_uninit(&desc, INODE_UNINIT) {
            found.push(desc.inode_bitmap);
        }
        if check.has_sums() {
            let used = layout.inodes_per_group() - desc.unused;
            let used = u64::from(used.div_ceil(layout.inodes_per_block()));
            let table = desc.inode_table..desc.inode_table + u64::from(layout.inode_table_blocks());
            found.extend(table.skip(used as usize));
        }
    }
    found
}

impl<'a> Check<'a> {
    fn new(device: &'a Device, fixed: &'a Fixed) -> Self {
        let layout = &fixed.layout;
        let size = layout.block_size().bytes() as usize;
        Self {
            device,
            fixed,
            layout,
            used: vec![vec![0; size]; layout.groups() as usize],
            occupied: BTreeSet::new(),
            unwritten: Vec::new(),
            attributes: BTreeMap::new(),
            values: BTreeMap::new(),
            elsewhere: Vec::new(),
            flaws: Vec::new(),
        }
    }

    fn flaw(&mut self, what: String) {
        // One is enough; more than some help nobody.
        if self.flaws.len() < 20 {
            self.flaws.push(what);
        }
    }

    fn expect(&mut self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            self.flaw(what());
        }
    }

    fn sum(&self, parts: &[&[u8]]) -> Option<u32> {
        let seed = self.layout.csum_seed()?;
        let all = parts.iter().fold(seed.start(), |sum, part| sum.with(part));
        Some(all.finish())
    }

    /// Whether group descriptors have checksums, and so say what was never used.
    fn has_sums(&self) -> bool {
        self.layout.csum_seed().is_some() || self.layout.has_gdt_csum()
    }

    fn is_uninit(&self, desc: &Desc, flag: u32) -> bool {
        self.has_sums() && desc.flags & flag != 0
    }

    /// The block belongs to something that has no fixed place, and to nothing else.
    fn claim(&mut self, nr: u64, who: impl Fn() -> String) {
        if let Some((group, _)) = self.layout.group_of(PhysBlock::new(nr)) {
            self.occupied.insert(group.get());
        }
        self.claim_own(nr, who);
    }

    /// The block belongs to something that is where the descriptor of its group says, and to nothing else.
    fn claim_own(&mut self, nr: u64, who: impl Fn() -> String) {
        let Some((group, bit)) = self.layout.group_of(PhysBlock::new(nr)) else {
            return self.flaw(format!("{}: no such block, {nr}", who()));
        };
        let byte = &mut self.used[group.get() as usize][bit as usize / 8];
        let mask = 1 << (bit % 8);
        if *byte & mask != 0 {
            self.flaw(format!(
                "{}: block {nr} belongs to something else too",
                who()
            ));
        } else {
            *byte |= mask;
        }
    }

    fn run(&mut self) -> Tree {
        self.check_super();
        self.check_orphan_file();
        let mut tree = Tree::new();
        let layout = self.layout;
        for group in 0..layout.groups() {
            let desc = self.desc(group);
            let base = layout.base_meta_blocks(Group::new(group));
            let first = layout.group_first_block(Group::new(group)).get();
            let own = (first..first + u64::from(base))
                .chain([desc.block_bitmap, desc.inode_bitmap])
                .chain(desc.inode_table..desc.inode_table + u64::from(layout.inode_table_blocks()));
            for nr in own {
                let who = || format!("group {group}: metadata");
                match layout.group_of(PhysBlock::new(nr)) {
                    Some((place, _)) if place.get() == group => self.claim_own(nr, who),
                    _ => self.claim(nr, who),
                }
            }
        }
        for nr in &self.fixed.blocks {
            self.claim(*nr, || "the file system's own files".to_string());
        }
        for group in 0..layout.groups() {
            self.check_inodes(group, &mut tree);
        }
        self.check_attribute_blocks();
        self.check_values(&mut tree);
        for group in 0..layout.groups() {
            self.check_group(group);
        }
        self.check_links(&tree);
        tree
    }

    fn check_super(&mut self) {
        let (nr, offset) = self.layout.super_location();
        let block = self.device.read(nr.get());
        let bytes = &block[offset..offset + 1024];
        if self.layout.csum_seed().is_some() {
            let good = crc32c(!0, &bytes[..1020]) == get32(bytes, 1020);
            self.expect(good, || "super block: checksum".to_string());
        }
        let orphan = get32(bytes, 232);
        self.expect(orphan == 0, || {
            format!("super block: inode {orphan} is still an orphan")
        });
        self.expect(get16(bytes, 58) & 2 == 0, || {
            "super block: errors were found".to_string()
        });
        // After an unmount they are right; that they are wrong before is no fault.
        let high = match self.layout.has_64bit() {
            true => get32(bytes, 344),
            false => 0,
        };
        let total = (
            u64::from(get32(bytes, 12)) | u64::from(high) << 32,
            u64::from(get32(bytes, 16)),
        );
        let descs = (0..self.layout.groups()).map(|group| self.desc(group));
        let sum = descs.fold((0, 0), |(blocks, inodes), desc| {
            (
                blocks + u64::from(desc.free_blocks),
                inodes + u64::from(desc.free_inodes),
            )
        });
        self.expect(total == sum, || {
            format!("super block: {total:?} blocks and inodes are free, {sum:?} in the groups")
        });
    }

    /// The orphan file has no orphans, and the tails of its blocks are right.
    fn check_orphan_file(&mut self) {
        let slot = self.layout.orphan_file_ino().and_then(|ino| {
            let slot = self.layout.inode_slot(ino)?;
            Some((ino, slot))
        });
        let Some((ino, slot)) = slot else {
            return;
        };
        let table = self.desc(slot.group.get()).inode_table;
        let inodes = self.device.read(table + u64::from(slot.block));
        let generation = &inodes[slot.offset + 100..slot.offset + 104];
        let seed = self.sum(&[&ino.get().to_le_bytes(), generation]);
        for nr in &self.fixed.orphan_file {
            let block = self.device.read(*nr);
            let (slots, tail) = block.split_at(block.len() - 8);
            let empty = slots.iter().all(|byte| *byte == 0);
            self.expect(empty, || "the orphan file is not empty".to_string());
            let sum = seed.map(|seed| crc32c(crc32c(seed, &nr.to_le_bytes()), slots));
            let good =
                get32(tail, 0) == ORPHAN_MAGIC && sum.is_none_or(|sum| sum == get32(tail, 4));
            self.expect(good, || format!("the orphan file: tail of block {nr}"));
        }
    }
}
