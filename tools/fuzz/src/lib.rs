// SPDX-License-Identifier: GPL-2.0

//! Corrupted images: nothing that is read from the disk may make the core or the module panic, loop, or believe it.
//!
//! | module | what is in it |
//! |---|---|
//! | [`corpus`] | the good images that are damaged |
//! | [`image`] | images in memory, and changes to them |
//! | [`survey`], [`fields`] | where the structures of an image are, and their fields |
//! | [`mutate`], [`seal`] | damage, and checksums that are right in spite of it |
//! | [`mild`], [`fsck`] | changes that leave an image a good one, and `e2fsck`, which judges what was written |
//! | [`parsers`] | one target for each structure's parser |
//! | [`walk`] | the target that mounts, reads and writes a damaged image with the core |
//! | [`driver`] | runs targets with random bytes of a seed, where libFuzzer is not wanted |
//! | [`guest`] | mounts damaged images with the module in a guest |
//!
//! A target takes bytes, whoever makes them: libFuzzer (`fuzz_targets/`), the driver (`cargo test`, `iomapfs-fuzz
//! host`), a file.

pub mod corpus;
pub mod driver;
pub mod fields;
pub mod fsck;
pub mod guest;
pub mod image;
pub mod mild;
pub mod mutate;
pub mod parsers;
pub mod seal;
pub mod survey;
pub mod walk;
