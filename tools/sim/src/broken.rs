// SPDX-License-Identifier: GPL-2.0

//! Rules of the machine under the core that can be broken on purpose: each of them must be found out.

use clap::ValueEnum;

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
    /// Blocks are mapped before their data is on the device.
    MapBeforeData,
    /// The size on disk is raised when a write begins.
    SizeBeforeData,
    /// `fsync` does not wait for the commit.
    NoCommitOnSync,
    /// `fsync` of what is committed does not flush the device.
    NoFlushOnSync,
    /// An inode that loses its last name is not made an orphan.
    NoOrphan,
    /// A truncate of several transactions is not made an orphan.
    NoOrphanOnTruncate,
    /// The rest of a block that is cut in the middle is not zeroed.
    NoZeroTail,
    /// Metadata that is freed is not revoked by the operations on directories.
    NoForget,
    /// An inode that goes away keeps its block of extended attributes.
    KeepsAttributes,
    /// What is read of an unwritten block is what the device has there.
    UnwrittenShown,
    /// When data is written to a part of an unwritten extent, all of it becomes written.
    ConvertsMore,
    /// Blocks stay unwritten when data was written to them.
    NoConversion,
    /// A direct write of a part of a new block does not zero the rest of it.
    NoZeroRest,
    /// A durable direct write does not care whether the way to its block is durable.
    NoCommitOnDsync,
    /// `fsync` of a directory does not wait for the commit.
    NoCommitOnDirSync,
    /// A directory that is moved keeps its `..`.
    NoDotDot,
    /// An exchange of two names leaves the second one as it was.
    HalfExchange,
}

/// The rule that is broken, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broken(pub Option<Rule>);

impl Broken {
    /// Whether this rule is broken.
    pub fn is(self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }
}
