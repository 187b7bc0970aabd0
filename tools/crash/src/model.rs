// SPDX-License-Identifier: GPL-2.0

//! What must be on a volume at one place in the log, and the comparison with what is there.

use crate::file::{Change, FileModel};
use crate::fio;
use crate::history::{
    own_dir, prefix, shared_dir, striped, History, Kind, Mark, NodeId, Op, Promise, Seq,
};
use crate::tree::{Found, Names};
use anyhow::{bail, ensure, Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The directory that all threads share.
pub const SHARED: &str = "shared";
/// The file that all threads write.
pub const STRIPED: &str = "striped";

/// The name of a thread's own directory.
pub fn own_name(thread: usize) -> String {
    format!("own{thread}")
}

struct Thread {
    /// Operations that are known.
    fed: Seq,
    names: Names,
    files: BTreeMap<NodeId, FileModel>,
}

/// All that is promised, and all that was done since.
pub struct Model<'a> {
    pub history: &'a History,
    /// Bytes a block of the volume.
    block: u64,
    threads: Vec<Thread>,
    /// The seed of fio's file, when that is promised.
    fio: Option<u32>,
}

impl<'a> Model<'a> {
    /// Nothing was done yet.
    pub fn new(history: &'a History, block: u64) -> Self {
        let count = history.threads.len();
        let threads = (0..count)
            .map(|t| {
                let stripe = FileModel::new(striped(t), Some((t as u64, count as u64)), block);
                Thread {
                    fed: 0,
                    names: Names::new(&[own_dir(t), shared_dir(t)]),
                    files: BTreeMap::from([(striped(t), stripe)]),
                }
            })
            .collect();
        Model {
            history,
            block,
            threads,
            fio: None,
        }
    }

    /// This was done at most, and this promised, by the numbers of marks.
    pub fn at(history: &'a History, block: u64, fed: &[Seq], marks: &[u32]) -> Result<Self> {
        let mut model = Model::new(history, block);
        for (thread, seq) in fed.iter().enumerate() {
            model.feed(thread, *seq)?;
        }
        for number in marks {
            let mark = history.marks.get(number);
            model.promise(mark.context("a mark that nobody made")?)?;
        }
        Ok(model)
    }

    /// What the threads had done: these many operations, at most.
    pub fn fed(&self) -> Vec<Seq> {
        self.threads.iter().map(|t| t.fed).collect()
    }

    /// The thread may have done its operations up to `upto`.
    pub fn feed(&mut self, thread: usize, upto: Seq) -> Result<()> {
        let ops = self
            .history
            .threads
            .get(thread)
            .context("a mark of no thread")?;
        let state = &mut self.threads[thread];
        while state.fed < upto {
            let op = ops
                .get(state.fed as usize)
                .context("a mark behind the last operation")?;
            state.fed += 1;
            // Writes, too: they change a time that was chosen.
            state.names.feed(state.fed, op);
            let (node, change) = match op {
                Op::Make {
                    node,
                    kind: Kind::File,
                    ..
                } => {
                    state
                        .files
                        .insert(*node, FileModel::new(*node, None, self.block));
                    continue;
                }
                Op::Write {
                    node,
                    offset,
                    len,
                    how,
                } => (
                    node,
                    Change::Write {
                        offset: *offset,
                        len: *len,
                        how: *how,
                    },
                ),
                Op::Truncate { node, size } => (node, Change::Truncate { size: *size }),
                Op::Fallocate {
                    node,
                    how,
                    offset,
                    len,
                } => (
                    node,
                    Change::Fallocate {
                        how: *how,
                        offset: *offset,
                        len: *len,
                    },
                ),
                _ => continue,
            };
            let file = state.files.get_mut(node).context("a write to no file")?;
            file.feed(state.fed, change);
        }
        Ok(())
    }

    /// From here on this is promised. What it speaks of was fed.
    pub fn promise(&mut self, mark: &Mark) -> Result<()> {
        let state = self
            .threads
            .get_mut(mark.thread)
            .context("a mark of no thread")?;
        match &mark.promise {
            Promise::File { node, seq, names } => {
                state
                    .files
                    .get_mut(node)
                    .context("a promise about no file")?
                    .settle(*seq);
                state.names.settle(*names);
            }
            Promise::Range {
                node,
                seq,
                offset,
                len,
                names,
            } => {
                state
                    .files
                    .get_mut(node)
                    .context("a promise about no file")?
                    .settle_range(*seq, *offset, *len);
                state.names.settle(*names);
            }
            Promise::Names { names } => state.names.settle(*names),
            Promise::Fio { seed } => self.fio = Some(*seed),
            Promise::All { done } => {
                for (state, done) in self.threads.iter_mut().zip(done) {
                    state.names.settle(*done);
                    state.files.values_mut().for_each(|file| file.settle(*done));
                }
            }
        }
        Ok(())
    }

    /// Compares a mounted volume of the name `label`; fio's file, which takes longer than all the rest, only if
    /// `with_fio`.
    pub fn check(&self, root: &Path, label: &str, with_fio: bool) -> Result<()> {
        let mut found = Found::walk(root)?;
        if let Some(lost) = found.children.remove("lost+found") {
            ensure!(
                lost.children.is_empty(),
                "something is in lost+found: {:?}",
                lost.children.keys()
            );
        }
        let fio = found.children.remove(fio::FILE);
        if let Some(seed) = self.fio {
            ensure!(fio.is_some(), "fio's file is missing");
            if with_fio {
                fio::verify(root, seed)?;
            }
        }
        let mut shared = found
            .children
            .remove(SHARED)
            .context("the shared directory is missing")?;
        let stripes = found
            .children
            .remove(STRIPED)
            .context("the shared file is missing")?;
        let bytes = fs::read(&stripes.path).context("cannot read the shared file")?;
        for (t, thread) in self.threads.iter().enumerate() {
            let own = found
                .children
                .remove(&own_name(t))
                .context("the directory of a thread is missing")?;
            let roots = [
                (own_dir(t), own),
                (shared_dir(t), shared.split_off(&prefix(t))),
            ];
            let files = thread
                .names
                .check(&roots, (t == 0).then_some(label))
                .with_context(|| format!("thread {t}"))?;
            for (node, path) in files {
                let model = thread.files.get(&node).context("a file that nobody made")?;
                let bytes =
                    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                model
                    .check(&bytes)
                    .with_context(|| path.display().to_string())?;
            }
            let model = &thread.files[&striped(t)];
            model
                .check(&bytes)
                .with_context(|| stripes.path.display().to_string())?;
        }
        if let Some(name) = shared.children.keys().chain(found.children.keys()).next() {
            bail!("a name that nobody made: {name}");
        }
        Ok(())
    }
}
