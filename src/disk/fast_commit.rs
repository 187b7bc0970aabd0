// SPDX-License-Identifier: GPL-2.0

//! Fast commits, as far as it has to be known whether there are some ("Fast commits" in
//! `Documentation/filesystems/ext4/journal.rst`).
//!
//! The blocks behind the log begin with a tag that says which transaction the fast commits go on from. Those of an
//! earlier one are done with.

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::FromBytes;
use zerocopy_derive::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The tag of a head.
const HEAD: u16 = 9;

/// A tag (`struct ext4_fc_tl`) with what follows in a head (`struct ext4_fc_head`).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    tag: U16,
    len: U16,
    features: U32,
    tid: U32,
}

/// Whether the first block for fast commits, `bytes`, begins with one that goes on from where transaction `tid` begins.
pub fn begins(tid: u32, bytes: &[u8]) -> bool {
    match Head::ref_from_prefix(bytes) {
        Ok((head, _)) => head.tag.get() == HEAD && head.tid.get() == tid,
        Err(_) => false,
    }
}
