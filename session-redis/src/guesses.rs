//! Guesses at what stands in Redis.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use session_core::Key;

/// 32 KiB: a record is mostly updated soon after it was loaded.
const SLOTS: usize = 4096;
/// The lowest bits of a slot are for the length, as many of them as fit; those above are for the
/// deadline.
const LENGTH_BITS: u32 = 14;

/// A guess at one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) deadline: u64,
    length: u64,
}

impl Guess {
    pub(crate) fn new(deadline: u64, bytes: usize) -> Self {
        Self { deadline, length: bytes as u64 % (1 << LENGTH_BITS) }
    }

    /// Whether the value has so many bytes.
    pub(crate) fn is_as_long_as(self, bytes: usize) -> bool {
        self == Self::new(self.deadline, bytes)
    }
}

/// The deadlines and lengths of the values that were loaded last.
///
/// A value tells its deadline, so an update that leaves it alone has to repeat it. And a value of the
/// same length is written in place, which is cheaper. The script sees to what is wrong of these guesses.
pub(crate) struct Guesses(Box<[AtomicU64]>);

impl Guesses {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn note(&self, key: &Key, guess: Guess) {
        self.slot(key).store(guess.deadline << LENGTH_BITS | guess.length, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, key: &Key) -> Guess {
        let both = self.slot(key).load(Ordering::Relaxed);
        Guess { deadline: both >> LENGTH_BITS, length: both % (1 << LENGTH_BITS) }
    }

    fn slot(&self, key: &Key) -> &AtomicU64 {
        let index = key.prefix() % SLOTS as u64;
        &self.0[usize::try_from(index).unwrap_or_default()]
    }
}

impl fmt::Debug for Guesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guesses").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_comes_back() {
        let (guesses, key) = (Guesses::new(), Key::from_bytes([7; 32]));
        // The longest deadline that a value can tell.
        for deadline in [0, 1_763_721_309_000, 999_999_999_999_999] {
            for bytes in [52, 20_000] {
                guesses.note(&key, Guess::new(deadline, bytes));
                let guess = guesses.of(&key);
                assert_eq!(guess.deadline, deadline);
                assert!(guess.is_as_long_as(bytes) && !guess.is_as_long_as(bytes + 1));
            }
        }
    }
}
