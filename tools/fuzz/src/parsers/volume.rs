// SPDX-License-Identifier: GPL-2.0

//! Of the volume: super block, group descriptors, bitmaps.

use super::{block, layout, NR, SEED};
use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::bitmap::{self, BlockBitmapFormat, InodeBitmapFormat};
use iomapfs_core::disk::bitmap_sum::{Powers, Sum};
use iomapfs_core::disk::group_desc::{DescCsum, GroupDesc, GroupDescFormat};
use iomapfs_core::disk::superblock::{ErrorRecord, RawSuper, SUPER_SIZE};
use iomapfs_core::disk::{Format, Group, Ino, Layout, PhysBlock};
use kernel::error::code::EUCLEAN;
use std::sync::OnceLock;
use zerocopy::FromBytes;

/// A super block, good but for some bytes: what a mount accepts is a geometry in which all places are on the device.
pub(super) fn super_block(data: &[u8]) -> Result<()> {
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
        let used = layout.blocks_count();
        assert!(layout.overhead(0, used) <= layout.overhead(u64::MAX, used));
    }
    let _ = layout.max_file_size();
    Ok(())
}

/// A block of group descriptors: what is stored is read again.
pub(super) fn group_desc(data: &[u8]) -> Result<()> {
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
pub(super) fn bitmap(data: &[u8]) -> Result<()> {
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
