// SPDX-License-Identifier: GPL-2.0

//! Atomics with the kernel's names for the orders, as `kernel::sync::atomic`.

use core::sync::atomic as host;

pub use ordering::{Acquire, Full, Relaxed, Release};

/// The orders.
pub mod ordering {
    use super::host::Ordering as Host;

    /// No order.
    pub struct Relaxed;
    /// Before what follows.
    pub struct Acquire;
    /// After what precedes.
    pub struct Release;
    /// A full barrier on both sides.
    pub struct Full;

    /// Any order.
    pub trait Ordering {
        #[doc(hidden)]
        const RMW: Host;
    }
    /// An order for a load.
    pub trait AcquireOrRelaxed: Ordering {}
    /// An order for a store.
    pub trait ReleaseOrRelaxed: Ordering {}

    impl Ordering for Relaxed {
        const RMW: Host = Host::Relaxed;
    }
    impl Ordering for Acquire {
        const RMW: Host = Host::Acquire;
    }
    impl Ordering for Release {
        const RMW: Host = Host::Release;
    }
    impl Ordering for Full {
        const RMW: Host = Host::SeqCst;
    }
    impl AcquireOrRelaxed for Relaxed {}
    impl AcquireOrRelaxed for Acquire {}
    impl ReleaseOrRelaxed for Relaxed {}
    impl ReleaseOrRelaxed for Release {}
}

use ordering::{AcquireOrRelaxed, Ordering, ReleaseOrRelaxed};

/// Types that there are atomics of.
pub trait AtomicType: Copy {
    #[doc(hidden)]
    type Repr: core::fmt::Debug;
    #[doc(hidden)]
    fn load(r: &Self::Repr, o: host::Ordering) -> Self;
    #[doc(hidden)]
    fn store(r: &Self::Repr, v: Self, o: host::Ordering);
    #[doc(hidden)]
    fn swap(r: &Self::Repr, v: Self, o: host::Ordering) -> Self;
    #[doc(hidden)]
    fn cas(r: &Self::Repr, old: Self, new: Self, o: host::Ordering) -> Result<Self, Self>;
}

/// Types that there are atomic sums of.
pub trait AtomicAdd: AtomicType {
    #[doc(hidden)]
    fn fetch_add(r: &Self::Repr, v: Self, o: host::Ordering) -> Self;
    #[doc(hidden)]
    fn fetch_sub(r: &Self::Repr, v: Self, o: host::Ordering) -> Self;
}

fn failure(o: host::Ordering) -> host::Ordering {
    match o {
        host::Ordering::SeqCst => host::Ordering::SeqCst,
        host::Ordering::Acquire => host::Ordering::Acquire,
        _ => host::Ordering::Relaxed,
    }
}

macro_rules! atomic_type {
    ($($t:ty, $a:ty;)*) => { $(
        impl AtomicType for $t {
            type Repr = $a;
            fn load(r: &$a, o: host::Ordering) -> Self {
                r.load(o)
            }
            fn store(r: &$a, v: Self, o: host::Ordering) {
                r.store(v, o)
            }
            fn swap(r: &$a, v: Self, o: host::Ordering) -> Self {
                r.swap(v, o)
            }
            fn cas(r: &$a, old: Self, new: Self, o: host::Ordering) -> Result<Self, Self> {
                r.compare_exchange(old, new, o, failure(o))
            }
        }
    )* };
}

macro_rules! atomic_add {
    ($($t:ty, $a:ty;)*) => {
        atomic_type! { $($t, $a;)* }
        $(
            impl AtomicAdd for $t {
                fn fetch_add(r: &$a, v: Self, o: host::Ordering) -> Self {
                    r.fetch_add(v, o)
                }
                fn fetch_sub(r: &$a, v: Self, o: host::Ordering) -> Self {
                    r.fetch_sub(v, o)
                }
            }
        )*
    };
}

atomic_type! { bool, host::AtomicBool; }
atomic_add! {
    i8, host::AtomicI8;
    i16, host::AtomicI16;
    i32, host::AtomicI32;
    i64, host::AtomicI64;
    isize, host::AtomicIsize;
    u32, host::AtomicU32;
    u64, host::AtomicU64;
    usize, host::AtomicUsize;
}

/// An atomic `T`. Sums wrap.
#[derive(Debug)]
pub struct Atomic<T: AtomicType>(T::Repr);

impl<T: AtomicType> Atomic<T> {
    /// With the value `v`.
    pub const fn new(v: T) -> Self {
        // SAFETY: `T` is one of the types of `atomic_type!`, and `Repr` is its atomic of the standard library, which
        // has the size and the bit validity of `T`. A trait cannot give this as a constant function.
        #[allow(unsafe_code)]
        Self(unsafe { core::mem::transmute_copy(&v) })
    }

    /// The value.
    pub fn load<O: AcquireOrRelaxed>(&self, _: O) -> T {
        T::load(&self.0, O::RMW)
    }

    /// Sets the value.
    pub fn store<O: ReleaseOrRelaxed>(&self, v: T, _: O) {
        T::store(&self.0, v, O::RMW)
    }

    /// Sets the value; gives the old one.
    pub fn xchg<O: Ordering>(&self, v: T, _: O) -> T {
        T::swap(&self.0, v, O::RMW)
    }

    /// Sets the value to `new` if it is `old`. Gives what it was, as error if it was not `old`.
    pub fn cmpxchg<O: Ordering>(&self, old: T, new: T, _: O) -> Result<T, T> {
        T::cas(&self.0, old, new, O::RMW)
    }
}

impl<T: AtomicAdd> Atomic<T> {
    /// Adds `v`.
    pub fn add(&self, v: T, _: Relaxed) {
        T::fetch_add(&self.0, v, host::Ordering::Relaxed);
    }

    /// Adds `v`; gives the old value.
    pub fn fetch_add<O: Ordering>(&self, v: T, _: O) -> T {
        T::fetch_add(&self.0, v, O::RMW)
    }

    /// Subtracts `v`; gives the old value.
    pub fn fetch_sub<O: Ordering>(&self, v: T, _: O) -> T {
        T::fetch_sub(&self.0, v, O::RMW)
    }
}
