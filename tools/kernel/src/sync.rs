// SPDX-License-Identifier: GPL-2.0

//! Locks, shared ownership and atomics, as `kernel::sync`.

use crate::alloc::{AllocError, Flags, KBox};
use crate::error::{Error, Result};
use crate::host::{might_sleep, Spinning};
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use std::sync::PoisonError;

pub mod atomic;

pub use crate::{new_mutex, new_spinlock};

/// A value that is made in its place. Here: the value.
pub trait PinInit<T, E = core::convert::Infallible>: Sized {
    /// Makes it.
    fn value(self) -> core::result::Result<T, E>;
}

impl<T> PinInit<T> for T {
    fn value(self) -> core::result::Result<T, core::convert::Infallible> {
        Ok(self)
    }
}

/// Smart pointers that allocate.
pub trait InPlaceInit<T>: Sized {
    /// The pointer, pinned.
    type PinnedSelf;

    /// Allocates and makes the value there.
    fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self::PinnedSelf>
    where
        Error: From<E>;
}

/// Shared ownership.
#[derive(Debug)]
pub struct Arc<T: ?Sized>(std::sync::Arc<T>);

impl<T> Arc<T> {
    /// Allocates and moves `contents` in.
    #[track_caller]
    pub fn new(contents: T, flags: Flags) -> core::result::Result<Self, AllocError> {
        Ok(Self(std::sync::Arc::new(KBox::into_inner(KBox::new(
            contents, flags,
        )?))))
    }
}

impl<T: ?Sized> Arc<T> {
    /// Whether both are the same object.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T> InPlaceInit<T> for Arc<T> {
    type PinnedSelf = Self;

    #[track_caller]
    fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        Ok(Self::new(init.value()?, flags)?)
    }
}

impl<T: ?Sized> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> AsRef<T> for Arc<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

/// A lock that may sleep.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

/// A held [`Mutex`].
pub struct MutexGuard<'a, T: ?Sized>(std::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    #[doc(hidden)]
    pub fn new_host(t: T) -> Self {
        Self(std::sync::Mutex::new(t))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        might_sleep();
        MutexGuard(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(g) => Some(MutexGuard(g)),
            Err(std::sync::TryLockError::Poisoned(p)) => Some(MutexGuard(p.into_inner())),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

impl<T: ?Sized> MutexGuard<'_, T> {
    /// The value, pinned.
    pub fn as_mut(&mut self) -> Pin<&mut T>
    where
        T: Unpin,
    {
        Pin::new(&mut self.0)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A lock that spins: nothing sleeps while it is held.
#[derive(Debug, Default)]
pub struct SpinLock<T: ?Sized>(std::sync::Mutex<T>);

/// A held [`SpinLock`].
pub struct SpinLockGuard<'a, T: ?Sized> {
    guard: std::sync::MutexGuard<'a, T>,
    _spinning: Spinning,
}

impl<T> SpinLock<T> {
    #[doc(hidden)]
    pub fn new_host(t: T) -> Self {
        Self(std::sync::Mutex::new(t))
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock.
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        SpinLockGuard {
            guard: self.0.lock().unwrap_or_else(PoisonError::into_inner),
            _spinning: Spinning::enter(),
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        let guard = match self.0.try_lock() {
            Ok(g) => g,
            Err(std::sync::TryLockError::Poisoned(p)) => p.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        Some(SpinLockGuard {
            guard,
            _spinning: Spinning::enter(),
        })
    }
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Initialiser of a [`Mutex`], perhaps with a name.
#[macro_export]
macro_rules! new_mutex {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::Mutex::new_host($inner)
    };
}

/// Initialiser of a [`SpinLock`], perhaps with a name.
#[macro_export]
macro_rules! new_spinlock {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::SpinLock::new_host($inner)
    };
}
