// SPDX-License-Identifier: GPL-2.0

//! The targets of `make fuzz` without libFuzzer: what was found before, and a few random cases of a seed.

use arbitrary::Unstructured;
use iomapfs_core::host::Mkfs;
use iomapfs_fuzz::fsck::{fsck, Verdict};
use iomapfs_fuzz::image::{Edit, Image};
use iomapfs_fuzz::parsers::{self, TARGETS};
use iomapfs_fuzz::seal::seal;
use iomapfs_fuzz::survey::{Kind, Survey};
use iomapfs_fuzz::walk::{self, Case, Corpus};
use iomapfs_fuzz::{driver, fields, guest};
use std::path::Path;

fn seed() -> u64 {
    let given = std::env::var("PROPTEST_RNG_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// Inputs that were worth keeping, those that once failed among them.
#[test]
fn what_was_kept() {
    let mut count = 0;
    for (target, _) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            parsers::run(target, &std::fs::read(&path).unwrap());
            count += 1;
        }
    }
    assert!(count > 0, "there are none");
}

#[test]
fn parsers_take_anything() {
    for (target, _) in TARGETS {
        if target != "walk" {
            driver::run(target, seed(), 0, 2000, |_| ()).unwrap_or_else(|e| panic!("{e:#}"));
        }
    }
}

#[test]
fn damaged_images_are_used() {
    driver::run("walk", seed(), 0, 1500, |_| ()).unwrap_or_else(|e| panic!("{e:#}"));
}

/// Would catch: something written to an image that only looks whole.
#[test]
fn what_is_clean_stays_clean() {
    let scratch = std::env::temp_dir().join(format!("iomapfs-judged-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let judged = driver::judge(seed(), 0, 150, &scratch);
    std::fs::remove_dir_all(&scratch).unwrap();
    let sample = judged.unwrap_or_else(|e| panic!("{e:#}"));
    assert!(sample.stayed > 0, "{sample:?}");
}

/// Would catch: orphans that the walk does not look after, or not as it should.
#[test]
fn orphans_are_finished() {
    let corpus = Corpus::get();
    let after = std::env::temp_dir().join(format!("iomapfs-orphans-{}.img", std::process::id()));
    let mut judged = std::collections::BTreeSet::new();
    for (nr, survey) in corpus.surveys().iter().enumerate() {
        let name = survey.image.name();
        if !name.contains("orphan") {
            continue;
        }
        for bytes in (0..20).map(|nr| driver::bytes(seed(), nr)) {
            let case = Case {
                nr,
                edit: Edit::new(survey.image),
                told: Vec::new(),
            };
            let used = walk::use_image(corpus, &case, Unstructured::new(&bytes)).unwrap();
            if used.flawless && used.writable {
                walk::save(&case, &used, &after).unwrap();
                let (verdict, words) = fsck(&after).unwrap();
                assert_eq!(verdict, Verdict::Clean, "{name}: {words}");
                judged.insert(name);
            }
        }
    }
    let _ = std::fs::remove_file(&after);
    assert_eq!(judged.len(), 4, "{judged:?}");
}

/// Would catch a checksum that is set wrong or in the wrong place, by which a damaged value is never looked at: on a
/// good image to set it changes nothing.
#[test]
fn seals_are_right() {
    let mut kinds = std::collections::BTreeSet::new();
    for survey in Corpus::get().surveys() {
        for place in &survey.places {
            let mut edit = Edit::new(survey.image);
            seal(survey, &mut edit, place, true);
            for (nr, page) in edit.changed() {
                let before = survey.image.page(nr).copied().unwrap_or([0; 1024]);
                assert!(
                    *page == before,
                    "{}: {place:?}: page {nr} changes",
                    survey.image.name()
                );
            }
            assert!(!fields::fields(&edit, place).is_empty(), "{place:?}");
            kinds.insert(place.kind);
        }
    }
    // Every kind is somewhere in the corpus.
    for kind in [
        Kind::ExtentNode,
        Kind::DirRoot,
        Kind::DirNode,
        Kind::Xattr,
        Kind::Symlink,
        Kind::Orphan,
        Kind::JournalSuper,
        Kind::JournalDescriptor,
        Kind::JournalRevoke,
        Kind::JournalCommit,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} is in no image");
    }
}

/// Would catch a failure that cannot be repeated: the same number makes the same image.
#[test]
fn damage_repeats() {
    let file = Mkfs::new(8 << 20, 1024).make();
    let image = Image::load(file.path()).unwrap();
    let surveys = [Survey::new(&image).unwrap()];
    let mut told = std::collections::BTreeSet::new();
    for nr in 0..50 {
        let (a, b) = (
            guest::damage(&surveys, 7, nr),
            guest::damage(&surveys, 7, nr),
        );
        assert_eq!(a.told, b.told);
        assert!(a.edit.changed().eq(b.edit.changed()));
        assert_eq!(a.rest, b.rest);
        told.insert(a.told);
    }
    assert!(told.len() > 40, "numbers make different images");
}
