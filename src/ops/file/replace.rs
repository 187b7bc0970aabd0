// SPDX-License-Identifier: GPL-2.0

//! Files that stand in for others.

use crate::ops::Node;

/// What a file holds is to stand in for what was there before: for another file of the name that it gets, or for its
/// own content, which was cut off. Starts to write it back, so that a crash finds neither the one nor the other only if
/// it comes before that has ended. This is for programs that do not call `fsync`; ext4 calls it `auto_da_alloc`.
///
/// The caller holds no map lock, no handle and no locked folio.
pub(crate) fn start_replacing(node: &Node) {
    if node.is_regular() && node.super_block().data().writes_replacements_early() {
        // What fails is told at the next sync.
        node.start_writing();
    }
}
