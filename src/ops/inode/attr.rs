// SPDX-License-Identifier: GPL-2.0

//! Attributes of inodes, whatever their type of file: how they are told and changed.

use super::convert::{from_disk, vfs_flags};
use crate::change::{self, atomic, reservation, InodePart, Live};
use crate::disk::inode::{has_project, InodeFlags};
use crate::disk::FileType;
use crate::linux::attr::{attributes, Attr, Idmap, Stat, Wanted};
use crate::linux::fileattr::FileAttr;
use crate::linux::inode_ops::Attributes;
use crate::linux::quota::Transfer;
use crate::ops::file::resize;
use crate::ops::{durable, Fs, Node};
use crate::store::Store;
use kernel::prelude::*;

impl Attributes for Fs {
    fn setattr(idmap: &Idmap, node: &Node, attr: &mut Attr<'_, Fs>) -> Result {
        set_attributes(idmap, node, attr)
    }

    fn getattr(idmap: &Idmap, node: &Node, wanted: Wanted, to: &mut Stat) -> Result {
        get_attributes(idmap, node, wanted, to);
        if wanted.direct_alignment() && node.is_regular() {
            let device = node.super_block().block_device()?;
            to.set_direct_alignment(device.memory_alignment(), device.logical_block_size());
        }
        if wanted.atomic_write() && node.is_regular() && !node.is_dax() {
            let volume = node.data().volume();
            let limits = (atomic::shortest(volume), atomic::LONGEST);
            let device = node.super_block().atomic_write_limits();
            to.set_atomic_write(limits, atomic::longest_in_place(volume, device));
        }
        Ok(())
    }

    fn get_flags(node: &Node, to: &mut FileAttr) -> Result {
        let hidden = match node.is_regular() {
            // It may be set, and means nothing.
            true => InodeFlags::PROJINHERIT.bits(),
            false => 0,
        };
        to.fill(node.data().flags().bits() & VISIBLE_FLAGS & !hidden);
        to.set_project(node.project());
        Ok(())
    }

    fn set_flags(node: &Node, wanted: &FileAttr) -> Result {
        set_flags(node, wanted)
    }
}

/// `setattr`: checks a change of attributes and makes it. The VFS holds `i_rwsem` exclusively.
fn set_attributes(idmap: &Idmap, node: &Node, attr: &mut Attr<'_, Fs>) -> Result {
    // Before anything is changed in memory.
    node.data().volume().store.check_writable()?;
    // The VFS asks only about some attributes.
    if node.is_immutable() {
        return Err(EPERM);
    }
    attr.prepare(idmap)?;
    if let Some(size) = attr.size() {
        let size = u64::try_from(size).map_err(|_| EINVAL)?;
        if !node.is_regular() {
            return Err(EINVAL);
        }
        // Also where it is the size that the file has, as ext4 does.
        attr.touch();
        resize::set_size(attr.lock(), size)?;
    }
    let (user, group) = attr.new_owner(idmap);
    let mut transfer = Transfer::to_owner(node, user, group)?;
    let inodes = match user.or(group) {
        Some(_) => inodes(node)?,
        None => 0,
    };
    let mut tx = node.volume().store.begin(reservation::ATTRIBUTES)?;
    tx.lend(|| transfer.carry_out(inodes))?;
    attr.apply(idmap);
    node.raise_version();
    change::write_now(node, &mut tx, InodePart::Attributes)?;
    drop(tx);
    drop(transfer);
    attr.apply_to_acl(idmap)?;
    durable::attributes(node)
}

/// How many inodes count for the owners of this one: itself, and those that hold values of its attributes. It stays as
/// it is while `i_rwsem` is held.
fn inodes(node: &Node) -> Result<u32> {
    let values = node.map_lock().values(node.volume())?;
    Ok(values.saturating_add(1))
}

/// `getattr`.
fn get_attributes(idmap: &Idmap, node: &Node, wanted: Wanted, to: &mut Stat) {
    let data = node.data();
    let known = attributes::APPEND | attributes::IMMUTABLE | attributes::NODUMP;
    let flags = data.flags();
    let has = |flag, attribute| if flags.has(flag) { attribute } else { 0 };
    to.set_attributes(
        known,
        has(InodeFlags::APPEND, attributes::APPEND)
            | has(InodeFlags::IMMUTABLE, attributes::IMMUTABLE)
            | has(InodeFlags::NODUMP, attributes::NODUMP),
    );
    to.fill(idmap, wanted, node);
    if wanted.birth_time() {
        to.set_birth_time(from_disk(data.created));
    }
    // What is in memory only takes space as well.
    let outstanding = data.map_lock().map.outstanding();
    let sectors = data.volume().layout.block_size().sectors();
    to.add_blocks(u64::from(outstanding).saturating_mul(sectors));
}

/// Flags that `lsattr` shows.
const VISIBLE_FLAGS: u32 = 0x725b_dfff;

/// Flags that `chattr` can change here on a file of this kind: those that we act upon, and those that are for others
/// to act upon.
fn changeable_flags(file_type: FileType) -> InodeFlags {
    let any = InodeFlags::NODUMP.with(InodeFlags::NOATIME);
    let data = any
        .with(InodeFlags::SYNC)
        .with(InodeFlags::IMMUTABLE)
        .with(InodeFlags::APPEND);
    match file_type {
        FileType::Regular => data.with(InodeFlags::DAX),
        FileType::Directory => data
            .with(InodeFlags::DAX)
            .with(InodeFlags::DIRSYNC)
            .with(InodeFlags::PROJINHERIT)
            .with(InodeFlags::TOPDIR),
        _ => any,
    }
}

/// `fileattr_set`. The VFS holds `i_rwsem` exclusively, and has checked whether the caller may.
///
/// # Errors
///
/// `EOPNOTSUPP` for a flag that this kind of file does not have or that cannot be changed, and for a project where the
/// volume has none, or the inode no room for one; `EDQUOT` where the project may not have so much.
fn set_flags(node: &Node, wanted: &FileAttr) -> Result {
    let data = node.data();
    let mask = changeable_flags(node.file_type()).bits();
    let changed = data.flags().bits() & VISIBLE_FLAGS ^ wanted.flags();
    if wanted.has_more() || changed & !mask != 0 {
        return Err(EOPNOTSUPP);
    }
    if changed & wanted.flags() & InodeFlags::IMMUTABLE.bits() != 0 && node.is_regular() {
        // What was written before gets to the device; a store to a mapping has to ask again after that, and is refused.
        node.dio_wait();
        node.write_and_wait(0, u64::MAX)?;
    }
    let project = wanted.project();
    let moves = project != node.project();
    let layout = &data.volume().layout;
    if moves && !has_project(layout, data.map_lock().extra_isize) {
        return Err(EOPNOTSUPP);
    }
    let mut transfer = Transfer::to_project(node, project)?;
    let inodes = if moves { inodes(node)? } else { 0 };
    let mut tx = data.volume().store.begin(reservation::ATTRIBUTES)?;
    if moves {
        tx.lend(|| transfer.carry_out(inodes))?;
        node.set_project(project);
    }
    let mut core = node.map_lock();
    core.flags = InodeFlags::from_bits((core.flags.bits() & !mask) | (wanted.flags() & mask));
    node.set_flags(vfs_flags(core.flags));
    node.changed();
    change::write(node, &core, &mut tx, InodePart::Data)?;
    drop(core);
    drop(tx);
    drop(transfer);
    let goes_by_flag = node.super_block().data().dax().goes_by_flag();
    if changed & InodeFlags::DAX.bits() != 0 && node.is_regular() && goes_by_flag {
        // It is heeded when the inode comes into memory.
        node.keep_no_longer();
    }
    durable::attributes(node)
}
