// SPDX-License-Identifier: GPL-2.0

//! A name more for an inode that is there, and a name less. How links are counted: `dir`.

use super::dir::{drop_dir_link, Dir, LINK_MAX};
use super::live::{InodePart, Live};
use super::{
    half_done, mark_dying, pin, reservation, resize, unmark_again, unmark_orphan, write_now,
};
use crate::names;
use crate::store::{Rule, Store};
use kernel::error::{code::*, Result};

/// `link`: gives `node`, which is no directory, the name `name` in `dir`, which has no such name.
///
/// # Errors
///
/// `EMLINK`; `EXDEV` into a directory of another project; `ENOSPC` where there is no block for the name; `EUCLEAN`,
/// reported; `EIO`, `ENOMEM`.
pub fn link<S: Store, L: Live<S>>(node: &L, dir: &L, name: &[u8]) -> Result {
    if node.links() >= LINK_MAX {
        return Err(EMLINK);
    }
    dir.check_project(node)?;
    let _pinned = (pin(dir)?, pin(node)?);
    let mut tx = dir.volume().store.begin(reservation::link(dir))?;
    let inserted = insert(dir, &mut tx, name, node);
    // Whatever it came to, the directory may have changed.
    write_now(dir, &mut tx, InodePart::Data)?;
    inserted?;
    // What a truncate that failed has left behind the end has to be cut off by a recovery still.
    let ends = node.links() == 0 && resize::is_whole(node);
    node.set_links(node.links().saturating_add(1));
    let unmarked = match ends && !node.volume().store.breaks(Rule::OrphanEnds) {
        true => unmark_orphan(node, &mut tx),
        false => Ok(()),
    };
    node.changed();
    unmarked
        .and_then(|()| write_now(node, &mut tx, InodePart::Attributes))
        .map_err(|error| half_done(node, "to add a name of the inode", error))
}

/// `unlink`, `rmdir`: takes the name `name` in `dir` from `node`. A directory must be empty.
///
/// # Errors
///
/// `ENOTEMPTY`; `EUCLEAN`, reported; `EIO`, `ENOMEM`.
pub fn unlink<S: Store, L: Live<S>>(dir: &L, name: &[u8], node: &L) -> Result {
    let is_dir = node.is_dir();
    if is_dir && !names::is_empty(&Dir::new(node))? {
        return Err(ENOTEMPTY);
    }
    let _pinned = (pin(dir)?, pin(node)?);
    let mut tx = dir.volume().store.begin(reservation::UNLINK)?;
    // Recovery has to know before the name has gone.
    let dies = is_dir || node.links() == 1;
    let marked = dies && mark_dying(node, &mut tx)?;
    if let Err(error) = names::remove(&mut Dir::new(dir), &mut tx, name, node.ino()) {
        if marked {
            unmark_again(node, &mut tx);
        }
        return Err(error);
    }
    if is_dir {
        drop_dir_link(dir);
    }
    dir.contents_changed();
    write_now(dir, &mut tx, InodePart::Attributes)
        .and_then(|()| lost_name(node, &mut tx))
        .map_err(|error| half_done(node, "to remove a name of the inode", error))
}

/// An inode has lost a name; a directory has no other.
pub(super) fn lost_name<S: Store, L: Live<S>>(node: &L, tx: &mut S::Tx<'_>) -> Result {
    if node.is_dir() {
        node.set_links(0);
    } else if node.links() == 0 {
        // The count was too low. The name is gone, which was what was wanted.
        return Ok(());
    } else {
        node.set_links(node.links().saturating_sub(1));
    }
    node.changed();
    if node.links() == 0 {
        mark_dying(node, tx)?;
    }
    write_now(node, tx, InodePart::Attributes)
}

/// Inserts a name that was looked up and not found. The caller writes the directory, whatever this returns.
pub(super) fn insert<S: Store, L: Live<S>>(
    dir: &L,
    tx: &mut S::Tx<'_>,
    name: &[u8],
    node: &L,
) -> Result {
    names::insert(&mut Dir::new(dir), tx, name, node.ino(), node.file_type())?;
    dir.contents_changed();
    Ok(())
}
