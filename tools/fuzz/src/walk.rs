// SPDX-License-Identifier: GPL-2.0

//! The target that damages an image, mounts it with the core, and uses it.
//!
//! What must hold whatever the image says: no panic, an end, every file mapped to blocks that the device has and that
//! are not the file system's own, and a report for each `EUCLEAN`. The host's store also panics where a handle changes
//! more blocks than it asked for, or a lock is taken where none may be.

mod blocks;
mod look;
mod names;
mod orphans;
mod visit;

use crate::corpus;
use crate::image::{Edit, Image, PAGE};
use crate::mild;
use crate::mutate::{mutate, Reader};
use crate::survey::Survey;
use arbitrary::Unstructured;
use iomapfs_core::disk::superblock::{RawSuper, SUPER_OFFSET, SUPER_SIZE};
use iomapfs_core::disk::Layout;
use iomapfs_core::host::{Device, HostStore, Mounted, Restart};
use kernel::error::{code::*, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use visit::Visit;
use zerocopy::FromBytes;

/// The images, with what is where in them.
pub struct Corpus {
    surveys: Vec<Survey<'static>>,
    paths: Vec<PathBuf>,
}

impl Corpus {
    /// The images of `folder`. They stay in memory.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let images: &'static [Image] = Vec::leak(Image::load_all(folder)?);
        let surveys = images.iter().map(Survey::new).collect::<Result<_, _>>()?;
        let paths = images
            .iter()
            .map(|image| folder.join(format!("{}.img", image.name())))
            .collect();
        Ok(Self { surveys, paths })
    }

    /// The corpus of this process: the folder that `IOMAPFS_FUZZ_IMAGES` names, else images that are made now.
    ///
    /// # Panics
    ///
    /// Where there are none.
    pub fn get() -> &'static Self {
        static CORPUS: OnceLock<Corpus> = OnceLock::new();
        CORPUS.get_or_init(|| {
            let folder = std::env::var_os("IOMAPFS_FUZZ_IMAGES").map(PathBuf::from);
            let made = folder.unwrap_or_else(|| {
                let folder =
                    std::env::temp_dir().join(format!("iomapfs-fuzz-{}", std::process::id()));
                corpus::make(&folder, |_| true).unwrap_or_else(|e| panic!("{e:#}"));
                folder
            });
            Self::load(&made).unwrap_or_else(|e| panic!("{e:#}"))
        })
    }

    /// The images.
    pub fn surveys(&self) -> &[Survey<'static>] {
        &self.surveys
    }

    /// An image as a device with a block size.
    fn device(&self, nr: usize, block_size: u32) -> Device {
        Device::open(&self.paths[nr], block_size).expect("an image of the corpus cannot be read")
    }
}

/// One case: a damaged image.
pub struct Case {
    /// Number of the image in the corpus.
    pub nr: usize,
    /// The image and its damage.
    pub edit: Edit<'static>,
    /// The damage in words.
    pub told: Vec<String>,
}

impl Case {
    /// Damages an image of the corpus as `u` says.
    pub fn new(corpus: &'static Corpus, u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let surveys = corpus.surveys();
        let nr = u.int_in_range(0..=surveys.len() - 1)?;
        let mut edit = Edit::new(surveys[nr].image);
        let told = mutate(&surveys[nr], &mut edit, u, Reader::Core)?;
        Ok(Self { nr, edit, told })
    }

    /// Changes an image of the corpus in a way that leaves it a good one.
    ///
    /// # Errors
    ///
    /// Where no image suits.
    pub fn mild(corpus: &'static Corpus, u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let surveys = corpus.surveys();
        let nr = *u.choose(&mild::suitable(surveys))?;
        let mut edit = Edit::new(surveys[nr].image);
        let told = mild::change(&surveys[nr], &mut edit, u)?;
        Ok(Self { nr, edit, told })
    }

    /// The image and its damage in a line.
    pub fn describe(&self) -> String {
        let image = self.edit.image().name();
        format!("image {image}: {}", self.told.join("; "))
    }
}

/// The target.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let corpus = Corpus::get();
    if let Ok(case) = Case::new(corpus, &mut u) {
        // What comes of it does not matter as long as it ends.
        let _ = use_image(corpus, &case, u);
    }
}

/// What is left after a case: whether all went as on a good image, and the volume.
pub struct Used {
    /// Whether nothing was refused or reported.
    pub flawless: bool,
    /// Whether it was mounted for writing.
    pub writable: bool,
    /// The volume, after a commit.
    pub fs: Rc<Mounted>,
}

/// Mounts and uses a damaged image.
///
/// # Errors
///
/// Those of the mount.
pub fn use_image(corpus: &'static Corpus, case: &Case, mut u: Unstructured<'_>) -> Result<Used> {
    let read_only = u.ratio(1, 10).unwrap_or(false);
    let fs = mount(corpus, case, read_only)?;
    let restart = match u.int_in_range(0..=3).unwrap_or(0) {
        0 => Restart::Always,
        1 => Restart::Every(3),
        _ => Restart::Never,
    };
    fs.vol.store.set_restart(restart);
    let mut visit = Visit::new(&fs, u);
    if !read_only {
        visit.finish_orphans();
    }
    visit.look();
    if !read_only {
        visit.change();
        visit.look();
    }
    let flawless = visit.end();
    Ok(Used {
        flawless,
        writable: !read_only,
        fs,
    })
}

/// The image as a device, in the blocks that its super block claims.
fn device(corpus: &Corpus, case: &Case, block_size: u32) -> Device {
    let mut device = corpus.device(case.nr, block_size);
    let pages_per_block = u64::from(block_size) / PAGE as u64;
    let mut last = None;
    for (page, _) in case.edit.changed() {
        let nr = page / pages_per_block;
        if last != Some(nr) && nr < device.blocks() {
            let at = nr * u64::from(block_size);
            device.write(nr, case.edit.read(at, block_size as usize).into());
        }
        last = Some(nr);
    }
    device
}

/// As the module mounts, but for journal replay, which is jbd2's.
fn mount(corpus: &Corpus, case: &Case, read_only: bool) -> Result<Rc<Mounted>> {
    let raw = case.edit.read(SUPER_OFFSET, SUPER_SIZE);
    let raw = RawSuper::read_from_bytes(&raw).map_err(|_| EINVAL)?;
    let size = Layout::probe_block_size(&raw).map_err(|refusal| refusal.error())?;
    let store = HostStore::new(device(corpus, case, size.bytes()));
    store.set_lenient();
    Mounted::open(store, read_only).map_err(|refused| {
        assert!(
            refused.error != EUCLEAN || refused.told.iter().any(|told| !told.is_empty()),
            "EUCLEAN, and nothing is said"
        );
        refused.error
    })
}

/// Writes the image as it is after a case and an unmount.
pub fn save(case: &Case, used: &Used, path: &Path) -> anyhow::Result<()> {
    let failed = |error| anyhow::anyhow!("the changes cannot be saved: {error:?}");
    case.edit.save(path)?;
    used.fs.unmount().map_err(failed)?;
    used.fs.vol.store.save(path).map_err(failed)
}
