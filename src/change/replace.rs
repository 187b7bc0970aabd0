// SPDX-License-Identifier: GPL-2.0

//! Files that stand in for others, of programs that do not call `fsync`: a file gets the name of another one, or what
//! it had was cut off and it is written anew.
//!
//! # Crash safety
//!
//! All that the file holds is shown by it, in this transaction or an earlier one, before the transaction with the new
//! name begins. So the name leads to the old content after a power cut, or to the new one, whole. Where a file is
//! written anew, it is so from the moment on that it is closed; before, there is nothing to go back to.
//!
//! # Locks
//!
//! The caller holds `i_rwsem` of a file that gets a name, and no map lock, handle or locked folio.

use super::live::Live;
use crate::store::{Rule, Store};
use core::ops::Range;
use kernel::error::Result;

/// What the file holds is about to take the place of something. `write_back` writes the bytes that it is given back,
/// and waits until the file shows them.
///
/// # Errors
///
/// Those of `write_back`.
pub fn write_first<S: Store, L: Live<S>>(
    live: &L,
    write_back: impl FnOnce(Range<u64>) -> Result,
) -> Result {
    let size = live.size();
    if size == 0 || live.volume().store.breaks(Rule::ReplacementFirst) {
        return Ok(());
    }
    write_back(0..size)
}
