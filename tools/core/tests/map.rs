// SPDX-License-Identifier: GPL-2.0

//! File maps on images made by `mke2fs`, judged by `e2fsck` and `debugfs`.

mod map_common;

use iomapfs_core::host::{Image, Mkfs};
use iomapfs_core::map::{Mapping, State};
use iomapfs_core::space::Share;
use kernel::error::code::*;
use map_common::*;

fn image(block_size: u32) -> Image {
    Mkfs::new(64 << 20, block_size).make()
}

#[test]
fn first_steps() {
    let image = image(1024);
    let ino = make_files(&image, &["f"])[0];
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    assert_eq!(file.lookup(&vol, 0, 10).state, State::Hole);
    let m = file
        .map()
        .reserve(&vol, block(0), 10, Share::Common)
        .unwrap()
        .mapping;
    assert_eq!((m.state, m.len), (State::Delayed, 10));
    let m = file
        .map()
        .choose(&vol, block(0), 10, goal(), Share::Common)
        .unwrap();
    assert_eq!((m.state, m.len), (State::Pending, 10));
    file.commit(&vol, 0, 10).unwrap();
    assert_eq!(file.lookup(&vol, 3, 100).state, State::Written);
    assert_eq!(file.lookup(&vol, 3, 100).len, 7);
    file.preallocate(&vol, 20, 10).unwrap();
    file.map()
        .choose(&vol, block(23), 2, goal(), Share::Common)
        .unwrap();
    file.commit(&vol, 23, 2).unwrap();
    let runs = file.runs(&vol);
    file.map().evict(&vol);
    save(&vol, &image);
    image.fsck().unwrap();
    assert_eq!(dump_extents(&image, "f"), runs);
    file.remove(&vol, 5, u32::MAX).unwrap();
    file.inode.disk_size = 5 * 1024;
    file.remove(&vol, 2, 3).unwrap();
    let runs = file.runs(&vol);
    save(&vol, &image);
    image.fsck().unwrap();
    assert_eq!(dump_extents(&image, "f"), runs);
}

/// Would catch: a choice for somebody who must not wait that reads from the device, or that differs from the one that
/// may wait.
#[test]
fn chooses_without_waiting_what_it_would_have_chosen() {
    let image = image(1024);
    let ino = make_files(&image, &["f"])[0];
    let chosen = |wait: bool| -> Vec<Mapping> {
        let vol = mount(&image);
        let mut file = File::open(&vol, ino);
        file.lookup(&vol, 0, 1);
        let mut choose = |at: u32| -> Mapping {
            let map = file.map();
            if wait {
                map.choose(&vol, block(at), 2, goal(), Share::Common)
                    .unwrap()
            } else {
                map.choose_now(&vol, block(at), 2, goal(), Share::Common)
                    .unwrap()
            }
        };
        // The bitmap of the group is read here. (What is written in order would begin in another one.)
        vol.space
            .choose(
                &vol.store,
                goal(),
                1,
                iomapfs_core::space::Claim::Free(Share::Common),
            )
            .unwrap();
        [0, 10, 4, 100, 50, 110].map(&mut choose).to_vec()
    };
    assert_eq!(chosen(false), chosen(true));

    // Neither the bitmap nor, with many extents and nothing in memory, the tree is read.
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    let map = file.map();
    assert_eq!(
        map.choose_now(&vol, block(0), 1, goal(), Share::Common),
        Err(EAGAIN)
    );
    assert_eq!(map.reserved(), (0, 0));
    for at in (0..40).step_by(2) {
        file.map()
            .choose(&vol, block(at), 1, goal(), Share::Common)
            .unwrap();
        file.commit(&vol, at, 1).unwrap();
    }
    assert!(file.map().depth() > 0);
    file.map().shrink(usize::MAX);
    vol.store.commit().unwrap();
    vol.store.checkpoint();
    vol.store.drop_cache();
    let map = file.map();
    assert_eq!(
        map.choose_now(&vol, block(41), 1, goal(), Share::Common),
        Err(EAGAIN)
    );
    map.lookup(&vol, block(41), 1).unwrap();
    vol.store.drop_cache();
    // The hole is known, but not what comes before it in the file.
    assert_eq!(
        map.choose_now(&vol, block(45), 1, goal(), Share::Common),
        Err(EAGAIN)
    );
    assert_eq!(map.reserved(), (0, 0));
    map.choose(&vol, block(45), 1, goal(), Share::Common)
        .unwrap();
    assert_eq!(
        map.choose_now(&vol, block(60), 1, goal(), Share::Common)
            .unwrap()
            .state,
        State::Pending
    );
    map.evict(&vol);
    save(&vol, &image);
    image.fsck().unwrap();
}

/// Would catch: a tree that stays higher than it has to be when entries went away, cut off or joined to one.
#[test]
fn a_tree_becomes_lower() {
    let image = image(1024);
    let ino = make_files(&image, &["f"])[0];
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    file.allocate(&vol, 0, 60).unwrap();
    for at in (1..60).step_by(2) {
        file.remove(&vol, at, at + 1).unwrap();
    }
    assert_eq!(file.map().depth(), 1);
    file.remove(&vol, 8, u32::MAX).unwrap();
    // The credits of one removal may be used up before.
    file.remove(&vol, 8, u32::MAX).unwrap();
    assert_eq!((file.map().depth(), file.map().root()[2]), (0, 4));

    let mut file = File::open(&vol, ino);
    file.remove(&vol, 0, u32::MAX).unwrap();
    file.preallocate(&vol, 0, 60).unwrap();
    for from in [0, 1] {
        for at in (from..60).step_by(2) {
            file.map()
                .choose(&vol, block(at), 1, goal(), Share::Common)
                .unwrap();
            file.commit(&vol, at, 1).unwrap();
        }
        assert_eq!(file.map().depth(), 1 - from as u16);
    }
    assert_eq!(file.map().root()[2], 1);
}
