// SPDX-License-Identifier: GPL-2.0

//! The real e2fsck as a judge, of every so many power cuts.

use crate::base::Base;
use crate::broken::Broken;
use crate::case::Judge;
use crate::mount::Mount;
use crate::verify::{replay_if_needed, Recovered};
use iomapfs_core::host::{Device, Image};
use std::collections::BTreeSet;
use std::process::Command;

/// Lets e2fsck look at one power cut in `every`.
pub struct E2fsck {
    /// Power cuts still to be made.
    pub left: u64,
    /// See above; 0 for none.
    pub every: u64,
    /// Power cuts so far.
    pub seen: u64,
    /// Those that e2fsck has looked at.
    pub judged: u64,
}

impl E2fsck {
    /// For `cuts` power cuts.
    pub fn new(cuts: u64, every: u64) -> Self {
        Self {
            left: cuts,
            every,
            seen: 0,
            judged: 0,
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
        self.judged += 1;
        let save = |device: &Device| base.save(device).map_err(|error| error.to_string());
        save(&recovered.device)?.fsck()?;
        same_replay(base, cut, &save(cut)?, recovered.orphans == 0)
    }

    fn goes_on(&self) -> bool {
        self.left > 0
    }
}

/// What `e2fsck -p` says of any power cut, of ext4 too: it deals with the orphans; a tree could be smaller; at the end
/// what there is. The "illegal inode" is the time at which e2fsck 1.47.0 has itself deleted one of the orphan file.
const ORDINARY: [&str; 9] = [
    ": Clearing orphaned inode ",
    ": Truncating orphaned inode ",
    ": Illegal inode ",
    ": Orphan file (inode ",
    ": Feature orphan_present is set but orphan file is clean.",
    "CLEARED.",
    " could be shorter.  IGNORED.",
    " could be narrower.  IGNORED.",
    " non-contiguous), ",
];

/// What e2fsck 1.47 says when it truncates an orphan of which no block of the first leaf is to stay: the library frees
/// the leaf with its last extent, e2fsck stumbles over that, leaves the rest behind the size, and takes no further
/// orphan from the list.
const OWN_FAULT: &str = "Already cleared indirect block ";

/// e2fsck replays the journal: what it makes of the device must be what our own replay makes of it, and then it must
/// find nothing that it would ask about, or that is not [`ORDINARY`]. It deals with orphans at once, so `equal` is
/// whether there are none.
fn same_replay(base: &Base, cut: &Device, image: &Image, equal: bool) -> Result<(), String> {
    let run = |args: &[&str], said_is_good: &dyn Fn(&str) -> bool| {
        let out = Command::new("/sbin/e2fsck")
            .args(args)
            .arg(image.path())
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        match out.status.code() {
            Some(0 | 1) if said_is_good(&said) => Ok(said),
            _ => Err(format!(
                "e2fsck {args:?} of the image after the power cut: {}\n{}{}",
                out.status,
                said,
                String::from_utf8_lossy(&out.stderr)
            )),
        }
    };
    let replayed = run(&["-y", "-E", "journal_only"], &|_| true)?;
    if !equal && replayed.contains(OWN_FAULT) {
        return Ok(());
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
        if equal && !own.contains(&(nr as u64)) && *theirs != *ours.read(nr as u64) {
            let our = ours.read(nr as u64);
            let at = our.iter().zip(theirs).position(|(a, b)| a != b);
            let at = at.unwrap_or(0) & !15;
            return Err(format!(
                "block {nr}: replay by e2fsck makes something else of it, at byte {at} {:02x?} of {:02x?}",
                &theirs[at..at + 16],
                &our[at..at + 16]
            ));
        }
    }
    let ordinary = |line: &str| ORDINARY.iter().any(|ordinary| line.contains(ordinary));
    run(&["-f", "-p"], &|said| said.lines().all(ordinary))?;
    Ok(())
}
