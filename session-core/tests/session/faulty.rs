//! A store in a map that can be told to fail.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Update, Write, async_trait,
};

/// What happens to the next writes, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// It is carried out and nobody hears of it.
    LoseAnswer,
    /// It never arrives.
    LoseRequest,
    /// It is carried out and no answer ever comes.
    Hang,
    /// As usual.
    None,
}

#[derive(Debug, Default)]
pub(crate) struct Faulty {
    records: Mutex<HashMap<Key, (Record, Instant)>>,
    /// For the next writes.
    pub(crate) writes: Mutex<Vec<Fault>>,
    /// How many of the next loads fail.
    pub(crate) failing_loads: AtomicUsize,
    pub(crate) failing_gcs: AtomicUsize,
    pub(crate) gcs: AtomicUsize,
    pub(crate) calls: Mutex<Vec<&'static str>>,
    atomic: bool,
}

impl Faulty {
    pub(crate) fn new(atomic: bool) -> Self {
        Self { atomic, ..Self::default() }
    }

    pub(crate) fn fail(&self, faults: &[Fault]) {
        *self.writes.lock().unwrap() = faults.to_vec();
    }

    pub(crate) fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(crate) fn put_raw(&self, key: Key, payload: &'static [u8]) {
        let record =
            Record { payload: payload.into(), revision: Revision::from_u64(1), owner: None };
        let deadline = Instant::now() + Duration::from_secs(60);
        self.records.lock().unwrap().insert(key, (record, deadline));
    }

    fn called(&self, name: &'static str) {
        self.calls.lock().unwrap().push(name);
    }

    async fn faulty<T>(&self, carry_out: impl FnOnce() -> Result<T>) -> Result<T> {
        let fault = {
            let mut faults = self.writes.lock().unwrap();
            if faults.is_empty() { Fault::None } else { faults.remove(0) }
        };
        match fault {
            Fault::None => carry_out(),
            Fault::LoseRequest => Err(Error::unavailable("lost on the way")),
            Fault::LoseAnswer => {
                carry_out()?;
                Err(Error::unavailable("the answer was lost"))
            }
            Fault::Hang => {
                carry_out()?;
                std::future::pending().await
            }
        }
    }

    fn write(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let mut records = self.records.lock().unwrap();
        let now = Instant::now();
        let live = records.get(key).filter(|(_, deadline)| *deadline > now);
        let deadline = match (write, live) {
            (Write::Create { .. }, Some(_)) => return Err(Error::already_exists()),
            (Write::Create { ttl }, None) => now + ttl,
            (Write::Update(_), None) => return Err(Error::gone()),
            (Write::Update(update), Some((old, _))) if old.revision != update.expected => {
                return Err(Error::conflict());
            }
            (Write::Update(update), Some((_, deadline))) => {
                update.ttl.map_or(*deadline, |ttl| now + ttl)
            }
        };
        records.insert(*key, (record.clone(), deadline));
        Ok(())
    }

    fn remove(&self, key: &Key, only: Option<Revision>) -> bool {
        let mut records = self.records.lock().unwrap();
        let wanted = records.get(key).is_some_and(|(record, deadline)| {
            *deadline > Instant::now() && only.is_none_or(|only| only == record.revision)
        });
        wanted && records.remove(key).is_some()
    }
}

#[async_trait]
impl Backend for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            detects_conflicts: true,
            revocable: true,
            rotates_atomically: self.atomic,
            ..Capabilities::default()
        }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.called("load");
        let count_down = |left: usize| left.checked_sub(1);
        if self.failing_loads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down).is_ok() {
            return Err(Error::unavailable("load failed"));
        }
        let records = self.records.lock().unwrap();
        Ok(records.get(key).and_then(|(record, deadline)| {
            let expires_in = deadline.checked_duration_since(Instant::now())?;
            (!expires_in.is_zero()).then(|| Loaded { record: record.clone(), expires_in })
        }))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.called("save");
        self.faulty(|| self.write(key, record, write)).await
    }

    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        self.called("touch");
        let mut records = self.records.lock().unwrap();
        let entry = records.get_mut(key).filter(|(_, deadline)| *deadline > Instant::now());
        entry.ok_or_else(Error::gone)?.1 = Instant::now() + ttl;
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.called("destroy");
        self.faulty(|| Ok(self.remove(key, only))).await
    }

    async fn gc(&self, _limit: usize) -> Result<u64> {
        self.gcs.fetch_add(1, Ordering::SeqCst);
        let count_down = |left: usize| left.checked_sub(1);
        match self.failing_gcs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down) {
            Ok(_) => Err(Error::unavailable("gc failed")),
            Err(_) => Ok(0),
        }
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        self.called("rotate");
        if self.atomic {
            let carry_out = || {
                self.write(old, record, Write::Update(write))?;
                let moved = self.records.lock().unwrap().remove(old);
                self.records.lock().unwrap().extend(moved.map(|moved| (*new, moved)));
                Ok(())
            };
            return self.faulty(carry_out).await;
        }
        let standing = self.load(old).await?.ok_or_else(Error::gone)?;
        if standing.record.revision != write.expected {
            return Err(Error::conflict());
        }
        let ttl = write.ttl.unwrap_or(standing.expires_in);
        self.save(new, record, Write::Create { ttl }).await?;
        match self.destroy(old, Some(write.expected)).await? {
            true => Ok(()),
            false => {
                self.remove(new, Some(record.revision));
                Err(Error::gone())
            }
        }
    }
}
