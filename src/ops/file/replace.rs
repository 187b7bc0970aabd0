// SPDX-License-Identifier: GPL-2.0

//! Files that stand in for others: what `auto_da_alloc` asks for. The rules are in [`crate::change::replace`].

use crate::change::replace::write_first;
use crate::ops::Node;
use kernel::prelude::*;

/// What a file holds is to stand in for what was there before: for another file of the name that it gets, or for its
/// own content, which was cut off. Waits until the file shows it, so that a power cut finds the one or the other.
///
/// The caller holds no map lock, no handle and no locked folio.
///
/// # Errors
///
/// Those of writing it back.
pub(crate) fn write_before_replacing(node: &Node) -> Result {
    if node.is_regular() && node.super_block().data().writes_replacements_first() {
        write_first(node, |range| {
            node.write_and_wait(range.start, range.end.saturating_sub(1))
        })?;
    }
    Ok(())
}
