// SPDX-License-Identifier: GPL-2.0

//! Regular files: the operations on an open file, and the requests to read and write.
//!
//! The tables have no owner: the VFS holds the module through the mounted super block.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::bindings;
use super::fs::FileSystem;
use super::inode::INode;
use super::mmap::{self, Mmap};
use core::ffi::{c_int, c_uint};
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::{code::*, from_err_ptr, to_result, Error, Result};
use kernel::ffi::c_long;
use kernel::str::{CStr, CStrExt};

/// An open file of a regular file of `T`.
///
/// # Invariants
///
/// Points to a file that stays open for `'a`, whose inode is a regular file of `T`.
#[derive(Clone, Copy)]
pub(crate) struct File<'a, T: FileSystem> {
    ptr: NonNull<bindings::file>,
    _file: PhantomData<&'a INode<T>>,
}

impl<'a, T: FileSystem> File<'a, T> {
    /// # Safety
    ///
    /// As the invariants say.
    unsafe fn from_raw(ptr: *mut bindings::file) -> Self {
        Self {
            // SAFETY: A valid pointer is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr) },
            _file: PhantomData,
        }
    }

    fn as_ptr(&self) -> *mut bindings::file {
        self.ptr.as_ptr()
    }

    /// The inode.
    pub(crate) fn inode(&self) -> &'a INode<T> {
        // SAFETY: By the invariants; a file keeps its inode.
        unsafe { INode::from_raw((*self.as_ptr()).f_inode) }
    }

    /// Whether it was opened for writing.
    pub(crate) fn is_writable(&self) -> bool {
        // SAFETY: The mode does not change while the file is open.
        unsafe { (*self.as_ptr()).f_mode & bindings::FMODE_WRITE != 0 }
    }

    /// Where the filesystem is mounted that the file was opened by, as the calling task sees it, in `buffer`.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` where the path and a zero do not fit.
    pub(crate) fn mount_point<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let len = i32::try_from(buffer.len()).map_err(|_| EINVAL)?;
        // SAFETY: An open file holds its mount, which holds its root; the callee writes within the buffer.
        let path = from_err_ptr(unsafe {
            let mnt = (*self.as_ptr()).__bindgen_anon_1.f_path.mnt;
            let path = bindings::path {
                mnt,
                dentry: (*mnt).mnt_root,
            };
            bindings::d_path(&path, buffer.as_mut_ptr().cast(), len)
        })?;
        // SAFETY: The callee returns a string within the buffer that ends with a zero, and nobody else has the buffer.
        Ok(unsafe { CStr::from_char_ptr(path) }.to_bytes())
    }

    /// Writes dirty folios of bytes `start..=end` back and waits for it. Errors of earlier writeback that this
    /// opening was not told of are reported too.
    pub(crate) fn write_and_wait(&self, start: i64, end: i64) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::file_write_and_wait_range(self.as_ptr(), start, end) })
    }

    /// Reports an error of earlier writeback that this opening was not told of.
    pub(crate) fn check_writeback_error(&self) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::file_check_and_advance_wb_err(self.as_ptr()) })
    }

    /// Notes an access: the access time may change.
    pub(crate) fn accessed(&self) {
        // SAFETY: The file is open.
        unsafe { bindings::file_accessed(self.as_ptr()) }
    }

    /// Moves the position as `lseek` does, for the whences that need no map.
    pub(crate) fn llseek(&self, offset: i64, whence: i32) -> Result<i64> {
        // SAFETY: The file is open.
        seek_result(unsafe { bindings::generic_file_llseek(self.as_ptr(), offset, whence) })
    }

    /// Moves the position to `pos`.
    pub(crate) fn set_position(&self, pos: i64) -> Result<i64> {
        // SAFETY: The file is open, its super block lives.
        seek_result(unsafe {
            let max = (*(*(*self.as_ptr()).f_inode).i_sb).s_maxbytes;
            bindings::vfs_setpos(self.as_ptr(), pos, max)
        })
    }
}

fn seek_result(ret: i64) -> Result<i64> {
    if ret < 0 {
        Err(Error::from_errno(ret as c_int))
    } else {
        Ok(ret)
    }
}

/// A request to read or write a file (`struct kiocb`).
///
/// # Invariants
///
/// Points to a live request on an open regular file of `T`, not yet completed. Nobody else changes it.
pub(crate) struct Kiocb<'a, T: FileSystem> {
    ptr: NonNull<bindings::kiocb>,
    _request: PhantomData<&'a mut INode<T>>,
}

impl<'a, T: FileSystem> Kiocb<'a, T> {
    /// # Safety
    ///
    /// As the invariants say, for as long as the value is used.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::kiocb) -> Self {
        Self {
            // SAFETY: A valid pointer is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr) },
            _request: PhantomData,
        }
    }

    /// The C structure.
    pub(super) fn as_ptr(&self) -> *mut bindings::kiocb {
        self.ptr.as_ptr()
    }

    /// The open file.
    pub(crate) fn file(&self) -> File<'a, T> {
        // SAFETY: A request holds its file until after the call that it was passed to, also where it
        // completes earlier.
        unsafe { File::from_raw((*self.as_ptr()).ki_filp) }
    }

    /// The inode of the file.
    pub(crate) fn inode(&self) -> &'a INode<T> {
        self.file().inode()
    }

    /// Where in the file, in bytes.
    pub(crate) fn pos(&self) -> i64 {
        // SAFETY: By the invariants.
        unsafe { (*self.as_ptr()).ki_pos }
    }

    fn has(&self, flag: c_int) -> bool {
        // SAFETY: By the invariants.
        unsafe { (*self.as_ptr()).ki_flags & flag != 0 }
    }

    /// Whether this is direct I/O.
    pub(crate) fn is_direct(&self) -> bool {
        self.has(bindings::IOCB_DIRECT)
    }

    /// Makes this a request through the page cache.
    pub(crate) fn clear_direct(&mut self) {
        // SAFETY: By the invariants.
        unsafe { (*self.as_ptr()).ki_flags &= !bindings::IOCB_DIRECT }
    }

    /// Whether it must not wait.
    pub(crate) fn is_nowait(&self) -> bool {
        self.has(bindings::IOCB_NOWAIT)
    }

    /// Whether somebody else than the caller waits for it.
    pub(crate) fn is_async(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { (*self.as_ptr()).ki_complete.is_some() }
    }

    /// Whether what is written must be durable when it is complete.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { bindings::iocb_is_dsync(self.as_ptr()) }
    }

    /// Whether it goes to the end of the file, wherever that is.
    pub(crate) fn is_append(&self) -> bool {
        self.has(bindings::IOCB_APPEND)
    }

    /// Checks limits, open modes and swap files, moves to the end for `O_APPEND`, and cuts `from` to what may
    /// be written. Returns the number of bytes, which may be 0. The inode's lock must be held. Before the checks
    /// are done again, [`IterSource::uncut`] gives back what was cut.
    pub(crate) fn write_checks(&mut self, from: &mut IterSource<'_>) -> Result<usize> {
        let before = from.len();
        // SAFETY: Both are live and ours.
        let ret = unsafe { bindings::generic_write_checks(self.as_ptr(), from.as_ptr()) };
        from.cut = from.cut.wrapping_add(before.wrapping_sub(from.len()));
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }

    /// Drops set-user-id and capabilities, and updates the times. The inode's lock must be held, exclusively
    /// if the inode may have something to drop ([`INode::is_nosec`] says no).
    pub(crate) fn modified(&mut self) -> Result {
        // SAFETY: The request is live.
        to_result(unsafe { bindings::kiocb_modified(self.as_ptr()) })
    }

    /// Makes the last `written` bytes durable where the file or the request asks for it. Returns `written`.
    pub(crate) fn write_sync(&mut self, written: usize) -> Result<usize> {
        // SAFETY: The request is live; its position is behind the bytes.
        let ret = unsafe { bindings::generic_write_sync(self.as_ptr(), written as isize) };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }

    /// After `direct` bytes of direct I/O the rest went through the page cache, with `buffered` as the
    /// result: writes it back and drops it from the cache. Returns the number of bytes in all.
    pub(crate) fn direct_write_fallback(
        &mut self,
        from: &mut IterSource<'_>,
        direct: usize,
        buffered: Result<usize>,
    ) -> Result<usize> {
        let buffered = match buffered {
            Ok(n) => n as isize,
            Err(e) => e.to_errno() as isize,
        };
        // SAFETY: Both are live and ours.
        let ret = unsafe {
            bindings::direct_write_fallback(self.as_ptr(), from.as_ptr(), direct as isize, buffered)
        };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }

    /// Reads through the page cache (direct requests become such). That may end later: whoever has the request is told
    /// to ask again.
    pub(crate) fn read_buffered(mut self, to: &mut IterDest<'_>) -> Answer<'a> {
        self.clear_direct();
        // SAFETY: Both are live and ours.
        let ret = unsafe { bindings::generic_file_read_iter(self.as_ptr(), to.as_ptr()) };
        Answer(ret, PhantomData)
    }

    /// The request is done, with this number of bytes or error.
    ///
    /// `EIOCBQUEUED` says that a completion is still to come, which only who has queued the request can know: it
    /// becomes `EIO`.
    pub(crate) fn done(self, result: Result<usize>) -> Answer<'a> {
        let ret = match result {
            Ok(bytes) => bytes as isize,
            Err(error) if error == EIOCBQUEUED => EIO.to_errno() as isize,
            Err(error) => error.to_errno() as isize,
        };
        Answer(ret, PhantomData)
    }
}

/// What the VFS is told of a request: that it is done ([`Kiocb::done`]), or that it was queued and its completion will
/// tell, for which the request was given away.
///
/// So no request is completed twice, and none is said to be queued that is not: that of one request is no answer to
/// another, by the lifetime.
#[must_use = "the VFS must be told of it"]
pub(crate) struct Answer<'a>(isize, PhantomData<fn(&'a ()) -> &'a ()>);

impl Answer<'_> {
    /// The completion of the request will tell.
    ///
    /// # Safety
    ///
    /// The request of this lifetime must have been queued.
    pub(super) unsafe fn queued() -> Self {
        Self(EIOCBQUEUED.to_errno() as isize, PhantomData)
    }
}

macro_rules! iter {
    ($(#[$doc:meta])* $name:ident $({ $(#[$field_doc:meta])* $field:ident: $type:ty })?) => {
        $(#[$doc])*
        ///
        /// # Invariants
        ///
        /// Points to a live `struct iov_iter` of this direction, which nobody else uses.
        pub(crate) struct $name<'a> {
            ptr: NonNull<bindings::iov_iter>,
            $($(#[$field_doc])* $field: $type,)?
            _iter: PhantomData<&'a mut bindings::iov_iter>,
        }

        impl $name<'_> {
            /// # Safety
            ///
            /// As the invariants say.
            unsafe fn from_raw(ptr: *mut bindings::iov_iter) -> Self {
                Self {
                    // SAFETY: A valid pointer is not null.
                    ptr: unsafe { NonNull::new_unchecked(ptr) },
                    $($field: <$type>::default(),)?
                    _iter: PhantomData,
                }
            }

            /// The C structure.
            pub(super) fn as_ptr(&mut self) -> *mut bindings::iov_iter {
                self.ptr.as_ptr()
            }

            /// The number of bytes left.
            pub(crate) fn len(&self) -> usize {
                // SAFETY: By the invariants.
                unsafe { bindings::iov_iter_count(self.ptr.as_ptr()) }
            }
        }
    };
}

iter! {
    /// Where the bytes of a write come from.
    IterSource {
        /// Bytes that were cut off the end.
        cut: usize
    }
}
iter! {
    /// Where the bytes of a read go.
    IterDest
}

impl IterSource<'_> {
    /// Gives back what [`Kiocb::write_checks`] has cut off the end.
    pub(crate) fn uncut(&mut self) {
        let len = self.len().wrapping_add(self.cut);
        self.cut = 0;
        // SAFETY: That many bytes were cut off the end since the iterator was made, and what was consumed since
        // is not counted by `len`: the memory is there.
        unsafe { bindings::iov_iter_reexpand(self.ptr.as_ptr(), len) };
    }
}

/// Operations on open regular files.
pub(crate) trait FileOperations: Sized + 'static {
    /// The file system.
    type Fs: FileSystem;
    /// Faults of mappings.
    type Mmap: Mmap<Fs = Self::Fs>;

    /// The file is opened; size limits were checked.
    fn open(file: File<'_, Self::Fs>) -> Result;

    /// The last reference to an opening goes away.
    fn release(file: File<'_, Self::Fs>);

    /// Reads.
    fn read_iter<'a>(iocb: Kiocb<'a, Self::Fs>, to: IterDest<'_>) -> Answer<'a>;

    /// Writes.
    fn write_iter<'a>(iocb: Kiocb<'a, Self::Fs>, from: IterSource<'_>) -> Answer<'a>;

    /// Makes bytes `start..=end`, and what is needed to find them, durable; the rest of the inode too
    /// unless `data_only`.
    fn fsync(file: File<'_, Self::Fs>, start: i64, end: i64, data_only: bool) -> Result;

    /// Finds the next data (`SEEK_DATA`).
    fn seek_data(inode: &INode<Self::Fs>, pos: i64) -> Result<i64>;

    /// Finds the next hole (`SEEK_HOLE`).
    fn seek_hole(inode: &INode<Self::Fs>, pos: i64) -> Result<i64>;

    /// Changes the blocks of a file (`fallocate(2)`), bytes `pos..pos + len`.
    fn fallocate(file: File<'_, Self::Fs>, mode: u32, pos: i64, len: i64) -> Result;

    /// File system specific requests.
    fn ioctl(file: File<'_, Self::Fs>, cmd: u32, arg: usize) -> Result<i64>;
}

/// The table of a [`FileOperations`], for regular files only.
pub(super) fn table<O: FileOperations>() -> &'static bindings::file_operations {
    Table::<O>::TABLE
}

struct Table<O>(PhantomData<O>);

impl<O: FileOperations> Table<O> {
    const TABLE: &'static bindings::file_operations = &bindings::file_operations {
        fop_flags: bindings::FOP_BUFFER_RASYNC
            | bindings::FOP_BUFFER_WASYNC
            | bindings::FOP_DIO_PARALLEL_WRITE
            | bindings::FOP_DONTCACHE,
        llseek: Some(Self::llseek),
        read_iter: Some(Self::read_iter),
        write_iter: Some(Self::write_iter),
        iopoll: Some(bindings::iocb_bio_iopoll),
        unlocked_ioctl: Some(Self::ioctl),
        compat_ioctl: bindings::compat_ptr_ioctl,
        mmap_prepare: Some(mmap::prepare::<O::Mmap>),
        open: Some(Self::open),
        release: Some(Self::release),
        fsync: Some(Self::fsync),
        get_unmapped_area: mmap::UNMAPPED_AREA,
        splice_read: Some(bindings::filemap_splice_read),
        splice_write: Some(bindings::iter_file_splice_write),
        setlease: Some(bindings::generic_setlease),
        fallocate: Some(Self::fallocate),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the VFS on an open regular file of `O::Fs`, as are the others.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: By the caller.
        let file = unsafe { File::<O::Fs>::from_raw(file) };
        let found = match whence as c_uint {
            bindings::SEEK_DATA => {
                O::seek_data(file.inode(), offset).and_then(|pos| file.set_position(pos))
            }
            bindings::SEEK_HOLE => {
                O::seek_hole(file.inode(), offset).and_then(|pos| file.set_position(pos))
            }
            _ => file.llseek(offset, whence),
        };
        found.unwrap_or_else(|e| i64::from(e.to_errno()))
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the caller, and the request and the iterator are ours until the call returns or the
        // request was queued.
        let (iocb, iter) = unsafe { (Kiocb::from_raw(iocb), IterDest::from_raw(iter)) };
        O::read_iter(iocb, iter).0
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn write_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As in `read_iter`.
        let (iocb, iter) = unsafe { (Kiocb::from_raw(iocb), IterSource::from_raw(iter)) };
        O::write_iter(iocb, iter).0
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the caller; the file is being opened, so its mode is ours to change.
        unsafe {
            (*file).f_mode |= bindings::FMODE_NOWAIT | bindings::FMODE_CAN_ODIRECT;
            let ret = bindings::generic_file_open(inode, file);
            if ret != 0 {
                return ret;
            }
        }
        // SAFETY: By the caller.
        match O::open(unsafe { File::from_raw(file) }) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the caller.
        O::release(unsafe { File::from_raw(file) });
        0
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        datasync: c_int,
    ) -> c_int {
        // SAFETY: By the caller.
        match O::fsync(unsafe { File::from_raw(file) }, start, end, datasync != 0) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn fallocate(
        file: *mut bindings::file,
        mode: c_int,
        pos: i64,
        len: i64,
    ) -> c_long {
        // SAFETY: By the caller.
        match O::fallocate(unsafe { File::from_raw(file) }, mode as u32, pos, len) {
            Ok(()) => 0,
            Err(e) => e.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// As for `llseek`.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: usize) -> c_long {
        // SAFETY: By the caller.
        match O::ioctl(unsafe { File::from_raw(file) }, cmd, arg) {
            Ok(n) => n as c_long,
            Err(e) => e.to_errno() as c_long,
        }
    }
}
