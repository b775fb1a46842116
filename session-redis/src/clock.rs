//! The server's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many milliseconds a reading is good for. Should the server's clock be set, or another server
/// take over, sessions seem to live longer or shorter by as much, and for no longer than this.
const GOOD_FOR: u64 = 100;

/// What the server's clock showed when it was last asked, in milliseconds since 1970. Between two
/// readings, ours goes on for it.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// The server's time at `began`.
    ahead: AtomicU64,
    /// When it was read, after `began`; 0 is never.
    read: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), ahead: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// Sets it to what it was after it was `asked` for.
    pub(crate) fn set(&self, now: u64, asked: Instant) {
        if asked.elapsed() > Duration::from_millis(GOOD_FOR) {
            return; // That answer is old.
        }
        let elapsed = self.elapsed();
        self.ahead.store(now.saturating_sub(elapsed), Ordering::Relaxed);
        self.read.store(elapsed.max(1), Ordering::Release);
    }

    /// Whether it was read a moment ago.
    pub(crate) fn is_set(&self) -> bool {
        let read = self.read.load(Ordering::Acquire);
        read > 0 && self.elapsed().saturating_sub(read) < GOOD_FOR
    }

    pub(crate) fn now(&self) -> u64 {
        self.ahead.load(Ordering::Relaxed) + self.elapsed()
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_for_a_moment() {
        let clock = Clock::new();
        assert!(!clock.is_set());
        let asked = Instant::now();
        clock.set(1_763_721_309_000, asked);
        assert!(clock.is_set());
        std::thread::sleep(Duration::from_millis(GOOD_FOR + 1));
        assert!(!clock.is_set());
        clock.set(1_763_721_309_000, asked);
        assert!(!clock.is_set(), "by an old answer");
        let passed = clock.now() - 1_763_721_309_000;
        assert!((GOOD_FOR..10_000).contains(&passed), "{passed}");
    }
}
