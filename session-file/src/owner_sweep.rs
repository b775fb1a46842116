//! When the index of owners is swept next.

use std::sync::{Mutex, PoisonError};

/// When the index is swept next.
#[derive(Debug, Default)]
pub(crate) struct Sweep(Mutex<State>);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) due_at: u64,
    /// How many owners an interrupted sweep has passed.
    pub(crate) passed: usize,
}

impl Sweep {
    pub(crate) fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
