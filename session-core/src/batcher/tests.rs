//! Tests of the batcher on a small backend in memory and real runtimes.

mod failures;
mod limits;
mod runtimes;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Batcher;
use crate::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Error, ErrorKind,
    Key, Loaded, Record, Result, Revision, TouchItem, Update, UpdateItem, Write,
};

const TTL: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(5);
/// The key of a bad item.
const BAD: u16 = 60_000;
/// The key of an item at which the backend panics.
const PANICS: u16 = 60_001;
/// The key of an item for which the backend omits a result.
const FORGETS: u16 = 60_002;

/// A backend in memory that records its calls.
#[derive(Debug)]
struct Memory {
    limits: BatchLimits,
    records: Mutex<HashMap<Key, Record>>,
    /// Each call: the operation, the keys, and whether it was a batch.
    calls: Mutex<Vec<(&'static str, Vec<Key>, bool)>>,
    /// The operation whose calls have to wait, or `"all"`.
    held: watch::Sender<&'static str>,
}

impl Memory {
    fn new(limits: BatchLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            records: Mutex::default(),
            calls: Mutex::default(),
            held: watch::Sender::new(""),
        })
    }

    async fn call(&self, operation: &'static str, keys: Vec<Key>, together: bool) {
        let distinct: HashSet<&Key> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "a key occurs twice in one batch");
        let panics = keys.contains(&key(PANICS));
        self.calls.lock().unwrap().push((operation, keys, together));
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held != operation && *held != "all").await.unwrap();
        // As with a network: the answer is not ready in the same poll.
        tokio::task::yield_now().await;
        assert!(!panics, "this panic is part of the test");
    }

    /// The sizes of the batches of one operation. An operation that was sent alone is `0`.
    fn sizes(&self, operation: &str) -> Vec<usize> {
        let calls = self.calls.lock().unwrap();
        let of_it = calls.iter().filter(|(of, ..)| *of == operation);
        of_it.map(|(_, keys, together)| if *together { keys.len() } else { 0 }).collect()
    }

    fn write(&self, key: &Key, record: &Record, expected: Option<Revision>) -> Result<()> {
        if *key == self::key(BAD) {
            return Err(Error::new(ErrorKind::TooLarge, "a bad item"));
        }
        let mut records = self.records.lock().unwrap();
        match (records.get(key).map(|record| record.revision), expected) {
            (None, Some(_)) => Err(Error::gone()),
            (Some(_), None) => Err(Error::already_exists()),
            (Some(found), Some(expected)) if found != expected => Err(Error::conflict()),
            _ => {
                records.insert(*key, record.clone());
                Ok(())
            }
        }
    }

    fn read(&self, key: &Key) -> Result<Option<Loaded>> {
        if *key == self::key(BAD) {
            return Err(Error::corrupt("a bad item").with_source(std::io::Error::other("cause")));
        }
        let record = self.records.lock().unwrap().get(key).cloned();
        Ok(record.map(|record| Loaded { record, expires_in: TTL }))
    }
}

/// Omits a result if a key asks for it.
fn complete<T>(keys: impl Iterator<Item = Key>, mut results: Vec<T>) -> Vec<T> {
    for key in keys {
        if key == self::key(FORGETS) {
            results.pop();
        }
    }
    results
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: false, expires_natively: false }
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        (self.limits.items > 0).then_some(self)
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.call("load", vec![*key], false).await;
        self.read(key)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let (operation, expected) = match write {
            Write::Create { .. } => ("create", None),
            Write::Update(update) => ("update", Some(update.expected)),
        };
        self.call(operation, vec![*key], false).await;
        self.write(key, record, expected)
    }

    async fn touch(&self, key: &Key, expected: Revision, _ttl: Duration) -> Result<()> {
        self.call("touch", vec![*key], false).await;
        touched(self.read(key)?, expected)
    }

    async fn destroy(&self, key: &Key, _only: Option<Revision>) -> Result<bool> {
        self.call("destroy", vec![*key], false).await;
        Ok(self.records.lock().unwrap().remove(key).is_some())
    }

    async fn gc(&self, _limit: usize) -> Result<u64> {
        Ok(0)
    }
}

fn touched(found: Option<Loaded>, expected: Revision) -> Result<()> {
    match found {
        None => Err(Error::gone()),
        Some(found) if found.record.revision != expected => Err(Error::conflict()),
        Some(_) => Ok(()),
    }
}

#[async_trait]
impl BatchBackend for Memory {
    fn limits(&self) -> BatchLimits {
        self.limits
    }

    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        self.call("load", keys.to_vec(), true).await;
        complete(keys.iter().copied(), keys.iter().map(|key| self.read(key)).collect())
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        self.call("create", items.iter().map(|item| item.key).collect(), true).await;
        items.iter().map(|item| self.write(&item.key, &item.record, None)).collect()
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        self.call("update", items.iter().map(|item| item.key).collect(), true).await;
        let write =
            |item: &UpdateItem| self.write(&item.key, &item.record, Some(item.update.expected));
        complete(items.iter().map(|item| item.key), items.iter().map(write).collect())
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        self.call("touch", items.iter().map(|item| item.key).collect(), true).await;
        items.iter().map(|item| touched(self.read(&item.key)?, item.expected)).collect()
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        self.call("destroy", items.iter().map(|item| item.key).collect(), true).await;
        let mut records = self.records.lock().unwrap();
        items.iter().map(|item| Ok(records.remove(&item.key).is_some())).collect()
    }
}

fn key(number: u16) -> Key {
    let mut bytes = [7; 32];
    // Not in the prefix: all 32 bytes are significant.
    bytes[30..].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

fn record(revision: u64, bytes: usize) -> Record {
    let payload = Bytes::from(vec![b'x'; bytes]);
    Record { payload, revision: Revision::from_u64(revision), owner: None }
}

fn batcher(memory: &Arc<Memory>) -> Arc<Batcher> {
    let backend: Arc<dyn Backend> = Arc::clone(memory) as _;
    Arc::new(Batcher::new(&backend).unwrap())
}

/// An update from revision 1 to 2.
async fn update(batcher: &Batcher, number: u16, bytes: usize, limit: Duration) -> Result<()> {
    let update = Update { expected: Revision::from_u64(1), ttl: None };
    batcher.save(&key(number), &record(2, bytes), Write::Update(update), limit).await
}

/// Stores records of revision 1.
fn fill(memory: &Memory, numbers: impl Iterator<Item = u16>) {
    memory.records.lock().unwrap().extend(numbers.map(|number| (key(number), record(1, 1))));
}

type Task<T> = JoinHandle<Result<T>>;

/// Begins loads of these keys, one after another.
async fn begin_loads(
    batcher: &Arc<Batcher>,
    numbers: impl IntoIterator<Item = u16>,
) -> Vec<Task<Option<Loaded>>> {
    let mut tasks = Vec::new();
    for number in numbers {
        let batcher = Arc::clone(batcher);
        tasks.push(tokio::spawn(async move { batcher.load(&key(number), LIMIT).await }));
        tokio::task::yield_now().await;
    }
    tasks
}

/// Begins updates of these keys with payloads of these sizes, one after another.
async fn begin_updates(
    batcher: &Arc<Batcher>,
    items: impl IntoIterator<Item = (u16, usize)>,
) -> Vec<Task<()>> {
    let mut tasks = Vec::new();
    for (number, bytes) in items {
        let batcher = Arc::clone(batcher);
        tasks.push(tokio::spawn(async move { update(&batcher, number, bytes, LIMIT).await }));
        tokio::task::yield_now().await;
    }
    tasks
}

async fn outcomes<T>(tasks: Vec<Task<T>>) -> Vec<Option<ErrorKind>> {
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap().err().map(|error| error.kind()));
    }
    outcomes
}
