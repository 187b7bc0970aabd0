// SPDX-License-Identifier: GPL-2.0

//! Quota: how much space and how many inodes a user, a group or a project has, and may have.
//!
//! The kernel keeps a record for each of them, a *dquot*, and decides what is allowed. The filesystem has the files
//! that the records are stored in, hidden inodes, and brings each change of a record into the transaction that it
//! belongs to ([`FileSystem::quota_change`]). An inode has a reference on the dquots of its owners, and counts what it
//! has reserved for data that has no blocks yet.
//!
//! C headers: [`include/linux/quotaops.h`](srctree/include/linux/quotaops.h),
//! [`include/linux/quota.h`](srctree/include/linux/quota.h)
//!
//! # Locks
//!
//! The callee's own: a mutex of each dquot, then a semaphore of all the quota files of a mount; inside them what
//! [`FileSystem::quota_read`] and [`FileSystem::quota_write`] take. To get a dquot into memory, a transaction may be
//! begun: [`Common::initialize_quota`] is for before that. What counts is guarded by spinning locks.
//!
//! # Examples
//!
//! ```ignore
//! node.initialize_quota()?;
//! let map = node.map_lock();
//! node.reserve_quota(bytes)?;
//! drop(map);
//! let mut handle = journal.start(credits, 0)?;
//! handle.lend(|| node.set_counted_blocks(sectors));
//! ```

use super::{
    bindings,
    fs::FileSystem,
    inode::{
        Common,
        INode, //
    },
    statfs::StatFs,
    super_block::{
        Locked,
        SuperBlock, //
    }, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr,
    slice, //
};
use kernel::{
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Kinds of owners.
const KINDS: usize = bindings::MAXQUOTAS as usize;

const USAGE: u32 = bindings::DQUOT_USAGE_ENABLED;
const LIMITS: u32 = bindings::DQUOT_LIMITS_ENABLED;

/// Who owns something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Users.
    User,
    /// Groups.
    Group,
    /// Projects.
    Project,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    fn number(self) -> c_int {
        self as c_int
    }

    /// Number `id` of this kind, a number of the initial user namespace.
    fn id(self, id: u32) -> bindings::kqid {
        bindings::kqid {
            // The members of the union are the same but for their types.
            __bindgen_anon_1: bindings::kqid__bindgen_ty_1 {
                uid: bindings::kuid_t { val: id },
            },
            type_: self as bindings::quota_type,
        }
    }
}

/// Whether something is counted now.
///
/// # Safety
///
/// `sb` must be valid.
unsafe fn is_active(sb: *mut bindings::super_block) -> bool {
    // SAFETY: By the function's requirements.
    let loaded = unsafe { bindings::sb_any_quota_loaded(sb) };
    // SAFETY: By the function's requirements.
    loaded & !unsafe { bindings::sb_any_quota_suspended(sb) } != 0
}

/// What happens to a quota file in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A record that is there is written.
    Record,
    /// A record is read, and may be new.
    Acquire,
    /// A record may go.
    Release,
    /// What the file says of all records.
    Info,
}

/// What an inode has of this: part of its allocation.
pub(super) struct Counted {
    /// Guarded by the callee's locks.
    dquots: UnsafeCell<[*mut bindings::dquot; KINDS]>,
    /// Bytes; guarded by the inode's `i_lock`.
    reserved: UnsafeCell<bindings::qsize_t>,
    project: Atomic<u32>,
    /// Inodes, for a transfer ([`Transfer::carry_out`]).
    inodes: Atomic<u32>,
}

impl Counted {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self {
            dquots: UnsafeCell::new([ptr::null_mut(); KINDS]),
            reserved: UnsafeCell::new(0),
            project: Atomic::new(0),
            inodes: Atomic::new(1),
        }
    }
}

impl Common {
    fn sb(&self) -> *mut bindings::super_block {
        // SAFETY: Valid by the type's invariants; an inode has its super block.
        unsafe { (*self.as_raw()).i_sb }
    }

    /// Whether what the inode has is counted.
    fn is_counted(&self) -> bool {
        // SAFETY: An inode's super block is valid; a word is read.
        let flags = unsafe { (&raw const (*self.sb()).s_dquot.flags).read_volatile() };
        // SAFETY: Valid by the type's invariants; a word is read.
        let inode = unsafe { (&raw const (*self.as_raw()).i_flags).read_volatile() };
        // SAFETY: An inode's super block is valid.
        flags != 0 && inode & bindings::S_NOQUOTA == 0 && unsafe { is_active(self.sb()) }
    }

    /// Sees to it that the inode has its dquots, if it is counted. It may have to read them, and begin a transaction,
    /// unless one is lent.
    ///
    /// # Errors
    ///
    /// Those of [`FileSystem::quota_read`] and [`FileSystem::quota_change`].
    pub(crate) fn initialize_quota(&self) -> Result {
        match self.is_counted() {
            // SAFETY: Valid by the type's invariants.
            true => to_result(unsafe { bindings::dquot_initialize(self.as_raw()) }),
            false => Ok(()),
        }
    }

    /// Reserves `bytes` for data that has no blocks yet. Of an owner whose dquot is not there, the limits do not count.
    ///
    /// # Errors
    ///
    /// `EDQUOT` where a limit does not allow that.
    pub(crate) fn reserve_quota(&self, bytes: u64) -> Result {
        if !self.is_counted() {
            return Ok(());
        }
        let flags = bindings::DQUOT_SPACE_WARN | bindings::DQUOT_SPACE_RESERVE;
        let bytes = i64::try_from(bytes).map_err(|_| EDQUOT)?;
        // SAFETY: Valid by the type's invariants, and of a super block with the tables that the callee uses, as quota
        // is on.
        to_result(unsafe { bindings::__dquot_alloc_space(self.as_raw(), bytes, flags as c_int) })
    }

    /// Gives back what is reserved above `bytes`.
    pub(crate) fn shrink_reserved_quota(&self, bytes: u64) {
        let spare = self.reserved_quota().saturating_sub(bytes);
        if spare == 0 {
            return;
        }
        let flags = bindings::DQUOT_SPACE_RESERVE as c_int;
        // SAFETY: As for `reserve_quota`: something is reserved.
        unsafe { bindings::__dquot_free_space(self.as_raw(), spare as i64, flags) };
    }

    /// Bytes that are reserved.
    fn reserved_quota(&self) -> u64 {
        // SAFETY: Every inode is part of an `INode`, for which the callee has the field; a word is read.
        let reserved = unsafe { reserved_callback(self.as_raw()).read_volatile() };
        u64::try_from(reserved).unwrap_or(0)
    }

    /// The inode takes so much space now, in units of 512 bytes. What it takes more than before comes from what is
    /// reserved, and then whatever the limits say. A transaction must be lent, which the records go to: they are
    /// written by [`FileSystem::quota_change`].
    pub(crate) fn set_counted_blocks(&self, sectors: u64) {
        if !self.is_counted() {
            self.set_blocks(sectors);
            return;
        }
        let bytes = i64::try_from(sectors.saturating_mul(512)).unwrap_or(i64::MAX);
        // SAFETY: Valid by the type's invariants.
        let more = bytes.saturating_sub(unsafe { bindings::inode_get_bytes(self.as_raw()) });
        if self.initialize_quota().is_err() {
            // It was reported by those who failed; e2fsck counts anew.
            self.set_blocks(sectors);
            return;
        }
        if more < 0 {
            // SAFETY: As for `reserve_quota`.
            unsafe { bindings::__dquot_free_space(self.as_raw(), more.saturating_neg(), 0) };
            return;
        }
        let claimed = more.min(self.reserved_quota() as i64);
        if claimed != 0 {
            // SAFETY: As for `reserve_quota`; so much is reserved.
            unsafe { bindings::dquot_claim_space_nodirty(self.as_raw(), claimed) };
        }
        if more > claimed {
            let flags = bindings::DQUOT_SPACE_WARN | bindings::DQUOT_SPACE_NOFAIL;
            // SAFETY: As for `reserve_quota`.
            unsafe { bindings::__dquot_alloc_space(self.as_raw(), more - claimed, flags as c_int) };
        }
    }

    /// Counts so many inodes more, in the transaction that is lent: this one, or others that nobody else counts. Its
    /// dquots must be there.
    ///
    /// # Errors
    ///
    /// `EDQUOT`; none is counted then.
    pub(crate) fn count_inodes(&self, inodes: u32) -> Result {
        if !self.is_counted() {
            return Ok(());
        }
        (0..inodes).try_for_each(|done| {
            // SAFETY: As for `reserve_quota`.
            to_result(unsafe { bindings::dquot_alloc_inode(self.as_raw()) })
                .inspect_err(|_| self.uncount_inodes(done))
        })
    }

    /// Counts so many inodes less, in the transaction that is lent.
    pub(crate) fn uncount_inodes(&self, inodes: u32) {
        if self.is_counted() && self.initialize_quota().is_ok() {
            for _ in 0..inodes {
                // SAFETY: As for `reserve_quota`.
                unsafe { bindings::dquot_free_inode(self.as_raw()) };
            }
        }
    }
}

impl Common {
    /// The project that the inode counts for.
    pub(crate) fn project(&self) -> u32 {
        // SAFETY: Every inode is the first field of an `INode`, with the same layout up to this field.
        unsafe { counted(self.as_raw()) }.project.load(Relaxed)
    }

    /// Sets it. What the inode has must not be counted yet, or be moved ([`Transfer`]).
    pub(crate) fn set_project(&self, project: u32) {
        // SAFETY: As above.
        unsafe { counted(self.as_raw()) }
            .project
            .store(project, Relaxed);
    }
}

/// The beginning of any `INode`.
#[repr(C)]
pub(super) struct Head {
    /// The VFS's part.
    pub(super) inode: Common,
    /// What is counted.
    pub(super) counted: Counted,
}

/// # Safety
///
/// `inode` must be the first field of a [`Head`] that lives as long as the reference.
unsafe fn counted<'a>(inode: *mut bindings::inode) -> &'a Counted {
    // SAFETY: By the function's requirements.
    &unsafe { &*inode.cast::<Head>() }.counted
}

/// `dquot_operations::get_reserved_space`.
///
/// # Safety
///
/// As for [`counted`].
unsafe extern "C" fn reserved_callback(inode: *mut bindings::inode) -> *mut bindings::qsize_t {
    // SAFETY: By the function's requirements.
    unsafe { counted(inode) }.reserved.get()
}

/// `super_operations::get_dquots`.
///
/// # Safety
///
/// As for [`counted`].
pub(super) unsafe extern "C" fn dquots_callback(
    inode: *mut bindings::inode,
) -> *mut *mut bindings::dquot {
    // SAFETY: By the function's requirements.
    unsafe { counted(inode) }.dquots.get().cast()
}

/// References on dquots that an inode is to have.
pub(crate) struct Transfer<'a> {
    inode: &'a Common,
    to: [*mut bindings::dquot; KINDS],
}

impl<'a> Transfer<'a> {
    fn none(inode: &'a Common) -> Self {
        Self {
            inode,
            to: [ptr::null_mut(); KINDS],
        }
    }

    /// Makes ready for another user or group, numbers of the initial user namespace. No transaction may be open.
    ///
    /// # Errors
    ///
    /// Those of [`Common::initialize_quota`].
    pub(crate) fn to_owner<T: FileSystem>(
        inode: &'a INode<T>,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<Self> {
        let mut this = Self::none(inode);
        if inode.is_counted() {
            inode.initialize_quota()?;
            if let Some(user) = user {
                this.get(Kind::User, user)?;
            }
            if let Some(group) = group {
                this.get(Kind::Group, group)?;
            }
        }
        Ok(this)
    }

    /// Makes ready for another project. No transaction may be open.
    ///
    /// # Errors
    ///
    /// Those of [`Common::initialize_quota`].
    pub(crate) fn to_project<T: FileSystem>(inode: &'a INode<T>, project: u32) -> Result<Self> {
        let mut this = Self::none(inode);
        if inode.is_counted() && inode.project() != project {
            inode.initialize_quota()?;
            this.get(Kind::Project, project)?;
        }
        Ok(this)
    }

    fn get(&mut self, kind: Kind, id: u32) -> Result {
        // SAFETY: The super block is valid, and quota is on.
        match from_err_ptr(unsafe { bindings::dqget(self.inode.sb(), kind.id(id)) }) {
            // That kind is not counted.
            Err(error) if error == ESRCH => Ok(()),
            Ok(dquot) => {
                if let Some(to) = self.to.get_mut(kind as usize) {
                    *to = dquot;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Moves what the inode has to them, in the transaction that is lent. It has `inodes` inodes, as was counted
    /// ([`Common::count_inodes`]). The caller then changes the owner, and sees to it that nobody else counts meanwhile.
    ///
    /// # Errors
    ///
    /// `EDQUOT`, and nothing has changed.
    pub(crate) fn carry_out(&mut self, inodes: u32) -> Result {
        if !self.inode.is_counted() {
            return Ok(());
        }
        // SAFETY: Every inode is the beginning of an `INode`.
        unsafe { counted(self.inode.as_raw()) }
            .inodes
            .store(inodes, Relaxed);
        // SAFETY: Valid; the array has references of ours, for which the callee gives others.
        to_result(unsafe { bindings::__dquot_transfer(self.inode.as_raw(), self.to.as_mut_ptr()) })
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        for dquot in self.to {
            // SAFETY: Null, or a reference of ours.
            unsafe { bindings::dqput(dquot) };
        }
    }
}

impl<T: FileSystem> Locked<'_, T> {
    /// Begins to count what owners of this kind have, in the file `inode`; their limits count if `limits`.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is no such file; those of [`FileSystem::quota_read`].
    pub(crate) fn enable_quota(&self, kind: Kind, inode: &INode<T>, limits: bool) -> Result {
        let sb = self.as_raw();
        let hidden = bindings::DQUOT_QUOTA_SYS_FILE | bindings::DQUOT_NOLIST_DIRTY;
        // SAFETY: Valid by the type's invariants; its `s_umount` is held, so nobody else changes that.
        unsafe { (*sb).s_dquot.flags |= hidden };
        inode.set_flag(bindings::S_NOQUOTA);
        let flags = USAGE | if limits { LIMITS } else { 0 };
        // A remount may be on its way to make the mount writable, which the VFS finds when it is over. It lets nobody
        // write before.
        let was_read_only = self.set_read_only(false);
        // SAFETY: An inode of the super block, whose `s_umount` is held.
        let result = to_result(unsafe {
            bindings::dquot_load_quota_inode(
                inode.as_raw(),
                kind.number(),
                bindings::QFMT_VFS_V1 as c_int,
                flags,
            )
        });
        self.set_read_only(was_read_only);
        result
    }

    /// From now on the limits of owners of this kind count, if what they have does.
    ///
    /// # Errors
    ///
    /// Those of the callee.
    pub(crate) fn enforce_quota(&self, kind: Kind) -> Result {
        let sb = self.as_raw();
        // SAFETY: Valid by the type's invariants.
        if unsafe { bindings::sb_has_quota_limits_enabled(sb, kind.number()) } {
            return Ok(());
        }
        let wanted = match kind {
            Kind::User => bindings::FS_QUOTA_UDQ_ENFD,
            Kind::Group => bindings::FS_QUOTA_GDQ_ENFD,
            Kind::Project => bindings::FS_QUOTA_PDQ_ENFD,
        };
        // SAFETY: As above; the table is set where quota can be on.
        match unsafe { (*sb).s_qcop.as_ref() }.and_then(|table| table.quota_enable) {
            // SAFETY: As above.
            Some(enable) => to_result(unsafe { enable(sb, wanted as _) }),
            None => Err(EINVAL),
        }
    }

    /// Whether quota is on, if only until the mount became read-only.
    pub(crate) fn has_quota(&self) -> bool {
        // SAFETY: Valid by the type's invariants.
        unsafe { bindings::sb_any_quota_loaded(self.as_raw()) != 0 }
    }

    /// Stops to count, as the mount becomes read-only.
    pub(crate) fn suspend_quota(&self) -> Result {
        // SAFETY: Valid by the type's invariants.
        if !unsafe { is_active(self.as_raw()) } {
            return Ok(());
        }
        // SAFETY: Valid by the type's invariants; its `s_umount` is held.
        to_result(unsafe { bindings::dquot_disable(self.as_raw(), -1, bindings::DQUOT_SUSPENDED) })
    }

    /// Goes on to count, if that was stopped.
    pub(crate) fn resume_quota(&self) -> Result {
        // SAFETY: Valid by the type's invariants; its `s_umount` is held.
        to_result(unsafe { bindings::dquot_resume(self.as_raw(), -1) })
    }
}

/// Stops to count: the quota files can go.
///
/// # Safety
///
/// The super block must be valid, and its `s_umount` held exclusively.
pub(super) unsafe fn disable(sb: *mut bindings::super_block) {
    // It fails where nothing was counted.
    // SAFETY: By the function's requirements.
    unsafe { bindings::dquot_disable(sb, -1, USAGE | LIMITS) };
}

impl<T: FileSystem> SuperBlock<T> {
    /// Lets `statfs(2)` of a directory tell of what its project may have, if there are limits.
    ///
    /// # Errors
    ///
    /// Those of getting the project's dquot.
    pub(crate) fn limit_to_project(&self, project: u32, to: &mut StatFs) -> Result {
        let kind = Kind::Project;
        // SAFETY: Valid by the type's invariants.
        if !unsafe { bindings::sb_has_quota_limits_enabled(self.as_raw(), kind.number()) } {
            return Ok(());
        }
        // SAFETY: As above, and quota is on.
        let dquot = from_err_ptr(unsafe { bindings::dqget(self.as_raw(), kind.id(project)) })?;
        // SAFETY: A reference of ours.
        let lock = unsafe { &raw mut (*dquot).dq_dqb_lock };
        // SAFETY: As above.
        unsafe { bindings::spin_lock(lock) };
        // SAFETY: As above, and locked.
        let record = unsafe { (*dquot).dq_dqb };
        // SAFETY: Locked above.
        unsafe { bindings::spin_unlock(lock) };
        // SAFETY: Ours, and not used any more.
        unsafe { bindings::dqput(dquot) };
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let limit = |soft: i64, hard: i64| match (number(soft), number(hard)) {
            (0, other) | (other, 0) => other,
            (soft, hard) => soft.min(hard),
        };
        let used = number(record.dqb_curspace.saturating_add(record.dqb_rsvspace));
        to.limit_blocks(limit(record.dqb_bsoftlimit, record.dqb_bhardlimit), used);
        let used = number(record.dqb_curinodes);
        to.limit_inodes(limit(record.dqb_isoftlimit, record.dqb_ihardlimit), used);
        Ok(())
    }
}

/// The tables of `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const OPERATIONS: bindings::dquot_operations = bindings::dquot_operations {
        write_dquot: Some(Self::write_dquot),
        alloc_dquot: Some(bindings::dquot_alloc),
        destroy_dquot: Some(bindings::dquot_destroy),
        acquire_dquot: Some(Self::acquire_dquot),
        release_dquot: Some(Self::release_dquot),
        mark_dirty: Some(Self::mark_dirty),
        write_info: Some(Self::write_info),
        get_reserved_space: Some(reserved_callback),
        get_projid: Some(Self::get_projid),
        get_inode_usage: Some(Self::get_inode_usage),
        get_next_id: Some(bindings::dquot_get_next_id),
        ..pin_init::zeroed()
    };

    /// Gives a super block its tables, for these kinds of owners.
    ///
    /// # Safety
    ///
    /// `sb` must be a super block of `T` that is being filled.
    pub(super) unsafe fn set(sb: *mut bindings::super_block) {
        // SAFETY: By the function's requirements: nobody else uses it.
        unsafe { (*sb).dq_op = &Self::OPERATIONS };
        // SAFETY: As above; the table is static.
        unsafe { (*sb).s_qcop = &raw const bindings::dquot_quotactl_sysfile_ops };
        let kinds = bindings::QTYPE_MASK_USR | bindings::QTYPE_MASK_GRP | bindings::QTYPE_MASK_PRJ;
        // SAFETY: As above.
        unsafe { (*sb).s_quota_types = kinds };
    }

    /// Runs `f` in a transaction that `what` fits in.
    ///
    /// # Safety
    ///
    /// `sb` must be a super block of `T` on which quota is on or is being turned off.
    unsafe fn change(
        sb: *mut bindings::super_block,
        what: Change,
        mut f: impl FnMut() -> c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the function's requirements; then its data is there.
            let sb = unsafe { SuperBlock::from_raw(sb) };
            T::quota_change(sb, what, &mut || to_result(f()))?;
            Ok(0)
        })
    }

    /// `write_dquot`: a record that has changed is written.
    ///
    /// # Safety
    ///
    /// For the quota code, with an active dquot of a super block of `T`.
    unsafe extern "C" fn write_dquot(dquot: *mut bindings::dquot) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe {
            Self::change((*dquot).dq_sb, Change::Record, || {
                bindings::dquot_commit(dquot)
            })
        }
    }

    /// `acquire_dquot`: a record is read, or made.
    ///
    /// # Safety
    ///
    /// For the quota code, with a dquot of a super block of `T`.
    unsafe extern "C" fn acquire_dquot(dquot: *mut bindings::dquot) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe {
            Self::change((*dquot).dq_sb, Change::Acquire, || {
                bindings::dquot_acquire(dquot)
            })
        }
    }

    /// `release_dquot`: nobody uses the dquot any more.
    ///
    /// # Safety
    ///
    /// For the quota code, with an active dquot of a super block of `T`.
    unsafe extern "C" fn release_dquot(dquot: *mut bindings::dquot) -> c_int {
        let mut done = false;
        // SAFETY: By the function's requirements.
        let result = unsafe {
            Self::change((*dquot).dq_sb, Change::Release, || {
                done = true;
                bindings::dquot_release(dquot)
            })
        };
        if !done {
            // Whoever calls would try again without end.
            // SAFETY: By the function's requirements.
            unsafe { bindings::dquot_release(dquot) };
        }
        result
    }

    /// `mark_dirty`: a record has changed. It is written at once, as it belongs to the transaction of what was counted.
    ///
    /// # Safety
    ///
    /// For the quota code, with a dquot of a super block of `T`.
    unsafe extern "C" fn mark_dirty(dquot: *mut bindings::dquot) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe { bindings::dquot_mark_dquot_dirty(dquot) };
        // SAFETY: As above.
        unsafe { Self::write_dquot(dquot) }
    }

    /// `write_info`: what is said of all records of a kind has changed.
    ///
    /// # Safety
    ///
    /// For the quota code, with a super block of `T` on which quota is on, or being turned off.
    unsafe extern "C" fn write_info(sb: *mut bindings::super_block, kind: c_int) -> c_int {
        // SAFETY: By the function's requirements.
        unsafe { Self::change(sb, Change::Info, || bindings::dquot_commit_info(sb, kind)) }
    }

    /// `get_projid`.
    ///
    /// # Safety
    ///
    /// For the quota code, with an inode of a super block of `T`, and a place for the answer.
    unsafe extern "C" fn get_projid(
        inode: *mut bindings::inode,
        to: *mut bindings::kprojid_t,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let project = unsafe { counted(inode) }.project.load(Relaxed);
        // SAFETY: By the function's requirements.
        unsafe { (*to).val = project };
        0
    }

    /// `get_inode_usage`: how many inodes are transferred.
    ///
    /// # Safety
    ///
    /// For the quota code, with an inode of a super block of `T`, in [`Transfer::carry_out`], and a place for the
    /// answer.
    unsafe extern "C" fn get_inode_usage(
        inode: *mut bindings::inode,
        to: *mut bindings::qsize_t,
    ) -> c_int {
        // SAFETY: By the function's requirements.
        let inodes = unsafe { counted(inode) }.inodes.load(Relaxed);
        // SAFETY: By the function's requirements.
        unsafe { *to = inodes.into() };
        0
    }

    /// The quota file of a kind.
    ///
    /// # Safety
    ///
    /// `sb` must be a super block of `T` that has one of this kind, which stays for the lifetime.
    unsafe fn file<'a>(sb: *mut bindings::super_block, kind: c_int) -> Result<&'a INode<T>> {
        let kind = usize::try_from(kind).map_err(|_| EINVAL)?;
        // SAFETY: By the function's requirements.
        let files = unsafe { (*sb).s_dquot.files };
        let inode = *files.get(kind).ok_or(EINVAL)?;
        if inode.is_null() {
            return Err(EIO);
        }
        // SAFETY: By the function's requirements: it was ready when it became a quota file.
        Ok(unsafe { INode::from_raw(inode) })
    }

    /// `super_operations::quota_read`.
    ///
    /// # Safety
    ///
    /// For the quota code, with a super block of `T`, a kind that it has a file of, and room for `len` bytes.
    pub(super) unsafe extern "C" fn read(
        sb: *mut bindings::super_block,
        kind: c_int,
        to: *mut c_char,
        len: usize,
        pos: bindings::loff_t,
    ) -> isize {
        from_result(|| {
            // SAFETY: By the function's requirements.
            let file = unsafe { Self::file(sb, kind)? };
            // SAFETY: By the function's requirements; any bytes may be there.
            let to = unsafe {
                ptr::write_bytes(to, 0, len);
                slice::from_raw_parts_mut(to.cast::<u8>(), len)
            };
            let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
            Ok(T::quota_read(file, pos, to)? as isize)
        })
    }

    /// `super_operations::quota_write`.
    ///
    /// # Safety
    ///
    /// For the quota code, with a super block of `T`, a kind that it has a file of, and `len` bytes. It is called in
    /// [`Self::change`].
    pub(super) unsafe extern "C" fn write(
        sb: *mut bindings::super_block,
        kind: c_int,
        from: *const c_char,
        len: usize,
        pos: bindings::loff_t,
    ) -> isize {
        from_result(|| {
            // SAFETY: By the function's requirements.
            let file = unsafe { Self::file(sb, kind)? };
            // SAFETY: By the function's requirements.
            let from = unsafe { slice::from_raw_parts(from.cast::<u8>(), len) };
            let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
            T::quota_write(file, pos, from)?;
            Ok(len as isize)
        })
    }
}
