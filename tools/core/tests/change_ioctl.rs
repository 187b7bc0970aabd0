// SPDX-License-Identifier: GPL-2.0

//! What requests of `ioctl` change: the name and the UUID of a volume, in all copies of the super block, and the
//! generation of an inode.

use iomapfs_core::change::label::{can_change_uuid, label, set_label, set_uuid, uuid, LABEL_MAX};
use iomapfs_core::change::{generation, Live};
use iomapfs_core::disk::superblock::RawSuper;
use iomapfs_core::disk::{Ino, Layout};
use iomapfs_core::host::{HostStore, Image, Mkfs, Mounted, Node};
use kernel::error::code::*;
use std::rc::Rc;

fn open(image: &Image) -> Option<Rc<Mounted>> {
    let size = image.layout(true).unwrap().block_size().bytes();
    Mounted::open(HostStore::open(image.path(), size).unwrap(), false).ok()
}

/// The names in the copies of the super block, by block.
fn copies(image: &Image, layout: &Layout) -> Vec<(u64, [u8; LABEL_MAX])> {
    let bytes = std::fs::read(image.path()).unwrap();
    let groups = layout.all_groups().skip(1);
    groups
        .filter(|group| layout.has_super(*group))
        .map(|group| {
            let nr = layout.group_first_block(group).get();
            let at = nr as usize * layout.block_size().bytes() as usize;
            (nr, RawSuper::from_block(&bytes, at).unwrap().volume_name)
        })
        .collect()
}

/// A copy that keeps the old name, or whose checksum is wrong then.
#[test]
fn label_in_all_copies() {
    for (name, mkfs) in Mkfs::variety() {
        let image = mkfs.make();
        let Some(mounted) = open(&image) else {
            continue;
        };
        let vol = &mounted.vol;
        for new in [
            *b"sixteen bytes ..",
            [0; LABEL_MAX],
            *b"short\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            set_label(vol, &new).unwrap();
            assert_eq!(label(vol), Ok(new), "{name}");
            vol.store.save(image.path()).unwrap();
            assert_eq!(vol.store.super_block().unwrap().volume_name, new, "{name}");
            let copies = copies(&image, &vol.layout);
            assert!(
                copies.iter().all(|(_, is)| *is == new),
                "{name}: {copies:?}"
            );
        }
        mounted.unmount().unwrap();
        vol.store.save(image.path()).unwrap();
        assert!(vol.store.take_warnings().is_empty(), "{name}");
        image.fsck().unwrap();
        for (nr, _) in copies(&image, &vol.layout) {
            // Each can be used in place of the super block.
            let size = vol.layout.block_size().bytes();
            let out = image.e2fsck(&["-fn", "-b", &nr.to_string(), "-B", &size.to_string()]);
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(said.contains("short"), "{name}: {said}");
        }
    }
}

/// A UUID that does not get to all copies, or to a volume whose checksums begin with it.
#[test]
fn uuids() {
    let new = *b"another uuid ...";
    for (features, can) in [
        ("metadata_csum,metadata_csum_seed", true),
        ("metadata_csum,^metadata_csum_seed", false),
        ("^metadata_csum,uninit_bg", false),
        ("^metadata_csum", true),
        ("^metadata_csum,stable_inodes", false),
    ] {
        let mkfs = Mkfs::new(20 << 20, 1024).arg("-g").arg("1024");
        let image = mkfs.features(features).make();
        let mounted = open(&image).unwrap();
        let vol = &mounted.vol;
        let before = uuid(vol).unwrap();
        assert_eq!(can_change_uuid(vol), can, "{features}");
        let set = set_uuid(vol, &new);
        assert_eq!(
            set,
            if can { Ok(()) } else { Err(EOPNOTSUPP) },
            "{features}"
        );
        let now = if can { new } else { before };
        assert_eq!(uuid(vol), Ok(now), "{features}");
        mounted.unmount().unwrap();
        vol.store.save(image.path()).unwrap();
        let bytes = std::fs::read(image.path()).unwrap();
        let groups = vol.layout.all_groups();
        for group in groups.filter(|group| vol.layout.has_super(*group)) {
            let at = vol.layout.group_first_block(group).get() as usize * 1024;
            let raw = RawSuper::from_block(&bytes, at).unwrap();
            assert_eq!(raw.uuid, now, "{features}: {group:?}");
        }
        image.fsck().unwrap();
        assert!(open(&image).is_some(), "{features}");
    }
}

/// A copy that is damaged and gets a checksum, or that keeps the others from getting the name.
#[test]
fn label_beside_a_bad_copy() {
    let image = Mkfs::new(20 << 20, 1024).arg("-g").arg("1024").make();
    let layout = image.layout(false).unwrap();
    let mut bytes = std::fs::read(image.path()).unwrap();
    let bad = copies(&image, &layout)[1].0;
    bytes[bad as usize * 1024 + 300] ^= 1;
    std::fs::write(image.path(), &bytes).unwrap();
    let mounted = open(&image).unwrap();
    set_label(&mounted.vol, &[b'x'; LABEL_MAX]).unwrap();
    mounted.vol.store.save(image.path()).unwrap();
    assert_eq!(mounted.vol.store.take_warnings().len(), 1);
    assert!(mounted.vol.store.take_reports().is_empty());
    for (nr, name) in copies(&image, &layout) {
        assert_eq!(name == [b'x'; LABEL_MAX], nr != bad, "block {nr}");
    }
    let after = std::fs::read(image.path()).unwrap();
    let block = |bytes: &[u8]| bytes[bad as usize * 1024..][..1024].to_vec();
    assert_eq!(block(&bytes), block(&after));
}

/// A generation that is changed under checksums, or one that does not get to the disk.
#[test]
fn generations() {
    for (features, can) in [("metadata_csum", false), ("^metadata_csum", true)] {
        let image = Mkfs::new(20 << 20, 1024).features(features).make();
        let mounted = open(&image).unwrap();
        let node = Node::get(&mounted, Ino::ROOT).unwrap();
        let before = node.map_lock().generation;
        let wanted = if can { Ok(()) } else { Err(ENOTTY) };
        assert_eq!(generation::can_change(&mounted.vol.layout), can);
        assert_eq!(generation::set_generation(&*node, 0xcafe), wanted);
        let now = if can { 0xcafe } else { before };
        assert_eq!(node.map_lock().generation, now);
        node.evict();
        mounted.unmount().unwrap();
        mounted.vol.store.save(image.path()).unwrap();
        image.fsck().unwrap();
        let said = image.debugfs(&["stat <2>"]);
        assert!(said.contains(&format!("Generation: {now} ")), "{said}");
    }
}
