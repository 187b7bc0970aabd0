// SPDX-License-Identifier: GPL-2.0

//! The target of a symbolic link that is too long for the inode: a block of its own, which is metadata.
//!
//! The block has no checksum (Documentation/filesystems/ext4/ifork.rst).

use super::Flaw;
use crate::disk::{Bare, BlockKind};

/// A block with the target of a link.
#[derive(Clone, Copy)]
pub struct TargetFormat;

/// The target in `bytes`, for a link whose inode has this `size`; the last of it is not a zero, but one follows.
pub fn target(bytes: &[u8], size: u64) -> Result<&[u8], Flaw> {
    let len = usize::try_from(size).ok();
    len.and_then(|len| bytes.get(..len))
        .filter(|target| !target.contains(&0))
        .ok_or(Flaw::SymlinkTarget { size })
}

impl Bare for TargetFormat {
    const KIND: BlockKind = BlockKind::Symlink;
}
