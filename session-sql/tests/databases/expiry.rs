//! What expired is gone for each statement, also for those that only batches use, which the
//! conformance suite meets by chance if at all.

use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, CreateItem, DestroyItem, ErrorKind, Key, Result, Revision, TouchItem, Update,
    UpdateItem, Write,
};

use crate::common::{LIFE, create, key, kind, over, record, revision};
use crate::{mariadb, postgres, sqlite};

/// More than one, fewer than fill a batch.
const MANY: u32 = 48;
const SHORT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn sqlite() {
    let (_directory, _, backend) = sqlite::file().await;
    what_expired_is_gone(Arc::new(backend)).await;
}

#[tokio::test]
async fn postgres() {
    what_expired_is_gone(Arc::new(postgres::backend().await)).await;
}

#[tokio::test]
async fn mariadb() {
    what_expired_is_gone(Arc::new(mariadb::backend().await)).await;
}

async fn what_expired_is_gone(backend: Arc<dyn Backend>) {
    alone(&*backend).await;
    together(&backend).await;
    collected(&backend).await;
    born_dead(&backend).await;
}

async fn alone(backend: &dyn Backend) {
    let [old, live] = [key(1_000_000), key(1_000_001)];
    backend.save(&live, &record(1), create()).await.unwrap();
    expire(backend, &[old]).await;
    let renewal = |expected| Update { expected: Revision::from_u64(expected), ttl: Some(LIFE) };
    assert!(backend.load(&old).await.unwrap().is_none());
    // Neither by what it expects nor by what it finds may a write take it for a live one.
    for expected in [1, 7] {
        assert_eq!(kind(backend.save(&old, &record(2), over(expected)).await), ErrorKind::Gone);
        let renewed = backend.save(&old, &record(2), Write::Update(renewal(expected))).await;
        assert_eq!(kind(renewed), ErrorKind::Gone);
        let touched = backend.touch(&old, Revision::from_u64(expected), LIFE).await;
        assert_eq!(kind(touched), ErrorKind::Gone);
    }
    assert!(backend.load(&old).await.unwrap().is_none());
    assert!(!backend.destroy(&old, Some(Revision::from_u64(1))).await.unwrap());
    expire(backend, &[old]).await;
    assert!(!backend.destroy(&old, None).await.unwrap());
    expire(backend, &[old]).await;
    backend.save(&old, &record(3), create()).await.unwrap();
    assert_eq!(kind(backend.save(&old, &record(4), create()).await), ErrorKind::AlreadyExists);
    let loaded = backend.load(&old).await.unwrap().unwrap();
    assert_eq!(loaded.record, record(3));
    assert!(loaded.expires_in > LIFE / 2);
    assert_eq!(backend.load(&live).await.unwrap().unwrap().record, record(1));
}

/// Each second one expired, in batches that hold both.
async fn together(backend: &Arc<dyn Backend>) {
    let (dead, live): (Vec<u32>, Vec<u32>) = (0..MANY).partition(|number| number % 2 == 0);
    for number in &live {
        backend.save(&key(*number), &record(1), create()).await.unwrap();
    }
    let dead: Vec<Key> = dead.into_iter().map(key).collect();
    let lives = |number: u32| number % 2 == 1;
    let check = |number: u32, outcome: Result<()>, what: &str| match outcome {
        Ok(()) => assert!(lives(number), "{what} of an expired one"),
        Err(error) => {
            assert!(!lives(number), "{what}: {error:?}");
            assert_eq!(error.kind(), ErrorKind::Gone, "{what}: {error:?}");
        }
    };

    expire(&**backend, &dead).await;
    let batch = backend.batch().unwrap();
    let keys: Vec<Key> = (0..MANY).map(key).collect();
    for (number, loaded) in (0..).zip(batch.load_many(&keys).await) {
        assert_eq!(loaded.unwrap().is_some(), lives(number), "load");
    }
    // Of one life and of several: where one statement can't give each its own, there is another way.
    for apart in [0, 1] {
        let items = touches(1, |number| LIFE + Duration::from_secs((number * apart).into()));
        for (number, touched) in (0..).zip(batch.touch_many(&items).await) {
            check(number, touched, "touch");
        }
    }
    // Of another revision: a conflict with what lives only.
    for (number, touched) in (0..).zip(batch.touch_many(&touches(7, |_| LIFE * 9)).await) {
        let expected = if lives(number) { ErrorKind::Conflict } else { ErrorKind::Gone };
        assert_eq!(kind(touched), expected);
        if let Some(loaded) = backend.load(&key(number)).await.unwrap() {
            assert!(loaded.expires_in < LIFE * 2);
        }
    }
    for ttl in [None, Some(LIFE)] {
        for (number, saved) in (0..).zip(batch.update_many(&updates(1, 1, ttl)).await) {
            check(number, saved, "save");
        }
    }
    // Over another revision: a conflict with what lives only.
    for ttl in [None, Some(LIFE)] {
        for (number, saved) in (0..).zip(batch.update_many(&updates(2, 7, ttl)).await) {
            let expected = if lives(number) { ErrorKind::Conflict } else { ErrorKind::Gone };
            assert_eq!(kind(saved), expected);
        }
    }
    let ends: Vec<_> = (0..MANY)
        .filter(|number| !lives(*number))
        .map(|number| DestroyItem { key: key(number), only: None })
        .collect();
    assert!(batch.destroy_many(&ends).await.into_iter().all(|removed| !removed.unwrap()));
    expire(&**backend, &dead).await;
    let items: Vec<_> =
        keys.iter().map(|key| CreateItem { key: *key, record: record(3), ttl: LIFE }).collect();
    for (number, created) in (0..).zip(batch.create_many(&items).await) {
        match created {
            Ok(()) => assert!(!lives(number), "create over a live one"),
            Err(error) => {
                assert!(lives(number), "create: {error:?}");
                assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            }
        }
        let loaded = backend.load(&key(number)).await.unwrap().unwrap();
        assert_eq!(loaded.record, record(if lives(number) { 1 } else { 3 }));
        assert!(loaded.expires_in > LIFE / 2);
    }
}

fn touches(expected: u64, ttl: impl Fn(u32) -> Duration) -> Vec<TouchItem> {
    let item =
        |number| TouchItem { key: key(number), expected: revision(expected), ttl: ttl(number) };
    (0..MANY).map(item).collect()
}

fn updates(written: u64, expected: u64, ttl: Option<Duration>) -> Vec<UpdateItem> {
    let update = Update { expected: revision(expected), ttl };
    let item = |number| UpdateItem { key: key(number), record: record(written), update };
    (0..MANY).map(item).collect()
}

/// Neither a live one goes, nor does it take the place of one that expired.
async fn collected(backend: &Arc<dyn Backend>) {
    let dead: Vec<Key> = (2_000_000..2_000_010).map(key).collect();
    expire(&**backend, &dead).await;
    assert_eq!(backend.gc(3).await.unwrap(), 3);
    assert_eq!(backend.gc(1000).await.unwrap(), 7);
    assert_eq!(backend.gc(1000).await.unwrap(), 0);
    for number in 0..MANY {
        assert!(backend.load(&key(number)).await.unwrap().is_some());
    }
}

/// A life that is over before its batch is answered was a life all the same.
async fn born_dead(backend: &Arc<dyn Backend>) {
    for round in 30..50 {
        let item = |number| CreateItem {
            key: key(round * 100_000 + number),
            record: record(1),
            ttl: SHORT,
        };
        let items: Vec<_> = (0..MANY).map(item).collect();
        for created in backend.batch().unwrap().create_many(&items).await {
            created.unwrap();
        }
    }
}

/// Leaves an expired record of revision 1 under each.
async fn expire(backend: &dyn Backend, keys: &[Key]) {
    for key in keys {
        backend.save(key, &record(1), Write::Create { ttl: SHORT }).await.unwrap();
    }
    tokio::time::sleep(SHORT * 20).await;
}
