// SPDX-License-Identifier: GPL-2.0

//! The mount options: those of ext4, all of them, so that a line of `fstab` that is for ext4 is good for this, too.
//!
//! An option does what it says; or it is taken, and the log is told why it changes nothing here ([`WORDS`]); or it is
//! refused by name. What it takes: a number, an entry of [`PARAMETERS`], and
//!
//! * for one that is on or off: a [`Switch`] and a line in [`SWITCHES`], by which it is shown;
//! * for one with a number: a [`Number`] and a line in [`NUMBERS`];
//! * for all others: a field of [`Options`], an arm of [`parse`] and a line of [`Options::show`].
//!
//! What the super block says stands below what the mount was told: [`Options::complete`].

mod table;

use crate::disk::features::ro_compat;
use crate::disk::layout::ReserveOwner;
use crate::disk::superblock::{default_option, ErrorPolicy, RawSuper};
use crate::linux::dax;
use crate::linux::fs_context::{FsContext, Value};
use crate::linux::jbd2::Parameters;
use crate::linux::quota::Kind;
use crate::ops::Fs;
use kernel::fmt;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;
use table::*;
pub(crate) use table::{Number, Switch};
pub(crate) use table::{PARAMETERS, PRIMARY};
use Switch::*;

/// Which regular files have no page cache, where the device is memory: `dax=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dax {
    /// Nothing was said: as [`Self::ByFlag`].
    Unset,
    /// `dax`, `dax=always`: all.
    Always,
    /// `dax=inode`: those with the flag, as it was when they came into memory.
    ByFlag,
    /// `dax=never`: none.
    Never,
}

impl Dax {
    /// Whether the flag of an inode counts.
    pub(crate) fn goes_by_flag(self) -> bool {
        matches!(self, Self::Unset | Self::ByFlag)
    }
}

/// `data=`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    Ordered,
    Writeback,
}

/// How a file system is to be mounted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// `ro`
    pub(crate) read_only: bool,
    /// Which switches were given, which of those are on, and which are on if they are not given. A bit for each.
    given: u32,
    on: u32,
    default: u32,
    numbers: [Option<u32>; COUNT],
    /// `errors=`
    errors: Option<ErrorPolicy>,
    /// What the super block says of that.
    default_errors: ErrorPolicy,
    data: Option<Data>,
    /// What the volume says of that; nothing if it does not, and the mount was told.
    default_data: Option<Data>,
    /// Whom the super block gives the reserve.
    default_reserve: ReserveOwner,
    extra_isize: Option<u32>,
    quota_format: Option<u32>,
    /// Whether quota files were named that users see.
    quota_files: bool,
    /// Whether what owners have is counted, and whether projects are among them.
    counts: bool,
    has_projects: bool,
    /// `dax`, `dax=`.
    pub(crate) dax: Dax,
    /// The numbers of all options that were given, for [`WORDS`]: a bit for each.
    said: u128,
    /// Whether the options in the super block are none.
    has_bad_text: bool,
}

/// The bits of switches.
const fn bits(switches: &[Switch]) -> u32 {
    let mut left = switches;
    let mut bits = 0;
    while let [switch, rest @ ..] = left {
        bits |= 1 << *switch as u32;
        left = rest;
    }
    bits
}

/// Those that are on where nobody says anything.
const DEFAULT: u32 = bits(&[
    BlockValidity,
    DioReadNoLock,
    DelayedAllocation,
    Barrier,
    InitItable,
    UserAttributes,
    Acls,
]);

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            given: 0,
            on: 0,
            default: DEFAULT,
            numbers: [None; COUNT],
            errors: None,
            default_errors: ErrorPolicy::Continue,
            data: None,
            default_data: None,
            default_reserve: ReserveOwner { uid: 0, gid: 0 },
            extra_isize: None,
            quota_format: None,
            quota_files: false,
            counts: false,
            has_projects: false,
            dax: Dax::Unset,
            said: 0,
            has_bad_text: false,
        }
    }
}

/// Refuses an option, and says so.
fn refuse(context: &FsContext, why: fmt::Arguments<'_>) -> Result {
    context.error(why);
    Err(EINVAL)
}

/// Takes one of [`PARAMETERS`].
///
/// # Errors
///
/// `EINVAL` for what is refused, with a line in the log.
pub(crate) fn parse(
    context: &FsContext,
    options: &mut Options,
    option: u8,
    value: Value,
) -> Result {
    let mut said = option;
    match option {
        ..OFF => options.set(option, true),
        OFF..NUMBER => options.set(option.wrapping_sub(OFF), false),
        NUMBER..ERRORS => options.take_number(context, option, value.number)?,
        ERRORS => {
            options.errors = Some(match value.number as i32 {
                ERRORS_CONTINUE => ErrorPolicy::Continue,
                ERRORS_READ_ONLY => ErrorPolicy::ReadOnly,
                ERRORS_PANIC => ErrorPolicy::Panic,
                _ => return Err(EINVAL),
            });
        }
        BARRIER_IS => options.set(on(Barrier), value.number != 0),
        AUTO_DA_ALLOC_IS => options.set(on(NoAutoDaAlloc), value.number == 0),
        OPTIMIZE_SCAN_IS => {
            if value.number > 1 {
                return refuse(context, fmt!("mb_optimize_scan must be 0 or 1"));
            }
            options.set(on(OptimizeScan), value.number != 0);
            said = on(OptimizeScan);
        }
        DAX | DAX_IS if !dax::SUPPORTED => {
            return refuse(context, fmt!("dax: the kernel cannot do it"));
        }
        DAX => options.dax = Dax::Always,
        DAX_IS => {
            options.dax = match value.number as i32 {
                DAX_ALWAYS => Dax::Always,
                DAX_INODE => Dax::ByFlag,
                DAX_NEVER => Dax::Never,
                _ => return Err(EINVAL),
            };
        }
        DATA => {
            let data = match value.number as i32 {
                DATA_IS_ORDERED => Data::Ordered,
                DATA_IS_WRITEBACK => Data::Writeback,
                _ => {
                    return refuse(
                        context,
                        fmt!("data=journal: data does not go through the journal"),
                    )
                }
            };
            options.data = Some(data);
            said = match data {
                Data::Ordered => DATA_ORDERED,
                Data::Writeback => DATA_WRITEBACK,
            };
        }
        DATA_ERR => options.set(on(DataErrorsStop), value.number != 0),
        USER_QUOTA => {
            options.set(on(Quota), true);
            options.set(on(UserQuota), true);
        }
        NO_QUOTA => {
            for limits in [Quota, UserQuota, GroupQuota, ProjectQuota] {
                options.set(on(limits), false);
            }
        }
        QUOTA_FILE => options.quota_files |= !value.is_empty,
        QUOTA_FORMAT => options.quota_format = Some(value.number),
        JOURNAL_DEVICE => {
            return refuse(
                context,
                fmt!("journal_dev, journal_path: a journal on another device is not supported"),
            );
        }
        JOURNAL_IO_PRIORITY if value.number > 7 => {
            return refuse(context, fmt!("journal_ioprio must be from 0 to 7"));
        }
        JOURNAL_IO_PRIORITY | REMOVED => {}
        EXTRA_ISIZE if value.number & 1 != 0 || value.number < 4 => {
            return refuse(
                context,
                fmt!("debug_want_extra_isize={} cannot be", value.number),
            );
        }
        EXTRA_ISIZE => options.extra_isize = Some(value.number),
        DUMMY_ENCRYPTION => {
            return refuse(
                context,
                fmt!("test_dummy_encryption: encryption is not supported"),
            );
        }
        // They only say what is. But mount(8) gives all that /proc/mounts shows back to a remount.
        SHOWN_ONLY if context.is_remount() => {}
        SHOWN_ONLY => {
            return refuse(
                context,
                fmt!("emergency_ro and shutdown only show what is: they are no options"),
            );
        }
        _ => return Err(EINVAL),
    }
    options.said |= 1_u128.wrapping_shl(said.into());
    Ok(())
}

impl Options {
    fn set(&mut self, switch: u8, is_on: bool) {
        let bit = 1_u32.wrapping_shl(switch.into());
        self.given |= bit;
        match is_on {
            true => self.on |= bit,
            false => self.on &= !bit,
        }
    }

    fn take_number(&mut self, context: &FsContext, option: u8, value: u32) -> Result {
        let mut value = value;
        if option == number(Number::Commit) {
            match value {
                // As everywhere: the default.
                0 => value = 5,
                ..=COMMIT_MAX => {}
                seconds => {
                    return refuse(context, fmt!("commit={seconds} is more than {COMMIT_MAX}"))
                }
            }
        } else if option == number(Number::InodeReadahead) {
            if value != 0 && (value > 1 << 30 || !value.is_power_of_two()) {
                return refuse(
                    context,
                    fmt!("inode_readahead_blks must be 0 or a power of 2 up to 2^30"),
                );
            }
        } else if option == number(Number::InitItableWait) {
            self.set(on(InitItable), true);
        } else if option == number(Number::Copy) && context.is_remount() {
            // As /proc/mounts shows it.
            return Ok(());
        }
        if let Some(slot) = self
            .numbers
            .get_mut(usize::from(option.wrapping_sub(NUMBER)))
        {
            *slot = Some(value);
        }
        Ok(())
    }

    /// All switches that are on, a bit for each.
    pub(crate) fn switches(&self) -> u32 {
        self.default & !self.given | self.on & self.given
    }

    /// Whether a switch is on.
    pub(crate) fn has(&self, switch: Switch) -> bool {
        Self::is_among(self.switches(), switch)
    }

    /// Whether a switch is among those that are on.
    pub(crate) fn is_among(switches: u32, switch: Switch) -> bool {
        switches & bits(&[switch]) != 0
    }

    /// A number: what was given, or what the volume or everybody has.
    pub(crate) fn number(&self, which: Number) -> u32 {
        let at = which as usize;
        let default = NUMBERS.get(at).map_or(0, |&(_, default)| default);
        self.numbers.get(at).copied().flatten().unwrap_or(default)
    }

    fn give(&mut self, which: Number, value: u32) {
        if let Some(slot) = self.numbers.get_mut(which as usize) {
            *slot = Some(value);
        }
    }

    fn give_default(&mut self, which: Number, value: u32) {
        if let Some(slot) = self.numbers.get_mut(which as usize) {
            slot.get_or_insert(value);
        }
    }

    /// What is done when an error is found.
    pub(crate) fn error_policy(&self) -> ErrorPolicy {
        self.errors.unwrap_or(self.default_errors)
    }

    /// Who may use the reserve.
    pub(crate) fn reserve_owner(&self) -> ReserveOwner {
        ReserveOwner {
            uid: self.number(Number::ReserveUser),
            gid: self.number(Number::ReserveGroup),
        }
    }

    /// Whether the journal is not looked at: as asked for, or as a copy of the super block does not know how it is.
    pub(crate) fn is_without_journal(&self) -> bool {
        self.has(NoRecovery) || self.number(Number::Copy) != PRIMARY
    }

    /// How the journal commits.
    pub(crate) fn journal(&self) -> Parameters {
        Parameters {
            interval_seconds: self.number(Number::Commit),
            barrier: self.has(Barrier),
            cycle_record: true,
        }
    }

    /// Puts what the super block says below what the mount was told.
    ///
    /// # Errors
    ///
    /// `E2BIG` where the options in the super block have no end, as with ext4; `EINVAL`, with a line in the log, where
    /// options cannot be or do not go together; `ENOMEM`.
    pub(crate) fn complete(&mut self, context: &FsContext, raw: &RawSuper) -> Result {
        let volume = Self::of_volume(context, raw)?;
        self.default = volume.switches();
        for (number, volume) in self.numbers.iter_mut().zip(volume.numbers) {
            *number = number.or(volume);
        }
        self.errors = self.errors.or(volume.errors);
        self.default_errors = volume.default_errors;
        let data = self.data.or(volume.data);
        let by_volume = volume.data.or(volume.default_data);
        self.default_data = by_volume.or(self.data.is_none().then_some(Data::Ordered));
        self.default_reserve = volume.default_reserve;
        self.extra_isize = self.extra_isize.or(volume.extra_isize);
        self.quota_format = self.quota_format.or(volume.quota_format);
        if self.dax == Dax::Unset {
            self.dax = volume.dax;
        }
        self.said |= volume.said;
        self.has_bad_text = volume.has_bad_text;
        if data.is_none()
            && raw.default_options() & default_option::DATA_MODE == default_option::DATA_JOURNAL
        {
            return refuse(
                context,
                fmt!("the super block asks for data=journal, which is not supported: mount with -o data=ordered"),
            );
        }
        let owner = self.default_reserve;
        self.give_default(Number::ReserveUser, owner.uid);
        self.give_default(Number::ReserveGroup, owner.gid);
        let stripe = stripe(self.number(Number::Stripe), raw);
        self.give(Number::Stripe, stripe);
        let features = raw.features();
        self.counts = features.has_ro_compat(ro_compat::QUOTA);
        self.has_projects = features.has_ro_compat(ro_compat::PROJECT);
        let room = u32::from(raw.inode_size.get()).saturating_sub(128);
        if let Some(size) = self.extra_isize.filter(|size| *size > room) {
            return refuse(
                context,
                fmt!("debug_want_extra_isize={size}: inodes have room for {room}"),
            );
        }
        self.check(context)
    }

    /// What the super block says: fields, and a text of options that is taken whole or not at all.
    fn of_volume(context: &FsContext, raw: &RawSuper) -> Result<Self> {
        let fields = raw.default_options();
        let mut default = DEFAULT;
        for (field, switch) in [
            (default_option::DEBUG, Debug),
            (default_option::BSD_GROUPS, GroupOfDirectory),
            (default_option::UID16, NoUid32),
            (default_option::DISCARD, Discard),
        ] {
            if fields & field != 0 {
                default |= bits(&[switch]);
            }
        }
        for (field, switch) in [
            (default_option::NO_BARRIER, Barrier),
            (default_option::NO_DELALLOC, DelayedAllocation),
        ] {
            if fields & field != 0 {
                default &= !bits(&[switch]);
            }
        }
        if raw.csum_seed().is_some() {
            default |= bits(&[JournalChecksum]);
        }
        let fields = Self {
            default,
            default_errors: raw.error_policy(),
            default_data: match fields & default_option::DATA_MODE {
                default_option::DATA_WRITEBACK => Some(Data::Writeback),
                default_option::DATA_ORDERED => Some(Data::Ordered),
                _ => None,
            },
            default_reserve: raw.reserve_owner(),
            ..Self::default()
        };
        let text = raw.option_text().ok_or(E2BIG)?;
        let mut volume = fields;
        match context.parse_text::<Fs>(&mut volume, text) {
            Ok(()) => Ok(volume),
            Err(error) if error == ENOMEM => Err(error),
            Err(_) => Ok(Self {
                has_bad_text: true,
                ..fields
            }),
        }
    }

    /// What only the volume as a whole tells.
    pub(crate) fn note_groups(&mut self, groups: u32) {
        if groups >= MANY_GROUPS {
            self.default |= bits(&[OptimizeScan]);
        }
    }

    /// Whether options go together.
    fn check(&self, context: &FsContext) -> Result {
        if self.has(JournalAsyncCommit) && self.data() == Data::Ordered {
            return refuse(
                context,
                fmt!("journal_async_commit does not go with data=ordered"),
            );
        }
        if self.quota_files && !self.counts {
            return refuse(
                context,
                fmt!(
                    "usrjquota, grpjquota: quota files that users see are not supported: \
                    use tune2fs -O quota"
                ),
            );
        }
        if (self.has(UserQuota) || self.has(GroupQuota)) && !self.counts {
            return refuse(
                context,
                fmt!(
                    "usrquota, grpquota: the volume does not count, so nobody would be held to a limit: \
                    use tune2fs -O quota"
                ),
            );
        }
        if self.has(ProjectQuota) && !(self.counts && self.has_projects) {
            return refuse(
                context,
                fmt!("prjquota: the volume has no projects that are counted: use tune2fs -O quota,project"),
            );
        }
        Ok(())
    }

    /// Whether owners of this kind are held to their limits.
    pub(crate) fn has_limits(&self, kind: Kind) -> bool {
        self.has(match kind {
            Kind::User => UserQuota,
            Kind::Group => GroupQuota,
            Kind::Project => ProjectQuota,
        })
    }

    /// What a remount from `old` must not change, and what it leaves as it was.
    ///
    /// # Errors
    ///
    /// `EINVAL`, with a line in the log.
    pub(crate) fn check_remount(&mut self, context: &FsContext, old: &Self) -> Result {
        for (fixed, name) in [(NoRecovery, "norecovery"), (NoSharing, "nombcache")] {
            if self.has(fixed) != old.has(fixed) {
                return refuse(context, fmt!("{name} cannot be changed by a remount"));
            }
        }
        if self.data() != old.data() {
            return refuse(context, fmt!("data= cannot be changed by a remount"));
        }
        if self.dax != old.dax {
            return refuse(context, fmt!("dax cannot be changed by a remount"));
        }
        if Kind::ALL
            .into_iter()
            .any(|kind| old.has_limits(kind) && !self.has_limits(kind))
        {
            return refuse(context, fmt!("noquota cannot be set by a remount"));
        }
        if old.has(DelayedAllocation) && !self.has(DelayedAllocation) {
            return refuse(context, fmt!("nodelalloc cannot be set by a remount"));
        }
        self.set(on(JournalChecksum), old.has(JournalChecksum));
        self.check(context)
    }

    fn data(&self) -> Data {
        self.data.or(self.default_data).unwrap_or(Data::Ordered)
    }

    /// Gives `tell` a line on each option that was given since `before` and does nothing here, or not what it does on
    /// ext4.
    pub(crate) fn explain(&self, before: Option<&Self>, mut tell: impl FnMut(fmt::Arguments<'_>)) {
        let new = self.said & !before.map_or(0, |before| before.said);
        for (option, name, why) in WORDS {
            if new & 1_u128.wrapping_shl((*option).into()) != 0 {
                tell(fmt!("option {name} changes nothing: {why}"));
            }
        }
        if self.has_bad_text && before.is_none() {
            tell(fmt!(
                "the options in the super block cannot be parsed: all of them are ignored"
            ));
        }
    }

    /// Writes those that differ from what the volume has, each as `,name` or `,name=value`, as ext4 does.
    pub(crate) fn show(&self, to: &SeqFile) {
        self.show_number(to, Number::Copy);
        let now = self.switches();
        for &(switch, is_on, is_off) in SWITCHES {
            let changed = Self::is_among(now ^ self.default, switch);
            let name = if Self::is_among(now, switch) {
                is_on
            } else {
                is_off
            };
            if changed && !name.is_empty() {
                seq_print!(to, ",{name}");
            }
        }
        let ReserveOwner { uid, gid } = self.default_reserve;
        for (which, default) in [(Number::ReserveUser, uid), (Number::ReserveGroup, gid)] {
            match self.number(which) {
                0 if default != 0 => self.print_number(to, which),
                _ => self.show_number(to, which),
            }
        }
        if self.error_policy() != self.default_errors {
            let name = match self.error_policy() {
                ErrorPolicy::Continue => "continue",
                ErrorPolicy::ReadOnly => "remount-ro",
                ErrorPolicy::Panic => "panic",
            };
            seq_print!(to, ",errors={name}");
        }
        self.show_number(to, Number::Commit);
        self.show_number(to, Number::MinBatchTime);
        self.show_number(to, Number::MaxBatchTime);
        self.show_number(to, Number::Stripe);
        match self.data() {
            data if self.default_data == Some(data) => {}
            Data::Ordered => seq_print!(to, ",data=ordered"),
            Data::Writeback => seq_print!(to, ",data=writeback"),
        }
        self.show_number(to, Number::InodeReadahead);
        if self.has(InitItable) {
            self.show_number(to, Number::InitItableWait);
        }
        self.show_number(to, Number::MaxDirSize);
        if self.has(DataErrorsStop) {
            seq_print!(to, ",data_err=abort");
        }
        if self.has(InlineCrypt) {
            seq_print!(to, ",inlinecrypt");
        }
        match self.dax {
            Dax::Unset => {}
            Dax::Always => seq_print!(to, ",dax=always"),
            Dax::ByFlag => seq_print!(to, ",dax=inode"),
            Dax::Never => seq_print!(to, ",dax=never"),
        }
        if Self::is_among(now ^ self.default, OptimizeScan) {
            seq_print!(to, ",mb_optimize_scan={}", u8::from(self.has(OptimizeScan)));
        }
    }

    /// Writes those that are shown behind what an error or a shutdown adds.
    pub(crate) fn show_last(&self, to: &SeqFile) {
        // A volume that counts has quota files of its own, of the format that there is.
        match self.quota_format.filter(|_| !self.counts) {
            Some(QUOTA_OLD) => seq_print!(to, ",jqfmt=vfsold"),
            Some(QUOTA_V0) => seq_print!(to, ",jqfmt=vfsv0"),
            Some(QUOTA_V1) => seq_print!(to, ",jqfmt=vfsv1"),
            _ => {}
        }
    }

    /// Writes a number that is not the one that everybody has.
    fn show_number(&self, to: &SeqFile, which: Number) {
        let default = NUMBERS.get(which as usize).map(|&(_, default)| default);
        if default != Some(self.number(which)) {
            self.print_number(to, which);
        }
    }

    fn print_number(&self, to: &SeqFile, which: Number) {
        if let Some((name, _)) = NUMBERS.get(which as usize) {
            seq_print!(to, ",{name}={}", self.number(which));
        }
    }
}

/// `stripe=` as ext4 has it: what was given, or what the super block says, if a group has so many blocks.
fn stripe(given: u32, raw: &RawSuper) -> u32 {
    let fits = |blocks: &u32| *blocks != 0 && *blocks <= raw.blocks_per_group.get();
    [
        given,
        raw.raid_stripe_width.get(),
        raw.raid_stride.get().into(),
    ]
    .into_iter()
    .find(fits)
    .filter(|blocks| *blocks > 1)
    .unwrap_or(0)
}
