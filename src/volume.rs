// SPDX-License-Identifier: GPL-2.0

//! A mounted file system as the core has it: what all its rooms share.
//!
//! # Locks
//!
//! None of its own: the layout never changes, the store and the space lock inside.

use crate::disk::Layout;
use crate::space::Space;
use crate::store::Store;

/// See the top of the file.
pub struct Volume<S: Store> {
    /// The metadata blocks and the journal.
    pub store: S,
    /// The geometry.
    pub layout: Layout,
    /// Which blocks and inodes are free.
    pub space: Space<S>,
}
