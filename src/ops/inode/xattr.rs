// SPDX-License-Identifier: GPL-2.0

//! Extended attributes and access control lists as the VFS asks for them and changes them.
//!
//! # Locks
//!
//! The map lock, by the core.

use crate::change;
use crate::disk::acl::{decode, encode, AclEntry};
use crate::disk::xattr::{Name, Prefix, VALUE_MAX};
use crate::inode::{How, NewAttribute};
use crate::linux::acl::{self, AccessLists, Acl, Inherited};
use crate::linux::task;
use crate::linux::xattr::{Before, ExtendedAttributes, Kind, NameList};
use crate::ops::reclaim::{with_space, Effort};
use crate::ops::{durable, Fs, Node};
use crate::store::Store;
use kernel::prelude::*;

/// Gives an attribute a value, or takes it away.
fn set(node: &Node, name: Name<'_>, value: Option<&[u8]>, how: How, mode: Option<u16>) -> Result {
    let store = &node.data().volume().store;
    // Before anything is changed in memory.
    store.check_writable()?;
    node.initialize_quota()?;
    with_space(node, Effort::Blocks, || {
        change::xattr::set(node, name, value, how, mode)
    })?;
    durable::attributes(node)
}

/// Copies the value of an attribute to `to`, and returns how many bytes it has.
fn get(node: &Node, name: Name<'_>, to: &mut [u8]) -> Result<usize> {
    let data = node.data();
    let volume = data.volume();
    volume.store.check_alive()?;
    let core = data.map_lock();
    core.attribute(volume, name, to)
}

fn prefix(kind: Kind) -> Prefix {
    match kind {
        Kind::User => Prefix::USER,
        Kind::Trusted => Prefix::TRUSTED,
        Kind::Security => Prefix::SECURITY,
        Kind::Hurd => Prefix::HURD,
    }
}

/// Those of the user may be turned off.
fn check_user(node: &Node, kind: Kind) -> Result {
    match kind {
        Kind::User | Kind::Hurd if !node.super_block().data().has_user_attributes() => {
            Err(EOPNOTSUPP)
        }
        _ => Ok(()),
    }
}

impl ExtendedAttributes for Fs {
    fn get(node: &Node, kind: Kind, name: &[u8], to: &mut [u8]) -> Result<usize> {
        check_user(node, kind)?;
        let prefix = prefix(kind);
        get(node, Name { prefix, rest: name }, to)
    }

    fn set(node: &Node, kind: Kind, name: &[u8], value: Option<&[u8]>, before: Before) -> Result {
        check_user(node, kind)?;
        let how = match before {
            Before::Any => How::Any,
            Before::Nothing => How::Create,
            Before::Something => How::Replace,
        };
        let prefix = prefix(kind);
        set(node, Name { prefix, rest: name }, value, how, None)
    }

    fn list(node: &Node, to: &mut NameList<'_>) -> Result {
        let data = node.data();
        let volume = data.volume();
        volume.store.check_alive()?;
        let sb = node.super_block();
        let (user, acls) = (sb.data().has_user_attributes(), sb.has_acls());
        let trusted = task::is_capable_of_administration();
        let core = data.map_lock();
        core.list_attributes(volume, |name| {
            let (seen, kind) = match name.prefix {
                Prefix::ACL_ACCESS if acls => return to.add(&[b"system.posix_acl_access"]),
                Prefix::ACL_DEFAULT if acls => return to.add(&[b"system.posix_acl_default"]),
                Prefix::USER => (user, Kind::User),
                Prefix::HURD => (user, Kind::Hurd),
                Prefix::TRUSTED => (trusted, Kind::Trusted),
                Prefix::SECURITY => (true, Kind::Security),
                // Of other systems, or not for users.
                _ => return Ok(()),
            };
            match seen {
                true => to.add(&[kind.prefix(), name.rest]),
                false => Ok(()),
            }
        })
    }
}

/// The name of the attribute that holds a list.
fn list_name(kind: acl::Kind) -> Name<'static> {
    Name {
        prefix: match kind {
            acl::Kind::Access => Prefix::ACL_ACCESS,
            acl::Kind::Default => Prefix::ACL_DEFAULT,
        },
        rest: &[],
    }
}

/// A list as the value of an attribute.
fn stored(acl: &Acl) -> Result<KVec<u8>> {
    encode(acl.entries().map(|entry| AclEntry {
        tag: entry.tag,
        permissions: entry.permissions,
        id: entry.id,
    }))
}

impl AccessLists for Fs {
    fn get_acl(node: &Node, kind: acl::Kind) -> Result<Option<Acl>> {
        let name = list_name(kind);
        let data = node.data();
        let core = data.map_lock();
        let volume = data.volume();
        let len = match core.attribute(volume, name, &mut []) {
            Ok(len) => len.min(VALUE_MAX),
            Err(error) if error == ENODATA => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut value = KVec::from_elem(0, len, GFP_KERNEL)?;
        core.attribute(volume, name, &mut value)?;
        drop(core);
        let entries = decode(&value)?;
        let count = u32::try_from(entries.len()).map_err(|_| EINVAL)?;
        if count == 0 {
            return Ok(None);
        }
        let entries = entries.iter().map(|entry| acl::Entry {
            tag: entry.tag,
            permissions: entry.permissions,
            id: entry.id,
        });
        Acl::new(count, entries).map(Some)
    }

    fn set_acl(node: &Node, kind: acl::Kind, acl: Option<&Acl>, mode: Option<u16>) -> Result {
        if kind == acl::Kind::Default && !node.is_directory() {
            return match acl {
                Some(_) => Err(EACCES),
                None => Ok(()),
            };
        }
        let value = acl.map(stored).transpose()?;
        set(node, list_name(kind), value.as_deref(), How::Any, mode)
    }
}

/// The attributes that hold the lists of a new inode.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn inherited(acls: &Inherited) -> Result<Option<KVec<NewAttribute>>> {
    let mut attributes = None;
    for (kind, acl) in [
        (acl::Kind::Default, &acls.default),
        (acl::Kind::Access, &acls.access),
    ] {
        let Some(acl) = acl else { continue };
        let new = NewAttribute {
            prefix: list_name(kind).prefix,
            rest: KVec::new(),
            value: stored(acl)?,
        };
        let attributes = attributes.get_or_insert_with(KVec::new);
        attributes.push(new, GFP_KERNEL)?;
    }
    Ok(attributes)
}

/// A label of a new inode.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn label(name: &[u8], value: &[u8]) -> Result<NewAttribute> {
    let copy = |from: &[u8]| -> Result<KVec<u8>> {
        let mut to = KVec::new();
        to.extend_from_slice(from, GFP_KERNEL)?;
        Ok(to)
    };
    Ok(NewAttribute {
        prefix: Prefix::SECURITY,
        rest: copy(name)?,
        value: copy(value)?,
    })
}
