// SPDX-License-Identifier: GPL-2.0

//! Requests of `ioctl(2)` that all filesystems know, and what the user gives with them.
//!
//! C header: [`include/uapi/linux/fs.h`](srctree/include/uapi/linux/fs.h)
//!
//! # Locks
//!
//! None. Copying from and to the user may fault: no lock may be held that a fault takes.
//!
//! # Examples
//!
//! ```ignore
//! fn ioctl(file: File<'_, MyFs>, cmd: u32, arg: usize) -> Result<isize> {
//!     match cmd {
//!         FITRIM => {
//!             let mut range = TrimRange::read(arg)?;
//!             range.len = trim(range.start, range.len, range.min_len)?;
//!             range.write(arg)?;
//!             Ok(0)
//!         }
//!         _ => Err(ENOTTY),
//!     }
//! }
//! ```

use super::bindings;
use kernel::{
    error::Result,
    ioctl::_IOWR,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// Tells the device of free space. The user gives a [`TrimRange`].
pub(crate) const FITRIM: u32 = _IOWR::<bindings::fstrim_range>('X' as u32, 121);

/// What is to be trimmed, in bytes; `len` is what was trimmed when it is given back.
pub(crate) struct TrimRange {
    /// Where to begin.
    pub(crate) start: u64,
    /// How much to look at.
    pub(crate) len: u64,
    /// Shorter pieces are left as they are.
    pub(crate) min_len: u64,
}

impl TrimRange {
    /// What the user has at address `arg`; `EFAULT`.
    pub(crate) fn read(arg: usize) -> Result<Self> {
        let [start, len, min_len] = user_range(arg).reader().read::<[u64; 3]>()?;

        Ok(Self {
            start,
            len,
            min_len,
        })
    }

    /// Gives it to the user at address `arg`; `EFAULT`.
    pub(crate) fn write(&self, arg: usize) -> Result {
        user_range(arg)
            .writer()
            .write(&[self.start, self.len, self.min_len])
    }
}

/// A `struct fstrim_range` at address `arg` of the user.
fn user_range(arg: usize) -> UserSlice {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<bindings::fstrim_range>())
}
