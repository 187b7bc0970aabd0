// SPDX-License-Identifier: GPL-2.0

//! The context of a mount or remount, and its options.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h),
//! [`include/linux/fs_parser.h`](srctree/include/linux/fs_parser.h)
//!
//! A context is the VFS's, lent for one call; the options in it are the filesystem's from its making to the mount.
//!
//! # Locks
//!
//! The VFS calls one operation of a context at a time.
//!
//! # Examples
//!
//! ```ignore
//! const ERRORS: [Constant; 2] = [Constant::new(c"continue", 0), Constant::END];
//!
//! const PARAMETERS: [Parameter; 3] = [
//!     Parameter::u32(c"commit", 1),
//!     Parameter::one_of(c"errors", 2, &ERRORS),
//!     Parameter::END,
//! ];
//! ```

use super::{
    bindings,
    fs::FileSystem,
    super_block::{
        self,
        Locked,
        SuperBlock, //
    }, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::c_int,
    fmt,
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

/// A name for a value of an enumerated option.
#[repr(transparent)]
pub(crate) struct Constant(bindings::constant_table);

// SAFETY: Never changed, and its pointer is to a static string.
unsafe impl Sync for Constant {}

impl Constant {
    /// Ends a table.
    pub(crate) const END: Self = Self(bindings::constant_table {
        name: ptr::null(),
        value: 0,
    });

    /// `name` stands for `value`.
    pub(crate) const fn new(name: &'static CStr, value: i32) -> Self {
        Self(bindings::constant_table {
            name: kernel::str::as_char_ptr_in_const_context(name),
            value,
        })
    }
}

/// What finds out the value of an option.
type Kind = unsafe extern "C" fn(
    *mut bindings::p_log,
    *const bindings::fs_parameter_spec,
    *mut bindings::fs_parameter,
    *mut bindings::fs_parse_result,
) -> c_int;

/// A mount option: its name, the kind of value, and the number by which the filesystem knows it.
///
/// # Invariants
///
/// All pointers are null or to static data; `data` is what the C function in `type` expects.
#[repr(transparent)]
pub(crate) struct Parameter(bindings::fs_parameter_spec);

// SAFETY: Never changed, and all its pointers are to static data by the invariants.
unsafe impl Sync for Parameter {}

impl Parameter {
    /// Ends a list.
    pub(crate) const END: Self = Self::with(None, None, 0, 0, ptr::null());

    const fn with(
        name: Option<&'static CStr>,
        kind: bindings::fs_param_type,
        number: u8,
        flags: u32,
        data: *const kernel::ffi::c_void,
    ) -> Self {
        Self(bindings::fs_parameter_spec {
            name: match name {
                Some(name) => kernel::str::as_char_ptr_in_const_context(name),
                None => ptr::null(),
            },
            type_: kind,
            opt: number,
            flags: flags as u16,
            data,
        })
    }

    /// An option without a value.
    pub(crate) const fn flag(name: &'static CStr, number: u8) -> Self {
        Self::with(Some(name), None, number, 0, ptr::null())
    }

    /// An option with a number.
    pub(crate) const fn u32(name: &'static CStr, number: u8) -> Self {
        Self::with(
            Some(name),
            Some(bindings::fs_param_is_u32 as Kind),
            number,
            0,
            ptr::null(),
        )
    }

    /// An option with a user. The number is that of the initial user namespace.
    pub(crate) const fn uid(name: &'static CStr, number: u8) -> Self {
        Self::with(
            Some(name),
            Some(bindings::fs_param_is_uid as Kind),
            number,
            0,
            ptr::null(),
        )
    }

    /// An option with a group. The number is that of the initial user namespace.
    pub(crate) const fn gid(name: &'static CStr, number: u8) -> Self {
        Self::with(
            Some(name),
            Some(bindings::fs_param_is_gid as Kind),
            number,
            0,
            ptr::null(),
        )
    }

    /// An option with a text of which only is told that it is there.
    pub(crate) const fn string(name: &'static CStr, number: u8) -> Self {
        Self::with(
            Some(name),
            Some(bindings::fs_param_is_string as Kind),
            number,
            0,
            ptr::null(),
        )
    }

    /// An option with a text that may be empty, of which only that is told.
    pub(crate) const fn string_or_nothing(name: &'static CStr, number: u8) -> Self {
        let flags = bindings::fs_param_can_be_empty;
        Self::with(
            Some(name),
            Some(bindings::fs_param_is_string as Kind),
            number,
            flags,
            ptr::null(),
        )
    }

    /// An option whose value is one of the names in `table`, which [`Constant::END`] must end.
    pub(crate) const fn one_of(
        name: &'static CStr,
        number: u8,
        table: &'static [Constant],
    ) -> Self {
        match table {
            [.., last] if last.0.name.is_null() => {}
            _ => panic!("a table of constants must end with Constant::END"),
        }
        let kind = Some(bindings::fs_param_is_enum as Kind);
        Self::with(Some(name), kind, number, 0, table.as_ptr().cast())
    }
}

/// Checks at build time that a list has its end.
#[inline]
pub(super) const fn check_parameters(list: &[Parameter]) {
    match list {
        [.., last] if last.0.name.is_null() => {}
        _ => panic!("a list of parameters must end with Parameter::END"),
    }
}

/// The value that an option was given.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    /// The number, the enumerated value, or the user or group; zero for an option without one.
    pub(crate) number: u32,
    /// There is nothing behind the equals sign.
    pub(crate) is_empty: bool,
}

/// The context of a mount or remount.
///
/// # Invariants
///
/// Wraps a valid `struct fs_context` that nobody else changes meanwhile.
#[repr(transparent)]
pub(crate) struct FsContext(Opaque<bindings::fs_context>);

impl FsContext {
    /// # Safety
    ///
    /// `fc` must be valid for the lifetime of the reference, and in use by the caller only.
    unsafe fn from_raw<'a>(fc: *mut bindings::fs_context) -> &'a Self {
        // SAFETY: `Self` is a transparent wrapper; the rest is the function's requirements.
        unsafe { &*fc.cast() }
    }

    /// Whether a read-only mount is wanted.
    pub(crate) fn read_only(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.0.get()).sb_flags & bindings::SB_RDONLY as u32 != 0 }
    }

    /// Whether this is a remount that changes between read-only and not.
    pub(crate) fn changes_read_only(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.0.get()).sb_flags_mask & bindings::SB_RDONLY as u32 != 0 }
    }

    /// Whether this is a remount.
    pub(crate) fn is_remount(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        let purpose = unsafe { (*self.0.get()).purpose() };
        purpose == bindings::fs_context_purpose_FS_CONTEXT_FOR_RECONFIGURE
    }

    /// Whether nobody wants to know that the device has another filesystem.
    pub(crate) fn is_silent(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.0.get()).sb_flags & bindings::SB_SILENT as u32 != 0 }
    }

    fn log(&self, level: u8, message: fmt::Arguments<'_>) {
        // SAFETY: Valid by the type's invariants.
        let context = unsafe { &*self.0.get() };
        // SAFETY: A context has a type with a name; `%pA` prints the `fmt::Arguments` that is given.
        unsafe {
            bindings::logfc(
                context.log.log,
                (*context.fs_type).name,
                level as kernel::ffi::c_char,
                c"%pA".as_ptr().cast(),
                ptr::from_ref(&message).cast::<kernel::ffi::c_void>(),
            )
        };
    }

    /// Tells whoever mounts why it does not work, in the kernel's log where there is no other way.
    pub(crate) fn error(&self, message: fmt::Arguments<'_>) {
        self.log(b'e', message);
    }

    /// As [`Self::error`], of what the caller puts into the kernel's log itself, with the name of the device.
    pub(crate) fn error_told(&self, message: fmt::Arguments<'_>) {
        // SAFETY: Valid by the type's invariants.
        if unsafe { !(*self.0.get()).log.log.is_null() } {
            self.log(b'e', message);
        }
    }
}

/// Finds out which option a parameter is, and gives it to the filesystem.
///
/// # Errors
///
/// `EINVAL` for what is no option or has a wrong value, with a line in the log; those of
/// [`FileSystem::parse_parameter`].
///
/// # Safety
///
/// `param` must be a parameter that has a name, and whose value, if it is a text, is a string of its size.
unsafe fn take_parameter<T: FileSystem>(
    context: &FsContext,
    options: &mut T::Options,
    param: *mut bindings::fs_parameter,
) -> Result {
    let mut result = bindings::fs_parse_result::default();
    // SAFETY: The context is valid by its invariants; the list has its end (see `Registration`); the rest is the
    // function's requirements.
    let number = unsafe {
        bindings::__fs_parse(
            &raw mut (*context.0.get()).log,
            T::PARAMETERS.as_ptr().cast(),
            param,
            &mut result,
        )
    };
    to_result(number)?;
    // SAFETY: By the function's requirements.
    let is_text = unsafe { (*param).type_() } == bindings::fs_value_type_fs_value_is_string;
    let value = Value {
        // SAFETY: All variants that we offer are plain numbers; users and groups are structures of one.
        number: unsafe { *result.__bindgen_anon_1.uint_32.as_ref() },
        // SAFETY: By the function's requirements.
        is_empty: is_text && unsafe { (*param).size } == 0,
    };
    T::parse_parameter(context, options, number as u8, value)
}

impl FsContext {
    /// Takes options from a text, as `mount(8)` has them, with commas in between.
    ///
    /// # Errors
    ///
    /// As for one that the mount was given, with a line in the log. What came before is taken then.
    pub(crate) fn parse_text<T: FileSystem>(
        &self,
        options: &mut T::Options,
        text: &[u8],
    ) -> Result {
        for option in text.split(|byte| *byte == b',') {
            let mut parts = option.splitn(2, |byte| *byte == b'=');
            let Some(name) = parts.next().filter(|name| !name.is_empty()) else {
                continue;
            };
            let value = parts.next();
            let name = terminated(name)?;
            let text = value.map(terminated).transpose()?;
            let mut param = bindings::fs_parameter {
                key: name.as_ptr().cast(),
                size: value.map_or(0, <[u8]>::len),
                ..Default::default()
            };
            param.set_type(match text {
                Some(_) => bindings::fs_value_type_fs_value_is_string,
                None => bindings::fs_value_type_fs_value_is_flag,
            });
            let text = text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
            param.__bindgen_anon_1.string = text.cast_mut().cast();
            // SAFETY: Both end with a zero and live until the end of the block. Nobody changes the value: our
            // parameters are numbers and strings that are only looked at.
            unsafe { take_parameter::<T>(self, options, &mut param) }?;
        }
        Ok(())
    }
}

/// Bytes as C has a string.
fn terminated(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut string = KVec::with_capacity(bytes.len().saturating_add(1), GFP_KERNEL)?;
    string.extend_from_slice(bytes, GFP_KERNEL)?;
    string.push(0, GFP_KERNEL)?;
    Ok(string)
}

/// The operations of the contexts of filesystem `T`. `fs_private` is a box of `T::Options`, or null.
struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const OPERATIONS: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        dup: None,
        parse_param: Some(Self::parse_param),
        parse_monolithic: None,
        get_tree: Some(Self::get_tree),
        reconfigure: Some(Self::reconfigure),
    };

    /// Takes the options away from a context.
    ///
    /// # Safety
    ///
    /// `fc` must be a context that [`init_callback`] of `T` has set up, and the caller's alone.
    unsafe fn take_options(fc: *mut bindings::fs_context) -> Option<KBox<T::Options>> {
        // SAFETY: By the function's requirements.
        let private = unsafe { mem::replace(&mut (*fc).fs_private, ptr::null_mut()) };
        // SAFETY: `fs_private` is null or a box of `init_callback`, which nobody has any more.
        unsafe { <KBox<T::Options> as ForeignOwnable>::try_from_foreign(private) }
    }

    /// `free`.
    ///
    /// # Safety
    ///
    /// For the VFS (`put_fs_context()`), with a context that [`init_callback`] of `T` has set up, for the last time.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: By the function's requirements.
        drop(unsafe { Self::take_options(fc) });
    }

    /// `parse_param`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_parse_fs_param()`), with a context that [`init_callback`] of `T` has set up, and a
    /// parameter. The context's `uapi_mutex` is held, or nobody else has the context.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        // SAFETY: By the function's requirements: the box of `init_callback`, if nothing has taken it away.
        let options = unsafe { (*fc).fs_private.cast::<T::Options>().as_mut() };
        // SAFETY: By the function's requirements.
        let context = unsafe { FsContext::from_raw(fc) };
        from_result(|| {
            // SAFETY: By the function's requirements.
            unsafe { take_parameter::<T>(context, options.ok_or(EINVAL)?, param) }?;
            Ok(0)
        })
    }

    /// `get_tree`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_get_tree()`), with a context that [`init_callback`] of `T` has set up for a mount.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: By the function's requirements; `fill_super` is for super blocks of `T`.
        unsafe { bindings::get_tree_bdev(fc, Some(Self::fill_super)) }
    }

    /// What [`Self::get_tree`] fills a new super block with.
    ///
    /// # Safety
    ///
    /// For `get_tree_bdev()`, with the context that [`Self::get_tree`] was called with, and a new super block on an
    /// open device. `s_umount` is held exclusively.
    unsafe extern "C" fn fill_super(
        sb: *mut bindings::super_block,
        fc: *mut bindings::fs_context,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let options = unsafe { Self::take_options(fc) };
        // SAFETY: By the function's requirements.
        let context = unsafe { FsContext::from_raw(fc) };
        from_result(|| {
            let options = KBox::into_inner(options.ok_or(EINVAL)?);
            // SAFETY: By the function's requirements.
            unsafe { super_block::fill::<T>(sb, context, options) }?;
            Ok(0)
        })
    }

    /// `reconfigure`.
    ///
    /// # Safety
    ///
    /// For the VFS (`reconfigure_super()`), with a context that [`init_callback`] of `T` has set up for a remount, or
    /// that has made a mount: its root is that of a mounted super block, whose `s_umount` is held exclusively.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: By the function's requirements.
        let options = unsafe { Self::take_options(fc) };
        // SAFETY: By the function's requirements.
        let root = unsafe { (*fc).root };
        // SAFETY: By the function's requirements; a dentry keeps its super block.
        let sb = unsafe { (*root).d_sb };
        // SAFETY: By the function's requirements.
        let sb = unsafe { Locked::<T>::from_raw(sb) };
        // SAFETY: By the function's requirements.
        let context = unsafe { FsContext::from_raw(fc) };
        from_result(|| {
            T::reconfigure(&sb, context, KBox::into_inner(options.ok_or(EINVAL)?))?;
            Ok(0)
        })
    }
}

/// `init_fs_context` of filesystem `T`, as the `kernel` crate's bindings declare it.
///
/// # Safety
///
/// See [`init_callback`].
pub(super) unsafe extern "C" fn init_context<T: FileSystem>(
    fc: *mut kernel::bindings::fs_context,
) -> c_int {
    // SAFETY: By the function's requirements; both types are `struct fs_context`, which the crate's bindings
    // only declare.
    unsafe { init_callback::<T>(fc.cast()) }
}

/// Sets up a new context.
///
/// # Safety
///
/// For the VFS (`alloc_fs_context()`), with a new context of the type that a `Registration<T>` registered. If it is
/// for a remount, its root is that of a mounted super block of `T`.
unsafe fn init_callback<T: FileSystem>(fc: *mut bindings::fs_context) -> c_int {
    // SAFETY: By the function's requirements.
    let purpose = unsafe { (*fc).purpose() };
    let remount = match purpose {
        bindings::fs_context_purpose_FS_CONTEXT_FOR_RECONFIGURE => {
            // SAFETY: By the function's requirements.
            Some(unsafe { SuperBlock::<T>::from_raw((*(*fc).root).d_sb) })
        }
        _ => None,
    };
    from_result(|| {
        let options = KBox::new(T::options(remount)?, GFP_KERNEL)?;
        // SAFETY: By the function's requirements; `free` gives the box back.
        unsafe { (*fc).fs_private = options.into_foreign().cast() };
        // SAFETY: By the function's requirements.
        unsafe { (*fc).ops = &Table::<T>::OPERATIONS };
        Ok(0)
    })
}
