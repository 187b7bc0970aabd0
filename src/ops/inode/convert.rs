// SPDX-License-Identifier: GPL-2.0

//! The format's form of what the VFS has in its own.

use crate::disk::inode::{DiskTime, InodeFlags};
use crate::linux::inode::flags;
use crate::linux::time::Timestamp;

/// The format's form of a timestamp.
pub(crate) fn to_disk(time: Timestamp) -> DiskTime {
    DiskTime {
        sec: time.seconds,
        nsec: time.nanoseconds,
    }
}

/// The VFS's form of a timestamp.
pub(crate) fn from_disk(time: DiskTime) -> Timestamp {
    Timestamp {
        seconds: time.sec,
        nanoseconds: time.nsec,
    }
}

/// The flags that the VFS looks after.
pub(crate) fn vfs_flags(disk: InodeFlags) -> u32 {
    let pairs = [
        (InodeFlags::SYNC, flags::SYNC),
        (InodeFlags::APPEND, flags::APPEND),
        (InodeFlags::IMMUTABLE, flags::IMMUTABLE),
        (InodeFlags::NOATIME, flags::NOATIME),
        (InodeFlags::DIRSYNC, flags::DIRSYNC),
    ];
    pairs
        .into_iter()
        .filter(|(flag, _)| disk.has(*flag))
        .fold(0, |set, (_, flag)| set | flag)
}
