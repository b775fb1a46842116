//! Queues for sessions that several requests write at once.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::deadline::Deadline;
use crate::Key;

const LANES: usize = 64;
/// How long a save that is in no conflict yet waits: whoever is in the lane may be stuck, and it may be
/// another session's.
const PATIENCE: Duration = Duration::from_millis(250);

/// Requests of this process that fight for one session queue up here, instead of refusing each
/// other's writes again and again.
///
/// A lane is a help, not a lock: sessions share it, other processes do not know of it, and nobody
/// waits for it without end.
pub(super) struct Lanes(Box<[Mutex<()>]>);

impl Lanes {
    pub(super) fn new() -> Self {
        Self((0..LANES).map(|_| Mutex::new(())).collect())
    }

    /// Whether requests fight for this session, or for one that shares its lane.
    pub(super) fn are_busy_for(&self, key: &Key) -> bool {
        self.of(key).try_lock().is_err()
    }

    /// For who is in no conflict yet; `None` when it took too long.
    pub(super) async fn enter_soon(
        &self,
        key: &Key,
        deadline: &Deadline,
    ) -> Option<MutexGuard<'_, ()>> {
        let entered = tokio::time::timeout(PATIENCE, self.of(key).lock());
        deadline.limit_part(async { Ok(entered.await.ok()) }).await.ok().flatten()
    }

    /// For who is in conflict; `None` when it took half of the time that is left.
    pub(super) async fn enter(&self, key: &Key, deadline: &Deadline) -> Option<MutexGuard<'_, ()>> {
        deadline.limit_part(async { Ok(self.of(key).lock().await) }).await.ok()
    }

    fn of(&self, key: &Key) -> &Mutex<()> {
        &self.0[usize::from(key.as_bytes()[31]) % self.0.len()]
    }
}
