// SPDX-License-Identifier: GPL-2.0

//! What the VFS calls, and what carries the core in the kernel.
//!
//! | file | what is in it |
//! |---|---|
//! | [`store`] | the core's blocks and transactions, as buffers and jbd2 handles |
//! | [`journal`] | finding and opening the journal |
//! | [`mounted`] | a mounted file system: up, read-only and back, freeze, sync, down |
//! | [`superblock`] | what is written to the super block, and when |
//! | [`orphan`] | inodes that a recovery has to look after |
//! | [`errors`] | what happens when an error is found |
//! | [`background`] | what runs beside the callers |

pub(crate) mod background;
pub(crate) mod errors;
pub(crate) mod journal;
pub(crate) mod mounted;
pub(crate) mod orphan;
pub(crate) mod store;
pub(crate) mod superblock;
