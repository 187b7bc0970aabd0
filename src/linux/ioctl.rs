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
    /// Tell the UUID of the volume.
    GetUuid(UuidBuffer),
    /// Change it.
    SetUuid(UuidBuffer),
    /// Read the map of the file or directory into memory.
    Precache,
    /// Write all that is in the journal to its place, so that the journal is empty.
    Checkpoint(CheckpointMode),
    /// Tell what the blocks of the device are for.
    GetMap(MapBuffer),
    /// Exchange blocks with another file.
    MoveExtents(MoveBuffer),
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

/// Who tells or is told a UUID has its length and flags before it (`struct fsuuid`).
pub(crate) struct UuidBuffer(UserPtr);

impl UuidBuffer {
    /// Length and flags.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn read_head(&self) -> Result<(u32, u32)> {
        let [len, flags] = UserIn::<[u32; 2]>(self.0, PhantomData).read()?;
        Ok((len, flags))
    }

    /// The UUID, behind them.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn read(&self) -> Result<[u8; 16]> {
        UserIn::<[u8; 16]>(self.0.wrapping_byte_add(size_of::<[u32; 2]>()), PhantomData).read()
    }

    /// Tells the length only.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write_len(&self, len: u32) -> Result {
        UserOut(self.0, PhantomData).write(&len)
    }

    /// Tells all of it, with no flags.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write(&self, uuid: &[u8; 16]) -> Result {
        UserOut(self.0, PhantomData).write(&[uuid.len() as u32, 0])?;
        let at = self.0.wrapping_byte_add(size_of::<[u32; 2]>());
        UserOut(at, PhantomData).write(uuid)
    }
}

/// Some bytes of a device, as they are asked for or told (`struct fsmap`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MapRecord {
    /// The number of the device, as users have it.
    pub(crate) device: u32,
    /// `FMR_OF_*`: [`Self::LAST`] and others.
    pub(crate) flags: u32,
    /// The first byte on the device.
    pub(crate) physical: u64,
    /// Whose they are: an inode's number, or [`Self::owner`].
    pub(crate) owner: u64,
    /// The first byte in the file.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) length: u64,
    reserved: [u64; 3],
}

const _: () = assert!(size_of::<MapRecord>() == size_of::<bindings::fsmap>());

// SAFETY: Numbers without padding: any bits are a value.
unsafe impl FromBytes for MapRecord {}
// SAFETY: As above: all bytes are initialised.
unsafe impl AsBytes for MapRecord {}

impl MapRecord {
    /// There is no record behind this one.
    pub(crate) const LAST: u32 = bindings::FMR_OF_LAST;

    /// `length` bytes of a device from byte `physical` on, whose owner is no inode ([`Self::owner`]).
    pub(crate) fn special(device: u32, physical: u64, length: u64, owner: u64) -> Self {
        Self {
            device,
            flags: bindings::FMR_OF_SPECIAL_OWNER,
            physical,
            owner,
            offset: 0,
            length,
            reserved: [0; 3],
        }
    }

    /// An owner that is no inode (`FMR_OWNER`).
    pub(crate) const fn owner(kind: u8, code: u32) -> u64 {
        (kind as u64) << 32 | code as u64
    }
}

/// What a question about a device begins with (`struct fsmap_head`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MapHead {
    /// Flags of the question. There are none.
    pub(crate) flags: u32,
    /// Flags of the answer.
    out_flags: u32,
    /// For how many records there is room behind this. 0 asks how many there are.
    pub(crate) room: u32,
    /// How many there are.
    pub(crate) entries: u32,
    reserved: [u64; 6],
    /// The lowest and the highest record that are asked for.
    pub(crate) keys: [MapRecord; 2],
}

// SAFETY: Numbers without padding: any bits are a value.
unsafe impl FromBytes for MapHead {}
// SAFETY: As above: all bytes are initialised.
unsafe impl AsBytes for MapHead {}

impl MapHead {
    /// Devices are told by their numbers (`FMH_OF_DEV_T`).
    pub(crate) fn set_device_numbers(&mut self) {
        self.out_flags = bindings::FMH_OF_DEV_T;
    }
}

/// Who asks what the bytes of a device are for has a question here, with room for the answers.
pub(crate) struct MapBuffer(UserPtr);

impl MapBuffer {
    /// The question.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there; `EINVAL` where something is set that means nothing.
    pub(crate) fn read(&self) -> Result<MapHead> {
        let head = UserIn::<MapHead>(self.0, PhantomData).read()?;
        let [low, high] = &head.keys;
        if head.reserved != [0; 6] || low.reserved != [0; 3] || high.reserved != [0; 3] {
            return Err(EINVAL);
        }
        Ok(head)
    }

    /// Tells the head, when all records were.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write(&self, head: &MapHead) -> Result {
        UserOut(self.0, PhantomData).write(head)
    }

    /// Tells record `number`.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write_record(&self, number: u32, record: &MapRecord) -> Result {
        let before = (number as usize).wrapping_mul(size_of::<MapRecord>());
        let at = size_of::<MapHead>().wrapping_add(before);
        UserOut(self.0.wrapping_byte_add(at), PhantomData).write(record)
    }
}

/// Which blocks of two files are to be exchanged (`struct move_extent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Move {
    reserved: u32,
    /// The file descriptor of the other file.
    pub(crate) donor: u32,
    /// The first block of this file.
    pub(crate) start: u64,
    /// The first block of the other file.
    pub(crate) donor_start: u64,
    /// How many blocks.
    pub(crate) len: u64,
    /// How many were exchanged.
    pub(crate) moved: u64,
}

const _: () = assert!(size_of::<Move>() == size_of::<bindings::move_extent>());

// SAFETY: Numbers without padding: any bits are a value.
unsafe impl FromBytes for Move {}
// SAFETY: As above: all bytes are initialised.
unsafe impl AsBytes for Move {}

/// Who asks for an exchange says what of, and is told how much it was.
pub(crate) struct MoveBuffer(UserPtr);

impl MoveBuffer {
    /// What is to be exchanged.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn read(&self) -> Result<Move> {
        UserIn::<Move>(self.0, PhantomData).read()
    }

    /// Tells what was.
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn write(&self, what: &Move) -> Result {
        UserOut(self.0, PhantomData).write(what)
    }
}

/// What else becomes of a journal that is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The device is told that its blocks hold nothing.
    pub(crate) discard: bool,
    /// Its blocks are zeroed.
    pub(crate) zero: bool,
    /// Nothing is done: whether it could be is asked.
    pub(crate) dry_run: bool,
}

/// Who asks for a journal to be emptied says how.
pub(crate) struct CheckpointMode(UserIn<u32>);

impl CheckpointMode {
    /// The flags (`EXT4_IOC_CHECKPOINT_FLAG_*`).
    ///
    /// # Errors
    ///
    /// `EFAULT` where the memory is not there.
    pub(crate) fn read(&self) -> Result<u32> {
        self.0.read()
    }
}

impl Checkpoint {
    /// What `flags` ask for.
    ///
    /// # Errors
    ///
    /// `EINVAL` where there is one that is not known, or two that cannot be together.
    pub(crate) fn of_flags(flags: u32) -> Result<Self> {
        let has = |flag| flags & flag != 0;
        let this = Self {
            discard: has(bindings::EXT4_IOC_CHECKPOINT_FLAG_DISCARD),
            zero: has(bindings::EXT4_IOC_CHECKPOINT_FLAG_ZEROOUT),
            dry_run: has(bindings::EXT4_IOC_CHECKPOINT_FLAG_DRY_RUN),
        };
        if has(!bindings::EXT4_IOC_CHECKPOINT_FLAG_VALID) || (this.discard && this.zero) {
            return Err(EINVAL);
        }
        Ok(this)
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

    /// Whether it is open for reading and for writing.
    pub(crate) fn is_read_write(&self) -> bool {
        // SAFETY: The file is open, and its mode does not change then.
        let mode = unsafe { (*self.file.as_ptr()).f_mode };
        let both = bindings::FMODE_READ | bindings::FMODE_WRITE;
        mode & both == both
    }

    /// Another file that the task has open for writing, as `fd`, of the same filesystem.
    ///
    /// # Errors
    ///
    /// `EBADF` where it has none; `EXDEV` where it is of another filesystem.
    pub(crate) fn other(&self, fd: u32) -> Result<Other<'a, T>> {
        // SAFETY: No conditions.
        let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADF)?;
        // INVARIANT: The callee has taken a reference. Whether it is of the same super block is checked below, before
        // somebody asks for the inode.
        let other = Other(file, PhantomData);
        // SAFETY: There is a reference, and the mode does not change while the file is open.
        if unsafe { (*file.as_ptr()).f_mode } & bindings::FMODE_WRITE == 0 {
            return Err(EBADF);
        }
        // SAFETY: Both files are open; an inode keeps its super block.
        let (ours, its) = unsafe {
            (
                (*(*self.file.as_ptr()).f_inode).i_sb,
                (*(*file.as_ptr()).f_inode).i_sb,
            )
        };
        match ours == its {
            true => Ok(other),
            false => Err(EXDEV),
        }
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

/// Another file that is open. Made by [`Opened::other`].
///
/// # Invariants
///
/// A reference on a file that is open. Outside of [`Opened::other`] its inode is one of `T` that is ready, of the super
/// block of the file that it was asked for with, which stays for `'a`.
pub(crate) struct Other<'a, T: FileSystem>(NonNull<bindings::file>, PhantomData<&'a INode<T>>);

impl<T: FileSystem> Other<'_, T> {
    /// The inode.
    pub(crate) fn inode(&self) -> &INode<T> {
        // SAFETY: By the invariants; a file keeps its inode.
        unsafe { INode::from_raw((*self.0.as_ptr()).f_inode) }
    }
}

impl<T: FileSystem> Drop for Other<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Our reference, which is not used afterwards.
        unsafe { bindings::fput(self.0.as_ptr()) };
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
        bindings::EXT4_IOC_GETFSUUID => Request::GetUuid(UuidBuffer(at)),
        bindings::EXT4_IOC_SETFSUUID => Request::SetUuid(UuidBuffer(at)),
        bindings::EXT4_IOC_MOVE_EXT => Request::MoveExtents(MoveBuffer(at)),
        bindings::FS_IOC_GETFSMAP => Request::GetMap(MapBuffer(at)),
        bindings::EXT4_IOC_PRECACHE_EXTENTS => Request::Precache,
        bindings::EXT4_IOC_CHECKPOINT => Request::Checkpoint(CheckpointMode(input)),
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
