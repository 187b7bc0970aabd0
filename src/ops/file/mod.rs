// SPDX-License-Identifier: GPL-2.0

//! Regular files.
//!
//! | file | what is in it |
//! |---|---|
//! | [`table`] | which of the following serves what |
//! | [`checks`] | what is checked before any write |
//! | [`cached`] | writes through the page cache |
//! | [`direct`] | direct reads and writes |
//! | [`dax`](mod@dax) | the same where there is no page cache, as the device is memory |
//! | [`atomic`] | direct writes that are there whole or not at all |
//! | [`iomap_ops`] | how iomap finds, reserves and chooses blocks |
//! | [`lookup`] | between iomap's bytes and the core's blocks |
//! | [`complete`] | after the data is on the device: the file shows it |
//! | [`resize`] | changing the size |
//! | [`fallocate`](mod@fallocate) | changing the blocks |
//! | [`exchange`](mod@exchange) | blocks that two files exchange |
//! | [`replace`] | what is to replace another file is written back early |

pub(crate) mod atomic;
pub(crate) mod cached;
pub(crate) mod checks;
pub(crate) mod complete;
pub(crate) mod dax;
pub(crate) mod direct;
pub(crate) mod exchange;
pub(crate) mod fallocate;
pub(crate) mod iomap_ops;
pub(crate) mod lookup;
pub(crate) mod replace;
pub(crate) mod resize;
pub(crate) mod table;
