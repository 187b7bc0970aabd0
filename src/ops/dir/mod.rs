// SPDX-License-Identifier: GPL-2.0

//! Directories: lookup and all that changes one ([`table`]), and open ones ([`open`]).

pub(crate) mod open;
pub(crate) mod table;

/// The operations of directories.
pub(crate) struct Directory;
