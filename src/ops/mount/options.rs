// SPDX-License-Identifier: GPL-2.0

//! The mount options: a constant, an entry of [`PARAMETERS`], a field of [`Options`], an arm of [`parse`] and a line of
//! [`Options::show`] each.

use crate::disk::superblock::ErrorPolicy;
use crate::linux::dax;
use crate::linux::fs_context::{Constant, FsContext, Parameter, Value};
use crate::linux::jbd2::Parameters;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::seq_print;

const ERRORS: u8 = 1;
const COMMIT: u8 = 2;
const BARRIER: u8 = 3;
const BARRIER_IS: u8 = 4;
const DISCARD: u8 = 5;
const NOLOAD: u8 = 6;
const EMERGENCY_RO: u8 = 7;
const AUTO_DA_ALLOC: u8 = 8;
const AUTO_DA_ALLOC_IS: u8 = 9;
const DAX: u8 = 10;
const DAX_IS: u8 = 11;
const ACL: u8 = 12;
const USER_XATTR: u8 = 13;

const ERRORS_CONTINUE: i32 = 1;
const ERRORS_READ_ONLY: i32 = 2;
const ERRORS_PANIC: i32 = 3;

static ERROR_POLICIES: [Constant; 4] = [
    Constant::new(c"continue", ERRORS_CONTINUE),
    Constant::new(c"remount-ro", ERRORS_READ_ONLY),
    Constant::new(c"panic", ERRORS_PANIC),
    Constant::END,
];

const DAX_ALWAYS: i32 = 1;
const DAX_INODE: i32 = 2;
const DAX_NEVER: i32 = 3;

static DAX_MODES: [Constant; 4] = [
    Constant::new(c"always", DAX_ALWAYS),
    Constant::new(c"inode", DAX_INODE),
    Constant::new(c"never", DAX_NEVER),
    Constant::END,
];

/// The options, as the VFS parses them.
pub(crate) static PARAMETERS: [Parameter; 14] = [
    Parameter::one_of(c"errors", ERRORS, &ERROR_POLICIES),
    Parameter::u32(c"commit", COMMIT),
    Parameter::flag_no(c"barrier", BARRIER),
    Parameter::u32(c"barrier", BARRIER_IS),
    Parameter::flag_no(c"discard", DISCARD),
    Parameter::flag_no(c"auto_da_alloc", AUTO_DA_ALLOC),
    Parameter::u32(c"auto_da_alloc", AUTO_DA_ALLOC_IS),
    Parameter::flag_no(c"acl", ACL),
    Parameter::flag_no(c"user_xattr", USER_XATTR),
    Parameter::flag(c"dax", DAX),
    Parameter::one_of(c"dax", DAX_IS, &DAX_MODES),
    Parameter::flag(c"noload", NOLOAD),
    Parameter::flag(c"emergency_ro", EMERGENCY_RO),
    Parameter::END,
];

/// The longest time between commits, in seconds; what is beyond it cannot be meant.
const COMMIT_MAX: u32 = 3600;

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

/// How a file system is to be mounted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// `ro`
    pub(crate) read_only: bool,
    /// `noload`: the journal is not looked at.
    pub(crate) noload: bool,
    /// `errors=`; `None` for what the super block says.
    pub(crate) errors: Option<ErrorPolicy>,
    /// `commit=`, in seconds, at least 1.
    pub(crate) commit_interval: u32,
    /// `barrier`: commits flush the device's cache.
    pub(crate) barrier: bool,
    /// `discard`: freed blocks are discarded on the device.
    pub(crate) discard: bool,
    /// `auto_da_alloc`: what replaces a file is written back first.
    pub(crate) auto_da_alloc: bool,
    /// `acl`: access control lists decide who may do what.
    pub(crate) acl: bool,
    /// `user_xattr`: users may have extended attributes.
    pub(crate) user_xattr: bool,
    /// `dax`, `dax=`.
    pub(crate) dax: Dax,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            noload: false,
            errors: None,
            commit_interval: 5,
            barrier: true,
            discard: false,
            auto_da_alloc: true,
            acl: true,
            user_xattr: true,
            dax: Dax::Unset,
        }
    }
}

/// Takes one of [`PARAMETERS`].
///
/// # Errors
///
/// `EINVAL` for a value that there is not.
pub(crate) fn parse(
    context: &FsContext,
    options: &mut Options,
    number: u8,
    value: Value,
) -> Result {
    match number {
        ERRORS => {
            options.errors = Some(match value.number as i32 {
                ERRORS_CONTINUE => ErrorPolicy::Continue,
                ERRORS_READ_ONLY => ErrorPolicy::ReadOnly,
                ERRORS_PANIC => ErrorPolicy::Panic,
                _ => return Err(EINVAL),
            });
        }
        COMMIT => {
            options.commit_interval = match value.number {
                // As everywhere: the default.
                0 => Options::default().commit_interval,
                seconds @ ..=COMMIT_MAX => seconds,
                seconds => {
                    context.error(fmt!("commit={seconds} is more than {COMMIT_MAX}"));
                    return Err(EINVAL);
                }
            };
        }
        BARRIER => options.barrier = !value.negated,
        BARRIER_IS => options.barrier = value.number != 0,
        DISCARD => options.discard = !value.negated,
        AUTO_DA_ALLOC => options.auto_da_alloc = !value.negated,
        AUTO_DA_ALLOC_IS => options.auto_da_alloc = value.number != 0,
        ACL => options.acl = !value.negated,
        USER_XATTR => options.user_xattr = !value.negated,
        DAX | DAX_IS if !dax::SUPPORTED => {
            context.error(fmt!("dax: the kernel cannot do it"));
            return Err(EINVAL);
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
        NOLOAD => options.noload = true,
        // Only says what is. But mount(8) gives all that /proc/mounts shows back to a remount.
        EMERGENCY_RO => {}
        _ => return Err(EINVAL),
    }
    Ok(())
}

impl Options {
    /// How the journal commits.
    pub(crate) fn journal(&self) -> Parameters {
        Parameters {
            interval_seconds: self.commit_interval,
            barrier: self.barrier,
            cycle_record: true,
        }
    }

    /// Writes those that differ from the defaults, each as `,name` or `,name=value`.
    pub(crate) fn show(&self, to: &SeqFile) {
        let (options, default) = (self, Self::default());
        if let Some(policy) = options.errors {
            let name = match policy {
                ErrorPolicy::Continue => "continue",
                ErrorPolicy::ReadOnly => "remount-ro",
                ErrorPolicy::Panic => "panic",
            };
            seq_print!(to, ",errors={}", name);
        }
        if options.commit_interval != default.commit_interval {
            seq_print!(to, ",commit={}", options.commit_interval);
        }
        if !options.barrier {
            seq_print!(to, ",nobarrier");
        }
        if options.discard {
            seq_print!(to, ",discard");
        }
        if !options.auto_da_alloc {
            seq_print!(to, ",noauto_da_alloc");
        }
        if !options.acl {
            seq_print!(to, ",noacl");
        }
        if !options.user_xattr {
            seq_print!(to, ",nouser_xattr");
        }
        match options.dax {
            Dax::Unset => {}
            Dax::Always => seq_print!(to, ",dax=always"),
            Dax::ByFlag => seq_print!(to, ",dax=inode"),
            Dax::Never => seq_print!(to, ",dax=never"),
        }
        if options.noload {
            seq_print!(to, ",noload");
        }
    }
}
