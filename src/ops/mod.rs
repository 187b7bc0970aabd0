// SPDX-License-Identifier: GPL-2.0

//! What the VFS calls, and what carries the core in the kernel.
//!
//! Tests: `qemu/test/t`, in a guest (`qemu/test/run --list` says what each would catch).
//!
//! | file | what is in it |
//! |---|---|
//! | [`fs`] | the type that stands for this file system |
//! | [`kinds`] | which operations an inode has, by its type |
//! | [`file`](mod@file) | regular files: the page cache, direct I/O, iomap, sizes |
//! | [`dir`] | directories: names, listing |
//! | [`symlink`] | symbolic links whose target has a block |
//! | [`inode`] | what all inodes have: data in memory, reading, attributes, the end |
//! | [`handles`] | files that are found by a handle |
//! | [`ioctl`] | requests that files and directories share |
//! | [`mount`] | mounts: options, states, super block, journal, errors, what runs beside the callers |
//! | [`trace`] | trace points: what those are told who watch |
//! | [`reclaim`] | what is done where there is no space |
//! | [`durable`] | what is done to make a change durable |
//!
//! What a system call changes on disk is in [`change`](crate::change); here are the locks of the VFS, the page cache,
//! and waiting.

pub(crate) mod dir;
pub(crate) mod durable;
pub(crate) mod file;
mod fs;
mod handles;
pub(crate) mod inode;
mod ioctl;
mod kinds;
pub(crate) mod mount;
pub(crate) mod reclaim;
mod symlink;
pub(crate) mod trace;

pub(crate) use fs::{Fs, Node, SuperBlock};
pub(crate) use inode::{Core, Data};
pub(crate) use mount::{JournalStore, Orphans, Volume};
