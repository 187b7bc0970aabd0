// SPDX-License-Identifier: GPL-2.0

//! Completions of writeback and of asynchronous direct writes, collected per inode and finished in a workqueue.
//!
//! A bio ends in interrupt context, where nothing can be done that sleeps. Its ioend is pushed onto the
//! inode's [`Queue`] without a lock; the one that finds the queue empty starts the work item. The work
//! takes all there is, sorts and merges it, asks the filesystem to make the whole batch visible, and then
//! lets iomap end the writeback of the folios, or complete the requests. A direct write that has ended by the time
//! it is submitted does not take this way: who submits it completes it ([`submit`]).
//!
//! # Invariants
//!
//! * An ioend is in one queue at most, and in none after it was finished.
//! * One run of the work item for each time the queue goes from empty to not empty, and each run takes the
//!   queue once. So between pushing the first ioend and starting the work nobody can take it, and the inode,
//!   which the unfinished ioend keeps alive through its folios or its request, is still there to hold the
//!   work item.
//! * After the last ioend was finished the inode may be gone: the work does not touch it again. What is left of the
//!   work's function then is waited for when the mount gives up its work queue, so before the module can go.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h),
//! [`include/linux/bio.h`](srctree/include/linux/bio.h)
//!
//! # Examples
//!
//! ```ignore
//! fn complete_writes(inode: &INode<MyFs>, batch: &mut Batch<'_>) {
//!     batch.each(|range| inode.data().show(range.pos, range.end()));
//! }
//! ```

use super::super::{
    bindings,
    fs::FileSystem,
    inode::INode, //
};
use core::{
    marker::PhantomData,
    ptr::null_mut, //
};
use kernel::{
    ffi::c_int,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
    types::Opaque, //
};

/// The completed, not yet finished writes of one inode, of which it is a part.
#[pin_data]
pub(in crate::linux) struct Queue<T> {
    /// The last pushed; linked through `io_list.next`.
    head: Atomic<*mut bindings::iomap_ioend>,
    #[pin]
    work: Opaque<bindings::work_struct>,
    _fs: PhantomData<fn(T)>,
}

// SAFETY: The head is atomic, and the work item is used through the workqueue's own functions only.
unsafe impl<T> Send for Queue<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Queue<T> {}

impl<T: FileSystem> Queue<T> {
    /// An empty queue.
    pub(in crate::linux) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            head: Atomic::new(null_mut()),
            work <- Opaque::ffi_init(|work: *mut bindings::work_struct| {
                // SAFETY: `work` is valid for writing and pinned. The function is for items that are the
                // field `work` of a `Queue<T>`.
                unsafe { bindings::init_work(work, Some(Self::run)) }
            }),
            _fs: PhantomData,
        })
    }

    /// Gives up an ioend whose bio has ended.
    ///
    /// # Safety
    ///
    /// `ioend` must be in no list, of the inode whose queue this is, and the caller's to give; `wq` the work queue of
    /// its super block.
    unsafe fn push(&self, ioend: *mut bindings::iomap_ioend, wq: *mut bindings::workqueue_struct) {
        let mut old = self.head.load(Relaxed);
        loop {
            // SAFETY: The ioend is ours until it is pushed.
            unsafe { (*ioend).io_list.next = old.cast() };
            match self.head.cmpxchg(old, ioend, Release) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        if old.is_null() {
            // SAFETY: The work item was initialised by `new`, and is alive (see the module's invariants).
            unsafe {
                bindings::queue_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                    wq,
                    self.work.get(),
                )
            };
        }
    }

    /// The function of the work item.
    ///
    /// # Safety
    ///
    /// For the workqueue (`process_one_work()`), with the work item of a live `Queue<T>`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: By the function's requirements.
        let queue = unsafe { kernel::container_of!(Opaque::cast_from(work), Self, work) };
        // SAFETY: As above. The reference ends with the statement: the queue may be freed further down.
        let mut next = unsafe { (*queue).head.xchg(null_mut(), Acquire) };
        if next.is_null() {
            return;
        }
        // SAFETY: The ioends that were taken are ours alone and not finished, so their inode is alive.
        let inode = unsafe { INode::<T>::from_raw((*next).io_inode) };

        let mut head = bindings::list_head::default();
        let head = &raw mut head;
        // SAFETY: `head` stays where it is until the end of the function.
        unsafe { init(head) };
        while !next.is_null() {
            // SAFETY: The ioends stay where they are, too.
            let entry = unsafe { &raw mut (*next).io_list };
            // SAFETY: As above; linked through `next` only when they were pushed.
            next = unsafe { (*entry).next.cast() };
            // SAFETY: As above; the entry is in no other list.
            unsafe { add(entry, head) };
        }
        // SAFETY: The list is ours.
        unsafe { bindings::iomap_sort_ioends(head) };
        // SAFETY: The list is ours, and its ioends are, which are all of this inode.
        unsafe { Self::finish(inode, head) };
    }

    /// Completes and finishes all ioends of a list. May sleep.
    ///
    /// # Safety
    ///
    /// `head` must be a list of ioends of `inode` that have ended and are the caller's to finish. The inode may be gone
    /// afterwards.
    unsafe fn finish(inode: &INode<T>, head: *mut bindings::list_head) {
        // INVARIANT: By the function's requirements.
        let mut batch = Batch {
            head,
            _list: PhantomData,
        };
        T::complete_writes(inode, &mut batch);

        // SAFETY: By the function's requirements.
        while let Some(entry) = unsafe { take(head) } {
            // SAFETY: By the function's requirements.
            let ioend = unsafe { ioend_of(entry) };
            // SAFETY: As above.
            let error = match unsafe { io_error(ioend) } {
                // SAFETY: As above.
                0 => unsafe { (*ioend).io_error },
                error => error,
            };
            // SAFETY: As above: it is in no list, and is not touched any more.
            unsafe { bindings::iomap_finish_ioends(ioend, error) };
        }
    }
}

/// Makes `head` an empty list.
///
/// # Safety
///
/// `head` must be valid and the caller's alone, and stay where it is.
unsafe fn init(head: *mut bindings::list_head) {
    // SAFETY: By the function's requirements.
    unsafe { (*head).next = head };
    // SAFETY: By the function's requirements.
    unsafe { (*head).prev = head };
}

/// Puts `entry` at the front of a list.
///
/// # Safety
///
/// `head` must be a list, `entry` valid and in none, and both the caller's alone.
unsafe fn add(entry: *mut bindings::list_head, head: *mut bindings::list_head) {
    // SAFETY: By the function's requirements.
    let first = unsafe { (*head).next };
    // SAFETY: By the function's requirements.
    unsafe { (*entry).next = first };
    // SAFETY: By the function's requirements.
    unsafe { (*entry).prev = head };
    // SAFETY: By the function's requirements; it is an entry of the list, or its head.
    unsafe { (*first).prev = entry };
    // SAFETY: By the function's requirements.
    unsafe { (*head).next = entry };
}

/// Takes the first entry off a list; it is a list of its own then.
///
/// # Safety
///
/// `head` must be a list that is the caller's alone, with its entries.
unsafe fn take(head: *mut bindings::list_head) -> Option<*mut bindings::list_head> {
    // SAFETY: By the function's requirements.
    let entry = unsafe { (*head).next };
    if entry == head {
        return None;
    }
    // SAFETY: By the function's requirements; it is an entry of the list.
    let after = unsafe { (*entry).next };
    // SAFETY: By the function's requirements.
    unsafe { (*head).next = after };
    // SAFETY: By the function's requirements; it is an entry of the list, or its head.
    unsafe { (*after).prev = head };
    // SAFETY: By the function's requirements.
    unsafe { init(entry) };
    Some(entry)
}

/// The ioend that a list entry is part of.
///
/// # Safety
///
/// `entry` must be the `io_list` of an ioend.
unsafe fn ioend_of(entry: *mut bindings::list_head) -> *mut bindings::iomap_ioend {
    // SAFETY: By the function's requirements.
    unsafe { kernel::container_of!(entry, bindings::iomap_ioend, io_list) }
}

/// The error of an ioend's bio, or 0.
///
/// # Safety
///
/// `ioend` must be valid, and its bio have ended.
unsafe fn io_error(ioend: *const bindings::iomap_ioend) -> c_int {
    // SAFETY: By the function's requirements.
    unsafe { bindings::blk_status_to_errno((*ioend).io_bio.bi_status) }
}

/// Who wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Writeback of the page cache.
    Cache,
    /// A whole direct write.
    Direct,
}

/// A run of bytes that was written to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// First byte, in the file.
    pub(crate) pos: u64,
    /// Number of bytes. From the page cache not beyond the file's size as it was when the write was submitted.
    pub(crate) len: u64,
    /// Whether the blocks were unwritten.
    pub(crate) unwritten: bool,
    /// Who wrote them.
    pub(crate) writer: Writer,
}

impl Range {
    /// The byte after the last.
    pub(crate) fn end(&self) -> u64 {
        self.pos.saturating_add(self.len)
    }
}

/// Completed writeback of one inode, in order of offsets.
///
/// # Invariants
///
/// `head` is a list of ioends that have ended, and that nobody else changes for the lifetime.
pub(crate) struct Batch<'a> {
    head: *mut bindings::list_head,
    _list: PhantomData<&'a bindings::iomap_ioend>,
}

impl Batch<'_> {
    /// Calls `f` with what was written without error, adjacent parts joined. An error of `f` is reported to those who
    /// wait for these parts, and to nobody else.
    pub(crate) fn each(&mut self, mut f: impl FnMut(Range) -> Result) {
        // SAFETY: The list is valid by the invariant of the type, and does not change.
        let mut next = unsafe { (*self.head).next };
        while next != self.head {
            let first = next;
            let mut joined: Option<Range> = None;
            while next != self.head {
                // SAFETY: `next` is an entry of the list.
                let ioend = unsafe { ioend_of(next) };
                // SAFETY: As above.
                let range = unsafe { range_of(ioend) };
                // SAFETY: As above.
                let failed = unsafe { io_error(ioend) } != 0;
                match &mut joined {
                    _ if failed || range.len == 0 => {}
                    None => joined = Some(range),
                    Some(run)
                        if run.end() == range.pos
                            && (run.unwritten, run.writer) == (range.unwritten, range.writer) =>
                    {
                        run.len = run.len.saturating_add(range.len);
                    }
                    Some(_) => break,
                }
                // SAFETY: As above.
                next = unsafe { (*next).next };
            }
            let Some(Err(error)) = joined.map(&mut f) else {
                continue;
            };
            let mut entry = first;
            while entry != next {
                // SAFETY: From `first` to `next` are entries of the list, which are ours until they are finished.
                unsafe { (*ioend_of(entry)).io_error = error.to_errno() };
                // SAFETY: As above.
                entry = unsafe { (*entry).next };
            }
        }
    }
}

impl Batch<'_> {
    /// Calls `f` with each part that could not be written: for those who watch.
    pub(crate) fn each_failed(&mut self, mut f: impl FnMut(Range, Error)) {
        // SAFETY: The list is valid by the invariant of the type, and does not change.
        let mut next = unsafe { (*self.head).next };
        while next != self.head {
            // SAFETY: `next` is an entry of the list.
            let ioend = unsafe { ioend_of(next) };
            // SAFETY: As above.
            let error = unsafe { io_error(ioend) };
            if error != 0 {
                // SAFETY: As above.
                f(unsafe { range_of(ioend) }, Error::from_errno(error));
            }
            // SAFETY: As above.
            next = unsafe { (*next).next };
        }
    }
}

/// What an ioend writes, or has written.
///
/// # Safety
///
/// `ioend` must be valid, and the caller's.
pub(super) unsafe fn range_of(ioend: *const bindings::iomap_ioend) -> Range {
    // SAFETY: By the function's requirements.
    let (pos, len) = unsafe { ((*ioend).io_offset, (*ioend).io_size) };
    // SAFETY: By the function's requirements.
    let flags = u32::from(unsafe { (*ioend).io_flags });
    Range {
        pos: pos as u64,
        len: len as u64,
        unwritten: flags & bindings::IOMAP_IOEND_UNWRITTEN != 0,
        writer: match flags & bindings::IOMAP_IOEND_DIRECT {
            0 => Writer::Cache,
            _ => Writer::Direct,
        },
    }
}

/// In `io_private` of an ioend: [`submit`] is at it, and finishes it if it has ended by then.
const SUBMITTING: usize = 1;
/// The same, and it has ended.
const ENDED: usize = 2;

/// Submits a direct write that [`FileSystem::complete_writes`] has to be told of. If it has ended by the time that it
/// is submitted, as on a device in memory, it is completed here: a worker would be woken for one alone.
///
/// # Safety
///
/// `ioend` was initialised by `iomap_init_ioend()` for an inode of `T`, and its bio is ready to be submitted. The
/// caller may sleep, and gives it up.
pub(super) unsafe fn submit<T: FileSystem>(ioend: *mut bindings::iomap_ioend) {
    // SAFETY: By the function's requirements. The inode is alive: its file is open for the request.
    let inode = unsafe { INode::<T>::from_raw((*ioend).io_inode) };
    // SAFETY: By the function's requirements.
    let bio = unsafe { &raw mut (*ioend).io_bio };
    // SAFETY: By the function's requirements. From here until `submit_bio` nobody else uses the word, and then only
    // atomically. Until `end_bio` has found something else than SUBMITTING, nobody finishes the ioend but we.
    let state = unsafe { Atomic::<usize>::from_ptr((&raw mut (*ioend).io_private).cast()) };
    state.store(SUBMITTING, Relaxed);
    // SAFETY: By the function's requirements. The function is for ioends of an inode of `T`.
    unsafe { (*bio).bi_end_io = Some(end_bio::<T>) };
    // SAFETY: By the function's requirements.
    unsafe { bindings::submit_bio(bio) };
    // Not a cmpxchg: one that fails orders nothing, and what the end of the bio has left is read next.
    if state.xchg(0, Acquire) != ENDED {
        return;
    }
    let mut head = bindings::list_head::default();
    let head = &raw mut head;
    // SAFETY: `head` stays where it is until the end of the function.
    unsafe { init(head) };
    // SAFETY: The ioend is ours alone, as it has ended, and in no list.
    unsafe { add(&raw mut (*ioend).io_list, head) };
    // SAFETY: The list is ours, and its ioend is one of this inode that has ended.
    unsafe { Queue::<T>::finish(inode, head) };
}

/// The `bi_end_io` of writes that [`FileSystem::complete_writes`] has to be told of.
///
/// # Safety
///
/// For the block layer (`bio_endio()`), with a bio that is part of an ioend of an inode of `T`, has ended, and is
/// given up. In any context.
pub(super) unsafe extern "C" fn end_bio<T: FileSystem>(bio: *mut bindings::bio) {
    // SAFETY: By the function's requirements.
    let ioend = unsafe { kernel::container_of!(bio, bindings::iomap_ioend, io_bio) };
    // SAFETY: By the function's requirements: `submit` uses the word only atomically meanwhile.
    let state = unsafe { Atomic::<usize>::from_ptr((&raw mut (*ioend).io_private).cast()) };
    if state.cmpxchg(SUBMITTING, ENDED, Release).is_ok() {
        return;
    }
    // SAFETY: The ioend is ours until it is pushed. The inode is alive: its folios are under writeback, or its file
    // is open for the request.
    let inode = unsafe { INode::<T>::from_raw((*ioend).io_inode) };
    let wq = inode.super_block().completions().as_raw();
    // SAFETY: The ioend is of this inode, in no list, and ours to give; the queue is that of its super block.
    unsafe { inode.writes().push(ioend, wq) };
}
