// SPDX-License-Identifier: GPL-2.0

//! Fallible allocation, as `kernel::alloc`.

use crate::host::{allocation_fails, might_sleep};
use crate::sync::{InPlaceInit, PinInit};
use core::ops::{Deref, DerefMut};
use core::pin::Pin;

pub use flags::Flags;

/// Allocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// Allocation flags.
pub mod flags {
    /// How an allocation may behave.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags(u32);

    impl Flags {
        pub(crate) fn may_sleep(self) -> bool {
            self.0 & GFP_KERNEL.0 != 0
        }
    }

    impl core::ops::BitOr for Flags {
        type Output = Self;
        fn bitor(self, rhs: Self) -> Self {
            Self(self.0 | rhs.0)
        }
    }

    /// Zeroed memory.
    pub const __GFP_ZERO: Flags = Flags(1);
    /// No report of a failure.
    pub const __GFP_NOWARN: Flags = Flags(2);
    /// Never sleeps.
    pub const GFP_ATOMIC: Flags = Flags(4);
    /// May sleep.
    pub const GFP_KERNEL: Flags = Flags(8);
    /// May sleep; accounted.
    pub const GFP_KERNEL_ACCOUNT: Flags = Flags(8 | 16);
    /// Never sleeps, likely to fail.
    pub const GFP_NOWAIT: Flags = Flags(32);
}

#[track_caller]
fn admit(flags: Flags) -> Result<(), AllocError> {
    if flags.may_sleep() {
        might_sleep();
    }
    if allocation_fails() {
        return Err(AllocError);
    }
    Ok(())
}

/// Types of which all zero bytes are a value.
pub trait Zeroable: Sized {
    /// That value.
    fn zeroed() -> Self;
}

macro_rules! zeroable {
    ($($t:ty),*) => { $(impl Zeroable for $t { fn zeroed() -> Self { 0 as Self } })* };
}
zeroable!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl<T: Zeroable, const N: usize> Zeroable for [T; N] {
    fn zeroed() -> Self {
        core::array::from_fn(|_| T::zeroed())
    }
}

/// An owned allocation.
#[derive(Debug)]
pub struct Box<T: ?Sized>(std::boxed::Box<T>);
/// The kernel's `kmalloc` box.
pub type KBox<T> = Box<T>;
/// The kernel's `vmalloc` box.
pub type VBox<T> = Box<T>;
/// The kernel's `kvmalloc` box.
pub type KVBox<T> = Box<T>;

impl<T> Box<T> {
    /// Allocates and moves `x` in.
    #[track_caller]
    pub fn new(x: T, flags: Flags) -> Result<Self, AllocError> {
        admit(flags)?;
        Ok(Self(std::boxed::Box::new(x)))
    }

    /// Allocates zeros.
    #[track_caller]
    pub fn zeroed(flags: Flags) -> Result<Self, AllocError>
    where
        T: Zeroable,
    {
        Self::new(T::zeroed(), flags)
    }

    /// Allocates, moves `x` in and pins it.
    #[track_caller]
    pub fn pin(x: T, flags: Flags) -> Result<Pin<Self>, AllocError> {
        Ok(Self::into_pin(Self::new(x, flags)?))
    }

    /// Pins the contents.
    pub fn into_pin(this: Self) -> Pin<Self> {
        // SAFETY: The box owns its contents and gives them out through `Pin` only by `Deref` and `DerefMut` below,
        // which do not move them; dropping the box drops them in place.
        #[allow(unsafe_code)]
        unsafe {
            Pin::new_unchecked(this)
        }
    }

    /// Moves the contents out.
    pub fn into_inner(b: Self) -> T {
        *b.0
    }
}

impl<T> InPlaceInit<T> for Box<T> {
    type PinnedSelf = Pin<Self>;

    #[track_caller]
    fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> crate::error::Result<Self::PinnedSelf>
    where
        crate::error::Error: From<E>,
    {
        Ok(Self::into_pin(Self::new(init.value()?, flags)?))
    }
}

impl<T: ?Sized> Deref for Box<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> DerefMut for Box<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: ?Sized> AsRef<T> for Box<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

/// A growing array that says when there is no memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Vec<T>(std::vec::Vec<T>);
/// The kernel's `kmalloc` vector.
pub type KVec<T> = Vec<T>;
/// The kernel's `vmalloc` vector.
pub type VVec<T> = Vec<T>;
/// The kernel's `kvmalloc` vector.
pub type KVVec<T> = Vec<T>;

/// The vector is full.
#[derive(Debug)]
pub struct PushError<T>(pub T);

impl<T> From<PushError<T>> for crate::error::Error {
    fn from(_: PushError<T>) -> Self {
        crate::error::code::EINVAL
    }
}

/// No such element.
#[derive(Debug)]
pub struct RemoveError;

impl From<RemoveError> for crate::error::Error {
    fn from(_: RemoveError) -> Self {
        crate::error::code::EINVAL
    }
}

/// Why nothing was inserted.
#[derive(Debug)]
pub enum InsertError<T> {
    /// The index is past the end.
    IndexOutOfBounds(T),
    /// The vector is full.
    OutOfCapacity(T),
}

impl<T> From<InsertError<T>> for crate::error::Error {
    fn from(_: InsertError<T>) -> Self {
        crate::error::code::EINVAL
    }
}

impl<T> Vec<T> {
    /// Empty, nothing allocated.
    pub const fn new() -> Self {
        Self(std::vec::Vec::new())
    }

    /// Elements that fit without an allocation.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// The elements.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }

    /// Appends `v`.
    #[track_caller]
    pub fn push(&mut self, v: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(v);
        Ok(())
    }

    /// Appends `v` if it fits.
    pub fn push_within_capacity(&mut self, v: T) -> Result<(), PushError<T>> {
        if self.0.len() == self.0.capacity() {
            return Err(PushError(v));
        }
        self.0.push(v);
        Ok(())
    }

    /// Inserts `v` before element `index` if it fits.
    pub fn insert_within_capacity(&mut self, index: usize, v: T) -> Result<(), InsertError<T>> {
        if index > self.0.len() {
            return Err(InsertError::IndexOutOfBounds(v));
        }
        if self.0.len() == self.0.capacity() {
            return Err(InsertError::OutOfCapacity(v));
        }
        self.0.insert(index, v);
        Ok(())
    }

    /// Takes the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Takes element `i`, moving the later ones down.
    pub fn remove(&mut self, i: usize) -> Result<T, RemoveError> {
        if i >= self.0.len() {
            return Err(RemoveError);
        }
        Ok(self.0.remove(i))
    }

    /// Empty, with room for `capacity` elements.
    #[track_caller]
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut v = Self::new();
        v.reserve(capacity, flags)?;
        Ok(v)
    }

    /// `n` zeros.
    #[track_caller]
    pub fn zeroed(n: usize, flags: Flags) -> Result<Self, AllocError>
    where
        T: Zeroable,
    {
        let mut v = Self::with_capacity(n, flags)?;
        v.0.extend((0..n).map(|_| T::zeroed()));
        Ok(v)
    }

    /// Drops all elements.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Makes room for `additional` more elements.
    #[track_caller]
    pub fn reserve(&mut self, additional: usize, flags: Flags) -> Result<(), AllocError> {
        if self.0.capacity() - self.0.len() >= additional {
            return Ok(());
        }
        admit(flags)?;
        self.0.try_reserve(additional).map_err(|_| AllocError)
    }

    /// Drops the elements from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Takes all elements.
    pub fn drain_all(&mut self) -> std::vec::Drain<'_, T> {
        self.0.drain(..)
    }

    /// Keeps the elements for which `f` says so.
    pub fn retain(&mut self, f: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(f);
    }

    /// Gives memory back, keeping room for `min_capacity` elements.
    pub fn shrink_to(&mut self, min_capacity: usize, flags: Flags) -> Result<(), AllocError> {
        admit(flags)?;
        self.0.shrink_to(min_capacity);
        Ok(())
    }
}

impl<T: Clone> Vec<T> {
    /// Appends `n` clones of `value`.
    #[track_caller]
    pub fn extend_with(&mut self, n: usize, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(n, flags)?;
        self.0.extend(core::iter::repeat_n(value, n));
        Ok(())
    }

    /// Appends clones of the elements of `other`.
    #[track_caller]
    pub fn extend_from_slice(&mut self, other: &[T], flags: Flags) -> Result<(), AllocError> {
        self.reserve(other.len(), flags)?;
        self.0.extend_from_slice(other);
        Ok(())
    }

    /// `n` clones of `value`.
    #[track_caller]
    pub fn from_elem(value: T, n: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut v = Self::new();
        v.extend_with(n, value, flags)?;
        Ok(v)
    }

    /// Cuts to or fills up to `new_len` elements.
    #[track_caller]
    pub fn resize(&mut self, new_len: usize, value: T, flags: Flags) -> Result<(), AllocError> {
        match new_len.checked_sub(self.0.len()) {
            Some(n) => self.extend_with(n, value, flags),
            None => {
                self.truncate(new_len);
                Ok(())
            }
        }
    }
}

impl<T> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for Vec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Vec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for Vec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Vec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Vec<T> {
    type Item = &'a mut T;
    type IntoIter = core::slice::IterMut<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}
