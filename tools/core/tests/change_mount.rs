// SPDX-License-Identifier: GPL-2.0

//! What a mount does with the journal, and what it and an unmount tell the super block.

use iomapfs_core::change::mount::{self, plan, Plan, Wish};
use iomapfs_core::disk::features::{incompat, ro_compat};
use iomapfs_core::disk::superblock::STATE_ERROR;
use iomapfs_core::disk::Layout;
use iomapfs_core::host::{HostStore, Image, Mkfs, Mounted};
use iomapfs_core::volume::super_block::SuperBlock;
use kernel::error::{code::*, Error};

fn store(image: &Image) -> HostStore {
    let layout = image.layout(false).unwrap();
    HostStore::open(image.path(), layout.block_size().bytes()).unwrap()
}

/// A plan for a journal that can only be left alone, or that is read over what was to be replayed.
#[test]
fn plans() {
    let inside = Mkfs::new(20 << 20, 1024).make();
    let none = Mkfs::new(20 << 20, 1024).features("^has_journal").make();
    let without = Ok(Plan::Without);
    let journal = inside.layout(false).unwrap().journal_ino().unwrap();
    let load = |replay| Ok(Plan::Load { journal, replay });
    // By: a journal, on another device; to be replayed; read-only, noload, the device read-only.
    type Case = (bool, bool, bool, [bool; 3], Result<Plan, Error>);
    let table: [Case; 22] = [
        (true, false, false, [false, false, false], load(false)),
        (true, false, false, [true, false, false], load(false)),
        (true, false, false, [false, true, false], load(false)),
        (true, false, false, [true, true, false], without),
        (true, false, false, [false, false, true], Err(EROFS)),
        (true, false, false, [true, false, true], without),
        (true, false, true, [false, false, false], load(true)),
        (true, false, true, [true, false, false], load(true)),
        (true, false, true, [false, true, false], Err(EINVAL)),
        (true, false, true, [true, true, false], without),
        (true, false, true, [false, false, true], Err(EROFS)),
        (true, false, true, [true, false, true], Err(EROFS)),
        (true, false, true, [true, true, true], without),
        (true, true, false, [false, false, false], Err(EROFS)),
        (true, true, false, [true, false, false], without),
        (true, true, true, [true, false, false], Err(EROFS)),
        (true, true, true, [true, true, false], without),
        (false, false, false, [false, false, false], Err(EROFS)),
        (false, false, false, [true, false, false], without),
        (false, false, true, [false, false, false], Err(EUCLEAN)),
        (false, false, true, [true, false, false], Err(EUCLEAN)),
        (false, false, true, [true, true, false], without),
    ];
    for (journal, outside, replay, [read_only, noload, device_read_only], wanted) in table {
        let mut raw = if journal { &inside } else { &none }.read_super();
        if outside {
            raw.journal_dev.set(0x801);
        }
        raw.set_needs_recovery(replay);
        raw.seal();
        let layout = Layout::new(&raw, 20 << 10, read_only).unwrap();
        let wish = Wish {
            read_only,
            noload,
            device_read_only,
        };
        let is = plan(&layout, &raw, wish).map_err(|(error, why)| {
            assert!(!why.is_empty());
            error
        });
        let case = (journal, outside, replay, wish);
        assert_eq!(is, wanted, "{case:?}");
    }
}

/// Whether the device says that there may be something in the journal, and in the orphan file.
fn flags(mounted: &Mounted) -> (bool, bool) {
    let raw = mounted.vol.store.super_block().unwrap();
    let features = raw.features();
    (
        features.has_incompat(incompat::RECOVER),
        features.has_ro_compat(ro_compat::ORPHAN_PRESENT),
    )
}

/// A mount that does not say that its journal is in use, or an unmount after which that, or orphans, are still said.
#[test]
fn in_use_and_clean() {
    let image = Mkfs::new(20 << 20, 1024).features("orphan_file").make();
    let mounted = Mounted::open(store(&image), true).unwrap();
    assert_eq!(flags(&mounted), (false, false));
    let mounted = Mounted::open(store(&image), false).unwrap();
    assert_eq!(flags(&mounted), (true, true));
    mounted.unmount().unwrap();
    assert_eq!(flags(&mounted), (false, false));
    mounted.vol.store.save(image.path()).unwrap();
    image.fsck().unwrap();
}

/// A freeze or a remount that fails and leaves a super block in memory that says the journal is empty: the next
/// transaction that changes it would tell the device.
#[test]
fn still_in_use_after_a_failure() {
    let image = Mkfs::new(20 << 20, 1024).features("orphan_file").make();
    for failures in [1, 2] {
        let mounted = Mounted::open(store(&image), false).unwrap();
        let vol = &mounted.vol;
        vol.store.fail_write_through(failures);
        assert_eq!(mounted.unmount(), Err(EIO));
        let in_memory = vol.super_block.copy(&vol.store).unwrap();
        for raw in [in_memory, vol.store.super_block().unwrap()] {
            assert!(raw.features().has_incompat(incompat::RECOVER));
            assert!(raw.features().has_ro_compat(ro_compat::ORPHAN_PRESENT));
        }
        vol.store.fail_write_through(0);
        mounted.unmount().unwrap();
        assert_eq!(flags(&mounted), (false, false));
    }
}

/// Errors that were recorded past the journal and are gone after its replay; the journal's own that nobody knows of.
#[test]
fn errors_outlive_a_replay() {
    let image = Mkfs::new(20 << 20, 1024).make();
    let clean = image.read_super();
    let mut bad = clean.clone();
    bad.error_count.set(3);
    bad.state.set(bad.state.get() | STATE_ERROR);
    for (before, in_journal, count, error) in [
        (&clean, false, 0, false),
        (&clean, true, 0, true),
        (&bad, false, 3, true),
        (&bad, true, 3, true),
    ] {
        let store = store(&image);
        let layout = image.layout(false).unwrap();
        let super_block = SuperBlock::read(&store, &layout).unwrap();
        mount::note_errors(&store, &super_block, before, in_journal).unwrap();
        let raw = store.super_block().unwrap();
        assert_eq!(raw.error_count.get(), count);
        assert_eq!(raw.state.get() & STATE_ERROR != 0, error);
        // Nothing is written where there is nothing to say.
        assert_eq!(store.take_written_through().is_empty(), !error);
    }
}
