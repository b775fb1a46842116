//! The probes with concurrency, batches and the owner index.

use std::time::Duration;

use session_core::{
    Backend, BatchBackend, CreateItem, ErrorKind, Key, OwnerIndex, TouchItem, Update, UpdateItem,
    Write,
};
use tokio::task::JoinSet;

use super::singles::{
    DAY, MINUTE, create, key, kind, large, life, owned, owner, record, rev, sleep, update,
};
use crate::{Fault, Wrong};

const CREATE: Write = Write::Create { ttl: MINUTE };

pub(super) async fn shows(probed: Fault, store: &Wrong) -> bool {
    match probed {
        Fault::RefusedButWritten => refused_but_written(store).await,
        Fault::LoserIsGone => {
            create(store, 1, &record(1), MINUTE).await;
            let (k, a, b) = (key(1), record(2), record(3));
            let write = || update(1, None);
            let (a, b) = tokio::join!(store.save(&k, &a, write()), store.save(&k, &b, write()));
            ![kind(a), kind(b)].contains(&Some(ErrorKind::Conflict))
        }
        Fault::TwoWinnersOverExpired => {
            create(store, 1, &record(1), Duration::from_millis(1)).await;
            sleep(5).await;
            let (k, a, b) = (key(1), record(2), record(3));
            let (a, b) = tokio::join!(store.save(&k, &a, CREATE), store.save(&k, &b, CREATE));
            a.is_ok() && b.is_ok()
        }
        Fault::ChunkedLoad => {
            let (old, new) = (large(1, 1, 256 << 10), large(2, 2, 256 << 10));
            create(store, 1, &old, MINUTE).await;
            let k = key(1);
            let (loaded, saved) =
                tokio::join!(store.load(&k), later(store.save(&k, &new, update(1, None))));
            saved.unwrap();
            let loaded = loaded.unwrap().unwrap().record;
            loaded != old && loaded != new
        }
        Fault::UpdateUndoesTouch => {
            create(store, 1, &record(1), MINUTE).await;
            let (k, new) = (key(1), record(2));
            let save = store.save(&k, &new, update(1, None));
            let (saved, touched) = tokio::join!(save, later(store.touch(&k, rev(1), DAY)));
            // The correct store does the save first or the touch first.
            let both = saved.is_ok() && touched.is_ok();
            both && life(store.load(&k).await) < DAY - MINUTE
        }
        Fault::TouchWritesBack => {
            create(store, 1, &record(1), MINUTE).await;
            let (k, new) = (key(1), record(2));
            let save = store.save(&k, &new, update(1, None));
            let (_, saved) = tokio::join!(store.touch(&k, rev(1), DAY), later(save));
            saved.is_ok() && store.load(&k).await.unwrap().unwrap().record != new
        }
        Fault::DropLeavesLock => {
            create(store, 1, &record(1), MINUTE).await;
            let (k, new) = (key(1), record(2));
            // Dropped after it was polled twice, when it has the lock and waits.
            tokio::select! {
                biased;
                _ = store.save(&k, &new, update(1, None)) => return false,
                () = tokio::task::yield_now() => {}
            }
            store.save(&k, &new, update(1, None)).await.is_err()
        }
        Fault::CacheRefillRace => {
            create(store, 1, &record(1), MINUTE).await;
            let k = key(1);
            let (_, destroyed) = tokio::join!(store.load(&k), later(store.destroy(&k, None)));
            destroyed.unwrap() && store.load(&k).await.unwrap().is_some()
        }
        Fault::BatchAbortLies => {
            let item = |last, ttl| CreateItem { key: key(last), record: record(1), ttl };
            let items = [item(1, MINUTE), item(2, Duration::ZERO), item(3, MINUTE)];
            let results = store.create_many(&items).await;
            let lies = |error: &session_core::Error| error.nothing_was_written();
            let written = store.load(&key(1)).await.unwrap().is_some();
            written && results[0].as_ref().is_err_and(lies)
        }
        Fault::BatchItemTooLarge => {
            create(store, 1, &record(1), MINUTE).await;
            let record = large(2, 1, (1 << 20) + 1);
            let update = Update { expected: rev(1), ttl: None };
            let results = store.update_many(&[UpdateItem { key: key(1), record, update }]).await;
            results[0].is_err()
        }
        Fault::BatchOneTtl => {
            create(store, 1, &record(1), MINUTE).await;
            create(store, 2, &record(1), MINUTE).await;
            let item = |last, millis| TouchItem {
                key: key(last),
                expected: rev(1),
                ttl: Duration::from_millis(millis),
            };
            store.touch_many(&[item(1, 1900), item(2, 1000)]).await;
            life(store.load(&key(2)).await) > Duration::from_millis(1000)
        }
        Fault::LimitBeforeFilter => {
            create(store, 1, &owned(1, "a"), Duration::from_millis(1)).await;
            create(store, 2, &owned(1, "a"), MINUTE).await;
            sleep(5).await;
            store.keys_of(&owner("a"), None, 1).await.unwrap().is_empty()
        }
        Fault::ProlongMovesEntry => {
            create(store, 1, &owned(1, "a"), MINUTE).await;
            store.prolong(&owner("b"), &key(1), MINUTE).await.unwrap();
            let refused = store.save(&key(1), &owned(2, "b"), update(9, None)).await;
            refused.is_err() && store.keys_of(&owner("a"), None, 9).await.unwrap().is_empty()
        }
        Fault::CursorPrefix => {
            create(store, 1, &owned(1, "a"), MINUTE).await;
            create(store, 2, &owned(1, "a"), MINUTE).await;
            store.keys_of(&owner("a"), Some(&key(1)), 9).await.unwrap().is_empty()
        }
        _ => unreachable!("every fault has a probe"),
    }
}

/// Begins the operation when others of the same moment are at their second step.
async fn later<T>(operation: impl Future<Output = T>) -> T {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    operation.await
}

async fn refused_but_written(store: &Wrong) -> bool {
    let mut saves = JoinSet::new();
    for last in 0..16 {
        let store = store.clone();
        saves.spawn(async move {
            (last, store.save(&key(last), &record(1), CREATE).await.map_err(Box::new))
        });
    }
    let mut shows = false;
    for (last, result) in saves.join_all().await {
        let refused = result.is_err_and(|error| error.nothing_was_written());
        shows |= refused && loads(store, &key(last)).await;
    }
    shows
}

async fn loads(store: &Wrong, key: &Key) -> bool {
    store.load(key).await.unwrap().is_some()
}
