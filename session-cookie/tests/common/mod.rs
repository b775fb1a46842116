//! Common parts of the tests.
#![allow(dead_code, clippy::unwrap_used)] // not every test uses all of it

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use session_cookie::{CookieStore, SecretKey};
use session_core::{Bytes, CookieBackend as _, Expiry, Opened, Owner, Record, Revision, SessionId};

pub(crate) const NAME: &str = "__Host-session";
pub(crate) const LIFETIME: Duration = Duration::from_secs(7200);

/// Builds a store for a cookie name and a key ring.
pub(crate) type Make = fn(&'static str, &[SecretKey]) -> CookieStore;

/// The two algorithms, by name.
pub(crate) fn modes() -> Vec<(&'static str, Make)> {
    vec![
        ("signed", |name, keys| CookieStore::signed(name, keys.to_vec()).unwrap()),
        #[cfg(feature = "encryption")]
        ("encrypted", |name, keys| CookieStore::encrypted(name, keys.to_vec()).unwrap()),
    ]
}

/// A store of each algorithm, each with its own key.
pub(crate) fn stores() -> Vec<(&'static str, CookieStore)> {
    modes().into_iter().map(|(mode, make)| (mode, make(NAME, &[key()]))).collect()
}

pub(crate) fn key() -> SecretKey {
    SecretKey::generate().unwrap()
}

pub(crate) fn record() -> Record {
    Record {
        payload: Bytes::from_static(br#"{"v":1,"created":1790000000000,"data":{"theme":"dark"}}"#),
        revision: Revision::from_u64(0xFEDC_BA98_7654_3210),
        owner: Some(Owner::new("ann@example.org").unwrap()),
    }
}

pub(crate) fn seal(store: &CookieStore, record: &Record) -> String {
    let id = SessionId::from_bytes([7; 32]);
    let sealed = store.seal(&id, record, Expiry::After(LIFETIME)).unwrap();
    sealed.value
}

pub(crate) fn open(store: &CookieStore, value: &str) -> Option<Opened> {
    store.open(value).unwrap()
}

/// A clock that only tests advance.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_790_000_000_000)))
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.0.store(u64::try_from(since.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn of(&self, store: CookieStore) -> CookieStore {
        let clock = self.clone();
        store.with_clock(move || clock.now())
    }
}
