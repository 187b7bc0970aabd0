// SPDX-License-Identifier: GPL-2.0

//! `rename`, in all its forms, each one transaction.
//!
//! # Locks
//!
//! The VFS holds `i_rwsem` of both directories, of an inode that loses its name, and of a directory that moves.

use super::create::{self, What};
use super::dir::Dir;
use super::names::{
    add_dir_link, buried, changed, check_dir_links, drop_dir_link, file_type, insert,
    insert_credits, lost_name, with_retry, INSERT_REVOKES,
};
use super::{inode, write, Core, Fs, Node, Orphans, Tx};
use crate::linux::attr::Idmap;
use crate::linux::inode::Ready;
use crate::linux::inode_ops::{rename as flags, Rename};
use crate::names::{self, FileType};
use crate::store::Store;
use kernel::prelude::*;

/// The mode of a whiteout: a character device with number 0.
const WHITEOUT_MODE: u16 = 0o020_000;

/// See [`crate::linux::inode_ops::Operations::rename`].
pub(super) fn rename(idmap: &Idmap, how: &Rename<'_, Fs>) -> Result {
    let known = flags::NOREPLACE | flags::EXCHANGE | flags::WHITEOUT;
    if how.flags & !known != 0 {
        return Err(EINVAL);
    }
    if how.flags & flags::EXCHANGE != 0 {
        return exchange(how);
    }
    let whiteout = how.flags & flags::WHITEOUT != 0;
    if let (Some(node), Some(_)) = (how.old.inode(), how.new.inode()) {
        write::start_replacing(node);
    }
    with_retry(how.new_dir, || replace(idmap, how, whiteout))
}

/// Whether the two directories are not the same.
fn crosses(how: &Rename<'_, Fs>) -> bool {
    how.old_dir.number() != how.new_dir.number()
}

/// Gives the inode its new name, which is taken from another inode if that has it, and takes the old one from it, or
/// leaves a whiteout there.
fn replace(idmap: &Idmap, how: &Rename<'_, Fs>, whiteout: bool) -> Result {
    let (old_dir, new_dir) = (how.old_dir, how.new_dir);
    let node = how.old.inode().ok_or(ENOENT)?;
    let victim = how.new.inode();
    let volume = old_dir.data().volume();
    let moves_dir = node.is_directory() && crosses(how);
    if let Some(victim) = victim.filter(|victim| victim.is_directory()) {
        if !names::is_empty(&Dir::new(victim))? {
            return Err(ENOTEMPTY);
        }
    } else if moves_dir && victim.is_none() {
        check_dir_links(new_dir)?;
    }

    // A name inserted, one removed or changed, `..` changed; both directories, the inode, the one that loses its name.
    let mut credits = insert_credits(volume, new_dir)
        .saturating_add(names::CHANGE_CREDITS.saturating_mul(2))
        .saturating_add(Core::WRITE_CREDITS.saturating_mul(3))
        .saturating_add(Orphans::CREDITS);
    if whiteout {
        credits = credits
            .saturating_add(create::credits(volume))
            .saturating_add(Orphans::CREDITS);
    }
    let mut tx = volume.store.begin(credits, INSERT_REVOKES)?;
    let left = match whiteout {
        true => {
            let what = What::Special { device: 0 };
            let mode = WHITEOUT_MODE;
            Some(create::make(idmap, old_dir, &mut tx, mode, 1, what)?)
        }
        false => None,
    };
    let done = exchange_names(how, node, victim, left.as_ref(), &mut tx);
    if let (Err(_), Some(left)) = (&done, &left) {
        create::give_up(left, &mut tx);
    }
    drop(tx);
    if let Some(left) = left {
        // Nobody has looked it up; a name that is looked up finds it.
        match &done {
            Ok(()) => drop(left.unlock()),
            Err(_) => drop(left),
        }
    }
    done
}

/// The part of [`replace`] inside the handle. Does first what can fail.
fn exchange_names(
    how: &Rename<'_, Fs>,
    node: &Node,
    victim: Option<&Node>,
    left: Option<&Ready<Fs>>,
    tx: &mut Tx<'_>,
) -> Result {
    let (old_dir, new_dir) = (how.old_dir, how.new_dir);
    let moves_dir = node.is_directory() && crosses(how);
    let _held = (
        inode::hold(old_dir)?,
        inode::hold(new_dir)?,
        inode::hold(node)?,
        inode::hold(victim.unwrap_or(node))?,
    );
    // The block with the old name, which a damaged directory may have given to something else.
    check_name(old_dir, how.old.name(), node)?;
    let dying = victim.filter(|victim| victim.is_directory() || victim.links() == 1);
    let marked = match dying {
        Some(victim) => inode::mark_orphan(victim, tx)?,
        None => false,
    };
    let named = if moves_dir {
        names::set_dotdot(&mut Dir::new(node), tx, inode::number(new_dir))
    } else {
        Ok(())
    };
    let named = named.and_then(|()| take_name(how, node, victim, tx));
    if let Err(error) = named {
        if moves_dir {
            // What this fails with is what the first one has failed with.
            let _ = names::set_dotdot(&mut Dir::new(node), tx, inode::number(old_dir));
        }
        if let Some(victim) = dying.filter(|_| marked) {
            inode::unmark_again(victim, tx);
        }
        return Err(error);
    }
    leave_name(how, node, victim, left, tx)
        .map_err(|error| inode::half_done(node, "its new name", error))
}

/// `ENOENT` where `name` does not lead to `node`.
fn check_name(dir: &Node, name: &[u8], node: &Node) -> Result {
    names::lookup(&Dir::new(dir), name)?
        .filter(|entry| entry.ino == inode::number(node))
        .map(drop)
        .ok_or(ENOENT)
}

/// The inode gets its new name.
fn take_name(how: &Rename<'_, Fs>, node: &Node, victim: Option<&Node>, tx: &mut Tx<'_>) -> Result {
    let new_dir = how.new_dir;
    let done = if victim.is_some() {
        let mut dir = Dir::new(new_dir);
        let ino = inode::number(node);
        names::replace(&mut dir, tx, how.new.name(), ino, file_type(node))
            .inspect(|()| changed(new_dir))
    } else {
        insert(new_dir, tx, how.new.name(), node).inspect(|()| {
            if node.is_directory() && crosses(how) {
                add_dir_link(new_dir);
            }
        })
    };
    // It may have grown, whatever comes of the rest. In the same directory, `leave_name` writes it.
    if done.is_err() || crosses(how) {
        if let Err(error) = new_dir.data().write_core_now(new_dir, tx) {
            inode::half_done(new_dir, "a new block", error);
        }
    }
    done
}

/// The inode has its new name: it loses the old one, and who had the new one loses that.
fn leave_name(
    how: &Rename<'_, Fs>,
    node: &Node,
    victim: Option<&Node>,
    left: Option<&Ready<Fs>>,
    tx: &mut Tx<'_>,
) -> Result {
    let old_dir = how.old_dir;
    let ino = inode::number(node);
    let mut dir = Dir::new(old_dir);
    let gone = match left {
        Some(left) => {
            let ino = inode::number(left);
            names::replace(&mut dir, tx, how.old.name(), ino, FileType::CharDevice)
        }
        None => names::remove(&mut dir, tx, how.old.name(), ino),
    };
    // Moved, or in place of another one in the same directory.
    if gone.is_ok() && node.is_directory() && (crosses(how) || victim.is_some()) {
        drop_dir_link(old_dir);
    }
    changed(old_dir);
    old_dir.data().write_core_now(old_dir, tx)?;
    gone?;
    // Users of old expect that the change time of what is renamed changes, too.
    node.set_change_time_now();
    node.raise_version();
    node.data().write_attrs(node, tx)?;
    match victim {
        Some(victim) if victim.is_directory() => buried(victim, tx),
        Some(victim) => lost_name(victim, tx),
        None => Ok(()),
    }
}

/// Two names change inodes with each other.
fn exchange(how: &Rename<'_, Fs>) -> Result {
    let (old_dir, new_dir) = (how.old_dir, how.new_dir);
    let (Some(old), Some(new)) = (how.old.inode(), how.new.inode()) else {
        return Err(ENOENT);
    };
    let volume = old_dir.data().volume();
    let crossing = crosses(how);
    // A directory for something else: one of the two directories has one more then.
    if crossing && old.is_directory() != new.is_directory() {
        check_dir_links(if old.is_directory() { new_dir } else { old_dir })?;
    }
    let credits = names::CHANGE_CREDITS
        .saturating_mul(4)
        .saturating_add(Core::WRITE_CREDITS.saturating_mul(4));
    // What can fail comes first: then all is in memory.
    let _held = (
        inode::hold(old_dir)?,
        inode::hold(new_dir)?,
        inode::hold(old)?,
        inode::hold(new)?,
    );
    check_name(old_dir, how.old.name(), old)?;
    check_name(new_dir, how.new.name(), new)?;
    if crossing {
        for dir in [old, new].into_iter().filter(|node| node.is_directory()) {
            names::check_dotdot(&Dir::new(dir))?;
        }
    }
    let mut tx = volume.store.begin(credits, 0)?;

    let mut swap = |dir: &Node, name: &[u8], node: &Node| {
        names::replace(
            &mut Dir::new(dir),
            &mut tx,
            name,
            inode::number(node),
            file_type(node),
        )
    };
    swap(new_dir, how.new.name(), old)?;
    swap(old_dir, how.old.name(), new)
        .and_then(|()| exchanged(how, old, new, &mut tx))
        .map_err(|error| inode::half_done(old, "its new name", error))
}

/// Two names have changed inodes with each other: what goes with that.
fn exchanged(how: &Rename<'_, Fs>, old: &Node, new: &Node, tx: &mut Tx<'_>) -> Result {
    let (old_dir, new_dir) = (how.old_dir, how.new_dir);
    let crossing = crosses(how);
    if crossing {
        if old.is_directory() {
            names::set_dotdot(&mut Dir::new(old), tx, inode::number(new_dir))?;
        }
        if new.is_directory() {
            names::set_dotdot(&mut Dir::new(new), tx, inode::number(old_dir))?;
        }
        match (old.is_directory(), new.is_directory()) {
            (true, false) => {
                drop_dir_link(old_dir);
                add_dir_link(new_dir);
            }
            (false, true) => {
                drop_dir_link(new_dir);
                add_dir_link(old_dir);
            }
            _ => {}
        }
    }
    changed(old_dir);
    old_dir.data().write_attrs(old_dir, tx)?;
    if crossing {
        changed(new_dir);
        new_dir.data().write_attrs(new_dir, tx)?;
    }
    for node in [old, new] {
        node.set_change_time_now();
        node.raise_version();
        node.data().write_attrs(node, tx)?;
    }
    Ok(())
}
