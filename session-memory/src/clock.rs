//! The clock of the store.

use std::time::{Duration, Instant};

/// A moment of the store's clock: microseconds since the creation of the store.
pub(crate) type Moment = u64;

/// The operating system's monotonic clock, so that a change of the time of day does not change an
/// expiry.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        micros(self.start.elapsed())
    }
}

/// Without the division of 128-bit numbers in `as_micros`.
fn micros(elapsed: Duration) -> Moment {
    elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros())
}

/// The moment this many milliseconds after `now`. The type has room for far more than 10,000 years.
pub(crate) fn after(now: Moment, millis: u64) -> Moment {
    now.saturating_add(millis.saturating_mul(1_000))
}

/// The time from `now` to a later moment, in whole milliseconds. It is rounded up, so it is never
/// zero.
pub(crate) fn until(moment: Moment, now: Moment) -> Duration {
    Duration::from_millis(moment.saturating_sub(now).div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use session_core::{MAX_TTL, ttl_millis};

    #[test]
    fn the_longest_life_fits() {
        let millis = ttl_millis(MAX_TTL).unwrap();
        assert_eq!(until(after(5, millis), 5), MAX_TTL);
    }

    #[test]
    fn moments_are_microseconds() {
        assert_eq!(micros(Duration::new(3, 5_999)), 3_000_005);
    }

    #[test]
    fn the_last_microsecond_counts_as_a_millisecond() {
        assert_eq!(until(1_001, 1_000), Duration::from_millis(1));
        assert_eq!(until(3_000, 1_000), Duration::from_millis(2));
    }
}
