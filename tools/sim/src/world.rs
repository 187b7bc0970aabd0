// SPDX-License-Identifier: GPL-2.0

//! What is around the core while it works: the device, the journal's writing, and the model that goes with them.

use crate::base::garbage;
use crate::broken::{Broken, Rule};
use crate::device::{Bytes, Trace};
use crate::journal::Journal;
use crate::model::{self, Attributes, Content, History, Inode, Label, State, Version};
use crate::mount::Mount;
use iomapfs_core::change::live::Shown;
use iomapfs_core::disk::PhysBlock;
use iomapfs_core::host::{NewWrite, ShownChange};
use iomapfs_core::store::{tid_geq, Tid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;

/// See the top of the file.
pub struct World {
    /// All that was done to the device.
    pub trace: Trace,
    /// The journal.
    pub journal: Journal,
    /// What may be found after a power cut.
    pub history: History,
    /// What is on disk as soon as the running transaction has committed.
    pub model: State,
    /// The name and UUID of the volume then.
    pub label: Label,
    /// What is or was written to blocks that are not mapped yet: inode, file block.
    pub unmapped: BTreeMap<(u32, u32), Content>,
    /// Of these, what will take the place of something that is mapped.
    pub aside: BTreeSet<(u32, u32)>,
    /// Blocks of files that are in memory only, or more than what is on its way: inode, file block.
    pub dirty: BTreeSet<(u32, u32)>,
    /// What was written to blocks that became unwritten: what is written there next may be found by a recovery that
    /// does not know of that, as if it were written over the old data.
    former: BTreeMap<(u32, u32), Content>,
    /// Attributes that a transaction gave an inode: see [`Self::attributes_changed`].
    attributes: Option<(Tid, u32, Attributes)>,
    /// Size of a block.
    block_size: u64,
    /// The transaction of the store that is being written.
    writing: Option<Tid>,
    /// The last one that has committed.
    committed: Tid,
    /// The one that the store was running when [`Self::catch_up`] was called last.
    running: Tid,
    broken: Broken,
}

impl World {
    /// Around a volume that was just mounted for writing.
    pub fn new(journal: Journal, model: State, mount: &Mount, broken: Broken) -> Self {
        let mut history = History::default();
        let last = journal.next().wrapping_sub(1);
        let label = mount.vol.super_block.with(&mount.vol.store, Label::of);
        let label = label.expect("the super block is in memory");
        history.states.insert(last, model.clone());
        history.labels.insert(last, label);
        history.promise(0, last);
        history.synced(0);
        let mut this = Self {
            trace: Trace::default(),
            journal,
            history,
            model,
            label,
            unmapped: BTreeMap::new(),
            aside: BTreeSet::new(),
            dirty: BTreeSet::new(),
            former: BTreeMap::new(),
            attributes: None,
            block_size: mount.vol.layout.block_size().bytes().into(),
            writing: None,
            committed: mount.vol.store.running().wrapping_sub(1),
            running: mount.vol.store.running(),
            broken,
        };
        this.write_through(mount);
        this
    }

    /// What was written past the journal is on the device.
    pub fn write_through(&mut self, mount: &Mount) {
        for (nr, bytes) in mount.vol.store.take_written_through() {
            self.trace.fua(nr, bytes);
        }
    }

    /// New blocks are on their way past the journal, and some are there.
    fn write_new(&mut self, mount: &Mount) {
        let mut under_way = BTreeMap::new();
        for event in mount.vol.store.take_new_writes() {
            match event {
                NewWrite::Submitted(nr, bytes) => {
                    under_way.insert(nr, self.trace.submit(nr, bytes));
                }
                NewWrite::Done(nr) => {
                    let id = under_way.remove(&nr).expect("it was submitted");
                    self.trace.done(id);
                }
            }
        }
    }

    /// Another mount begins.
    pub fn remounted(&mut self, journal: Journal, mount: &Mount) {
        assert!(self.writing.is_none() && self.unmapped.is_empty());
        self.former.clear();
        self.journal = journal;
        self.running = mount.vol.store.running();
        self.committed = self.running.wrapping_sub(1);
        self.write_through(mount);
    }

    /// The inode of the model, to be changed.
    pub fn inode(&mut self, ino: u32) -> &mut Inode {
        Rc::make_mut(self.model.get_mut(&ino).expect("the model has the inode"))
    }

    /// Submits data for a block of a file, which has some up to byte `end` of the file; with `fua`
    /// it is durable when it is done, which it is at once. Gives the number of the write.
    pub fn write_data(
        &mut self,
        mount: &Mount,
        (ino, at): (u32, u32),
        nr: PhysBlock,
        (bytes, end): (Bytes, u64),
        fua: bool,
    ) -> usize {
        mount.vol.store.write_data(nr, &bytes);
        let id = self.trace.now();
        match fua {
            true => self.trace.fua(nr.get(), bytes.clone()),
            false => drop(self.trace.submit(nr.get(), bytes.clone())),
        }
        let version = Version {
            bytes,
            end,
            submitted: id,
            done: fua.then_some(id),
            durable: fua,
        };
        self.add_version((ino, at), version);
        id
    }

    /// Something is on its way to a block of a file.
    fn add_version(&mut self, (ino, at): (u32, u32), version: Version) {
        let mapped = self.model.get(&ino).and_then(|inode| inode.blocks.get(&at));
        let mapped = mapped.filter(|_| !self.aside.contains(&(ino, at)));
        let content = mapped.unwrap_or_else(|| {
            let former = || match self.aside.contains(&(ino, at)) {
                true => Content::default(),
                false => self.former.remove(&(ino, at)).unwrap_or_default(),
            };
            self.unmapped.entry((ino, at)).or_insert_with(former)
        });
        content.borrow_mut().push(version);
    }

    /// Unwritten blocks of a file that has a size in memory are zero on the device, or should be.
    fn zeroed(
        &mut self,
        mount: &Mount,
        (ino, size): (u32, u64),
        blocks: Range<u32>,
        phys: PhysBlock,
    ) {
        let bytes: Bytes = vec![0; self.block_size as usize].into();
        for at in blocks.clone() {
            let nr = phys.checked_add(u64::from(at - blocks.start));
            let nr = nr.expect("it exists");
            let id = self.trace.now();
            if mount.vol.store.read_data(nr) == bytes {
                self.trace.submit(nr.get(), bytes.clone());
                self.trace.done(id);
            }
            let version = Version {
                bytes: bytes.clone(),
                end: size.min(u64::from(at + 1) * self.block_size),
                submitted: id,
                done: Some(self.trace.now()),
                durable: false,
            };
            self.add_version((ino, at), version);
        }
    }

    /// Data gets to a block that no file has with data, and is there at once.
    pub fn write_nameless(&mut self, mount: &Mount, nr: u64, bytes: Bytes) {
        mount.vol.store.write_data(PhysBlock::new(nr), &bytes);
        let id = self.trace.submit(nr, bytes);
        self.trace.done(id);
    }

    /// What was written to a block was not and will not be mapped.
    pub fn forget_data(&mut self, ino: u32, at: u32) {
        self.unmapped.remove(&(ino, at));
    }

    /// The write `id` to a block of a file is done.
    pub fn data_done(&mut self, ino: u32, at: u32, id: usize) {
        let now = self.trace.now();
        self.trace.done(id);
        let mapped = self.model.get(&ino).and_then(|inode| inode.blocks.get(&at));
        let mapped = mapped.filter(|_| !self.aside.contains(&(ino, at)));
        let content = mapped.or_else(|| self.unmapped.get(&(ino, at)));
        let mut versions = content.expect("it was submitted").borrow_mut();
        let version = versions.iter_mut().find(|version| version.submitted == id);
        let version = version.expect("it was submitted");
        version.done = version.done.or(Some(now));
    }

    /// The transaction that must not be lost if `ino` must not: the first one at whose end it was as it is now.
    pub fn needed(&self, ino: u32, like: impl Fn(&Inode, &Inode) -> bool) -> u32 {
        let now = self.model.get(&ino);
        let is_in = |sequence: u32| {
            let states = &self.history.states;
            let then = states.get(&sequence).and_then(|state| state.get(&ino));
            match (now, then) {
                (Some(now), Some(then)) => Rc::ptr_eq(now, then) || like(now, then),
                _ => false,
            }
        };
        let mut sequence = self.journal.committed();
        while sequence != self.journal.next() && !is_in(sequence) {
            sequence = sequence.wrapping_add(1);
        }
        sequence
    }

    /// The last transaction that has committed.
    pub fn committed(&self) -> Tid {
        self.committed
    }

    /// Whether transaction `tid` has committed.
    fn has(&self, tid: Tid) -> bool {
        tid_geq(self.committed, tid)
    }

    /// Takes over what the core has done since the last call: transactions that it has closed, what it has shown in
    /// each, and what it shows in the running one.
    pub fn catch_up(&mut self, mount: &Mount) {
        self.write_new(mount);
        let mut changes = VecDeque::from(mount.take_shown());
        while self.running != mount.vol.store.running() {
            let tid = self.running;
            self.set_attributes(|of| of == tid);
            while changes.front().is_some_and(|shown| shown.tid == tid) {
                let shown = changes.pop_front().expect("it was looked at");
                self.show(mount, &shown);
            }
            // A restart waits for the transaction before.
            self.finish_writing(mount);
            self.take_closed(mount, tid);
            self.running = tid.wrapping_add(1);
        }
        self.set_attributes(|_| true);
        for shown in changes {
            assert_eq!(
                shown.tid, self.running,
                "shown in a transaction that is none"
            );
            self.show(mount, &shown);
        }
    }

    /// Transaction `tid` gives an inode these attributes; the next [`Self::catch_up`] takes that over. Others may have
    /// come since, in which an inode with a value was freed.
    pub fn attributes_changed(&mut self, tid: Tid, ino: u32, attributes: Attributes) {
        self.attributes = Some((tid, ino, attributes));
    }

    fn set_attributes(&mut self, is_due: impl Fn(Tid) -> bool) {
        if let Some((_, ino, attributes)) = self.attributes.take_if(|(tid, ..)| is_due(*tid)) {
            self.inode(ino).attributes = attributes;
        }
    }

    /// A transaction shows what was written to blocks of a file.
    fn show(&mut self, mount: &Mount, shown: &ShownChange) {
        let (ino, size) = (shown.ino, shown.size);
        // Orphans that a crash has left without links are nobody's.
        if !self.model.contains_key(&ino) {
            return;
        }
        match shown.what {
            Shown::Data(from, to) => {
                for at in from.get()..to.get() {
                    if let Some(content) = self.unmapped.remove(&(ino, at)) {
                        if self.aside.remove(&(ino, at)) {
                            self.former.remove(&(ino, at));
                            self.inode(ino).ends.remove(&at);
                        }
                        self.inode(ino).blocks.insert(at, content);
                        self.inode(ino).unwritten.remove(&at);
                    }
                }
                self.inode(ino).size = self.shown_to(ino, from.get()..to.get(), size);
            }
            Shown::Grown => self.inode(ino).size = self.there_to(ino, size),
            Shown::Dropped => self.inode(ino).size = size,
            Shown::Cut => self.cut(ino, size),
            Shown::Unwritten(from, to) | Shown::Hole(from, to) => {
                for at in from.get()..to.get() {
                    match (shown.what, self.model[&ino].blocks.get(&at)) {
                        (Shown::Unwritten(..), Some(content)) => {
                            self.former.insert((ino, at), content.clone());
                        }
                        (Shown::Unwritten(..), None) => {}
                        _ => drop(self.former.remove(&(ino, at))),
                    }
                }
                self.inode(ino).empty(from.get()..to.get());
                if let Shown::Unwritten(..) = shown.what {
                    let unwritten = &mut self.inode(ino).unwritten;
                    unwritten.extend(from.get()..to.get());
                }
            }
            Shown::Zeroed(from, to, phys) => {
                self.zeroed(mount, (ino, size), from.get()..to.get(), phys);
            }
            Shown::Collapsed(from, to) => {
                let len = i64::from(from.get()) - i64::from(to.get());
                let end = self.there_to(ino, size);
                model::shift(&mut self.former, ino, to.get(), len);
                let inode = self.inode(ino);
                inode.empty(from.get()..to.get());
                inode.shift(to.get(), len);
                inode.size = end;
                inode.may_be_cut = inode.links > 0;
            }
            Shown::Whole => self.inode(ino).may_be_cut = false,
            Shown::Inserted(from, to) => {
                let len = i64::from(to.get()) - i64::from(from.get());
                model::shift(&mut self.former, ino, from.get(), len);
                self.inode(ino).shift(from.get(), len);
                self.inode(ino).size = self.there_to(ino, size);
            }
        }
    }

    /// The size that a file may have when it shows blocks `shown`, of at most `size` bytes: the end of what is on the
    /// device.
    fn shown_to(&self, ino: u32, shown: Range<u32>, size: u64) -> u64 {
        let inode = &self.model[&ino];
        let last = (size.saturating_sub(1) / self.block_size) as u32;
        let mut end = inode.size;
        for at in shown.chain([last]) {
            let Some(content) = inode.blocks.get(&at) else {
                continue;
            };
            for version in content.borrow().iter() {
                let kept = self
                    .block_size
                    .min(inode.kept(at, version.submitted) as u64);
                if version.done.is_some() {
                    end = end.max(version.end.min(u64::from(at) * self.block_size + kept));
                }
            }
        }
        end.min(size)
    }

    /// The size that a file may get that is to become `size` bytes long: as far as all that was written is there.
    fn there_to(&self, ino: u32, size: u64) -> u64 {
        let inode = &self.model[&ino];
        if size <= inode.size {
            return size;
        }
        let first = (inode.size / self.block_size) as u32;
        let last = size.div_ceil(self.block_size) as u32;
        let is_there = |at: u32| {
            let content = inode.blocks.get(&at);
            let done = |content: &Content| content.borrow().iter().all(|v| v.done.is_some());
            let place = (ino, at);
            !self.dirty.contains(&place)
                && !self.unmapped.contains_key(&place)
                && content.is_none_or(done)
        };
        match (first..last).find(|at| !is_there(*at)) {
            Some(at) => inode.size.max(u64::from(at) * self.block_size),
            None => size,
        }
    }

    /// A file has nothing behind byte `size` any more.
    fn cut(&mut self, ino: u32, size: u64) {
        let end = self.there_to(ino, size);
        let (at, rest) = ((size / self.block_size) as u32, size % self.block_size);
        let behind = size.div_ceil(self.block_size) as u32;
        let now = self.trace.now();
        let inode = self.inode(ino);
        inode.forget_whole(at..u32::MAX);
        inode.size = end;
        inode.may_be_cut = false;
        inode.blocks.split_off(&behind);
        inode.unwritten.split_off(&behind);
        inode.ends.split_off(&behind);
        self.former.retain(|(is, at), _| *is != ino || *at < behind);
        let inode = self.inode(ino);
        if rest != 0 {
            inode.ends.entry(at).or_default().push((rest as usize, now));
        }
    }

    /// An inode is there no more.
    pub fn forget(&mut self, ino: u32) {
        self.model.remove(&ino);
        self.former.retain(|(is, _), _| *is != ino);
    }

    /// Takes transaction `tid`, which the store has closed, to the journal.
    fn take_closed(&mut self, mount: &Mount, tid: Tid) {
        let log = mount.vol.store.log();
        let is_next = log.first().is_some_and(|commit| commit.tid == tid);
        let changes = match is_next {
            true => mount.vol.store.take_commit(),
            false => None,
        };
        let Some(changes) = changes else {
            // Nothing was changed in it.
            return self.has_committed(mount, tid);
        };
        let need = self
            .journal
            .space_for(changes.blocks.len(), changes.revoked.len());
        if self.journal.room() < need {
            self.journal
                .place(&mut self.trace, usize::MAX, 0, &BTreeSet::new());
            self.journal.move_tail(&mut self.trace);
        }
        assert!(self.journal.room() >= need, "transaction too large");
        let sequence = self.journal.take(&mut self.trace, changes);
        self.history.states.insert(sequence, self.model.clone());
        self.history.labels.insert(sequence, self.label);
        self.writing = Some(tid);
        if self.broken.is(Rule::EarlyReuse) {
            mount.vol.space.committed(tid, |_| ());
        }
    }

    fn has_committed(&mut self, mount: &Mount, tid: Tid) {
        self.committed = tid;
        mount.vol.space.committed(tid, |_| ());
    }

    /// Goes on writing the transaction that is being written, by some writes.
    pub fn step(&mut self, mount: &Mount, writes: usize) {
        if self.journal.step(&mut self.trace, writes) {
            let tid = self.writing.take().expect("it was being written");
            self.has_committed(mount, tid);
        }
    }

    /// Waits for the transaction that is being written.
    pub fn finish_writing(&mut self, mount: &Mount) {
        while self.journal.is_writing() {
            self.step(mount, usize::MAX);
        }
    }

    /// Closes the running transaction and begins to write it.
    pub fn close(&mut self, mount: &Mount) {
        self.catch_up(mount);
        mount.vol.store.commit().expect("the journal is alive");
        self.catch_up(mount);
    }

    /// Whether a commit block is still to be written by the time that transaction `tid` has committed: that is done
    /// behind a flush of all data that is on the device.
    pub fn will_flush(&self, mount: &Mount, tid: Tid) -> bool {
        let store = &mount.vol.store;
        let changed = || !store.changed_blocks().is_empty() || !store.revoked().is_empty();
        !self.has(tid) && (self.journal.is_writing() || tid_geq(tid, store.running()) && changed())
    }

    /// Commits transaction `tid` if it has not, and waits for it.
    pub fn commit(&mut self, mount: &Mount, tid: Tid) {
        if self.has(tid) {
            return;
        }
        if tid_geq(tid, mount.vol.store.running()) {
            self.close(mount);
        }
        self.finish_writing(mount);
    }

    /// Writes up to `count` committed blocks to their places, beginning somewhere.
    pub fn place(&mut self, mount: &Mount, count: usize, somewhere: u64) {
        let store = &mount.vol.store;
        let running = store.changed_blocks().into_iter().chain(store.revoked());
        let busy: BTreeSet<u64> = running.map(|nr| nr.get()).collect();
        self.journal.place(&mut self.trace, count, somewhere, &busy);
    }
}

impl World {
    /// The device forgets what a block has.
    pub fn lose(&mut self, mount: &Mount, nr: u64) {
        let store = &mount.vol.store;
        let at = PhysBlock::new(nr);
        let bytes = garbage(nr, self.block_size as usize);
        if store.read_data(at) != bytes {
            store.write_data(at, &bytes);
            let id = self.trace.submit(nr, bytes);
            self.trace.done(id);
        }
    }

    /// Writes a block of a file again, and waits for that.
    pub fn write(&mut self, mount: &Mount, (ino, at): (u32, u32), nr: PhysBlock, bytes: Vec<u8>) {
        let id = self.write_data(mount, (ino, at), nr, (bytes.into(), 0), false);
        self.data_done(ino, at, id);
    }
}
