// SPDX-License-Identifier: GPL-2.0

//! Blocks of the orphan file and of extended attributes, as mke2fs and debugfs make them.

use iomapfs_core::disk::orphan::{self, OrphanFormat};
use iomapfs_core::disk::xattr::{XattrFormat, XattrHeader};
use iomapfs_core::disk::{Flaw, Format, Ino, PhysBlock};
use iomapfs_core::host::{HostStore, Image, Mkfs};
use iomapfs_core::store::{Credits, Store, Transaction};
use kernel::error::code::*;

/// The device block behind a block of a file, as debugfs says.
fn bmap(image: &Image, file: &str, block: u32) -> PhysBlock {
    let text = image.debugfs(&[format!("bmap {file} {block}")]);
    let number = text.lines().find_map(|line| line.trim().parse().ok());
    PhysBlock::new(number.unwrap_or_else(|| panic!("{text}")))
}

#[test]
fn orphan_blocks() {
    for features in ["orphan_file", "orphan_file,^metadata_csum"] {
        let image = Mkfs::new(24 << 20, 4096).features(features).make();
        let layout = image.layout(false).unwrap();
        let ino = layout.orphan_file_ino().unwrap();
        let store = HostStore::open(image.path(), 4096).unwrap();
        let name = format!("<{}>", ino.get());
        let (first, second) = (bmap(&image, &name, 0), bmap(&image, &name, 1));
        let format = OrphanFormat {
            seed: layout.csum_seed().map(|seed| seed.for_inode(ino, 0)),
        };
        let block = store.read(first, format).unwrap();
        assert_eq!(block.with(|b| orphan::orphans(b).count()), 0);
        // The checksum says which block it is.
        let elsewhere = block.with(|b| format.verify(second, b));
        assert_eq!(elsewhere.is_err(), format.seed.is_some());

        let mut tx = store.begin(Credits::new(1, 0)).unwrap();
        let file = Ino::new(11).unwrap();
        let slots = tx
            .edit(&block, |b| {
                let all: Vec<_> = std::iter::from_fn(|| orphan::insert(b, file)).collect();
                assert!(!orphan::remove(b, 5, Ino::ROOT), "not in that slot");
                assert!(!orphan::remove(b, all.len(), file), "no such slot");
                assert!(orphan::remove(b, 5, file));
                assert_eq!(orphan::insert(b, Ino::ROOT), Some(5));
                assert_eq!(orphan::orphans(b).nth(5), Some((5, Ino::ROOT)));
                all.iter().for_each(|slot| {
                    orphan::remove(b, *slot, file);
                });
                assert!(orphan::remove(b, 5, Ino::ROOT));
                assert_eq!(orphan::used_slots(b), 0);
                all.len()
            })
            .unwrap();
        assert_eq!(slots, orphan::slots_per_block(4096) as usize);
        drop(tx);
        store.save(image.path()).unwrap();
        assert_eq!(image.fsck(), Ok(()), "{features}");
    }
}

#[test]
fn orphan_block_without_mark() {
    let format = OrphanFormat { seed: None };
    let nr = PhysBlock::new(1);
    let mut bytes = [0; 1024];
    assert_eq!(
        format.verify(nr, &bytes),
        Err(Flaw::OrphanMagic { magic: 0 })
    );
    format.seal(nr, &mut bytes);
    assert_eq!(format.verify(nr, &bytes), Ok(()));
    assert_eq!(format.verify(nr, &[0; 7]), Err(Flaw::TooShort));
    assert_eq!(orphan::orphans(&[1; 7]).count(), 0);
    assert_eq!(orphan::insert(&mut [0; 9], Ino::ROOT), None);
}

#[test]
fn attribute_blocks() {
    for features in ["metadata_csum", "metadata_csum_seed", "^metadata_csum"] {
        let image = Mkfs::new(24 << 20, 4096).features(features).make();
        let value = "v".repeat(300);
        image.debugfs(&[
            "write /dev/null file".to_string(),
            format!("ea_set file user.name {value}"),
        ]);
        let text = image.debugfs(&["stat file"]);
        let (_, acl) = text.split_once("File ACL: ").unwrap();
        let nr = PhysBlock::new(acl.split_whitespace().next().unwrap().parse().unwrap());
        let layout = image.layout(false).unwrap();
        let format = XattrFormat::new(&layout);
        let store = HostStore::open(image.path(), 4096).unwrap();
        let block = store.read(nr, format).unwrap();
        let refcount = |b: &[u8]| XattrHeader::split(b).unwrap().0.refcount.get();
        assert_eq!(block.with(refcount), 1);

        let change = |value: u32| {
            let mut tx = store.begin(Credits::new(1, 0)).unwrap();
            tx.edit(&block, |b| {
                XattrHeader::split_mut(b).unwrap().0.refcount.set(value);
            })
            .unwrap();
        };
        // A count that no block can have is found when the block is read again.
        for bad in [0, 1025] {
            change(bad);
            store.drop_cache();
            assert_eq!(store.read(nr, format).err(), Some(EUCLEAN), "{bad}");
        }
        change(2);
        store.drop_cache();
        assert!(store.read(nr, format).is_ok());
        change(1);
        store.save(image.path()).unwrap();
        assert_eq!(image.fsck(), Ok(()), "{features}");
        let other = PhysBlock::new(nr.get() + 1);
        let elsewhere = block.with(|b| format.verify(other, b));
        assert_eq!(elsewhere.is_err(), format.seed.is_some());
    }
}
