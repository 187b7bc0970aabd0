// SPDX-License-Identifier: GPL-2.0

//! Host stand-in for the `kernel` crate.
//!
//! Gives the few names of the in-tree crate (Linux 7.3) that `disk`, `space`, `map` and `names` use, with the
//! same signatures, so that the same source compiles in the module and on the host. Nothing here is for the
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

#[doc(hidden)]
#[macro_export]
macro_rules! __print {
    ($level:literal, $($arg:tt)*) => {
        ::std::eprint!("{}: {}", $level, ::core::format_args!($($arg)*))
    };
}

/// Prints at level emergency.
#[macro_export]
macro_rules! pr_emerg { ($($arg:tt)*) => { $crate::__print!("emerg", $($arg)*) }; }
/// Prints at level alert.
#[macro_export]
macro_rules! pr_alert { ($($arg:tt)*) => { $crate::__print!("alert", $($arg)*) }; }
/// Prints at level critical.
#[macro_export]
macro_rules! pr_crit { ($($arg:tt)*) => { $crate::__print!("crit", $($arg)*) }; }
/// Prints at level error.
#[macro_export]
macro_rules! pr_err { ($($arg:tt)*) => { $crate::__print!("err", $($arg)*) }; }
/// Prints at level warning.
#[macro_export]
macro_rules! pr_warn { ($($arg:tt)*) => { $crate::__print!("warn", $($arg)*) }; }
/// Prints at level notice.
#[macro_export]
macro_rules! pr_notice { ($($arg:tt)*) => { $crate::__print!("notice", $($arg)*) }; }
/// Prints at level info.
#[macro_export]
macro_rules! pr_info { ($($arg:tt)*) => { $crate::__print!("info", $($arg)*) }; }
/// Prints at level debug: nothing on the host, but the arguments are checked.
#[macro_export]
macro_rules! pr_debug { ($($arg:tt)*) => { { let _ = ::core::format_args!($($arg)*); } }; }
