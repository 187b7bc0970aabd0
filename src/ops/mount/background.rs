// SPDX-License-Identifier: GPL-2.0

//! What runs beside the callers: giving back blocks when the transaction that freed them has committed,
//! and writing the record of errors to the super block.
//!
//! # Locks
//!
//! Each of the two has a link to the volume, guarded by a mutex that is held while it works; so a volume is
//! unlinked only when nothing works on it.
//!
//! * The commit link is taken by the journal's thread, so nobody waits for a commit or a handle with it.
//! * The error link is taken by the work queue only, and handles are begun with it.

use crate::linux::workqueue::{Flags, OwnedQueue};
use crate::store::Tid;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed, Release};
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::workqueue::{impl_has_work, new_work, Work, WorkItem};

/// What is worked on.
pub(crate) trait Works: Send + Sync + 'static {
    /// Gives back what transaction `tid` and those before it freed, which have committed; with `discard` the device is
    /// told before. Returns whether the device can discard.
    fn give_back(&self, tid: Tid, discard: bool) -> bool;

    /// Writes the errors that the super block does not have yet.
    fn write_errors(&self);
}

type Link<V> = Mutex<Option<Arc<V>>>;

/// Writeback waits for what the queues of a mount do, and none of it belongs to a CPU.
const QUEUE: Flags = Flags::MEM_RECLAIM.with(Flags::UNBOUND);

/// Identifies the work on freed blocks.
const FREED: u64 = 0;
/// Identifies the work on errors.
const ERRORS: u64 = 1;

/// The works of one mount, and the queue they run on.
pub(crate) struct Background<V: Works> {
    works: Arc<Queued<V>>,
    queue: OwnedQueue,
}

/// What the queue holds. Never owns the queue, which could not be destroyed by one of its own works.
#[pin_data]
struct Queued<V: Works> {
    #[pin]
    freed: Work<Queued<V>, FREED>,
    #[pin]
    errors: Work<Queued<V>, ERRORS>,
    #[pin]
    for_commits: Link<V>,
    #[pin]
    for_errors: Link<V>,
    /// The last transaction that has committed.
    committed: Atomic<Tid>,
    /// Whether freed blocks are to be discarded on the device.
    discard: Atomic<bool>,
}

impl_has_work! {
    impl{V: Works} HasWork<Queued<V>, FREED> for Queued<V> { self.freed }
    impl{V: Works} HasWork<Queued<V>, ERRORS> for Queued<V> { self.errors }
}

impl<V: Works> Background<V> {
    /// For a mount of the device `name`.
    pub(crate) fn new(name: &CStr) -> Result<Arc<Self>> {
        let works = Arc::pin_init(
            pin_init!(Queued {
                freed <- new_work!("iomapfs_freed"),
                errors <- new_work!("iomapfs_errors"),
                for_commits <- new_mutex!(None, "iomapfs_commit_link"),
                for_errors <- new_mutex!(None, "iomapfs_error_link"),
                committed: Atomic::new(0),
                discard: Atomic::new(false),
            }),
            GFP_KERNEL,
        )?;
        let queue = OwnedQueue::new(c"iomapfs", name, QUEUE)?;

        Ok(Arc::new(Self { works, queue }, GFP_KERNEL)?)
    }

    /// Gives the works a volume to work on.
    pub(crate) fn link(&self, volume: &Arc<V>) {
        *self.works.for_commits.lock() = Some(volume.clone());
        *self.works.for_errors.lock() = Some(volume.clone());
    }

    /// Finishes what is queued and takes the volume away.
    pub(crate) fn unlink(&self) {
        self.queue.flush();
        // The last reference may go here, and take the journal with it, whose last commit calls `committed`.
        let volumes = (
            self.works.for_commits.lock().take(),
            self.works.for_errors.lock().take(),
        );
        drop(volumes);
    }

    /// Whether freed blocks are to be discarded on the device.
    pub(crate) fn set_discard(&self, discard: bool) {
        self.works.discard.store(discard, Relaxed);
    }

    /// A transaction has committed. Called by the journal's thread.
    pub(crate) fn committed(&self, tid: Tid) {
        self.works.committed.store(tid, Release);
        if self.works.discard.load(Relaxed) {
            // Discarding takes its time; commits need not wait. If it is queued already, it will see `tid`.
            let _ = self.queue.enqueue::<_, FREED>(self.works.clone());
        } else {
            self.works.give_back(tid);
        }
    }

    /// Gives back what `tid` and those before it freed. They have committed.
    pub(crate) fn give_back(&self, tid: Tid) {
        self.works.give_back(tid);
    }

    /// An error was found that the super block does not have yet.
    pub(crate) fn record_errors(&self) {
        // If it is queued already, it will see this one.
        let _ = self.queue.enqueue::<_, ERRORS>(self.works.clone());
    }

    /// Waits for what is queued.
    pub(crate) fn flush(&self) {
        self.queue.flush();
    }
}

impl<V: Works> Queued<V> {
    fn give_back(&self, tid: Tid) {
        if let Some(volume) = &*self.for_commits.lock() {
            let discard = self.discard.load(Relaxed);
            if !volume.give_back(tid, discard) {
                self.discard.store(false, Relaxed);
            }
        }
    }
}

impl<V: Works> WorkItem<FREED> for Queued<V> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.give_back(this.committed.load(Acquire));
    }
}

impl<V: Works> WorkItem<ERRORS> for Queued<V> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if let Some(volume) = &*this.for_errors.lock() {
            volume.write_errors();
        }
    }
}
