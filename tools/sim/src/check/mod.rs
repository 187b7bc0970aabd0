// SPDX-License-Identifier: GPL-2.0

//! A check of a whole file system by the rules of e2fsck, in memory and in a fraction of a millisecond. It takes
//! nothing from the core but the geometry and the hash of names: the bytes are looked at here once more.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | groups: descriptors, bitmaps, what is used and by whom; links |
//! | `inode.rs` | inodes and extent trees |
//! | `dir.rs` | directories, linear and hashed |

mod dir;
mod inode;

use crate::model::Kind;
use iomapfs_core::crc32c;
use iomapfs_core::disk::{Group, Ino, Layout, PhysBlock};
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
    /// Its links.
    pub links: u32,
    /// Its size.
    pub size: u64,
    /// Its blocks that are written: file block, device block.
    pub blocks: Vec<(u32, u64)>,
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

/// One check.
struct Check<'a> {
    device: &'a Device,
    fixed: &'a Fixed,
    layout: &'a Layout,
    /// Expected bitmaps of blocks.
    used: Vec<Vec<u8>>,
    flaws: Vec<String>,
}

/// A group descriptor.
struct Desc {
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: u64,
    free_blocks: u32,
    free_inodes: u32,
    dirs: u32,
    flags: u32,
    block_sum: u32,
    inode_sum: u32,
    unused: u32,
}

const INODE_UNINIT: u32 = 1;
const BLOCK_UNINIT: u32 = 2;

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

/// Blocks whose contents mean nothing: free ones, and metadata that was never used. Of an intact file system.
pub fn meaningless(device: &Device, fixed: &Fixed) -> Vec<u64> {
    let mut check = Check::new(device, fixed);
    check.run();
    let layout = &fixed.layout;
    let mut found = Vec::new();
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

    /// The block belongs to something, and to nothing else.
    fn claim(&mut self, nr: u64, who: impl Fn() -> String) {
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

    fn desc(&self, group: u32) -> Desc {
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

    fn run(&mut self) -> Tree {
        self.check_super();
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
                self.claim(nr, || format!("group {group}: metadata"));
            }
        }
        for nr in &self.fixed.blocks {
            self.claim(*nr, || "the file system's own files".to_string());
        }
        for group in 0..layout.groups() {
            self.check_inodes(group, &mut tree);
        }
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
        for nr in &self.fixed.orphan_file {
            let block = self.device.read(*nr);
            let empty = block[..block.len() - 8].iter().all(|byte| *byte == 0);
            self.expect(empty, || "the orphan file is not empty".to_string());
        }
    }

    /// Bitmap and count of blocks of a group.
    fn check_group(&mut self, group: u32) {
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
            return;
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
    fn check_inodes(&mut self, group: u32, tree: &mut Tree) {
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
                tree.insert(ino, found);
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

    /// That every inode has the names that it counts, and every name an inode.
    fn check_links(&mut self, tree: &Tree) {
        let mut names: BTreeMap<u32, u32> = BTreeMap::new();
        let mut ways: BTreeMap<u32, u32> = BTreeMap::new();
        for (dir, found) in tree.iter().filter(|(_, found)| found.kind == Kind::Dir) {
            *names.entry(*dir).or_default() += 1;
            *names.entry(found.parent).or_default() += 1;
            for (ino, is) in &found.types {
                let kind = tree.get(ino).map(|child| child.kind);
                let should = match kind.filter(|_| self.layout.has_filetype()) {
                    None => 0,
                    Some(Kind::File) => 1,
                    Some(Kind::Dir) => 2,
                    Some(Kind::Link) => 7,
                };
                self.expect(kind.is_none() || *is == should, || {
                    format!("directory {dir}: type of inode {ino} is {is}, should be {should}")
                });
            }
            for (name, ino) in &found.names {
                let name = String::from_utf8_lossy(name);
                match tree.get(ino) {
                    None => self.flaw(format!(
                        "directory {dir}: {name}: inode {ino} is not in use"
                    )),
                    Some(child) if child.kind == Kind::Dir => {
                        *ways.entry(*ino).or_default() += 1;
                        *names.entry(*ino).or_default() += 1;
                        self.expect(child.parent == *dir, || {
                            format!("directory {ino}: '..' leads to {}, not {dir}", child.parent)
                        });
                    }
                    Some(_) => *names.entry(*ino).or_default() += 1,
                }
            }
        }
        for (ino, found) in tree {
            let links = names.get(ino).copied().unwrap_or(0);
            self.expect(links == found.links, || {
                format!("inode {ino}: has {links} names, and counts {}", found.links)
            });
            if found.kind == Kind::Dir && *ino != Ino::ROOT.get() {
                let ways = ways.get(ino).copied().unwrap_or(0);
                self.expect(ways == 1, || format!("directory {ino}: has {ways} names"));
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
