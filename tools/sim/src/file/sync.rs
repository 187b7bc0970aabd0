// SPDX-License-Identifier: GPL-2.0

//! Making files and directories durable. What is promised is what a user can see, and not what the inodes note.

use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::{sync, InodePart, Live};
use iomapfs_core::store::Tid;

impl Sim {
    /// `fsync` of a file, and `fdatasync` if `data_only`.
    pub fn fsync(&mut self, node: &Shared, data_only: bool) {
        self.write_and_wait(node, 0, u32::MAX);
        self.check_synced(node);
        self.make_durable(node, data_only);
    }

    /// Commits what shows the data of a file.
    pub(super) fn make_durable(&mut self, node: &Shared, data_only: bool) {
        let ino = node.ino().get();
        let needed = self.world.needed(ino, |now, then| match data_only {
            true => now.finds_same(then),
            false => now.is_same(then),
        });
        let part = match data_only {
            true => InodePart::Data,
            false => InodePart::Attributes,
        };
        self.commit_part(node, part);
        let now = self.world.trace.now();
        if let Some(inode) = self.world.model.get(&ino) {
            inode.synced.borrow_mut().push(now);
        }
        if !data_only {
            self.promise_version(node);
        }
        self.world.history.promise(now, needed);
    }

    fn commit_part(&mut self, node: &Shared, part: InodePart) {
        sync::write_rest(&**node, part).expect("the journal is alive");
        self.world.catch_up(&self.mount);
        self.commit(sync::transaction(&**node, part));
    }

    /// From now on a file has at least the change counter that it has now.
    pub(crate) fn promise_version(&mut self, node: &Shared) {
        let now = self.world.trace.now();
        if let Some(inode) = self.world.model.get(&node.ino().get()) {
            inode.versions.borrow_mut().push((now, node.version()));
        }
    }

    /// `fsync` of a directory: the names in it stay.
    pub fn fsync_dir(&mut self, ino: u32) {
        let needed = self.world.needed(ino, |now, then| now.is_same(then));
        let node = self.node(ino);
        self.commit_part(&node, InodePart::Attributes);
        let now = self.world.trace.now();
        self.world.history.promise(now, needed);
    }

    /// Makes a transaction durable, and all data that is on the device.
    pub(crate) fn commit(&mut self, tid: Option<Tid>) {
        let mount = self.mount.clone();
        let will_flush = |tid| self.world.will_flush(&mount, tid);
        let plan = sync::plan(&mount.vol.store, tid, true, will_flush);
        if let Some(tid) = plan.commit {
            self.world.commit(&mount, tid);
        }
        if plan.flush {
            self.world.trace.flush();
        }
    }

    /// All of a file is on its way to disk: what the model has must be all that was written.
    fn check_synced(&self, node: &Shared) {
        let (ino, size) = (node.ino().get(), node.size());
        let Some(inode) = self.world.model.get(&ino) else {
            return;
        };
        assert_eq!(inode.size, size, "inode {ino}: size on disk after fsync");
        for (at, bytes) in self.pages_of(ino) {
            let Some(content) = inode.blocks.get(&at) else {
                let empty = bytes.iter().all(|byte| *byte == 0);
                assert!(empty, "inode {ino}: block {at} is not mapped after fsync");
                continue;
            };
            let versions = content.borrow();
            let last = versions.last().expect("it was written");
            assert!(*last.bytes == *bytes, "inode {ino}: block {at} after fsync");
        }
    }
}
