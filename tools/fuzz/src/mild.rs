// SPDX-License-Identifier: GPL-2.0

//! Changes that leave an image a good one: times, versions and generations, with the checksums that go with them.
//!
//! What the code under test writes to an image can only be judged by `e2fsck` if that found nothing before. Most
//! damage it does find. These images it calls clean, always: so one that is not mounted, is complained of or is not
//! clean afterwards is a failure, and so is a judge that does not work.

use crate::fields::fields;
use crate::image::Edit;
use crate::seal::seal;
use crate::survey::{Kind, Place, Survey};
use arbitrary::{Result, Unstructured};
use iomapfs_core::disk::inode::InodeFlags;
use iomapfs_core::disk::Ino;

/// Every how many images one is changed in this way, beginning with the first.
const EVERY: u64 = 20;

/// Fields of an inode that may be anything.
const ANY: [&str; 7] = [
    "i_atime",
    "i_ctime",
    "i_mtime",
    "i_crtime",
    "i_version",
    "i_version_hi",
    "i_generation",
];

/// Nanoseconds, and above the seconds two bits.
const EXTRA: [&str; 4] = [
    "i_atime_extra",
    "i_ctime_extra",
    "i_mtime_extra",
    "i_crtime_extra",
];

/// Whether image number `nr` is one of these, whatever the seed is.
pub fn is(nr: u64) -> bool {
    nr % EVERY == 0
}

/// Whether one of these is among `count` images from number `first` on.
pub fn among(first: u64, count: u64) -> bool {
    (first..first + count.min(EVERY)).any(is)
}

/// The images that can be changed in this way.
pub fn suitable(surveys: &[Survey<'_>]) -> Vec<usize> {
    (0..surveys.len()).filter(|i| suits(&surveys[*i])).collect()
}

/// Whether the image can be mounted for writing, and has nothing to be recovered, which `e2fsck -n` would find.
fn suits(survey: &Survey<'_>) -> bool {
    const HAS_JOURNAL: u64 = 0x4;
    const RECOVER: u64 = 0x4;
    const ORPHAN_PRESENT: u64 = 0x10000;
    let edit = Edit::new(survey.image);
    let word = |at: u64| edit.get(1024 + at, 4);
    word(0x5c) & HAS_JOURNAL != 0
        && word(0x60) & RECOVER == 0
        && word(0x64) & ORPHAN_PRESENT == 0
        && word(0xe8) == 0
}

/// Whether an inode has the value of an attribute: its times and its version are a hash and counts.
fn is_value(edit: &Edit<'_>, place: &Place) -> bool {
    let flag = u64::from(InodeFlags::EA_INODE.bits());
    fields(edit, place)
        .iter()
        .any(|field| field.name == "i_flags" && field.get(edit) & flag != 0)
}

/// Changes an image, one of those that are [`suitable`]. Gives a line for each change.
///
/// # Errors
///
/// None that matter: without bytes all choices are the first.
pub fn change(
    survey: &Survey<'_>,
    edit: &mut Edit<'_>,
    u: &mut Unstructured<'_>,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let mut touched: Vec<Place> = Vec::new();
    let user = |place: &&Place| {
        let ino = Ino::new(place.ino).filter(|ino| survey.layout.is_user_ino(*ino));
        place.kind == Kind::Inode && ino.is_some()
    };
    let inodes: Vec<Place> = survey
        .places
        .iter()
        .filter(user)
        .filter(|place| survey.inodes.contains(&place.ino))
        .copied()
        .filter(|place| !is_value(edit, place))
        .collect();
    for _ in 0..u.int_in_range(1..=12)? {
        let place = *u.choose(&inodes)?;
        let mut all = fields(edit, &place);
        all.retain(|field| ANY.contains(&field.name) || EXTRA.contains(&field.name));
        let field = *u.choose(&all)?;
        let value = match EXTRA.contains(&field.name) {
            // e2fsck takes both bits for a time before 1970 that an old kernel wrote, and complains.
            true => u.int_in_range(0..=999_999_999)? << 2 | u.int_in_range(0..=2)?,
            false => u.arbitrary::<u64>()? & field.max(),
        };
        field.set(edit, value);
        told.push(format!(
            "mild: inode {}: {} is {value:#x}",
            place.ino, field.name
        ));
        touched.push(place);
    }
    // What an inode has is sealed with the inode's generation.
    let owners: Vec<u32> = touched.iter().map(|place| place.ino).collect();
    for ino in owners {
        touched.extend(survey.of_inode(ino));
    }
    for place in &touched {
        seal(survey, edit, place, false);
    }
    Ok(told)
}
