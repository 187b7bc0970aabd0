// SPDX-License-Identifier: GPL-2.0

//! e2fsck as a judge finds what it would mend in silence, also where there are orphans.

use iomapfs_core::host::{Image, Mkfs};
use iomapfs_sim::judge::{mended, Mended};

/// An image with an orphan, the first inode of a user, and a file with data; `more` is done to it too.
fn with_orphan(more: &[&str]) -> Image {
    let image = Mkfs::new(2560 * 1024, 1024).arg("-N").arg("128").make();
    let data = image.path().with_extension("data");
    std::fs::write(&data, vec![b'd'; 20_000]).unwrap();
    let write = |name: &str| format!("write {} {name}", data.display());
    let mut commands = vec!["set_current_time 20240101000000".to_string()];
    commands.extend([write("orphan"), write("file"), write("other")]);
    commands.extend(
        [
            "unlink orphan",
            "set_inode_field <12> links_count 0",
            "set_super_value last_orphan 12",
            // Not in the journal: no power cut keeps it.
            "set_super_value free_blocks_count 7",
        ]
        .map(str::to_string),
    );
    commands.extend(more.iter().map(ToString::to_string));
    image.debugfs(&commands);
    std::fs::remove_file(&data).unwrap();
    image
}

#[test]
fn orphans_and_totals_are_ordinary() {
    assert_eq!(mended(&with_orphan(&[]), 1), Ok(Mended::Well));
}

#[test]
fn nothing_else_is() {
    let damages: [(&str, &[&str]); 6] = [
        ("a leaked block", &["setb 2000"]),
        ("a block that is used and free", &["freeb 1 1"]),
        ("a leaked inode", &["seti <100>"]),
        (
            "a count of a group",
            &["set_bg 0 free_blocks_count 9", "set_bg 0 checksum calc"],
        ),
        ("a name of a freed inode", &["clri <14>", "freei <14>"]),
        ("a name too few", &["unlink other"]),
    ];
    let missed: Vec<&str> = damages
        .iter()
        .filter(|(_, commands)| mended(&with_orphan(commands), 1).is_ok())
        .map(|(what, _)| *what)
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn every_orphan_is_found() {
    assert!(mended(&with_orphan(&[]), 0).is_err());
    assert!(mended(&with_orphan(&[]), 2).is_err());
}
