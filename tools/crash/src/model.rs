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
    /// Of which files the content is there, as of an operation, once a later one is.
    whole: Vec<(Seq, NodeId)>,
}

impl Thread {
    /// Is a file with these bytes possible, where names and attributes are those after operation `after` or a later
    /// one?
    fn check_file(&self, node: NodeId, bytes: &[u8], after: Seq) -> Result<()> {
        let model = self.files.get(&node).context("a file that nobody made")?;
        let is_there = |(seq, of): &&(Seq, NodeId)| *of == node && *seq < after;
        let Some((seq, _)) = self.whole.iter().rev().find(is_there) else {
            return model.check(bytes);
        };
        let mut with = model.clone();
        with.settle(*seq);
        with.check(bytes)
            .with_context(|| format!("what replaces something as of operation {seq}"))
    }
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
                    whole: Vec::new(),
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
                Op::Whole { node } => {
                    state.whole.push((state.fed, *node));
                    continue;
                }
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
            let possible = thread
                .names
                .check(&roots, (t == 0).then_some(label))
                .with_context(|| format!("thread {t}"))?;
            for (node, path) in &possible.files {
                let bytes =
                    fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                thread
                    .check_file(*node, &bytes, possible.after)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content;
    use crate::history::{Attrs, How};

    #[test]
    fn what_replaces_something_is_whole_once_something_later_is_there() {
        let dir = own_dir(0);
        let node = dir + 7;
        let make = |node: NodeId, name: &str| Op::Make {
            at: (dir, name.into()),
            node,
            kind: Kind::File,
            ino: node.into(),
            attrs: Attrs {
                mode: 0o600,
                uid: 0,
                gid: 0,
                mtime: None,
                extended: Default::default(),
            },
        };
        let write = |offset| Op::Write {
            node,
            offset,
            len: 4096,
            how: How::Plain,
        };
        let rename = Op::Rename {
            from: (dir, "new".into()),
            to: (dir, "old".into()),
        };
        let ops = vec![
            make(node + 1, "old"),
            make(node, "new"),
            write(0),
            write(4096),
            Op::Whole { node },
            rename,
            write(8192),
        ];
        let bytes = |seq, offset| content::bytes(node, seq, offset, 4096);
        let whole = [bytes(3, 0), bytes(4, 4096)].concat();
        let longer = [whole.clone(), bytes(7, 8192)].concat();
        let zeros = [bytes(3, 0), vec![0; 4096]].concat();
        let history = History {
            threads: vec![ops],
            marks: BTreeMap::new(),
        };
        let mut model = Model::new(&history, 4096);
        model.feed(0, 7).unwrap();
        // Before the rename; as of it; after it.
        for (after, is_there) in [(2, false), (5, false), (6, true), (7, true)] {
            let check = |bytes: &[u8]| model.threads[0].check_file(node, bytes, after);
            check(&whole).unwrap();
            check(&longer).unwrap();
            for less in [&[][..], &whole[..4096], &zeros] {
                assert_eq!(
                    check(less).is_err(),
                    is_there,
                    "{} bytes after {after}",
                    less.len()
                );
            }
        }
    }
}
