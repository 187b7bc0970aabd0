// SPDX-License-Identifier: GPL-2.0

//! The context of a mount or remount, and its options.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h),
//! [`include/linux/fs_parser.h`](srctree/include/linux/fs_parser.h)

use super::{
    bindings,
    fs::FileSystem,
    super_block::{self, SuperBlock},
};
use core::{marker::PhantomData, mem::MaybeUninit, ptr};
use kernel::{
    error::from_result,
    fmt,
    prelude::*,
    types::{ForeignOwnable, Opaque},
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

    /// An option without a value that has an opposite: the same name after `no`.
    pub(crate) const fn flag_no(name: &'static CStr, number: u8) -> Self {
        let flags = bindings::fs_param_neg_with_no;
        Self::with(Some(name), None, number, flags, ptr::null())
    }

    /// An option with a number.
    pub(crate) const fn u32(name: &'static CStr, number: u8) -> Self {
        let kind = Some(
            bindings::fs_param_is_u32
                as unsafe extern "C" fn(
                    *mut bindings::p_log,
                    *const bindings::fs_parameter_spec,
                    *mut bindings::fs_parameter,
                    *mut bindings::fs_parse_result,
                ) -> kernel::ffi::c_int,
        );
        Self::with(Some(name), kind, number, 0, ptr::null())
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
        let kind = Some(
            bindings::fs_param_is_enum
                as unsafe extern "C" fn(
                    *mut bindings::p_log,
                    *const bindings::fs_parameter_spec,
                    *mut bindings::fs_parameter,
                    *mut bindings::fs_parse_result,
                ) -> kernel::ffi::c_int,
        );
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
    /// The name was given with `no` before it, or the value was empty where that negates.
    pub(crate) negated: bool,
    /// The number, or the enumerated value; zero for an option without a value.
    pub(crate) number: u32,
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
        // SAFETY: `Self` is a transparent wrapper; the rest is the caller's promise.
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

    /// Whether nobody wants to know that the device has another filesystem.
    pub(crate) fn is_silent(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { (*self.0.get()).sb_flags & bindings::SB_SILENT as u32 != 0 }
    }

    fn log(&self, level: u8, message: fmt::Arguments<'_>) {
        // SAFETY: Valid by the type's invariants, and a context has a type with a name; `%pA` prints the
        // `fmt::Arguments` that is given.
        unsafe {
            bindings::logfc(
                (*self.0.get()).log.log,
                (*(*self.0.get()).fs_type).name,
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

    /// # Safety
    ///
    /// `fc` must be a context of `T`.
    unsafe fn take_options(fc: *mut bindings::fs_context) -> Option<KBox<T::Options>> {
        // SAFETY: A context of `T`: `fs_private` is null or a box that we made.
        unsafe {
            let private = core::mem::replace(&mut (*fc).fs_private, ptr::null_mut());
            <KBox<T::Options> as ForeignOwnable>::try_from_foreign(private)
        }
    }

    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: The VFS gives a context of `T`, for the last time.
        drop(unsafe { Self::take_options(fc) });
    }

    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> kernel::ffi::c_int {
        let mut result = MaybeUninit::<bindings::fs_parse_result>::zeroed();
        // SAFETY: The VFS gives a valid context and parameter; the list has its end (see `Registration`).
        let number = unsafe {
            bindings::__fs_parse(
                &mut (*fc).log,
                T::PARAMETERS.as_ptr().cast(),
                param,
                result.as_mut_ptr(),
            )
        };
        if number < 0 {
            return number;
        }
        // SAFETY: All zeros is a valid value, and `__fs_parse` may have filled it in.
        let result = unsafe { result.assume_init() };
        let value = Value {
            negated: result.negated,
            // SAFETY: All variants are plain numbers, or a `bool` or user id that we do not offer.
            number: unsafe { *result.__bindgen_anon_1.uint_32.as_ref() },
        };
        // SAFETY: The VFS gives a context of `T` and calls one operation at a time: the box is ours. It was
        // set by `init_callback`, and parameters are parsed before anything takes it away.
        let (context, options) = unsafe {
            (
                FsContext::from_raw(fc),
                (*fc).fs_private.cast::<T::Options>().as_mut(),
            )
        };
        from_result(|| {
            let options = options.ok_or(EINVAL)?;
            T::parse_parameter(context, options, number as u8, value)?;
            Ok(0)
        })
    }

    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> kernel::ffi::c_int {
        // SAFETY: The VFS gives a valid context; `fill_super` is for super blocks of `T`.
        unsafe { bindings::get_tree_bdev(fc, Some(Self::fill_super)) }
    }

    unsafe extern "C" fn fill_super(
        sb: *mut bindings::super_block,
        fc: *mut bindings::fs_context,
    ) -> kernel::ffi::c_int {
        // SAFETY: Called by `get_tree_bdev` with the context of `T` and a new super block.
        let (context, options) = unsafe { (FsContext::from_raw(fc), Self::take_options(fc)) };
        from_result(|| {
            let options = KBox::into_inner(options.ok_or(EINVAL)?);
            // SAFETY: As above: a new super block of `T`, whose device is open.
            unsafe { super_block::fill::<T>(sb, context, options) }?;
            Ok(0)
        })
    }

    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> kernel::ffi::c_int {
        // SAFETY: The VFS gives a context of `T` for a remount: its root is that of a mounted super block of
        // `T`, which stays mounted.
        let (context, options, sb) = unsafe {
            (
                FsContext::from_raw(fc),
                Self::take_options(fc),
                SuperBlock::<T>::from_raw((*(*fc).root).d_sb),
            )
        };
        from_result(|| {
            T::reconfigure(sb, context, KBox::into_inner(options.ok_or(EINVAL)?))?;
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
) -> kernel::ffi::c_int {
    // SAFETY: By the caller's promise; both types are `struct fs_context`, which the crate's bindings
    // only declare.
    unsafe { init_callback::<T>(fc.cast()) }
}

/// Sets up a new context.
///
/// # Safety
///
/// For the VFS only, with a new context of the type that `T` registered.
unsafe fn init_callback<T: FileSystem>(fc: *mut bindings::fs_context) -> kernel::ffi::c_int {
    // SAFETY: A new context: valid, and if it is for a remount its root is that of a mounted super block.
    let remount = unsafe {
        if (*fc).purpose() == bindings::fs_context_purpose_FS_CONTEXT_FOR_RECONFIGURE {
            Some(SuperBlock::<T>::from_raw((*(*fc).root).d_sb))
        } else {
            None
        }
    };
    from_result(|| {
        let options = KBox::new(T::options(remount)?, GFP_KERNEL)?;
        // SAFETY: As above; `free` gives the box back.
        unsafe {
            (*fc).fs_private = options.into_foreign().cast();
            (*fc).ops = &Table::<T>::OPERATIONS;
        }
        Ok(0)
    })
}
