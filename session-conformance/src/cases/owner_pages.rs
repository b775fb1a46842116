//! Pages of the owner index, and an owner change that fails.

use std::time::Duration;

use session_core::{Backend, ErrorKind, Key};

use super::owner_index::{finds, index, keys_of, owned};
use crate::case::{
    CaseResult, Context, LONG, cases, create, ensure, outlive, owner, record, refused, update,
};

cases! { "owner":
    "the contract of OwnerIndex" => index_compares_whole_keys,
    "the contract of OwnerIndex" => index_pages_go_on_after_expired_records,
    "the contract of OwnerIndex" => index_keeps_the_owner_when_a_change_fails,
}

/// A key that begins with these bytes and ends with random ones.
fn key_after(prefix: &[u8]) -> Key {
    let mut bytes: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    bytes[..prefix.len()].copy_from_slice(prefix);
    Key::from_bytes(bytes)
}

/// Stores records of alice under these keys, in random order, and returns the keys in ascending order.
async fn store_under(
    store: &dyn Backend,
    mut keys: Vec<Key>,
    ttl: Duration,
) -> CaseResult<Vec<Key>> {
    fastrand::shuffle(&mut keys);
    for key in &keys {
        store.save(key, &owned("alice"), create(ttl)).await?;
    }
    keys.sort_unstable();
    Ok(keys)
}

async fn index_compares_whole_keys(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    let mut keys = Vec::new();
    for length in [4, 8, 16, 31] {
        let prefix = vec![fastrand::u8(..); length];
        keys.extend((0..5).map(|_| key_after(&prefix)));
    }
    keys.sort_unstable();
    keys.dedup();
    let keys = store_under(&*store, keys, LONG).await?;
    for page in [1, 2, 3] {
        let found = keys_of(&*store, "alice", page).await?;
        ensure!(
            found == keys,
            "an index must give all {} keys with equal beginnings in pages of {page}, but gave {}",
            keys.len(),
            found.len()
        );
    }
    Ok(())
}

/// A page with fewer keys than its limit says that there are no more.
async fn index_pages_go_on_after_expired_records(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    let brief = Duration::from_millis(40);
    store_under(&*store, (0..9).map(|n| key_after(&[n])).collect(), brief).await?;
    let live = store_under(&*store, (0..9).map(|n| key_after(&[200 + n])).collect(), LONG).await?;
    outlive(brief).await;
    for page in [1, 2, 5, 9] {
        let found = keys_of(&*store, "alice", page).await?;
        let missing = live.iter().filter(|key| !found.contains(key)).count();
        ensure!(
            missing == 0,
            "pages of {page} must find 9 live records after 9 expired ones, but miss {missing}"
        );
    }
    Ok(())
}

/// An owner change begins with `prolong` for the new owner. If the update fails, the record still has the old
/// one.
async fn index_keeps_the_owner_when_a_change_fails(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let entries = index(&*store)?;
    let keys = store_under(&*store, vec![key_after(&[])], LONG).await?;
    entries.prolong(&owner("bob"), &keys[0], LONG).await?;
    let result = store.save(&keys[0], &owned("bob"), update(&record("other"), None)).await;
    refused(result, ErrorKind::Conflict, "an update of another revision")?;
    finds(&*store, "alice", &keys, "after a change of the owner that failed").await
}
