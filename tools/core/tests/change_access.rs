// SPDX-License-Identifier: GPL-2.0

//! What writes and changes of the size need, and what is shown of data that is on its way.

use iomapfs_core::change::access::{
    direct_way, folio_size, is_gap, seen, DirectWay, Seen, View, LARGEST_FOLIO,
};
use iomapfs_core::change::create::{create, tmpfile, What};
use iomapfs_core::change::link::link;
use iomapfs_core::change::publish::{is_due, is_shown, publish, WrittenData};
use iomapfs_core::change::resize::{cut, cut_behind, has_clean_end, tail, writes_first};
use iomapfs_core::change::Live;
use iomapfs_core::disk::{Ino, LogicalBlock};
use iomapfs_core::host::{new_attrs, HostStore, Image, Mkfs, Mounted, NewNode, Node};
use iomapfs_core::map::{Mapping, State};
use iomapfs_core::space::Share;
use iomapfs_core::store::Rule;
use kernel::error::{code::*, Result};
use std::rc::Rc;

const PAGE: u64 = 4096;

fn mount(image: &Image) -> Rc<Mounted> {
    let layout = image.layout(false).unwrap();
    let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
    Mounted::open(store, false).unwrap()
}

/// A new file of `size` bytes in memory, `disk_size` of them on disk.
fn file(mounted: &Rc<Mounted>, name: &[u8], size: u64, disk_size: u64) -> Rc<Node> {
    let root = Node::get(mounted, Ino::ROOT).unwrap();
    let newborn = NewNode::new(mounted, new_attrs(0o100_644, 1), 77);
    let node = create(&*root, name, newborn, What::Plain).map(|ready| ready.unlock());
    let node = node.unwrap();
    node.set_size(size);
    node.map_lock().disk_size = disk_size;
    node
}

fn no_lookup(_: LogicalBlock, _: u32) -> Result<Mapping> {
    panic!("nothing is to be looked up")
}

/// Old bytes that are read, zeros where there is data, blocks that swap writes to and are free on disk.
#[test]
fn views() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let store = &mount(&image).vol.store;
    let states = [
        State::Hole,
        State::Delayed,
        State::Pending,
        State::Unwritten,
        State::Written,
    ];
    use Seen::{Delayed, Hole, Mapped, Unwritten};
    let table = [
        (View::Read, [Hole, Delayed, Unwritten, Unwritten, Mapped]),
        (View::DirectRead, [Hole, Hole, Unwritten, Unwritten, Mapped]),
        (View::Swap, [Hole, Delayed, Delayed, Unwritten, Mapped]),
        (View::Write, [Hole, Delayed, Unwritten, Unwritten, Mapped]),
        (View::Memory, [Hole, Delayed, Mapped, Unwritten, Mapped]),
        (
            View::DirectWrite,
            [Hole, Delayed, Unwritten, Unwritten, Mapped],
        ),
    ];
    for (view, wanted) in table {
        let is = states.map(|state| seen(store, state, view));
        assert_eq!(is, wanted, "{view:?}");
    }
    for (rule, broken) in [
        (
            Rule::UnwrittenHidden,
            [true, true, false, false, false, false].as_slice(),
        ),
        (
            Rule::RestZeroed,
            [false, false, false, false, false, true].as_slice(),
        ),
    ] {
        store.set_broken(Some(rule));
        for ((view, _), broken) in table.iter().zip(broken) {
            let shown = seen(store, State::Unwritten, *view) == Mapped;
            assert_eq!(shown, *broken, "{rule:?} {view:?}");
        }
    }
}

/// Old bytes that come back when a file grows, and data that is zeroed; a size on disk that is ahead of the data.
#[test]
fn tails() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let vol = &mounted.vol;
    // By: the size before, the size then.
    let table = [
        (0, 5000, 0..5000),
        (1024, 2048, 1024..2048),
        (5000, 100, 100..1024),
        (5000, 1024, 1024..1024),
        (5000, 0, 0..0),
        (5000, 5000, 5000..5120),
        (5120, 5119, 5119..5120),
    ];
    for (old, new, wanted) in table {
        assert_eq!(tail(vol, old, new), wanted, "{old} {new}");
    }
    assert!(tail(vol, u64::MAX, u64::MAX - 1).is_empty());

    // By: the sizes on disk, in memory, then; whether anything had to become zero.
    let table = [
        (1000, 1000, 2000, false, false),
        (1000, 1000, 2000, true, true),
        (1000, 1500, 2000, false, true),
        (1000, 3000, 2000, false, true),
        (1000, 3000, 1000, true, false),
        (1000, 1000, 500, true, false),
    ];
    for (disk_size, old, new, zeroed, wanted) in table {
        let is = writes_first(disk_size, old, new, zeroed);
        assert_eq!(is, wanted, "{disk_size} {old} {new} {zeroed}");
    }
    vol.store.set_broken(Some(Rule::TailZeroed));
    assert!(tail(vol, 0, 5000).is_empty() && tail(vol, 5000, 100).is_empty());
}

/// A gap that is not zeroed, although it has data; one that is looked at again and again; a write at the end that goes
/// over blocks that were left behind it, whose old data comes to light when one of them is written.
#[test]
fn gaps() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    // By: the end of the file, the write; shared, clean. `None` where the end is not to be looked at.
    let table = [
        (8192, 8192..8193, false, Some(true), false),
        (8192, 8192..8193, false, Some(false), true),
        (8192, 8192..8193, true, Some(false), true),
        (8192, 8000..8192, true, None, false),
        (8192, 8000..9000, true, Some(true), false),
        (8192, 8000..9000, true, Some(false), true),
        (8192, 8193..9000, false, None, true),
        (8000, 9000..9001, true, None, true),
        (8192, 9000..9001, true, Some(true), false),
        (8192, 9000..9001, true, Some(false), true),
        // An end between blocks, within a page.
        (7168, 9000..9001, true, None, true),
        (7168, 7168..9000, true, Some(true), false),
    ];
    for (i, (size, write, shared, clean, wanted)) in table.into_iter().enumerate() {
        let node = file(&mounted, format!("{i}").as_bytes(), size, size);
        let look = |at: LogicalBlock, len: u32| {
            assert_eq!(u64::from(at.get()), size / 1024);
            let state = match clean.expect("the end is not looked at") {
                true => State::Unwritten,
                false => State::Written,
            };
            let found = node.map_lock().map.lookup(&mounted.vol, at, len)?;
            Ok(Mapping { state, ..found })
        };
        node.note_clean_end(false);
        let is = is_gap(&*node, size, &write, shared, PAGE, look).unwrap();
        assert_eq!(is, wanted, "{size} {write:?} {shared} {clean:?}");
        let known = clean == Some(true);
        assert_eq!(node.has_clean_end(), known, "{size} {write:?} {shared}");
        if known {
            assert!(has_clean_end(&*node, size, no_lookup).unwrap());
        }
    }
    let node = file(&mounted, b"bad", 8192, 8192);
    node.note_clean_end(false);
    let fails = |_: LogicalBlock, _: u32| Err(EAGAIN);
    let is = is_gap(&*node, 8192, &(9000..9001), true, PAGE, fails);
    assert_eq!(is.err(), Some(EAGAIN));
    mounted.vol.store.set_broken(Some(Rule::GapZeroed));
    let is = is_gap(&*node, 8000, &(9000..9001), false, PAGE, no_lookup);
    assert!(!is.unwrap());
}

/// Memory that is held for what is never written: by small files, at each place of a file with holes, by a stream that
/// is synchronised again and again.
#[test]
fn sizes_of_folios() {
    const KIB: u64 = 1024;
    // By: the sizes in memory and when the stream began; the write.
    let table = [
        ((0, 0), (0, 4096), 4096),
        ((4 * KIB, 0), (4 * KIB, 4096), 4096),
        ((16 * KIB, 0), (16 * KIB, 4096), 4096),
        ((32 * KIB, 0), (32 * KIB, 4096), 8192),
        ((100 * KIB, 0), (100 * KIB, 100), 25 << 10),
        ((1 << 30, 0), (1 << 30, 4096), LARGEST_FOLIO),
        // More is written at once.
        ((1 << 30, 0), (1 << 30, 1 << 20), 1 << 20),
        // Within the file, or behind a gap.
        ((1 << 30, 0), (1 << 20, 4096), 4096),
        ((1 << 30, 0), ((1 << 30) + 1, 4096), 4096),
        // Synchronised not long ago, or cut off since then.
        ((1 << 30, (1 << 30) - 4096), (1 << 30, 4096), 4096),
        ((1 << 20, 1 << 30), (1 << 20, 4096), 4096),
    ];
    for (sizes, (pos, len), wanted) in table {
        assert_eq!(folio_size(sizes, pos, len), wanted, "{sizes:?} {pos} {len}");
    }
}

/// Writes side by side of which one zeroes what the other has written; such as wait for each other without need.
#[test]
fn direct_ways() {
    use DirectWay::{Alone, OverData, Shared};
    // By: the block size; the sizes in memory and on disk; the write.
    let table = [
        (4096, (8192, 8192), (0, 4096), Shared),
        (4096, (8192, 8192), (4096, 8192), Shared),
        (4096, (8192, 8192), (8192, 12288), Shared),
        (4096, (8192, 8192), (0, 512), OverData),
        (4096, (8192, 8192), (512, 4096), OverData),
        (4096, (8192, 8192), (4608, 8192), Alone),
        (4096, (8192, 8192), (8192, 8704), Alone),
        (4096, (8000, 8000), (4096, 8192), Shared),
        (4096, (8192, 4096), (4096, 8192), Alone),
        (4096, (8192, 4096), (0, 4096), Shared),
        (4096, (8192, 4096), (8192, 12288), Shared),
        (1024, (8192, 8192), (8192, 9216), Shared),
        (1024, (9216, 9216), (9216, 10240), Alone),
        (1024, (9216, 9216), (8192, 9216), Shared),
        (1024, (9216, 9216), (0, 512), OverData),
    ];
    for (block, (size, disk_size), write, wanted) in table {
        let image = Mkfs::new(20 << 20, block).make();
        let mounted = mount(&image);
        let node = file(&mounted, b"file", size, disk_size);
        let is = direct_way(&*node, write, size, PAGE);
        assert_eq!(is, wanted, "{block} {size} {disk_size} {write:?}");
    }
}

/// Data that is never shown, because nobody was told that there is something to be done; data that is shown too early.
#[test]
fn shown_when_there() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let node = file(&mounted, b"file", 3000, 2000);
    let written = |end, unwritten| WrittenData {
        pos: 0,
        end,
        unwritten,
        direct: false,
    };
    let table = [
        (2000, false, false),
        (2001, false, true),
        (2000, true, true),
        (2001, true, true),
    ];
    for (end, unwritten, wanted) in table {
        let is = is_due(&*node, &written(end, unwritten));
        assert_eq!(is, wanted, "{end} {unwritten}");
    }

    let choose = |node: &Node| {
        let goal = node.goal(true);
        let map = &mut node.map_lock().map;
        let chosen = map.choose(&mounted.vol, LogicalBlock::new(0), 3, goal, Share::Common);
        assert_eq!(chosen.unwrap().len, 3);
    };
    let is = |node: &Node, end| is_shown(node, &written(end, true)).unwrap();
    choose(&node);
    assert!(!is(&node, 1000));
    publish(&*node, &mut None, &written(2048, true)).unwrap();
    assert!(is(&node, 2048) && !is(&node, 2049));
    publish(&*node, &mut None, &written(3000, true)).unwrap();
    assert!(is(&node, 3000) && !is(&node, 3001));
    assert!(!is_due(&*node, &written(3000, false)));

    let node = file(&mounted, b"early", 3000, 0);
    choose(&node);
    store.set_broken(Some(Rule::SizeAfterData));
    assert!(is_due(&*node, &written(3000, true)));
    assert_eq!(node.disk_size_hint(), 3000);
    assert!(!is(&node, 3000));
    store.set_broken(Some(Rule::MapAfterData));
    assert!(!is_due(&*node, &written(3000, true)));
    assert!(is(&node, 3000));
}

/// The size on disk that goes up before the data is there, because something is cut off behind the end.
#[test]
fn cut_behind_after_data() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let node = file(&mounted, b"dirty", 3000, 2000);
    let mut asked = None;
    let cut = cut_behind(&*node, 3000, |unwritten| {
        assert_eq!(node.disk_size_hint(), 2000);
        asked = Some(unwritten);
        Ok(())
    });
    cut.unwrap();
    assert_eq!(asked, Some(2000..3000));
    assert_eq!(node.disk_size_hint(), 3000);

    let fails = file(&mounted, b"fails", 3000, 2000);
    assert_eq!(cut_behind(&*fails, 3000, |_| Err(EIO)).err(), Some(EIO));
    assert_eq!(fails.disk_size_hint(), 2000);
    let all_there = file(&mounted, b"there", 3000, 3000);
    cut_behind(&*all_there, 3000, |_| panic!("there is nothing to write")).unwrap();
}

/// Blocks behind the end that nobody cuts off any more, as the inode got a name and was no orphan then; an inode that
/// stays an orphan when they are gone.
#[test]
fn orphan_until_whole() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let newborn = NewNode::new(&mounted, new_attrs(0o100_644, 1), 78);
    let node = tmpfile(&*root, newborn)
        .map(|ready| ready.unlock())
        .unwrap();
    node.set_size(3072);
    let goal = node.goal(true);
    let chosen = {
        let map = &mut node.map_lock().map;
        map.choose(&mounted.vol, LogicalBlock::new(0), 3, goal, Share::Common)
    };
    assert_eq!(chosen.unwrap().len, 3);
    let written = WrittenData {
        pos: 0,
        end: 3072,
        unwritten: true,
        direct: false,
    };
    publish(&*node, &mut None, &written).unwrap();
    // As a truncate leaves it that has failed.
    node.set_size(1024);
    node.map_lock().disk_size = 1024;
    node.note_clean_end(false);
    link(&*node, &*root, b"name").unwrap();
    assert!(mounted.orphans.contains(node.ino()));
    assert_eq!(node.links(), 1);
    cut(&*node, 1024).unwrap();
    assert!(!mounted.orphans.contains(node.ino()));
}
