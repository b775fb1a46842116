//! Items of one batch whose lives or sizes differ.

use std::time::{Duration, Instant};

use session_core::{CreateItem, Key, Record, TouchItem, Update, UpdateItem};

use super::batch::{complete, takes_batches};
use crate::case::{
    CaseResult, Context, Failure, LONG, cases, create, holds, key, lives, record, revision, same,
};

cases! { "batch":
    "the contract of BatchBackend" => each_item_has_a_life_of_its_own,
    "the contract of BatchBackend" => takes_what_is_as_large_as_a_single_record,
}

/// The lives of the items differ by less than a second, and the longest comes first.
async fn each_item_has_a_life_of_its_own(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let ttl = |n: u64| LONG + Duration::from_millis(990 - n * 120);
    let creates: Vec<CreateItem> = (0..8)
        .map(|n| CreateItem { key: key(), record: record(n.to_string()), ttl: ttl(n) })
        .collect();
    let update = |(n, item): (u64, &CreateItem)| UpdateItem {
        key: item.key,
        record: item.record.clone(),
        update: Update { expected: item.record.revision, ttl: Some(ttl(n)) },
    };
    let updates: Vec<UpdateItem> = (0..).zip(&creates).map(update).collect();
    let touch = |(n, item): (u64, &CreateItem)| TouchItem {
        key: item.key,
        expected: item.record.revision,
        ttl: ttl(n),
    };
    let touches: Vec<TouchItem> = (0..).zip(&creates).map(touch).collect();
    for what in ["created", "updated", "touched"] {
        let before = Instant::now();
        let results = match what {
            "created" => batch.create_many(&creates).await,
            "updated" => batch.update_many(&updates).await,
            _ => batch.touch_many(&touches).await,
        };
        for ((n, item), result) in (0..).zip(&creates).zip(complete(results, creates.len())?) {
            result?;
            let left = holds(&*store, &item.key, &item.record, "after a batch").await?.expires_in;
            lives(left, ttl(n), before, &format!("record {n} of eight that a batch {what}"))?;
        }
    }
    Ok(())
}

/// What a single operation accepts, a batch accepts, too, alone and beside a small item.
async fn takes_what_is_as_large_as_a_single_record(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let large = || record(vec![b'L'; (1 << 20) + 4_096]);
    store.save(&key(), &large(), create(LONG)).await?;
    for small in [0, 1] {
        let mut records = vec![large()];
        records.extend((0..small).map(|_| record("small")));
        let create = |record: &Record| CreateItem { key: key(), record: record.clone(), ttl: LONG };
        let creates: Vec<CreateItem> = records.iter().map(create).collect();
        let update = |item: &CreateItem| UpdateItem {
            key: item.key,
            record: Record { revision: revision(), ..item.record.clone() },
            update: Update { expected: item.record.revision, ttl: None },
        };
        let updates: Vec<UpdateItem> = creates.iter().map(update).collect();
        for result in complete(batch.create_many(&creates).await, creates.len())? {
            result?;
        }
        for result in complete(batch.update_many(&updates).await, updates.len())? {
            result?;
        }
        let keys: Vec<Key> = updates.iter().map(|item| item.key).collect();
        let found = complete(batch.load_many(&keys).await, keys.len())?;
        for (item, found) in updates.iter().zip(found) {
            let found = found?.ok_or_else(|| {
                Failure::Failed("a batch must load a record of more than 1 MiB".to_owned())
            })?;
            same(&found.record, &item.record, "that a batch updated")?;
        }
    }
    Ok(())
}
