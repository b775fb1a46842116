//! Correct stores that differ from the reference store. All of them must pass the suite.

use std::sync::Arc;
use std::time::Duration;

use conformance_tests::{Fixture, Harness};
use session_core::{
    Backend, Capabilities, ErrorKind, Key, Loaded, Record, Result, Revision, Write, async_trait,
};

use crate::support::reference::{CLAIMS, Reference};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valid {
    /// Each call takes some milliseconds before and after its effect.
    Slow,
    /// Some calls take a third of a second before or after their effect. Only the cases of concurrent requests
    /// run on this store.
    Stalls,
    /// Its clock counts milliseconds, so a record may live up to one millisecond longer.
    CoarseClock,
    /// Its loads remove expired records.
    RemovesWhatItFinds,
    /// An update with the stored record succeeds, so an update that is sent twice does.
    FindsItsOwnRecord,
}

pub(crate) const VALID: [Valid; 4] =
    [Valid::Slow, Valid::CoarseClock, Valid::RemovesWhatItFinds, Valid::FindsItsOwnRecord];

#[async_trait]
impl Harness for Valid {
    fn name(&self) -> &str {
        "valid"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn open(&self) -> Result<Fixture> {
        let (kind, inner) = (*self, Reference::new());
        let dumped = Arc::clone(&inner);
        let fixture = Fixture::connecting(move || {
            let inner = Arc::clone(&inner);
            async move { Ok(Store { kind, inner }) }
        });
        Ok(fixture.dumping(move || {
            let dump = dumped.dump();
            async move { Ok(dump) }
        }))
    }
}

#[derive(Debug)]
struct Store {
    kind: Valid,
    inner: Arc<Reference>,
}

impl Store {
    async fn wait(&self) {
        if self.kind == Valid::Stalls && fastrand::u32(..12) == 0 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(280..360))).await;
        }
        if self.kind == Valid::Slow || self.kind == Valid::Stalls {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
        }
    }

    fn come_upon(&self, key: &Key) {
        if self.kind == Valid::RemovesWhatItFinds {
            let mut entries = self.inner.entries();
            if entries.get(key).is_some_and(|entry| !entry.live()) {
                entries.remove(key);
            }
        }
    }
}

#[async_trait]
impl Backend for Store {
    fn name(&self) -> &'static str {
        "valid"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.wait().await;
        self.come_upon(key);
        let mut loaded = self.inner.load(key).await?;
        if let (Valid::CoarseClock, Some(loaded)) = (self.kind, &mut loaded) {
            let millis = loaded.expires_in.as_nanos().div_ceil(1_000_000);
            let millis = u64::try_from(millis).expect("a life fits into 64 bits of milliseconds");
            loaded.expires_in = Duration::from_millis(millis);
        }
        self.wait().await;
        Ok(loaded)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.wait().await;
        self.come_upon(key);
        let result = self.inner.save(key, record, write).await;
        self.wait().await;
        match (self.kind, &result, write) {
            (Valid::FindsItsOwnRecord, Err(error), Write::Update(_))
                if error.kind() == ErrorKind::Conflict =>
            {
                let found = self.inner.load(key).await?;
                let own = found.is_some_and(|found| found.record == *record);
                if own { Ok(()) } else { result }
            }
            _ => result,
        }
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.wait().await;
        self.come_upon(key);
        let result = self.inner.touch(key, expected, ttl).await;
        self.wait().await;
        result
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.wait().await;
        self.come_upon(key);
        let result = self.inner.destroy(key, only).await;
        self.wait().await;
        result
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.wait().await;
        self.inner.gc(limit).await
    }
}
