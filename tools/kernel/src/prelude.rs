// SPDX-License-Identifier: GPL-2.0

//! What almost every file of the kernel's Rust code uses.

pub use core::mem::{align_of, align_of_val, size_of, size_of_val};
pub use core::pin::Pin;

pub use crate::alloc::{flags::*, Box, KBox, KVBox, KVVec, KVec, VBox, VVec, Vec};
pub use crate::error::{code::*, Error, Result};
pub use crate::sync::{InPlaceInit, PinInit};
pub use core::format_args as fmt;
