// SPDX-License-Identifier: GPL-2.0

//! The real e2fsck as a judge, of every so many power cuts.

use crate::base::Base;
use crate::broken::Broken;
use crate::case::Judge;
use crate::machine::LABEL;
use crate::mount::Mount;
use crate::verify::{replay_if_needed, Recovered};
use iomapfs_core::host::{describe, Device, Image};
use std::collections::BTreeSet;
use std::process::Output;

/// Lets e2fsck look at one power cut in `every`.
pub struct E2fsck {
    /// Power cuts still to be made.
    pub left: u64,
    /// See above; 0 for none.
    pub every: u64,
    /// Power cuts so far.
    pub seen: u64,
    /// Those that e2fsck has agreed to.
    pub judged: u64,
    /// Those at which e2fsck itself has failed, see [`Mended::OwnFault`].
    pub failed: u64,
}

impl E2fsck {
    /// For `cuts` power cuts.
    pub fn new(cuts: u64, every: u64) -> Self {
        Self {
            left: cuts,
            every,
            seen: 0,
            judged: 0,
            failed: 0,
        }
    }
}

impl Judge for E2fsck {
    fn judge(&mut self, base: &Base, cut: &Device, recovered: &Recovered) -> Result<(), String> {
        self.left = self.left.saturating_sub(1);
        self.seen += 1;
        if self.every == 0 || self.seen % self.every != 0 {
            return Ok(());
        }
        let save = |device: &Device| base.save(device).map_err(|error| error.to_string());
        save(&recovered.device)?.fsck()?;
        if recovered.orphans == 0 {
            same_replay(base, cut, &save(cut)?)?;
        }
        match mended(&save(cut)?, recovered.orphans)? {
            Mended::Well => self.judged += 1,
            Mended::OwnFault => self.failed += 1,
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        self.left > 0
    }
}

/// e2fsck replays the journal: what it makes of the device must be what our own replay makes of it. There must be no
/// orphans: it would deal with them at once.
fn same_replay(base: &Base, cut: &Device, image: &Image) -> Result<(), String> {
    let out = image.e2fsck(&["-y", "-E", "journal_only"]);
    if !matches!(out.status.code(), Some(0 | 1)) {
        return Err(described("e2fsck -y -E journal_only", &out));
    }
    let bytes = std::fs::read(image.path()).map_err(|error| error.to_string())?;
    let fresh = Device::of_blocks(base.blocks.clone());
    let mount = Mount::open(fresh, Broken::default())?;
    let mut ours = cut.clone();
    replay_if_needed(&mut ours, &mount.journal, Broken::default())?;
    let (sb, _) = mount.vol.layout.super_location();
    let own: BTreeSet<u64> = mount
        .journal
        .blocks
        .iter()
        .copied()
        .chain([sb.get()])
        .collect();
    for (nr, theirs) in bytes.chunks_exact(ours.block_size()).enumerate() {
        let our = ours.read(nr as u64);
        if !own.contains(&(nr as u64)) && *theirs != *our {
            let at = our.iter().zip(theirs).position(|(a, b)| a != b);
            let at = at.unwrap_or(0) & !15;
            return Err(format!(
                "block {nr}: replay by e2fsck makes something else of it, at byte {at} {:02x?} of {:02x?}",
                &theirs[at..at + 16],
                &our[at..at + 16]
            ));
        }
    }
    Ok(())
}

fn described(what: &str, out: &Output) -> String {
    describe(&format!("{what} of the image after the power cut"), out)
}

/// Lines of `e2fsck -f -y` that are no complaint: its progress, and what there is at the end.
fn is_progress(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("Pass ")
        || line == "recovering journal"
        || line == "***** FILE SYSTEM WAS MODIFIED *****"
        || line.contains("% non-contiguous), ")
}

/// What e2fsck mends after any power cut, of ext4 too: the counts of the super block, which are not in the journal
/// (those of the groups are, and have another text), and the orphan file, whose orphans it has just dealt with.
const ORDINARY: [&str; 6] = [
    "Free blocks count wrong (",
    "Free inodes count wrong (",
    "Orphan file (inode ",
    "Feature orphan_present is set but orphan file is clean.",
    "Fix? yes",
    "Clear? yes",
];

/// How e2fsck says what it does with an orphan.
const CUT_OFF: &str = "Truncating orphaned inode ";
const FREED: &str = "Clearing orphaned inode ";

/// What e2fsck 1.47 says when it truncates an orphan of which no block of the first leaf is to stay: the library frees
/// the leaf with its last extent, e2fsck stumbles over that, leaves the rest behind the size, and takes no further
/// orphan from the list. Nothing that it says behind that can be believed.
const OWN_FAULT: &str = "Already cleared indirect block ";

/// What e2fsck made of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// All that a power cut may leave, and nothing else was mended.
    Well,
    /// It has damaged the image itself, see [`OWN_FAULT`].
    OwnFault,
}

/// Whether inode `ino` holds the value of an attribute.
fn holds_value(image: &Image, ino: &str) -> bool {
    let text = image.debugfs(&[format!("stat <{ino}>")]);
    let flags = text.split("Flags: 0x").nth(1);
    let flags = flags.and_then(|rest| rest.split_whitespace().next());
    flags.is_some_and(|flags| u32::from_str_radix(flags, 16).is_ok_and(|f| f & 0x20_0000 != 0))
}

/// Has e2fsck mend the image that a power cut left, with its journal and so many orphans. Every line that it says is
/// looked at: `-p` would mend bitmaps and counts of groups without a word. It deals with orphans before it looks at
/// bitmaps, so these must be right with orphans too.
///
/// # Errors
///
/// What it complained about.
pub fn mended(image: &Image, orphans: usize) -> Result<Mended, String> {
    // Trees that could be smaller are no fault.
    let out = image.e2fsck(&["-f", "-y", "-E", "fixes_only"]);
    let said = String::from_utf8_lossy(&out.stdout);
    let name = format!("{}: ", image.path().display());
    let (mut seen, mut in_truncate, mut freed) = (0, false, false);
    let mut cut_off = Vec::new();
    for line in said.lines() {
        // It calls the image by the name of the volume, where that has one.
        let label = || line.split_once(": ").filter(|_| line.starts_with(LABEL));
        let line = line
            .strip_prefix(&name)
            .or_else(|| Some(label()?.1))
            .unwrap_or(line);
        if in_truncate && line.starts_with(OWN_FAULT) {
            return Ok(Mended::OwnFault);
        }
        // It takes the attributes of an inode that it only truncates, and does not count that in i_blocks
        // (release_inode_blocks() in e2fsck/super.c).
        if cut_off
            .iter()
            .any(|ino| line.starts_with(&format!("Inode {ino}, i_blocks is ")))
        {
            return Ok(Mended::OwnFault);
        }
        // It frees an orphan, and the inodes with values of its attributes count it still (release_orphan_inode()).
        let is_counted =
            line.starts_with("Extended attribute inode ") && line.contains(" ref count is ");
        let lost = line.strip_prefix("Unattached inode ");
        if freed && (is_counted || lost.is_some_and(|ino| holds_value(image, ino))) {
            return Ok(Mended::OwnFault);
        }
        freed |= line.starts_with(FREED);
        let truncated = line.strip_prefix(CUT_OFF);
        in_truncate = truncated.is_some();
        cut_off.extend(truncated.and_then(|rest| rest.split(' ').next()));
        let orphan = in_truncate || line.starts_with(FREED);
        seen += usize::from(orphan);
        let ordinary = ORDINARY.iter().any(|what| line.starts_with(what));
        if !orphan && !ordinary && !is_progress(line) {
            return Err(described(&format!("{line:?}: e2fsck -f -y"), &out));
        }
    }
    if seen != orphans {
        let what = format!("{orphans} orphans, e2fsck finds {seen}: e2fsck -f -y");
        return Err(described(&what, &out));
    }
    match out.status.code() {
        Some(0 | 1) => Ok(Mended::Well),
        _ => Err(described("e2fsck -f -y", &out)),
    }
}
