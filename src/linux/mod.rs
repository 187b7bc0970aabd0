// SPDX-License-Identifier: GPL-2.0

//! What the `kernel` crate does not have yet: wrappers of C interfaces for safe code.
//!
//! Tests: `qemu/test/t`, in a guest; `make debug` runs them where lockdep, KASAN and KCSAN watch.
//!
//! The only room with `unsafe`, raw bindings and C, but for the trace points, which C defines and which are the file
//! system's own (`ops/trace`). Each file is written as if it were to be sent to `rust/kernel/`: it knows nothing of
//! this filesystem, and is sound for any safe caller.

#[allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    improper_ctypes,
    unnecessary_transmutes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings {
    //! The `kernel` crate's bindings, and over them what `bindings.h` and `helpers.c` add.

    #[allow(unused_imports)]
    pub(crate) use kernel::bindings::*;
    use kernel::ffi;

    include!(env!("IOMAPFS_BINDINGS"));
    include!(env!("IOMAPFS_BINDINGS_HELPERS"));
}

#[cfg(not(CONFIG_QUOTA))]
compile_error!("the kernel must have CONFIG_QUOTA");

pub(crate) mod acl;
pub(crate) mod address_space;
pub(crate) mod attr;
pub(crate) mod block_device;
pub(crate) mod buffer;
pub(crate) mod compat;
pub(crate) mod dax;
pub(crate) mod debugfs;
pub(crate) mod dentry;
pub(crate) mod dir;
pub(crate) mod exportfs;
pub(crate) mod fiemap;
pub(crate) mod file;
pub(crate) mod fileattr;
pub(crate) mod fs;
pub(crate) mod fs_context;
pub(crate) mod fserror;
pub(crate) mod inode;
pub(crate) mod inode_ops;
pub(crate) mod ioctl;
pub(crate) mod iomap;
pub(crate) mod jbd2;
pub(crate) mod kinds;
pub(crate) mod lock;
pub(crate) mod memalloc;
pub(crate) mod mmap;
pub(crate) mod printk;
pub(crate) mod quota;
pub(crate) mod random;
pub(crate) mod security;
pub(crate) mod statfs;
pub(crate) mod super_block;
pub(crate) mod sysfs;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod tracepoint;
pub(crate) mod workqueue;
pub(crate) mod xattr;

/// CRC32c of `bytes`, continued from `seed`. Nothing is inverted: ext4 starts with `!0`.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    // SAFETY: `bytes` is valid for reads of its length.
    unsafe { bindings::crc32c(seed, bytes.as_ptr().cast(), bytes.len()) }
}
