// SPDX-License-Identifier: GPL-2.0

//! Ordered map, as `kernel::rbtree`, as far as it is used.

use crate::alloc::{Flags, KBox};
use crate::error::Result;
use std::collections::BTreeMap;

/// An ordered map whose nodes are allocated one by one.
#[derive(Debug)]
pub struct RBTree<K, V>(BTreeMap<K, V>);

impl<K: Ord, V> Default for RBTree<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V> RBTree<K, V> {
    /// Allocates a node and inserts it; gives back what had the same key.
    #[track_caller]
    pub fn try_create_and_insert(&mut self, key: K, value: V, flags: Flags) -> Result<Option<V>> {
        drop(KBox::new((), flags)?);
        Ok(self.0.insert(key, value))
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// The value of `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// Takes the value of `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }
}
