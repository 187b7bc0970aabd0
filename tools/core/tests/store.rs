// SPDX-License-Identifier: GPL-2.0

//! The store on the host keeps the journal's promises and holds its callers to theirs: the other tests lean on
//! this.

use iomapfs_core::disk::{BlockKind, Flaw, Format, PhysBlock};
use iomapfs_core::host::{HostStore, Mkfs, Restart};
use iomapfs_core::store::{Credits, Store, Transaction};
use kernel::error::code::*;

/// A block that begins with 0xab, and counts its changes in the second byte.
#[derive(Clone)]
struct Counted;

impl Format for Counted {
    const KIND: BlockKind = BlockKind::Symlink;

    fn verify(&self, _nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw> {
        (bytes[0] == 0xab).then_some(()).ok_or(Flaw::TooShort)
    }

    fn seal(&self, _nr: PhysBlock, bytes: &mut [u8]) {
        bytes[0] = 0xab;
        bytes[1] += 1;
    }
}

/// Blocks at the end of a small image, which are free.
const A: PhysBlock = PhysBlock::new(1000);
const B: PhysBlock = PhysBlock::new(1001);

fn store() -> HostStore {
    let image = Mkfs::new(1 << 20, 1024).features("^has_journal").make();
    HostStore::open(image.path(), 1024).unwrap()
}

fn create(store: &HostStore, nr: PhysBlock, value: u8) {
    let mut tx = store.begin(Credits::new(1, 0)).unwrap();
    tx.create(nr, Counted, |b| b[2] = value).unwrap();
}

#[test]
fn checks_once_and_reports() {
    let store = store();
    assert_eq!(store.read(A, Counted).err(), Some(EUCLEAN));
    assert_eq!(
        store.take_reports(),
        ["block 1000 (symbolic link): the structure does not fit into its block"]
    );
    assert!(store.read_cached(A, Counted).is_none());
    create(&store, A, 7);
    assert_eq!(store.read_cached(A, Counted).unwrap().with(|b| b[2]), 7);
    assert_eq!(
        store.read(PhysBlock::new(1024), Counted).err(),
        Some(EUCLEAN)
    );
}

#[test]
fn uncommitted_is_lost_and_committed_is_not() {
    let store = store();
    create(&store, A, 1);
    assert_eq!(store.recovered().read(1000)[2], 0);
    store.commit().unwrap();
    assert_eq!(store.recovered().read(1000)[2], 1);
    create(&store, A, 2);
    assert_eq!(store.recovered().read(1000)[2], 1);
    store.commit().unwrap();
    assert_eq!(store.recovered_to(1).read(1000)[2], 1);
    assert_eq!(store.recovered().read(1000)[2], 2);
    assert_eq!(store.read_data(A)[2], 0, "in place before the checkpoint");
    store.checkpoint();
    assert_eq!(store.read_data(A)[2], 2);
}

#[test]
fn revoked_block_is_not_replayed_over_data() {
    for revoke in [false, true] {
        let store = store();
        create(&store, A, 1);
        store.commit().unwrap();
        {
            let mut tx = store.begin(Credits::new(0, 1)).unwrap();
            if revoke {
                tx.forget(A).unwrap();
            }
        }
        store.commit().unwrap();
        store.write_data(A, &[9; 1024]);
        // Without the revoke the replay damages the data: this is how a missing one is found.
        assert_eq!(store.recovered().read(1000)[2], if revoke { 9 } else { 1 });
    }
}

#[test]
fn restart_commits_what_came_before() {
    let store = store();
    store.set_restart(Restart::Always);
    let mut tx = store.begin(Credits::new(1, 0)).unwrap();
    let first = tx.tid();
    tx.create(A, Counted, |b| b[2] = 1).unwrap();
    assert_eq!(tx.ensure(Credits::new(1, 0)), Ok(true));
    assert_ne!(tx.tid(), first);
    tx.create(B, Counted, |b| b[2] = 2).unwrap();
    drop(tx);
    assert_eq!(store.recovered().read(1000)[2], 1);
    assert_eq!(store.recovered().read(1001)[2], 0);
}

#[test]
#[should_panic(expected = "no credit left")]
fn one_block_too_many() {
    let store = store();
    let mut tx = store.begin(Credits::new(1, 0)).unwrap();
    let (a, ()) = tx.create(A, Counted, |_| ()).unwrap();
    tx.edit(&a, |b| b[2] = 1).unwrap();
    let _ = tx.create(B, Counted, |_| ());
}

#[test]
#[should_panic(expected = "no revoke credit left")]
fn one_revoke_too_many() {
    let store = store();
    let _ = store.begin(Credits::new(1, 0)).unwrap().forget(A);
}

#[test]
#[should_panic(expected = "a handle already")]
fn nested_handle() {
    let store = store();
    let _tx = store.begin(Credits::new(1, 0)).unwrap();
    let _ = store.begin(Credits::new(1, 0));
}

#[test]
#[should_panic(expected = "inside the lock of another block")]
fn nested_buffer_lock() {
    let store = store();
    create(&store, A, 1);
    create(&store, B, 1);
    let (a, b) = (store.read(A, Counted), store.read(B, Counted));
    a.unwrap().with(|_| b.unwrap().with(|_| ()));
}

#[test]
#[should_panic(expected = "sleeping call under a spinning lock")]
fn allocation_under_a_buffer_lock() {
    use kernel::prelude::*;
    let store = store();
    create(&store, A, 1);
    let a = store.read(A, Counted).unwrap();
    let _ = a.with(|_| KBox::new(1, GFP_KERNEL));
}

#[test]
fn faults() {
    let store = store();
    store.set_bad_block(A, true);
    assert_eq!(store.read(A, Counted).err(), Some(EIO));
    store.set_bad_block(A, false);
    create(&store, A, 1);
    store.abort();
    assert_eq!(store.begin(Credits::new(1, 0)).err(), Some(EROFS));
    assert_eq!(store.commit(), Err(EROFS));
    store.set_max_credits(10);
    assert_eq!(store.begin(Credits::new(11, 0)).err(), Some(EROFS));
}

#[test]
fn saved_image_is_read_by_others() {
    let image = Mkfs::new(1 << 20, 1024).features("^has_journal").make();
    assert_eq!(image.fsck(), Ok(()));
    let store = HostStore::open(image.path(), 1024).unwrap();
    create(&store, A, 3);
    store.save(image.path()).unwrap();
    let again = HostStore::open(image.path(), 1024).unwrap();
    assert_eq!(again.read(A, Counted).unwrap().with(|b| b[2]), 3);
    assert_eq!(image.fsck(), Ok(()));
}
