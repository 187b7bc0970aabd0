// SPDX-License-Identifier: GPL-2.0

//! The stand-ins behave as the originals do: the core's tests would prove nothing otherwise.

use kernel::host::fail_allocation;
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed, Release};
use kernel::sync::{new_mutex, new_spinlock, Arc, Mutex, SpinLock};

/// Every kind of allocation fails when it is told to, once, and what was there stays.
#[test]
fn allocations_fail_when_told() {
    let mut vec = KVec::new();
    vec.push(1, GFP_KERNEL).unwrap();
    fail_allocation(Some(0));
    assert!(vec.extend_with(1000, 2, GFP_KERNEL).is_err());
    assert_eq!(vec.as_slice(), [1]);
    vec.extend_with(1000, 2, GFP_KERNEL).unwrap();
    fail_allocation(Some(1));
    assert!(KBox::new(1, GFP_KERNEL).is_ok());
    assert!(KBox::new(1, GFP_KERNEL).is_err());
    fail_allocation(Some(0));
    assert!(Arc::new(1, GFP_KERNEL).is_err());
    fail_allocation(Some(0));
    assert!(KBox::pin_init(new_mutex!(1), GFP_KERNEL).is_err());
    fail_allocation(Some(0));
    let mut tree = RBTree::default();
    assert_eq!(
        tree.try_create_and_insert(1, 1, GFP_KERNEL).err(),
        Some(ENOMEM)
    );
    assert_eq!(tree.get(&1), None);
    // No allocation, so nothing fails.
    fail_allocation(Some(0));
    vec.truncate(1);
    vec.push(3, GFP_KERNEL).unwrap();
    fail_allocation(None);
}

fn spinning(f: impl FnOnce()) {
    let lock: Pin<KBox<SpinLock<u32>>> = KBox::pin_init(new_spinlock!(1), GFP_KERNEL).unwrap();
    let _guard = lock.lock();
    f();
}

#[test]
fn under_a_spinning_lock() {
    spinning(|| drop(KBox::new(1, GFP_NOWAIT)));
    spinning(|| drop(KBox::new(1, GFP_ATOMIC)));
    // Over with the lock.
    drop(KBox::new(1, GFP_KERNEL));
}

#[test]
#[should_panic(expected = "sleeping call")]
fn allocation_under_a_spinning_lock() {
    spinning(|| drop(KBox::new(1, GFP_KERNEL)));
}

#[test]
#[should_panic(expected = "sleeping call")]
fn mutex_under_a_spinning_lock() {
    let mutex: Pin<KBox<Mutex<u32>>> = KBox::pin_init(new_mutex!(1), GFP_KERNEL).unwrap();
    spinning(|| drop(mutex.lock()));
}

#[test]
fn vectors() {
    let mut vec = KVec::from_elem(7u8, 3, GFP_KERNEL).unwrap();
    assert!(vec.remove(3).is_err());
    assert_eq!(vec.remove(0).unwrap(), 7);
    vec.resize(4, 1, GFP_KERNEL).unwrap();
    assert_eq!(vec.as_slice(), [7, 7, 1, 1]);
    vec.retain(|v| *v == 1);
    vec.extend_from_slice(&[2, 3], GFP_KERNEL).unwrap();
    assert_eq!(vec.pop(), Some(3));
    assert_eq!(vec.drain_all().count(), 3);
    let mut none: KVec<u32> = KVec::new();
    assert!(none.push_within_capacity(1).is_err());
    assert!(none.insert_within_capacity(0, 1).is_err());
    none.reserve(2, GFP_KERNEL).unwrap();
    none.insert_within_capacity(0, 1).unwrap();
    none.insert_within_capacity(0, 2).unwrap();
    assert!(none.insert_within_capacity(3, 1).is_err());
    assert_eq!(none.as_slice(), [2, 1]);
}

#[test]
fn errors_and_atomics() {
    assert_eq!(EUCLEAN.to_errno(), -117);
    assert_eq!(EFSBADCRC, EBADMSG);
    assert_eq!(Error::from_errno(-28), ENOSPC);
    assert_eq!(Error::from_errno(5), EINVAL);
    assert_eq!(format!("{EOPNOTSUPP:?}"), "EOPNOTSUPP");
    let n = Atomic::new(u32::MAX);
    assert_eq!(n.fetch_add(2, Relaxed), u32::MAX);
    assert_eq!(n.load(Acquire), 1);
    assert_eq!(n.cmpxchg(0, 5, Full), Err(1));
    assert_eq!(n.cmpxchg(1, 5, Release), Ok(1));
    assert_eq!(n.xchg(9, Full), 5);
}
