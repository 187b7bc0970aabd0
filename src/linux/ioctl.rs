// SPDX-License-Identifier: GPL-2.0

//! Requests on open files and directories that are the filesystem's own business (`ioctl(2)`), decoded.
//!
//! Here is which number means what, for tasks of 64 and of 32 bits, and how much memory of the user goes with it. A
//! number that is not known is none of the filesystem's requests.
//!
//! C headers: [`include/uapi/linux/fs.h`](srctree/include/uapi/linux/fs.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h)
//!
//! # Locks
//!
//! None is held by the VFS, nor freeze protection: see [`Opened::want_write`].
//!
//! # Examples
//!
//! ```ignore
//! impl Requests for MyFs {
//!     fn request(file: &Opened<'_, MyFs>, request: Request) -> Result {
//!         match request {
//!             Request::GetVersion(to) => to.write(&file.inode().data().generation()),
//!             _ => Err(ENOTTY),
//!         }
//!     }
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode, //
};
use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    error::{
        code::*,
        from_result,
        to_result,
        Result, //
    },
    ffi::{
        c_long,
        c_uint, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    },
    types::NotThreadSafe,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// A request.
pub(crate) enum Request {
    /// Tell the generation of the inode.
    GetVersion(UserOut<u32>),
    /// Change it.
    SetVersion(UserIn<u32>),
    /// Tell the name of the volume, which ends with a zero.
    GetLabel(UserOut<LabelBuffer>),
    /// Change it.
    SetLabel(UserIn<LabelBuffer>),
    /// Let the filesystem be as if the power had been cut.
    Shutdown(ShutdownMode),
    /// Tell the device of free space (`FITRIM`).
    Trim(TrimBuffer),
}

/// The memory for a name of a volume: not all of it need be there.
pub(crate) type LabelBuffer = [u8; bindings::FSLABEL_MAX as usize];

/// What is made durable before a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// Everything.
    All,
    /// What is in the log, but no data.
    Log,
    /// Nothing.
    Nothing,
}

/// Who asks for a shutdown says what is to be durable.
pub(crate) struct ShutdownMode(UserIn<u32>);

impl ShutdownMode {
    /// What that is.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there; `EINVAL` where that is none of [`Shutdown`].
    pub(crate) fn read(&self) -> Result<Shutdown> {
        match self.0.read()? {
            bindings::FS_SHUTDOWN_FLAGS_DEFAULT => Ok(Shutdown::All),
            bindings::FS_SHUTDOWN_FLAGS_LOGFLUSH => Ok(Shutdown::Log),
            bindings::FS_SHUTDOWN_FLAGS_NOLOGFLUSH => Ok(Shutdown::Nothing),
            _ => Err(EINVAL),
        }
    }
}

/// What is to be trimmed, in bytes (`struct fstrim_range`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrimRange {
    /// Where to begin.
    pub(crate) start: u64,
    /// How much to look at; when it is told back, how much was trimmed.
    pub(crate) len: u64,
    /// Shorter pieces are left as they are.
    pub(crate) min_len: u64,
}

/// Who asks for a trim says what is to be trimmed, and is told how much was.
pub(crate) struct TrimBuffer(UserPtr);

impl TrimBuffer {
    /// What is to be trimmed.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn read(&self) -> Result<TrimRange> {
        let [start, len, min_len] = UserIn::<[u64; 3]>(self.0, PhantomData).read()?;
        Ok(TrimRange {
            start,
            len,
            min_len,
        })
    }

    /// Tells what was.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write(&self, range: &TrimRange) -> Result {
        UserOut(self.0, PhantomData).write(&[range.start, range.len, range.min_len])
    }
}

/// Memory of the user with a `T` in it. It need not be there, and may change any time.
pub(crate) struct UserIn<T>(UserPtr, PhantomData<T>);

impl<T: FromBytes> UserIn<T> {
    /// What is there now.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn read(&self) -> Result<T> {
        UserSlice::new(self.0, size_of::<T>()).reader().read()
    }
}

impl<const N: usize> UserIn<[u8; N]> {
    /// The first bytes of what is there now; the others need not be.
    ///
    /// # Errors
    ///
    /// `EFAULT` where these are not there; `EINVAL` where there are more than all.
    pub(crate) fn read_first(&self, to: &mut [u8]) -> Result {
        if to.len() > N {
            return Err(EINVAL);
        }
        UserSlice::new(self.0, to.len()).reader().read_slice(to)
    }
}

/// Memory of the user that takes a `T`. It need not be there.
pub(crate) struct UserOut<T>(UserPtr, PhantomData<T>);

impl<T: AsBytes> UserOut<T> {
    /// Tells it.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write(&self, value: &T) -> Result {
        UserSlice::new(self.0, size_of::<T>()).writer().write(value)
    }
}

impl<const N: usize> UserOut<[u8; N]> {
    /// Tells the first bytes; the others need not be there.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there; `EINVAL` where there are more than all.
    pub(crate) fn write_first(&self, bytes: &[u8]) -> Result {
        if bytes.len() > N {
            return Err(EINVAL);
        }
        UserSlice::new(self.0, bytes.len())
            .writer()
            .write_slice(bytes)
    }
}

/// An open file or directory of `T`.
///
/// # Invariants
///
/// Points to a file that stays open for `'a`, whose inode is one of `T` that is ready.
pub(crate) struct Opened<'a, T: FileSystem> {
    file: NonNull<bindings::file>,
    _file: PhantomData<&'a INode<T>>,
}

impl<'a, T: FileSystem> Opened<'a, T> {
    /// The inode.
    pub(crate) fn inode(&self) -> &'a INode<T> {
        // SAFETY: By the invariants; a file keeps its inode.
        unsafe { INode::from_raw((*self.file.as_ptr()).f_inode) }
    }

    /// Whether the task owns the inode, as the mount shows it, or may do what its owner may.
    pub(crate) fn is_owner_or_capable(&self) -> bool {
        // SAFETY: The file is open.
        unsafe { bindings::file_owner_or_capable(self.file.as_ptr()) }
    }

    /// Keeps the mount writable and the filesystem from being frozen while the guard lives. Waits while it is frozen.
    ///
    /// # Errors
    ///
    /// `EROFS` where it is not writable.
    pub(crate) fn want_write(&self) -> Result<WantWrite<'a>> {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::mnt_want_write_file(self.file.as_ptr()) })?;
        Ok(WantWrite(self.file, PhantomData, NotThreadSafe))
    }
}

/// Made by [`Opened::want_write`].
///
/// # Invariants
///
/// Points to a file that stays open for `'a`, by which write access to its mount was taken for the value.
#[must_use = "the mount is writable as long as it lives"]
pub(crate) struct WantWrite<'a>(NonNull<bindings::file>, PhantomData<&'a ()>, NotThreadSafe);

impl Drop for WantWrite<'_> {
    fn drop(&mut self) {
        // SAFETY: By the invariants.
        unsafe { bindings::mnt_drop_write_file(self.0.as_ptr()) };
    }
}

/// A filesystem that has requests of its own. Those for the flags that all filesystems have come to
/// [`super::inode_ops::Attributes`].
pub(crate) trait Requests: FileSystem {
    /// Does what is asked for, on an open regular file or directory.
    ///
    /// # Errors
    ///
    /// `ENOTTY` for a request that the filesystem does not have.
    fn request(file: &Opened<'_, Self>, request: Request) -> Result;
}

/// The request of a number, which goes with the memory at `at`.
fn decode(cmd: u32, at: UserPtr) -> Option<Request> {
    let (input, output) = (UserIn(at, PhantomData), UserOut(at, PhantomData));
    Some(match cmd {
        // The numbers say `long`, and it always was an `int`.
        bindings::FS_IOC_GETVERSION | bindings::EXT4_IOC_GETVERSION => Request::GetVersion(output),
        bindings::FS_IOC_SETVERSION | bindings::EXT4_IOC_SETVERSION => Request::SetVersion(input),
        bindings::FS_IOC_GETFSLABEL => Request::GetLabel(UserOut(at, PhantomData)),
        bindings::FS_IOC_SETFSLABEL => Request::SetLabel(UserIn(at, PhantomData)),
        bindings::FS_IOC_SHUTDOWN => Request::Shutdown(ShutdownMode(input)),
        bindings::FITRIM => Request::Trim(TrimBuffer(at)),
        _ => return None,
    })
}

/// The number that a task of 64 bits has for what a task of 32 bits calls `cmd`; `None` where that is not one of its
/// numbers. What is in memory is the same.
fn widen(cmd: u32) -> Option<u32> {
    Some(match cmd {
        bindings::FS_IOC32_GETVERSION => bindings::FS_IOC_GETVERSION,
        bindings::FS_IOC32_SETVERSION => bindings::FS_IOC_SETVERSION,
        bindings::EXT4_IOC32_GETVERSION => bindings::EXT4_IOC_GETVERSION,
        bindings::EXT4_IOC32_SETVERSION => bindings::EXT4_IOC_SETVERSION,
        bindings::FS_IOC_GETVERSION
        | bindings::FS_IOC_SETVERSION
        | bindings::EXT4_IOC_GETVERSION
        | bindings::EXT4_IOC_SETVERSION => return None,
        same => same,
    })
}

/// Answers a request on a file.
///
/// # Safety
///
/// `file` must be an open file or directory of `T`, for the call.
unsafe fn answer<T: Requests>(file: *mut bindings::file, cmd: Option<u32>, at: UserPtr) -> c_long {
    from_result(|| {
        let request = cmd.and_then(|cmd| decode(cmd, at)).ok_or(ENOTTY)?;
        // INVARIANT: By the function's requirements; an inode that is open is ready.
        let file = Opened::<T> {
            file: NonNull::new(file).ok_or(EINVAL)?,
            _file: PhantomData,
        };
        T::request(&file, request)?;
        Ok(0)
    })
}

/// `unlocked_ioctl` of files and directories of `T`.
///
/// # Safety
///
/// For the VFS (`vfs_ioctl()`), with an open regular file or directory of `T`.
pub(super) unsafe extern "C" fn unlocked<T: Requests>(
    file: *mut bindings::file,
    cmd: c_uint,
    arg: usize,
) -> c_long {
    // SAFETY: By the function's requirements.
    unsafe { answer::<T>(file, Some(cmd), UserPtr::from_addr(arg)) }
}

/// `compat_ioctl` of files and directories of `T`: by a task of 32 bits.
///
/// # Safety
///
/// As for [`unlocked`] (`compat_sys_ioctl()`).
pub(super) unsafe extern "C" fn compat<T: Requests>(
    file: *mut bindings::file,
    cmd: c_uint,
    arg: usize,
) -> c_long {
    // SAFETY: No conditions; a task of 32 bits has no more bits in a pointer.
    let at = unsafe { bindings::compat_ptr(arg as u32) };
    // SAFETY: By the function's requirements.
    unsafe { answer::<T>(file, widen(cmd), UserPtr::from_ptr(at)) }
}
