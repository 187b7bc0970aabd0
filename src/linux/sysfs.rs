// SPDX-License-Identifier: GPL-2.0

//! A folder in sysfs for each mount of a filesystem: `/sys/fs/NAME/DEVICE`, with a file for each of
//! [`FileSystem::ATTRIBUTES`], and `/sys/fs/NAME/features` with one for each of [`FileSystem::FEATURES`].
//!
//! The folder is there from when the mount has its root until its unmount begins, which waits for who is reading or
//! writing. A file that somebody has open can be read no more after that (`ENODEV`), and nothing of it is the module's.
//!
//! Without sysfs, or for want of memory, there is no folder, and nobody is told.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)
//!
//! # Locks
//!
//! Reading and writing take none; a callback takes what it wants to, but not `s_umount`, with which the folder is taken
//! away.
//!
//! # Examples
//!
//! ```ignore
//! const ATTRIBUTES: &'static [Attribute<MyFs>] = &[
//!     Attribute::read(c"errors_count", |sb, page| Ok(page.print(fmt!("{}\n", sb.data().errors())))),
//! ];
//! const FEATURES: &'static [Feature] = &[Feature::new(c"batched_discard")];
//! ```

use super::{
    bindings,
    fs::FileSystem,
    super_block::SuperBlock, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        null_mut, //
    }, //
};
use kernel::{
    container_of,
    error::from_result,
    ffi::{
        c_char,
        c_int, //
    },
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// What a file of sysfs is written to: at most a page.
pub(crate) struct Page {
    at: *mut c_char,
    len: c_int,
}

impl Page {
    /// Adds a text; what does not fit is left out.
    pub(crate) fn print(&mut self, text: fmt::Arguments<'_>) {
        // SAFETY: `at` is the page that sysfs gave to the callback, of which `len` bytes are written; `%pA` prints the
        // `fmt::Arguments` that is given.
        let more = unsafe {
            bindings::sysfs_emit_at(
                self.at,
                self.len,
                c"%pA".as_ptr().cast(),
                ptr::from_ref(&text).cast::<kernel::ffi::c_void>(),
            )
        };
        self.len = self.len.saturating_add(more);
    }
}

/// A file that says something of a mount, or takes something.
///
/// # Invariants
///
/// `attribute` has a static name.
#[repr(C)]
pub(crate) struct Attribute<T: FileSystem> {
    attribute: bindings::attribute,
    show: Option<fn(&SuperBlock<T>, &mut Page) -> Result>,
    store: Option<fn(&SuperBlock<T>, &[u8]) -> Result>,
}

impl<T: FileSystem> Attribute<T> {
    /// One of this name that everybody may read.
    pub(crate) const fn read(
        name: &'static CStr,
        show: fn(&SuperBlock<T>, &mut Page) -> Result,
    ) -> Self {
        Self {
            attribute: attribute(name, 0o444),
            show: Some(show),
            store: None,
        }
    }

    /// One of this name that root may write.
    pub(crate) const fn write(
        name: &'static CStr,
        store: fn(&SuperBlock<T>, &[u8]) -> Result,
    ) -> Self {
        Self {
            attribute: attribute(name, 0o200),
            show: None,
            store: Some(store),
        }
    }
}

const fn attribute(name: &'static CStr, mode: u16) -> bindings::attribute {
    bindings::attribute {
        name: kernel::str::as_char_ptr_in_const_context(name),
        mode,
        ..pin_init::zeroed()
    }
}

/// A file that says that the filesystem can do something.
///
/// # Invariants
///
/// `0` has a static name.
#[repr(transparent)]
pub(crate) struct Feature(bindings::attribute);

impl Feature {
    /// One of this name.
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self(attribute(name, 0o444))
    }
}

/// What a folder is for the kernel.
#[repr(C)]
struct Object {
    raw: bindings::kobject,
    /// Done when nobody has the object any more.
    released: bindings::completion,
    /// The mount that the folder is of, or null.
    sb: *mut bindings::super_block,
}

/// A folder.
///
/// # Invariants
///
/// Null, or a box of an object that was added and is ours to remove.
pub(super) struct Folder(Atomic<*mut Object>);

impl Folder {
    /// None.
    pub(super) fn none() -> Self {
        Self(Atomic::new(null_mut()))
    }

    /// Adds one, if its parent is there.
    ///
    /// # Safety
    ///
    /// `parent` must be an object that is valid, or null, and `name` a string. [`Self::remove`] is called before
    /// anything goes that the operations of `kind` use, with `sb`, and before the module goes.
    unsafe fn add(
        kind: &'static bindings::kobj_type,
        parent: *mut bindings::kobject,
        name: *const c_char,
        sb: *mut bindings::super_block,
    ) -> Self {
        if parent.is_null() {
            return Self::none();
        }
        let new = KBox::new(
            Object {
                raw: Default::default(),
                released: Default::default(),
                sb,
            },
            GFP_KERNEL,
        );
        let Ok(object) = new.map(KBox::into_raw) else {
            return Self::none();
        };
        // SAFETY: A new object, which stays in its place.
        unsafe { bindings::init_completion(&raw mut (*object).released) };
        // SAFETY: The object is new and all zero, and stays until `release` was called. The name is copied; the rest
        // are the function's requirements.
        let added = unsafe {
            bindings::kobject_init_and_add(
                &raw mut (*object).raw,
                kind,
                parent,
                c"%s".as_ptr().cast(),
                name,
            )
        };
        // INVARIANT: As it was just added; one that was not is to be removed as well.
        let this = Self(Atomic::new(object));
        match added {
            ..0 => Self::none(),
            _ => this,
        }
    }

    /// The object, or null.
    fn as_raw(&self) -> *mut bindings::kobject {
        match self.0.load(Relaxed) {
            object if object.is_null() => null_mut(),
            // SAFETY: By the invariants.
            object => unsafe { &raw mut (*object).raw },
        }
    }

    /// Adds a file.
    ///
    /// # Safety
    ///
    /// The operations of the folder's kind must be for attributes like this one.
    unsafe fn add_file(&self, attribute: &'static bindings::attribute) {
        let object = self.as_raw();
        if !object.is_null() {
            // SAFETY: The object was added by the invariants; the attribute stays, and has a static name.
            let _ = unsafe { bindings::sysfs_create_file_ns(object, attribute, ptr::null()) };
        }
    }

    /// Removes it with all that is in it. Waits for who is reading or writing there.
    pub(super) fn remove(&self) {
        let object = self.0.xchg(null_mut(), Relaxed);
        if object.is_null() {
            return;
        }
        // SAFETY: By the invariants.
        unsafe { bindings::kobject_del(&raw mut (*object).raw) };
        // SAFETY: By the invariants: the reference that the object began with.
        unsafe { bindings::kobject_put(&raw mut (*object).raw) };
        // Somebody may have another for a while yet, and the function that is called at its end is the module's.
        // SAFETY: The object is ours until it is dropped below.
        unsafe { bindings::wait_for_completion(&raw mut (*object).released) };
        // SAFETY: From `add`, and nobody has it any more.
        drop(unsafe { KBox::from_raw(object) });
    }

    /// `release`.
    ///
    /// # Safety
    ///
    /// For `kobject_put()`, with an object of [`Self::add`] that nobody has any more.
    unsafe extern "C" fn release(object: *mut bindings::kobject) {
        // SAFETY: By the function's requirements.
        let object = unsafe { container_of!(object, Object, raw) };
        // SAFETY: `remove` waits for this, and drops the object afterwards.
        unsafe { bindings::complete(&raw mut (*object).released) };
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The folder of a filesystem, with that of its features. Fields are dropped in this order.
pub(super) struct Top {
    _features: Folder,
    folder: Folder,
}

impl Top {
    /// That of `T`.
    pub(super) fn new<T: FileSystem>() -> Self {
        // SAFETY: Set when the kernel started, and never changed.
        let parent = unsafe { bindings::fs_kobj };
        let name = T::NAME.as_ptr().cast();
        // SAFETY: The parent stays. Nothing is used by the operations.
        let folder = unsafe { Folder::add(&Self::KIND, parent, name, null_mut()) };
        let name = c"features".as_ptr().cast();
        // SAFETY: The parent is dropped after this.
        let features = unsafe { Folder::add(&Self::KIND, folder.as_raw(), name, null_mut()) };
        for feature in T::FEATURES {
            // SAFETY: The operations look at no attribute.
            unsafe { features.add_file(&feature.0) };
        }
        Self {
            _features: features,
            folder,
        }
    }

    const OPERATIONS: &'static bindings::sysfs_ops = &bindings::sysfs_ops {
        show: Some(Self::show),
        store: None,
    };

    const KIND: bindings::kobj_type = bindings::kobj_type {
        release: Some(Folder::release),
        sysfs_ops: Self::OPERATIONS,
        ..pin_init::zeroed()
    };

    /// `show`, of a feature.
    ///
    /// # Safety
    ///
    /// For sysfs (`sysfs_kf_seq_show()`), with a page.
    unsafe extern "C" fn show(
        _object: *mut bindings::kobject,
        _attribute: *mut bindings::attribute,
        page: *mut c_char,
    ) -> isize {
        let mut page = Page { at: page, len: 0 };
        page.print(fmt!("supported\n"));
        page.len as isize
    }
}

/// The operations of the folders of mounts of `T`.
struct Table<T>(PhantomData<T>);

impl Folder {
    /// Makes this, which is none, the folder of `sb`.
    ///
    /// # Safety
    ///
    /// [`Self::remove`] is called before `sb` is no valid [`SuperBlock`] any more, before `top` is dropped, and before
    /// the module goes.
    pub(super) unsafe fn fill<T: FileSystem>(&self, top: &Top, sb: &SuperBlock<T>) {
        let parent = top.folder.as_raw();
        let sb = sb.as_raw();
        // SAFETY: The name of the device is a string, which does not change. The operations use `sb` as a super block
        // of `T`; the rest are the function's requirements.
        let new = unsafe { Self::add(Table::<T>::KIND, parent, (*sb).s_id.as_ptr().cast(), sb) };
        for attribute in T::ATTRIBUTES {
            // SAFETY: The operations are for `Attribute<T>`s, whose first field this is.
            unsafe { new.add_file(&attribute.attribute) };
        }
        // INVARIANT: It is taken out of what has just been made.
        self.0.store(new.0.xchg(null_mut(), Relaxed), Relaxed);
    }
}

impl<T: FileSystem> Table<T> {
    const OPERATIONS: &'static bindings::sysfs_ops = &bindings::sysfs_ops {
        show: Some(Self::show),
        store: Some(Self::store),
    };

    const KIND: &'static bindings::kobj_type = &bindings::kobj_type {
        release: Some(Folder::release),
        sysfs_ops: Self::OPERATIONS,
        ..pin_init::zeroed()
    };

    /// The super block and the attribute of a file.
    ///
    /// # Safety
    ///
    /// The arguments must be those of an operation on a file of [`Folder::fill`], which lasts as long as they are used.
    unsafe fn both<'a>(
        object: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
    ) -> (&'a SuperBlock<T>, &'a Attribute<T>) {
        // SAFETY: By the function's requirements.
        let object = unsafe { container_of!(object, Object, raw) };
        // SAFETY: By the function's requirements: it was not removed yet, and until then the super block is there.
        let sb = unsafe { SuperBlock::from_raw((*object).sb) };
        // SAFETY: By the function's requirements it is the first field of a static `Attribute<T>`.
        (sb, unsafe { &*attribute.cast::<Attribute<T>>() })
    }

    /// `show`.
    ///
    /// # Safety
    ///
    /// For sysfs (`sysfs_kf_seq_show()`), with a file of [`Folder::fill`] that is not removed before this returns,
    /// and a page.
    unsafe extern "C" fn show(
        object: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: By the function's requirements.
        let (sb, attribute) = unsafe { Self::both(object, attribute) };
        let mut page = Page { at: page, len: 0 };
        from_result(|| {
            attribute.show.ok_or(EIO)?(sb, &mut page)?;
            Ok(page.len as isize)
        })
    }

    /// `store`.
    ///
    /// # Safety
    ///
    /// For sysfs (`sysfs_kf_write()`), with a file of [`Folder::fill`] that is not removed before this returns, and
    /// so many bytes.
    unsafe extern "C" fn store(
        object: *mut bindings::kobject,
        attribute: *mut bindings::attribute,
        bytes: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: By the function's requirements.
        let (sb, attribute) = unsafe { Self::both(object, attribute) };
        // SAFETY: By the function's requirements.
        let bytes = unsafe { core::slice::from_raw_parts(bytes.cast::<u8>(), len) };
        from_result(|| {
            attribute.store.ok_or(EIO)?(sb, bytes)?;
            Ok(len as isize)
        })
    }
}
