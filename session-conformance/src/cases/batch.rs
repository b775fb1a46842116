//! Batches: each item has the result that the single operation would have had.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{
    Backend, BatchBackend, CreateItem, DestroyItem, Error, ErrorKind, Key, Record, TouchItem,
    Update, UpdateItem,
};

use crate::case::{
    CaseResult, Context, LONG, absent, cases, create, ensure, holds, key, lives, outlive, owner,
    record, refused, revision, skip,
};

cases! { "batch":
    "the contract of BatchBackend" => loads_are_in_order,
    "the contract of BatchBackend" => creates_are_in_order,
    "the contract of BatchBackend" => updates_are_in_order,
    "the contract of BatchBackend" => touches_are_in_order,
    "the contract of BatchBackend" => destroys_are_in_order,
    "the contract of BatchBackend" => a_bad_item_does_not_affect_the_others,
    "the contract of BatchBackend" => may_have_any_number_of_items,
}

/// How many records of each sort are in a batch, in random order.
const EACH: usize = 6;

/// What is stored under a key before the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Live,
    /// A live record, of which the batch expects another revision.
    OtherRevision,
    Expired,
    Nothing,
}

struct Item {
    before: Before,
    key: Key,
    old: Record,
    new: Record,
}

/// Items of all sorts in random order. What has to be stored is stored.
async fn items(store: &dyn Backend) -> CaseResult<Vec<Item>> {
    let brief = Duration::from_millis(30);
    let mut items = Vec::new();
    for before in [Before::Live, Before::OtherRevision, Before::Expired, Before::Nothing] {
        for n in 0..EACH {
            let (mut old, mut new) = (record(vec![b'o'; n * 40]), record(vec![b'n'; n * 70]));
            old.owner = Some(owner("alice"));
            new.owner = (n % 2 == 0).then(|| owner("bob"));
            items.push(Item { before, key: key(), old, new });
        }
    }
    fastrand::shuffle(&mut items);
    for item in &items {
        match item.before {
            Before::Live | Before::OtherRevision => {
                store.save(&item.key, &item.old, create(LONG)).await?;
            }
            Before::Expired => store.save(&item.key, &item.old, create(brief)).await?,
            Before::Nothing => {}
        }
    }
    outlive(brief).await;
    Ok(items)
}

impl Item {
    fn expected(&self) -> session_core::Revision {
        match self.before {
            Before::OtherRevision => revision(),
            _ => self.old.revision,
        }
    }

    /// Fails unless the result is that of a write which expects a revision.
    fn compared<T: std::fmt::Debug>(&self, result: Result<T, Error>, what: &str) -> CaseResult {
        let what = format!("{what} in a batch over {:?}", self.before);
        match self.before {
            Before::Live => result.map(drop).map_err(Into::into),
            Before::OtherRevision => refused(result, ErrorKind::Conflict, &what),
            Before::Expired | Before::Nothing => refused(result, ErrorKind::Gone, &what),
        }
    }

    /// Fails unless the batch left what was there before.
    async fn is_unchanged(&self, store: &dyn Backend) -> CaseResult {
        match self.before {
            Before::Live | Before::OtherRevision => {
                holds(store, &self.key, &self.old, "after a batch").await.map(drop)
            }
            Before::Expired | Before::Nothing => absent(store, &self.key, "after a batch").await,
        }
    }
}

pub(super) fn takes_batches(store: &dyn Backend) -> CaseResult<&dyn BatchBackend> {
    store.batch().ok_or_else(|| skip("the store takes no batches"))
}

/// Fails unless there is a result for each item.
pub(super) fn complete<T>(results: Vec<T>, items: usize) -> CaseResult<Vec<T>> {
    ensure!(
        results.len() == items,
        "a batch of {items} items must have {items} results, but has {}",
        results.len()
    );
    Ok(results)
}

async fn loads_are_in_order(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let items = items(&*store).await?;
    let keys: Vec<Key> = items.iter().map(|item| item.key).collect();
    let results = complete(batch.load_many(&keys).await, items.len())?;
    for (item, result) in items.iter().zip(results) {
        let found = result?;
        match item.before {
            Before::Live | Before::OtherRevision => {
                ensure!(found.is_some(), "a live record must be found by a batch, but was not");
                let found = found.expect("it is there");
                crate::case::same(&found.record, &item.old, "that a batch loaded")?;
                ensure!(
                    found.expires_in <= LONG && found.expires_in > LONG / 2,
                    "a batch must report the remaining life of about {LONG:?}, but says {:?}",
                    found.expires_in
                );
            }
            Before::Expired | Before::Nothing => {
                ensure!(found.is_none(), "a batch must load no record over {:?}", item.before);
            }
        }
    }
    Ok(())
}

async fn creates_are_in_order(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let items = items(&*store).await?;
    let creates: Vec<CreateItem> = items
        .iter()
        .map(|item| CreateItem { key: item.key, record: item.new.clone(), ttl: LONG })
        .collect();
    let before = Instant::now();
    let results = complete(batch.create_many(&creates).await, items.len())?;
    for (item, result) in items.iter().zip(results) {
        match item.before {
            Before::Live | Before::OtherRevision => {
                refused(
                    result,
                    ErrorKind::AlreadyExists,
                    "a create in a batch over a live record",
                )?;
                item.is_unchanged(&*store).await?;
            }
            Before::Expired | Before::Nothing => {
                result?;
                let left =
                    holds(&*store, &item.key, &item.new, "after a create in a batch").await?;
                lives(left.expires_in, LONG, before, "a record that a batch created")?;
            }
        }
    }
    Ok(())
}

async fn updates_are_in_order(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let items = items(&*store).await?;
    let ttl = |n: usize| n.is_multiple_of(2).then_some(LONG * 2);
    let update = |(n, item): (usize, &Item)| UpdateItem {
        key: item.key,
        record: item.new.clone(),
        update: Update { expected: item.expected(), ttl: ttl(n) },
    };
    let updates: Vec<UpdateItem> = items.iter().enumerate().map(update).collect();
    let before = Instant::now();
    let results = complete(batch.update_many(&updates).await, items.len())?;
    for (n, (item, result)) in items.iter().zip(results).enumerate() {
        item.compared(result, "an update")?;
        if item.before != Before::Live {
            item.is_unchanged(&*store).await?;
            continue;
        }
        let left = holds(&*store, &item.key, &item.new, "after an update in a batch").await?;
        match ttl(n) {
            Some(ttl) => lives(left.expires_in, ttl, before, "a record that a batch renewed")?,
            None => ensure!(
                left.expires_in <= LONG,
                "an update without ttl in a batch must keep the expiry, but {:?} are left",
                left.expires_in
            ),
        }
    }
    Ok(())
}

async fn touches_are_in_order(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let items = items(&*store).await?;
    let touches: Vec<TouchItem> = items
        .iter()
        .map(|item| TouchItem { key: item.key, expected: item.expected(), ttl: LONG * 2 })
        .collect();
    let before = Instant::now();
    let results = complete(batch.touch_many(&touches).await, items.len())?;
    for (item, result) in items.iter().zip(results) {
        item.compared(result, "a touch")?;
        item.is_unchanged(&*store).await?;
        if item.before == Before::Live {
            let left = holds(&*store, &item.key, &item.old, "after a touch in a batch").await?;
            lives(left.expires_in, LONG * 2, before, "a record that a batch touched")?;
        }
    }
    Ok(())
}

async fn destroys_are_in_order(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    for any_revision in [true, false] {
        let items = items(&*store).await?;
        let only = |item: &Item| (!any_revision).then(|| item.expected());
        let destroys: Vec<DestroyItem> =
            items.iter().map(|item| DestroyItem { key: item.key, only: only(item) }).collect();
        let results = complete(batch.destroy_many(&destroys).await, items.len())?;
        for (item, result) in items.iter().zip(results) {
            let must = match item.before {
                Before::Live => true,
                Before::OtherRevision => any_revision,
                Before::Expired | Before::Nothing => false,
            };
            let removed = result?;
            ensure!(
                removed == must,
                "a destroy in a batch over {:?} must say {must}, but said {removed}",
                item.before
            );
            match must {
                true => absent(&*store, &item.key, "after a destroy in a batch").await?,
                false => item.is_unchanged(&*store).await?,
            }
        }
    }
    Ok(())
}

async fn a_bad_item_does_not_affect_the_others(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    let ttl = |n: usize| if n == 3 { Duration::ZERO } else { LONG };
    let creates: Vec<CreateItem> = (0..8)
        .map(|n| CreateItem { key: key(), record: record(n.to_string()), ttl: ttl(n) })
        .collect();
    let results = complete(batch.create_many(&creates).await, creates.len())?;
    let what = "with a ttl of zero in a batch";
    for (n, (item, result)) in creates.iter().zip(results).enumerate() {
        if n == 3 {
            refused(result, ErrorKind::InvalidValue, &format!("a create {what}"))?;
            absent(&*store, &item.key, &format!("after a create {what}")).await?;
            // The later batches use it, too.
            store.save(&item.key, &item.record, create(LONG)).await?;
            continue;
        }
        result?;
        holds(&*store, &item.key, &item.record, "beside a bad item").await?;
    }
    let touch = |(n, item): (usize, &CreateItem)| TouchItem {
        key: item.key,
        expected: item.record.revision,
        ttl: ttl(n),
    };
    let touches: Vec<TouchItem> = creates.iter().enumerate().map(touch).collect();
    let results = complete(batch.touch_many(&touches).await, touches.len())?;
    for (n, result) in results.into_iter().enumerate() {
        match n {
            3 => refused(result, ErrorKind::InvalidValue, &format!("a touch {what}"))?,
            _ => result?,
        }
    }
    let update = |(n, item): (usize, &CreateItem)| UpdateItem {
        key: item.key,
        record: record("updated"),
        update: Update { expected: item.record.revision, ttl: Some(ttl(n)) },
    };
    let updates: Vec<UpdateItem> = creates.iter().enumerate().map(update).collect();
    let results = complete(batch.update_many(&updates).await, updates.len())?;
    for (n, (item, result)) in updates.iter().zip(results).enumerate() {
        if n == 3 {
            refused(result, ErrorKind::InvalidValue, &format!("an update {what}"))?;
            let old = &creates[n].record;
            holds(&*store, &item.key, old, &format!("after an update {what}")).await?;
            continue;
        }
        result?;
        holds(&*store, &item.key, &item.record, "beside a bad item").await?;
    }
    Ok(())
}

async fn may_have_any_number_of_items(cx: &Context) -> CaseResult {
    let store: Arc<dyn Backend> = cx.backend().await?;
    let batch = takes_batches(&*store)?;
    complete(batch.load_many(&[]).await, 0)?;
    complete(batch.destroy_many(&[]).await, 0)?;
    for count in [1, 2, batch.limits().items] {
        let creates: Vec<CreateItem> = (0..count)
            .map(|n| CreateItem { key: key(), record: record(n.to_string()), ttl: LONG })
            .collect();
        for result in complete(batch.create_many(&creates).await, count)? {
            result?;
        }
        let keys: Vec<Key> = creates.iter().map(|item| item.key).collect();
        let found = complete(batch.load_many(&keys).await, count)?;
        for (item, found) in creates.iter().zip(found) {
            let found = found?.map(|found| found.record);
            ensure!(
                found.as_ref() == Some(&item.record),
                "each of {count} records of a batch must be loaded, but one was not"
            );
        }
    }
    Ok(())
}
