// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)
//!
//! # Locks
//!
//! None.
//!
//! # Examples
//!
//! ```ignore
//! new.set_generation(random::number());
//! ```

use super::bindings;

/// A number that nobody can guess.
pub(crate) fn number() -> u32 {
    // SAFETY: There are no requirements.
    unsafe { bindings::get_random_u32() }
}
