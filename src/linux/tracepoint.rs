// SPDX-License-Identifier: GPL-2.0

//! Trace points that a module defines.
//!
//! The module has a C header with a `TRACE_EVENT` each, as all trace points of the kernel are defined; a C file that
//! includes it after `CREATE_TRACE_POINTS` and `CREATE_RUST_TRACE_POINTS`; and bindings of that header, by
//! bindgen. [`events`] makes a type of each, with two functions: whether anybody watches, which costs a no-op while
//! nobody does, and to tell. What it costs to find out what there is to be told is then to be had only where somebody
//! watches.
//!
//! C headers: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h), `tracepoint.h` beside this file.
//!
//! # Examples
//!
//! ```ignore
//! events! {
//!     of "MYFS_TRACE_BINDINGS", with MYFS_FLAG_DIRECT;
//!
//!     /// A write begins.
//!     event Begin = myfs_begin(dev: u32, ino: u64, pos: u64, flags: u32);
//! }
//!
//! if Begin::is_on() {
//!     Begin::tell(1, 2, 3, MYFS_FLAG_DIRECT);
//! }
//! ```

use core::marker::PhantomData;
use kernel::ffi::{
    c_char,
    c_uint, //
};

/// `struct rust_text`: text that a trace point copies.
///
/// # Invariants
///
/// `start` and `len` are those of a string that lives for `'a`.
#[repr(C)]
pub(crate) struct Text<'a> {
    start: *const c_char,
    len: c_uint,
    _text: PhantomData<&'a str>,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        // INVARIANT: What is longer than any text is cut.
        Self {
            start: text.as_ptr().cast(),
            len: c_uint::try_from(text.len()).unwrap_or(c_uint::MAX),
            _text: PhantomData,
        }
    }
}

/// What a trace point can be told.
///
/// # Safety
///
/// C code that reads the argument, and what is behind it as far as its type says, for the time of a call, is sound for
/// all values of the type.
pub(crate) unsafe trait Argument {}

// SAFETY: A number.
unsafe impl Argument for u32 {}
// SAFETY: A number.
unsafe impl Argument for u64 {}
// SAFETY: A number.
unsafe impl Argument for i32 {}
// SAFETY: By the invariants of `Text`.
unsafe impl Argument for &Text<'_> {}

/// Makes a type of each trace point. See the top of the file. `of` is the variable of the environment that has the
/// file of the bindings, `with` are constants that are taken from there.
macro_rules! events {
    (
        of $file:literal, with $($constant:ident)*;
        $($(#[$attribute:meta])* event $name:ident = $event:ident($($arg:ident: $type:ty),* $(,)?);)*
    ) => {
        #[allow(
            clippy::all,
            dead_code,
            elided_lifetimes_in_paths,
            missing_docs,
            non_camel_case_types,
            non_upper_case_globals,
            improper_ctypes,
            unreachable_pub
        )]
        mod generated {
            #[allow(unused_imports)]
            use kernel::{bindings::*, ffi};
            #[allow(unused_imports)]
            use $crate::linux::tracepoint::Text as rust_text;

            include!(env!($file));
        }
        $(pub(crate) use generated::$constant;)*

        kernel::macros::paste! {$(
            $(#[$attribute])*
            pub(crate) struct $name;

            impl $name {
                /// Whether anybody watches.
                #[inline(always)]
                pub(crate) fn is_on() -> bool {
                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: The trace point is one that C defines, and its key may always be asked for.
                    return unsafe {
                        kernel::jump_label::static_branch_unlikely!(
                            generated::[<__tracepoint_ $event>],
                            kernel::bindings::tracepoint,
                            key
                        )
                    };
                    #[cfg(not(CONFIG_TRACEPOINTS))]
                    false
                }

                /// Tells who watches.
                #[cold]
                #[inline(never)]
                #[allow(clippy::too_many_arguments)]
                pub(crate) fn tell($($arg: $type),*) {
                    const fn is_argument<T: $crate::linux::tracepoint::Argument>() {}
                    $(const { is_argument::<$type>() };)*

                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: The function reads its arguments, and keeps none of them. Their types are those of the
                    // bindings, and all values of them can be read.
                    unsafe {
                        generated::[<rust_do_trace_ $event>]($($arg),*)
                    };
                    #[cfg(not(CONFIG_TRACEPOINTS))]
                    let _ = ($($arg),*);
                }
            }
        )*}
    };
}
pub(crate) use events;
