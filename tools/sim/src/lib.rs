// SPDX-License-Identifier: GPL-2.0

//! Random work on the core of iomapfs, with the power cut anywhere.
//!
//! The core is the same source as in the module, its operations included. Around it are a device that loses what it
//! may lose ([`device`]), a journal, written and replayed as jbd2 does it, in its format ([`journal`]), the page
//! cache and the schedule of its I/O ([`file`](mod@file)), and a model of all that must be there ([`model`]). After
//! each cut the device is recovered as by a mount, checked by the rules of e2fsck ([`check`](mod@check)) and compared
//! with the model ([`verify`](mod@verify)).

pub mod base;
pub mod broken;
pub mod case;
pub mod check;
pub mod choose;
pub mod device;
pub mod file;
pub mod journal;
pub mod judge;
pub mod machine;
pub mod model;
pub mod mount;
pub mod ops;
pub mod random;
pub mod shrink;
pub mod sim;
pub mod tree;
pub mod trim;
pub mod verify;
pub mod world;
