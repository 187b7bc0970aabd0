// SPDX-License-Identifier: GPL-2.0

//! A VFS inode as the core sees it, and how a new one comes into being.

use super::convert::{to_disk, vfs_flags};
use super::data::MapLock;
use super::read::{body, uses_memory};
use super::{xattr, Data};
use crate::change::live::Shown;
use crate::change::{InodePart, Live, Newborn};
use crate::disk::inode::{DiskTime, InodeFlags};
use crate::disk::{BlockSize, CsumSeed, FileType, Group, Ino};
use crate::inode::{Attrs, NewAttribute};
use crate::linux::acl::Inherited;
use crate::linux::attr::Idmap;
use crate::linux::dentry::EntryName;
use crate::linux::inode::{Common, New, Ready, Time};
use crate::linux::random;
use crate::map::Snapshot;
use crate::names::{Known, Params};
use crate::ops::mount::Tx;
use crate::ops::trace;
use crate::ops::{Core, Fs, JournalStore, Node, Orphans, Volume};
use crate::store::Tid;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Relaxed, Release};

impl Live<JournalStore> for Node {
    type MapLock<'a> = MapLock<'a>;

    fn volume(&self) -> &Volume {
        self.data().volume()
    }

    fn orphans(&self) -> &Orphans {
        &self.super_block().data().mounted.orphans
    }

    fn params(&self) -> &Params {
        &self.super_block().data().params
    }

    fn map_lock(&self) -> MapLock<'_> {
        self.data().map_lock_for(Some(self))
    }

    fn snapshot(&self) -> &Snapshot {
        self.data().snapshot()
    }

    fn ino(&self) -> Ino {
        self.data().ino
    }

    fn file_type(&self) -> FileType {
        self.data().file_type
    }

    fn seed(&self) -> Option<CsumSeed> {
        self.data().seed
    }

    fn group(&self) -> Group {
        self.data().group
    }

    fn flags(&self) -> InodeFlags {
        self.data().flags()
    }

    fn attrs(&self) -> Attrs {
        Attrs {
            mode: self.mode(),
            uid: self.uid(),
            gid: self.gid(),
            nlink: self.links(),
            rdev: self.device(),
            atime: to_disk(self.time(Time::Access)),
            mtime: to_disk(self.time(Time::Modify)),
            ctime: to_disk(self.time(Time::Change)),
            crtime: self.data().created,
            version: self.version(),
            project: Common::project(self),
        }
    }

    fn links(&self) -> u32 {
        Common::links(self)
    }

    fn set_mode(&self, mode: u16) {
        self.set_permissions(mode);
    }

    fn set_links(&self, links: u32) {
        Common::set_links(self, links);
    }

    fn size(&self) -> u64 {
        Common::size(self)
    }

    fn set_size(&self, size: u64) {
        Common::set_size(self, size);
    }

    #[inline]
    fn disk_size_hint(&self) -> u64 {
        self.data().disk_size.load(Acquire)
    }

    fn account(&self, tx: &mut Tx<'_>, sectors: u64) {
        // Most changes of an inode are not about blocks.
        if self.blocks() != sectors {
            tx.lend(|| self.set_counted_blocks(sectors));
        }
    }

    fn count_inodes(&self, tx: &mut Tx<'_>, inodes: u32) -> Result {
        match inodes {
            0 => Ok(()),
            _ => tx.lend(|| Common::count_inodes(self, inodes)),
        }
    }

    fn uncount_inodes(&self, tx: &mut Tx<'_>, inodes: u32) {
        if inodes != 0 {
            tx.lend(|| Common::uncount_inodes(self, inodes));
        }
    }

    #[inline]
    fn promise(&self, blocks: u32) -> Result<u32> {
        let layout = &self.data().volume().layout;
        match layout.has_quota() {
            true => promise(self, blocks, layout.block_size()),
            false => Ok(blocks),
        }
    }

    fn version(&self) -> u64 {
        Common::version(self)
    }

    fn changed(&self) {
        self.touch_inode();
        self.raise_version();
    }

    fn contents_changed(&self) {
        self.touch();
        self.raise_version();
    }

    fn known(&self) -> Known {
        Known::from_bits(self.data().known.load(Relaxed))
    }

    fn note(&self, what: Known) {
        let known = &self.data().known;
        let mut now = known.load(Relaxed);
        // Others may be looking at the directory, too.
        while let Err(other) = known.cmpxchg(now, Known::from_bits(now).with(what).bits(), Relaxed)
        {
            now = other;
        }
    }

    fn note_transaction(&self, tid: Tid, part: InodePart) {
        let data = self.data();
        data.sync_tid.store(tid, Relaxed);
        if part == InodePart::Data {
            data.data_tid.store(tid, Relaxed);
        }
    }

    #[inline]
    fn noted_transaction(&self, part: InodePart) -> Tid {
        let data = self.data();
        match part {
            InodePart::Attributes => data.sync_tid.load(Relaxed),
            InodePart::Data => data.data_tid.load(Relaxed),
        }
    }

    fn has_clean_end(&self) -> bool {
        self.data().clean_end.load(Relaxed)
    }

    fn note_clean_end(&self, clean: bool) {
        self.data().clean_end.store(clean, Relaxed);
    }

    #[inline]
    fn has_new_times(&self) -> bool {
        self.data().new_times.load(Relaxed)
    }

    fn note_new_times(&self, new: bool) {
        let new_times = &self.data().new_times;
        if new {
            new_times.store(true, Release);
        } else if new_times.load(Relaxed) {
            // Who takes the note sees the times.
            new_times.xchg(false, Acquire);
        }
    }

    #[inline(always)]
    fn shown(&self, tid: Tid, _what: Shown, size: u64) {
        trace::file::sized(self, tid, size);
    }
}

/// [`Live::promise`], as many as the limits allow: a write of a part is a write.
#[cold]
fn promise(node: &Node, mut blocks: u32, size: BlockSize) -> Result<u32> {
    loop {
        let bytes = u64::from(blocks).saturating_mul(size.bytes().into());
        match node.reserve_quota(bytes) {
            Err(error) if error == EDQUOT && blocks > 1 => blocks /= 2,
            other => return other.map(|()| blocks),
        }
    }
}

/// An inode that is being made in a directory. See [`Newborn`].
pub(crate) struct NewNode<'a, 't> {
    new: New<'a, Fs>,
    dir: &'a Node,
    file_type: FileType,
    created: DiskTime,
    generation: u32,
    device: u32,
    target: &'t [u8],
    name: Option<&'t EntryName>,
    acls: Inherited,
}

impl<'a, 't> NewNode<'a, 't> {
    /// One of mode `mode` in `dir`, with so many links; `device` is its number, if it is a device, `target` where it
    /// leads, if it is a symbolic link, and `name` its name, if it gets one.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a mode without a type; `ENOMEM`; those of reading what `dir` says of access to what is in it.
    pub(crate) fn new(
        idmap: &Idmap,
        dir: &'a Node,
        mode: u16,
        links: u32,
        device: u32,
        target: &'t [u8],
        name: Option<&'t EntryName>,
    ) -> Result<Self> {
        let new = Node::new(dir.super_block())?;
        new.set_owner(idmap, dir, mode, dir.super_block().data().group_of_new())?;
        let acls = new.inherit_acls(dir)?;
        new.set_links(links);
        let file_type = FileType::from_mode(new.mode()).ok_or(EINVAL)?;
        let created = to_disk(new.set_times_now());
        let generation = random::number();
        new.set_generation(generation);
        new.set_version(1);
        if dir.flags().has(InodeFlags::PROJINHERIT) {
            new.set_project(Common::project(dir));
        }
        // Not in the transaction, as a record may have to be made first.
        new.initialize_quota()?;
        Ok(Self {
            new,
            dir,
            file_type,
            created,
            generation,
            device,
            target,
            name,
            acls,
        })
    }
}

impl<'a> Newborn<JournalStore> for NewNode<'a, '_> {
    type Live = Node;
    type Ready = Ready<'a, Fs>;

    fn attrs(&self) -> Attrs {
        Attrs {
            mode: self.new.mode(),
            uid: self.new.uid(),
            gid: self.new.gid(),
            nlink: self.new.links(),
            rdev: self.device,
            atime: self.created,
            mtime: self.created,
            ctime: self.created,
            crtime: self.created,
            version: 1,
            project: self.new.project(),
        }
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    fn insert(&self, ino: Ino) -> Result {
        self.new.insert(ino.get())
    }

    fn lists(&self) -> Result<Option<KVec<NewAttribute>>> {
        xattr::inherited(&self.acls)
    }

    fn attributes(&self) -> Result<Option<KVec<NewAttribute>>> {
        let mut attributes = self.lists()?;
        self.new
            .security_labels(self.dir, self.name, |name, value| {
                let attributes = attributes.get_or_insert_with(KVec::new);
                Ok(attributes.push(xattr::label(name, value)?, GFP_KERNEL)?)
            })?;
        Ok(attributes)
    }

    fn finish(self, tx: &mut Tx<'_>, inode: Core, inodes: u32) -> Result<Ready<'a, Fs>> {
        let new = self.new;
        // What its attributes take, which is counted when it is there.
        new.reserve_quota(inode.map.sectors().saturating_mul(512))?;
        tx.lend(|| new.count_inodes(inodes))
            .inspect_err(|_| new.shrink_reserved_quota(0))?;
        new.set_flags(vfs_flags(inode.flags));
        new.set_size(inode.disk_size);
        let target = inode.fast_target().and(Some(self.target));
        let dax = uses_memory(self.dir.super_block(), inode.flags);
        let body = body(self.file_type, target, self.device, dax);
        let volume = self.dir.data().volume_arc();
        let data = Data::new(volume, inode, self.file_type, self.created);
        new.init(body, data).map_err(|(error, new)| {
            new.shrink_reserved_quota(0);
            tx.lend(|| new.uncount_inodes(inodes));
            error
        })
    }
}
