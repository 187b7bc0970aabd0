// SPDX-License-Identifier: GPL-2.0

//! A trace that was recorded (`make trace ARGS="--direct --append"`), drawn.

use iomapfs_trace::choose::{self, How};
use iomapfs_trace::tree::{self, Root, Step};
use iomapfs_trace::{picture, read, text};

const TRACE: &str = include_str!("data/direct-append.trace");
const TREE: &str = include_str!("data/direct-append.txt");

const USUAL: How = How {
    all: false,
    depth: usize::MAX,
    events: true,
};

fn roots(trace: &str, how: How) -> Vec<Root> {
    choose::shown(tree::grow(read::lines(trace)), &how)
}

fn count(roots: &[Root]) -> usize {
    fn of(step: &Step) -> usize {
        match step {
            Step::Call(call) => 1 + call.steps.iter().map(of).sum::<usize>(),
            Step::Event { .. } => 1,
        }
    }
    roots.iter().map(|root| of(&root.step)).sum()
}

/// Catches: a call that is below another one than its caller, another time or name, noise, an event that is lost.
#[test]
fn the_tree_is_as_it_was_drawn() {
    let drawn = text::draw("iomapfs: direct, append, 4K", &roots(TRACE, USUAL));
    let (_licence, tree) = TREE.split_once('\n').unwrap();
    for (line, expected) in drawn.lines().zip(tree.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(drawn, tree);
}

/// Catches: events that are left out with the functions in which they are told.
#[test]
fn each_event_is_told() {
    let drawn = text::draw("", &roots(TRACE, USUAL));
    let told =
        |text: &str| text.matches("iomapfs_").count() - text.matches("iomapfs_helper_").count();
    assert_eq!(told(&drawn), TRACE.matches("  /* iomapfs_").count());
    let quiet = How {
        events: false,
        ..USUAL
    };
    assert_eq!(told(&text::draw("", &roots(TRACE, quiet))), 0);
    let flat = How { depth: 1, ..USUAL };
    assert_eq!(told(&text::draw("", &roots(TRACE, flat))), told(&drawn));
}

/// Catches: `--all` that does not show every function, `--depth` that shows deeper ones.
#[test]
fn more_and_less_is_shown() {
    let all = How { all: true, ..USUAL };
    let functions = TRACE.matches("();").count() + TRACE.matches("() {").count();
    let events = TRACE.matches("/* ").count() - TRACE.matches("} /* ").count();
    let drawn = text::draw("", &roots(TRACE, all));
    // Such as were called several times in a row have one line.
    let again: usize = drawn
        .lines()
        .filter_map(|line| {
            line.rsplit_once("  (")?
                .1
                .strip_suffix(" times)")?
                .parse::<usize>()
                .ok()
        })
        .map(|times| times - 1)
        .sum();
    assert_eq!(count(&roots(TRACE, all)) + again, functions + events);
    let flat = How {
        depth: 1,
        events: false,
        ..USUAL
    };
    assert_eq!(count(&roots(TRACE, flat)), 1);
}

/// Catches: tasks whose calls get mixed up, and what began before the trace or ended after it.
#[test]
fn tasks_are_apart() {
    let trace = "\
  1.000001 |   0)   a-1   |   9.000 us    |  } /* earlier */
  1.000002 |   0)   a-1   |               |  ext4_outer() {
  1.000003 |   1)  kworker/0:1-2  |               |  iomap_end() {
  1.000004 |   0)   a-1   | + 12.500 us   |    ext4_inner();
  1.000005 |   0)   a-1   |               |    _raw_spin_lock() {
  1.000006 |   0)   a-1   |   0.100 us    |      ext4_deep();
  1.000007 |   0)   a-1   |   1.000 us    |    } /* _raw_spin_lock */
  1.000008 |   1)  kworker/0:1-2  |               |  /* one: a|b */
  1.000009 |   1)  kworker/0:1-2  |   5.000 us    |  } /* iomap_end */
  1.000010 |   1)  kworker/0:1-2  |               |  jbd2_unfinished() {
";
    let expected = "
      at us     took us
                        [a-1]
        0.0         ... ext4_outer
        2.0        12.5     ->ext4_inner
        4.0         0.1     ->ext4_deep
                        [kworker/0:1-2]
        1.0         5.0 iomap_end
        6.0                 // one: a|b
        8.0         ... jbd2_unfinished
";
    assert_eq!(
        text::draw("", &roots(trace, USUAL)),
        format!("\n{expected}")
    );
}

/// Catches: a picture without a box for a call, or whose text is no XML.
#[test]
fn the_picture_has_all() {
    let roots = roots(TRACE, USUAL);
    let picture = picture::draw("<&>", &roots);
    let boxes = picture.matches("<g><rect").count();
    let events = picture.matches("<line").count();
    assert_eq!(boxes + events, count(&roots));
    assert!(picture.contains("&lt;&amp;&gt;"));
    assert_eq!(picture.matches('<').count(), picture.matches('>').count());
}
