// SPDX-License-Identifier: GPL-2.0

//! `rename`, in all its forms, each one transaction.

use super::{
    add_dir_link, drop_dir_link, file_type, is_dir, What, INSERT_REVOKES, ORPHAN_CREDITS,
    WRITE_CREDITS,
};
use crate::broken::Rule;
use crate::mount::{Mount, Shared};
use iomapfs_core::host::Tx;
use iomapfs_core::names::{self, FileType};
use iomapfs_core::store::Store;
use kernel::error::{code::*, Error, Result};

/// A name that is to change.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The directory.
    pub dir: &'a Shared,
    /// The name in it.
    pub name: &'a [u8],
    /// What the name leads to, if there is one.
    pub node: Option<&'a Shared>,
}

/// Whether two inodes are not the same.
fn differ(a: &Shared, b: &Shared) -> bool {
    a.borrow().ino() != b.borrow().ino()
}

impl Mount {
    /// What `old` leads to gets the name `new`, which is taken from what has it. If there is a `whiteout`, the number
    /// of the generation of one, that is left under the old name, and given.
    ///
    /// # Errors
    ///
    /// `ENOTEMPTY`, `ENOSPC`; with it a whiteout that was made and is to be freed.
    pub fn rename(
        &self,
        old: Side<'_>,
        new: Side<'_>,
        whiteout: Option<u32>,
    ) -> Result<Option<Shared>, (Error, Option<Shared>)> {
        let alone = |error| (error, None);
        let node = old.node.ok_or(ENOENT).map_err(alone)?;
        if let Some(victim) = new.node.filter(|victim| is_dir(victim)) {
            if !names::is_empty(&self.dir(victim)).map_err(alone)? {
                return Err(alone(ENOTEMPTY));
            }
        }
        let mut credits = self.insert_credits(new.dir)
            + names::CHANGE_CREDITS * 2
            + WRITE_CREDITS * 3
            + ORPHAN_CREDITS;
        if whiteout.is_some() {
            credits += self.create_credits() + ORPHAN_CREDITS;
        }
        let begun = self.vol.store.begin(credits, INSERT_REVOKES);
        let mut tx = begun.map_err(alone)?;
        let left = whiteout
            .map(|generation| self.make(&mut tx, old.dir, What::Device, generation))
            .transpose()
            .map_err(alone)?;
        match self.change_names(&mut tx, old, new, node, left.as_ref()) {
            Ok(()) => Ok(left),
            Err(error) => {
                if let Some(left) = &left {
                    self.give_up(&mut tx, left);
                }
                Err((error, left))
            }
        }
    }

    /// The part of [`Self::rename`] inside the handle. Does first what can fail.
    fn change_names(
        &self,
        tx: &mut Tx<'_>,
        old: Side<'_>,
        new: Side<'_>,
        node: &Shared,
        left: Option<&Shared>,
    ) -> Result {
        let moves_dir = is_dir(node) && differ(old.dir, new.dir);
        let _held = (
            self.hold(old.dir)?,
            self.hold(new.dir)?,
            self.hold(node)?,
            self.hold(new.node.unwrap_or(node))?,
        );
        names::lookup(&self.dir(old.dir), old.name)?.ok_or(ENOENT)?;
        let dying = new
            .node
            .filter(|victim| is_dir(victim) || victim.borrow().attrs.nlink == 1);
        let marked = match dying {
            Some(victim) => self.mark_orphan(tx, victim)?,
            None => false,
        };
        let named = match moves_dir {
            true => self.set_parent(tx, node, new.dir),
            false => Ok(()),
        };
        let named = named.and_then(|()| self.take_name(tx, new, node));
        if let Err(error) = named {
            if moves_dir {
                self.set_parent(tx, node, old.dir)?;
            }
            if let Some(victim) = dying.filter(|_| marked) {
                self.unmark_orphan(tx, victim)?;
            }
            return Err(error);
        }
        self.leave_name(tx, old, new, node, left)
    }

    fn set_parent(&self, tx: &mut Tx<'_>, node: &Shared, parent: &Shared) -> Result {
        if self.broken.is(Rule::NoDotDot) {
            return Ok(());
        }
        let parent = parent.borrow().ino();
        names::set_dotdot(&mut self.dir(node), tx, parent)
    }

    /// The inode gets its new name.
    fn take_name(&self, tx: &mut Tx<'_>, new: Side<'_>, node: &Shared) -> Result {
        if new.node.is_some() {
            self.replace(tx, new.dir, new.name, node)?;
            new.dir.borrow_mut().touch();
            return Ok(());
        }
        let inserted = self.insert(tx, new.dir, new.name, node);
        if inserted.is_err() {
            // The directory may have grown all the same.
            new.dir.borrow_mut().write_core(self, tx)?;
        }
        inserted
    }

    fn replace(&self, tx: &mut Tx<'_>, dir: &Shared, name: &[u8], node: &Shared) -> Result {
        let (ino, kind) = (node.borrow().ino(), file_type(&node.borrow()));
        names::replace(&mut self.dir(dir), tx, name, ino, kind)
    }

    /// The inode has its new name: it loses the old one, and who had the new one loses that.
    fn leave_name(
        &self,
        tx: &mut Tx<'_>,
        old: Side<'_>,
        new: Side<'_>,
        node: &Shared,
        left: Option<&Shared>,
    ) -> Result {
        let crosses = differ(old.dir, new.dir);
        let mut dir = self.dir(old.dir);
        match left {
            Some(left) => {
                let ino = left.borrow().ino();
                names::replace(&mut dir, tx, old.name, ino, FileType::CharDevice)?;
            }
            None => {
                let ino = node.borrow().ino();
                names::remove(&mut dir, tx, old.name, ino)?;
            }
        }
        if is_dir(node) && crosses {
            drop_dir_link(old.dir);
            if new.node.is_none() {
                add_dir_link(new.dir);
            }
        } else if is_dir(node) && new.node.is_some() {
            drop_dir_link(old.dir);
        }
        old.dir.borrow_mut().touch();
        old.dir.borrow_mut().write_core(self, tx)?;
        if crosses {
            new.dir.borrow_mut().write_core(self, tx)?;
        }
        node.borrow_mut().touch();
        node.borrow_mut().write(self, tx)?;
        match new.node {
            Some(victim) => self.lost_name(tx, victim),
            None => Ok(()),
        }
    }

    /// Two names change inodes with each other.
    pub fn exchange(&self, one: Side<'_>, other: Side<'_>) -> Result {
        let (Some(old), Some(new)) = (one.node, other.node) else {
            return Err(ENOENT);
        };
        let credits = names::CHANGE_CREDITS * 4 + WRITE_CREDITS * 4;
        let _held = (
            self.hold(one.dir)?,
            self.hold(other.dir)?,
            self.hold(old)?,
            self.hold(new)?,
        );
        names::lookup(&self.dir(one.dir), one.name)?.ok_or(ENOENT)?;
        let mut tx = self.vol.store.begin(credits, 0)?;
        self.replace(&mut tx, other.dir, other.name, old)?;
        if !self.broken.is(Rule::HalfExchange) {
            self.replace(&mut tx, one.dir, one.name, new)?;
        }
        if differ(one.dir, other.dir) {
            for (node, parent) in [(old, other.dir), (new, one.dir)] {
                if is_dir(node) {
                    self.set_parent(&mut tx, node, parent)?;
                }
            }
            let (from, to) = match (is_dir(old), is_dir(new)) {
                (true, false) => (Some(one.dir), Some(other.dir)),
                (false, true) => (Some(other.dir), Some(one.dir)),
                _ => (None, None),
            };
            from.into_iter().for_each(drop_dir_link);
            to.into_iter().for_each(add_dir_link);
            other.dir.borrow_mut().touch();
        }
        one.dir.borrow_mut().touch();
        one.dir.borrow_mut().write(self, &mut tx)?;
        if differ(one.dir, other.dir) {
            other.dir.borrow_mut().write(self, &mut tx)?;
        }
        for node in [old, new] {
            node.borrow_mut().touch();
            node.borrow_mut().write(self, &mut tx)?;
        }
        Ok(())
    }
}
