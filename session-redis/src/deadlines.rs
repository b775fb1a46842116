//! Guesses at the deadlines of records.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use session_core::Key;

/// 32 KiB: a record is mostly updated soon after it was loaded.
const SLOTS: usize = 4096;

/// The deadlines of the records that were loaded last.
///
/// A value tells its deadline, so an update that leaves it alone has to repeat it. The script sees to
/// that; where the guess was right it has nothing to put right.
pub(crate) struct Deadlines(Box<[AtomicU64]>);

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn note(&self, key: &Key, deadline: u64) {
        self.slot(key).store(deadline, Ordering::Relaxed);
    }

    pub(crate) fn guess(&self, key: &Key) -> u64 {
        self.slot(key).load(Ordering::Relaxed)
    }

    fn slot(&self, key: &Key) -> &AtomicU64 {
        let index = key.prefix() % SLOTS as u64;
        &self.0[usize::try_from(index).unwrap_or_default()]
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").finish_non_exhaustive()
    }
}
