// SPDX-License-Identifier: GPL-2.0

//! POSIX access control lists.
//!
//! C header: [`include/linux/posix_acl.h`](srctree/include/linux/posix_acl.h)
//!
//! The VFS keeps the lists of an inode in memory, asks for them once, and decides by them who may do what. User and
//! group ids are those of the initial user namespace here, as on a disk.
//!
//! # Locks
//!
//! The VFS holds `i_rwsem` exclusively for [`AccessLists::set_acl`], and none for [`AccessLists::get_acl`].
//!
//! # Examples
//!
//! ```ignore
//! let entries = stored.entries().map(|entry| Entry { tag: entry.tag, .. });
//! let list = Acl::new(stored.len(), entries)?;
//! ```

use super::{
    attr::{
        Attr,
        Idmap, //
    },
    bindings,
    fs::FileSystem,
    inode::{
        INode,
        New, //
    }, //
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::c_int,
    prelude::*, //
};

/// Which of the lists of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who may do what with the inode.
    Access,
    /// What is made in the directory gets it.
    Default,
}

impl Kind {
    fn from_raw(kind: c_int) -> Option<Self> {
        match kind as u32 {
            bindings::ACL_TYPE_ACCESS => Some(Self::Access),
            bindings::ACL_TYPE_DEFAULT => Some(Self::Default),
            _ => None,
        }
    }

    fn as_raw(self) -> c_int {
        let kind = match self {
            Self::Access => bindings::ACL_TYPE_ACCESS,
            Self::Default => bindings::ACL_TYPE_DEFAULT,
        };
        kind as c_int
    }
}

/// An entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whom it is about (`ACL_USER_OBJ` and so on).
    pub(crate) tag: u16,
    /// What they may (`ACL_READ` and so on).
    pub(crate) permissions: u16,
    /// The id of the user or the group, where `tag` names one (`ACL_USER`, `ACL_GROUP`).
    pub(crate) id: u32,
}

/// A list.
///
/// # Invariants
///
/// A valid `struct posix_acl` with a reference of its own, which is not changed any more.
pub(crate) struct Acl(NonNull<bindings::posix_acl>);

// SAFETY: It does not change, and its references are counted.
unsafe impl Send for Acl {}
// SAFETY: As above.
unsafe impl Sync for Acl {}

impl Acl {
    /// A list of `count` entries.
    ///
    /// # Errors
    ///
    /// `EINVAL` where there are not that many, a tag is unknown, or an id is none; `ENOMEM`.
    pub(crate) fn new(count: u32, entries: impl Iterator<Item = Entry>) -> Result<Self> {
        // SAFETY: No conditions.
        let acl = unsafe { bindings::posix_acl_alloc(count, bindings::GFP_KERNEL) };
        // INVARIANT: The reference is ours, and what follows is the only change.
        let this = Self(NonNull::new(acl).ok_or(ENOMEM)?);
        let mut written = 0;
        let mut entries = entries.fuse();
        for entry in entries.by_ref().take(count as usize) {
            // SAFETY: There are `count` entries behind the structure, which nobody else sees.
            unsafe { entry.write(this.first().add(written))? };
            written = written.saturating_add(1);
        }
        match written == count as usize && entries.next().is_none() {
            true => Ok(this),
            false => Err(EINVAL),
        }
    }

    /// # Safety
    ///
    /// `acl` must be null or valid, with a reference that passes on.
    unsafe fn from_raw(acl: *mut bindings::posix_acl) -> Option<Self> {
        // INVARIANT: By the function's requirements.
        NonNull::new(acl).map(Self)
    }

    fn into_raw(self) -> *mut bindings::posix_acl {
        let acl = self.0.as_ptr();
        mem::forget(self);
        acl
    }

    fn first(&self) -> *mut bindings::posix_acl_entry {
        // SAFETY: Valid by the type's invariants; the field has no size, and is where the entries begin.
        unsafe { (&raw mut (*self.0.as_ptr()).a_entries).cast() }
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: Valid by the type's invariants, and the count does not change.
        unsafe { (*self.0.as_ptr()).__bindgen_anon_1.hdr.as_ref().a_count as usize }
    }

    /// Its entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        // SAFETY: It has that many entries, which do not change, by the type's invariants.
        let all = unsafe { slice::from_raw_parts(self.first(), self.len()) };
        all.iter().map(Entry::from_raw)
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type's invariants.
        unsafe { bindings::posix_acl_release(self.0.as_ptr()) };
    }
}

/// A list that is lent, for a call.
fn lent(acl: Option<&Acl>) -> *mut bindings::posix_acl {
    acl.map_or(ptr::null_mut(), |acl| acl.0.as_ptr())
}

/// The user namespace that ids on a disk are of.
fn namespace() -> *mut bindings::user_namespace {
    &raw mut bindings::init_user_ns
}

impl Entry {
    /// Writes the entry to a list.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the tag is unknown, or the id is none.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writing, and the caller's alone.
    unsafe fn write(self, to: *mut bindings::posix_acl_entry) -> Result {
        // Both ids are a number.
        let id = match u32::from(self.tag) {
            // SAFETY: No conditions.
            bindings::ACL_USER => unsafe { bindings::make_kuid(namespace(), self.id).val },
            // SAFETY: No conditions.
            bindings::ACL_GROUP => unsafe { bindings::make_kgid(namespace(), self.id).val },
            bindings::ACL_USER_OBJ
            | bindings::ACL_GROUP_OBJ
            | bindings::ACL_MASK
            | bindings::ACL_OTHER => 0,
            _ => return Err(EINVAL),
        };
        if id == NO_ID {
            return Err(EINVAL);
        }
        // SAFETY: By the function's requirements.
        unsafe { (&raw mut (*to).e_tag).write(self.tag as i16) };
        // SAFETY: As above.
        unsafe { (&raw mut (*to).e_perm).write(self.permissions) };
        // SAFETY: As above; the union is of two structures that are this number.
        unsafe { (&raw mut (*to).__bindgen_anon_1).cast::<u32>().write(id) };
        Ok(())
    }

    fn from_raw(raw: &bindings::posix_acl_entry) -> Self {
        let id = match raw.e_tag as u32 {
            // SAFETY: With this tag it is a user id.
            bindings::ACL_USER => unsafe {
                bindings::from_kuid(namespace(), ptr::read(raw.__bindgen_anon_1.e_uid.as_ref()))
            },
            // SAFETY: With this tag it is a group id.
            bindings::ACL_GROUP => unsafe {
                bindings::from_kgid(namespace(), ptr::read(raw.__bindgen_anon_1.e_gid.as_ref()))
            },
            _ => 0,
        };
        Self {
            tag: raw.e_tag as u16,
            permissions: raw.e_perm,
            id,
        }
    }
}

/// What no user and no group has (`INVALID_UID`).
const NO_ID: u32 = u32::MAX;

const _: () = assert!(
    mem::size_of::<bindings::kuid_t>() == mem::size_of::<u32>()
        && mem::size_of::<bindings::kgid_t>() == mem::size_of::<u32>()
);

/// Access control lists. All run in process context and may sleep.
pub(crate) trait AccessLists: FileSystem {
    /// The list of an inode, if it has one.
    fn get_acl(inode: &INode<Self>, kind: Kind) -> Result<Option<Acl>>;

    /// Gives an inode a list, or takes it away. With it the inode gets another mode, if there is one. `i_rwsem` is held
    /// exclusively.
    fn set_acl(inode: &INode<Self>, kind: Kind, acl: Option<&Acl>, mode: Option<u16>) -> Result;
}

/// `get_inode_acl` of the operations of inodes.
///
/// # Safety
///
/// For the VFS (`__get_acl()`), with an inode of `T` that is ready. With `rcu` it may be going away.
pub(super) unsafe extern "C" fn get<T: AccessLists>(
    inode: *mut bindings::inode,
    kind: c_int,
    rcu: bool,
) -> *mut kernel::bindings::posix_acl {
    if rcu {
        // Nothing may be read.
        return ECHILD.to_ptr();
    }
    let Some(kind) = Kind::from_raw(kind) else {
        return EINVAL.to_ptr();
    };
    // SAFETY: By the function's requirements.
    let inode = unsafe { INode::from_raw(inode) };
    match T::get_acl(inode, kind) {
        Ok(acl) => acl.map_or(ptr::null_mut(), |acl| acl.into_raw().cast()),
        Err(error) => error.to_ptr(),
    }
}

/// `set_acl` of the operations of inodes.
///
/// # Safety
///
/// For the VFS (`vfs_set_acl()`, `posix_acl_chmod()`), with a dentry that has an inode of `T`, whose `i_rwsem` is held
/// exclusively, and null or a list that stays for the call.
pub(super) unsafe extern "C" fn set<T: AccessLists>(
    idmap: *mut bindings::mnt_idmap,
    dentry: *mut bindings::dentry,
    acl: *mut kernel::bindings::posix_acl,
    kind: c_int,
) -> c_int {
    // SAFETY: By the function's requirements; an inode with a dentry is ready.
    let inode = unsafe { INode::<T>::from_raw((*dentry).d_inode) };
    from_result(|| {
        let which = Kind::from_raw(kind).ok_or(EINVAL)?;
        let (mut acl, mut mode) = (acl.cast::<bindings::posix_acl>(), None);
        if which == Kind::Access && !acl.is_null() {
            let mut wanted = 0;
            // A list that says no more than a mode becomes one.
            // SAFETY: By the function's requirements; both are set.
            to_result(unsafe {
                bindings::posix_acl_update_mode(idmap, inode.as_raw(), &mut wanted, &mut acl)
            })?;
            // SAFETY: As above; `i_rwsem` is held.
            mode = (wanted != unsafe { (*inode.as_raw()).i_mode }).then_some(wanted);
        }
        // It is only lent: the reference is not given up.
        // SAFETY: By the function's requirements.
        let lent = mem::ManuallyDrop::new(unsafe { Acl::from_raw(acl) });
        T::set_acl(inode, which, lent.as_ref(), mode)?;
        // SAFETY: By the function's requirements; the callee takes a reference of its own.
        unsafe { bindings::set_cached_acl(inode.as_raw(), kind, acl) };
        Ok(0)
    })
}

impl<T: AccessLists> Attr<'_, T> {
    /// Changes the access control list of the inode with the mode, where that was changed by [`Attr::apply`].
    ///
    /// # Errors
    ///
    /// Those of [`AccessLists`].
    pub(crate) fn apply_to_acl(&self, idmap: &Idmap) -> Result {
        if !self.changes_mode() {
            return Ok(());
        }
        let dentry = self.dentry();
        // SAFETY: Valid and locked by the type's invariants.
        let mode = unsafe { (*(*dentry).d_inode).i_mode };
        // SAFETY: As above.
        to_result(unsafe { bindings::posix_acl_chmod(idmap.as_raw(), dentry, mode) })
    }
}

/// The lists that a new inode has.
pub(crate) struct Inherited {
    /// That of a directory for what is made in it.
    pub(crate) default: Option<Acl>,
    /// That of the inode itself.
    pub(crate) access: Option<Acl>,
}

impl<'a, T: AccessLists> New<'a, T> {
    /// Gives the inode the lists that what is made in `dir` has, in memory, and the permissions that follow from them,
    /// or else from the umask of the task. Its mode was set.
    ///
    /// # Errors
    ///
    /// Those of [`AccessLists::get_acl`]; `ENOMEM`.
    pub(crate) fn inherit_acls(&self, dir: &INode<T>) -> Result<Inherited> {
        let (mut default, mut access) = (ptr::null_mut(), ptr::null_mut());
        // INVARIANT: The callee changes permissions, not the type of file.
        // SAFETY: Valid by the types' invariants; nobody else uses the mode of an inode that is not known yet.
        to_result(unsafe {
            bindings::posix_acl_create(
                dir.as_raw(),
                &raw mut (*self.as_raw()).i_mode,
                &mut default,
                &mut access,
            )
        })?;
        // SAFETY: The callee has set both, with references that are ours.
        let inherited = unsafe {
            Inherited {
                default: Acl::from_raw(default),
                access: Acl::from_raw(access),
            }
        };
        self.set_no_acl();
        for (kind, acl) in [
            (Kind::Default, &inherited.default),
            (Kind::Access, &inherited.access),
        ] {
            if acl.is_some() {
                let acl = lent(acl.as_ref());
                // SAFETY: Valid; the callee takes a reference of its own.
                unsafe { bindings::set_cached_acl(self.as_raw(), kind.as_raw(), acl) };
            }
        }
        Ok(inherited)
    }
}
