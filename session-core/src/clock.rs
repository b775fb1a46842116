//! The two clocks of this process. The expiry of records is the stores' business, by their own clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The monotonic clock. It is tokio's, like that of the timers, so that a test stops both together.
pub(crate) use tokio::time::Instant;

/// This machine's wall clock, in milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(millis) = crate::simulation::wall_clock() {
        return millis;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The moment that long after another. A life beyond the clock's range ends in a century.
pub(crate) fn later(now: Instant, life: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(life).unwrap_or_else(|| now + CENTURY)
}
