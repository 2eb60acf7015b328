//! A count with a maximum.

use std::sync::atomic::{AtomicUsize, Ordering};

/// There is no memory left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A count of bytes, and its maximum.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) most: usize,
    held: AtomicUsize,
    /// Held by connections that were told to end.
    pub(super) leaving: AtomicUsize,
}

impl Budget {
    pub(super) const fn of(most: usize) -> Self {
        Self { most, held: AtomicUsize::new(0), leaving: AtomicUsize::new(0) }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes `more` bytes, if the sum stays within `most`.
    pub(super) fn try_take_within(&self, more: usize, most: usize) -> Result<(), Full> {
        let sum = |held: usize| held.checked_add(more).filter(|sum| *sum <= most);
        match self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum) {
            Ok(_before) => Ok(()),
            Err(_held) => Err(Full),
        }
    }

    pub(super) fn try_take(&self, more: usize) -> Result<(), Full> {
        self.try_take_within(more, self.most)
    }

    /// Takes bytes beyond any maximum.
    pub(super) fn take(&self, more: usize) {
        self.held.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn give(&self, back: usize) {
        self.held.fetch_sub(back, Ordering::Relaxed);
    }

    pub(super) fn free(&self) -> usize {
        self.most.saturating_sub(self.held())
    }

    /// The bytes that are held beyond the maximum.
    pub(super) fn excess(&self) -> usize {
        self.held().saturating_sub(self.most)
    }
}
