// SPDX-License-Identifier: GPL-2.0

//! The tree as SVG: time goes to the right, what is called lies below its caller, and each task has a strip of its own.
//! Time in which nothing that is shown was at work takes little room.

use crate::tree::{Call, Root, Step};
use std::fmt::Write as _;

/// Width of the picture.
const WIDTH: f64 = 1600.0;
/// Height of one level.
const LEVEL: f64 = 18.0;
/// Space around.
const MARGIN: f64 = 20.0;
/// What is idle for longer, in parts of all that is at work, counts as so much.
const IDLE: f64 = 0.02;

/// A piece of time that is drawn: from `from`, at `at` in the picture's own time.
struct Piece {
    from: f64,
    to: f64,
    at: f64,
}

/// The picture's own time.
struct Scale {
    pieces: Vec<Piece>,
    all: f64,
}

impl Scale {
    fn of(roots: &[Root]) -> Self {
        let mut spans: Vec<(f64, f64)> =
            roots.iter().map(|root| (root.time(), end(root))).collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut joined: Vec<(f64, f64)> = Vec::new();
        for (from, to) in spans {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        let work: f64 = joined.iter().map(|(from, to)| to - from).sum();
        let idle = (work * IDLE).max(0.1);
        let (mut at, mut before) = (0.0, None::<f64>);
        let mut pieces = Vec::new();
        for (from, to) in joined {
            at += before.map_or(0.0, |end| (from - end).min(idle));
            pieces.push(Piece { from, to, at });
            at += to - from;
            before = Some(to);
        }
        Self {
            pieces,
            all: at.max(0.1),
        }
    }

    fn x(&self, time: f64) -> f64 {
        let piece = self.pieces.iter().rev().find(|piece| piece.from <= time);
        let at = piece.map_or(0.0, |piece| piece.at + (time.min(piece.to) - piece.from));
        MARGIN + at / self.all * (WIDTH - 2.0 * MARGIN)
    }
}

fn end(root: &Root) -> f64 {
    match &root.step {
        Step::Call(call) => call.time + call.took.unwrap_or(0.0),
        Step::Event { time, .. } => *time,
    }
}

fn height(step: &Step) -> usize {
    match step {
        Step::Call(call) => 1 + call.steps.iter().map(height).max().unwrap_or(0),
        Step::Event { .. } => 1,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Draws it.
pub fn draw(title: &str, roots: &[Root]) -> String {
    let scale = Scale::of(roots);
    let began = roots.first().map_or(0.0, Root::time);
    let mut tasks: Vec<&str> = Vec::new();
    for root in roots {
        if !tasks.contains(&root.task.as_str()) {
            tasks.push(&root.task);
        }
    }
    let mut body = String::new();
    let mut y = MARGIN + 2.0 * LEVEL;
    for task in tasks {
        let mine = || roots.iter().filter(|root| root.task == task);
        let _ = writeln!(
            body,
            "<text x=\"{MARGIN}\" y=\"{:.1}\" class=\"task\">{}</text>",
            y + LEVEL * 0.7,
            escape(task)
        );
        y += LEVEL;
        for root in mine() {
            step(&root.step, &scale, began, y, &mut body);
        }
        let levels = mine().map(|root| height(&root.step)).max().unwrap_or(0);
        y += (levels as f64 + 0.5) * LEVEL;
    }
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         font-family=\"monospace\">\n\
         <style>text {{ font-size: 11px; }} .title {{ font-size: 15px; }} .task {{ font-weight: bold; }}\n\
         rect {{ stroke: white; stroke-width: 0.5; }} .r {{ fill: #f0a35e; }} .c {{ fill: #9ec1e8; }}\n\
         .e {{ stroke: #c02020; }}</style>\n\
         <rect width=\"100%\" height=\"100%\" style=\"fill: white\"/>\n\
         <text x=\"{MARGIN}\" y=\"{:.1}\" class=\"title\">{}</text>\n{body}</svg>\n",
        MARGIN + LEVEL * 0.5,
        escape(title)
    )
}

fn step(step: &Step, scale: &Scale, began: f64, y: f64, out: &mut String) {
    match step {
        Step::Event { time, text } => {
            let x = scale.x(*time);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.2}\" x2=\"{x:.2}\" y1=\"{y:.1}\" y2=\"{:.1}\" class=\"e\">\
                 <title>{:.1} us: {}</title></line>",
                y + LEVEL,
                time - began,
                escape(text)
            );
        }
        Step::Call(call) => self::call(call, scale, began, y, out),
    }
}

fn call(call: &Call, scale: &Scale, began: f64, y: f64, out: &mut String) {
    let took = call.took.unwrap_or(0.0);
    let x = scale.x(call.time);
    let width = (scale.x(call.time + took) - x).max(0.5);
    let class = if call.name.contains("::") { "r" } else { "c" };
    let name = escape(&call.name);
    let _ = writeln!(
        out,
        "<g><rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{LEVEL}\" class=\"{class}\"/>\
         <title>{name}, at {:.1} us, {took:.1} us</title>",
        call.time - began
    );
    // As much of the end of the name as there is room for.
    let room = (width / 6.8) as usize;
    if room >= 4 {
        let skip = call.name.chars().count().saturating_sub(room);
        let shown: String = call.name.chars().skip(skip).collect();
        let _ = write!(
            out,
            "<text x=\"{:.2}\" y=\"{:.1}\">{}</text>",
            x + 2.0,
            y + LEVEL * 0.7,
            escape(&shown)
        );
    }
    out.push_str("</g>\n");
    for step in &call.steps {
        self::step(step, scale, began, y + LEVEL, out);
    }
}
