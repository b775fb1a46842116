//! A session store without compare-and-swap, for comparison: a request reads the whole session when it begins
//! and writes the whole session when it ends. The last one wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many sessions it keeps.
const MOST: usize = 1000;

/// Counters, by the number of a session. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct NaiveStore(Arc<Mutex<HashMap<u64, u64>>>);

impl NaiveStore {
    pub(crate) fn load(&self, session: u64) -> u64 {
        self.sessions().get(&session).copied().unwrap_or(0)
    }

    pub(crate) fn save(&self, session: u64, counter: u64) {
        let mut sessions = self.sessions();
        if sessions.len() >= MOST {
            sessions.clear();
        }
        sessions.insert(session, counter);
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
