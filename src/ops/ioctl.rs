// SPDX-License-Identifier: GPL-2.0

//! Requests of `ioctl(2)` that files and directories share: who may ask, what is checked in which order, and which
//! operation it is. Flags, as of `chattr`, come another way ([`super::inode::attr`]).
//!
//! # Locks
//!
//! None is held. What changes something takes freeze protection first; `i_rwsem` for a change of an inode.

use super::file::exchange::move_extents;
use super::file::iomap_ops::precache;
use super::mount::{fsmap, trim, JournalStore};
use super::{Fs, Node};
use crate::change::label::LABEL_MAX;
use crate::change::trim::Wanted;
use crate::change::{generation, label};
use crate::disk::bytes::copy;
use crate::linux::ioctl::{
    Checkpoint, CheckpointMode, LabelBuffer, Opened, Request, Requests, Shutdown, ShutdownMode,
    TrimBuffer, UserIn, UuidBuffer,
};
use crate::linux::jbd2::Erase;
use crate::linux::task;
use crate::store::Store;
use kernel::prelude::*;

impl Requests for Fs {
    fn request(file: &Opened<'_, Fs>, request: Request) -> Result {
        let node = file.inode();
        match request {
            Request::GetVersion(to) => {
                let generation = node.data().map_lock().generation;
                to.write(&generation)
            }
            Request::SetVersion(from) => set_version(file, &from),
            Request::GetLabel(to) => {
                let mut name = [0; LABEL_MAX + 1];
                copy(&mut name, &label::label(node.data().volume())?);
                to.write_first(&name)
            }
            Request::SetLabel(from) => set_label(file, &from),
            Request::Shutdown(mode) => shut_down(node, &mode),
            Request::Trim(range) => trim(node, &range),
            Request::GetUuid(to) => tell_uuid(node, &to),
            Request::SetUuid(from) => set_uuid(file, &from),
            Request::Precache => precache(node),
            Request::MoveExtents(to) => move_extents(file, &to),
            Request::GetMap(to) => fsmap::tell(node, &to),
            Request::Checkpoint(mode) => checkpoint(node, &mode),
        }
    }
}

/// Changes the generation of an inode.
fn set_version(file: &Opened<'_, Fs>, from: &UserIn<u32>) -> Result {
    let node = file.inode();
    if !file.is_owner_or_capable() {
        return Err(EPERM);
    }
    if !generation::can_change(&node.data().volume().layout) {
        return Err(ENOTTY);
    }
    let _writing = file.want_write()?;
    let number = from.read()?;
    let _lock = node.lock();
    generation::set_generation(node, number)?;
    node.set_generation(number);
    Ok(())
}

/// Changes the name of the volume.
fn set_label(file: &Opened<'_, Fs>, from: &UserIn<LabelBuffer>) -> Result {
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    // With room for the zero, which is not written.
    let mut bytes = [0; LABEL_MAX + 1];
    from.read_first(&mut bytes)?;
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.len() > LABEL_MAX {
        return Err(EINVAL);
    }
    let mut label = [0; LABEL_MAX];
    copy(&mut label, name);
    let _writing = file.want_write()?;
    label::set_label(file.inode().data().volume(), &label)
}

/// Tells the UUID of the volume, or how long it is.
fn tell_uuid(node: &Node, to: &UuidBuffer) -> Result {
    const LEN: u32 = 16;
    let (len, flags) = to.read_head()?;
    if len == 0 {
        return to.write_len(LEN);
    }
    if len < LEN || flags != 0 {
        return Err(EINVAL);
    }
    to.write(&label::uuid(node.data().volume())?)
}

/// Changes the UUID of the volume. The VFS keeps the one that there was at mount.
fn set_uuid(file: &Opened<'_, Fs>, from: &UuidBuffer) -> Result {
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    let volume = file.inode().data().volume();
    if !label::can_change_uuid(volume) {
        return Err(EOPNOTSUPP);
    }
    if from.read_head()? != (16, 0) {
        return Err(EINVAL);
    }
    let uuid = from.read()?;
    let _writing = file.want_write()?;
    label::set_uuid(volume, &uuid)
}

/// Writes all that is in the journal to its place. On a read-only mount there is nothing, and nothing is written.
fn checkpoint(node: &Node, mode: &CheckpointMode) -> Result {
    let flags = mode.read()?;
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    let wanted = Checkpoint::of_flags(flags)?;
    let volume = node.data().volume();
    let store = &volume.store;
    if !volume.layout.has_journal() {
        return Err(ENODEV);
    }
    if wanted.discard && !store.cache().device().can_discard() {
        return Err(EOPNOTSUPP);
    }
    if wanted.dry_run {
        return Ok(());
    }
    store.check_writable()?;
    let journal = store.journal().ok_or(EROFS)?;
    let erase = match (wanted.discard, wanted.zero) {
        (true, _) => Erase::Discard,
        (_, true) => Erase::Zero,
        _ => Erase::Not,
    };
    journal.with_updates_locked(|locked| locked.flush(erase))
}

/// Shuts the file system down.
fn shut_down(node: &Node, mode: &ShutdownMode) -> Result {
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    let what = mode.read()?;
    let mounted = &node.super_block().data().mounted;
    let store = &mounted.volume.store;
    if store.check_alive().is_err() {
        return Ok(());
    }
    let now = |store: &JournalStore| store.shut_down(fmt!("somebody has asked for it"));
    match what {
        Shutdown::All => {
            let device = node.super_block().block_device()?;
            return device.while_frozen(|| now(store));
        }
        // What cannot be made durable is lost either way.
        Shutdown::Log => drop(mounted.sync(true)),
        Shutdown::Nothing => {}
    }
    now(store);
    Ok(())
}

/// Tells the device of free space.
fn trim(node: &Node, range: &TrimBuffer) -> Result {
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    let sb = node.super_block();
    trim::check(&sb.data().mounted.volume)?;
    let mut found = range.read()?;
    let wanted = Wanted {
        start: found.start,
        len: found.len,
        min_len: found.min_len,
    };
    found.len = trim::trim(sb, wanted)?;
    range.write(&found)
}
