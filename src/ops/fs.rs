// SPDX-License-Identifier: GPL-2.0

//! The type that stands for this file system in the types of `linux`, and those types with it.
//!
//! A file of its own that knows nothing of the room, as all of the room know it. Its callbacks are in
//! [`mount::table`](super::mount::table).

use crate::linux::{inode, super_block};

/// The filesystem type.
pub(crate) struct Fs;

/// A super block of ours.
pub(crate) type SuperBlock = super_block::SuperBlock<Fs>;
/// An inode of ours.
pub(crate) type Node = inode::INode<Fs>;
