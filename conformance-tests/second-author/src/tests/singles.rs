//! The probes that need no concurrency, no batch and no owner index, and helpers.

use std::error::Error as _;
use std::time::Duration;

use session_core::{
    Backend, Bytes, ErrorKind, Key, Loaded, Owner, Record, Result, Revision, Update, Write,
};

use crate::{Fault, Wrong};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn key(last: u8) -> Key {
    let mut bytes = [7; 32];
    bytes[31] = last;
    Key::from_bytes(bytes)
}

pub(super) fn rev(number: u64) -> Revision {
    Revision::from_u64(number)
}

pub(super) fn record(revision: u64) -> Record {
    let payload = Bytes::from(revision.to_string());
    Record { payload, revision: rev(revision), owner: None }
}

pub(super) fn large(revision: u64, byte: u8, bytes: usize) -> Record {
    Record { payload: Bytes::from(vec![byte; bytes]), ..record(revision) }
}

pub(super) fn owned(revision: u64, owner: &str) -> Record {
    Record { owner: Some(self::owner(owner)), ..record(revision) }
}

pub(super) fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

pub(super) fn update(expected: u64, ttl: Option<Duration>) -> Write {
    Write::Update(Update { expected: rev(expected), ttl })
}

pub(super) async fn create(store: &Wrong, last: u8, record: &Record, ttl: Duration) {
    store.save(&key(last), record, Write::Create { ttl }).await.unwrap();
}

pub(super) async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub(super) fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

pub(super) fn life(loaded: Result<Option<Loaded>>) -> Duration {
    loaded.unwrap().map_or(Duration::ZERO, |loaded| loaded.expires_in)
}

pub(super) async fn shows(probed: Fault, store: &Wrong) -> Option<bool> {
    Some(match probed {
        Fault::ZeroMeansAny => {
            create(store, 1, &record(5), MINUTE).await;
            store.destroy(&key(1), Some(rev(0))).await.unwrap()
        }
        Fault::RevisionAsDouble => {
            create(store, 1, &record(1 << 60), MINUTE).await;
            let touched = store.touch(&key(1), rev((1 << 60) + 1), DAY).await;
            kind(touched) != Some(ErrorKind::Conflict)
        }
        Fault::TrailingSpaceKey => {
            create(store, b' ', &record(1), MINUTE).await;
            store.load(&key(0)).await.unwrap().is_some()
        }
        Fault::EmptyUpdateKeepsPayload => {
            create(store, 1, &record(1), MINUTE).await;
            let empty = Record { payload: Bytes::new(), ..record(2) };
            store.save(&key(1), &empty, update(1, None)).await.unwrap();
            store.load(&key(1)).await.unwrap().unwrap().record != empty
        }
        Fault::TouchWraps => {
            create(store, 1, &record(1), MINUTE).await;
            store.touch(&key(1), rev(1), 60 * DAY).await.unwrap();
            life(store.load(&key(1)).await) < 59 * DAY
        }
        Fault::GcZeroIsAll => {
            create(store, 1, &record(1), Duration::from_millis(1)).await;
            sleep(5).await;
            store.gc(0).await.unwrap() != 0
        }
        Fault::SubMillisecondIsZero => {
            create(store, 1, &record(1), MINUTE).await;
            let touched = store.touch(&key(1), rev(1), Duration::from_micros(999)).await;
            kind(touched).is_some()
        }
        Fault::ErrorNamesKey => {
            create(store, 1, &record(1), MINUTE).await;
            let again = store.save(&key(1), &record(2), Write::Create { ttl: MINUTE }).await;
            let source = again.unwrap_err().source().map(|source| format!("{source} {source:?}"));
            source.is_some_and(|source| source.contains(&key(1).to_hex()))
        }
        Fault::ExpiredIsConflict => {
            create(store, 1, &record(1), Duration::from_millis(1)).await;
            sleep(5).await;
            kind(store.touch(&key(1), rev(9), MINUTE).await) != Some(ErrorKind::Gone)
        }
        Fault::CacheForgetsTouch => {
            create(store, 1, &record(1), MINUTE).await;
            store.load(&key(1)).await.unwrap();
            store.load(&key(1)).await.unwrap();
            store.touch(&key(1), rev(1), Duration::from_millis(5)).await.unwrap();
            sleep(10).await;
            store.load(&key(1)).await.unwrap().is_some()
        }
        Fault::RepeatIsRemembered => {
            create(store, 1, &record(1), MINUTE).await;
            store.save(&key(1), &record(2), update(1, None)).await.unwrap();
            store.destroy(&key(1), None).await.unwrap();
            let again = store.save(&key(1), &record(2), update(1, None)).await;
            kind(again) != Some(ErrorKind::Gone)
        }
        _ => return None,
    })
}
