// SPDX-License-Identifier: GPL-2.0

//! What is done to a whole file system, by users and by the machine; and what is looked at while it works.

use crate::model;
use crate::mount::Shared;
use crate::sim::Sim;
use iomapfs_core::change::label::{self, LABEL_MAX};
use iomapfs_core::change::{mount, Live};
use iomapfs_core::disk::{FileType, LogicalBlock};
use iomapfs_core::map::State;
use iomapfs_core::space::Counts;
use std::rc::Rc;

/// What the names of volumes begin with, as lines of e2fsck do then.
pub const LABEL: &str = "sim-";

impl Sim {
    /// `sync`
    pub fn sync(&mut self) {
        let all: Vec<Shared> = self.nodes.values().cloned().collect();
        for node in &all {
            if node.file_type() == FileType::Regular {
                self.write_and_wait(node, 0, u32::MAX);
            }
            self.write_inode(node);
        }
        let latest = self.mount.vol.store.running();
        self.commit(Some(latest));
        let now = self.world.trace.now();
        self.world.history.synced(now);
        for node in &all {
            self.promise_version(node);
        }
        self.promise();
    }

    /// Unmounts and mounts again.
    ///
    /// # Errors
    ///
    /// Why the core does not take it again.
    pub fn remount(&mut self) -> Result<(), String> {
        self.finish_flights(|_| true);
        for ino in self.open.clone() {
            self.close(ino);
        }
        self.sync();
        for ino in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.forget(ino);
        }
        self.end_writing();
        let mount = self.mount.clone();
        let counts = mount.vol.space.counts();
        if counts.free_blocks != counts.free_blocks_on_disk {
            return Err(format!("unmount: blocks are still reserved: {counts:?}"));
        }
        let mut device = mount.vol.store.recovered();
        let sb = self.world.journal.super_block();
        device.write(mount.journal.blocks[0], sb.bytes().into());
        let head = self.world.journal.head();
        let (mount, journal) = Self::mount(device, head, self.restart, self.broken)?;
        // The new mount adds up what the groups say.
        let again = mount.vol.space.counts();
        let kept = |counts: &Counts| (counts.free_blocks_on_disk, counts.free_inodes, counts.dirs);
        if kept(&again) != kept(&counts) {
            return Err(format!("unmount: {counts:?}; by the groups {again:?}"));
        }
        self.world.remounted(journal, &mount);
        self.mount = Rc::new(mount);
        let mount = self.mount.clone();
        let done = mount.finish_orphans(Some(&mut self.world));
        done.map(drop)
            .map_err(|error| format!("orphans: {error:?}"))
    }

    /// Gives the volume a name.
    pub fn set_label(&mut self, number: u16) {
        let mut name = [0; LABEL_MAX];
        let text = match number % 5 {
            0 => String::new(),
            times => LABEL.to_string() + &format!("{number:x}").repeat(times.into()),
        };
        for (to, from) in name.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        let mount = self.mount.clone();
        self.world.catch_up(&mount);
        // The first of its transactions has it.
        self.world.label.name = name;
        label::set_label(&mount.vol, &name).expect("the super block is written");
        self.world.catch_up(&mount);
    }

    /// Gives the volume another UUID, if it may change.
    pub fn set_uuid(&mut self, number: u16) {
        let mount = self.mount.clone();
        if !label::can_change_uuid(&mount.vol) {
            return;
        }
        // None that is all zeros: e2fsck would give it another one.
        let uuid = [(number | 1).to_le_bytes(); 8].as_flattened().try_into();
        let uuid = uuid.expect("it is as long");
        self.world.catch_up(&mount);
        // The first of its transactions has it.
        self.world.label.uuid = uuid;
        label::set_uuid(&mount.vol, &uuid).expect("the super block is written");
        self.world.catch_up(&mount);
    }

    /// Freezes the volume, and ends that.
    pub fn freeze(&mut self) {
        self.sync();
        self.end_writing();
        mount::begin_writing(&self.mount.vol, |_| ()).expect("the super block is written");
        self.world.write_through(&self.mount);
    }

    /// Empties the journal, and marks the volume as clean.
    fn end_writing(&mut self) {
        let Self { mount, world, .. } = self;
        let empty_journal = || {
            world.write_through(mount);
            world.close(mount);
            world.finish_writing(mount);
            world.place(mount, usize::MAX, 0);
            world.journal.mark_empty(&mut world.trace);
            Ok(())
        };
        let done = mount.end_writing(empty_journal);
        done.expect("the super block is written");
        world.write_through(mount);
        self.promise();
    }

    /// Memory is short: caches are given up.
    pub fn shrink_caches(&mut self) {
        for node in self.nodes.values() {
            node.map_lock().map.shrink(usize::MAX);
        }
        self.mount.vol.store.drop_cache();
        self.mount.vol.space.shrink(u32::MAX);
    }

    /// Between two operations: what jbd2's thread would do by itself.
    pub fn tick(&mut self, limit: usize) {
        let mount = self.mount.clone();
        if mount.vol.store.changed_blocks().len() > limit {
            self.world.close(&mount);
        }
        if self.world.journal.room() < 300 {
            self.world.close(&mount);
            self.world.finish_writing(&mount);
            self.world.place(&mount, usize::MAX, 0);
            self.world.journal.move_tail(&mut self.world.trace);
        }
    }

    /// What the core complained about, which is an error: nothing on the device is bad.
    ///
    /// # Errors
    ///
    /// The complaints.
    pub fn complaints(&self) -> Result<(), String> {
        let mut reports = self.mount.vol.store.take_reports();
        reports.extend(self.mount.vol.store.take_warnings());
        match reports.is_empty() {
            true => Ok(()),
            false => Err(format!("the core reports {reports:?}")),
        }
    }

    /// Compares what is on the device with what was written there last, file by file.
    ///
    /// # Errors
    ///
    /// What differs.
    pub fn check_mapped(&mut self) -> Result<(), String> {
        let files: Vec<u32> = self.nodes.keys().copied().collect();
        for ino in files {
            let inode = self.world.model[&ino].clone();
            if inode.kind != model::Kind::File {
                continue;
            }
            let node = self.node(ino);
            for (at, content) in &inode.blocks {
                let map = &mut node.map_lock().map;
                let found = map.lookup(&self.mount.vol, LogicalBlock::new(*at), 1);
                let found = found.map_err(|error| format!("{error:?}"))?;
                let phys = found.phys.filter(|_| found.state == State::Written);
                let phys = phys.ok_or(format!("inode {ino}: block {at} is {:?}", found.state))?;
                let is = self.mount.vol.store.read_data(phys);
                let versions = content.borrow();
                if versions.last().is_none_or(|last| *last.bytes != *is) {
                    return Err(format!(
                        "inode {ino}: block {at}, on {}, has {}",
                        phys.get(),
                        model::describe(&is)
                    ));
                }
            }
        }
        Ok(())
    }
}
