// SPDX-License-Identifier: GPL-2.0

//! Where a file system is mounted, which its super block is told.

use super::superblock;
use crate::linux::file::File;
use crate::ops::Fs;
use kernel::sync::atomic::Relaxed;

/// Notes in the super block where the file system is mounted (`s_last_mounted`), once a mount: a file is being opened,
/// as it is the files that know. ext4 does so, too.
pub(crate) fn note(file: &File<'_, Fs>) {
    let sb = file.inode().super_block();
    let data = sb.data();
    if data.mount_point_noted.load(Relaxed) || sb.is_read_only() {
        return;
    }
    // It can wait until a later file is opened.
    let Some(_writing) = sb.try_internal_write() else {
        return;
    };
    if data.mount_point_noted.xchg(true, Relaxed) {
        return;
    }
    let mut buffer = [0; 64];
    // A path that is too long is not noted. If the super block cannot be changed, that is reported elsewhere, and no
    // reason not to open a file.
    if let Ok(path) = file.mount_point(&mut buffer) {
        let _ = superblock::note_mount_point(&data.mounted.volume, path);
    }
}
