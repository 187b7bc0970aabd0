// SPDX-License-Identifier: GPL-2.0

//! Rules that can be broken on purpose, of the core and of the machine under it: each of them must be found out.

use clap::ValueEnum;
use iomapfs_core::store;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rule {
    /// Recovery writes blocks that were revoked.
    RevokesIgnored,
    /// What is revoked does not get into the journal.
    RevokesForgotten,
    /// A commit block is written without a flush before it.
    NoFlushBeforeCommit,
    /// The journal's tail moves without a flush before.
    NoFlushBeforeTail,
    /// A freed block can be used again before the transaction that freed it has committed.
    EarlyReuse,
    /// Blocks of the page cache are mapped before their data is on the device.
    MapBeforeData,
    /// The size on disk is raised when writeback begins.
    SizeBeforeData,
    /// `fsync` does not wait for the commit.
    NoCommitOnSync,
    /// `fsync` of what is committed does not flush the device.
    NoFlushOnSync,
    /// An inode that loses its last name is not made an orphan.
    NoOrphan,
    /// A truncate of several transactions is not made an orphan.
    NoOrphanOnTruncate,
    /// What a file may have behind its end is not zeroed before its size is set.
    NoZeroTail,
    /// What is between the end of a file and a write behind it is not zeroed.
    NoZeroGap,
    /// What was zeroed at the end of a file is not written back at once.
    NoTailWritten,
    /// A greater size is set before the data that is in memory is on the device.
    NoWritesFirst,
    /// Nobody looks whether something has left blocks behind the end.
    NoCleanEnd,
    /// When data is shown in several transactions, the size goes up in the first one.
    SizeAtOnce,
    /// A direct write does not wait for others.
    NeverAlone,
    /// Metadata that is freed is not revoked by the operations on directories.
    NoForget,
    /// An inode that goes away keeps its block of extended attributes.
    KeepsAttributes,
    /// An inode whose attributes have changed is not written.
    NoAttributesWritten,
    /// A block of attributes does not count who comes to share it.
    NoAttributesCounted,
    /// Attributes that others share are changed in place.
    NoAttributesApart,
    /// An inode with the value of an attribute is no orphan before the attribute is there.
    NoValueOrphan,
    /// An inode with a value does not count who comes to share it.
    NoValuesCounted,
    /// A read is told that an unwritten block has data: it reads what the device has there.
    UnwrittenShown,
    /// When data is written to a part of an unwritten extent, all of it becomes written.
    ConvertsMore,
    /// Blocks stay unwritten when data was written to them.
    NoConversion,
    /// A direct write is told that a new block has data: it does not zero the rest of it, nor is it shown.
    NoZeroRest,
    /// Where blocks leave the page cache that were never written, the size on disk stays as it is.
    NoSizeOfDropped,
    /// Parts of blocks at the ends of a hole stay as they are.
    NoEdgesZeroed,
    /// A file gets the name of another one before all that it holds is written.
    NoReplacementFirst,
    /// Data that moves in a file is not written before.
    MovesUnwritten,
    /// A file gets a tree that was built anew, and nobody waits until its nodes are on the device.
    NoNodesWritten,
    /// Blocks become written that nobody has made zero on the device.
    ShowsUnzeroed,
    /// Files exchange blocks, and nothing is copied before.
    NoCopy,
    /// Data is copied to blocks of a file that has none there, but had some on disk.
    NoCommitOfDonor,
    /// Who gets blocks of another file may write to them although the exchange has not committed.
    NoCommitOfExchange,
    /// A durable direct write does not care whether the way to its block is durable.
    NoCommitOnDsync,
    /// An atomic write goes over data that a power cut may take away.
    AtomicOverUnsafe,
    /// An atomic write is made as any other where it does not go over data.
    AtomicInPlace,
    /// The device does a part of a request that is to be done whole or not at all.
    DeviceTears,
    /// `fsync` of a directory does not wait for the commit.
    NoCommitOnDirSync,
    /// `fsync` leaves times that have changed in memory there.
    NoTimesOnSync,
    /// A directory that is moved keeps its `..`.
    NoDotDot,
    /// An exchange of two names leaves the second one as it was.
    HalfExchange,
    /// An orphan that gets a name stays one.
    KeepsOrphan,
    /// The size on disk does not go up with what is shown.
    NoSizeWithData,
    /// An inode is not written in the transactions that cut it off, but in the last.
    NoInodeInStep,
    /// A directory in which an inode was made is not written.
    NoDirectory,
    /// A directory that is moved is not counted as a link of its new parent.
    NoParentLink,
    /// What loses its name to another inode keeps the link.
    NoVictimLink,
    /// A new inode that can have no name is left as it is.
    NoGiveUp,
    /// Blocks that are stored to as memory have what the device has there.
    NoMemoryZeroed,
    /// They are not shown before.
    NoMemoryShown,
    /// Blocks are trimmed before the transaction that freed them has committed.
    TrimsUncommitted,
    /// Somebody may get a block while it is trimmed.
    TrimsInUse,
    /// A mount does not say that the journal is in use.
    NotInUse,
    /// An unmount says that the journal is empty before it is.
    CleanEarly,
}

/// The rule that is broken, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broken(pub Option<Rule>);

impl Broken {
    /// The rule of the core that is broken, if it is one of those.
    pub fn in_core(self) -> Option<store::Rule> {
        Some(match self.0? {
            Rule::NoOrphan => store::Rule::Orphan,
            Rule::NoOrphanOnTruncate => store::Rule::OrphanOnTruncate,
            Rule::KeepsOrphan => store::Rule::OrphanEnds,
            Rule::NoForget => store::Rule::Forget,
            Rule::KeepsAttributes => store::Rule::Attributes,
            Rule::NoAttributesWritten => store::Rule::AttributesWritten,
            Rule::NoAttributesCounted => store::Rule::AttributesCounted,
            Rule::NoAttributesApart => store::Rule::AttributesApart,
            Rule::NoValueOrphan => store::Rule::ValueOrphan,
            Rule::NoValuesCounted => store::Rule::ValuesCounted,
            Rule::NoConversion => store::Rule::Conversion,
            Rule::ConvertsMore => store::Rule::ConversionOfPart,
            Rule::NoSizeWithData => store::Rule::SizeWithData,
            Rule::NoInodeInStep => store::Rule::InodeInStep,
            Rule::NoDirectory => store::Rule::DirectoryWritten,
            Rule::NoDotDot => store::Rule::DotDot,
            Rule::NoParentLink => store::Rule::ParentLink,
            Rule::NoVictimLink => store::Rule::VictimLink,
            Rule::HalfExchange => store::Rule::BothNames,
            Rule::NoGiveUp => store::Rule::GiveUp,
            Rule::NoMemoryZeroed => store::Rule::MemoryZeroed,
            Rule::NoMemoryShown => store::Rule::MemoryShown,
            Rule::TrimsUncommitted => store::Rule::TrimCommitted,
            Rule::TrimsInUse => store::Rule::TrimTaken,
            Rule::NotInUse => store::Rule::InUseFirst,
            Rule::CleanEarly => store::Rule::CleanLast,
            Rule::NoCommitOnSync => store::Rule::CommitOnSync,
            Rule::NoCommitOnDirSync => store::Rule::CommitOnDirSync,
            Rule::NoTimesOnSync => store::Rule::TimesOnSync,
            Rule::NoFlushOnSync => store::Rule::FlushOnSync,
            Rule::SizeBeforeData => store::Rule::SizeAfterData,
            Rule::MapBeforeData => store::Rule::MapAfterData,
            Rule::NoZeroTail => store::Rule::TailZeroed,
            Rule::NoZeroGap => store::Rule::GapZeroed,
            Rule::NoTailWritten => store::Rule::TailWritten,
            Rule::NoWritesFirst => store::Rule::WritesFirst,
            Rule::NoCleanEnd => store::Rule::CleanEnd,
            Rule::SizeAtOnce => store::Rule::SizeInStep,
            Rule::NeverAlone => store::Rule::DirectAlone,
            Rule::NoSizeOfDropped => store::Rule::SizeOfDropped,
            Rule::NoEdgesZeroed => store::Rule::EdgesZeroed,
            Rule::NoReplacementFirst => store::Rule::ReplacementFirst,
            Rule::MovesUnwritten => store::Rule::MovedWritten,
            Rule::NoNodesWritten => store::Rule::NodesWritten,
            Rule::ShowsUnzeroed => store::Rule::ZeroedFirst,
            Rule::NoCopy => store::Rule::CopiedFirst,
            Rule::NoCommitOfDonor => store::Rule::DonorCommitted,
            Rule::NoCommitOfExchange => store::Rule::ExchangeCommitted,
            Rule::NoZeroRest => store::Rule::RestZeroed,
            Rule::UnwrittenShown => store::Rule::UnwrittenHidden,
            Rule::NoCommitOnDsync => store::Rule::CommitOnDsync,
            Rule::AtomicOverUnsafe => store::Rule::AtomicFound,
            Rule::AtomicInPlace => store::Rule::AtomicAside,
            _ => return None,
        })
    }

    /// Whether this rule is broken.
    pub fn is(self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }
}
