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

use super::store::JournalStore;
use super::superblock;
use crate::linux::printk::Level;
use crate::linux::workqueue::OwnedQueue;
use crate::space::Run;
use crate::store::Tid;
use crate::volume::Volume;
use kernel::error::{code::*, Result};

use kernel::prelude::*;
use kernel::str::CStr;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed, Release};
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::workqueue::{impl_has_work, new_work, Work, WorkItem};

type Link = Mutex<Option<Arc<Volume<JournalStore>>>>;

/// Identifies the work on freed blocks.
const FREED: u64 = 0;
/// Identifies the work on errors.
const ERRORS: u64 = 1;

/// The works of one mount, and the queue they run on.
pub(crate) struct Background {
    works: Arc<Works>,
    queue: OwnedQueue,
}

/// What the queue holds. Never owns the queue, which could not be destroyed by one of its own works.
#[pin_data]
struct Works {
    #[pin]
    freed: Work<Works, FREED>,
    #[pin]
    errors: Work<Works, ERRORS>,
    #[pin]
    for_commits: Link,
    #[pin]
    for_errors: Link,
    /// The last transaction that has committed.
    committed: Atomic<Tid>,
    /// Whether freed blocks are to be discarded on the device; 1 or 0.
    discard: Atomic<u32>,
}

impl_has_work! {
    impl HasWork<Works, FREED> for Works { self.freed }
    impl HasWork<Works, ERRORS> for Works { self.errors }
}

impl Background {
    /// For a mount of the device `name`.
    pub(super) fn new(name: &CStr) -> Result<Arc<Self>> {
        let works = Arc::pin_init(
            pin_init!(Works {
                freed <- new_work!("iomapfs_freed"),
                errors <- new_work!("iomapfs_errors"),
                for_commits <- new_mutex!(None, "iomapfs_commit_link"),
                for_errors <- new_mutex!(None, "iomapfs_error_link"),
                committed: Atomic::new(0),
                discard: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let queue = OwnedQueue::new(c"iomapfs", name)?;

        Ok(Arc::new(Self { works, queue }, GFP_KERNEL)?)
    }

    /// Gives the works a volume to work on.
    pub(super) fn link(&self, volume: &Arc<Volume<JournalStore>>) {
        *self.works.for_commits.lock() = Some(volume.clone());
        *self.works.for_errors.lock() = Some(volume.clone());
    }

    /// Finishes what is queued and takes the volume away.
    pub(super) fn unlink(&self) {
        self.queue.flush();
        // The last reference may go here, and take the journal with it, whose last commit calls `committed`.
        let volumes = (
            self.works.for_commits.lock().take(),
            self.works.for_errors.lock().take(),
        );
        drop(volumes);
    }

    /// Whether freed blocks are to be discarded on the device.
    pub(super) fn set_discard(&self, discard: bool) {
        self.works.discard.store(discard.into(), Relaxed);
    }

    /// A transaction has committed. Called by the journal's thread.
    pub(super) fn committed(&self, tid: Tid) {
        self.works.committed.store(tid, Release);
        if self.works.discard.load(Relaxed) != 0 {
            // Discarding takes its time; commits need not wait. If it is queued already, it will see `tid`.
            let _ = self.queue.enqueue::<_, FREED>(self.works.clone());
        } else {
            self.works.give_back(tid);
        }
    }

    /// Gives back what `tid` and those before it freed. They have committed.
    pub(super) fn give_back(&self, tid: Tid) {
        self.works.give_back(tid);
    }

    /// An error was found that the super block does not have yet.
    pub(super) fn record_errors(&self) {
        // If it is queued already, it will see this one.
        let _ = self.queue.enqueue::<_, ERRORS>(self.works.clone());
    }

    /// Waits for what is queued.
    pub(super) fn flush(&self) {
        self.queue.flush();
    }
}

impl Works {
    fn give_back(&self, tid: Tid) {
        if let Some(volume) = &*self.for_commits.lock() {
            volume.refresh_reserve(false);
            volume.space.committed(tid, |run| {
                if self.discard.load(Relaxed) != 0 {
                    discard(volume, run);
                }
            });
        }
    }
}

impl WorkItem<FREED> for Works {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.give_back(this.committed.load(Acquire));
    }
}

impl WorkItem<ERRORS> for Works {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if let Some(volume) = &*this.for_errors.lock() {
            superblock::write_errors(volume);
        }
    }
}

/// Tells the device that blocks hold nothing any more. They are still not free to be used again.
fn discard(volume: &Volume<JournalStore>, run: Run) {
    let size = u64::from(volume.layout.block_size().bytes());
    let start = run.start.get().saturating_mul(size);
    let result = volume
        .store
        .cache()
        .device()
        .discard(start, u64::from(run.len).saturating_mul(size));

    let Err(error) = result else {
        return;
    };
    if error == EOPNOTSUPP {
        volume.store.background().set_discard(false);
        volume
            .store
            .log(Level::Warning, fmt!("the device cannot discard"));
    } else {
        volume.store.log(
            Level::Warning,
            fmt!(
                "blocks {}+{} could not be discarded: error {}",
                run.start.get(),
                run.len,
                error.to_errno()
            ),
        );
    }
}
