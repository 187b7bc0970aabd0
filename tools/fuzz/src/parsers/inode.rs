// SPDX-License-Identifier: GPL-2.0

//! Inodes, and what belongs to them: extended attributes, the list of those to be freed.

use super::{block, ino, layout, seed, NR};
use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::inode::{self, DiskInode};
use iomapfs_core::disk::orphan::{self, OrphanFormat};
use iomapfs_core::disk::xattr::{XattrFormat, XattrHeader, MAX_REFCOUNT};
use iomapfs_core::disk::Format;

/// An inode: what is read can be written, and is the same when it is read again.
pub(super) fn inode(data: &[u8]) -> Result<()> {
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
        let again = DiskInode::decode(layout, ino, &bytes).map_err(|flaw| flaw.to_string());
        assert_eq!(again, Ok(read));
    }
    Ok(())
}

/// A block of 1 KiB, or now and then too few bytes.
fn whole_or_short(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = match u.ratio(7, 8)? {
        true => 1024,
        false => u.int_in_range(0..=64)?,
    };
    block(u, len)
}

/// A block of the orphan file.
pub(super) fn orphan(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = OrphanFormat { seed: seed(u)? };
    let (slot, ino) = (u.int_in_range(0..=300)?, ino(u)?);
    let mut bytes = whole_or_short(u)?;
    let _ = format.verify(NR, &bytes);
    format.seal(NR, &mut bytes);
    let used = orphan::used_slots(&bytes);
    assert_eq!(orphan::orphans(&bytes).count(), used);
    assert!(used <= orphan::slots_per_block(bytes.len() as u32) as usize);
    let _ = orphan::remove(&mut bytes, slot, ino);
    if let Some(slot) = orphan::insert(&mut bytes, ino) {
        assert!(orphan::orphans(&bytes).any(|found| found == (slot, ino)));
        assert!(orphan::remove(&mut bytes, slot, ino));
    }
    if bytes.len() >= 8 {
        format.seal(NR, &mut bytes);
        assert_eq!(format.verify(NR, &bytes), Ok(()));
    }
    Ok(())
}

/// A block of extended attributes.
pub(super) fn xattr(data: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = XattrFormat {
        seed: seed(u)?,
        values: u.arbitrary()?,
    };
    let mut bytes = whole_or_short(u)?;
    let _ = format.verify(NR, &bytes);
    format.seal(NR, &mut bytes);
    if format.verify(NR, &bytes).is_ok() {
        let (header, rest) = XattrHeader::split(&bytes).expect("it was accepted");
        assert!((1..=MAX_REFCOUNT).contains(&header.refcount.get()));
        assert!(rest.len() < bytes.len());
    }
    Ok(())
}
