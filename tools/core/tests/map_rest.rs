// SPDX-License-Identifier: GPL-2.0

//! Small rests of unwritten extents that become zeros beside data.

mod map_common;

use iomapfs_core::disk::LogicalBlock;
use iomapfs_core::host::{Image, Mkfs};
use iomapfs_core::inode::Inode;
use iomapfs_core::map::{FileMap, Progress, Rests, State};
use iomapfs_core::space::Share;
use iomapfs_core::store::Store;
use map_common::*;
use std::ops::Range;

/// A file with `len` unwritten blocks, and a written one behind them.
fn unwritten(len: u32) -> (Image, Vol, File) {
    let image = Mkfs::new(8 << 20, 1024).make();
    let ino = make_files(&image, &["a"])[0];
    let vol = mount(&image);
    let mut file = File::open(&vol, ino);
    file.preallocate(&vol, 0, len).unwrap();
    file.allocate(&vol, len, 1).unwrap();
    (image, vol, file)
}

fn claim(file: &mut File, vol: &Vol, at: u32, len: u32) {
    let chosen = file.map().choose(vol, block(at), len, goal(), Share::All);
    assert_eq!(chosen.unwrap().len, len);
}

/// Publishes data; gives whether rests are to be zeroed before, or else from where to where blocks were shown.
fn publish(file: &mut File, vol: &Vol, data: Range<u32>, end: u32) -> Option<Range<LogicalBlock>> {
    let granted = FileMap::publish_credits(vol, file.map().depth());
    let mut tx = vol.store.begin(granted + Inode::WRITE_CREDITS).unwrap();
    let mut rests = Rests {
        end: block(end),
        ..Rests::default()
    };
    let (at, len) = (block(data.start), data.end - data.start);
    let map = &mut file.inode.map;
    let done = map.publish_with(vol, &mut tx, (at, len), granted, &mut rests);
    file.inode.write(vol, &mut tx, &file.attrs).unwrap();
    let done = done.unwrap() == Progress::Done;
    assert_eq!(done, !rests.wanted);
    done.then(|| rests.with(at..block(data.end)))
}

/// Makes rests zero; gives which.
fn zero(file: &mut File, vol: &Vol, data: Range<u32>, end: u32) -> Vec<(u32, u32)> {
    let mut zeroed = Vec::new();
    let blocks = (block(data.start), data.end - data.start);
    let done = file
        .map()
        .zero_rests(vol, blocks, block(end), |rest, phys| {
            zeroed.push((rest.start.get(), rest.end.get()));
            vol.store
                .zero(phys, rest.end.get() - rest.start.get(), false)
        });
    done.unwrap();
    zeroed
}

fn states(file: &mut File, vol: &Vol) -> Vec<(u32, u32, State)> {
    let runs = file.runs(vol).into_iter();
    let mut states: Vec<(u32, u32, State)> = Vec::new();
    for (at, len, state, _) in runs {
        match states.last_mut() {
            Some(last) if last.2 == state && last.0 + last.1 == at => last.1 += len,
            _ => states.push((at, len, state)),
        }
    }
    states
}

/// Would catch: a small extent that is split, or in which something else than zeros is shown.
#[test]
fn both_sides() {
    let (_image, vol, mut file) = unwritten(64);
    claim(&mut file, &vol, 30, 2);
    assert_eq!(publish(&mut file, &vol, 30..32, 65), None);
    assert_eq!(zero(&mut file, &vol, 30..32, 65), [(0, 30), (32, 64)]);
    let shown = publish(&mut file, &vol, 30..32, 65);
    assert_eq!(shown, Some(block(0)..block(64)));
    assert_eq!(states(&mut file, &vol), [(0, 65, State::Written)]);
    assert_eq!(file.map().reserved(), (0, 0));
    file.check_tree(&vol);
}

/// Would catch: a large rest that is zeroed, and what is behind the end of the file.
#[test]
fn what_stays() {
    let (_image, vol, mut file) = unwritten(100);
    claim(&mut file, &vol, 33, 1);
    let shown = publish(&mut file, &vol, 33..34, 101);
    assert_eq!(shown, Some(block(33)..block(34)));
    claim(&mut file, &vol, 90, 1);
    // The one behind ends behind the end.
    let shown = publish(&mut file, &vol, 90..91, 99);
    assert_eq!(shown, Some(block(90)..block(91)));
    let states = states(&mut file, &vol);
    let written: Vec<_> = states
        .iter()
        .filter(|run| run.2 == State::Written)
        .collect();
    assert_eq!(written.len(), 3);
    file.check_tree(&vol);
}

/// Would catch: zeros over what somebody is writing, before or after they are made.
#[test]
fn claimed_by_others() {
    let (_image, vol, mut file) = unwritten(20);
    claim(&mut file, &vol, 3, 1);
    claim(&mut file, &vol, 10, 1);
    // Somebody else writes before it.
    assert_eq!(publish(&mut file, &vol, 10..11, 21), None);
    assert_eq!(zero(&mut file, &vol, 10..11, 21), [(11, 20)]);
    // And now behind it, too.
    claim(&mut file, &vol, 15, 1);
    let shown = publish(&mut file, &vol, 10..11, 21);
    assert_eq!(shown, Some(block(10)..block(11)));
    let of = |at| move |file: &mut File, vol: &Vol| file.lookup(vol, at, 1).state;
    assert_eq!(of(15)(&mut file, &vol), State::Unwritten);
    assert_eq!(of(11)(&mut file, &vol), State::Unwritten);
    // What is known to be zero goes with the next that is.
    file.map().shrink(usize::MAX);
    assert_eq!(publish(&mut file, &vol, 15..16, 21), None);
    assert_eq!(zero(&mut file, &vol, 15..16, 21), [(11, 15), (16, 20)]);
    let shown = publish(&mut file, &vol, 15..16, 21);
    assert_eq!(shown, Some(block(11)..block(20)));
    assert_eq!(publish(&mut file, &vol, 3..4, 21), None);
    assert_eq!(zero(&mut file, &vol, 3..4, 21), [(0, 3), (4, 10)]);
    publish(&mut file, &vol, 3..4, 21).unwrap();
    assert_eq!(states(&mut file, &vol), [(0, 21, State::Written)]);
    file.check_tree(&vol);
}

/// Would catch: blocks that are taken for zeros although they were freed and have come back, or were written since.
#[test]
fn not_zero_any_more() {
    let (_image, vol, mut file) = unwritten(20);
    claim(&mut file, &vol, 10, 1);
    zero(&mut file, &vol, 10..11, 21);
    file.remove(&vol, 0, 5).unwrap();
    file.preallocate(&vol, 0, 5).unwrap();
    claim(&mut file, &vol, 12, 1);
    file.commit(&vol, 12, 1).unwrap();
    file.unwrite(&vol, 12, 13).unwrap();
    // Neither of the rests is all zeros.
    assert_eq!(publish(&mut file, &vol, 10..11, 21), None);
    file.check_tree(&vol);
}
