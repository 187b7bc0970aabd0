// SPDX-License-Identifier: GPL-2.0

//! Extended attributes of inodes.
//!
//! C header: [`include/linux/xattr.h`](srctree/include/linux/xattr.h)
//!
//! A filesystem implements [`ExtendedAttributes`] and calls [`super_block::New::set_extended_attributes`]. Access
//! control lists are attributes, too, but have a form and operations of their own: [`super::acl`].
//!
//! # Locks
//!
//! The VFS holds `i_rwsem` exclusively for [`ExtendedAttributes::set`]. For the others it holds any, or none.
//!
//! # Examples
//!
//! ```ignore
//! impl ExtendedAttributes for MyFs {
//!     fn list(inode: &INode<MyFs>, to: &mut NameList<'_>) -> Result {
//!         inode.data().names().try_for_each(|name| to.add(&[b"user.", name]))
//!     }
//!     ..
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode,
    super_block, //
};
use core::{
    marker::PhantomData,
    ptr,
    slice, //
};
use kernel::{
    error::from_result,
    ffi::{
        c_char,
        c_int,
        c_void, //
    },
    prelude::*, //
};

/// What the names of a kind of attributes begin with. Who may read and change which the VFS knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Kind {
    /// `user.`
    User,
    /// `trusted.`
    Trusted,
    /// `security.`
    Security,
    /// `gnu.`
    Hurd,
}

impl Kind {
    /// What the names begin with.
    pub(crate) fn prefix(self) -> &'static [u8] {
        let with_end: &[u8] = match self {
            Self::User => bindings::XATTR_USER_PREFIX,
            Self::Trusted => bindings::XATTR_TRUSTED_PREFIX,
            Self::Security => bindings::XATTR_SECURITY_PREFIX,
            Self::Hurd => bindings::XATTR_HURD_PREFIX,
        };
        with_end.strip_suffix(&[0]).unwrap_or(with_end)
    }
}

/// What there must be before an attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It does not matter.
    Any,
    /// No attribute of that name: else `EEXIST`.
    Nothing,
    /// An attribute of that name: else `ENODATA`.
    Something,
}

/// Extended attributes. All run in process context and may sleep.
pub(crate) trait ExtendedAttributes: FileSystem {
    /// Copies the value of attribute `name`, which is behind the prefix and not empty, to `to`. Returns how many bytes
    /// the value has; where `to` is empty nothing else is asked for.
    ///
    /// # Errors
    ///
    /// `ENODATA` where there is none; `ERANGE` where `to` is too short.
    fn get(inode: &INode<Self>, kind: Kind, name: &[u8], to: &mut [u8]) -> Result<usize>;

    /// Sets an attribute, or removes it. `i_rwsem` is held exclusively.
    ///
    /// # Errors
    ///
    /// Those that `before` says; `ENOSPC`.
    fn set(
        inode: &INode<Self>,
        kind: Kind,
        name: &[u8],
        value: Option<&[u8]>,
        before: Before,
    ) -> Result;

    /// Lists the names of all attributes that the task may see, access control lists among them.
    ///
    /// # Errors
    ///
    /// Those of [`NameList::add`].
    fn list(inode: &INode<Self>, to: &mut NameList<'_>) -> Result;
}

/// Where names are listed, each ended by a zero.
pub(crate) struct NameList<'a> {
    /// `None` where only the length is asked for.
    room: Option<&'a mut [u8]>,
    len: usize,
}

impl NameList<'_> {
    /// Adds a name, which is these parts one behind the other.
    ///
    /// # Errors
    ///
    /// `ERANGE` where there is no room for it.
    pub(crate) fn add(&mut self, parts: &[&[u8]]) -> Result {
        for part in parts {
            self.put(part)?;
        }
        self.put(&[0])
    }

    fn put(&mut self, bytes: &[u8]) -> Result {
        let start = self.len;
        self.len = start.saturating_add(bytes.len());
        if let Some(room) = &mut self.room {
            let to = room.get_mut(start..self.len).ok_or(ERANGE)?;
            to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }
}

/// The room of a caller of the VFS; it is zeros then.
///
/// # Safety
///
/// `room` must be null, with `size` 0, or valid for writing `size` bytes, and the caller's alone, for the lifetime.
unsafe fn room<'a>(room: *mut c_void, size: usize) -> Option<&'a mut [u8]> {
    let room = ptr::NonNull::new(room.cast::<u8>())?;
    // SAFETY: By the function's requirements.
    unsafe { room.write_bytes(0, size) };
    // SAFETY: By the function's requirements; the bytes are initialised.
    Some(unsafe { slice::from_raw_parts_mut(room.as_ptr(), size) })
}

/// The name behind the prefix.
///
/// # Safety
///
/// `name` must be a string that stays for the lifetime.
unsafe fn suffix<'a>(name: *const c_char) -> &'a [u8] {
    // SAFETY: By the function's requirements.
    unsafe { CStr::from_char_ptr(name) }.to_bytes()
}

/// The kind of a handler of [`Handlers`].
///
/// # Safety
///
/// `handler` must be one of [`Handlers`].
unsafe fn kind(handler: *const bindings::xattr_handler) -> Kind {
    // SAFETY: By the function's requirements.
    match unsafe { (*handler).flags } {
        flags if flags == Kind::Trusted as i32 => Kind::Trusted,
        flags if flags == Kind::Security as i32 => Kind::Security,
        flags if flags == Kind::Hurd as i32 => Kind::Hurd,
        _ => Kind::User,
    }
}

/// A length as the VFS wants it.
fn answer(len: usize) -> Result<c_int> {
    c_int::try_from(len).map_err(|_| ERANGE)
}

/// The C side of [`ExtendedAttributes`].
pub(super) struct Handlers<T>(PhantomData<T>);

impl<T: ExtendedAttributes> Handlers<T> {
    const fn handler(prefix: &'static [u8], kind: Kind) -> bindings::xattr_handler {
        bindings::xattr_handler {
            prefix: prefix.as_ptr().cast(),
            flags: kind as i32,
            get: Some(Self::get),
            set: Some(Self::set),
            ..pin_init::zeroed()
        }
    }

    const USER: bindings::xattr_handler = Self::handler(bindings::XATTR_USER_PREFIX, Kind::User);
    const TRUSTED: bindings::xattr_handler =
        Self::handler(bindings::XATTR_TRUSTED_PREFIX, Kind::Trusted);
    const SECURITY: bindings::xattr_handler =
        Self::handler(bindings::XATTR_SECURITY_PREFIX, Kind::Security);

    const HURD: bindings::xattr_handler = Self::handler(bindings::XATTR_HURD_PREFIX, Kind::Hurd);

    const ALL: [*const bindings::xattr_handler; 5] = [
        &Self::USER,
        &Self::TRUSTED,
        &Self::SECURITY,
        &Self::HURD,
        ptr::null(),
    ];

    /// All, ended by null.
    pub(super) fn table() -> *const *const bindings::xattr_handler {
        let all: &'static [_; 5] = &Self::ALL;
        all.as_ptr()
    }

    /// `get` of a handler.
    ///
    /// # Safety
    ///
    /// For the VFS (`__vfs_getxattr()`), with one of our handlers, an inode of `T` that is ready, a string, and room of
    /// `size` bytes that is the caller's alone, or none.
    unsafe extern "C" fn get(
        handler: *const bindings::xattr_handler,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        buffer: *mut c_void,
        size: usize,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::from_raw(inode) };
        // SAFETY: By the function's requirements.
        let (kind, name) = unsafe { (kind(handler), suffix(name)) };
        // SAFETY: By the function's requirements.
        let room = unsafe { room(buffer, size) };
        from_result(|| match room {
            // There is room, but for nothing.
            Some([]) => match T::get(inode, kind, name, &mut [])? {
                0 => Ok(0),
                _ => Err(ERANGE),
            },
            room => answer(T::get(inode, kind, name, room.unwrap_or_default())?),
        })
    }

    /// `set` of a handler.
    ///
    /// # Safety
    ///
    /// For the VFS (`__vfs_setxattr()`, `__vfs_removexattr()`), with one of our handlers, an inode of `T` that is
    /// ready, whose `i_rwsem` is held exclusively, a string, and a value of `size` bytes that does not change, or null.
    unsafe extern "C" fn set(
        handler: *const bindings::xattr_handler,
        _idmap: *mut bindings::mnt_idmap,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::from_raw(inode) };
        // SAFETY: By the function's requirements.
        let (kind, name) = unsafe { (kind(handler), suffix(name)) };
        let value = match value.is_null() {
            true => None,
            // SAFETY: By the function's requirements.
            false => Some(unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }),
        };
        let has = |flag: u32| flags as u32 & flag != 0;
        let before = match (has(bindings::XATTR_CREATE), has(bindings::XATTR_REPLACE)) {
            (true, _) => Before::Nothing,
            (false, true) => Before::Something,
            (false, false) => Before::Any,
        };
        from_result(|| T::set(inode, kind, name, value, before).map(|()| 0))
    }

    /// `listxattr` of the operations of inodes.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_listxattr()`), with a dentry that has an inode of `T`, and room of `size` bytes that is the
    /// caller's alone, or none.
    pub(super) unsafe extern "C" fn list(
        dentry: *mut bindings::dentry,
        buffer: *mut c_char,
        size: usize,
    ) -> isize {
        // SAFETY: By the function's requirements; an inode with a dentry is ready.
        let inode = unsafe { INode::from_raw((*dentry).d_inode) };
        // SAFETY: By the function's requirements.
        let room = unsafe { room(buffer.cast(), size) };
        let mut list = NameList { room, len: 0 };
        match T::list(inode, &mut list) {
            Ok(()) => isize::try_from(list.len).unwrap_or(isize::MAX),
            Err(error) => error.to_errno() as isize,
        }
    }
}

impl<T: ExtendedAttributes> super_block::New<'_, T> {
    /// Inodes have extended attributes. With `acls`, the access control lists among them decide who may do what.
    pub(crate) fn set_extended_attributes(&self, acls: bool) {
        // SAFETY: Valid by the type's invariants, and nobody else uses the super block; the table is for inodes of `T`.
        unsafe { (*self.as_raw()).s_xattr = Handlers::<T>::table() };
        if acls {
            // SAFETY: As above.
            unsafe { (*self.as_raw()).s_flags |= bindings::SB_POSIXACL };
        }
    }
}
