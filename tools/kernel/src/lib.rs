// SPDX-License-Identifier: GPL-2.0

//! Host stand-in for the `kernel` crate.
//!
//! Gives the few names of the in-tree crate (Linux 7.3) that the core uses, with the same
//! signatures, so that the same source compiles in the module and on the host. Nothing here is for the
//! core alone: [`host`] is what a host program adds, failing allocations and rules on sleeping.
//!
//! What the kernel finds only with its debug options is found here always: an allocation or a lock that may
//! sleep under a spinning lock panics.

pub mod alloc;
pub mod error;
pub mod fmt;
pub mod host;
pub mod prelude;
pub mod rbtree;
pub mod sync;
