// SPDX-License-Identifier: GPL-2.0

//! How inodes come into memory.

use super::convert::{from_disk, vfs_flags};
use super::Data;
use crate::disk::inode::InodeFlags;
use crate::disk::{FileType, Ino};
use crate::inode::Checked;
use crate::linux::inode::{InodeRef, New, Ready, Time};
use crate::linux::kinds::Body;
use crate::ops::mount::Dax;
use crate::ops::{Fs, Node, SuperBlock, Volume};
use kernel::prelude::*;

/// Finds an inode, in memory or else on the device.
///
/// # Errors
///
/// `ESTALE` where it is not in use; `EUCLEAN`, reported; `EOPNOTSUPP`, `EIO`, `ENOMEM`.
pub(crate) fn get(sb: &SuperBlock, ino: Ino) -> Result<InodeRef<'_, Fs>> {
    let volume = &sb.data().mounted.volume;
    Node::find(sb, ino.get(), |new| {
        let checked = Checked::read_known(volume, ino, |number| new.set_generation(number))?;
        set_up(sb, new, &checked)
    })
}

/// Finds an inode that is an orphan: it may be without links.
pub(crate) fn get_orphan(sb: &SuperBlock, ino: Ino) -> Result<InodeRef<'_, Fs>> {
    get_by(sb, ino, Checked::read_orphan)
}

/// Finds an inode of the file system's own.
pub(crate) fn get_system(sb: &SuperBlock, ino: Ino) -> Result<InodeRef<'_, Fs>> {
    get_by(sb, ino, Checked::read_system)
}

/// Finds an inode, in memory or else by `read`.
fn get_by(
    sb: &SuperBlock,
    ino: Ino,
    read: impl FnOnce(&Volume, Ino) -> Result<Checked>,
) -> Result<InodeRef<'_, Fs>> {
    let volume = &sb.data().mounted.volume;
    Node::find(sb, ino.get(), |new| set_up(sb, new, &read(volume, ino)?))
}

/// Gives an inode that was read what it needs.
fn set_up<'a>(sb: &SuperBlock, new: New<'a, Fs>, checked: &Checked) -> Result<Ready<'a, Fs>> {
    let attrs = checked.attrs();
    if !checked.may_have_acl() {
        new.set_no_acl();
    }
    new.set_mode(attrs.mode)?;
    new.set_ids(attrs.uid, attrs.gid);
    new.set_links(attrs.nlink);
    new.set_size(checked.size());
    new.set_blocks(checked.sectors());
    new.set_time(Time::Access, from_disk(attrs.atime));
    new.set_time(Time::Modify, from_disk(attrs.mtime));
    new.set_time(Time::Change, from_disk(attrs.ctime));
    new.set_generation(checked.generation());
    new.set_version(attrs.version);
    new.set_project(attrs.project);
    new.set_flags(vfs_flags(checked.flags()));
    let body = body(
        checked.file_type(),
        checked.fast_target(),
        attrs.rdev,
        uses_memory(sb, checked.flags()),
    );
    let volume = sb.data().mounted.volume.clone();
    new.init(body, Data::of_checked(volume, checked, attrs.crtime)?)
        .map_err(|(error, _)| error)
}

/// Whether a file with these flags has no page cache, as the device is memory.
pub(super) fn uses_memory(sb: &SuperBlock, flags: InodeFlags) -> bool {
    let wanted = match sb.data().dax() {
        Dax::Always => true,
        Dax::Never => false,
        Dax::Unset | Dax::ByFlag => flags.has(InodeFlags::DAX),
    };
    wanted && sb.dax_device().is_some()
}

/// What goes with a type of file: `target` is that of a short symbolic link, `device` the number of a device, and `dax`
/// whether a regular file has no page cache.
pub(super) fn body(file_type: FileType, target: Option<&[u8]>, device: u32, dax: bool) -> Body<'_> {
    match (file_type, target) {
        (FileType::Regular, _) if dax => Body::Dax,
        (FileType::Symlink, Some(target)) => Body::Link(target),
        (FileType::Regular | FileType::Directory | FileType::Symlink, _) => Body::Plain,
        _ => Body::Special(device),
    }
}
