// SPDX-License-Identifier: GPL-2.0

//! The target of a symbolic link that is too long for the inode: a block of its own, which is metadata.
//!
//! The block has no checksum (Documentation/filesystems/ext4/ifork.rst).

use super::PhysBlock;
use crate::store::{Flaw, Format, Kind};

/// A block with the target of a link, which a zero ends.
#[derive(Clone, Copy)]
pub struct TargetFormat;

impl Format for TargetFormat {
    const KIND: Kind = Kind::Symlink;

    fn verify(&self, _nr: PhysBlock, _bytes: &[u8]) -> Result<(), Flaw> {
        Ok(())
    }

    fn seal(&self, _nr: PhysBlock, _bytes: &mut [u8]) {}
}
