// SPDX-License-Identifier: GPL-2.0

//! The text of the function graph tracer, as it is with the options `funcgraph-abstime`, `-cpu`, `-proc`, `-duration`
//! and `-tail`: `TIME |  CPU)  TASK-PID  |  DURATION  |  WHAT`.

use crate::names;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A function was called that calls others.
    Call(String),
    /// A function was called and came back, which took so many microseconds.
    Leaf(String, f64),
    /// A function came back: after so many microseconds.
    Return(f64),
    /// An event.
    Event(String),
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When, in microseconds.
    pub time: f64,
    /// Name and number of the task.
    pub task: String,
    /// What happened.
    pub what: What,
}

/// The lines of `trace` that say what happened.
pub fn lines(trace: &str) -> impl Iterator<Item = Line> + '_ {
    trace.lines().filter_map(line)
}

fn line(line: &str) -> Option<Line> {
    let mut columns = line.splitn(4, '|');
    let time = columns.next()?.trim().parse::<f64>().ok()? * 1e6;
    let (_, task) = columns.next()?.split_once(')')?;
    let duration = columns.next()?.trim();
    let took = duration.strip_suffix(" us");
    // A mark for what took long may be in front.
    let took = took.and_then(|us| us.rsplit(' ').next()?.parse().ok());
    let text = columns.next()?.trim();
    let what = if let Some(event) = text.strip_prefix("/*") {
        What::Event(event.trim_end_matches("*/").trim().to_owned())
    } else if text.starts_with('}') {
        What::Return(took?)
    } else if let Some(call) = text.strip_suffix("() {") {
        What::Call(names::readable(call))
    } else {
        What::Leaf(names::readable(text.strip_suffix("();")?), took?)
    };
    Some(Line {
        time,
        task: task.trim().to_owned(),
        what,
    })
}
