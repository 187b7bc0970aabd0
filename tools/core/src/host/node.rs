// SPDX-License-Identifier: GPL-2.0

//! Inodes in memory on the host: what the VFS is in the module, as far as the core sees it.
//!
//! A [`Node`] is looked at and changed as the VFS does it with its inode. It panics where the map lock is taken while
//! it is held.

use super::{HostStore, Mounted, ShownChange, Tx};
use crate::change::live::{InodePart, Live, Newborn, Shown};
use crate::disk::inode::{DiskTime, InodeFlags};
use crate::disk::xattr::Prefix;
use crate::disk::{CsumSeed, FileType, Group, Ino, LogicalBlock, PhysBlock};
use crate::inode::{Attrs, Inode, NewAttribute, Orphans};
use crate::map::Snapshot;
use crate::names::{Known, Params};
use crate::store::Tid;
use crate::volume::Volume;
use kernel::alloc::{flags::GFP_KERNEL, KVec};
use kernel::error::{code::*, Result};
use kernel::sync::Arc;
use std::cell::{Cell, RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// An inode in memory.
pub struct Node {
    mounted: Rc<Mounted>,
    ino: Ino,
    seed: Option<CsumSeed>,
    group: Group,
    snapshot: Arc<Snapshot>,
    inode: RefCell<Inode>,
    attrs: Cell<Attrs>,
    size: Cell<u64>,
    disk_size: Cell<u64>,
    flags: Cell<InodeFlags>,
    known: Cell<Known>,
    sync_tid: Cell<Tid>,
    data_tid: Cell<Tid>,
    clean_end: Cell<bool>,
    new_times: Cell<bool>,
    /// What of it is counted, in units of 512 bytes.
    counted: Cell<u64>,
}

impl Node {
    /// The inode: from memory, or else read.
    ///
    /// # Errors
    ///
    /// Those of [`Inode::read`].
    pub fn get(mounted: &Rc<Mounted>, ino: Ino) -> Result<Rc<Self>> {
        Self::get_with(mounted, ino, Inode::read)
    }

    /// [`Self::get`], of an orphan.
    ///
    /// # Errors
    ///
    /// Those of [`Inode::read_orphan`].
    pub fn get_orphan(mounted: &Rc<Mounted>, ino: Ino) -> Result<Rc<Self>> {
        Self::get_with(mounted, ino, Inode::read_orphan)
    }

    fn get_with(
        mounted: &Rc<Mounted>,
        ino: Ino,
        read: impl FnOnce(&Volume<HostStore>, Ino) -> Result<(Inode, Attrs)>,
    ) -> Result<Rc<Self>> {
        if let Some(node) = mounted.cached(ino) {
            return Ok(node);
        }
        let (inode, attrs) = read(&mounted.vol, ino)?;
        let counted = inode.map.sectors();
        Ok(Self::new(mounted, inode, attrs, counted))
    }

    fn new(mounted: &Rc<Mounted>, inode: Inode, attrs: Attrs, counted: u64) -> Rc<Self> {
        let tid = mounted.vol.store.running();
        let slot = mounted.vol.layout.inode_slot(inode.ino);
        let node = Rc::new(Self {
            mounted: mounted.clone(),
            ino: inode.ino,
            seed: inode.map.seed(),
            group: slot.expect("an inode has a place").group,
            snapshot: inode.map.snapshot().clone(),
            attrs: Cell::new(attrs),
            size: Cell::new(inode.disk_size),
            disk_size: Cell::new(inode.disk_size),
            flags: Cell::new(inode.flags),
            inode: RefCell::new(inode),
            known: Cell::new(Known::default()),
            sync_tid: Cell::new(tid),
            data_tid: Cell::new(tid),
            clean_end: Cell::new(false),
            new_times: Cell::new(false),
            counted: Cell::new(counted),
        });
        let weak = Rc::downgrade(&node);
        mounted.live.borrow_mut().insert(node.ino.get(), weak);
        node
    }

    /// The volume that it is in, with all that is in memory of it.
    pub fn mounted(&self) -> &Rc<Mounted> {
        &self.mounted
    }

    /// The inode leaves memory: gives back what it has there only. There is no I/O in flight.
    pub fn evict(&self) {
        self.map_lock().map.evict(&self.mounted.vol);
        self.mounted.live.borrow_mut().remove(&self.ino.get());
    }
}

/// The map lock of a [`Node`].
pub struct MapLock<'a> {
    node: &'a Node,
    inode: RefMut<'a, Inode>,
}

impl Deref for MapLock<'_> {
    type Target = Inode;

    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl DerefMut for MapLock<'_> {
    fn deref_mut(&mut self) -> &mut Inode {
        &mut self.inode
    }
}

impl Drop for MapLock<'_> {
    fn drop(&mut self) {
        self.node.disk_size.set(self.inode.disk_size);
        self.node.flags.set(self.inode.flags);
    }
}

impl Live<HostStore> for Node {
    type MapLock<'a> = MapLock<'a>;

    fn volume(&self) -> &Volume<HostStore> {
        &self.mounted.vol
    }

    fn orphans(&self) -> &Orphans<HostStore> {
        &self.mounted.orphans
    }

    fn params(&self) -> &Params {
        &self.mounted.params
    }

    fn map_lock(&self) -> MapLock<'_> {
        let inode = self.inode.borrow_mut();
        MapLock { node: self, inode }
    }

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn ino(&self) -> Ino {
        self.ino
    }

    fn file_type(&self) -> FileType {
        self.attrs.get().file_type()
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.seed
    }

    fn group(&self) -> Group {
        self.group
    }

    fn flags(&self) -> InodeFlags {
        self.flags.get()
    }

    fn attrs(&self) -> Attrs {
        self.attrs.get()
    }

    fn links(&self) -> u32 {
        self.attrs.get().nlink
    }

    fn set_mode(&self, mode: u16) {
        let attrs = self.attrs.get();
        self.attrs.set(Attrs {
            mode: attrs.mode & 0o170_000 | mode & 0o7777,
            ..attrs
        });
    }

    fn set_links(&self, links: u32) {
        let attrs = self.attrs.get();
        self.attrs.set(Attrs {
            nlink: links,
            ..attrs
        });
    }

    fn size(&self) -> u64 {
        self.size.get()
    }

    fn set_size(&self, size: u64) {
        self.size.set(size);
    }

    fn disk_size_hint(&self) -> u64 {
        self.disk_size.get()
    }

    fn account(&self, _tx: &mut Tx<'_>, sectors: u64) {
        let more = sectors as i64 - self.counted.replace(sectors) as i64;
        self.mounted.count(more, 0);
    }

    fn count_inodes(&self, _tx: &mut Tx<'_>, inodes: u32) -> Result {
        self.mounted.count_inodes(inodes)
    }

    fn uncount_inodes(&self, _tx: &mut Tx<'_>, inodes: u32) {
        self.mounted.count(0, -i64::from(inodes));
    }

    fn promise(&self, blocks: u32) -> Result<u32> {
        match self.mounted.quota.get() {
            None => Ok(blocks),
            Some(0) => Err(EDQUOT),
            Some(left) => Ok(blocks.min(left)),
        }
    }

    fn version(&self) -> u64 {
        self.attrs.get().version
    }

    fn changed(&self) {
        let attrs = self.attrs.get();
        self.attrs.set(Attrs {
            version: attrs.version + 1,
            ctime: DiskTime {
                sec: attrs.ctime.sec + 1,
                ..attrs.ctime
            },
            ..attrs
        });
    }

    fn contents_changed(&self) {
        self.changed();
        let attrs = self.attrs.get();
        self.attrs.set(Attrs {
            mtime: attrs.ctime,
            ..attrs
        });
    }

    fn known(&self) -> Known {
        self.known.get()
    }

    fn note(&self, what: Known) {
        self.known.set(self.known.get().with(what));
    }

    fn note_transaction(&self, tid: Tid, part: InodePart) {
        self.sync_tid.set(tid);
        if part == InodePart::Data {
            self.data_tid.set(tid);
        }
    }

    fn noted_transaction(&self, part: InodePart) -> Tid {
        match part {
            InodePart::Attributes => self.sync_tid.get(),
            InodePart::Data => self.data_tid.get(),
        }
    }

    fn has_clean_end(&self) -> bool {
        self.clean_end.get()
    }

    fn note_clean_end(&self, clean: bool) {
        self.clean_end.set(clean);
    }

    fn has_new_times(&self) -> bool {
        self.new_times.get()
    }

    fn note_new_times(&self, new: bool) {
        self.new_times.set(new);
    }

    fn zeroed(&self, from: LogicalBlock, to: LogicalBlock, phys: PhysBlock) {
        let tid = self.mounted.vol.store.running();
        self.shown(tid, Shown::Zeroed(from, to, phys), self.size());
    }

    fn shown(&self, tid: Tid, what: Shown, size: u64) {
        self.mounted.shown.borrow_mut().push(ShownChange {
            tid,
            ino: self.ino.get(),
            what,
            size,
        });
    }
}

/// An inode that is to be made.
pub struct NewNode {
    mounted: Rc<Mounted>,
    attrs: Attrs,
    generation: u32,
    attributes: Vec<(Prefix, Vec<u8>, Vec<u8>)>,
}

impl NewNode {
    /// One with these attributes.
    pub fn new(mounted: &Rc<Mounted>, attrs: Attrs, generation: u32) -> Self {
        Self {
            mounted: mounted.clone(),
            attrs,
            generation,
            attributes: Vec::new(),
        }
    }

    /// It is born with one more extended attribute: what its name begins with, the rest of it, and the value.
    pub fn with_attribute(mut self, prefix: Prefix, rest: &[u8], value: &[u8]) -> Self {
        self.attributes.push((prefix, rest.into(), value.into()));
        self
    }
}

impl Newborn<HostStore> for NewNode {
    type Live = Node;
    type Ready = Ready;

    fn attrs(&self) -> Attrs {
        self.attrs
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    fn insert(&self, ino: Ino) -> Result {
        match self.mounted.cached(ino) {
            Some(_) => Err(EBUSY),
            None => Ok(()),
        }
    }

    fn lists(&self) -> Result<Option<KVec<NewAttribute>>> {
        self.attributes()
    }

    fn attributes(&self) -> Result<Option<KVec<NewAttribute>>> {
        let copy = |from: &[u8]| -> Result<KVec<u8>> {
            let mut to = KVec::new();
            to.extend_from_slice(from, GFP_KERNEL)?;
            Ok(to)
        };
        let mut all = None;
        for (prefix, rest, value) in &self.attributes {
            let new = NewAttribute {
                prefix: *prefix,
                rest: copy(rest)?,
                value: copy(value)?,
            };
            all.get_or_insert_with(KVec::new).push(new, GFP_KERNEL)?;
        }
        Ok(all)
    }

    fn finish(self, _tx: &mut Tx<'_>, inode: Inode, inodes: u32) -> Result<Ready> {
        if self.mounted.quota.get().is_some_and(|left| {
            let blocks = inode.map.sectors() / self.mounted.vol.layout.block_size().sectors();
            blocks > left.into()
        }) {
            return Err(EDQUOT);
        }
        self.mounted.count_inodes(inodes)?;
        let node = Node::new(&self.mounted, inode, self.attrs, 0);
        Ok(Ready(Some(node)))
    }
}

/// A new inode that nobody else knows. Dropped without links, it is among [`Mounted::take_dropped`].
pub struct Ready(Option<Rc<Node>>);

impl Ready {
    /// Lets everybody use it.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn unlock(mut self) -> Rc<Node> {
        self.0.take().expect("it is there until then")
    }
}

impl Deref for Ready {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.0.as_ref().expect("it is there until it is unlocked")
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(node) = self.0.take().filter(|node| node.links() == 0) {
            node.mounted.clone().dropped.borrow_mut().push(node);
        }
    }
}
