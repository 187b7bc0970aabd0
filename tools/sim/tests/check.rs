// SPDX-License-Identifier: GPL-2.0

//! The check in memory finds what no run with the core as it is would show.

use iomapfs_core::disk::Group;
use iomapfs_core::host::{Device, HostStore};
use iomapfs_core::volume::super_block::SuperBlock;
use iomapfs_sim::base::Base;
use iomapfs_sim::check::check;
use std::sync::Arc;

/// What the check says of a base with one thing changed.
fn flaws(base: &Base, change: impl FnOnce(&mut Device)) -> String {
    let mut device = Device::of_blocks(Arc::clone(&base.blocks));
    change(&mut device);
    check(&device, &base.fixed)
        .err()
        .unwrap_or_default()
        .join("; ")
}

fn change_block(device: &mut Device, nr: u64, f: impl FnOnce(&mut [u8])) {
    let mut bytes = device.read(nr).to_vec();
    f(&mut bytes);
    device.write(nr, bytes.as_slice().into());
}

#[test]
fn damages() {
    let bases = Base::all().unwrap();
    let base = |name: &str| bases.iter().find(|base| base.name == name).unwrap();
    let first = base("uninit_bg");
    assert_eq!(flaws(first, |_| ()), "");

    // BLOCK_UNINIT, where there are files.
    let (nr, offset) = first.fixed.layout.desc_location(Group::new(0));
    let said = flaws(first, |device| {
        change_block(device, nr.get(), |bytes| bytes[offset + 18] |= 2)
    });
    assert!(said.contains("counts for nothing"), "{said}");

    for (blocks, inodes) in [(1, 0), (0, 1)] {
        let said = flaws(first, |device| {
            let store = HostStore::new(device.clone());
            let super_block = SuperBlock::read(&store, &first.fixed.layout).unwrap();
            let done = super_block.change_past_journal(&store, |raw| {
                let blocks = u64::from(raw.free_blocks_count_lo.get()) + blocks;
                raw.set_free(blocks, raw.free_inodes_count.get() + inodes);
            });
            done.unwrap();
            *device = store.recovered();
        });
        assert!(said.contains("in the groups"), "{said}");
    }

    let with_file = base("orphan file");
    let nr = with_file.fixed.orphan_file[0];
    for back in [8, 4] {
        let said = flaws(with_file, |device| {
            change_block(device, nr, |bytes| bytes[bytes.len() - back] ^= 1);
        });
        assert!(said.contains("tail of block"), "{said}");
    }
}
