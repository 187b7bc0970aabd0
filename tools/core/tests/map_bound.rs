// SPDX-License-Identifier: GPL-2.0

//! The orders of commits that need the most tree blocks, on a device where nothing is free but what is reserved; and
//! the longest extents.

mod map_common;

use iomapfs_core::disk::PhysBlock;
use iomapfs_core::host::{Image, Mkfs};
use iomapfs_core::map::State;
use iomapfs_core::space::{Claim, Goal, Run, Share};
use iomapfs_core::store::{Credits, Store};
use kernel::error::{code::*, Result};
use map_common::*;

/// Entries of a node in a block of 1 KiB.
const FULL: u32 = 84;
/// Where nothing is yet, between the extents of the leaf.
const GAP: u32 = 1000;

/// A file whose tree is a root above one leaf with `count` extents, half of them before [`GAP`].
fn one_leaf(count: u32) -> (Image, Vol, File) {
    let image = Mkfs::new(8 << 20, 1024).arg("-N").arg("32").make();
    let ino = make_files(&image, &["a"])[0];
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    for i in 0..count {
        let at = if i < FULL / 2 {
            4 * i
        } else {
            10 * GAP + 4 * i
        };
        file.allocate(&vol, at, 1).unwrap();
    }
    file.map().release_window(&vol);
    // Depth, and entries of the root.
    assert_eq!((file.map().depth(), file.map().root()[2]), (1, 1));
    (image, vol, file)
}

/// Takes all that is neither used nor reserved.
fn exhaust(vol: &Vol) -> Vec<Run> {
    commit_journal(vol);
    let mut taken = Vec::new();
    while let Ok(run) = vol
        .space
        .choose(&vol.store, goal(), 1000, Claim::Free(Share::All))
    {
        taken.push(run);
    }
    taken
}

/// Gives back what [`exhaust`] took, and looks whether all is in order.
#[track_caller]
fn finish(image: &Image, vol: &Vol, mut file: File, taken: Vec<Run>) {
    for run in taken {
        vol.space.unchoose(run);
    }
    file.check_tree(vol);
    assert_eq!(file.map().reserved(), (0, 0));
    let runs = file.runs(vol);
    assert!(runs.iter().all(|run| run.2 != State::Pending));
    file.map().evict(vol);
    save(vol, image);
    image.fsck().unwrap();
    assert_eq!(dump_extents(image, "a"), runs);
}

/// Would catch: a bound that counts on more than half a node per split, forgets the node that was full from the start,
/// or the one that the tree grows by. Not one block more is reserved than is used.
#[test]
fn many_in_one_place() {
    let (image, vol, mut file) = one_leaf(FULL);
    let got = file
        .map()
        .reserve(&vol, block(GAP), 200, Share::All)
        .unwrap()
        .mapping;
    assert_eq!(got.len, 200);
    let (_, reserved) = file.map().reserved();
    let before = file.map().sectors();
    let taken = exhaust(&vol);
    // No two neighbours in the file are neighbours on the device.
    for i in (0..200).step_by(2).chain((1..200).step_by(2)) {
        let at = block(GAP + i);
        file.map().choose(&vol, at, 1, goal(), Share::All).unwrap();
    }
    // Always behind the one before: in each leaf that is split, the half that takes the next is full again the soonest.
    for i in 0..200 {
        file.commit(&vol, GAP + i, 1).unwrap();
    }
    let used = (file.map().sectors() - before) / 2 - 200;
    assert_eq!(used, u64::from(reserved));
    finish(&image, &vol, file, taken);
}

/// A file has three extents in the root of its tree, and a block between them is chosen, for which there is room there.
/// `change` takes that room: the block needs a node then, on a device where nothing is free.
fn last_entry_of_the_root(change: impl FnOnce(&mut File, &Vol) -> Result) {
    let image = Mkfs::new(8 << 20, 1024).arg("-N").arg("32").make();
    let ino = make_files(&image, &["a"])[0];
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    for at in [0, 10, 20] {
        file.allocate(&vol, at, 5).unwrap();
    }
    let map = file.map();
    map.release_window(&vol);
    map.choose(&vol, block(7), 1, goal(), Share::All).unwrap();
    assert_eq!(map.reserved(), (0, 0));
    change(&mut file, &vol).unwrap();
    assert_eq!(file.map().reserved(), (0, 1));
    let taken = exhaust(&vol);
    file.inode.disk_size = 30 << 10;
    file.commit(&vol, 7, 1).unwrap();
    finish(&image, &vol, file, taken);
}

/// Would catch: a hole inside an extent takes the root's last entry, which a write that is on its way counts on.
#[test]
fn hole_takes_the_last_entry_of_the_root() {
    last_entry_of_the_root(|file, vol| file.remove(vol, 12, 13));
}

/// Would catch: what is inserted in the middle of an extent takes the root's last entry.
#[test]
fn split_takes_the_last_entry_of_the_root() {
    last_entry_of_the_root(|file, vol| file.insert(vol, 12, 4));
}

/// Would catch: a bound that counts one new extent for each block of an unwritten extent that is written: it makes two.
#[test]
fn written_inside_unwritten() {
    let (image, vol, mut file) = one_leaf(FULL - 1);
    let got = file.preallocate(&vol, GAP, 400).unwrap();
    assert_eq!((got.state, got.len), (State::Unwritten, 400));
    let odd = || (GAP + 1..GAP + 400).step_by(2);
    for at in odd() {
        file.map()
            .choose(&vol, block(at), 1, goal(), Share::All)
            .unwrap();
    }
    let taken = exhaust(&vol);
    for at in odd() {
        file.commit(&vol, at, 1).unwrap();
    }
    file.inode.disk_size = 20_000 << 10;
    finish(&image, &vol, file, taken);
}

/// Would catch: blocks that were chosen for data become unwritten ones of the file, and only then it turns out that
/// there is no node for their conversion.
#[test]
fn chosen_then_preallocated() {
    let (image, vol, mut file) = one_leaf(FULL - 1);
    // As an extent they need a node at most, as 41 extents in an unwritten one two.
    let got = file.map().choose(&vol, block(GAP), 41, goal(), Share::All);
    assert_eq!(got.unwrap().len, 41);
    assert_eq!(file.map().reserved(), (0, 1));
    let mut taken = exhaust(&vol);
    let (seq, sectors) = (file.map().snapshot().seq(), file.map().sectors());
    assert_eq!(file.preallocate(&vol, GAP, 41).map(drop), Err(ENOSPC));
    let map = file.map();
    let state = map.lookup(&vol, block(GAP), 41).unwrap().state;
    assert_eq!(
        (map.snapshot().seq(), map.sectors(), map.reserved()),
        (seq, sectors, (0, 1))
    );
    assert_eq!(state, State::Pending);
    vol.space.unchoose(taken.pop().unwrap());
    file.preallocate(&vol, GAP, 41).unwrap();
    taken.extend(exhaust(&vol));
    for i in (0..41).step_by(2).chain((1..41).step_by(2)) {
        file.commit(&vol, GAP + i, 1).unwrap();
    }
    file.inode.disk_size = 20_000 << 10;
    finish(&image, &vol, file, taken);
}

/// Two extents that continue each other, the last of a full leaf and the first of the next, which is full too.
///
/// Would catch: a conversion that takes them for one extent, and says that the tree is damaged; a bound that counts one
/// leaf for what is written over the border.
#[test]
fn written_over_two_leaves() {
    for at_once in [false, true] {
        let (image, vol, mut file) = one_leaf(FULL - 1);
        let make = |file: &mut File, at, near| {
            let got = file.preallocate_near(&vol, at, 10, Some(near)).unwrap();
            assert_eq!((got.len, got.phys.map(|phys| phys.get())), (10, Some(near)));
        };
        make(&mut file, GAP + 10, 5010);
        // The first one more splits the leaf, so that the upper half begins with what was just made.
        for i in 0..FULL / 2 - 1 {
            file.allocate(&vol, 4 * i + 2, 1).unwrap();
            if i == 0 {
                make(&mut file, GAP, 5000);
            }
        }
        for i in 0..FULL / 2 {
            file.allocate(&vol, 20 * GAP + 2 * i, 1).unwrap();
        }
        file.map().release_window(&vol);
        assert_eq!((file.map().depth(), file.map().root()[2]), (1, 2));
        assert_eq!(file.map().sectors() / 2, 2 + 83 + 20 + 41 + 42);
        assert_eq!(file.lookup(&vol, GAP + 10, 10).len, 10);
        assert_eq!(file.lookup(&vol, GAP, 100).len, 20);

        let (from, len) = (GAP + 5, 10);
        let got = file
            .map()
            .choose(&vol, block(from), len, goal(), Share::All);
        assert_eq!(got.unwrap().len, len);
        let taken = exhaust(&vol);
        if !at_once {
            // In the middle of both: each leaf is split.
            for at in [from + 1, from + 8, from + 3, from + 6] {
                file.commit(&vol, at, 1).unwrap();
            }
        }
        file.commit(&vol, from, len).unwrap();
        file.inode.disk_size = u64::from(100 * GAP) << 10;
        finish(&image, &vol, file, taken);
    }
}

/// Would catch: a conversion that nobody has announced, and that takes a tree block which is reserved for others.
#[test]
fn unannounced_conversion() {
    let (image, vol, mut file) = one_leaf(FULL - 1);
    file.preallocate(&vol, GAP, 3).unwrap();
    // The first of these splits the leaf, then both leaves are filled.
    let lower = (0..FULL / 2).map(|i| 4 * i + 2);
    let upper = (0..FULL / 2).map(|i| 20 * GAP + 2 * i);
    for at in lower.chain(upper) {
        file.allocate(&vol, at, 1).unwrap();
    }
    assert_eq!((file.map().depth(), file.map().root()[2]), (1, 2));
    file.map().release_window(&vol);
    file.map()
        .choose(&vol, block(1), 1, goal(), Share::All)
        .unwrap();
    let taken = exhaust(&vol);
    assert_eq!(file.commit(&vol, GAP + 1, 1), Err(ENOSPC));
    file.commit(&vol, 1, 1).unwrap();
    finish(&image, &vol, file, taken);
}

/// Would catch: a full leaf that is left behind at the end of the file when nothing is reserved for splitting it later.
#[test]
fn full_leaf_left_behind() {
    let (image, vol, mut file) = one_leaf(FULL);
    let ats = [20 * GAP, 1, 5, 9];
    for at in ats {
        file.map().reserve(&vol, block(at), 1, Share::All).unwrap();
    }
    let taken = exhaust(&vol);
    for at in ats {
        file.map()
            .choose(&vol, block(at), 1, goal(), Share::All)
            .unwrap();
        file.commit(&vol, at, 1).unwrap();
    }
    finish(&image, &vol, file, taken);
}

/// Would catch: extents that are longer than the format allows, which for unwritten ones is one less; runs that are cut
/// without need.
#[test]
fn longest_extents() {
    // Nothing of the file system's own lies in the groups from the second on.
    let image = Mkfs::new(512 << 20, 4096)
        .features("sparse_super2,^resize_inode")
        .arg("-E")
        .arg("num_backup_sb=0")
        .arg("-N")
        .arg("32")
        .make();
    let inos = make_files(&image, &["a", "b"]);
    let vol = mount(&image);
    let mut a = File::open(&vol, inos[0]);
    let mut at = 0;
    while at < 50_000 {
        let goal = Goal {
            near: Some(PhysBlock::new(u64::from(40_000 + at))),
            ..goal()
        };
        let got = a
            .map()
            .choose(&vol, block(at), 50_000 - at, goal, Share::All);
        at += got.unwrap().len;
    }
    assert_eq!(a.lookup(&vol, 0, u32::MAX).len, 50_000);
    a.commit(&vol, 0, 50_000).unwrap();
    a.check_tree(&vol);
    assert_eq!(a.map().root()[2], 2);
    assert_eq!(a.runs(&vol), [(0, 50_000, State::Written, Some(40_000))]);

    let mut b = File::open(&vol, inos[1]);
    let mut at = 0;
    while at < 32_768 {
        let near = Some(3 * 32_768 + u64::from(at));
        at += b.preallocate_near(&vol, at, 32_768 - at, near).unwrap().len;
    }
    b.check_tree(&vol);
    assert_eq!(
        b.runs(&vol),
        [(0, 32_768, State::Unwritten, Some(3 * 32_768))]
    );
    // 32767 and one.
    assert_eq!(b.map().root()[2], 2);
    b.map()
        .choose(&vol, block(0), u32::MAX, goal(), Share::All)
        .unwrap();
    b.commit(&vol, 0, 32_768).unwrap();
    b.check_tree(&vol);
    // Written they are one.
    assert_eq!(b.map().root()[2], 1);
    for file in [&mut a, &mut b] {
        let mut tx = vol.store.begin(Credits::new(2, 0)).unwrap();
        file.inode.write(&vol, &mut tx, &file.attrs).unwrap();
    }
    save(&vol, &image);
    image.fsck().unwrap();
    assert_eq!(dump_extents(&image, "a"), a.runs(&vol));
    assert_eq!(dump_extents(&image, "b"), b.runs(&vol));
}
