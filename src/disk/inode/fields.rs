// SPDX-License-Identifier: GPL-2.0

//! What fields of an inode mean: flags, points in time (Documentation/filesystems/ext4/inodes.rst).

/// `i_flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeFlags(u32);

#[allow(missing_docs)]
impl InodeFlags {
    pub const SYNC: Self = Self(0x8);
    pub const IMMUTABLE: Self = Self(0x10);
    pub const APPEND: Self = Self(0x20);
    pub const NODUMP: Self = Self(0x40);
    pub const NOATIME: Self = Self(0x80);
    pub const ENCRYPT: Self = Self(0x800);
    pub const INDEX: Self = Self(0x1000);
    pub const DIRSYNC: Self = Self(0x1_0000);
    pub const TOPDIR: Self = Self(0x2_0000);
    pub const HUGE_FILE: Self = Self(0x4_0000);
    pub const EXTENTS: Self = Self(0x8_0000);
    pub const VERITY: Self = Self(0x10_0000);
    pub const EA_INODE: Self = Self(0x20_0000);
    pub const DAX: Self = Self(0x200_0000);
    pub const INLINE_DATA: Self = Self(0x1000_0000);
    pub const PROJINHERIT: Self = Self(0x2000_0000);
    pub const CASEFOLD: Self = Self(0x4000_0000);
}

impl InodeFlags {
    /// No flags.
    pub const NONE: Self = Self(0);

    /// From their bits; bits that are not known are kept.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Their bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of these are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether one of these is set.
    pub const fn has_any(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// With these set as well.
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Without these.
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

/// A point in time: seconds since 1970, and nanoseconds after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskTime {
    /// Seconds; before 1970 negative.
    pub sec: i64,
    /// Nanoseconds, below 10^9.
    pub nsec: u32,
}

impl DiskTime {
    /// First second that an inode can hold.
    pub const MIN_SEC: i64 = i32::MIN as i64;
    /// Last second that an inode of more than 128 bytes can hold.
    pub const MAX_SEC: i64 = (1 << 34) - 1 + i32::MIN as i64;
    /// Last second that an inode of 128 bytes can hold.
    pub const MAX_SEC_SMALL: i64 = i32::MAX as i64;

    /// The seconds are signed; two more bits count multiples of 2^32 after that.
    pub(super) fn decode(base: u32, extra: Option<u32>) -> Self {
        let sec = i64::from(base as i32);
        match extra {
            Some(extra) => Self {
                sec: sec.wrapping_add(i64::from(extra & 3) << 32),
                nsec: (extra >> 2).min(999_999_999),
            },
            None => Self { sec, nsec: 0 },
        }
    }

    /// The field of the seconds, and the one with the nanoseconds.
    pub(super) fn encode(self) -> (u32, u32) {
        let sec = self.sec.clamp(Self::MIN_SEC, Self::MAX_SEC);
        let base = sec as i32;
        let epoch = (sec.wrapping_sub(base.into()) >> 32) as u32 & 3;
        (base as u32, epoch | self.nsec.wrapping_shl(2))
    }

    /// The field of the seconds where there is no other.
    pub(super) fn encode_small(self) -> u32 {
        self.sec.clamp(Self::MIN_SEC, Self::MAX_SEC_SMALL) as i32 as u32
    }
}
