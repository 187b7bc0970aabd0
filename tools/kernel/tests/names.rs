// SPDX-License-Identifier: GPL-2.0

//! The stand-ins behave as the originals do: the core's tests would prove nothing otherwise.

use kernel::host::fail_allocation;
use kernel::prelude::*;
use kernel::rbtree::{Entry, RBTree, RBTreeNode, RBTreeNodeReservation};
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed, Release};
use kernel::sync::{new_mutex, new_spinlock, Arc, Mutex, SpinLock};
use std::collections::BTreeMap;

/// Random operations on the tree and on a map of the standard library.
#[test]
fn tree_is_an_ordered_map() {
    let mut tree = RBTree::new();
    let mut model = BTreeMap::new();
    let mut seed = 1u32;
    for i in 0..20_000u32 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = (seed >> 20) % 64;
        match (seed >> 8) % 8 {
            0 | 1 => {
                let old = tree.try_create_and_insert(key, i, GFP_KERNEL).unwrap();
                let old = old.map(|node| node.to_key_value().1);
                assert_eq!(old, model.insert(key, i));
            }
            2 => {
                let memory = RBTreeNodeReservation::new(GFP_KERNEL).unwrap();
                match tree.entry(key) {
                    Entry::Vacant(entry) => *entry.insert(0, memory) = i,
                    Entry::Occupied(mut entry) => *entry.get_mut() = i,
                }
                model.insert(key, i);
            }
            3 | 4 => assert_eq!(tree.remove(&key), model.remove(&key)),
            5 => {
                // A cursor that lost its node goes to the next larger, or else to the last.
                let Some(cursor) = tree.cursor_lower_bound_mut(&key) else {
                    assert_eq!(model.range(key..).next(), None);
                    continue;
                };
                let (at, _) = cursor.current();
                let at = *at;
                assert_eq!(Some(&at), model.range(key..).next().map(|(k, _)| k));
                let (cursor, node) = cursor.remove_current();
                assert_eq!(node.to_key_value().0, at);
                model.remove(&at);
                let next = model.range(at..).next().or(model.iter().next_back());
                assert_eq!(cursor.as_ref().map(|c| c.current()), next);
            }
            6 => {
                let Some(mut cursor) = tree.cursor_lower_bound_mut(&key) else {
                    continue;
                };
                let at = *cursor.current().0;
                let (prev, next) = (
                    model.range(..at).next_back().map(|(k, _)| *k),
                    model.range(at + 1..).next().map(|(k, _)| *k),
                );
                assert_eq!(cursor.peek_prev().map(|(k, _)| *k), prev);
                assert_eq!(cursor.peek_next().map(|(k, _)| *k), next);
                *cursor.current_mut().1 = i;
                model.insert(at, i);
                if i % 2 == 0 {
                    assert_eq!(cursor.remove_prev().map(|n| n.to_key_value().0), prev);
                    prev.map(|k| model.remove(&k));
                } else {
                    assert_eq!(cursor.remove_next().map(|n| n.to_key_value().0), next);
                    next.map(|k| model.remove(&k));
                }
                assert_eq!(*cursor.current().0, at);
            }
            _ => {
                assert_eq!(tree.get(&key), model.get(&key));
                let found = tree.cursor_lower_bound(&key);
                assert_eq!(
                    found.map(|c| *c.current().0),
                    model.range(key..).next().map(|(k, _)| *k)
                );
            }
        }
        assert!(tree.iter().eq(model.iter()));
        assert_eq!(
            tree.cursor_front().map(|c| *c.current().0),
            model.keys().next().copied()
        );
        assert_eq!(
            tree.cursor_back().map(|c| *c.current().0),
            model.keys().next_back().copied()
        );
    }
}

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
    assert!(RBTreeNode::new(1, 1, GFP_KERNEL).is_err());
    fail_allocation(Some(0));
    let mut tree = RBTree::new();
    assert_eq!(
        tree.try_create_and_insert(1, 1, GFP_KERNEL).err(),
        Some(ENOMEM)
    );
    assert!(tree.is_empty());
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
