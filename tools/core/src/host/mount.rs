// SPDX-License-Identifier: GPL-2.0

//! A mounted volume on the host, as the module mounts it. Journals are replayed by whoever knows how.

use super::{HostStore, Image, Node};
use crate::change::live::Shown;
use crate::change::mount::{self, plan, Plan, Wish};
use crate::disk::{Ino, Layout};
use crate::inode::{JournalMap, Orphans};
use crate::names::Params;
use crate::store::Tid;
use crate::volume::settings::Settings;
use crate::volume::shared::{SharedBlocks, SharedValues};
use crate::volume::super_block::SuperBlock;
use crate::volume::Volume;
use kernel::error::{code::*, Error, Result};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// What a transaction has shown of a file ([`Live::shown`](crate::change::Live::shown)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownChange {
    /// The transaction.
    pub tid: Tid,
    /// The inode.
    pub ino: u32,
    /// What.
    pub what: Shown,
    /// The size on disk, in bytes.
    pub size: u64,
}

/// A mount that failed.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: Error,
    /// What was reported.
    pub told: Vec<String>,
}

impl Refused {
    fn new(error: Error, why: impl Into<String>) -> Self {
        Self {
            error,
            told: vec![why.into()],
        }
    }

    fn by(store: &HostStore, error: Error) -> Self {
        Self {
            error,
            told: store.take_reports(),
        }
    }
}

/// A mounted volume, and the inodes of it that are in memory.
pub struct Mounted {
    /// What the core works on.
    pub vol: Volume<HostStore>,
    /// The inodes that a recovery has to look after.
    pub orphans: Orphans<HostStore>,
    /// Where the journal is, if it is used.
    pub journal: Option<JournalMap>,
    pub(super) params: Params,
    pub(super) live: RefCell<BTreeMap<u32, Weak<Node>>>,
    pub(super) dropped: RefCell<Vec<Rc<Node>>>,
    pub(super) shown: RefCell<Vec<ShownChange>>,
    pub(super) counted: Cell<(i64, i64)>,
    /// How many blocks may be had at a time; any number where it is `None`.
    pub quota: Cell<Option<u32>>,
    /// How many inodes more there may be, so too.
    pub inode_quota: Cell<Option<u32>>,
}

/// The volume on a store of which nothing is in memory. The journal, if it is used, is empty.
///
/// # Errors
///
/// Those of [`SuperBlock::read`] and [`mount::load_space`].
pub fn load(
    store: HostStore,
    layout: Layout,
    journal: Option<&JournalMap>,
) -> Result<Volume<HostStore>, Refused> {
    let super_block =
        SuperBlock::read(&store, &layout).map_err(|error| Refused::by(&store, error))?;
    let space =
        mount::load_space(&store, &layout, journal).map_err(|error| Refused::by(&store, error))?;
    Ok(Volume {
        settings: Settings::new(&layout),
        super_block,
        store,
        layout,
        space,
        shared: SharedBlocks::new(true).map_err(|error| Refused::new(error, "no memory"))?,
        values: SharedValues::new(true).map_err(|error| Refused::new(error, "no memory"))?,
    })
}

/// An image as a volume, on which nothing was changed by the mount.
///
/// # Panics
///
/// Where it is not good.
#[track_caller]
pub fn mount(image: &Image) -> Volume<HostStore> {
    let layout = image.layout(false).unwrap_or_else(|e| panic!("{e}"));
    let store = HostStore::open(image.path(), layout.block_size().bytes())
        .expect("image file cannot be read");
    load(store, layout, None).unwrap_or_else(|refused| panic!("{refused:?}"))
}

impl Mounted {
    /// Mounts what is on a store. A journal that must be replayed was, or is left as it is.
    ///
    /// # Errors
    ///
    /// Why the module would not mount it.
    pub fn open(store: HostStore, read_only: bool) -> Result<Rc<Self>, Refused> {
        let raw = store
            .super_block()
            .ok_or_else(|| Refused::new(EINVAL, "no super block"))?;
        let layout = Layout::new(&raw, store.blocks(), read_only)
            .map_err(|refusal| Refused::new(refusal.error(), refusal.to_string()))?;
        let wish = Wish {
            read_only,
            ..Wish::default()
        };
        let journal =
            match plan(&layout, &raw, wish).map_err(|(error, why)| Refused::new(error, why))? {
                Plan::Without => None,
                Plan::Load { journal, .. } => {
                    let map = JournalMap::find(&store, &layout, journal);
                    Some(map.map_err(|error| Refused::by(&store, error))?)
                }
            };
        let vol = load(store, layout, journal.as_ref())?;
        let orphans = match Orphans::load(&vol) {
            Ok(orphans) => orphans,
            Err(error) => return Err(Refused::by(&vol.store, error)),
        };
        let this = Rc::new(Self {
            params: Params::new(&vol.layout),
            vol,
            orphans,
            journal,
            live: RefCell::default(),
            dropped: RefCell::default(),
            shown: RefCell::default(),
            counted: Cell::default(),
            quota: Cell::default(),
            inode_quota: Cell::default(),
        });
        if !read_only {
            mount::begin_writing(&this.vol, |_| ())
                .map_err(|error| Refused::by(&this.vol.store, error))?;
        }
        Ok(this)
    }

    /// Ends what [`Self::open`] has begun, for writing. `empty_journal` brings all that was committed to its place.
    ///
    /// # Errors
    ///
    /// Those of `empty_journal`.
    pub fn end_writing(&self, empty_journal: impl FnOnce() -> Result) -> Result {
        mount::end_writing(&self.vol, &self.orphans, empty_journal, |_| ())
    }

    /// [`Self::end_writing`], with the simulated journal of the store.
    ///
    /// # Errors
    ///
    /// Those of [`HostStore::commit`].
    pub fn unmount(&self) -> Result {
        let store = &self.vol.store;
        self.end_writing(|| {
            let tid = store.commit()?;
            self.vol.space.committed(tid, |_| ());
            store.checkpoint();
            Ok(())
        })
    }

    /// The inode in memory, if it is.
    pub fn cached(&self, ino: Ino) -> Option<Rc<Node>> {
        self.live.borrow().get(&ino.get())?.upgrade()
    }

    /// The inodes without links that were given up since this was asked last, to be freed.
    pub fn take_dropped(&self) -> Vec<Rc<Node>> {
        self.dropped.take()
    }

    /// What all inodes have more than at the mount: sectors, and how many inodes.
    pub fn counted(&self) -> (i64, i64) {
        self.counted.get()
    }

    pub(super) fn count_inodes(&self, inodes: u32) -> Result {
        if self.inode_quota.get().is_some_and(|left| inodes > left) {
            return Err(EDQUOT);
        }
        self.count(0, inodes.into());
        Ok(())
    }

    pub(super) fn count(&self, sectors: i64, inodes: i64) {
        let (had, were) = self.counted.get();
        self.counted.set((had + sectors, were + inodes));
        let left = self.inode_quota.get();
        self.inode_quota
            .set(left.map(|left| (i64::from(left) - inodes) as u32));
    }

    /// What was shown since this was asked last, in order.
    pub fn take_shown(&self) -> Vec<ShownChange> {
        self.shown.take()
    }
}
