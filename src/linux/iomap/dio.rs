// SPDX-License-Identifier: GPL-2.0

//! Direct I/O.
//!
//! The request is given away with the call: an asynchronous one belongs to its completion as soon as it was
//! queued, so [`read`] and [`write`](fn@write) take the [`Kiocb`] by value and return it only where it is done. The
//! memory goes with it: [`IterDest`] and [`IterSource`] have none afterwards.
//!
//! # Locks
//!
//! The caller holds the inode's lock in one mode or the other until the call returns; I/O that is still in
//! flight then is counted by `i_dio_count` (`INode::dio_wait`). [`Write::end_io`] is always called in
//! process context: in a sync request by the task that wrote, with its lock, else with none.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)
//!
//! # Examples
//!
//! ```ignore
//! fn read<'a>(iocb: Kiocb<'a, MyFs>, to: &mut IterDest<'_>) -> Answer<'a> {
//!     match Held::shared(iocb.inode(), !iocb.is_nowait()) {
//!         Some(lock) => dio::read::<Lookup>(iocb, to, &lock).answer(),
//!         None => iocb.done(Err(EAGAIN)),
//!     }
//! }
//! ```

use super::super::{
    bindings,
    compat,
    file::{
        Answer,
        IterDest,
        IterSource,
        Kiocb, //
    },
    fs::FileSystem,
    inode::INode,
    lock::Held, //
};
use super::{
    ioend,
    locked,
    of_filesystem,
    Op,
    Ops,
    Table,
    Watched, //
};
use core::{
    marker::PhantomData,
    ptr::null_mut, //
};
use kernel::{
    error::{
        code::*,
        from_result,
        Error,
        Result, //
    },
    ffi::{
        c_int,
        c_uint, //
    }, //
};

/// How to run (`IOMAP_DIO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Nothing special.
    pub(crate) const NONE: Self = Self(0);
    /// Wait even if the request is asynchronous.
    pub(crate) const FORCE_WAIT: Self = Self(bindings::IOMAP_DIO_FORCE_WAIT);
    /// `EAGAIN` rather than allocate or zero part of a block.
    pub(crate) const OVERWRITE_ONLY: Self = Self(bindings::IOMAP_DIO_OVERWRITE_ONLY);

    /// Whether all of `other` is set.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A direct write whose data is on the device, or that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Where it began, in bytes of the file.
    pub(crate) pos: u64,
    /// How many bytes were written.
    pub(crate) len: u64,
    /// Whether some of it went to blocks that were unwritten.
    pub(crate) unwritten: bool,
}

/// What a filesystem does when a direct write is complete.
pub(crate) trait Write: Sized + 'static {
    /// How blocks are found.
    type Ops: Ops;
    /// The same for writes that may be asynchronous and in batches: what there is to do when they are complete is done
    /// by [`FileSystem::complete_writes`], so one that must not wait may need something to be done.
    type BatchOps: Ops<FileSystem = <Self::Ops as Ops>::FileSystem>;

    /// The data is on the device: whether nothing is left to be done. `told`: [`FileSystem::complete_writes`] may have
    /// been told of it. May be asked in interrupt context where no blocks were unwritten: iomap completes plain
    /// overwrites there.
    fn is_complete(
        inode: &INode<<Self::Ops as Ops>::FileSystem>,
        written: &Written,
        told: bool,
    ) -> bool;

    /// The data is on the device: make the file show it. Called where that is not [complete](Self::is_complete). May
    /// sleep.
    fn end_io(iocb: &Kiocb<'_, <Self::Ops as Ops>::FileSystem>, written: &Written) -> Result;

    /// Whether [`Self::submitted`] is to be called.
    #[inline(always)]
    fn is_watched() -> bool {
        false
    }

    /// A part of a request goes to the device now, from this sector of 512 bytes on: for those who watch.
    #[inline(always)]
    fn submitted(
        _inode: &INode<<Self::Ops as Ops>::FileSystem>,
        _range: &ioend::Range,
        _sector: u64,
    ) {
    }

    /// Whether [`Self::ended`] is to be called.
    #[inline(always)]
    fn is_end_watched() -> bool {
        false
    }

    /// A request has ended: its data is on the device, or could not be written. For those who watch, in any context.
    /// `told` is as for [`Self::is_complete`].
    fn ended(
        _inode: &INode<<Self::Ops as Ops>::FileSystem>,
        _range: &ioend::Range,
        _result: Result,
        _told: bool,
    ) {
    }
}

struct DioTable<W>(PhantomData<W>);

impl<W: Write> DioTable<W> {
    const OPS: &'static bindings::iomap_dio_ops = &bindings::iomap_dio_ops {
        end_io: Some(Self::end_io::<false>),
        submit_io: None,
        bio_set: null_mut(),
    };

    /// The same where somebody watches what is submitted.
    const WATCHED_OPS: &'static bindings::iomap_dio_ops = &bindings::iomap_dio_ops {
        end_io: Some(Self::end_io::<false>),
        submit_io: Some(Self::submit_watched),
        bio_set: null_mut(),
    };

    /// For asynchronous writes: what completes at about the same time is made visible together.
    const BATCH_OPS: &'static bindings::iomap_dio_ops = &bindings::iomap_dio_ops {
        end_io: Some(Self::end_io::<true>),
        submit_io: Some(Self::submit_io),
        bio_set: &raw mut bindings::iomap_ioend_bioset,
    };

    /// Tells of a bio, and sends it on its way.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_dio_submit_bio()`) in [`write`](fn@write), with its own iterator and a bio that is ready to be
    /// submitted and is given up.
    unsafe extern "C" fn submit_watched(
        iter: *const bindings::iomap_iter,
        bio: *mut bindings::bio,
        file_offset: bindings::loff_t,
    ) {
        // SAFETY: By the function's requirements.
        unsafe { Self::tell(iter, bio, file_offset) };
        // SAFETY: By the function's requirements.
        unsafe { bindings::submit_bio(bio) };
    }

    /// Tells of a bio that goes to the device.
    ///
    /// # Safety
    ///
    /// `iter` and `bio` are those that iomap submits, at byte `file_offset`.
    #[cold]
    unsafe fn tell(
        iter: *const bindings::iomap_iter,
        bio: *const bindings::bio,
        file_offset: bindings::loff_t,
    ) {
        // SAFETY: By the function's requirements; only iomap changes the iterator, between calls.
        let iter = unsafe { &*iter };
        // SAFETY: By the function's requirements.
        let (len, sector) = unsafe { ((*bio).bi_iter.bi_size, (*bio).bi_iter.bi_sector) };
        let range = ioend::Range {
            pos: file_offset as u64,
            len: len.into(),
            unwritten: u32::from(iter.iomap.type_) == bindings::IOMAP_UNWRITTEN,
            writer: ioend::Writer::Direct,
        };
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<<W::Ops as Ops>::FileSystem>::from_raw(iter.inode) };
        W::submitted(inode, &range, sector);
    }

    /// Sends a bio of an asynchronous write on its way. Where there is something to do when it ends and it is the
    /// whole request, our completion runs, else iomap's own: parts wait for each other, or a failed one would leave
    /// data behind the end of the file.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_dio_submit_bio()`) in [`write`](fn@write), which has passed the request's position as
    /// `private`, with its own iterator and a bio from `bio_set` that is ready to be submitted and is given up.
    unsafe extern "C" fn submit_io(
        iter: *const bindings::iomap_iter,
        bio: *mut bindings::bio,
        file_offset: bindings::loff_t,
    ) {
        if W::is_watched() {
            // SAFETY: By the function's requirements.
            unsafe { Self::tell(iter, bio, file_offset) };
        }
        // SAFETY: By the function's requirements; only iomap changes the iterator, between calls.
        let iter = unsafe { &*iter };
        // SAFETY: By the function's requirements.
        let inode = unsafe { INode::<<W::Ops as Ops>::FileSystem>::from_raw(iter.inode) };
        // SAFETY: By the function's requirements.
        let len = unsafe { (*bio).bi_iter.bi_size };
        // SAFETY: By the function's requirements.
        let first = unsafe { iter.private.cast::<bindings::loff_t>().read() };
        let unwritten = u32::from(iter.iomap.type_) == bindings::IOMAP_UNWRITTEN;
        let end = (file_offset as u64).saturating_add(len.into());
        let last = (iter.pos as u64).saturating_add(iter.len);
        let extends = end > inode.size();
        if file_offset == first && end == last && (unwritten || extends) {
            let mut flags = bindings::IOMAP_IOEND_DIRECT;
            if unwritten {
                flags |= bindings::IOMAP_IOEND_UNWRITTEN;
            }
            // SAFETY: The bio is the last field of an ioend, as all of the set are.
            let ioend =
                unsafe { bindings::iomap_init_ioend(iter.inode, bio, file_offset, flags as u16) };
            // Writes behind the end go to blocks in a row: the worker makes one extent of many.
            if !extends {
                // SAFETY: Just initialised; we may sleep, and give it up.
                return unsafe { ioend::submit::<<W::Ops as Ops>::FileSystem>(ioend) };
            }
            // SAFETY: By the function's requirements. The function is for ioends of an inode of this filesystem.
            unsafe { (*bio).bi_end_io = Some(ioend::end_bio::<<W::Ops as Ops>::FileSystem>) };
        }
        // SAFETY: By the function's requirements.
        unsafe { bindings::submit_bio(bio) };
    }

    /// `end_io`.
    ///
    /// # Safety
    ///
    /// For iomap (`iomap_dio_complete()`), with the request that [`write`](fn@write) was given, which is not complete
    /// yet and is the caller's alone; in a context that may sleep where blocks were unwritten. `BATCH`: of a write
    /// with `BATCH_OPS`, of which [`FileSystem::complete_writes`] may have been told.
    unsafe extern "C" fn end_io<const BATCH: bool>(
        iocb: *mut bindings::kiocb,
        size: isize,
        error: c_int,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: By the function's requirements. What the VFS is told is iomap's business here.
        let iocb = unsafe { Kiocb::<<W::Ops as Ops>::FileSystem>::from_raw(iocb) };
        from_result(|| {
            if W::is_end_watched() {
                Self::tell_end::<BATCH>(&iocb, size, error, flags);
            }
            if error != 0 {
                return Err(Error::from_errno(error));
            }
            Self::end::<BATCH>(&iocb, size, flags).map_err(of_filesystem)?;
            Ok(0)
        })
    }

    /// Tells of the end of a request.
    #[cold]
    fn tell_end<const BATCH: bool>(
        iocb: &Kiocb<'_, <W::Ops as Ops>::FileSystem>,
        size: isize,
        error: c_int,
        flags: c_uint,
    ) {
        let range = ioend::Range {
            pos: iocb.pos() as u64,
            len: u64::try_from(size).unwrap_or(0),
            unwritten: flags & bindings::IOMAP_DIO_UNWRITTEN != 0,
            writer: ioend::Writer::Direct,
        };
        let result = match error {
            0 => Ok(()),
            error => Err(Error::from_errno(error)),
        };
        W::ended(iocb.inode(), &range, result, BATCH);
    }

    /// What there is to do at the end of `size` bytes.
    #[inline]
    fn end<const BATCH: bool>(
        iocb: &Kiocb<'_, <W::Ops as Ops>::FileSystem>,
        size: isize,
        flags: c_uint,
    ) -> Result {
        let (Ok(len), true) = (u64::try_from(size), size > 0) else {
            return Ok(());
        };
        let inode = iocb.inode();
        let written = Written {
            pos: iocb.pos() as u64,
            len,
            unwritten: flags & bindings::IOMAP_DIO_UNWRITTEN != 0,
        };
        match W::is_complete(inode, &written, BATCH) {
            true => Ok(()),
            false => W::end_io(iocb, &written),
        }
    }
}

/// What became of a request.
pub(crate) enum Outcome<'a, T: FileSystem> {
    /// Done, with the number of bytes or an error; the position has moved.
    Done(Kiocb<'a, T>, Result<usize>),
    /// In flight: the completion will report it.
    Queued(Answer<'a>),
}

impl<'a, T: FileSystem> Outcome<'a, T> {
    /// What the VFS is to be told.
    pub(crate) fn answer(self) -> Answer<'a> {
        match self {
            Self::Done(iocb, result) => iocb.done(result),
            Self::Queued(answer) => answer,
        }
    }
}

fn outcome<T: FileSystem>(iocb: Kiocb<'_, T>, ret: isize) -> Outcome<'_, T> {
    if ret == EIOCBQUEUED.to_errno() as isize {
        // SAFETY: iomap says that it has queued the request, which goes away here.
        return Outcome::Queued(unsafe { Answer::queued() });
    }
    Outcome::Done(
        iocb,
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as i32)),
    )
}

/// Reads at most a block that lies in one piece, with less to set up than for a read of any kind. `None` where
/// the read is not of this sort: nothing was done then.
fn read_block<O: Ops>(iocb: &Kiocb<'_, O::FileSystem>, to: &mut IterDest<'_>) -> Option<isize> {
    let inode = iocb.inode();
    let count = to.len();
    let len = count as u64;
    let pos = iocb.pos();
    let end = u64::try_from(pos).ok()?.checked_add(len)?;
    if !compat::READS_SIMPLE
        || len == 0
        || len > u64::from(inode.super_block().block_size())
        || end > inode.size()
    {
        return None;
    }
    // SAFETY: The request is live.
    let ret = unsafe { bindings::kiocb_write_and_wait(iocb.as_raw(), count) };
    if ret != 0 {
        return Some(ret as isize);
    }
    let mut op = Op::DIRECT;
    if iocb.is_nowait() {
        op = op.with(Op::NOWAIT);
    }
    let mut iter = bindings::iomap_iter {
        inode: inode.as_raw(),
        pos,
        len,
        flags: op.0,
        ..Default::default()
    };
    // SAFETY: The inode is live. Ended below, or by the callee.
    unsafe { bindings::inode_dio_begin(inode.as_raw()) };
    O::FileSystem::begins(inode, pos as u64, len, op);
    let found = O::begin(inode, pos as u64, len, op);
    O::FileSystem::began(&found);
    let found = found.and_then(|map| map.store::<_, false>(inode, pos as u64, &mut iter.iomap));
    if let Err(e) = found {
        // SAFETY: Begun above.
        unsafe { bindings::inode_dio_end(inode.as_raw()) };
        return Some(of_filesystem(e).to_errno() as isize);
    }
    // SAFETY: Request and memory are live and ours, and all that the callee asks of a read was checked. It ends
    // what was begun, and tells with `ENOTBLK` that it has done nothing else.
    let ret = unsafe { compat::dio_read_simple(iocb.as_raw(), to.as_raw(), &mut iter) };
    (ret != ENOTBLK.to_errno() as isize).then_some(ret)
}

/// Reads straight into the caller's memory. Dirty page cache in the range is written back first.
pub(crate) fn read<'a, O: Ops>(
    iocb: Kiocb<'a, O::FileSystem>,
    to: &mut IterDest<'_>,
    lock: &Held<'_, O::FileSystem>,
) -> Outcome<'a, O::FileSystem> {
    if let Err(e) = locked(iocb.inode(), lock.inode()) {
        return Outcome::Done(iocb, Err(e));
    }
    let ret = read_block::<O>(&iocb, to).unwrap_or_else(|| read_any::<O>(&iocb, to));
    let outcome = outcome(iocb, ret);
    if matches!(outcome, Outcome::Queued(_)) {
        to.give_up();
    }
    outcome
}

/// Reads. The request is the completion's if that is `EIOCBQUEUED`.
fn read_any<O: Ops>(iocb: &Kiocb<'_, O::FileSystem>, to: &mut IterDest<'_>) -> isize {
    // SAFETY: `iocb` and `to` are live and exclusively the caller's, the file is a regular file of `O::FileSystem`.
    // After `EIOCBQUEUED`, the caller forgets both.
    unsafe {
        bindings::iomap_dio_rw(
            iocb.as_raw(),
            to.as_raw(),
            Table::<O>::OPS,
            core::ptr::null(),
            0,
            null_mut(),
            0,
        )
    }
}

/// Writes straight from the caller's memory. The page cache in the range is written back and dropped first. For a
/// device that works out something of the data on its way, as a checksum or parity, it is copied: whose memory it is
/// may change it meanwhile.
///
/// `Done` with 0 bytes, or fewer than asked, means that the rest is to be written through the page cache:
/// `ENOTBLK` is turned into this.
///
/// If `batch`, what an asynchronous write has to do at its end is done together with others
/// ([`FileSystem::complete_writes`]). That pays where there is something to do; it costs plain overwrites a little.
pub(crate) fn write<'a, W: Write>(
    iocb: Kiocb<'a, <W::Ops as Ops>::FileSystem>,
    from: &mut IterSource<'_>,
    flags: Flags,
    batch: bool,
    lock: &Held<'_, <W::Ops as Ops>::FileSystem>,
) -> Outcome<'a, <W::Ops as Ops>::FileSystem> {
    if let Err(e) = locked(iocb.inode(), lock.inode()) {
        return Outcome::Done(iocb, Err(e));
    }
    // A request that waits does its own work, and one that must be durable waits for a commit of its own: a
    // batch would wait for one after the other.
    let batch = batch && !flags.contains(Flags::FORCE_WAIT) && iocb.is_async() && !iocb.is_dsync();
    let (ops, table) = if batch {
        (Table::<W::BatchOps>::OPS, DioTable::<W>::BATCH_OPS)
    } else {
        let table = match W::is_watched() {
            true => DioTable::<W>::WATCHED_OPS,
            false => DioTable::<W>::OPS,
        };
        (Table::<W::Ops>::OPS, table)
    };
    let mut how = flags.0;
    // SAFETY: The inode is live.
    if unsafe { bindings::mapping_stable_writes(&(*iocb.inode().as_raw()).i_data) } {
        how |= bindings::IOMAP_DIO_BOUNCE;
    }
    let mut start = iocb.pos();
    // SAFETY: As in `read_any`; the completion table fits the filesystem. `start` is used before the call returns only.
    let ret = unsafe {
        bindings::iomap_dio_rw(
            iocb.as_raw(),
            from.as_raw(),
            ops,
            table,
            how,
            (&raw mut start).cast(),
            0,
        )
    };
    match outcome(iocb, ret) {
        Outcome::Done(iocb, Err(e)) if e == ENOTBLK => Outcome::Done(iocb, Ok(0)),
        Outcome::Queued(answer) => {
            from.give_up();
            Outcome::Queued(answer)
        }
        done => done,
    }
}
