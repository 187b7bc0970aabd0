// SPDX-License-Identifier: GPL-2.0

//! The kinds of metadata block, and how each is checked and sealed.

use super::{Flaw, Ino, PhysBlock};

/// The kinds of metadata block. The store remembers as which kind a cached block was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// The block with the super block.
    Super = 1,
    /// A block of the group descriptor table.
    GroupDesc,
    /// A block bitmap.
    BlockBitmap,
    /// An inode bitmap.
    InodeBitmap,
    /// A block of an inode table.
    InodeTable,
    /// A node of an extent tree.
    ExtentNode,
    /// A linear directory block, or a leaf of a hashed directory.
    DirLeaf,
    /// Root or interior node of a hashed directory.
    DirIndex,
    /// A block of extended attributes.
    Xattr,
    /// The value of an extended attribute.
    XattrValue,
    /// The target of a long symbolic link.
    Symlink,
    /// A block of the orphan file.
    Orphan,
    /// A block of a quota file.
    Quota,
    /// A block that is read before it can be checked.
    Unchecked,
}

impl BlockKind {
    /// What a block of this kind is called in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Super => "super block",
            Self::GroupDesc => "group descriptors",
            Self::BlockBitmap => "block bitmap",
            Self::InodeBitmap => "inode bitmap",
            Self::InodeTable => "inode table",
            Self::ExtentNode => "extent node",
            Self::DirLeaf => "directory leaf",
            Self::DirIndex => "directory index",
            Self::Xattr => "extended attributes",
            Self::XattrValue => "value of an extended attribute",
            Self::Symlink => "symbolic link",
            Self::Orphan => "orphan file",
            Self::Quota => "quota file",
            Self::Unchecked => "on the way to the journal",
        }
    }
}

/// How one kind of block is checked and sealed. A value holds what that needs, say the checksum seed.
pub trait Format: Clone {
    /// The kind.
    const KIND: BlockKind;

    /// The inode that blocks of this format belong to, for the log line of a failed check.
    fn owner(&self) -> Option<Ino> {
        None
    }

    /// Checks a block that comes from the device: checksum, bounds, counts, order.
    fn verify(&self, nr: PhysBlock, bytes: &[u8]) -> Result<(), Flaw>;

    /// Sets the checksum after a change.
    fn seal(&self, nr: PhysBlock, bytes: &mut [u8]);
}

/// A kind of block that says nothing of itself: there is no checksum, and any bytes may be there. Who reads one checks
/// what it takes from it.
pub trait Bare: Clone {
    /// The kind.
    const KIND: BlockKind;
}

impl<B: Bare> Format for B {
    const KIND: BlockKind = B::KIND;

    fn verify(&self, _nr: PhysBlock, _bytes: &[u8]) -> Result<(), Flaw> {
        Ok(())
    }

    fn seal(&self, _nr: PhysBlock, _bytes: &mut [u8]) {}
}
