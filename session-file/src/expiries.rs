//! The remembered expiries of the sessions of a bucket.

use std::collections::BTreeSet;

use session_core::Key;

/// How many sessions are remembered for one bucket. All 256 buckets together take about 12 MiB.
const MAX_REMEMBERED: usize = 1024;

/// The sessions of one bucket that expire soon. This is only a hint: the expiry in the file counts.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    /// A session may occur several times, or have no file any more.
    known: BTreeSet<(u64, Key)>,
    /// `known` contains all sessions that expire before this moment, except those that other
    /// processes wrote since the last sweep. Zero before the first sweep.
    horizon: u64,
    /// How many names an interrupted sweep has passed.
    unfinished: Option<usize>,
}

impl Expiries {
    /// Remembers when a session expires.
    pub(crate) fn note(&mut self, expires_at: u64, key: &Key) {
        if expires_at >= self.horizon {
            return;
        }
        self.known.insert((expires_at, *key));
        if self.known.len() > MAX_REMEMBERED
            && let Some((latest, _)) = self.known.pop_last()
        {
            self.horizon = latest;
        }
    }

    pub(crate) fn has_due(&self, now: u64) -> bool {
        self.known.first().is_some_and(|(expires_at, _)| *expires_at <= now)
    }

    /// Takes one session that is due.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Key> {
        match self.has_due(now) {
            true => self.known.pop_first().map(|(_, key)| key),
            false => None,
        }
    }

    /// The bucket has no files.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    pub(crate) fn needs_sweep(&self, now: u64) -> bool {
        self.unfinished.is_some() || self.horizon <= now
    }

    /// Begins a sweep, which notes all sessions that expire before the horizon, or continues an
    /// interrupted one. Returns how many names to skip. Sessions that are written from now on are
    /// noted, too.
    pub(crate) fn begin_sweep(&mut self, horizon: u64) -> usize {
        match self.unfinished.take() {
            Some(passed) => passed,
            None => {
                self.horizon = horizon;
                0
            }
        }
    }

    /// The sweep stopped after this number of names.
    pub(crate) fn interrupt_sweep(&mut self, passed: usize) {
        self.unfinished = Some(passed);
    }

    /// The next sweep begins at this moment at the latest.
    pub(crate) fn sweep_before(&mut self, moment: u64) {
        self.horizon = self.horizon.min(moment);
    }
}
