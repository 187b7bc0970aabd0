// SPDX-License-Identifier: GPL-2.0

//! Memory barriers, as `kernel::sync::barrier`.

use core::sync::atomic::{fence, Ordering};

pub use super::atomic::Full;

/// Orders loads.
pub struct Read;
/// Orders stores.
pub struct Write;

/// What a barrier orders.
pub trait MemoryBarrier {
    #[doc(hidden)]
    const ORDER: Ordering;
}

impl MemoryBarrier for Full {
    const ORDER: Ordering = Ordering::SeqCst;
}

impl MemoryBarrier for Read {
    const ORDER: Ordering = Ordering::Acquire;
}

impl MemoryBarrier for Write {
    const ORDER: Ordering = Ordering::Release;
}

/// A barrier between CPUs.
pub fn smp_mb<T: MemoryBarrier>(_: T) {
    fence(T::ORDER);
}
