// SPDX-License-Identifier: GPL-2.0

//! `rename`, in all its forms, each one transaction.
//!
//! # Locks
//!
//! The caller holds `i_rwsem` of both directories, of an inode that loses its name, and of a directory that moves.

use super::create::{give_up, make, What};
use super::dir::{add_dir_link, check_dir_links, drop_dir_link, Dir};
use super::link::{insert, lost_name};
use super::live::{InodePart, Live, Newborn};
use super::{half_done, mark_dying, pin, reservation, unmark_again, value, write_now};
use crate::names;
use crate::store::{Rule, Store};
use kernel::error::{code::*, Result};

/// A name that a rename changes.
pub struct Side<'a, L> {
    /// The directory that it is in.
    pub dir: &'a L,
    /// The name.
    pub name: &'a [u8],
    /// What it leads to, if it is there.
    pub inode: Option<&'a L>,
}

impl<L> Clone for Side<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Side<'_, L> {}

/// Two names, and what they are about.
struct Names<'a, L> {
    old: Side<'a, L>,
    new: Side<'a, L>,
    /// Whether they are in different directories.
    crosses: bool,
}

impl<'a, L> Names<'a, L> {
    fn new<S: Store>(old: Side<'a, L>, new: Side<'a, L>) -> Self
    where
        L: Live<S>,
    {
        let crosses = old.dir.ino() != new.dir.ino();
        Self { old, new, crosses }
    }
}

/// Gives what `old` leads to the name `new`, which is taken from another inode if that has it, and takes the old name
/// from it, or leaves the whiteout there: a newborn character device with number 0 and a link, which is returned.
///
/// # Errors
///
/// `ENOTEMPTY`; `EXDEV` into a directory of another project; `EMLINK` for one directory too many; `ENOSPC` where there
/// is no block for the name or the whiteout; `ENOENT` where `old` was looked up and leads to nothing; `EUCLEAN`,
/// reported, where a directory is not as it was looked up, or has another flaw; `EIO`, `ENOMEM`.
pub fn rename<S, L, N>(
    old: Side<'_, L>,
    new: Side<'_, L>,
    whiteout: Option<N>,
) -> Result<Option<N::Ready>>
where
    S: Store,
    L: Live<S>,
    N: Newborn<S, Live = L>,
{
    let names = Names::new(old, new);
    let node = old.inode.ok_or(ENOENT)?;
    new.dir.check_project(node)?;
    if let Some(victim) = new.inode.filter(|victim| victim.is_dir()) {
        if !names::is_empty(&Dir::new(victim))? {
            return Err(ENOTEMPTY);
        }
    } else if node.is_dir() && names.crosses && new.inode.is_none() {
        check_dir_links(new.dir)?;
    }
    let lists = match &whiteout {
        Some(newborn) => newborn.lists()?,
        None => None,
    };
    let stored = value::store(old.dir, lists.as_deref())?;
    let stored = stored.as_deref().unwrap_or(&[]);
    let credits = reservation::rename(new.dir, whiteout.is_some());
    let mut tx = old.dir.volume().store.begin(credits)?;
    let left = whiteout
        .map(|newborn| make(old.dir, &mut tx, newborn, What::Special, stored))
        .transpose()?;
    let done = change_names(&names, node, left.as_deref(), &mut tx);
    if let (Err(_), Some(left)) = (&done, &left) {
        give_up(&**left, &mut tx);
    }
    // Before the whiteout is given up, if it is.
    drop(tx);
    done.map(|()| left)
}

/// The part of [`rename`] inside the handle. Does first what can fail.
fn change_names<S: Store, L: Live<S>>(
    names: &Names<'_, L>,
    node: &L,
    left: Option<&L>,
    tx: &mut S::Tx<'_>,
) -> Result {
    let Names { old, new, crosses } = names;
    let moves_dir = node.is_dir() && *crosses;
    let victim = new.inode;
    let _pinned = (
        pin(old.dir)?,
        pin(new.dir)?,
        pin(node)?,
        pin(victim.unwrap_or(node))?,
    );
    // The block with the old name, which a damaged directory may have given to something else.
    check_name(old, node)?;
    let dying = victim.filter(|victim| victim.is_dir() || victim.links() == 1);
    let marked = match dying {
        Some(victim) => mark_dying(victim, tx)?,
        None => false,
    };
    let named = if moves_dir {
        set_parent(node, new.dir, tx)
    } else {
        Ok(())
    };
    let named = named.and_then(|()| replace_name(names, node, tx));
    if let Err(error) = named {
        if moves_dir {
            // What this fails with is what the first one has failed with.
            let _ = set_parent(node, old.dir, tx);
        }
        if let Some(victim) = dying.filter(|_| marked) {
            unmark_again(victim, tx);
        }
        return Err(error);
    }
    leave_name(names, node, left, tx).map_err(|error| half_done(node, "to rename the inode", error))
}

/// `EUCLEAN`, reported, where the name, which was looked up, does not lead to `node`.
fn check_name<S: Store, L: Live<S>>(side: &Side<'_, L>, node: &L) -> Result {
    let dir = Dir::new(side.dir);
    names::lookup(&dir, side.name)?
        .filter(|entry| entry.ino == node.ino())
        .map(drop)
        .ok_or_else(|| names::changed(&dir))
}

/// The directory `node` is in `parent` from now on.
fn set_parent<S: Store, L: Live<S>>(node: &L, parent: &L, tx: &mut S::Tx<'_>) -> Result {
    match node.volume().store.breaks(Rule::DotDot) {
        true => Ok(()),
        false => names::set_dotdot(&mut Dir::new(node), tx, parent.ino()),
    }
}

/// Makes the name of `side` lead to `node`.
fn lead<S: Store, L: Live<S>>(side: &Side<'_, L>, node: &L, tx: &mut S::Tx<'_>) -> Result {
    names::replace(
        &mut Dir::new(side.dir),
        tx,
        side.name,
        node.ino(),
        node.file_type(),
    )
}

/// The inode gets its new name.
fn replace_name<S: Store, L: Live<S>>(
    names: &Names<'_, L>,
    node: &L,
    tx: &mut S::Tx<'_>,
) -> Result {
    let new = &names.new;
    let done = if new.inode.is_some() {
        lead(new, node, tx).inspect(|()| new.dir.contents_changed())
    } else {
        insert(new.dir, tx, new.name, node).inspect(|()| {
            let counts = !node.volume().store.breaks(Rule::ParentLink);
            if node.is_dir() && names.crosses && counts {
                add_dir_link(new.dir);
            }
        })
    };
    // It may have grown, whatever comes of the rest. In the same directory, `leave_name` writes it.
    if done.is_err() || names.crosses {
        if let Err(error) = write_now(new.dir, tx, InodePart::Data) {
            half_done(new.dir, "to add a name to the directory", error);
        }
    }
    done
}

/// The inode has its new name: it loses the old one, and who had the new one loses that.
fn leave_name<S: Store, L: Live<S>>(
    names: &Names<'_, L>,
    node: &L,
    left: Option<&L>,
    tx: &mut S::Tx<'_>,
) -> Result {
    let Names { old, new, crosses } = names;
    let gone = match left {
        Some(left) => lead(old, left, tx),
        None => names::remove(&mut Dir::new(old.dir), tx, old.name, node.ino()),
    };
    // Moved, or in place of another one in the same directory.
    if gone.is_ok() && node.is_dir() && (*crosses || new.inode.is_some()) {
        drop_dir_link(old.dir);
    }
    old.dir.contents_changed();
    write_now(old.dir, tx, InodePart::Data)?;
    gone?;
    // Users of old expect that the change time of what is renamed changes, too.
    node.changed();
    write_now(node, tx, InodePart::Attributes)?;
    match new.inode {
        Some(victim) if !node.volume().store.breaks(Rule::VictimLink) => lost_name(victim, tx),
        _ => Ok(()),
    }
}

/// `rename` with `RENAME_EXCHANGE`: two names change inodes with each other.
///
/// # Errors
///
/// `ENOENT` where one of the names was looked up and leads to nothing; `EXDEV` into a directory of another project;
/// `EMLINK` for one directory too many; `EUCLEAN`, reported, where a directory is not as it was looked up, or has
/// another flaw; `EIO`, `ENOMEM`.
pub fn exchange<S: Store, L: Live<S>>(one: Side<'_, L>, other: Side<'_, L>) -> Result {
    let names = Names::new(one, other);
    let (Some(old), Some(new)) = (one.inode, other.inode) else {
        return Err(ENOENT);
    };
    other.dir.check_project(old)?;
    one.dir.check_project(new)?;
    // A directory for something else: one of the two directories has one more then.
    if names.crosses && old.is_dir() != new.is_dir() {
        check_dir_links(if old.is_dir() { other.dir } else { one.dir })?;
    }
    // What can fail comes first: then all is in memory.
    let _pinned = (pin(one.dir)?, pin(other.dir)?, pin(old)?, pin(new)?);
    check_name(&one, old)?;
    check_name(&other, new)?;
    if names.crosses {
        for dir in [old, new].into_iter().filter(|node| node.is_dir()) {
            names::check_dotdot(&Dir::new(dir))?;
        }
    }
    let mut tx = one.dir.volume().store.begin(reservation::EXCHANGE)?;
    lead(&other, old, &mut tx)?;
    let second = match one.dir.volume().store.breaks(Rule::BothNames) {
        true => Ok(()),
        false => lead(&one, new, &mut tx),
    };
    second
        .and_then(|()| exchanged(&names, old, new, &mut tx))
        .map_err(|error| half_done(old, "to exchange the name of the inode", error))
}

/// Two names have changed inodes with each other: what goes with that.
fn exchanged<S: Store, L: Live<S>>(
    names: &Names<'_, L>,
    old: &L,
    new: &L,
    tx: &mut S::Tx<'_>,
) -> Result {
    let (old_dir, new_dir) = (names.old.dir, names.new.dir);
    if names.crosses {
        for (node, parent) in [(old, new_dir), (new, old_dir)] {
            if node.is_dir() {
                set_parent(node, parent, tx)?;
            }
        }
        match (old.is_dir(), new.is_dir()) {
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
    old_dir.contents_changed();
    write_now(old_dir, tx, InodePart::Attributes)?;
    if names.crosses {
        new_dir.contents_changed();
        write_now(new_dir, tx, InodePart::Attributes)?;
    }
    for node in [old, new] {
        node.changed();
        write_now(node, tx, InodePart::Attributes)?;
    }
    Ok(())
}
