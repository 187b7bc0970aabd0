// SPDX-License-Identifier: GPL-2.0

//! What the host adds: failing allocations, and the rule that nothing sleeps under a spinning lock.

use core::cell::Cell;

std::thread_local! {
    static SPINNING: Cell<u32> = const { Cell::new(0) };
    static ALLOC_COUNTDOWN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// While it lives, this thread counts as holding a spinning lock.
#[must_use]
pub struct Spinning(());

impl Spinning {
    /// Enters the section.
    pub fn enter() -> Self {
        SPINNING.with(|s| s.set(s.get() + 1));
        Self(())
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        SPINNING.with(|s| s.set(s.get() - 1));
    }
}

/// Panics if this thread holds a spinning lock: what follows may sleep.
#[track_caller]
pub fn might_sleep() {
    assert_eq!(
        SPINNING.with(Cell::get),
        0,
        "sleeping call under a spinning lock"
    );
}

/// Makes allocation number `n` of this thread from now on fail, once (`0`: the next one); `None` for none.
pub fn fail_allocation(n: Option<u64>) {
    ALLOC_COUNTDOWN.with(|c| c.set(n));
}

/// Whether the allocation that is about to happen is the one that fails.
pub(crate) fn allocation_fails() -> bool {
    ALLOC_COUNTDOWN.with(|c| match c.get() {
        Some(0) => {
            c.set(None);
            true
        }
        Some(n) => {
            c.set(Some(n - 1));
            false
        }
        None => false,
    })
}
