// SPDX-License-Identifier: GPL-2.0

//! One target for each structure's parser: any bytes go in, and what is accepted must keep what the parser promises.
//!
//! Bytes that come from nowhere have no good checksum. So each target tries them without checksums, and, where the
//! structure has one, sealed.

use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::bitmap::{self, BlockBitmapFormat, InodeBitmapFormat};
use iomapfs_core::disk::bitmap_sum::{Powers, Sum};
use iomapfs_core::disk::dirent::{DirLeafFormat, Dots, FileType};
use iomapfs_core::disk::dx::{DxFormat, Part};
use iomapfs_core::disk::extent::{
    Extent, ExtentNodeFormat, Index, Node, NodeMut, MAX_DEPTH, ROOT_BYTES,
};
use iomapfs_core::disk::group_desc::{DescCsum, GroupDesc, GroupDescFormat};
use iomapfs_core::disk::hash::{HashVersion, NameHasher};
use iomapfs_core::disk::inode::{self, DiskInode};
use iomapfs_core::disk::orphan::{self, OrphanFormat};
use iomapfs_core::disk::superblock::{ErrorRecord, RawSuper, SUPER_SIZE};
use iomapfs_core::disk::xattr::{XattrFormat, XattrHeader, MAX_REFCOUNT};
use iomapfs_core::disk::{CsumSeed, Group, Ino, Layout, LogicalBlock, PhysBlock};
use iomapfs_core::host::Mkfs;
use iomapfs_core::store::Format;
use kernel::error::code::EUCLEAN;
use std::sync::OnceLock;
use zerocopy::FromBytes;

/// A target: it panics where it finds something.
pub type Target = fn(&[u8]);

/// Name and function of each target, `walk` included.
pub const TARGETS: [(&str, Target); 13] = [
    ("super_block", |data| over(super_block(data))),
    ("group_desc", |data| over(group_desc(data))),
    ("bitmap", |data| over(bitmap(data))),
    ("inode", |data| over(inode(data))),
    ("extent_node", |data| over(extent_node(data))),
    ("extent_change", |data| over(extent_change(data))),
    ("dir_leaf", |data| over(dir_leaf(data))),
    ("dir_root", |data| over(dir_index(data, Part::Root))),
    ("dir_node", |data| over(dir_index(data, Part::Node))),
    ("hash", |data| over(hash(data))),
    ("orphan", |data| over(orphan(data))),
    ("xattr", |data| over(xattr(data))),
    ("walk", crate::walk::run),
];

/// Runs a target by its name.
///
/// # Panics
///
/// Where there is no such target, and where it finds something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(n, _)| *n == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}

/// Too few bytes are no finding.
fn over(_: Result<()>) {}

const SEED: CsumSeed = CsumSeed::new(0x1234_5678);
const NR: PhysBlock = PhysBlock::new(77);

/// Geometries that structures are read with.
fn layouts() -> &'static [(Layout, RawSuper)] {
    static LAYOUTS: OnceLock<Vec<(Layout, RawSuper)>> = OnceLock::new();
    LAYOUTS.get_or_init(|| {
        [
            Mkfs::new(8 << 20, 1024),
            Mkfs::new(16 << 20, 4096),
            Mkfs::new(8 << 20, 1024).features("^metadata_csum,^64bit,uninit_bg"),
            Mkfs::new(8 << 20, 1024).features("^metadata_csum,^64bit,^huge_file"),
        ]
        .iter()
        .map(|mkfs| {
            let image = mkfs.make();
            let layout = image.layout(false).expect("a good image");
            (layout, image.read_super())
        })
        .collect()
    })
}

fn layout(u: &mut Unstructured<'_>) -> Result<&'static (Layout, RawSuper)> {
    u.choose(layouts())
}

fn ino(u: &mut Unstructured<'_>) -> Result<Ino> {
    Ok(Ino::new(u.arbitrary()?).unwrap_or(Ino::ROOT))
}

/// A block: the bytes that are given, the rest of another kind of nothing.
fn block(u: &mut Unstructured<'_>, len: usize) -> Result<Vec<u8>> {
    let mut block = vec![*u.choose(&[0, 0, 0xff])?; len];
    let given = u.len().min(len);
    block[..given].copy_from_slice(u.bytes(given)?);
    Ok(block)
}

fn seed(u: &mut Unstructured<'_>) -> Result<Option<CsumSeed>> {
    Ok(u.ratio(1, 2)?.then_some(SEED))
}

/// A super block, good but for some bytes: what a mount accepts is a geometry in which all places are on the device.
fn super_block(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let (_, raw) = layout(u)?;
    let mut bytes = zerocopy::IntoBytes::as_bytes(raw).to_vec();
    let read_only = u.arbitrary()?;
    let device_blocks = match u.int_in_range(0..=2)? {
        0 => raw.blocks_count(),
        1 => u.arbitrary()?,
        _ => u64::MAX,
    };
    for _ in 0..u.int_in_range(1..=8)? {
        let at = 4 * u.int_in_range(0..=SUPER_SIZE / 4 - 1)?;
        let word: u32 = match u.ratio(1, 2)? {
            true => u.arbitrary()?,
            false => {
                let old =
                    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                old ^ 1 << u.int_in_range(0..=31)?
            }
        };
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    let Ok(mut raw) = RawSuper::read_from_bytes(&bytes) else {
        return Ok(());
    };
    if !u.ratio(1, 16)? {
        raw.seal();
    }
    raw.record_error(&ErrorRecord {
        time: u.arbitrary()?,
        ino: 3,
        block: 4,
        func: "some_function_with_a_name_that_is_long_é",
        line: 5,
        error: EUCLEAN,
    });
    raw.seal();
    let _ = raw.error_policy();
    match Layout::new(&raw, device_blocks, read_only) {
        Ok(layout) => check_layout(u, &layout, device_blocks),
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            let _ = refusal.error();
            Ok(())
        }
    }
}

fn check_layout(u: &mut Unstructured<'_>, layout: &Layout, device_blocks: u64) -> Result<()> {
    let blocks = layout.blocks_count();
    assert!(blocks <= device_blocks && layout.groups() > 0);
    let on_device = |nr: PhysBlock| assert!(nr.get() < blocks, "{nr:?} of {blocks}");
    let (nr, offset) = layout.super_location();
    on_device(nr);
    assert!(offset + SUPER_SIZE <= layout.block_size().bytes() as usize);
    let last = layout.groups() - 1;
    for group in [0, 1, last / 2, last, u.int_in_range(0..=last)?] {
        let group = Group::new(group.min(last));
        let (nr, offset) = layout.desc_location(group);
        on_device(nr);
        let end = offset + usize::from(layout.desc_size());
        assert!(end <= layout.block_size().bytes() as usize);
        let count = layout.blocks_in_group(group);
        assert!((1..=layout.blocks_per_group()).contains(&count));
        let first = layout.group_first_block(group);
        let end = PhysBlock::new(first.get() + u64::from(count) - 1);
        on_device(end);
        assert_eq!(layout.group_of(first), Some((group, 0)));
        assert_eq!(layout.group_of(end), Some((group, count - 1)));
        assert!(layout.contains(first, count));
        let _ = layout.base_meta_blocks(group);
        let _ = layout.flex_group_of(group);
    }
    for ino in [1, 2, layout.inodes_count(), u.arbitrary()?] {
        let Some(ino) = Ino::new(ino) else { continue };
        match layout.inode_slot(ino) {
            Some(slot) => {
                assert!(slot.group.get() < layout.groups());
                assert!(slot.block < layout.inode_table_blocks());
                let end = slot.offset + usize::from(layout.inode_size());
                assert!(end <= layout.block_size().bytes() as usize);
                assert_eq!(layout.ino_of(slot.group, slot.index), Some(ino));
            }
            None => assert!(ino.get() > layout.inodes_count()),
        }
    }
    if layout.groups() < 10_000 {
        let _ = layout.overhead();
    }
    let _ = layout.max_file_size();
    Ok(())
}

/// A block of group descriptors: what is stored is read again.
fn group_desc(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let size = *u.choose(&[32_u32, 64, 128])?;
    let csum = match u.int_in_range(0..=2)? {
        0 => DescCsum::None,
        1 => DescCsum::Crc16([7; 16]),
        _ => DescCsum::Crc32c(SEED),
    };
    let mut bytes = block(u, 1024)?;
    let format = GroupDescFormat {
        csum,
        size,
        first: Group::new(3),
        count: 1024 / size,
    };
    let _ = format.verify(NR, &bytes);
    for n in 0..format.count {
        let slot = format.slot_mut(n, &mut bytes).expect("it is in the block");
        let desc = GroupDesc::parse(slot).expect("32 bytes are enough");
        desc.store(&csum, Group::new(3 + n), slot);
        let again = GroupDesc::parse(slot).expect("32 bytes are enough");
        assert_eq!(desc, again);
    }
    assert_eq!(format.slot(format.count, &bytes), None);
    format.seal(NR, &mut bytes);
    assert_eq!(format.verify(NR, &bytes), Ok(()));
    Ok(())
}

/// A bitmap: changes are what they would be bit by bit, and so is the checksum after them.
fn bitmap(data: &[u8]) -> Result<()> {
    static POWERS: OnceLock<Powers> = OnceLock::new();
    let powers = POWERS.get_or_init(|| Powers::new(8192).expect("memory"));
    let u = &mut Unstructured::new(data);
    let bits = 8 * u.int_in_range(1..=1024_u32)?;
    let (start, len) = (u.arbitrary::<u32>()?, u.arbitrary::<u32>()?);
    let (start, len) = match u.ratio(3, 4)? {
        true => (start % bits, len % bits),
        false => (start, len),
    };
    let set = u.arbitrary()?;
    let wide = u.arbitrary()?;
    let mut bytes = block(u, 1024)?;
    let sum = Sum::new(SEED, bits, wide);
    let stored = sum.of(&bytes);
    let free = bitmap::count_clear(&bytes);
    let _ = BlockBitmapFormat::new(Some((sum, stored)), bits, free).verify(NR, &bytes);
    let _ = InodeBitmapFormat::new(Some((sum, stored)), bits, free).verify(NR, &bytes);
    if let Some(first) = bitmap::first_clear(&bytes, start) {
        assert!(first >= start);
        let byte = bytes.get(first as usize / 8).expect("in the bitmap");
        assert_eq!(byte >> (first % 8) & 1, 0);
    }
    let before = bytes.clone();
    let done = match set {
        true => bitmap::set(&mut bytes, start, len),
        false => bitmap::clear(&mut bytes, start, len),
    };
    let end = u64::from(start) + u64::from(len);
    let changed = bytes.iter().zip(&before).map(|(a, b)| (a ^ b).count_ones());
    let changed: u32 = changed.sum();
    assert_eq!(changed, if done { len } else { 0 });
    if done && end <= bits.into() {
        assert_eq!(
            sum.after(stored, powers, start, len, &bytes),
            sum.of(&bytes)
        );
    }
    bitmap::pad(&mut bytes, start);
    Ok(())
}

/// An inode: what is read can be written, and is the same when it is read again.
fn inode(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let (layout, _) = layout(u)?;
    let ino = ino(u)?;
    let good_size = u.ratio(15, 16)?;
    let len = match good_size {
        true => layout.inode_size().into(),
        false => u.int_in_range(0..=300)?,
    };
    let mut bytes = block(u, len)?;
    let _ = DiskInode::decode(layout, ino, &bytes);
    inode::seal(layout, ino, &mut bytes);
    let _ = inode::dtime(&bytes);
    inode::set_dtime(&mut bytes, 9);
    inode::seal(layout, ino, &mut bytes);
    let Ok(read) = DiskInode::decode(layout, ino, &bytes) else {
        return Ok(());
    };
    let rdev = inode::decode_rdev(&read.block);
    assert_eq!(inode::decode_rdev(&inode::encode_rdev(rdev)), rdev);
    for time in [read.atime, read.ctime, read.mtime, read.crtime] {
        assert!(time.nsec < 1_000_000_000);
    }
    if good_size && read.encode(layout, ino, &mut bytes).is_ok() {
        let again = DiskInode::decode(layout, ino, &bytes).map_err(|flaw| flaw.0);
        assert_eq!(again, Ok(read));
    }
    Ok(())
}

/// A node of an extent tree: what is accepted is in order, without overlaps, on the device.
fn extent_node(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let (layout, _) = layout(u)?;
    let seed = seed(u)?;
    let ino = ino(u)?;
    let is_root = u.ratio(1, 4)?;
    let fixed = u.ratio(3, 4)?;
    let format = ExtentNodeFormat::new(layout, ino, seed);
    if is_root {
        let mut root: [u8; ROOT_BYTES] = block(u, ROOT_BYTES)?.try_into().expect("its length");
        if fixed {
            fix_node(&mut root, 4);
        }
        if format.verify_root(&root).is_ok() {
            check_node(&Node::parse(&root).expect("it was accepted"), layout);
        }
        return Ok(());
    }
    let mut bytes = block(u, layout.block_size().bytes() as usize)?;
    if fixed {
        fix_node(&mut bytes, format.entries_per_block());
    }
    format.seal(NR, &mut bytes);
    if let Ok(node) = Node::parse(&bytes) {
        let _ = node.fits(0, LogicalBlock::ZERO, LogicalBlock::LIMIT);
        let _ = node.find(LogicalBlock::new(5));
    }
    if format.verify(NR, &bytes).is_ok() {
        let node = Node::parse(&bytes).expect("it was accepted");
        assert!(!node.is_empty() && node.depth() < MAX_DEPTH);
        check_node(&node, layout);
    }
    Ok(())
}

/// Gives a node the constant parts of its header, and a count that is not the first thing to be refused.
fn fix_node(bytes: &mut [u8], max: u16) {
    let count = u16::from_le_bytes([bytes[2], bytes[3]]) % (max + 2);
    bytes[..2].copy_from_slice(&0xf30a_u16.to_le_bytes());
    bytes[2..4].copy_from_slice(&count.to_le_bytes());
    bytes[4..6].copy_from_slice(&max.to_le_bytes());
    bytes[7] = 0;
}

fn check_node(node: &Node<'_>, layout: &Layout) {
    assert_eq!(node.slots().len(), node.len());
    let mut end = 0;
    for i in 0..node.len() {
        let key = node.key(i).expect("an entry").get();
        assert!(i == 0 || key >= end, "entries are not in order");
        let (nr, len) = match node.depth() {
            0 => {
                let extent = node.extent(i).expect("an entry");
                assert!(extent.len > 0 && extent.len <= extent.max_len());
                assert_eq!(extent.end().get(), key + extent.len);
                (extent.phys, extent.len)
            }
            _ => (node.index(i).expect("an entry").child, 1),
        };
        assert!(
            layout.contains(nr, len),
            "{nr:?}+{len} is not on the device"
        );
        end = key
            .checked_add(if node.depth() == 0 { len } else { 1 })
            .expect("the end");
        assert_eq!(node.find(LogicalBlock::new(key)), Some(i));
    }
    assert_eq!(node.key(node.len()), None);
}

/// Changes of a node, against a list.
fn extent_change(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let len = *u.choose(&[ROOT_BYTES, 1024])?;
    let mut bytes = vec![0; len];
    let depth = u.int_in_range(0..=MAX_DEPTH)?;
    NodeMut::init(&mut bytes, depth).expect("there is room");
    let mut model: Vec<(u32, u64)> = Vec::new();
    while !u.is_empty() {
        let (at, count) = (u.int_in_range(0..=90)?, u.int_in_range(0..=5)?);
        let new: Vec<(u32, u64)> = (0..u.int_in_range(0..=5)?)
            .map(|_| Ok((u.arbitrary()?, u.arbitrary::<u64>()? & PhysBlock::MAX)))
            .collect::<Result<_>>()?;
        let mut node = NodeMut::parse(&mut bytes).expect("a good node");
        let room = (len - 12) / 12;
        let fits = at + count <= model.len() && model.len() - count + new.len() <= room;
        let done = if depth == 0 {
            let new: Vec<Extent> = new
                .iter()
                .map(|(key, phys)| Extent {
                    start: LogicalBlock::new(*key),
                    len: 1,
                    phys: PhysBlock::new(*phys),
                    written: true,
                })
                .collect();
            node.splice(at, count, &new)
        } else {
            let new: Vec<Index> = new
                .iter()
                .map(|(key, phys)| Index {
                    start: LogicalBlock::new(*key),
                    child: PhysBlock::new(*phys),
                })
                .collect();
            node.splice(at, count, &new)
        };
        assert_eq!(done.is_some(), fits);
        if fits {
            model.splice(at..at + count, new);
        }
        let node = Node::parse(&bytes).expect("a good node");
        assert_eq!(node.len(), model.len());
        for (i, (key, phys)) in model.iter().enumerate() {
            assert_eq!(node.key(i).map(LogicalBlock::get), Some(*key));
            let there = match depth {
                0 => node.extent(i).map(|extent| extent.phys),
                _ => node.index(i).map(|index| index.child),
            };
            assert_eq!(there.map(PhysBlock::get), Some(*phys));
        }
    }
    Ok(())
}

/// A block of names: what is accepted is a chain of records to its end, none of them beyond it.
fn dir_leaf(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = DirLeafFormat {
        ino: ino(u)?,
        seed: seed(u)?,
        inodes_count: *u.choose(&[u32::MAX, 100, 5000])?,
        allow_index: u.arbitrary()?,
    };
    let len = *u.choose(&[1024, 4096, 65536])?;
    let name: [u8; 2] = u.arbitrary()?;
    let mut bytes = block(u, len)?;
    if format.seed.is_some() {
        format.put_tail(&mut bytes);
    }
    format.seal(NR, &mut bytes);
    let good = format.verify(NR, &bytes).is_ok();
    let index = format.allow_index && format.is_index(&bytes);
    let mut at = 0;
    for entry in format.entries(&bytes) {
        let Ok(entry) = entry else {
            assert!(!good || index, "a bad record in a block that was accepted");
            at = 0;
            break;
        };
        assert!(entry.end() > at, "no progress");
        assert!(entry.name.len() <= 255 && entry.needs() <= entry.end() - at);
        at = entry.end();
    }
    assert!(!good || index || at == format.end(&bytes));
    let _ = format.find(&bytes, &name);
    let _ = Dots::find(&bytes, format.ino, format.inodes_count);
    if good && !index {
        // What is found by looking from the first on is found at once.
        let names = format.entries(&bytes).filter_map(std::result::Result::ok);
        for entry in names.filter(|entry| entry.ino.is_some()).take(20) {
            let found = format.find(&bytes, entry.name);
            assert!(matches!(found, Ok(Some(_))), "a name is not found");
        }
    }
    let _ = FileType::from_disk(name[0]);
    Ok(())
}

/// An index block: its entries are in the block, and a search ends at the right one.
fn dir_index(data: &[u8], part: Part) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = DxFormat {
        ino: ino(u)?,
        seed: seed(u)?,
        part,
    };
    let len = *u.choose(&[1024, 4096])?;
    let hash = u.arbitrary()?;
    let fixed = u.ratio(7, 8)?;
    let mut bytes = block(u, len)?;
    if fixed {
        fix_index(&format, &mut bytes);
    }
    let _ = format.search(&bytes, hash);
    let _ = format.info(&bytes);
    format.seal(NR, &mut bytes);
    if format.verify(NR, &bytes).is_err() {
        return Ok(());
    }
    let count = format.count(&bytes);
    assert!((1..=format.limit(len)).contains(&count));
    let step = format.search(&bytes, hash).expect("there is one");
    assert!(step.at < count);
    for at in 1..count {
        let key = format.hash(&bytes, at).expect("an entry");
        assert_eq!(key <= hash, at <= step.at, "hash {hash:#x}, entry {at}");
    }
    assert_eq!(format.hash(&bytes, count), None);
    assert!(format.step(&bytes, count).is_none());
    let full = format.is_full(&bytes);
    let inserted = format.insert_after(&mut bytes, step.at, hash, LogicalBlock::new(9));
    assert_eq!(inserted.is_some(), !full);
    if !full {
        assert_eq!(format.count(&bytes), count + 1);
        format.seal(NR, &mut bytes);
        assert_eq!(format.verify(NR, &bytes), Ok(()));
    }
    Ok(())
}

fn fix_index(format: &DxFormat, bytes: &mut [u8]) {
    let array = match format.part {
        Part::Root => {
            let rest = (bytes.len() - 12) as u16;
            bytes[..12].copy_from_slice(&[2, 0, 0, 0, 12, 0, 1, 2, b'.', 0, 0, 0]);
            bytes[12..24].copy_from_slice(&[2, 0, 0, 0, 0, 0, 2, 2, b'.', b'.', 0, 0]);
            bytes[16..18].copy_from_slice(&rest.to_le_bytes());
            bytes[24..28].fill(0);
            bytes[28] %= 8;
            bytes[29] = 8;
            bytes[30] %= 4;
            0x20
        }
        Part::Node => {
            let len = bytes.len() as u16;
            bytes[..8].fill(0);
            bytes[4..6].copy_from_slice(&len.to_le_bytes());
            8
        }
    };
    let limit = format.limit(bytes.len()) as u16;
    bytes[array..array + 2].copy_from_slice(&limit.to_le_bytes());
    let count = u16::from_le_bytes([bytes[array + 2], bytes[array + 3]]) % (limit + 2);
    bytes[array + 2..array + 4].copy_from_slice(&count.to_le_bytes());
}

/// Hashes of names.
fn hash(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let Some(version) = HashVersion::from_disk(u.int_in_range(0..=8)?) else {
        return Ok(());
    };
    assert_eq!(HashVersion::from_disk(version.to_disk()), Some(version));
    let hasher = NameHasher::new(version, u.arbitrary()?, &u.arbitrary()?);
    let name = u.bytes(u.len().min(300))?;
    let hash = hasher.hash(name);
    // The lowest bit marks a collision, and the largest even number an end.
    assert_eq!(hash.major & 1, 0);
    assert_eq!(hasher.hash(name), hash);
    Ok(())
}

/// A block of the orphan file.
fn orphan(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = OrphanFormat { seed: seed(u)? };
    let (slot, ino) = (u.int_in_range(0..=300)?, ino(u)?);
    let len = match u.ratio(7, 8)? {
        true => 1024,
        false => u.int_in_range(0..=64)?,
    };
    let mut bytes = block(u, len)?;
    let _ = format.verify(NR, &bytes);
    format.seal(NR, &mut bytes);
    let used = orphan::used_slots(&bytes);
    assert_eq!(orphan::orphans(&bytes).count(), used);
    assert!(used <= orphan::slots_per_block(len as u32) as usize);
    let _ = orphan::remove(&mut bytes, slot, ino);
    if let Some(slot) = orphan::insert(&mut bytes, ino) {
        assert!(orphan::orphans(&bytes).any(|found| found == (slot, ino)));
        assert!(orphan::remove(&mut bytes, slot, ino));
    }
    if len >= 8 {
        format.seal(NR, &mut bytes);
        assert_eq!(format.verify(NR, &bytes), Ok(()));
    }
    Ok(())
}

/// A block of extended attributes.
fn xattr(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = XattrFormat { seed: seed(u)? };
    let len = match u.ratio(7, 8)? {
        true => 1024,
        false => u.int_in_range(0..=64)?,
    };
    let mut bytes = block(u, len)?;
    let _ = format.verify(NR, &bytes);
    format.seal(NR, &mut bytes);
    if format.verify(NR, &bytes).is_ok() {
        let (header, rest) = XattrHeader::split(&bytes).expect("it was accepted");
        assert!((1..=MAX_REFCOUNT).contains(&header.refcount.get()));
        assert!(rest.len() < len);
    }
    Ok(())
}
