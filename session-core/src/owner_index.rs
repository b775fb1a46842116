//! The optional part of the contract for stores that can find the sessions of an account.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Key, Owner, Result};

/// Finds the records of an owner.
///
/// A store that implements it returns itself from [`Backend::owner_index`](crate::Backend::owner_index).
/// Without it, [`SessionStore::sessions_of`](crate::SessionStore::sessions_of) and
/// [`destroy_all`](crate::SessionStore::destroy_all) are `Unsupported`.
///
/// # The contract
///
/// - [`keys_of`](Self::keys_of) covers the records: at every moment it finds each live record that has
///   the owner, whoever wrote the record and on whatever node. A store that keeps the index apart from
///   the records therefore writes an entry **before** the record that it names, and makes it live as
///   long as the record. Before a touch, and before an update without a new life that
///   changes the owner, the handle calls [`prolong`](Self::prolong).
/// - It may also find keys that have no live record, or a record of another owner: the handle loads each
///   record and compares. Such entries must not remain for long: they end with the expiry that the
///   record had, with the next `gc`, or with [`forget`](Self::forget).
/// - Owners are compared byte by byte.
/// - The cost is proportional to the number of the owner's records, not to that of all records.
/// - A record without an owner causes no work.
///
/// ```
/// use std::collections::BTreeSet;
/// use session_core::{Key, Owner, OwnerIndex, Result, async_trait};
///
/// /// A store whose records contain the owner, so its index needs no entries of its own.
/// struct Database;
///
/// #[async_trait]
/// impl OwnerIndex for Database {
///     async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
///         // SELECT id FROM sessions WHERE owner = ? AND id > ? ORDER BY id LIMIT ?
///         let found: BTreeSet<Key> = self.select(owner, after).await?;
///         Ok(found.into_iter().take(limit).collect())
///     }
/// }
/// # impl Database {
/// #     async fn select(&self, _: &Owner, _: Option<&Key>) -> Result<BTreeSet<Key>> { Ok(BTreeSet::new()) }
/// # }
/// ```
#[async_trait]
pub trait OwnerIndex: Send + Sync {
    /// The next keys of this owner, in ascending order: up to `limit` keys that are greater than
    /// `after`, or the first ones. Fewer than `limit` keys mean that there are no more.
    ///
    /// # Errors
    /// `Unavailable`, `InvalidConfig`, `Other`.
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>>;

    /// The record under the key is about to be [touched](crate::Backend::touch), or to get this owner by an
    /// update without a new life: its entry must live for `ttl`, at least. A store whose index is part of the records has nothing to do
    /// (default).
    ///
    /// # Errors
    /// `Unavailable`, `InvalidConfig`, `Other`. The handle does not change the record then.
    async fn prolong(&self, owner: &Owner, key: &Key, ttl: Duration) -> Result<()> {
        let _ = (owner, key, ttl);
        Ok(())
    }

    /// The record of this owner under the key was destroyed, and the key will never be used again: its
    /// entry is not needed any more. A store whose index is part of the records has nothing to do
    /// (default).
    ///
    /// # Errors
    /// `Unavailable`, `InvalidConfig`, `Other`. The handle ignores them, because an entry without a
    /// record does no harm.
    async fn forget(&self, owner: &Owner, key: &Key) -> Result<()> {
        let _ = (owner, key);
        Ok(())
    }
}
