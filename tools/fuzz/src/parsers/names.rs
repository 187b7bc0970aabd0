// SPDX-License-Identifier: GPL-2.0

//! Blocks of directories: names, the index over them, hashes.

use super::{block, ino, seed, NR};
use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::dirent::{DirLeafFormat, Dots};
use iomapfs_core::disk::dx::{DxFormat, IndexPart};
use iomapfs_core::disk::hash::{HashVersion, NameHasher};
use iomapfs_core::disk::{FileType, Format, LogicalBlock};

/// A block of names: what is accepted is a chain of records to its end, none of them beyond it.
pub(super) fn dir_leaf(data: &[u8]) -> Result<()> {
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
    let _ = FileType::from_entry(name[0]);
    Ok(())
}

/// An index block: its entries are in the block, and a search ends at the right one.
pub(super) fn dir_index(data: &[u8], part: IndexPart) -> Result<()> {
    let u = &mut Unstructured::new(data);
    let format = DxFormat {
        ino: ino(u)?,
        seed: seed(u)?,
        part,
        levels: 2 + usize::from(u.arbitrary::<bool>()?),
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
        IndexPart::Root => {
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
        IndexPart::Node => {
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
pub(super) fn hash(data: &[u8]) -> Result<()> {
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
