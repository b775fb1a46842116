//! The index that finds the records of an owner.

use std::sync::Arc;
use std::time::Duration;

use session_core::{Backend, Error, Key, OwnerIndex, Record};

use crate::case::{
    CaseResult, Context, LONG, SHORT, cases, create, ensure, key, outlive, owner, record, skip,
    together, too_late, update,
};

cases! { "owner":
    "the contract of OwnerIndex" => index_finds_every_record,
    "the contract of OwnerIndex" => index_is_byte_exact,
    "the contract of OwnerIndex" => index_gives_pages_in_order,
    "the contract of OwnerIndex" => index_follows_a_change_of_the_owner,
    "the contract of OwnerIndex" => index_keeps_what_was_renewed,
    "the contract of OwnerIndex" => index_finds_more_than_a_thousand,
    "the contract of OwnerIndex" => index_finds_what_was_acknowledged,
    "the contract of OwnerIndex" => index_has_what_loads,
    "the contract of OwnerIndex" => index_gives_pages_while_records_end,
    "the contract of OwnerIndex" => index_forgets_what_ended,
    "the contract of OwnerIndex" => index_is_there_after_reopening,
}

/// More than any case stores, but for one.
const PLENTY: usize = 1_000;

pub(super) fn index(store: &dyn Backend) -> CaseResult<&dyn OwnerIndex> {
    store.owner_index().ok_or_else(|| skip("the store has no owner index"))
}

pub(super) fn owned(name: &str) -> Record {
    Record { owner: Some(owner(name)), ..record("x") }
}

async fn stored(store: &dyn Backend, name: &str, count: usize) -> CaseResult<Vec<Key>> {
    let mut keys = Vec::new();
    for _ in 0..count {
        let key = key();
        store.save(&key, &owned(name), create(LONG)).await?;
        keys.push(key);
    }
    keys.sort_unstable();
    Ok(keys)
}

/// All keys of the owner, in pages of this size.
pub(super) async fn keys_of(store: &dyn Backend, name: &str, page: usize) -> CaseResult<Vec<Key>> {
    let (index, name) = (index(store)?, owner(name));
    let mut all: Vec<Key> = Vec::new();
    loop {
        let keys = index.keys_of(&name, all.last(), page).await?;
        ensure!(
            keys.len() <= page,
            "an index must give at most {page} keys, but gave {}",
            keys.len()
        );
        for key in &keys {
            ensure!(
                all.last().is_none_or(|last| last < key),
                "an index must give keys in ascending order, each once, but does not"
            );
            all.push(*key);
        }
        if keys.len() < page {
            return Ok(all);
        }
    }
}

/// Fails unless the index finds exactly these keys, in ascending order.
pub(super) async fn finds(
    store: &dyn Backend,
    name: &str,
    keys: &[Key],
    after: &str,
) -> CaseResult {
    let found = keys_of(store, name, PLENTY).await?;
    let missing = keys.iter().filter(|key| !found.contains(key)).count();
    ensure!(
        missing == 0,
        "an index must find all {} records {after}, but misses {missing}",
        keys.len()
    );
    ensure!(
        found.len() == keys.len(),
        "an index must find {} records {after}, but found {}",
        keys.len(),
        found.len()
    );
    Ok(())
}

async fn index_finds_every_record(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    let (alice, bob) = (stored(&*store, "alice", 12).await?, stored(&*store, "bob", 3).await?);
    store.save(&key(), &record("nobody's"), create(LONG)).await?;
    let other = cx.backend().await?;
    finds(&*other, "alice", &alice, "of an owner").await?;
    finds(&*other, "bob", &bob, "of another owner").await?;
    finds(&*other, "carol", &[], "of an unknown owner").await
}

async fn index_is_byte_exact(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    let longest = "é".repeat(127);
    let similar = [
        "alice",
        "Alice",
        "alice ",
        " alice",
        "alic",
        "alice\0",
        "älice",
        "*",
        "%",
        "a:b",
        "a/b",
        "..",
        "straße",
        "strasse",
        longest.as_str(),
    ];
    let mut keys = Vec::new();
    for name in similar {
        keys.push(stored(&*store, name, 1).await?);
    }
    for (name, keys) in similar.into_iter().zip(keys) {
        finds(&*store, name, &keys, "of an owner with a similar name").await?;
    }
    Ok(())
}

async fn index_gives_pages_in_order(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    let keys = stored(&*store, "alice", 23).await?;
    for page in [1, 7, 22, 23, 24] {
        let found = keys_of(&*store, "alice", page).await?;
        ensure!(
            found == keys,
            "an index must give all 23 keys in pages of {page}, but gave {}",
            found.len()
        );
    }
    Ok(())
}

/// Entries of the owner before may remain for a while.
async fn index_follows_a_change_of_the_owner(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    let (key, first, second) = (key(), owned("alice"), owned("bob"));
    store.save(&key, &first, create(LONG)).await?;
    index(&*store)?.prolong(&owner("bob"), &key, LONG).await?;
    store.save(&key, &second, update(&first, None)).await?;
    finds(&*store, "bob", &[key], "after an update with another owner").await?;
    let third = record("nobody's");
    store.save(&key, &third, update(&second, None)).await?;
    let fourth = owned("alice");
    index(&*store)?.prolong(&owner("alice"), &key, LONG).await?;
    store.save(&key, &fourth, update(&third, None)).await?;
    finds(&*store, "alice", &[key], "after an update gave them an owner").await
}

/// An entry lives as long as its record, also after a renewal.
async fn index_keeps_what_was_renewed(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    index(&*store)?;
    for ttl in SHORT {
        let (touched, updated) = (key(), key());
        let (old, new) = (owned("alice"), owned("alice"));
        let began = std::time::Instant::now();
        store.save(&touched, &old, create(ttl)).await?;
        store.save(&updated, &old, create(ttl)).await?;
        index(&*store)?.prolong(&owner("alice"), &touched, LONG).await?;
        let touch = store.touch(&touched, old.revision, LONG).await;
        let update = store.save(&updated, &new, update(&old, Some(LONG))).await;
        if too_late(&touch, began, ttl) || too_late(&update, began, ttl) {
            continue;
        }
        touch?;
        update?;
        outlive(ttl).await;
        store.gc(PLENTY).await?;
        // Another record of the owner, so that a store removes what it takes for expired.
        let another = stored(&*store, "alice", 1).await?;
        let mut keys = vec![touched, updated, another[0]];
        keys.sort_unstable();
        return finds(&*store, "alice", &keys, "after their renewal").await;
    }
    Err(crate::case::too_slow())
}

async fn index_finds_more_than_a_thousand(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    index(&*handles[0])?;
    let creates = (0..16).map(|task| {
        let store = Arc::clone(&handles[task % 2]);
        async move {
            for _ in 0..66 {
                store.save(&key(), &owned("alice"), create(LONG)).await?;
            }
            Ok::<_, Error>(())
        }
    });
    for created in together(creates).await {
        created?;
    }
    let found = keys_of(&*handles[0], "alice", 500).await?.len();
    ensure!(found == 16 * 66, "an index must find 1,056 records, but found {found}");
    Ok(())
}

/// As soon as a create is acknowledged, every handle finds its record.
async fn index_finds_what_was_acknowledged(cx: &Context) -> CaseResult {
    let (writer, reader) = (cx.backend().await?, cx.backend().await?);
    index(&*writer)?;
    let creates = (0..24).map(|task| {
        let (writer, reader) = (Arc::clone(&writer), Arc::clone(&reader));
        async move {
            tokio::time::sleep(Duration::from_micros(task * 200)).await;
            let key = key();
            writer.save(&key, &owned("alice"), create(LONG)).await?;
            let found = index(&*reader)?.keys_of(&owner("alice"), None, PLENTY).await?;
            ensure!(
                found.contains(&key),
                "an index must find a record whose create was acknowledged, but does not"
            );
            Ok(())
        }
    });
    together(creates).await.into_iter().collect()
}

/// As soon as a record loads, its entry is there: it is written before the record.
async fn index_has_what_loads(cx: &Context) -> CaseResult {
    let (writer, reader) = (cx.backend().await?, cx.backend().await?);
    index(&*writer)?;
    for n in 0..12 {
        let (key, record) = (key(), owned("alice"));
        let creating = {
            let (writer, record) = (Arc::clone(&writer), record.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(n * 300)).await;
                writer.save(&key, &record, create(LONG)).await
            })
        };
        while reader.load(&key).await?.is_none() {
            tokio::task::yield_now().await;
        }
        let found = index(&*reader)?.keys_of(&owner("alice"), None, PLENTY).await?;
        creating.await.expect("a store does not panic")?;
        ensure!(found.contains(&key), "an index must find a record that loads, but does not");
    }
    Ok(())
}

/// Records that end between two pages take no others out of the later pages.
async fn index_gives_pages_while_records_end(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let entries = index(&*store)?;
    let (alice, keys) = (owner("alice"), stored(&*store, "alice", 12).await?);
    let mut found = entries.keys_of(&alice, None, 4).await?;
    ensure!(found == keys[..4], "an index must give its 4 first keys, but does not");
    for key in &keys[..3] {
        store.destroy(key, None).await?;
        entries.forget(&alice, key).await?;
    }
    for _ in 0..2 {
        let next = entries.keys_of(&alice, found.last(), 4).await?;
        found.extend(next);
    }
    let missing = keys[3..].iter().filter(|key| !found.contains(key)).count();
    ensure!(
        missing == 0,
        "an index must find the 9 records that remain between two pages, but misses {missing}"
    );
    Ok(())
}

async fn index_forgets_what_ended(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let entries = index(&*store)?;
    let brief = Duration::from_millis(40);
    store.save(&key(), &owned("alice"), create(brief)).await?;
    let destroyed = stored(&*store, "alice", 1).await?[0];
    let live = stored(&*store, "alice", 1).await?;
    store.destroy(&destroyed, None).await?;
    entries.forget(&owner("alice"), &destroyed).await?;
    // Entries apart from the records may have a margin.
    for _ in 0..40 {
        outlive(brief).await;
        store.gc(PLENTY).await?;
        if keys_of(&*store, "alice", PLENTY).await?.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    finds(&*store, "alice", &live, "some seconds after the end of two others").await
}

async fn index_is_there_after_reopening(cx: &Context) -> CaseResult {
    let keys = {
        let store = cx.backend().await?;
        index(&*store)?;
        if !store.capabilities().durable {
            return Err(skip("the store is not durable"));
        }
        stored(&*store, "alice", 3).await?
    };
    finds(&*cx.backend().await?, "alice", &keys, "after reopening").await
}
