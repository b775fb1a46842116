//! A store in a map that fails on demand, with hooks before and after its calls.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Owner, Record, Result, Revision, Write,
    async_trait,
};

/// A failure of a write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// It is carried out, and the answer is lost.
    LoseAnswer,
    /// It never arrives.
    LoseRequest,
    /// It seems to be lost, and arrives with [`Faulty::arrive`].
    Late,
    /// The driver sends it twice and gets the answer to the second copy.
    SentTwice,
    /// It is carried out, and the call is never answered.
    Hang,
    /// The store refuses it.
    Refuse,
    /// The record is larger than the store accepts.
    TooLarge,
    /// A right is missing in the store.
    Misconfigured,
    /// No failure.
    None,
}

/// A store that fails on demand.
#[derive(Default)]
pub(crate) struct Faulty {
    records: Mutex<HashMap<Key, (Record, Instant)>>,
    /// For the next writes.
    faults: Mutex<Vec<Fault>>,
    late: Mutex<Option<Late>>,
    hooks: Mutex<Vec<Hook>>,
    /// How many of the next loads fail.
    pub(crate) failing_loads: AtomicUsize,
    /// How many of the next loads are refused.
    pub(crate) refused_loads: AtomicUsize,
    /// How many of the next calls of `prolong` fail.
    pub(crate) failing_prolongs: AtomicUsize,
    /// No call is carried out or answered.
    pub(crate) silent: AtomicBool,
    pub(crate) failing_gcs: AtomicUsize,
    pub(crate) gcs: AtomicUsize,
    calls: Mutex<Vec<&'static str>>,
}

/// A write that arrives later. Returns whether it was carried out.
type Late = Box<dyn FnOnce(&Faulty) -> bool + Send>;

struct Hook {
    moment: (When, &'static str),
    /// The number of calls until the hook runs, the last one included.
    left: usize,
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Clone, Copy, PartialEq)]
enum When {
    Before,
    After,
}

impl Faulty {
    pub(crate) fn fail(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.to_vec();
    }

    /// Runs `work` once, before the nth call of this name from now on is carried out.
    pub(crate) fn before(
        &self,
        call: &'static str,
        nth: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.hook((When::Before, call), nth, work);
    }

    /// Runs `work` once, after the nth call of this name from now on was carried out and before it
    /// is answered.
    pub(crate) fn after(
        &self,
        call: &'static str,
        nth: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.hook((When::After, call), nth, work);
    }

    fn hook(
        &self,
        moment: (When, &'static str),
        left: usize,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.hooks.lock().unwrap().push(Hook { moment, left, work: Box::pin(work) });
    }

    /// The write of [`Fault::Late`] arrives. Returns whether it was carried out.
    pub(crate) fn arrive(&self) -> bool {
        let late = self.late.lock().unwrap().take().expect("a write was delayed");
        late(self)
    }

    pub(crate) fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap().values().filter(|(record, _)| !is_tombstone(record)).count()
    }

    /// How many live tombstones there are.
    pub(crate) fn tombstones(&self) -> usize {
        let now = Instant::now();
        let records = self.records.lock().unwrap();
        records.values().filter(|(record, end)| is_tombstone(record) && *end > now).count()
    }

    /// The record under a key, and its expiry.
    pub(crate) fn record(&self, key: &Key) -> Option<(Record, Instant)> {
        self.records.lock().unwrap().get(key).cloned()
    }

    /// Expires all tombstones.
    pub(crate) fn expire_tombstones(&self) {
        self.records.lock().unwrap().retain(|_, (record, _)| !is_tombstone(record));
    }

    /// A call that does nothing by itself, with its hooks.
    pub(crate) async fn note(&self, name: &'static str) {
        self.calls.lock().unwrap().push(name);
        self.run_hooks((When::Before, name)).await;
        self.run_hooks((When::After, name)).await;
    }

    /// The entry of the owner index, which needs no work here.
    pub(crate) async fn prolong(&self) -> Result<()> {
        self.note("prolong").await;
        match count_down(&self.failing_prolongs) {
            true => Err(Error::unavailable("the request was lost")),
            false => Ok(()),
        }
    }

    /// The keys of the owner's live records, in ascending order.
    pub(crate) fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Vec<Key> {
        let records = self.records.lock().unwrap();
        let owned = records.iter().filter(|(key, (record, end))| {
            record.owner.as_ref() == Some(owner)
                && *end > Instant::now()
                && after.is_none_or(|after| after < *key)
        });
        let mut keys: Vec<Key> = owned.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.truncate(limit);
        keys
    }

    /// The expiry of the only session, or of the only record.
    pub(crate) fn expiry(&self) -> Instant {
        let records = self.records.lock().unwrap();
        let is_only = records.len() == 1;
        let mut found = records.values().filter(|(record, _)| is_only || !is_tombstone(record));
        let (_, expiry) = found.next().expect("there is one");
        assert!(found.next().is_none(), "there is only one");
        *expiry
    }

    pub(crate) fn put_raw(&self, key: Key, payload: &'static [u8]) {
        let record =
            Record { payload: payload.into(), revision: Revision::from_u64(1), owner: None };
        let expiry = Instant::now() + Duration::from_secs(60);
        self.records.lock().unwrap().insert(key, (record, expiry));
    }

    /// Replaces the payload of every record.
    pub(crate) fn overwrite(&self, payload: &'static [u8]) {
        for (record, _) in self.records.lock().unwrap().values_mut() {
            record.payload = payload.into();
        }
    }

    /// One call, with its hooks before and after it.
    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.calls.lock().unwrap().push(name);
        self.run_hooks((When::Before, name)).await;
        if self.silent.load(Ordering::SeqCst) {
            return pending().await;
        }
        let answer = work.await;
        self.run_hooks((When::After, name)).await;
        answer
    }

    async fn run_hooks(&self, moment: (When, &'static str)) {
        let is_due = |hook: &mut Hook| {
            let wanted = hook.moment == moment;
            hook.left -= usize::from(wanted);
            wanted && hook.left == 0
        };
        let due: Vec<_> = self.hooks.lock().unwrap().extract_if(.., is_due).collect();
        for hook in due {
            hook.work.await;
        }
    }

    async fn write<T>(&self, carry_out: impl Fn(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            if faults.is_empty() { Fault::None } else { faults.remove(0) }
        };
        match fault {
            Fault::None => carry_out(self),
            Fault::Refuse => Err(Error::refused("full")),
            Fault::TooLarge => Err(Error::new(ErrorKind::TooLarge, "too large")),
            Fault::Misconfigured => Err(Error::invalid_config("no right to write")),
            Fault::LoseRequest => Err(Error::unavailable("the request was lost")),
            Fault::Late => {
                *self.late.lock().unwrap() = Some(Box::new(move |store| carry_out(store).is_ok()));
                Err(Error::unavailable("the request was delayed"))
            }
            Fault::LoseAnswer => {
                carry_out(self)?;
                Err(Error::unavailable("the answer was lost"))
            }
            Fault::SentTwice => {
                carry_out(self)?;
                carry_out(self)
            }
            Fault::Hang => {
                carry_out(self)?;
                pending().await
            }
        }
    }

    fn put(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let mut records = self.records.lock().unwrap();
        let now = Instant::now();
        let live = records.get(key).filter(|(_, expiry)| *expiry > now);
        let expiry = match (write, live) {
            (Write::Create { .. }, Some(_)) => return Err(Error::already_exists()),
            (Write::Create { ttl }, None) => now + ttl,
            (Write::Update(_), None) => return Err(Error::gone()),
            (Write::Update(update), Some((old, _))) if old.revision != update.expected => {
                return Err(Error::conflict());
            }
            (Write::Update(update), Some((_, expiry))) => {
                update.ttl.map_or(*expiry, |ttl| now + ttl)
            }
        };
        records.insert(*key, (record.clone(), expiry));
        Ok(())
    }

    pub(crate) fn remove(&self, key: &Key, only: Option<Revision>) -> bool {
        let mut records = self.records.lock().unwrap();
        let wanted = records.get(key).is_some_and(|(record, expiry)| {
            *expiry > Instant::now() && only.is_none_or(|only| only == record.revision)
        });
        wanted && records.remove(key).is_some()
    }

    fn look(&self, key: &Key) -> Result<Option<Loaded>> {
        if count_down(&self.failing_loads) {
            return Err(Error::unavailable("load failed"));
        }
        if count_down(&self.refused_loads) {
            return Err(Error::refused("no connection"));
        }
        let records = self.records.lock().unwrap();
        Ok(records.get(key).and_then(|(record, expiry)| {
            let expires_in = expiry.checked_duration_since(Instant::now())?;
            (!expires_in.is_zero()).then(|| Loaded { record: record.clone(), expires_in })
        }))
    }

    fn renew(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let mut records = self.records.lock().unwrap();
        let entry = records.get_mut(key).filter(|(_, expiry)| *expiry > Instant::now());
        let (record, expiry) = entry.ok_or_else(Error::gone)?;
        if record.revision != expected {
            return Err(Error::conflict());
        }
        *expiry = Instant::now() + ttl;
        Ok(())
    }
}

/// Whether the record is a tombstone.
fn is_tombstone(record: &Record) -> bool {
    record.payload.starts_with(b"{\"v\":1,\"rotated\"")
}

fn count_down(counter: &AtomicUsize) -> bool {
    let one_less = |left: usize| left.checked_sub(1);
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl Backend for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.call("load", async { self.look(key) }).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let (key, record) = (*key, record.clone());
        self.call("save", self.write(move |store| store.put(&key, &record, write))).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.call("touch", async { self.renew(key, expected, ttl) }).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let key = *key;
        self.call("destroy", self.write(move |store| Ok(store.remove(&key, only)))).await
    }

    async fn gc(&self, _limit: usize) -> Result<u64> {
        self.gcs.fetch_add(1, Ordering::SeqCst);
        match count_down(&self.failing_gcs) {
            true => Err(Error::unavailable("gc failed")),
            false => Ok(0),
        }
    }
}
