// SPDX-License-Identifier: GPL-2.0

//! What sysfs has of each mount, in `/sys/fs/iomapfs/DEVICE`: what monitoring reads of ext4, by the same names. What
//! ext4 has there beside is about its own allocator, or would say something that is not so.
//!
//! | file | what it has |
//! |---|---|
//! | `delayed_allocation_blocks` | blocks that are reserved for data in the page cache, and for tree nodes |
//! | `session_write_kbytes`, `lifetime_write_kbytes` | what the device was written since the mount, and ever |
//! | `reserved_clusters` | what is kept back from everybody for what must not fail |
//! | `errors_count`, `first_error_...`, `last_error_...` | the errors as the super block has them |
//! | `trigger_fs_error` | a text that is written to it is an error of the file system |
//!
//! # Locks
//!
//! The byte lock of the super block; the index locks of the groups, one after the other.

use crate::disk::superblock::RawSuper;
use crate::linux::sysfs::{Attribute, Feature, Page};
use crate::linux::task;
use crate::ops::{Fs, SuperBlock};
use crate::store::{About, Store};
use kernel::error::{code::*, Result};
use kernel::prelude::*;

/// See the top of the file.
pub(super) const ATTRIBUTES: [Attribute<Fs>; 18] = [
    Attribute::read(c"delayed_allocation_blocks", |sb, page| {
        print(page, sb.data().mounted.volume.space.free_blocks().reserved)
    }),
    Attribute::read(c"session_write_kbytes", |sb, page| {
        print(page, sb.data().mounted.written_since_mount())
    }),
    Attribute::read(c"lifetime_write_kbytes", |sb, page| {
        print(page, sb.data().mounted.written_ever())
    }),
    Attribute::read(c"reserved_clusters", |sb, page| {
        let layout = &sb.data().mounted.volume.layout;
        let clusters = layout.kept_blocks().wrapping_shr(layout.cluster_bits());
        print(page, clusters)
    }),
    Attribute::write(c"trigger_fs_error", trigger),
    Attribute::read(c"errors_count", |sb, page| {
        recorded(sb, page, |raw| raw.error_count.get().into())
    }),
    Attribute::read(c"first_error_time", |sb, page| {
        recorded(sb, page, RawSuper::first_error_seconds)
    }),
    Attribute::read(c"last_error_time", |sb, page| {
        recorded(sb, page, RawSuper::last_error_seconds)
    }),
    Attribute::read(c"first_error_errcode", |sb, page| {
        recorded(sb, page, |raw| raw.first_error_errcode.into())
    }),
    Attribute::read(c"last_error_errcode", |sb, page| {
        recorded(sb, page, |raw| raw.last_error_errcode.into())
    }),
    Attribute::read(c"first_error_ino", |sb, page| {
        recorded(sb, page, |raw| raw.first_error_ino.get().into())
    }),
    Attribute::read(c"last_error_ino", |sb, page| {
        recorded(sb, page, |raw| raw.last_error_ino.get().into())
    }),
    Attribute::read(c"first_error_block", |sb, page| {
        recorded(sb, page, |raw| raw.first_error_block.get())
    }),
    Attribute::read(c"last_error_block", |sb, page| {
        recorded(sb, page, |raw| raw.last_error_block.get())
    }),
    Attribute::read(c"first_error_line", |sb, page| {
        recorded(sb, page, |raw| raw.first_error_line.get().into())
    }),
    Attribute::read(c"last_error_line", |sb, page| {
        recorded(sb, page, |raw| raw.last_error_line.get().into())
    }),
    Attribute::read(c"first_error_func", |sb, page| {
        function(sb, page, |raw| raw.first_error_func)
    }),
    Attribute::read(c"last_error_func", |sb, page| {
        function(sb, page, |raw| raw.last_error_func)
    }),
];

/// What this file system can do, by the names that ext4 has for it.
pub(super) const FEATURES: [Feature; 2] = [
    Feature::new(c"batched_discard"),
    Feature::new(c"metadata_csum_seed"),
];

fn print(page: &mut Page, number: u64) -> Result {
    page.print(fmt!("{number}\n"));
    Ok(())
}

/// A number that the super block has.
fn recorded(sb: &SuperBlock, page: &mut Page, field: impl FnOnce(&RawSuper) -> u64) -> Result {
    let volume = &sb.data().mounted.volume;
    print(page, volume.super_block.with(&volume.store, field)?)
}

/// The name of a function that the super block has.
fn function(sb: &SuperBlock, page: &mut Page, field: impl FnOnce(&RawSuper) -> [u8; 32]) -> Result {
    let volume = &sb.data().mounted.volume;
    let name = volume.super_block.with(&volume.store, field)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    page.print(fmt!("{}\n", core::str::from_utf8(name).unwrap_or("?")));
    Ok(())
}

/// What is written is the text of an error.
fn trigger(sb: &SuperBlock, text: &[u8]) -> Result {
    if !task::is_capable_of_administration() {
        return Err(EPERM);
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if !text.is_empty() {
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        let store = &sb.data().mounted.volume.store;
        store.fail(EUCLEAN, About::NONE, fmt!("trigger_fs_error: {text}"));
    }
    Ok(())
}
