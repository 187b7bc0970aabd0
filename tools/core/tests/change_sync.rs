// SPDX-License-Identifier: GPL-2.0

//! What is done to make a change durable.

use iomapfs_core::change::publish::{publish, WrittenData};
use iomapfs_core::change::sync::{is_found, plan, transaction, Committed, SyncPlan};
use iomapfs_core::change::{create, write_attributes, InodePart, Live};
use iomapfs_core::disk::{Ino, LogicalBlock};
use iomapfs_core::host::{new_attrs, HostStore, Image, Mkfs, Mounted, NewNode, Node};
use iomapfs_core::space::Share;
use iomapfs_core::store::Rule;
use std::rc::Rc;

fn mount(image: &Image) -> Rc<Mounted> {
    let layout = image.layout(false).unwrap();
    let store = HostStore::open(image.path(), layout.block_size().bytes()).unwrap();
    Mounted::open(store, false).unwrap()
}

/// A flush that is left out, or made where a commit makes one.
#[test]
fn plans() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let store = &mount(&image).vol.store;
    // By: a commit is waited for; barriers; that commit is still to flush. Whether there is a flush.
    let table = [
        (true, false, false, false),
        (true, true, false, true),
        (true, true, true, false),
        (false, false, true, false),
        (false, true, true, true),
    ];
    for (commits, barrier, will_flush, flush) in table {
        let commit = commits.then_some(7);
        let is = plan(store, commit, barrier, |tid| {
            assert_eq!(tid, 7);
            will_flush
        });
        assert_eq!(
            is,
            SyncPlan { commit, flush },
            "{commits} {barrier} {will_flush}"
        );
    }
    store.set_broken(Some(Rule::FlushOnSync));
    assert!(!plan(store, None, true, |_| false).flush);
}

/// A sync that waits for the commit of something else than what was changed; data taken for durable that is not found.
#[test]
fn transactions() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let mounted = mount(&image);
    let store = &mounted.vol.store;
    let root = Node::get(&mounted, Ino::ROOT).unwrap();
    let newborn = NewNode::new(&mounted, new_attrs(0o100_644, 1), 77);
    let node = create::create(&*root, b"file", newborn, create::What::Plain);
    let node = node.map(|ready| ready.unlock()).unwrap();
    let made = store.commit().unwrap();
    assert_eq!(transaction(&*root, InodePart::Data), Some(made));

    let goal = node.goal(true);
    let (start, len) = (LogicalBlock::new(0), 2);
    let chosen = {
        let map = &mut node.map_lock().map;
        map.choose(&mounted.vol, start, len, goal, Share::Common)
    };
    assert_eq!(chosen.unwrap().len, len);
    let written = WrittenData {
        pos: 0,
        end: 1500,
        unwritten: true,
        direct: true,
    };
    assert!(!is_found(&*node, 1500, || Committed::All));
    publish(&*node, &mut None, &written).unwrap();
    let shown = store.commit().unwrap();
    write_attributes(&*node).unwrap();
    let changed = store.commit().unwrap();
    assert!(made != shown && shown != changed);
    assert_eq!(transaction(&*node, InodePart::Data), Some(shown));
    assert_eq!(transaction(&*node, InodePart::Attributes), Some(changed));

    // By: the end, the last transaction that has committed.
    let table = [
        (1500, Committed::UpTo(made), false),
        (1500, Committed::UpTo(shown), true),
        (1500, Committed::UpTo(changed), true),
        (1500, Committed::All, true),
        (1500, Committed::Unknown, false),
        (1501, Committed::UpTo(changed), false),
        (1501, Committed::All, false),
    ];
    for (end, committed, found) in table {
        let is = is_found(&*node, end, || committed);
        assert_eq!(is, found, "{end} {committed:?}");
    }

    store.set_broken(Some(Rule::CommitOnDsync));
    assert!(is_found(&*node, 1500, || Committed::UpTo(made)));
    assert!(!is_found(&*node, 1501, || Committed::UpTo(made)));
    store.set_broken(Some(Rule::CommitOnSync));
    assert_eq!(transaction(&*node, InodePart::Data), None);
    assert!(transaction(&*root, InodePart::Data).is_some());
    store.set_broken(Some(Rule::CommitOnDirSync));
    assert_eq!(transaction(&*root, InodePart::Data), None);
    assert!(transaction(&*node, InodePart::Data).is_some());
}
