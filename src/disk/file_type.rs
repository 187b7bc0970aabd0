// SPDX-License-Identifier: GPL-2.0

//! The type of a file, as the mode of an inode and a directory entry have it
//! (Documentation/filesystems/ext4/inodes.rst, directory.rst).

/// The type of a file. The numbers are those of directory entries (`file_type`), where 0 says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum FileType {
    Regular = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

impl FileType {
    /// From `i_mode`; `None` where it has no type that there is.
    pub fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0xf000 {
            0x1000 => Self::Fifo,
            0x2000 => Self::CharDevice,
            0x4000 => Self::Directory,
            0x6000 => Self::BlockDevice,
            0x8000 => Self::Regular,
            0xa000 => Self::Symlink,
            0xc000 => Self::Socket,
            _ => return None,
        })
    }

    /// From the byte of a directory entry. `None` for any other number, as it is only a hint.
    pub fn from_entry(file_type: u8) -> Option<Self> {
        Some(match file_type {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }

    /// The byte of a directory entry.
    pub fn to_entry(file_type: Option<Self>) -> u8 {
        file_type.map_or(0, |file_type| file_type as u8)
    }

    /// Whether `i_block` holds a device number.
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }
}
