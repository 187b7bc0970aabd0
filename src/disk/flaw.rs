// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with the structures of the format: one name for each kind of damage, in one list.
//!
//! A name begins with the structure, the text names its field as `Documentation/filesystems/ext4` does. The text goes
//! into the log behind the inode, the block or the group that it is about ([`crate::store::About`]).

use core::mem::size_of;
use kernel::error::{code::*, Error};
use kernel::fmt;

macro_rules! flaws {
    ($($name:ident $({ $($field:ident: $type:ty),* })? = $text:literal;)*) => {
        /// What is wrong with a structure of the format. The fields are what was found, and where; numbers are as they
        /// are on the disk.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields are in the text")]
        pub enum Flaw {
            $(#[doc = $text] $name $({ $($field: $type),* })?,)*
        }

        impl fmt::Display for Flaw {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name $({ $($field),* })? => write!(f, $text),)*
                }
            }
        }
    };
}

flaws! {
    Checksum = "wrong checksum";
    TooShort = "the structure does not fit into its block";

    SuperMagic { magic: u16 } = "s_magic is {magic:#x}, not 0xef53";
    SuperBlockSize { size: u32, expected: u32 } =
        "s_log_block_size stands for {size} bytes, but before the replay of the journal for {expected}";

    GroupBlockBitmap { block: u64 } =
        "bg_block_bitmap is {block}, which is outside the group or the file system";
    GroupInodeBitmap { block: u64 } =
        "bg_inode_bitmap is {block}, which is outside the group or the file system";
    GroupInodeTable { block: u64 } =
        "bg_inode_table is {block}: the table lies outside the group or the file system";
    GroupFreeBlocks { count: u32 } = "bg_free_blocks_count is {count}, more than the blocks of the group";
    GroupFreeInodes { count: u32 } = "bg_free_inodes_count is {count}, more than the inodes of the group";
    GroupUnusedInodes { count: u32 } = "bg_itable_unused is {count}, more than the inodes of the group";
    GroupDirs { count: u32 } = "bg_used_dirs_count is {count}, more than the inodes in use";
    GroupShared { block: u64 } = "two structures of the file system share block {block}";
    GroupWithoutBitmap { found: u32, expected: u32 } =
        "bg_free_blocks_count is {found}, but without a bitmap {expected} blocks are free";

    BitmapPadding = "a bit behind the last one of the group is not set";
    BitmapFree { found: u32, expected: u32 } =
        "the bitmap has {found} clear bits, but the group descriptor says {expected}";
    BlockOutside { block: u64, len: u32 } = "{len} blocks from block {block} on are outside the file system";
    BlockOfSystem { block: u64, len: u32 } =
        "one of {len} blocks from block {block} on is metadata of the file system";
    BlockNotOnDevice = "the device has no such block";
    BlocksUsed { first: u32, last: u32 } =
        "blocks {first} to {last} of the group are already in use in the block bitmap";
    BlocksFree { first: u32, last: u32 } =
        "blocks {first} to {last} of the group are already free in the block bitmap";
    BlockUnmarked { bit: u32 } = "block {bit} of the group holds metadata, but is free in the block bitmap";
    InodesBeyondUnused { bit: u32 } =
        "inode bit {bit} is the first clear one, but bg_itable_unused says that an earlier one was never used";
    InodesWithoutBitmap = "inodes are in use, but the flag INODE_UNINIT says that there is no inode bitmap";
    InodeAlreadyFree = "the inode to be freed is already free in the inode bitmap";
    InodeStillUsed = "the inode is in use, but is free in the inode bitmap";

    InodeNumber = "the file system has no inode of this number that can be used";
    InodeExtraSize { size: u16 } = "i_extra_isize is {size}, which does not fit the inode";
    InodeBlocks { sectors: u64 } = "i_blocks cannot hold {sectors} sectors";
    InodeUnused = "the inode has no links";
    InodeMode { mode: u16 } = "i_mode is {mode:#o}, which has no known type of file";
    InodeFlags { flags: u32 } =
        "i_flags is {flags:#x}, with a flag of a feature that the file system does not have";
    InodeIndexFlag = "i_flags has the flag INDEX, but the file system does not have the feature dir_index";
    InodeSize { size: u64 } = "i_size is {size}, more than a file can have";
    InodeXattrBlock { block: u64 } = "i_file_acl is {block}, which cannot be a block of extended attributes";

    ExtentMagic { magic: u16 } = "eh_magic is {magic:#x}, not 0xf30a";
    ExtentEntries { entries: u16, max: u16 } = "eh_entries is {entries}, more than the {max} that are possible";
    ExtentMax { max: u16, expected: u16 } = "eh_max is {max}, not {expected}";
    ExtentDepth { depth: u16 } = "eh_depth is {depth}, more than an extent tree can have";
    ExtentChildDepth { depth: u16, expected: u16 } =
        "eh_depth is {depth}, but the parent node wants {expected}";
    ExtentChildStart { expected: u32 } =
        "the node does not begin with file block {expected}, as the parent node says";
    ExtentChildEnd { end: u32, limit: u32 } =
        "the node ends at file block {end}, behind {limit} where the parent node has the next one";
    ExtentEmpty = "the extent node has no entries";
    ExtentOrder { index: u16 } = "extent entry {index} overlaps the one before, or is out of order";
    ExtentLength { index: u16 } = "ee_len of extent entry {index} is 0";
    ExtentTooFar { index: u16 } = "extent entry {index} ends behind the largest file";
    ExtentOutside { index: u16, block: u64 } =
        "extent entry {index} leads to block {block}, outside the file system";
    ExtentOverSystem { block: u64 } = "the extent at block {block} covers metadata of the file system";
    ExtentNodeInSystem { block: u64 } =
        "an extent node is in block {block}, which is metadata of the file system";
    ExtentChanged = "an extent node has changed on its own: it may belong to another inode, too";
    ExtentMapped { block: u32 } =
        "file block {block}, which is to be mapped, or one behind it is mapped already";
    ExtentNotUnwritten { block: u32 } =
        "file block {block}, which is to become written, or one behind it is not unwritten";
    ExtentNotMapped { block: u32 } =
        "file block {block}, which is to be unmapped, or one behind it is not mapped";

    DirSize { size: u64 } = "i_size of the directory is {size}, which is not one or more blocks";
    DirBlocks = "the directory has more blocks than the file system";
    DirPastEnd { block: u32 } = "directory block {block} is behind the end of the directory";
    DirBehindEnd = "the directory has a block behind its end";
    DirMissing { from: u32, to: u32 } = "directory blocks {from} to {to} are missing, and the names in them";
    DirChanged = "a directory block has changed on its own: it may belong to another inode, too";
    DirNoTail = "the directory block has no record with a checksum";
    DirEntryHead { at: u16 } = "the directory entry at byte {at} crosses the end of the block";
    DirEntryEnd { at: u16, len: u32 } =
        "rec_len of the directory entry at byte {at} is {len}, beyond the end of the block";
    DirEntryLeast { at: u16, len: u32 } =
        "rec_len of the directory entry at byte {at} is {len}, too little for any entry";
    DirEntryAlign { at: u16, len: u32 } =
        "rec_len of the directory entry at byte {at} is {len}, not a multiple of 4";
    DirEntryName { at: u16, len: u32 } =
        "rec_len of the directory entry at byte {at} is {len}, too little for its name";
    DirEntryInode { at: u16, ino: u32 } =
        "the directory entry at byte {at} leads to inode {ino}, which does not exist";
    DirEntryNoName { at: u16 } = "the directory entry at byte {at} has an inode, but no name";
    DirDot { at: u16 } = "the directory entry at byte {at} is not '.'";
    DirDotDot { at: u16 } = "the directory entry at byte {at} is not '..'";
    DirEntrySelf = "a name in the directory leads to the directory itself";
    DirEntryUnused { ino: u32 } = "a name in the directory leads to inode {ino}, which is not in use";

    IndexHeader = "the directory index has no valid header behind '.' and '..'";
    IndexHash { version: u8 } = "hash_version of the directory index is {version}, an unknown one";
    IndexFlags { flags: u8 } = "unused_flags of the directory index is {flags:#x}, with an unknown flag";
    IndexLevels { levels: u8 } = "indirect_levels of the directory index is {levels}, too many";
    IndexDots = "the directory index does not begin with '.' and '..'";
    IndexNode = "the node of the directory index does not begin with a free entry as long as the block";
    IndexLimit { limit: u16, expected: u16 } = "limit of the directory index is {limit}, not {expected}";
    IndexCount { count: u16, limit: u16 } = "count of the directory index is {count}, not 1 to {limit}";
    IndexOrder { index: u16 } = "entry {index} of the directory index is not in the order of hashes";
    IndexLeafOrder { hash: u32 } = "the directory index leads to hash {hash:#x} out of the order of hashes";
    IndexLeaves = "the directory index leads to more leaves than the directory has blocks";
    IndexLoop = "the directory index leads back to its root";
    IndexChanged = "a block of the directory index has changed on its own: it may belong to another inode, too";
    IndexLeafFull = "a leaf of the directory index cannot be divided, so a block of it has changed on its own";

    XattrMagic { magic: u32 } = "h_magic is {magic:#x}, not 0xea020000";
    XattrBlocks { blocks: u32 } = "h_blocks is {blocks}, not 1";
    XattrRefcount { count: u32 } = "h_refcount is {count}, not 1 to 1024";
    XattrEntry { at: u32 } = "the attribute at byte {at} does not fit, or nothing ends the list";
    XattrName { at: u32 } = "the name of the attribute at byte {at} has a zero in it";
    XattrInode { ino: u32 } =
        "e_value_inum is {ino}, but the file system does not have the feature ea_inode";
    XattrValue { at: u32, size: u32 } =
        "the value of {size} bytes at byte {at} lies outside, or over the entries";
    XattrSize { size: u32, ino: u32 } = "e_value_size is {size} and e_value_inum {ino}, which no value can have";
    ValueSelf = "the value of an attribute is said to be in the inode itself";
    ValueFlag = "the value of an attribute is said to be in the inode, which does not have the flag EA_INODE";
    ValueXattr = "the inode holds the value of an attribute, and has attributes itself";
    ValueUsers { links: u32, users: u64 } =
        "the inode holds the value of an attribute, but has {links} links and counts {users} uses";
    ValueSize { size: u64, expected: u32 } =
        "i_size is {size}, but the attribute whose value the inode holds says {expected}";
    ValueHole { block: u32 } = "block {block} of the value of an attribute is not mapped";
    ValueHash { hash: u32, expected: u32 } =
        "the value of the attribute has the hash {hash:#x}, but the inode that holds it says {expected:#x}";
    ValueEntryHash { hash: u32, expected: u32 } =
        "e_hash of the attribute whose value the inode holds is {hash:#x}, not {expected:#x}";

    SymlinkFlags = "the symbolic link has the flag IMMUTABLE or APPEND";
    SymlinkTarget { size: u64 } = "i_size of the symbolic link is {size}, but its target does not end there";
    SymlinkNoBlock = "the symbolic link has no block with its target";

    QuotaFile = "it is the quota file of nobody, as the super block has it";

    OrphanMagic { magic: u32 } = "ob_magic is {magic:#x}, not 0xb10ca04";
    OrphanFileSize { blocks: u64 } = "the orphan file has {blocks} blocks, too many";
    OrphanFileHole { block: u32 } = "block {block} of the orphan file is not mapped";
    OrphanGone = "the orphan file has lost the inode";
    OrphanFileEntry = "the orphan file has the inode, which cannot be an orphan";
    OrphanListEntry { ino: u32 } = "the orphan list leads to inode {ino}, which cannot be an orphan";

    JournalInode = "the inode of the journal is not a regular file in use";
    JournalTable = "the inode table with the inode of the journal is outside the file system";
    JournalHole { block: u32 } = "block {block} of the journal is not mapped, or not in order";
    JournalOverSystem { block: u64, len: u32 } =
        "one of the journal's {len} blocks from block {block} on is other metadata";

    RootUnused = "the root inode is not in use";
    RootType = "the root inode is not a directory with blocks";
}

// A check of a block gives one of these or none, in two registers.
const _: () = assert!(size_of::<Result<(), Flaw>>() <= 16);

impl Flaw {
    /// How the super block records it: a wrong checksum is an error of its own kind there. Users get `EUCLEAN` for
    /// either.
    pub fn error(&self) -> Error {
        match self {
            Self::Checksum => EFSBADCRC,
            _ => EUCLEAN,
        }
    }
}
