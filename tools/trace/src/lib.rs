// SPDX-License-Identifier: GPL-2.0

//! What `make trace` makes of the kernel's function graph tracer (the scripts are in `qemu/trace`).
//!
//! | module | what it is for |
//! |---|---|
//! | [`read`] | the tracer's text, a line at a time |
//! | [`names`] | names of functions as one reads them |
//! | [`tree`] | which function was called by which, in each task |
//! | [`choose`] | what of that is shown |
//! | [`text`] | the tree as text |
//! | [`picture`] | the same as SVG |

pub mod choose;
pub mod names;
pub mod picture;
pub mod read;
pub mod text;
pub mod tree;
