// SPDX-License-Identifier: GPL-2.0

//! The task that calls.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use super::bindings;

/// Whether the task may use resources that are kept for the administrator (`CAP_SYS_RESOURCE`).
pub(crate) fn may_use_reserves() -> bool {
    // SAFETY: No conditions.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as i32) }
}
