// SPDX-License-Identifier: GPL-2.0

//! The units of the format, each a type of its own: a file block cannot be used where a device
//! block is wanted.
//!
//! Arithmetic on values that came from the disk is checked; nothing here panics or wraps.

/// Device block number ("physical block"), counted in file system blocks. At most 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysBlock(u64);

impl PhysBlock {
    /// Largest value that an extent can hold (`ee_start_hi`, `ee_start_lo`).
    pub const MAX: u64 = (1 << 48) - 1;

    /// Any number; whether the device has such a block is for [`super::Layout`] to say.
    pub const fn new(nr: u64) -> Self {
        Self(nr)
    }

    /// The block number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The block `n` further on, `None` where the number would not fit.
    pub fn checked_add(self, n: u64) -> Option<Self> {
        self.0.checked_add(n).map(Self)
    }

    /// How many blocks `self` lies after `earlier`; `None` if it lies before it.
    pub fn distance_from(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

/// File block number ("logical block"): offset in the file in units of file system blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogicalBlock(u32);

impl LogicalBlock {
    /// The first block of a file.
    pub const ZERO: Self = Self(0);

    /// One more than the last block that a file can have (`EXT_MAX_BLOCKS`).
    pub const LIMIT: Self = Self(u32::MAX);

    /// Any number; [`Self::LIMIT`] itself is only used as an exclusive end.
    pub const fn new(nr: u32) -> Self {
        Self(nr)
    }

    /// The block number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The block `n` further on, `None` past [`Self::LIMIT`].
    pub fn checked_add(self, n: u32) -> Option<Self> {
        self.0.checked_add(n).map(Self)
    }

    /// The block `n` further on, at most [`Self::LIMIT`].
    pub fn saturating_add(self, n: u32) -> Self {
        Self(self.0.saturating_add(n))
    }

    /// The block with byte `pos` of a file; `None` where no file has one.
    pub fn holding(size: BlockSize, pos: u64) -> Option<Self> {
        let nr = u32::try_from(pos >> size.bits()).ok()?;
        (nr < Self::LIMIT.0).then_some(Self(nr))
    }

    /// The first block that lies wholly behind the first `bytes` of a file, at most [`Self::LIMIT`].
    pub fn first_behind(size: BlockSize, bytes: u64) -> Self {
        u32::try_from(size.blocks_for(bytes)).map_or(Self::LIMIT, Self)
    }

    /// The first byte of the block in the file.
    pub fn first_byte(self, size: BlockSize) -> u64 {
        u64::from(self.0) << size.bits()
    }

    /// How many blocks `self` lies after `earlier`; zero if it lies before it.
    pub fn saturating_distance_from(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Block group number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u32);

impl Group {
    /// Any number; the count of groups is [`super::Layout::groups`].
    pub const fn new(nr: u32) -> Self {
        Self(nr)
    }

    /// The group number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Inode number. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(core::num::NonZeroU32);

impl Ino {
    /// The root directory (`EXT4_ROOT_INO`).
    pub const ROOT: Self = Self::constant(2);

    const fn constant(nr: u32) -> Self {
        match core::num::NonZeroU32::new(nr) {
            Some(nr) => Self(nr),
            None => Self(core::num::NonZeroU32::MIN),
        }
    }

    /// `None` for zero, which marks "no inode" on disk.
    pub fn new(nr: u32) -> Option<Self> {
        core::num::NonZeroU32::new(nr).map(Self)
    }

    /// The inode number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// File system block size: 1 KiB to 64 KiB, a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    bits: Bits,
}

/// The logarithms that there are. As an enumeration they tell the compiler that a shift by them, or by them less
/// nine, is in range, wherever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Bits {
    B10 = 10,
    B11,
    B12,
    B13,
    B14,
    B15,
    B16,
}

impl BlockSize {
    /// From the base-two logarithm of the size in bytes, 10 to 16.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let bits = match bits {
            10 => Bits::B10,
            11 => Bits::B11,
            12 => Bits::B12,
            13 => Bits::B13,
            14 => Bits::B14,
            15 => Bits::B15,
            16 => Bits::B16,
            _ => return None,
        };
        Some(Self { bits })
    }

    /// Base-two logarithm of the size in bytes.
    pub const fn bits(self) -> u32 {
        self.bits as u32
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        1 << self.bits()
    }

    /// Blocks that `bytes` fill, the last one perhaps in part.
    pub const fn blocks_for(self, bytes: u64) -> u64 {
        let rest = bytes & (self.bytes() as u64 - 1);
        (bytes >> self.bits()) + (rest != 0) as u64
    }

    /// The 512-byte sectors of one block (`i_blocks` counts these).
    pub const fn sectors(self) -> u64 {
        1 << (self.bits() - 9)
    }
}
