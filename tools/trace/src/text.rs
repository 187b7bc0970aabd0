// SPDX-License-Identifier: GPL-2.0

//! The tree as text: what is called stands below its caller, with an arrow, further to the right. In front is when it
//! began and how long it took, in microseconds; what trace points told stands in between.

use crate::tree::{Call, Root, Step};
use std::fmt::Write as _;

/// Draws it. The times are counted from the first of `roots`.
pub fn draw(title: &str, roots: &[Root]) -> String {
    let began = roots.first().map_or(0.0, Root::time);
    let mut out = format!("{title}\n\n      at us     took us\n");
    let mut task = "";
    for root in roots {
        if root.task != task {
            task = &root.task;
            let _ = writeln!(out, "{:24}[{task}]", "");
        }
        step(&root.step, began, 0, &mut out);
    }
    out
}

fn step(step: &Step, began: f64, depth: usize, out: &mut String) {
    let indent = "    ".repeat(depth);
    match step {
        Step::Event { time, text } => {
            let _ = writeln!(out, "{:11.1}{:13}{indent}// {text}", time - began, "");
        }
        Step::Call(call) => self::call(call, began, depth, out),
    }
}

fn call(call: &Call, began: f64, depth: usize, out: &mut String) {
    let indent = "    ".repeat(depth);
    let arrow = if depth > 0 { "->" } else { "" };
    let took = match call.took {
        Some(took) => format!("{took:.1}"),
        None => "...".to_owned(),
    };
    let times = match call.times {
        0 | 1 => String::new(),
        times => format!("  ({times} times)"),
    };
    let (at, name) = (call.time - began, &call.name);
    let _ = writeln!(out, "{at:11.1}{took:>12} {indent}{arrow}{name}{times}");
    for step in &call.steps {
        self::step(step, began, depth + 1, out);
    }
}
