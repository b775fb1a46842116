//! Correct stores that differ from the reference store. All of them must pass the suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use session_conformance::{Fixture, Harness};
use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Write,
    async_trait,
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
    /// One of its first calls, in every fifth store that is opened, is `Unavailable`: refused, not carried out,
    /// or carried out without an acknowledgement.
    FailsNowAndThen,
    /// It can be open only once at a time, and keeps its records while it is closed.
    LocksItsFile,
    /// It stores payloads encrypted, so its dump shows other bytes than a load returns.
    Encrypts,
}

pub(crate) const VALID: [Valid; 7] = [
    Valid::Slow,
    Valid::CoarseClock,
    Valid::RemovesWhatItFinds,
    Valid::FindsItsOwnRecord,
    Valid::FailsNowAndThen,
    Valid::LocksItsFile,
    Valid::Encrypts,
];

#[async_trait]
impl Harness for Valid {
    fn name(&self) -> &str {
        "valid"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: *self == Self::LocksItsFile, ..CLAIMS }
    }

    async fn open(&self) -> Result<Fixture> {
        let (kind, inner) = (*self, Reference::new());
        let dumped = Arc::clone(&inner);
        let fails = kind == Valid::FailsNowAndThen && fastrand::u32(..5) == 0;
        let until_outage =
            Arc::new(AtomicUsize::new(if fails { fastrand::usize(1..40) } else { 0 }));
        let lock = Arc::new(AtomicBool::new(false));
        let open = move || {
            let (inner, until_outage) = (Arc::clone(&inner), Arc::clone(&until_outage));
            let lock = Arc::clone(&lock);
            async move {
                if kind == Valid::LocksItsFile && lock.swap(true, Ordering::SeqCst) {
                    return Err(Error::refused("the file is locked"));
                }
                Ok(Store { kind, inner, until_outage, lock })
            }
        };
        let fixture = match kind {
            Valid::LocksItsFile => Fixture::exclusive(open),
            _ => Fixture::connecting(open),
        };
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
    /// The number of calls until the one that fails; 0 if no call will fail.
    until_outage: Arc<AtomicUsize>,
    lock: Arc<AtomicBool>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.lock.store(false, Ordering::SeqCst);
    }
}

impl Store {
    /// Carries out an operation, or fails as a connection does.
    async fn send<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let less = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if self.until_outage.fetch_update(order, order, less) != Ok(1) {
            return operation.await;
        }
        match fastrand::u32(..3) {
            0 => Err(Error::refused("there is no connection")),
            1 => Err(Error::unavailable("the connection broke")),
            _ => {
                operation.await?;
                Err(Error::unavailable("the connection broke"))
            }
        }
    }

    async fn wait(&self) {
        if self.kind == Valid::Stalls && fastrand::u32(..12) == 0 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(280..360))).await;
        }
        if self.kind == Valid::Slow || self.kind == Valid::Stalls {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
        }
    }

    /// A toy cipher: the same operation encrypts and decrypts.
    fn kept(&self, record: &Record) -> Record {
        let mut record = record.clone();
        if self.kind == Valid::Encrypts {
            let mut stream = fastrand::Rng::with_seed(record.revision.to_u64());
            record.payload = record.payload.iter().map(|byte| byte ^ stream.u8(..)).collect();
        }
        record
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
        self.kind.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.wait().await;
        self.come_upon(key);
        let mut loaded = self.send(self.inner.load(key)).await?;
        if let Some(loaded) = &mut loaded {
            loaded.record = self.kept(&loaded.record);
        }
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
        let result = self.send(self.inner.save(key, &self.kept(record), write)).await;
        self.wait().await;
        match (self.kind, &result, write) {
            // A ttl of zero is a mistake in the second copy, too.
            (Valid::FindsItsOwnRecord, Err(error), Write::Update(update))
                if error.kind() == ErrorKind::Conflict
                    && update.ttl.is_none_or(|ttl| !ttl.is_zero()) =>
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
        let result = self.send(self.inner.touch(key, expected, ttl)).await;
        self.wait().await;
        result
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.wait().await;
        self.come_upon(key);
        let result = self.send(self.inner.destroy(key, only)).await;
        self.wait().await;
        result
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.wait().await;
        self.send(self.inner.gc(limit)).await
    }
}
