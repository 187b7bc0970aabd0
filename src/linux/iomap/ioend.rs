// SPDX-License-Identifier: GPL-2.0

//! Completions of writeback and of asynchronous direct writes, collected per inode and finished in a workqueue.
//!
//! A bio ends in interrupt context, where nothing can be done that sleeps. Its ioend is pushed onto the
//! inode's [`Queue`] without a lock; the one that finds the queue empty starts the work item. The work
//! takes all there is, sorts and merges it, asks the file system to make the whole batch visible, and then
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
//! * After the last ioend was finished the inode may be gone: the work does not touch it again.

use super::super::bindings;
use super::super::fs::FileSystem;
use super::super::inode::INode;
use core::marker::PhantomData;
use core::ptr::null_mut;
use kernel::error::Result;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed, Release};
use kernel::types::Opaque;

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
    /// `ioend` is not in a list, is of an inode whose queue this is, and is the caller's to give.
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
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as core::ffi::c_int,
                    wq,
                    self.work.get(),
                )
            };
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue for the work item of a `Queue<T>`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: By the caller, `work` is the field `work` of a live `Queue<T>`. The reference ends with the
        // statement: the queue may be freed further down.
        let mut next = unsafe {
            (*kernel::container_of!(Opaque::cast_from(work), Self, work))
                .head
                .xchg(null_mut(), Acquire)
        };
        if next.is_null() {
            return;
        }
        // SAFETY: The ioends that were taken are ours alone and not finished, so their inode is alive.
        let inode = unsafe { INode::<T>::from_raw((*next).io_inode) };

        let mut head = bindings::list_head::default();
        let head = &raw mut head;
        // SAFETY: `head` stays where it is until the end of the function, and so do the ioends, which are
        // linked through `io_list.next` only when they were pushed.
        unsafe {
            (*head).next = head;
            (*head).prev = head;
            while !next.is_null() {
                let entry = &raw mut (*next).io_list;
                next = (*entry).next.cast();
                add(entry, head);
            }
            bindings::iomap_sort_ioends(head);
        }

        // SAFETY: The list is ours, and its ioends are, which are all of this inode.
        unsafe { Self::finish(inode, head) }
    }

    /// Completes and finishes all ioends of a list. May sleep.
    ///
    /// # Safety
    ///
    /// `head` is a list of ioends of `inode` that have ended and are the caller's to finish.
    unsafe fn finish(inode: &INode<T>, head: *mut bindings::list_head) {
        T::complete_writes(
            inode,
            &mut Batch {
                head,
                _list: PhantomData,
            },
        );

        // SAFETY: By the caller; each ioend is taken off the list before it is finished and not touched after.
        unsafe {
            while (*head).next != head {
                let entry = (*head).next;
                let ioend = ioend_of(entry);
                let after = (*entry).next;
                (*head).next = after;
                (*after).prev = head;
                (*entry).next = entry;
                (*entry).prev = entry;
                let error = match io_error(ioend) {
                    0 => (*ioend).io_error,
                    error => error,
                };
                bindings::iomap_finish_ioends(ioend, error);
            }
        }
    }
}

/// Puts `entry` at the front of a list.
///
/// # Safety
///
/// `head` is a list, `entry` is valid and in none, and both are the caller's alone.
unsafe fn add(entry: *mut bindings::list_head, head: *mut bindings::list_head) {
    // SAFETY: By the caller.
    unsafe {
        let first = (*head).next;
        (*entry).next = first;
        (*entry).prev = head;
        (*first).prev = entry;
        (*head).next = entry;
    }
}

/// The ioend that a list entry is part of.
///
/// # Safety
///
/// `entry` is the `io_list` of an ioend.
unsafe fn ioend_of(entry: *mut bindings::list_head) -> *mut bindings::iomap_ioend {
    // SAFETY: By the caller.
    unsafe { kernel::container_of!(entry, bindings::iomap_ioend, io_list) }
}

/// The error of an ioend's bio, or 0.
///
/// # Safety
///
/// `ioend` is valid.
unsafe fn io_error(ioend: *const bindings::iomap_ioend) -> core::ffi::c_int {
    // SAFETY: By the caller.
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
    pub pos: u64,
    /// Number of bytes. From the page cache not beyond the file's size as it was when the write was submitted.
    pub len: u64,
    /// Whether the blocks were unwritten.
    pub unwritten: bool,
    /// Who wrote them.
    pub writer: Writer,
}

impl Range {
    /// The byte after the last.
    pub(crate) fn end(&self) -> u64 {
        self.pos.saturating_add(self.len)
    }
}

/// Completed writeback of one inode, in order of offsets.
pub(crate) struct Batch<'a> {
    /// A list of ioends that nobody else changes.
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
                let (range, failed) = unsafe {
                    let ioend = ioend_of(next);
                    (range_of(ioend), io_error(ioend) != 0)
                };
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
                unsafe {
                    (*ioend_of(entry)).io_error = error.to_errno();
                    entry = (*entry).next;
                }
            }
        }
    }
}

/// What an ioend has written.
///
/// # Safety
///
/// `ioend` is valid.
unsafe fn range_of(ioend: *const bindings::iomap_ioend) -> Range {
    // SAFETY: By the caller.
    unsafe {
        let flags = u32::from((*ioend).io_flags);
        Range {
            pos: (*ioend).io_offset as u64,
            len: (*ioend).io_size as u64,
            unwritten: flags & bindings::IOMAP_IOEND_UNWRITTEN != 0,
            writer: if flags & bindings::IOMAP_IOEND_DIRECT == 0 {
                Writer::Cache
            } else {
                Writer::Direct
            },
        }
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
    // SAFETY: By the caller. Until `end_bio` has found something else than SUBMITTING, nobody finishes the ioend but
    // we. The inode is alive: its file is open for the request.
    unsafe {
        let inode = INode::<T>::from_raw((*ioend).io_inode);
        let state = Atomic::<usize>::from_ptr((&raw mut (*ioend).io_private).cast());
        state.store(SUBMITTING, Relaxed);
        (*ioend).io_bio.bi_end_io = Some(end_bio::<T>);
        bindings::submit_bio(&raw mut (*ioend).io_bio);
        // Not a cmpxchg: one that fails orders nothing, and what the end of the bio has left is read next.
        if state.xchg(0, Acquire) == ENDED {
            let mut head = bindings::list_head::default();
            let head = &raw mut head;
            (*head).next = head;
            (*head).prev = head;
            add(&raw mut (*ioend).io_list, head);
            Queue::<T>::finish(inode, head);
        }
    }
}

/// The `bi_end_io` of writes that [`FileSystem::complete_writes`] has to be told of.
///
/// # Safety
///
/// `bio` is part of an ioend of an inode of `T`, has ended, and is given up.
pub(super) unsafe extern "C" fn end_bio<T: FileSystem>(bio: *mut bindings::bio) {
    // SAFETY: By the caller. The inode is alive: its folios are under writeback, or its file is open for the request.
    unsafe {
        let ioend = kernel::container_of!(bio, bindings::iomap_ioend, io_bio);
        let state = Atomic::<usize>::from_ptr((&raw mut (*ioend).io_private).cast());
        if state.cmpxchg(SUBMITTING, ENDED, Release).is_ok() {
            return;
        }
        let inode = INode::<T>::from_raw((*ioend).io_inode);
        let wq = T::completion_queue(inode.super_block());
        inode
            .writes()
            .push(ioend, core::ptr::from_ref(wq).cast_mut().cast());
    }
}
