//! The owner index, which is part of the records.

use std::time::Duration;

use session_core::{Key, Owner, OwnerIndex, Result, async_trait};

use crate::{Fault, Wrong};

#[async_trait]
impl OwnerIndex for Wrong {
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        tokio::task::yield_now().await;
        let state = self.state();
        let now = self.now();
        let Some(keys) = state.owners.get(owner) else {
            return Ok(Vec::new());
        };
        let later = |key: &&Key| match after {
            Some(after) if self.is(Fault::CursorPrefix) => key.prefix() > after.prefix(),
            Some(after) => *key > after,
            None => true,
        };
        let live = |key: &&Key| state.live(key, now).is_some();
        let keys = keys.iter().filter(later);
        Ok(match self.fault {
            Fault::LimitBeforeFilter => keys.take(limit).filter(live).copied().collect(),
            _ => keys.filter(live).take(limit).copied().collect(),
        })
    }

    async fn prolong(&self, owner: &Owner, key: &Key, _ttl: Duration) -> Result<()> {
        if self.is(Fault::ProlongMovesEntry) {
            let mut state = self.state();
            for keys in state.owners.values_mut() {
                keys.remove(key);
            }
            state.owners.entry(owner.clone()).or_default().insert(*key);
        }
        Ok(())
    }
}
