//! Runs operations of session-core and session-cookie without a store, to count their instructions:
//! `scripts/instructions.sh` runs this program under callgrind and prints the table of the README.
//!
//! `instructions NAME COUNT` repeats the operation COUNT times. The difference of two runs does not include
//! the preparation.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bench_harness::{CHANGED_KEY, READ_KEY, changed_value, values};
use session_cookie::{CookieStore, SecretKey};
use session_core::{
    Backend, Bytes, Capabilities, CookieBackend as _, Error, Expiry, Key, Loaded, Record, Result,
    Revision, Session, SessionId, SessionStore, Write, async_trait,
};

const USAGE: &str = "usage: instructions NAME COUNT; the names are: ";
const NAMES: &str = "key decode decode_get encode rebase create seal open";

fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let count = args.next().and_then(|count| count.parse().ok());
    let (true, Some(count)) = (NAMES.split(' ').any(|known| known == name), count) else {
        panic!("{USAGE}{NAMES}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be made").block_on(work(&name, count));
}

async fn work(name: &str, count: u64) {
    let store = SessionStore::new(Fixed::new(payload().await, name == "rebase"));
    let id = SessionId::from_bytes([7; 32]);
    let value = id.expose();
    let loaded = store.load(&value).await.expect("load works").expect("it exists");
    let cookie = Cookie::new(payload().await);
    let sealed = cookie.seal();
    for number in 0..count {
        match name {
            "key" => drop(black_box(SessionId::parse(black_box(&value)).map(|id| id.key()))),
            "decode" => drop(black_box(store.load(black_box(&value)).await.expect("load works"))),
            "decode_get" => {
                let session = store.load(black_box(&value)).await.expect("load works");
                let session = session.expect("it exists");
                black_box(session.get::<String>(READ_KEY).expect("it is a string"));
            }
            "encode" | "rebase" => {
                loaded.insert(CHANGED_KEY, changed_value(number)).expect("it can be kept");
                let _ = black_box(store.save(&loaded).await.expect("save works"));
            }
            "create" => {
                let session = new_session();
                let _ = black_box(store.save(&session).await.expect("save works"));
            }
            "seal" => drop(black_box(cookie.seal())),
            _ => drop(black_box(cookie.store.open(black_box(&sealed)).expect("it is authentic"))),
        }
    }
}

fn new_session() -> Session {
    let session = Session::new();
    for (key, value) in values() {
        session.insert(key, &value).expect("a string can be kept");
    }
    session
}

/// The record that a store gets for the session of the workload.
async fn payload() -> Bytes {
    let cookie = Cookie::new(Bytes::new());
    let store = SessionStore::new_cookie(cookie.store);
    let session = new_session();
    let _ = store.save(&session).await.expect("it can be sealed");
    let value = store.cookie_value(&session).expect("it is sealed");
    let Cookie { store, .. } = Cookie::new(Bytes::new());
    let opened = store.open(value.as_str()).expect("it is authentic").expect("it exists");
    opened.record.payload
}

struct Cookie {
    store: CookieStore,
    id: SessionId,
    record: Record,
}

impl Cookie {
    fn new(payload: Bytes) -> Self {
        let key = SecretKey::from_bytes(
            &(0..32).map(|i: u8| i.wrapping_mul(i).wrapping_mul(151) ^ 90).collect::<Vec<_>>(),
        )
        .expect("a good key");
        let store = CookieStore::signed("__Host-session", [key]).expect("a good name");
        let id = SessionId::from_bytes([9; 32]);
        Self { store, id, record: Record { payload, revision: Revision::from_u64(1), owner: None } }
    }

    fn seal(&self) -> String {
        let expiry = Expiry::After(Duration::from_secs(7200));
        self.store.seal(&self.id, &self.record, expiry).expect("it is small enough").value
    }
}

/// A store that does nothing, so that only the work of session-core is counted.
#[derive(Debug)]
struct Fixed {
    record: Record,
    /// Whether every other save is a conflict.
    conflicts: bool,
    saves: AtomicU64,
}

impl Fixed {
    fn new(payload: Bytes, conflicts: bool) -> Self {
        let record = Record { payload, revision: Revision::from_u64(1), owner: None };
        Self { record, conflicts, saves: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Backend for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, _: &Key) -> Result<Option<Loaded>> {
        let expires_in = Duration::from_secs(7200);
        Ok(Some(Loaded { record: self.record.clone(), expires_in }))
    }

    async fn save(&self, _: &Key, record: &Record, _: Write) -> Result<()> {
        black_box(record);
        if self.conflicts && self.saves.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(Error::conflict());
        }
        Ok(())
    }

    async fn touch(&self, _: &Key, _: Revision, _: Duration) -> Result<()> {
        Ok(())
    }

    async fn destroy(&self, _: &Key, _: Option<Revision>) -> Result<bool> {
        Ok(true)
    }

    async fn gc(&self, _: usize) -> Result<u64> {
        Ok(0)
    }
}
