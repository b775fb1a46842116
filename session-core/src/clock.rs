//! The two clocks of this process. Records expire by the clock of their store, not by these.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The monotonic clock. It is tokio's, as that of the timers, so that a test pauses both together.
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

/// The moment `life` after `now`. A moment beyond the clock's range becomes one in 100 years.
pub(crate) fn later(now: Instant, life: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(life).unwrap_or_else(|| now + CENTURY)
}
