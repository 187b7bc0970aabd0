// SPDX-License-Identifier: GPL-2.0

//! A POSIX access control list as the value of an extended attribute: a version, and entries of two sizes. (The form is
//! the file system's own; what users see of `system.posix_acl_access` is another one.)

use super::bytes::{get16, get32};
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::{code::*, Result};

/// The version that there is.
const VERSION: u32 = 1;

/// Tags of entries that name a user or a group (`ACL_USER`, `ACL_GROUP`), and so have an id.
const WITH_ID: [u16; 2] = [0x02, 0x08];

/// An entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is about.
    pub tag: u16,
    /// What they may.
    pub permissions: u16,
    /// The id of the user or group; 0 where the tag names none.
    pub id: u32,
}

/// The entries of a list.
///
/// # Errors
///
/// `EINVAL` where it has another version, or something behind the last entry. `ENOMEM`.
pub fn decode(bytes: &[u8]) -> Result<KVec<AclEntry>> {
    if get32(bytes, 0) != Some(VERSION) {
        return Err(EINVAL);
    }
    let mut entries = KVec::new();
    let mut at = size_of::<u32>();
    while at < bytes.len() {
        let entry = || {
            let tag = get16(bytes, at)?;
            let has_id = WITH_ID.contains(&tag);
            let id = match has_id {
                true => get32(bytes, at.checked_add(4)?)?,
                false => 0,
            };
            let entry = AclEntry {
                tag,
                permissions: get16(bytes, at.checked_add(2)?)?,
                id,
            };
            Some((entry, at.checked_add(if has_id { 8 } else { 4 })?))
        };
        let (entry, next) = entry().ok_or(EINVAL)?;
        entries.push(entry, GFP_KERNEL)?;
        at = next;
    }
    Ok(entries)
}

/// A list of these entries.
///
/// # Errors
///
/// `ENOMEM`.
pub fn encode(entries: impl Iterator<Item = AclEntry>) -> Result<KVec<u8>> {
    let mut bytes = KVec::new();
    bytes.extend_from_slice(&VERSION.to_le_bytes(), GFP_KERNEL)?;
    for entry in entries {
        bytes.extend_from_slice(&entry.tag.to_le_bytes(), GFP_KERNEL)?;
        bytes.extend_from_slice(&entry.permissions.to_le_bytes(), GFP_KERNEL)?;
        if WITH_ID.contains(&entry.tag) {
            bytes.extend_from_slice(&entry.id.to_le_bytes(), GFP_KERNEL)?;
        }
    }
    Ok(bytes)
}
