// SPDX-License-Identifier: GPL-2.0

//! After a power cut: recovery as a mount does it, and what must be true then.

use crate::broken::Broken;
use crate::check::{check, Fixed, Found, Tree};
use crate::journal::replay::{replay, Replayed};
use crate::journal::Place;
use crate::model::{
    describe, oldest_possible, pattern, versions, Attributes, History, Inode, Kind, Label, Version,
    Whole,
};
use crate::mount::Mount;
use iomapfs_core::disk::features::incompat;
use iomapfs_core::host::{Device, HostStore};
use std::collections::BTreeSet;

/// Where in a run the power was cut.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// How many events had happened.
    pub now: usize,
    /// How many when the last flush came.
    pub flushed: usize,
}

/// What a recovery made.
pub struct Recovered {
    /// The device.
    pub device: Device,
    /// The device as it was when the journal had been replayed, and nothing else done.
    pub replayed_device: Device,
    /// The last transaction that is on it.
    pub replayed: Replayed,
    /// Inodes that were orphans.
    pub orphans: usize,
}

/// Replays the journal of a device, if that must be. Gives the last transaction.
///
/// # Errors
///
/// What is wrong with the journal.
pub fn replay_if_needed(
    device: &mut Device,
    place: &Place,
    broken: Broken,
) -> Result<Replayed, String> {
    let raw = HostStore::new(device.clone()).super_block();
    let raw = raw.ok_or("there is no super block")?;
    let needed = raw.features().has_incompat(incompat::RECOVER);
    let mut scratch = device.clone();
    let replayed = replay(&mut scratch, place, broken)?;
    if needed {
        *device = scratch;
    } else if replayed.count > 0 {
        return Err("the super block says that the journal is empty, and it is not".to_string());
    }
    Ok(replayed)
}

/// Brings a device back as a mount and an unmount would.
///
/// # Errors
///
/// What goes wrong.
pub fn recover(mut device: Device, place: &Place, broken: Broken) -> Result<Recovered, String> {
    let replayed = replay_if_needed(&mut device, place, broken)?;
    let replayed_device = device.clone();
    let mount = Mount::open(device, broken)?;
    let store = &mount.vol.store;
    let orphans = mount
        .finish_orphans(None)
        .map_err(|error| format!("orphans: {error:?}: {:?}", store.take_reports()))?;
    mount.unmount().map_err(|error| format!("{error:?}"))?;
    let mut reports = store.take_reports();
    reports.extend(store.take_warnings());
    if !reports.is_empty() {
        return Err(format!("recovery: the core reports {reports:?}"));
    }
    Ok(Recovered {
        device: store.recovered(),
        replayed_device,
        replayed,
        orphans,
    })
}

/// Checks a recovered device against all that is known. Gives what is there.
///
/// # Errors
///
/// All that is wrong.
pub fn verify(
    recovered: &Recovered,
    fixed: &Fixed,
    history: &History,
    moment: Moment,
) -> Result<Tree, String> {
    let tree = check(&recovered.device, fixed).map_err(|flaws| flaws.join("\n  "))?;
    let last = recovered.replayed.last;
    if let Some(promised) = history.promised(moment.now) {
        if (last.wrapping_sub(promised) as i32) < 0 {
            return Err(format!(
                "lost what was synced: transaction {promised}; the last that is there is {last}"
            ));
        }
    }
    let state = history
        .states
        .get(&last)
        .ok_or_else(|| format!("transaction {last} is none that there was"))?;
    let label = HostStore::new(recovered.device.clone())
        .super_block()
        .map(|raw| Label::of(&raw));
    if label != history.labels.get(&last).copied() {
        return Err(format!(
            "the volume is called {label:02x?}, by transaction {last}"
        ));
    }
    let living = state.iter().filter(|(_, inode)| inode.links > 0);
    let mut numbers = tree.keys();
    for (ino, inode) in living {
        let found = tree.get(ino);
        if numbers.next() != Some(ino) {
            let what = if found.is_some() {
                "there is one before it"
            } else {
                "it is not there"
            };
            return Err(format!("inode {ino}: {what}, by transaction {last}"));
        }
        let Some(found) = found else { continue };
        compare(*ino, inode, found, &recovered.device, history, moment)?;
    }
    match numbers.next() {
        Some(ino) => Err(format!(
            "inode {ino}: should not be there, by transaction {last}"
        )),
        None => Ok(tree),
    }
}

/// The names, with the length and the first byte of each value.
fn brief(attributes: &Attributes) -> Vec<(u8, String, usize, Option<u8>)> {
    let brief = |((prefix, rest), value): (&(u8, Vec<u8>), &Vec<u8>)| {
        let name = String::from_utf8_lossy(rest).into_owned();
        (*prefix, name, value.len(), value.first().copied())
    };
    attributes.iter().map(brief).collect()
}

fn compare(
    ino: u32,
    inode: &Inode,
    found: &Found,
    device: &Device,
    history: &History,
    moment: Moment,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("inode {ino}: {what}"));
    if inode.kind != found.kind {
        return fail("is something else");
    }
    if inode.links != found.links {
        return fail(&format!("{} links, should be {}", found.links, inode.links));
    }
    let version = inode.version(moment.now);
    if found.version < version {
        return fail(&format!(
            "change counter {}, as after the last sync {version}",
            found.version
        ));
    }
    if inode.generation != found.generation {
        return fail("generation");
    }
    if inode.attributes != found.attributes {
        return fail(&format!(
            "extended attributes: {:?}, should be {:?}",
            brief(&found.attributes),
            brief(&inode.attributes)
        ));
    }
    match inode.kind {
        Kind::Dir if inode.names != found.names => fail("names"),
        Kind::Dir => Ok(()),
        Kind::Link if inode.target != found.target => fail("target"),
        Kind::Link | Kind::Device => Ok(()),
        Kind::File => {
            let end = match inode.may_be_cut {
                true => inode.size.div_ceil(device.block_size() as u64) as u32,
                false => u32::MAX,
            };
            if !inode.unwritten.range(..end).eq(&found.unwritten) {
                let found: BTreeSet<u32> = found.unwritten.iter().copied().collect();
                let extra = found.difference(&inode.unwritten).next();
                let missing = inode.unwritten.range(..end).find(|at| !found.contains(at));
                return fail(&format!(
                    "unwritten blocks: {extra:?} is one more, {missing:?} is missing"
                ));
            }
            if inode.size != found.size {
                return fail(&format!("size {}, should be {}", found.size, inode.size));
            }
            compare_data(ino, inode, found, device, history, moment)
        }
    }
}

/// Whether some blocks have what an atomic write wrote, and others have what was there before.
fn is_torn(ino: u32, inode: &Inode, whole: &Whole, found: &Found, device: &Device) -> bool {
    let (mut is_there, mut is_missing) = (false, false);
    // A later write of a few bytes, which were the same before, may have left the same bytes of a block.
    let is_once = |at: u32, bytes: &[u8]| {
        inode.blocks.get(&at).is_none_or(|content| {
            let content = content.borrow();
            let mut same = content.iter().filter(|version| *version.bytes == *bytes);
            same.nth(1).is_none()
        })
    };
    for at in whole.blocks.clone() {
        let Ok(i) = found.blocks.binary_search_by_key(&at, |(at, _)| *at) else {
            is_missing = true;
            continue;
        };
        let bytes = device.read(found.blocks[i].1);
        // What was made zero of a block, or written to it, later, if only a byte, is on the device with the rest of the
        // block: that is another write, which the device may have done and not the one before.
        let mut written = vec![0; bytes.len()];
        let pos = u64::from(at) * bytes.len() as u64;
        pattern(ino, whole.version, pos, &mut written);
        is_there |= *bytes == *written && is_once(at, &bytes);
        is_missing |= versions(ino, &bytes)
            .iter()
            .max()
            .is_some_and(|last| *last < whole.version);
    }
    is_there && is_missing
}

fn compare_data(
    ino: u32,
    inode: &Inode,
    found: &Found,
    device: &Device,
    history: &History,
    moment: Moment,
) -> Result<(), String> {
    let mut mapped = found.blocks.iter();
    let durable = moment.flushed.max(history.data_promised(inode, moment.now));
    for (at, content) in &inode.blocks {
        let Some((_, nr)) = mapped.next().filter(|(is, _)| is == at) else {
            return Err(format!("inode {ino}: block {at} should be mapped"));
        };
        let pos = u64::from(*at) * device.block_size() as u64;
        let len = inode
            .size
            .saturating_sub(pos)
            .min(device.block_size() as u64) as usize;
        let is = device.read(*nr);
        let versions = content.borrow();
        let submitted = versions
            .iter()
            .take_while(|version| version.submitted < moment.now);
        let mut possible = submitted.skip(oldest_possible(&versions, moment.now, durable));
        let is_this = |version: &Version| {
            let kept = inode.kept(*at, version.submitted).min(len);
            version.bytes[..kept] == is[..kept] && is[kept..len].iter().all(|byte| *byte == 0)
        };
        if !possible.any(is_this) {
            let wanted = versions
                .get(oldest_possible(&versions, moment.now, durable))
                .map_or("nothing".to_string(), |version| describe(&version.bytes));
            return Err(format!(
                "inode {ino}: block {at}, on {nr}, has {}; it should have {wanted} or what came later",
                describe(&is)
            ));
        }
    }
    for whole in inode.whole.borrow().iter() {
        if is_torn(ino, inode, whole, found, device) {
            return Err(format!(
                "inode {ino}: of blocks {:?} only a part has what write {} wrote to all",
                whole.blocks, whole.version
            ));
        }
    }
    match mapped.next() {
        Some((at, nr)) => Err(format!(
            "inode {ino}: block {at} should be a hole; it is on {nr} and has {}",
            describe(&device.read(*nr))
        )),
        None => Ok(()),
    }
}
