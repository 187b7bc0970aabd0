// SPDX-License-Identifier: GPL-2.0

//! File maps on images made by `mke2fs`, judged by `e2fsck` and `debugfs`.

mod map_common;

use iomapfs_core::host::{Image, Mkfs};
use iomapfs_core::map::State;
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
    let m = file.map().reserve(&vol, block(0), 10, false).unwrap();
    assert_eq!((m.state, m.len), (State::Delayed, 10));
    let m = file
        .map()
        .choose(&vol, block(0), 10, goal(), false)
        .unwrap();
    assert_eq!((m.state, m.len), (State::Pending, 10));
    file.commit(&vol, 0, 10).unwrap();
    assert_eq!(file.lookup(&vol, 3, 100).state, State::Written);
    assert_eq!(file.lookup(&vol, 3, 100).len, 7);
    file.preallocate(&vol, 20, 10).unwrap();
    file.map()
        .choose(&vol, block(23), 2, goal(), false)
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
