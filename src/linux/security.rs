// SPDX-License-Identifier: GPL-2.0

//! The labels that security modules give to new inodes.
//!
//! C header: [`include/linux/security.h`](srctree/include/linux/security.h)
//!
//! # Locks
//!
//! None. The filesystem may be in a transaction.
//!
//! # Examples
//!
//! ```ignore
//! new.security_labels(dir, Some(name), |name, value| labels.add(name, value))?;
//! ```

use super::{
    bindings,
    dentry::EntryName,
    fs::FileSystem,
    inode::{
        INode,
        New, //
    }, //
};
use core::{
    ptr,
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*, //
};

/// Labels of a new inode on their way from a security module.
struct Labels<'a> {
    add: &'a mut dyn FnMut(&[u8], &[u8]) -> Result,
}

impl<'a, T: FileSystem> New<'a, T> {
    /// Asks the security modules for the labels of a new inode in `dir`, which has its number, owner and mode. `add` is
    /// called with the name of each, behind `security.`, and its value. `name` is the one that the inode will have.
    ///
    /// # Errors
    ///
    /// Those of the security modules and of `add`.
    pub(crate) fn security_labels(
        &self,
        dir: &INode<T>,
        name: Option<&EntryName>,
        mut add: impl FnMut(&[u8], &[u8]) -> Result,
    ) -> Result {
        /// # Safety
        ///
        /// For `security_inode_init_security()`, with attributes of which the one behind the last has no name, and
        /// `Labels`.
        unsafe extern "C" fn take(
            _inode: *mut bindings::inode,
            mut at: *const bindings::xattr,
            labels: *mut c_void,
        ) -> c_int {
            // SAFETY: By the function's requirements.
            let labels = unsafe { &mut *labels.cast::<Labels<'_>>() };
            from_result(|| {
                // SAFETY: By the function's requirements.
                while let Some(one) = unsafe { at.as_ref() }.filter(|one| !one.name.is_null()) {
                    // SAFETY: A name is a string.
                    let name = unsafe { CStr::from_char_ptr(one.name) }.to_bytes();
                    let value = match one.value.is_null() {
                        true => &[],
                        // SAFETY: A value has as many bytes.
                        false => unsafe {
                            slice::from_raw_parts(one.value.cast::<u8>(), one.value_len)
                        },
                    };
                    (labels.add)(name, value)?;
                    // SAFETY: There is another one, or one without a name.
                    at = unsafe { at.add(1) };
                }
                Ok(0)
            })
        }
        let mut labels = Labels { add: &mut add };
        let name = name.map_or(ptr::null(), EntryName::as_raw);
        // SAFETY: The inodes are valid by the types' invariants, the name is null or one; the callback gets what it
        // takes.
        to_result(unsafe {
            bindings::security_inode_init_security(
                self.as_raw(),
                dir.as_raw(),
                name,
                Some(take),
                (&raw mut labels).cast(),
            )
        })
    }
}
