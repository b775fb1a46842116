//! The server's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reading is good for so long. Should the server's clock be set meanwhile, or another server take
/// over, sessions seem to have more or less time left until then.
const GOOD_FOR: Duration = Duration::from_millis(100);
/// An answer that took longer tells too little of what time it is now.
const PROMPT: Duration = Duration::from_millis(10);

/// What the server's clock showed when it was last asked. Between two readings ours goes on for it, at
/// most [`PROMPT`] and two milliseconds ahead and never behind: no record seems to have more time left
/// than it has. (After this machine slept, it may be behind for as long as a reading is good.)
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// The server's time at `began`, in microseconds since 1970.
    ahead: AtomicU64,
    /// When it was read, in microseconds after `began`; 0 is never.
    read: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), ahead: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// Sets it by an answer in milliseconds, which are rounded down, to what was `asked` then.
    pub(crate) fn set(&self, now: u64, asked: Instant) {
        if asked.elapsed() > PROMPT {
            return;
        }
        // The server has looked since, and not before.
        let asked = micros(asked.saturating_duration_since(self.began)).max(1);
        self.ahead.store(
            (now.saturating_add(1).saturating_mul(1000)).saturating_sub(asked),
            Ordering::Relaxed,
        );
        self.read.store(asked, Ordering::Release);
    }

    /// Whether it was read a moment ago.
    pub(crate) fn is_set(&self) -> bool {
        let read = self.read.load(Ordering::Acquire);
        read > 0 && micros(self.began.elapsed()).saturating_sub(read) < micros(GOOD_FOR)
    }

    /// In milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let ahead = self.ahead.load(Ordering::Relaxed);
        ahead.saturating_add(micros(self.began.elapsed())).div_ceil(1000)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_721_309_000;

    #[test]
    fn it_goes_on_for_a_moment_and_is_never_behind() {
        let clock = Clock::new();
        assert!(!clock.is_set());
        let asked = loop {
            let asked = Instant::now();
            clock.set(NOW, asked);
            if clock.is_set() {
                break asked; // within 10 ms, that is
            }
        };
        // The server may have looked at the end of that millisecond, and right after it was asked.
        for _ in 0..1000 {
            let passed = u64::try_from(asked.elapsed().as_millis()).unwrap();
            assert!(clock.now() > NOW + passed);
        }
        std::thread::sleep(GOOD_FOR);
        assert!(!clock.is_set());
        clock.set(NOW, asked);
        assert!(!clock.is_set(), "by an old answer");
        assert!(clock.now() < NOW + 10_000);
    }
}
