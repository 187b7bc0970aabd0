// SPDX-License-Identifier: GPL-2.0

//! Which operations an inode has, by its type of file.

use super::dir::Directory;
use super::file::table::Regular;
use super::symlink::Slow;
use super::Fs;
use crate::linux::kinds::Kinds;

impl Kinds for Fs {
    type Regular = Regular;
    type Directory = Directory;
    type Symlink = Slow;
}
