// SPDX-License-Identifier: GPL-2.0

//! The on-disk format: one file a structure, with its checks and checksum. No I/O, no locks.

mod types;

pub use types::{BlockSize, Group, Ino, LogicalBlock, PhysBlock};
