// SPDX-License-Identifier: GPL-2.0

//! Regular files: the operations on an open file, and the requests to read and write.
//!
//! The tables have no owner: the VFS holds the module through the mounted super block.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)
//!
//! A [`File`] is lent for a call. A [`Kiocb`] is given away: it comes back as an [`Answer`].
//!
//! # Locks
//!
//! None is held by the VFS. Which a request needs is said where it is used.
//!
//! # Examples
//!
//! ```ignore
//! fn write_iter<'a>(mut iocb: Kiocb<'a, MyFs>, from: &mut IterSource<'_>) -> Answer<'a> {
//!     let lock = Held::Exclusive(iocb.inode().lock());
//!     let checked = iocb.write_checks(from, &lock);
//!     let written = match (checked, lock) {
//!         (Ok(_), Held::Exclusive(lock)) => buffered::write::<Mapper>(&mut iocb, from, &lock),
//!         (checked, _) => checked,
//!     };
//!     iocb.done(written)
//! }
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::INode,
    ioctl::{
        self,
        Requests, //
    },
    lock::{
        ExclusiveRef,
        Held, //
    },
    mmap::{
        self,
        Mmap, //
    },
};
use core::{
    marker::PhantomData,
    mem,
    ops::Range,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    error::{
        from_err_ptr,
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    ffi::{
        c_int,
        c_long,
        c_uint, //
    },
    prelude::*,
    str::CStrExt, //
};

/// An open file of a regular file of `T`.
///
/// # Invariants
///
/// Points to a file that stays open for `'a`, whose inode is a regular file of `T`.
pub(crate) struct File<'a, T: FileSystem> {
    ptr: NonNull<bindings::file>,
    _file: PhantomData<&'a INode<T>>,
}

// Not derived, which would ask it of `T`.
impl<T: FileSystem> Clone for File<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: FileSystem> Copy for File<'_, T> {}

impl<'a, T: FileSystem> File<'a, T> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::file) -> Self {
        Self {
            // SAFETY: A valid pointer is not null.
            ptr: unsafe { NonNull::new_unchecked(ptr) },
            _file: PhantomData,
        }
    }

    fn as_raw(&self) -> *mut bindings::file {
        self.ptr.as_ptr()
    }

    /// The inode.
    pub(crate) fn inode(&self) -> &'a INode<T> {
        // SAFETY: By the invariants; a file keeps its inode.
        unsafe { INode::from_raw((*self.as_raw()).f_inode) }
    }

    /// Whether it was opened for writing.
    pub(crate) fn is_writable(&self) -> bool {
        // SAFETY: The mode does not change while the file is open.
        unsafe { (*self.as_raw()).f_mode & bindings::FMODE_WRITE != 0 }
    }

    /// Whether the filesystem still serves who opens or maps the file.
    pub(super) fn check_served(&self) -> Result {
        match self.is_writable() {
            true => T::check_going_on(self.inode()),
            false => T::check_alive(self.inode()),
        }
    }

    /// Where the filesystem is mounted that the file was opened by, as the calling task sees it, in `buffer`.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` where the path and a zero do not fit.
    pub(crate) fn mount_point<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let len = i32::try_from(buffer.len()).map_err(|_| EINVAL)?;
        // SAFETY: The path of a file does not change while it is open.
        let mnt = unsafe { (*self.as_raw()).__bindgen_anon_1.f_path.mnt };
        // SAFETY: An open file holds its mount, which holds its root.
        let dentry = unsafe { (*mnt).mnt_root };
        let path = bindings::path { mnt, dentry };
        // SAFETY: As above; the callee writes within the buffer.
        let path =
            from_err_ptr(unsafe { bindings::d_path(&path, buffer.as_mut_ptr().cast(), len) })?;
        // SAFETY: The callee returns a string within the buffer that ends with a zero, and nobody else has the buffer.
        Ok(unsafe { CStr::from_char_ptr(path) }.to_bytes())
    }

    /// Writes dirty folios of bytes `start..=end` back and waits for it. Errors of earlier writeback that this
    /// opening was not told of are reported too.
    pub(crate) fn write_and_wait(&self, start: i64, end: i64) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::file_write_and_wait_range(self.as_raw(), start, end) })
    }

    /// Whether what is done to the contents by this opening has to be durable when the call returns, and whether all of
    /// the inode has to be, not only what leads to the contents.
    pub(crate) fn is_sync(&self) -> (bool, bool) {
        // SAFETY: The file is open; flags that `fcntl(2)` may change are not looked at.
        let flags = unsafe { (*self.as_raw()).f_flags };
        let has = |flag: u32| flags & flag == flag;
        (
            has(bindings::O_DSYNC) || self.inode().is_sync(),
            has(bindings::O_SYNC) || self.inode().is_sync(),
        )
    }

    /// The contents are about to change: drops set-user-id and capabilities, and updates the times.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the lock is another inode's.
    pub(crate) fn modified(&self, lock: ExclusiveRef<'_, T>) -> Result {
        if !ptr::eq(self.inode(), lock.inode()) {
            return Err(EINVAL);
        }
        // SAFETY: The file is open, and the lock that the callee wants is held.
        to_result(unsafe { bindings::file_modified(self.as_raw()) })
    }

    /// Reports an error of earlier writeback that this opening was not told of.
    pub(crate) fn check_writeback_error(&self) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::file_check_and_advance_wb_err(self.as_raw()) })
    }

    /// Notes an access: the access time may change.
    pub(crate) fn accessed(&self) {
        // SAFETY: The file is open.
        unsafe { bindings::file_accessed(self.as_raw()) }
    }

    /// Does what the kernel does for all files where the user says how bytes from `start` on will be used, `len` of
    /// them, or all for 0.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a length or advice that there is not; those of the block device.
    pub(crate) fn advise(&self, start: i64, len: i64, advice: Advice) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::generic_fadvise(self.as_raw(), start, len, advice.0) })
    }

    /// Moves the position as `lseek` does, for the whences that need no map.
    pub(crate) fn llseek(&self, offset: i64, whence: i32) -> Result<i64> {
        // SAFETY: The file is open.
        let pos = unsafe { bindings::generic_file_llseek(self.as_raw(), offset, whence) };
        match pos {
            0.. => Ok(pos),
            error => Err(Error::from_errno(error as c_int)),
        }
    }

    /// Moves the position to `pos`.
    pub(crate) fn set_position(&self, pos: i64) -> Result<i64> {
        // SAFETY: The file is open, its super block lives; the limit does not change.
        let max = unsafe { (*(*(*self.as_raw()).f_inode).i_sb).s_maxbytes };
        // SAFETY: The file is open.
        let pos = unsafe { bindings::vfs_setpos(self.as_raw(), pos, max) };
        match pos {
            0.. => Ok(pos),
            error => Err(Error::from_errno(error as c_int)),
        }
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
    pub(super) fn as_raw(&self) -> *mut bindings::kiocb {
        self.ptr.as_ptr()
    }

    /// The open file.
    pub(crate) fn file(&self) -> File<'a, T> {
        // SAFETY: A request holds its file until after the call that it was passed to, also where it
        // completes earlier.
        unsafe { File::from_raw((*self.as_raw()).ki_filp) }
    }

    /// The inode of the file.
    pub(crate) fn inode(&self) -> &'a INode<T> {
        self.file().inode()
    }

    /// Where in the file, in bytes.
    pub(crate) fn pos(&self) -> i64 {
        // SAFETY: By the invariants.
        unsafe { (*self.as_raw()).ki_pos }
    }

    fn has(&self, flag: c_int) -> bool {
        // SAFETY: By the invariants.
        unsafe { (*self.as_raw()).ki_flags & flag != 0 }
    }

    /// Whether this is direct I/O.
    pub(crate) fn is_direct(&self) -> bool {
        self.has(bindings::IOCB_DIRECT)
    }

    /// Makes this a request through the page cache.
    pub(crate) fn clear_direct(&mut self) {
        // SAFETY: By the invariants.
        unsafe { (*self.as_raw()).ki_flags &= !bindings::IOCB_DIRECT }
    }

    /// Whether it must not wait.
    pub(crate) fn is_nowait(&self) -> bool {
        self.has(bindings::IOCB_NOWAIT)
    }

    /// Whether somebody else than the caller waits for it.
    pub(crate) fn is_async(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { (*self.as_raw()).ki_complete.is_some() }
    }

    /// Whether what is written must be durable when it is complete.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { bindings::iocb_is_dsync(self.as_raw()) }
    }

    /// Whether it must be there whole after a power cut, or not at all (`RWF_ATOMIC`).
    pub(crate) fn is_atomic(&self) -> bool {
        self.has(bindings::IOCB_ATOMIC)
    }

    /// Whether it goes to the end of the file, wherever that is.
    pub(crate) fn is_append(&self) -> bool {
        self.has(bindings::IOCB_APPEND)
    }

    /// Checks limits, open modes and swap files, moves to the end for `O_APPEND`, and cuts `from` to what may
    /// be written. Returns the number of bytes, which may be 0. Before the checks are done again,
    /// [`IterSource::uncut`] gives back what was cut.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the lock is another inode's; `ETXTBSY`, `EFBIG`.
    pub(crate) fn write_checks(
        &mut self,
        from: &mut IterSource<'_>,
        lock: &Held<'_, T>,
    ) -> Result<usize> {
        if !ptr::eq(self.inode(), lock.inode()) {
            return Err(EINVAL);
        }
        let before = from.len();
        // SAFETY: Both are live and ours, and the lock that the callee wants is held.
        let ret = unsafe { bindings::generic_write_checks(self.as_raw(), from.as_raw()) };
        let left = match usize::try_from(ret) {
            Ok(left) if left == before => return Ok(left),
            left => left.map_err(|_| Error::from_errno(ret as c_int)),
        };
        // INVARIANT: So much was cut.
        from.cut = from.cut.wrapping_add(before.wrapping_sub(from.len()));
        left
    }

    /// Checks an [atomic](Self::is_atomic) write, as far as that can be done without knowing the filesystem.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the length is no power of two, the position no multiple of it, or the bytes are not in one piece
    /// in memory; `EOPNOTSUPP` for a write through the page cache.
    pub(crate) fn atomic_write_checks(&mut self, from: &mut IterSource<'_>) -> Result {
        // SAFETY: Both are live and ours.
        to_result(unsafe { bindings::generic_atomic_write_valid(self.as_raw(), from.as_raw()) })
    }

    /// Drops set-user-id and capabilities, and updates the times.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the lock is another inode's, or shared although the inode may have something to drop
    /// ([`INode::is_nosec`] says no). `EAGAIN` where it may not wait.
    pub(crate) fn modified(&mut self, lock: &Held<'_, T>) -> Result {
        let inode = self.inode();
        if !ptr::eq(inode, lock.inode()) || !(lock.is_exclusive() || inode.is_nosec()) {
            return Err(EINVAL);
        }
        // SAFETY: The request is live, and the lock that the callee wants is held: a change of attributes needs it
        // exclusively, one of the times does not.
        to_result(unsafe { bindings::kiocb_modified(self.as_raw()) })
    }

    /// Makes the last `written` bytes durable where the file or the request asks for it. Returns `written`.
    pub(crate) fn write_sync(&mut self, written: usize) -> Result<usize> {
        // SAFETY: The request is live; its position is behind the bytes.
        let ret = unsafe { bindings::generic_write_sync(self.as_raw(), written as isize) };
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
            bindings::direct_write_fallback(self.as_raw(), from.as_raw(), direct as isize, buffered)
        };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }

    /// Reads through the page cache (direct requests become such). That may end later: whoever has the request is told
    /// to ask again. `EINVAL` where the file has no page cache.
    pub(crate) fn read_buffered(mut self, to: &mut IterDest<'_>) -> Answer<'a> {
        if self.inode().is_dax() {
            return self.done(Err(EINVAL));
        }
        self.clear_direct();
        // SAFETY: Both are live and ours.
        let ret = unsafe { bindings::generic_file_read_iter(self.as_raw(), to.as_raw()) };
        Answer(ret, PhantomData)
    }

    /// The request is done, with this number of bytes or error. A number greater than that of the bytes that went to
    /// the destination or came from the source becomes `EIO` on its way to the VFS.
    ///
    /// `EIOCBQUEUED` says that a completion is still to come, which only who has queued the request can know: it
    /// becomes `EIO`, too.
    pub(crate) fn done(self, result: Result<usize>) -> Answer<'a> {
        let ret = match result {
            Ok(bytes) => isize::try_from(bytes).unwrap_or(isize::MAX),
            Err(error) if error != EIOCBQUEUED => error.to_errno() as isize,
            Err(_) => {
                kernel::pr_err_once!("a request that is done cannot have been queued\n");
                EIO.to_errno() as isize
            }
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
    /// What the VFS is told, where `used` gives the number of bytes that went to memory or came from it. It is not
    /// called where the request was queued: the memory may be gone.
    ///
    /// The VFS takes so much of the memory for read or written as it is told. Of a read into memory of the kernel's
    /// own, which need not have been initialised, more would be bytes of somebody else.
    #[inline]
    fn told(self, used: impl FnOnce() -> usize) -> isize {
        match usize::try_from(self.0) {
            Ok(bytes) if bytes > 0 && bytes > used() => {
                kernel::pr_err_once!("a request cannot have ended with {bytes} bytes\n");
                EIO.to_errno() as isize
            }
            _ => self.0,
        }
    }

    /// The completion of the request will tell.
    ///
    /// # Safety
    ///
    /// The request of this lifetime must have been queued.
    pub(super) unsafe fn queued() -> Self {
        Self(EIOCBQUEUED.to_errno() as isize, PhantomData)
    }
}

/// The memory of a request. With a request that was queued it is given up: who has made it may free it any time.
struct Iter<'a>(Option<&'a mut bindings::iov_iter>);

impl Iter<'_> {
    /// The C structure; null after the memory was given up. Who has the request knows that it was not.
    #[inline]
    fn as_raw(&mut self) -> *mut bindings::iov_iter {
        match &mut self.0 {
            Some(iter) => *iter,
            None => ptr::null_mut(),
        }
    }

    /// The number of bytes left (`iov_iter_count()`).
    #[inline]
    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |iter| {
            // SAFETY: Both ways to see the union have a number here.
            unsafe { iter.__bindgen_anon_1.__bindgen_anon_1.as_ref() }.count
        })
    }
}

/// Where the bytes of a read go.
pub(crate) struct IterDest<'a>(Iter<'a>);

impl IterDest<'_> {
    /// The C structure, for who has the request.
    pub(super) fn as_raw(&mut self) -> *mut bindings::iov_iter {
        self.0.as_raw()
    }

    /// The request was queued.
    pub(super) fn give_up(&mut self) {
        self.0 .0 = None;
    }

    /// The number of bytes left; 0 after the request was queued.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Where the bytes of a write come from.
///
/// # Invariants
///
/// There are `cut` bytes more behind the end of `iter` than it says.
pub(crate) struct IterSource<'a> {
    iter: Iter<'a>,
    cut: usize,
}

impl IterSource<'_> {
    /// The C structure, for who has the request.
    pub(super) fn as_raw(&mut self) -> *mut bindings::iov_iter {
        self.iter.as_raw()
    }

    /// The request was queued.
    pub(super) fn give_up(&mut self) {
        self.iter.0 = None;
    }

    /// The number of bytes left; 0 after the request was queued.
    pub(crate) fn len(&self) -> usize {
        self.iter.len()
    }

    /// Gives back what [`Kiocb::write_checks`] has cut off the end.
    pub(crate) fn uncut(&mut self) {
        if self.cut == 0 {
            return;
        }
        let cut = mem::take(&mut self.cut);
        let len = self.len().wrapping_add(cut);
        if let Some(iter) = &mut self.iter.0 {
            // SAFETY: Both ways to see the union have a number here. INVARIANT: By the type's invariants the memory is
            // there, and it is not cut any more.
            unsafe { iter.__bindgen_anon_1.__bindgen_anon_1.as_mut() }.count = len;
        }
    }
}

/// What requests on a file may ask for (`FMODE_*`, set when the file is opened).
#[derive(Clone, Copy)]
pub(crate) struct Modes(bindings::fmode_t);

impl Modes {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// Not to wait (`RWF_NOWAIT`, io_uring): [`Kiocb::is_nowait`] is heeded.
    pub(crate) const NOWAIT: Self = Self(bindings::FMODE_NOWAIT);
    /// Direct I/O (`O_DIRECT`): [`Kiocb::is_direct`] is heeded.
    pub(crate) const DIRECT: Self = Self(bindings::FMODE_CAN_ODIRECT);
    /// To be there whole after a power cut, or not at all (`RWF_ATOMIC`): [`Kiocb::is_atomic`] is heeded.
    pub(crate) const ATOMIC: Self = Self(bindings::FMODE_CAN_ATOMIC_WRITE);

    /// Both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the operations of files can do (`FOP_*`).
#[derive(Clone, Copy)]
pub(crate) struct Abilities(bindings::fop_flags_t);

impl Abilities {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// Reads through the page cache may end later.
    pub(crate) const ASYNC_READ: Self = Self(bindings::FOP_BUFFER_RASYNC);
    /// Writes through the page cache heed [`Kiocb::is_nowait`].
    pub(crate) const ASYNC_WRITE: Self = Self(bindings::FOP_BUFFER_WASYNC);
    /// Direct writes of one file run side by side.
    pub(crate) const PARALLEL_DIRECT_WRITE: Self = Self(bindings::FOP_DIO_PARALLEL_WRITE);
    /// Mappings whose blocks are durable when they are stored to (`MAP_SYNC`).
    const MMAP_SYNC: Self = Self(bindings::FOP_MMAP_SYNC);
    /// The page cache can be told to keep nothing (`RWF_DONTCACHE`).
    pub(crate) const DONTCACHE: Self = Self(bindings::FOP_DONTCACHE);

    /// Both.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Operations on open regular files.
#[vtable]
pub(crate) trait FileOperations: Sized + 'static {
    /// The filesystem.
    type FileSystem: Requests;
    /// Faults of mappings.
    type Mmap: Mmap<FileSystem = Self::FileSystem>;

    /// What requests on a file may ask for.
    const MODES: Modes = Modes::NONE;

    /// What the operations can do.
    const ABILITIES: Abilities = Abilities::NONE;

    /// The file is opened; size limits were checked.
    fn open(file: File<'_, Self::FileSystem>) -> Result;

    /// The last reference to an opening goes away.
    fn release(file: File<'_, Self::FileSystem>);

    /// Reads.
    fn read_iter<'a>(iocb: Kiocb<'a, Self::FileSystem>, to: &mut IterDest<'_>) -> Answer<'a>;

    /// Writes.
    fn write_iter<'a>(iocb: Kiocb<'a, Self::FileSystem>, from: &mut IterSource<'_>) -> Answer<'a>;

    /// As [`Self::read_iter`], of a file that has no page cache ([`super::dax`]).
    fn read_dax<'a>(iocb: Kiocb<'a, Self::FileSystem>, to: &mut IterDest<'_>) -> Answer<'a>;

    /// As [`Self::write_iter`], to a file that has no page cache ([`super::dax`]).
    fn write_dax<'a>(iocb: Kiocb<'a, Self::FileSystem>, from: &mut IterSource<'_>) -> Answer<'a>;

    /// Makes bytes `start..=end`, and what is needed to find them, durable; the rest of the inode too
    /// unless `data_only`.
    fn fsync(file: File<'_, Self::FileSystem>, start: i64, end: i64, data_only: bool) -> Result;

    /// Finds the next data (`SEEK_DATA`).
    fn seek_data(inode: &INode<Self::FileSystem>, pos: i64) -> Result<i64>;

    /// Finds the next hole (`SEEK_HOLE`).
    fn seek_hole(inode: &INode<Self::FileSystem>, pos: i64) -> Result<i64>;

    /// The user says how bytes from `start` on will be used, `len` of them, or all for 0 (`posix_fadvise(2)`).
    fn advise(
        _file: File<'_, Self::FileSystem>,
        _start: i64,
        _len: i64,
        _advice: Advice,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes the blocks of bytes `range` of a file that is open for writing (`fallocate(2)`). The range is not empty,
    /// and ends within what a file can have.
    fn fallocate(
        _file: File<'_, Self::FileSystem>,
        _what: Fallocate,
        _range: Range<u64>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// How bytes of a file will be used (`POSIX_FADV_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advice(c_int);

impl Advice {
    /// Soon: they are read ahead.
    pub(crate) const WILL_NEED: Self = Self(bindings::POSIX_FADV_WILLNEED as c_int);
}

/// What `fallocate(2)` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallocate {
    /// Blocks are there, and the file ends at the end of the range or behind it, unless it keeps its size.
    Allocate {
        /// Whether it does.
        keep_size: bool,
    },
    /// The range is a hole.
    PunchHole,
    /// The range is zeros, has blocks, and the file is as long as for [`Self::Allocate`].
    ZeroRange {
        /// Whether the file keeps its size.
        keep_size: bool,
    },
    /// The range is taken out of the file.
    CollapseRange,
    /// A hole as long as the range comes into the file.
    InsertRange,
    /// Blocks of the range are nobody else's.
    Unshare,
    /// As [`Self::ZeroRange`], and data can be written to the blocks without a change of metadata.
    WriteZeroes,
}

impl Fallocate {
    /// The meaning of `mode`; `None` where it has none.
    fn of_mode(mode: u32) -> Option<Self> {
        let keep_size = mode & bindings::FALLOC_FL_KEEP_SIZE != 0;
        // The VFS has refused what cannot be together.
        Some(match mode & !bindings::FALLOC_FL_KEEP_SIZE {
            bindings::FALLOC_FL_ALLOCATE_RANGE => Self::Allocate { keep_size },
            bindings::FALLOC_FL_PUNCH_HOLE => Self::PunchHole,
            bindings::FALLOC_FL_ZERO_RANGE => Self::ZeroRange { keep_size },
            bindings::FALLOC_FL_COLLAPSE_RANGE => Self::CollapseRange,
            bindings::FALLOC_FL_INSERT_RANGE => Self::InsertRange,
            bindings::FALLOC_FL_UNSHARE_RANGE => Self::Unshare,
            bindings::FALLOC_FL_WRITE_ZEROES => Self::WriteZeroes,
            _ => return None,
        })
    }
}

/// The table of a [`FileOperations`], for regular files that have a page cache only.
pub(super) fn table<O: FileOperations>() -> &'static bindings::file_operations {
    Table::<O>::TABLE
}

/// The same for those that have none ([`super::dax`]).
pub(super) fn dax_table<O: FileOperations>() -> &'static bindings::file_operations {
    Table::<O>::DAX_TABLE
}

struct Table<O>(PhantomData<O>);

impl<O: FileOperations> Table<O> {
    const TABLE: &'static bindings::file_operations = &bindings::file_operations {
        fop_flags: O::ABILITIES.0,
        llseek: Some(Self::llseek),
        read_iter: Some(Self::read_iter::<false>),
        write_iter: Some(Self::write_iter::<false>),
        iopoll: Some(bindings::iocb_bio_iopoll),
        unlocked_ioctl: Some(ioctl::unlocked::<O::FileSystem>),
        compat_ioctl: Some(ioctl::compat::<O::FileSystem>),
        mmap_prepare: Some(mmap::prepare::<O::Mmap>),
        open: Some(Self::open),
        release: Some(Self::release),
        fsync: Some(Self::fsync),
        get_unmapped_area: mmap::UNMAPPED_AREA,
        splice_read: Some(Self::splice_read),
        splice_write: Some(bindings::iter_file_splice_write),
        setlease: Some(bindings::generic_setlease),
        fadvise: if O::HAS_ADVISE {
            Some(Self::fadvise)
        } else {
            None
        },
        fallocate: if O::HAS_FALLOCATE {
            Some(Self::fallocate)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    const DAX_TABLE: &'static bindings::file_operations = &bindings::file_operations {
        fop_flags: O::ABILITIES.with(Abilities::MMAP_SYNC).0,
        read_iter: Some(Self::read_iter::<true>),
        write_iter: Some(Self::write_iter::<true>),
        mmap_prepare: Some(mmap::prepare_dax::<O::Mmap>),
        // Nothing of the file is in pages that a pipe could have.
        splice_read: Some(bindings::copy_splice_read),
        ..*Self::TABLE
    };

    /// `llseek`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_llseek()`), with an open regular file of `O::FileSystem`.
    unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // SAFETY: By the function's requirements.
        let file = unsafe { File::<O::FileSystem>::from_raw(file) };
        from_result(|| match whence as c_uint {
            bindings::SEEK_DATA => file.set_position(O::seek_data(file.inode(), offset)?),
            bindings::SEEK_HOLE => file.set_position(O::seek_hole(file.inode(), offset)?),
            _ => file.llseek(offset, whence),
        })
    }

    /// `read_iter`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_read()` and others), with a request on an open regular file of `O::FileSystem`, which is the
    /// caller's alone until it is done, or was queued and has completed; and a destination that is the caller's alone.
    unsafe extern "C" fn read_iter<const DAX: bool>(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the function's requirements.
        let mut to = IterDest(Iter(Some(unsafe { &mut *iter })));
        // SAFETY: By the function's requirements.
        let iocb = unsafe { Kiocb::<O::FileSystem>::from_raw(iocb) };
        if let Err(error) = O::FileSystem::check_alive(iocb.inode()) {
            return error.to_errno() as isize;
        }
        let before = to.len();
        let answer = match DAX {
            true => O::read_dax(iocb, &mut to),
            false => O::read_iter(iocb, &mut to),
        };
        answer.told(|| before.wrapping_sub(to.len()))
    }

    /// `write_iter`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_write()` and others), as [`Self::read_iter`], with a source. `sb_writers` is held for a file
    /// that somebody waits for.
    unsafe extern "C" fn write_iter<const DAX: bool>(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the function's requirements.
        let iter = Iter(Some(unsafe { &mut *iter }));
        // INVARIANT: Nothing was cut.
        let mut from = IterSource { iter, cut: 0 };
        // SAFETY: By the function's requirements.
        let iocb = unsafe { Kiocb::from_raw(iocb) };
        let before = from.len();
        let answer = match DAX {
            true => O::write_dax(iocb, &mut from),
            false => O::write_iter(iocb, &mut from),
        };
        answer.told(|| before.wrapping_sub(from.len()).wrapping_sub(from.cut))
    }

    /// `open`.
    ///
    /// # Safety
    ///
    /// For the VFS (`do_dentry_open()`), with a regular file of `O::FileSystem` that is being opened and that nobody
    /// else uses, and its inode.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the function's requirements; the mode is ours to change.
        unsafe { (*file).f_mode |= O::MODES.0 };
        // SAFETY: By the function's requirements.
        let allowed = to_result(unsafe { bindings::generic_file_open(inode, file) });
        // SAFETY: By the function's requirements.
        let file = unsafe { File::<O::FileSystem>::from_raw(file) };
        from_result(|| {
            file.check_served()?;
            allowed?;
            O::open(file)?;
            Ok(0)
        })
    }

    /// `splice_read`.
    ///
    /// # Safety
    ///
    /// For the VFS (`do_splice_read()`), with an open regular file of `O::FileSystem`, and a position and a pipe that
    /// are the caller's alone.
    unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        pos: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        // SAFETY: By the function's requirements.
        let inode = unsafe { File::<O::FileSystem>::from_raw(file) }.inode();
        match O::FileSystem::check_alive(inode) {
            // SAFETY: By the function's requirements.
            Ok(()) => unsafe { bindings::filemap_splice_read(file, pos, pipe, len, flags) },
            Err(error) => error.to_errno() as isize,
        }
    }

    /// `release`.
    ///
    /// # Safety
    ///
    /// For the VFS (`__fput()`), with a regular file of `O::FileSystem` that was opened by [`Self::open`], for the last
    /// time.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the function's requirements.
        O::release(unsafe { File::from_raw(file) });
        0
    }

    /// `fsync`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_fsync_range()`), with an open regular file of `O::FileSystem`.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        data_only: c_int,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let file = unsafe { File::from_raw(file) };
        from_result(|| {
            O::fsync(file, start, end, data_only != 0)?;
            Ok(0)
        })
    }

    /// `fadvise`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_fadvise()`), with an open regular file of `O::FileSystem`.
    unsafe extern "C" fn fadvise(
        file: *mut bindings::file,
        start: bindings::loff_t,
        len: bindings::loff_t,
        advice: c_int,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let file = unsafe { File::from_raw(file) };
        from_result(|| {
            O::advise(file, start, len, Advice(advice))?;
            Ok(0)
        })
    }

    /// `fallocate`.
    ///
    /// # Safety
    ///
    /// For the VFS (`vfs_fallocate()`), with a regular file of `O::FileSystem` that is open for writing.
    unsafe extern "C" fn fallocate(
        file: *mut bindings::file,
        mode: c_int,
        pos: bindings::loff_t,
        len: bindings::loff_t,
    ) -> c_long {
        // SAFETY: By the function's requirements.
        let file = unsafe { File::from_raw(file) };
        from_result(|| {
            let start = u64::try_from(pos).map_err(|_| EINVAL)?;
            let end = pos.checked_add(len).ok_or(EFBIG)?;
            let end = u64::try_from(end).map_err(|_| EINVAL)?;
            let what = Fallocate::of_mode(mode as u32).ok_or(EOPNOTSUPP)?;
            O::fallocate(file, what, start..end)?;
            Ok(0)
        })
    }
}
