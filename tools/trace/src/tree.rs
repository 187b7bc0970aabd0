// SPDX-License-Identifier: GPL-2.0

//! Which function was called by which. Each task has trees of its own: what a device's interrupt calls is a tree in the
//! task that it came over.

use crate::read::{Line, What};
use std::collections::HashMap;

/// What a function did.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It called a function.
    Call(Call),
    /// It told an event.
    Event {
        /// When, in microseconds.
        time: f64,
        /// What was told.
        text: String,
    },
}

/// A call of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// When it began, in microseconds.
    pub time: f64,
    /// How long it took, in microseconds; `None` where it had not come back when the trace ended.
    pub took: Option<f64>,
    /// How many such calls this stands for, which came one after the other.
    pub times: usize,
    /// What it did, in order.
    pub steps: Vec<Step>,
}

/// A tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// The task.
    pub task: String,
    /// What was called, or an event that no function was traced for.
    pub step: Step,
}

impl Root {
    /// When it began, in microseconds.
    pub fn time(&self) -> f64 {
        match &self.step {
            Step::Call(call) => call.time,
            Step::Event { time, .. } => *time,
        }
    }
}

/// What was called in the same task and has not come back, from the outside to the inside.
#[derive(Default)]
struct Stack(Vec<Call>);

impl Stack {
    /// `step` has ended: where it belongs.
    fn add(&mut self, task: &str, step: Step, roots: &mut Vec<Root>) {
        match self.0.last_mut() {
            Some(caller) => caller.steps.push(step),
            None => roots.push(Root {
                task: task.to_owned(),
                step,
            }),
        }
    }
}

/// The trees of a trace, in the order in which they began.
pub fn grow(lines: impl Iterator<Item = Line>) -> Vec<Root> {
    let mut stacks: HashMap<String, Stack> = HashMap::new();
    let mut roots = Vec::new();
    for Line { time, task, what } in lines {
        let stack = stacks.entry(task.clone()).or_default();
        let call = |name, took| Call {
            name,
            time,
            took,
            times: 1,
            steps: Vec::new(),
        };
        match what {
            What::Call(name) => stack.0.push(call(name, None)),
            What::Leaf(name, took) => {
                stack.add(&task, Step::Call(call(name, Some(took))), &mut roots);
            }
            What::Event(text) => stack.add(&task, Step::Event { time, text }, &mut roots),
            What::Return(took) => {
                // One that was called before the trace began.
                let Some(mut call) = stack.0.pop() else {
                    continue;
                };
                call.took = Some(took);
                stack.add(&task, Step::Call(call), &mut roots);
            }
        }
    }
    for (task, mut stack) in stacks {
        while let Some(call) = stack.0.pop() {
            stack.add(&task, Step::Call(call), &mut roots);
        }
    }
    roots.sort_by(|a, b| a.time().total_cmp(&b.time()));
    roots
}
