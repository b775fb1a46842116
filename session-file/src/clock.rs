//! The wall clock. A file outlives the process and a restart of the machine, so a monotonic clock
//! can't be used.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use session_core::{Error, Result};

/// The year 2020, in milliseconds since 1970.
const YEAR_2020: u64 = 1_577_836_800_000;

/// The latest time that this process has read.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// Milliseconds since 1970. The time never goes back within this process, so an expired session
/// stays expired.
pub(crate) fn now() -> u64 {
    not_before(&LATEST, wall())
}

/// As [`now`], or a refusal if the clock is obviously wrong: after a start with a reset clock, all
/// expired sessions would be live.
pub(crate) fn checked_now() -> Result<u64> {
    plausible(now())
}

fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn not_before(latest: &AtomicU64, wall: u64) -> u64 {
    latest.fetch_max(wall, Ordering::Relaxed).max(wall)
}

fn plausible(now: u64) -> Result<u64> {
    match now < YEAR_2020 {
        true => Err(Error::refused(
            "the clock of this machine is before the year 2020; nothing was read or written. Set it",
        )),
        false => Ok(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use session_core::ErrorKind;

    #[test]
    fn time_never_goes_back() {
        let latest = AtomicU64::new(0);
        assert_eq!(not_before(&latest, 7), 7);
        assert_eq!(not_before(&latest, 5), 7);
        assert_eq!(not_before(&latest, 8), 8);
    }

    #[test]
    fn a_clock_before_2020_is_refused() {
        assert_eq!(plausible(YEAR_2020).unwrap(), YEAR_2020);
        for wrong in [0, YEAR_2020 - 1] {
            let error = plausible(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.nothing_was_written());
        }
    }
}
