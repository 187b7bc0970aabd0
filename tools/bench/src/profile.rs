// SPDX-License-Identifier: GPL-2.0

//! Instructions by function of one job, two file systems side by side, for each of the job's operations: where a lag
//! comes from. The counts are those of QEMU's plugin (`qemu/bench/count.c`), and complete.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use clap::Args;

use crate::samples;

#[derive(Args)]
pub struct Arguments {
    /// How many functions are shown.
    #[arg(long, default_value_t = 50)]
    top: usize,
    /// Folders of results, one for each file system; what two have in common is compared.
    #[arg(required = true)]
    results: Vec<PathBuf>,
}

/// What a function did, for one operation of the job.
#[derive(Clone, Copy, Default)]
struct Count {
    instructions: f64,
    calls: f64,
}

/// One file system's part.
struct Side {
    fs: String,
    job: String,
    operations: u64,
    functions: BTreeMap<String, Count>,
    /// By caller: the instructions of the one function whose callers were wanted.
    callers: BTreeMap<String, Count>,
}

pub fn main(arguments: &Arguments) -> Result<()> {
    let sides = arguments
        .results
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>>>()?;
    print!("{}", table(&sides, arguments.top, |side| &side.functions));
    if sides.iter().any(|side| !side.callers.is_empty()) {
        println!("\nthe same of one function, by its callers");
        print!("{}", table(&sides, arguments.top, |side| &side.callers));
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Side> {
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let (name, sample) = samples::collect(&folder.join("samples"))?
        .pop_first()
        .context("nothing was measured")?;
    let symbols = Symbols::parse(&text("kallsyms")?)?;
    // What tells no number of operations is shown as a whole.
    let counts = text("counts")?;
    let (callers, blocks): (Vec<&str>, Vec<&str>) =
        counts.lines().partition(|l| l.starts_with("from "));
    let functions = count(&blocks, &symbols, sample.operations.max(1))?;
    let callers: Vec<&str> = callers
        .iter()
        .filter_map(|l| l.strip_prefix("from "))
        .collect();
    let callers = count_callers(&callers, &symbols, sample.operations.max(1))?;
    Ok(Side {
        fs: name.fs,
        job: name.job,
        operations: sample.operations,
        functions,
        callers,
    })
}

/// Where functions begin.
struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    /// `/proc/kallsyms`: lines `ADDRESS TYPE NAME [MODULE]`.
    fn parse(text: &str) -> Result<Self> {
        let mut symbols = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if !matches!(kind, "t" | "T" | "w" | "W") || name.starts_with("__pfx_") {
                continue;
            }
            let address = u64::from_str_radix(address, 16).with_context(|| line.to_string())?;
            // Of several names the first will do; with it the module.
            let module = words.next().map(|m| format!(" {m}")).unwrap_or_default();
            symbols
                .entry(address)
                .or_insert_with(|| format!("{:#}{module}", rustc_demangle::demangle(name)));
        }
        ensure!(symbols.keys().any(|a| *a != 0), "kallsyms has no addresses");
        Ok(Self(symbols))
    }

    /// The function at an address, and whether it begins there.
    fn find(&self, address: u64) -> (&str, bool) {
        match self.0.range(..=address).next_back() {
            Some((start, name)) => (name, *start == address),
            None => ("(unknown)", false),
        }
    }
}

/// `ADDRESS INSTRUCTIONS TIMES`.
fn parse(line: &str) -> Result<(u64, u64, u64)> {
    let parse = || -> Option<(u64, u64, u64)> {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((
            address,
            words.next()?.parse().ok()?,
            words.next()?.parse().ok()?,
        ))
    };
    parse().with_context(|| format!("a strange line: {line}"))
}

/// Sums the plugin's lines up by function.
fn count(lines: &[&str], symbols: &Symbols, operations: u64) -> Result<BTreeMap<String, Count>> {
    let mut functions: BTreeMap<String, Count> = BTreeMap::new();
    for line in lines {
        let (address, instructions, times) = parse(line)?;
        let (name, begins) = if address == 0 {
            ("(user space)", false)
        } else {
            symbols.find(address)
        };
        let entry = functions.entry(name.into()).or_default();
        entry.instructions += instructions as f64 / operations as f64;
        if begins {
            entry.calls += times as f64 / operations as f64;
        }
    }
    Ok(functions)
}

/// The same for callers: each block calls as often as it says.
fn count_callers(
    lines: &[&str],
    symbols: &Symbols,
    operations: u64,
) -> Result<BTreeMap<String, Count>> {
    let mut callers: BTreeMap<String, Count> = BTreeMap::new();
    for line in lines {
        let (address, instructions, times) = parse(line)?;
        let entry = callers.entry(symbols.find(address).0.into()).or_default();
        entry.instructions += instructions as f64 / operations as f64;
        entry.calls += times as f64 / operations as f64;
    }
    Ok(callers)
}

fn table(sides: &[Side], top: usize, part: impl Fn(&Side) -> &BTreeMap<String, Count>) -> String {
    let mut names: BTreeMap<&str, f64> = BTreeMap::new();
    for side in sides {
        for (name, count) in part(side) {
            let most = names.entry(name).or_default();
            *most = most.max(count.instructions);
        }
    }
    let mut names: Vec<(&str, f64)> = names.into_iter().collect();
    names.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));

    let mut text = String::from("\ninstructions and calls per operation");
    for side in sides {
        text += &format!(
            "; {} on {}: {} operations",
            side.job, side.fs, side.operations
        );
    }
    text += "\n\n";
    for side in sides {
        text += &format!("{:>10} {:>7}", side.fs, "calls");
    }
    if sides.len() == 2 {
        text += "      more";
    }
    text += "  function\n";
    let mut row = |counts: &[Count], name: &str| {
        for count in counts {
            match count {
                Count {
                    instructions: 0.0, ..
                } => text += &format!("{:>10} {:>7}", "-", "-"),
                c => text += &format!("{:>10.1} {:>7.2}", c.instructions, c.calls),
            }
        }
        if let [ours, theirs] = counts {
            text += &format!("{:>+10.1}", ours.instructions - theirs.instructions);
        }
        text += &format!("  {name}\n");
    };
    let sum = |wanted: &dyn Fn(&str) -> bool| -> Vec<Count> {
        let of = |side: &Side| {
            part(side)
                .iter()
                .filter(|(n, _)| wanted(n))
                .fold(Count::default(), |sum, (_, c)| Count {
                    instructions: sum.instructions + c.instructions,
                    calls: sum.calls + c.calls,
                })
        };
        sides.iter().map(of).collect()
    };
    row(&sum(&|_| true), "all");
    row(
        &sum(&|n| n != "(user space)" && !n.contains('[')),
        "the kernel, ext4 and XFS included",
    );
    row(&sum(&|n| n.contains('[')), "modules");
    for (name, _) in names.iter().take(top) {
        let of = |side: &Side| part(side).get(*name).copied().unwrap_or_default();
        row(&sides.iter().map(of).collect::<Vec<_>>(), name);
    }
    let others: Vec<&str> = names.iter().skip(top).map(|n| n.0).collect();
    if !others.is_empty() {
        let what = format!("{} others", others.len());
        row(&sum(&|n| others.contains(&n)), &what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str =
        "ffffffff81000000 T one\nffffffff81000040 t two\nffffffff81000030 d data\n\
                            ffffffffc0000000 t _RNvC7iomapfs5begin\t[iomapfs]\n";

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Symbols::parse(KALLSYMS).unwrap();
        assert_eq!(symbols.find(0xffff_ffff_8100_0000), ("one", true));
        assert_eq!(symbols.find(0xffff_ffff_8100_003f), ("one", false));
        assert_eq!(symbols.find(0xffff_ffff_8100_0050), ("two", false));
        assert_eq!(
            symbols.find(0xffff_ffff_c000_0008),
            ("iomapfs::begin [iomapfs]", false)
        );
        assert_eq!(symbols.find(1), ("(unknown)", false));
        assert!(Symbols::parse("0000000000000000 T hidden\n").is_err());
    }

    #[test]
    fn counts_are_for_one_operation() {
        let symbols = Symbols::parse(KALLSYMS).unwrap();
        let text = ["0 100 0", "ffffffff81000000 40 4", "ffffffff81000008 20 4"];
        let functions = count(&text, &symbols, 2).unwrap();
        assert_eq!(functions["(user space)"].instructions, 50.0);
        assert_eq!(
            (functions["one"].instructions, functions["one"].calls),
            (30.0, 2.0)
        );
        let callers = count_callers(&text[1..], &symbols, 2).unwrap();
        assert_eq!(
            (callers["one"].instructions, callers["one"].calls),
            (30.0, 4.0)
        );
        assert!(count(&["x"], &symbols, 1).is_err());
        assert!(count(&["0 1"], &symbols, 1).is_err());
    }

    #[test]
    fn two_sides_are_compared() {
        let symbols = Symbols::parse(KALLSYMS).unwrap();
        let side = |fs: &str, lines: &[&str]| {
            let functions = count(lines, &symbols, 1).unwrap();
            Side {
                fs: fs.into(),
                job: "j".into(),
                operations: 1,
                functions,
                callers: BTreeMap::new(),
            }
        };
        let a = side("iomapfs", &["ffffffff81000000 40 4"]);
        let b = side("ext4", &["ffffffff81000000 30 3", "ffffffff81000040 5 1"]);
        let text = table(&[a, b], 1, |side| &side.functions);
        assert!(text.contains("+10.0  one"), "{text}");
        assert!(text.contains("+5.0  all"), "{text}");
        assert!(text.contains("1 others"), "{text}");
    }
}
