// SPDX-License-Identifier: GPL-2.0

//! What all inodes have.
//!
//! | file | what is in it |
//! |---|---|
//! | [`data`] | what is kept of one in memory, and the map lock |
//! | [`live`] | an inode as the core sees it, and a new one |
//! | [`read`] | how inodes come into memory |
//! | [`write`](mod@write) | how they are written when the VFS says so |
//! | [`attr`] | attributes |
//! | `xattr` | extended attributes, access control lists |
//! | [`evict`](mod@evict) | how they leave memory |
//! | `convert` | the format's form of times and flags, and the VFS's |

pub(crate) mod attr;
mod convert;
pub(crate) mod data;
pub(crate) mod evict;
pub(crate) mod live;
pub(crate) mod read;
pub(crate) mod write;
mod xattr;

pub(crate) use data::{Core, Data};
