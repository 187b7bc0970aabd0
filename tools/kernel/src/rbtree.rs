// SPDX-License-Identifier: GPL-2.0

//! Ordered map, as `kernel::rbtree`.
//!
//! A sorted array of pointers: cursors are then plain indices. Insertion costs a move of the array's tail,
//! which no host program notices.

use crate::alloc::{Flags, KBox};
use crate::error::Result;
use core::marker::PhantomData;

/// An ordered map whose nodes are allocated one by one, if need be before they are inserted.
#[derive(Debug)]
pub struct RBTree<K, V> {
    nodes: Vec<RBTreeNode<K, V>>,
}

/// A node: a key and a value in memory of their own.
#[derive(Debug)]
pub struct RBTreeNode<K, V>(KBox<(K, V)>);

/// Memory for a node.
#[derive(Debug)]
pub struct RBTreeNodeReservation<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> RBTreeNodeReservation<K, V> {
    /// Allocates.
    #[track_caller]
    pub fn new(flags: Flags) -> Result<Self> {
        drop(KBox::new((), flags)?);
        Ok(Self(PhantomData))
    }

    /// Makes it a node.
    pub fn into_node(self, key: K, value: V) -> RBTreeNode<K, V> {
        RBTreeNode::unlimited(key, value)
    }
}

impl<K, V> RBTreeNode<K, V> {
    /// Allocates a node.
    #[track_caller]
    pub fn new(key: K, value: V, flags: Flags) -> Result<Self> {
        Ok(RBTreeNodeReservation::new(flags)?.into_node(key, value))
    }

    /// The memory was accounted for when the reservation was made.
    fn unlimited(key: K, value: V) -> Self {
        Self(KBox::infallible((key, value)))
    }

    /// Takes it apart.
    pub fn to_key_value(self) -> (K, V) {
        KBox::into_inner(self.0)
    }

    /// Keeps the memory for another node.
    pub fn into_reservation(self) -> RBTreeNodeReservation<K, V> {
        drop(self);
        RBTreeNodeReservation(PhantomData)
    }

    fn pair(&self) -> (&K, &V) {
        (&self.0 .0, &self.0 .1)
    }

    fn pair_mut(&mut self) -> (&K, &mut V) {
        let pair = &mut *self.0;
        (&pair.0, &mut pair.1)
    }
}

impl<K, V> Default for RBTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> RBTree<K, V> {
    /// An empty tree.
    pub fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes.iter().map(RBTreeNode::pair)
    }

    /// The pairs in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.nodes.iter_mut().map(RBTreeNode::pair_mut)
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(k, _)| k)
    }

    /// The values in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, v)| v)
    }

    /// The values in order of their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, v)| v)
    }

    /// At the smallest key.
    pub fn cursor_front(&self) -> Option<Cursor<'_, K, V>> {
        self.cursor(0)
    }

    /// At the smallest key.
    pub fn cursor_front_mut(&mut self) -> Option<CursorMut<'_, K, V>> {
        self.cursor_mut(0)
    }

    /// At the largest key.
    pub fn cursor_back(&self) -> Option<Cursor<'_, K, V>> {
        self.cursor(self.nodes.len().checked_sub(1)?)
    }

    /// At the largest key.
    pub fn cursor_back_mut(&mut self) -> Option<CursorMut<'_, K, V>> {
        self.cursor_mut(self.nodes.len().checked_sub(1)?)
    }

    fn cursor(&self, at: usize) -> Option<Cursor<'_, K, V>> {
        (at < self.nodes.len()).then_some(Cursor { tree: self, at })
    }

    fn cursor_mut(&mut self, at: usize) -> Option<CursorMut<'_, K, V>> {
        (at < self.nodes.len()).then_some(CursorMut { tree: self, at })
    }
}

impl<K: Ord, V> RBTree<K, V> {
    fn find(&self, key: &K) -> core::result::Result<usize, usize> {
        self.nodes.binary_search_by(|n| n.0 .0.cmp(key))
    }

    /// Allocates a node and inserts it; gives back the one with the same key.
    #[track_caller]
    pub fn try_create_and_insert(
        &mut self,
        key: K,
        value: V,
        flags: Flags,
    ) -> Result<Option<RBTreeNode<K, V>>> {
        Ok(self.insert(RBTreeNode::new(key, value, flags)?))
    }

    /// Inserts a node; gives back the one with the same key.
    pub fn insert(&mut self, node: RBTreeNode<K, V>) -> Option<RBTreeNode<K, V>> {
        match self.find(&node.0 .0) {
            Ok(at) => Some(core::mem::replace(&mut self.nodes[at], node)),
            Err(at) => {
                self.nodes.insert(at, node);
                None
            }
        }
    }

    /// The place of `key`.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        match self.find(&key) {
            Ok(at) => Entry::Occupied(OccupiedEntry { tree: self, at }),
            Err(at) => Entry::Vacant(VacantEntry {
                tree: self,
                at,
                key,
            }),
        }
    }

    /// The entry of `key`.
    pub fn find_mut(&mut self, key: &K) -> Option<OccupiedEntry<'_, K, V>> {
        let at = self.find(key).ok()?;
        Some(OccupiedEntry { tree: self, at })
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|at| &self.nodes[at].0 .1)
    }

    /// The value of `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.nodes[at].0 .1)
    }

    /// Takes the node of `key`.
    pub fn remove_node(&mut self, key: &K) -> Option<RBTreeNode<K, V>> {
        self.find(key).ok().map(|at| self.nodes.remove(at))
    }

    /// Takes the value of `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_node(key).map(|n| n.to_key_value().1)
    }

    /// At `key`, or else the first larger one.
    pub fn cursor_lower_bound(&self, key: &K) -> Option<Cursor<'_, K, V>> {
        let at = self.find(key).unwrap_or_else(|at| at);
        self.cursor(at)
    }

    /// At `key`, or else the first larger one.
    pub fn cursor_lower_bound_mut(&mut self, key: &K) -> Option<CursorMut<'_, K, V>> {
        let at = self.find(key).unwrap_or_else(|at| at);
        self.cursor_mut(at)
    }
}

/// A place in a tree.
pub struct Cursor<'a, K, V> {
    tree: &'a RBTree<K, V>,
    at: usize,
}

impl<K, V> Clone for Cursor<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            tree: self.tree,
            at: self.at,
        }
    }
}

impl<K, V> Cursor<'_, K, V> {
    /// The pair here.
    pub fn current(&self) -> (&K, &V) {
        self.tree.nodes[self.at].pair()
    }

    /// To the smaller neighbour.
    pub fn move_prev(self) -> Option<Self> {
        self.tree.cursor(self.at.checked_sub(1)?)
    }

    /// To the larger neighbour.
    pub fn move_next(self) -> Option<Self> {
        self.tree.cursor(self.at + 1)
    }

    /// The smaller neighbour.
    pub fn peek_prev(&self) -> Option<(&K, &V)> {
        self.tree
            .nodes
            .get(self.at.checked_sub(1)?)
            .map(RBTreeNode::pair)
    }

    /// The larger neighbour.
    pub fn peek_next(&self) -> Option<(&K, &V)> {
        self.tree.nodes.get(self.at + 1).map(RBTreeNode::pair)
    }
}

/// A place in a tree that may be changed.
pub struct CursorMut<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    at: usize,
}

impl<'a, K, V> CursorMut<'a, K, V> {
    /// The pair here.
    pub fn current(&self) -> (&K, &V) {
        self.tree.nodes[self.at].pair()
    }

    /// The pair here.
    pub fn current_mut(&mut self) -> (&K, &mut V) {
        self.tree.nodes[self.at].pair_mut()
    }

    /// Takes the node here; the cursor goes to the larger neighbour, else the smaller.
    pub fn remove_current(self) -> (Option<Self>, RBTreeNode<K, V>) {
        let node = self.tree.nodes.remove(self.at);
        let at = self.at.min(self.tree.nodes.len().saturating_sub(1));
        (self.tree.cursor_mut(at), node)
    }

    /// Takes the smaller neighbour.
    pub fn remove_prev(&mut self) -> Option<RBTreeNode<K, V>> {
        self.at = self.at.checked_sub(1)?;
        Some(self.tree.nodes.remove(self.at))
    }

    /// Takes the larger neighbour.
    pub fn remove_next(&mut self) -> Option<RBTreeNode<K, V>> {
        (self.at + 1 < self.tree.nodes.len()).then(|| self.tree.nodes.remove(self.at + 1))
    }

    /// To the smaller neighbour.
    pub fn move_prev(self) -> Option<Self> {
        let at = self.at.checked_sub(1)?;
        self.tree.cursor_mut(at)
    }

    /// To the larger neighbour.
    pub fn move_next(self) -> Option<Self> {
        self.tree.cursor_mut(self.at + 1)
    }

    /// The smaller neighbour.
    pub fn peek_prev(&self) -> Option<(&K, &V)> {
        self.tree
            .nodes
            .get(self.at.checked_sub(1)?)
            .map(RBTreeNode::pair)
    }

    /// The larger neighbour.
    pub fn peek_next(&self) -> Option<(&K, &V)> {
        self.tree.nodes.get(self.at + 1).map(RBTreeNode::pair)
    }

    /// The smaller neighbour.
    pub fn peek_prev_mut(&mut self) -> Option<(&K, &mut V)> {
        let at = self.at.checked_sub(1)?;
        self.tree.nodes.get_mut(at).map(RBTreeNode::pair_mut)
    }

    /// The larger neighbour.
    pub fn peek_next_mut(&mut self) -> Option<(&K, &mut V)> {
        self.tree
            .nodes
            .get_mut(self.at + 1)
            .map(RBTreeNode::pair_mut)
    }
}

/// The place of a key.
pub enum Entry<'a, K, V> {
    /// There is none yet.
    Vacant(VacantEntry<'a, K, V>),
    /// There is one.
    Occupied(OccupiedEntry<'a, K, V>),
}

/// Where a node would go.
pub struct VacantEntry<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    at: usize,
    key: K,
}

impl<'a, K, V> VacantEntry<'a, K, V> {
    /// Inserts.
    pub fn insert(self, value: V, reservation: RBTreeNodeReservation<K, V>) -> &'a mut V {
        self.tree
            .nodes
            .insert(self.at, reservation.into_node(self.key, value));
        &mut self.tree.nodes[self.at].0 .1
    }
}

/// Where a node is.
pub struct OccupiedEntry<'a, K, V> {
    tree: &'a mut RBTree<K, V>,
    at: usize,
}

impl<'a, K, V> OccupiedEntry<'a, K, V> {
    /// The value.
    pub fn get(&self) -> &V {
        &self.tree.nodes[self.at].0 .1
    }

    /// The value.
    pub fn get_mut(&mut self) -> &mut V {
        &mut self.tree.nodes[self.at].0 .1
    }

    /// The value.
    pub fn into_mut(self) -> &'a mut V {
        &mut self.tree.nodes[self.at].0 .1
    }

    /// Takes the node.
    pub fn remove_node(self) -> RBTreeNode<K, V> {
        self.tree.nodes.remove(self.at)
    }

    /// Takes the value.
    pub fn remove(self) -> V {
        self.remove_node().to_key_value().1
    }
}
