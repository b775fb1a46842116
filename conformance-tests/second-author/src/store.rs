//! The store and its single operations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, Capabilities, Error, ErrorKind, Key, Loaded, OwnerIndex, Record, Result,
    Revision, Update, Write, async_trait, ttl_millis,
};
use tokio::time::Instant;

use crate::Fault;
use crate::state::{Row, State};

/// The largest payload.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;

/// A store in memory, shared by its clones, that is correct but for its fault.
#[derive(Debug, Clone)]
pub struct Wrong {
    pub(crate) fault: Fault,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    start: Instant,
    saves: AtomicUsize,
}

/// Counts a save while it is in flight.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Wrong {
    /// An empty store with this fault.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        let shared =
            Shared { state: Mutex::default(), start: Instant::now(), saves: AtomicUsize::new(0) };
        Self { fault, shared: Arc::new(shared) }
    }

    pub(crate) fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds of the store's clock.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.shared.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn key(&self, key: &Key) -> Key {
        let mut bytes = *key.as_bytes();
        if self.is(Fault::TrailingSpaceKey) {
            bytes.iter_mut().rev().take_while(|byte| **byte == b' ').for_each(|byte| *byte = 0);
        }
        Key::from_bytes(bytes)
    }

    fn renewed_millis(&self, ttl: Duration) -> Result<u64> {
        if self.is(Fault::SubMillisecondIsZero) && ttl.as_millis() == 0 {
            return ttl_millis(Duration::ZERO);
        }
        ttl_millis(ttl)
    }

    async fn create(&self, key: Key, record: &Record, ttl: Duration) -> Result<()> {
        let ttl = ttl_millis(ttl)?;
        if self.is(Fault::TwoWinnersOverExpired) {
            let now = self.now();
            let expired = self.state().rows.get(&key).is_some_and(|row| row.expires_at <= now);
            if expired {
                round_trip().await;
                let expires_at = self.now() + ttl;
                self.state().put(key, Row { record: record.clone(), expires_at });
                return Ok(());
            }
        }
        let mut state = self.state();
        let now = self.now();
        if state.live(&key, now).is_some() {
            let error = Error::already_exists();
            return Err(if self.is(Fault::ErrorNamesKey) {
                error.with_source(format!("Key (id)=({}) already exists", key.to_hex()))
            } else {
                error
            });
        }
        state.put(key, Row { record: record.clone(), expires_at: now + ttl });
        Ok(())
    }

    async fn update(&self, key: Key, record: &Record, update: Update) -> Result<()> {
        let Update { expected, ttl } = update;
        let ttl = ttl.map(|ttl| self.renewed_millis(ttl)).transpose()?;
        let mut race = None;
        if matches!(self.fault, Fault::LoserIsGone | Fault::UpdateUndoesTouch) {
            let now = self.now();
            let row = self.state().expect(&key, now, self.fault, |found| found == expected)?;
            race = Some(row.expires_at);
            round_trip().await;
        }
        if self.is(Fault::DropLeavesLock) {
            self.lock(key).await?;
            round_trip().await;
            self.state().locked.remove(&key);
        }
        let mut state = self.state();
        let now = self.now();
        let repeat = (key, expected, record.revision);
        if self.is(Fault::RepeatIsRemembered) && state.done.contains(&repeat) {
            return Ok(());
        }
        let row = state.expect(&key, now, self.fault, |found| found == expected);
        let row = row.map_err(|error| match error.kind() {
            ErrorKind::Conflict if self.is(Fault::LoserIsGone) => Error::gone(),
            _ => error,
        })?;
        let kept = match race {
            Some(before) if self.is(Fault::UpdateUndoesTouch) => before,
            _ => row.expires_at,
        };
        let mut record = record.clone();
        if self.is(Fault::EmptyUpdateKeepsPayload) && record.payload.is_empty() {
            record.payload = row.record.payload;
        }
        let expires_at = ttl.map_or(kept, |ttl| now + ttl);
        state.put(key, Row { record, expires_at });
        if self.is(Fault::RepeatIsRemembered) {
            state.done.insert(repeat);
        }
        Ok(())
    }

    /// Locks the key for `DropLeavesLock`.
    async fn lock(&self, key: Key) -> Result<()> {
        for _ in 0..100 {
            if self.state().locked.insert(key) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(Error::refused("the record is locked"))
    }

    fn invalidate(&self, key: &Key) {
        self.state().forget_cached(key);
    }
}

/// The time between two requests to a server.
async fn round_trip() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[async_trait]
impl Backend for Wrong {
    fn name(&self) -> &'static str {
        "second-author"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        Some(self)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let key = self.key(key);
        tokio::task::yield_now().await;
        let caches = matches!(self.fault, Fault::CacheForgetsTouch | Fault::CacheRefillRace);
        let (row, cached) = {
            let state = self.state();
            let cached = state.cache.get(&key).and_then(|row| row.loaded(self.now()));
            (state.rows.get(&key).cloned(), cached)
        };
        if caches && cached.is_some() {
            return Ok(cached);
        }
        let Some(mut row) = row else { return Ok(None) };
        if row.expires_at <= self.now() {
            return Ok(None);
        }
        if self.is(Fault::ChunkedLoad) && row.record.payload.len() >= 256 << 10 {
            round_trip().await;
            if let Some(later) = self.state().rows.get(&key) {
                row.record.payload = later.record.payload.clone();
            }
        }
        if self.is(Fault::CacheRefillRace) {
            round_trip().await;
            self.state().cache.insert(key, row.clone());
        }
        if self.is(Fault::CacheForgetsTouch) {
            let mut state = self.state();
            if !state.seen.insert(key) {
                state.cache.insert(key, row.clone());
            }
        }
        Ok(row.loaded(self.now()))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let key = self.key(key);
        if record.payload.len() > MAX_PAYLOAD {
            return Err(Error::new(ErrorKind::TooLarge, "a record has at most 16 MiB"));
        }
        let others = self.shared.saves.fetch_add(1, Ordering::SeqCst);
        let _in_flight = InFlight(&self.shared.saves);
        tokio::task::yield_now().await;
        if self.is(Fault::RefusedButWritten) {
            round_trip().await;
        }
        let result = match write {
            Write::Create { ttl } => self.create(key, record, ttl).await,
            Write::Update(update) => self.update(key, record, update).await,
        };
        self.invalidate(&key);
        if self.is(Fault::RefusedButWritten) && others >= 8 {
            result?;
            return Err(Error::refused("the pool is exhausted"));
        }
        result
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let key = self.key(key);
        let mut ttl = self.renewed_millis(ttl)?;
        if self.is(Fault::TouchWraps) {
            ttl = (ttl & u64::from(u32::MAX)).max(1);
        }
        tokio::task::yield_now().await;
        let same = |found: Revision| match self.fault {
            Fault::RevisionAsDouble => found.to_u64() as f64 == expected.to_u64() as f64,
            _ => found == expected,
        };
        if self.is(Fault::TouchWritesBack) {
            let now = self.now();
            let row = self.state().expect(&key, now, self.fault, same)?;
            round_trip().await;
            let mut state = self.state();
            let now = self.now();
            state.live(&key, now).ok_or_else(Error::gone)?;
            state.put(key, Row { expires_at: now + ttl, ..row });
            return Ok(());
        }
        let mut state = self.state();
        let now = self.now();
        let row = state.expect(&key, now, self.fault, same)?;
        state.put(key, Row { expires_at: now + ttl, ..row });
        if !self.is(Fault::CacheForgetsTouch) {
            state.forget_cached(&key);
        }
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let key = self.key(key);
        let only = only.filter(|only| !(self.is(Fault::ZeroMeansAny) && only.to_u64() == 0));
        tokio::task::yield_now().await;
        let mut state = self.state();
        state.forget_cached(&key);
        let now = self.now();
        let found = state.rows.get(&key).map(|row| row.record.revision);
        if found.is_none() || only.is_some_and(|only| found != Some(only)) {
            return Ok(false);
        }
        Ok(state.remove(&key).is_some_and(|row| now < row.expires_at))
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        tokio::task::yield_now().await;
        let limit = match limit {
            0 if self.is(Fault::GcZeroIsAll) => usize::MAX,
            limit => limit,
        };
        Ok(self.state().collect(limit, self.now()))
    }
}
