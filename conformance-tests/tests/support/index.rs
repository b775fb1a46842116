//! The owner index of the reference store: a look at all records.

use session_core::{Key, Owner, OwnerIndex, Result, async_trait};

use super::reference::Reference;

#[async_trait]
impl OwnerIndex for Reference {
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        let entries = self.entries();
        let owned = entries.iter().filter(|(key, entry)| {
            entry.live()
                && entry.record.owner.as_ref() == Some(owner)
                && after.is_none_or(|after| after < *key)
        });
        let mut keys: Vec<Key> = owned.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }
}
