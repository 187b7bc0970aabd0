// SPDX-License-Identifier: GPL-2.0

//! What is under the core on the host: images, and a store over them.

mod device;
mod image;
mod store;

pub use device::Device;
pub use image::{Image, Mkfs};
pub use store::{Commit, HostStore, Raw, Restart, Tx};
