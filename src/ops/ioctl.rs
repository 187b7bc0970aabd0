// SPDX-License-Identifier: GPL-2.0

//! The requests of `ioctl(2)`, on files and directories.
//!
//! # Locks
//!
//! None is held. See [`trim`](mod@trim).

use super::mount::trim;
use super::Node;
use crate::change::trim::Wanted;
use crate::linux::ioctl::{TrimRange, FITRIM};
use crate::linux::task;
use kernel::error::{code::*, Result};

/// A request `cmd`, with what the user has at `arg`.
///
/// # Errors
///
/// `ENOTTY` for one that is not known; those of what is done; `EFAULT`.
pub(crate) fn ioctl(node: &Node, cmd: u32, arg: usize) -> Result<isize> {
    match cmd {
        FITRIM => trim(node, arg).map(|()| 0),
        _ => Err(ENOTTY),
    }
}

fn trim(node: &Node, arg: usize) -> Result {
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    let sb = node.super_block();
    trim::check(&sb.data().mounted.volume)?;
    let mut range = TrimRange::read(arg)?;
    let wanted = Wanted {
        start: range.start,
        len: range.len,
        min_len: range.min_len,
    };
    range.len = trim::trim(sb, wanted)?;
    range.write(arg)
}
