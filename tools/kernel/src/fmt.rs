// SPDX-License-Identifier: GPL-2.0

//! Formatting, as `kernel::fmt`.

pub use core::fmt::{Arguments, Debug, Display, Error, Formatter, Result, Write};
