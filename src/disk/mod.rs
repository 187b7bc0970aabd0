// SPDX-License-Identifier: GPL-2.0

//! The on-disk format: one file a structure, with its checks and checksum. No I/O, no locks.
//!
//! Tests: `tools/core/tests/{superblock,bitmap,disk_inode,orphan_xattr,change_xattr}.rs`, `tools/fuzz/src/parsers`.

pub mod acl;
pub mod bitmap;
pub mod bitmap_sum;
pub mod bytes;
pub mod checksum;
pub mod dirent;
pub mod dx;
pub mod extent;
pub mod fast_commit;
pub mod features;
mod file_type;
mod flaw;
mod format;
pub mod group_desc;
pub mod hash;
pub mod inode;
pub mod layout;
pub mod orphan;
pub mod quota;
pub mod superblock;
pub mod symlink;
mod types;
pub mod xattr;

pub use checksum::CsumSeed;
pub use file_type::FileType;
pub use flaw::Flaw;
pub use format::{Bare, BlockKind, Format};
pub use layout::Layout;
pub use types::{BlockSize, Group, Ino, LogicalBlock, PhysBlock};
