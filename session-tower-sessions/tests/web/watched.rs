//! A store in memory that records what it is given and fails on demand.

use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use session_memory::MemoryBackend;
use session_tower_sessions::session_core::{
    Backend, Bytes, Capabilities, Error, Key, Loaded, Record, Result, Revision, Write, async_trait,
};

#[derive(Debug)]
pub(crate) struct Watched {
    inner: MemoryBackend,
    calls: Mutex<Vec<&'static str>>,
    /// What was written.
    pub(crate) written: Mutex<Vec<(Key, Bytes)>>,
    /// Every call fails.
    pub(crate) down: AtomicBool,
    /// No call is ever answered.
    pub(crate) silent: AtomicBool,
    /// How many of the next writes and destroys are carried out without an answer.
    pub(crate) lost_answers: AtomicUsize,
    /// How many of the next writes and destroys are lost.
    pub(crate) lost_requests: AtomicUsize,
    /// What every load finds in place of the payload.
    pub(crate) payload: Mutex<Option<&'static [u8]>>,
    /// Every load finds something that is no record.
    pub(crate) corrupt: AtomicBool,
}

impl Watched {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryBackend::new(),
            calls: Mutex::default(),
            written: Mutex::default(),
            down: AtomicBool::default(),
            silent: AtomicBool::default(),
            lost_answers: AtomicUsize::default(),
            lost_requests: AtomicUsize::default(),
            payload: Mutex::default(),
            corrupt: AtomicBool::default(),
        }
    }

    pub(crate) fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn call(&self, name: &'static str) -> Result<()> {
        self.calls.lock().unwrap().push(name);
        if self.silent.load(SeqCst) {
            return pending().await;
        }
        if self.down.load(SeqCst) {
            let source = std::io::Error::other("connection refused");
            return Err(Error::refused("no connection").with_source(source));
        }
        Ok(())
    }

    fn take_one(counter: &AtomicUsize) -> bool {
        counter.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    async fn write<T>(&self, carry_out: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if Self::take_one(&self.lost_requests) {
            return Err(Error::unavailable("the connection broke"));
        }
        let answer = carry_out.await;
        if Self::take_one(&self.lost_answers) {
            return Err(Error::unavailable("the connection broke"));
        }
        answer
    }
}

#[async_trait]
impl Backend for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.call("load").await?;
        if self.corrupt.load(SeqCst) {
            return Err(Error::corrupt("not a record"));
        }
        let mut found = self.inner.load(key).await?;
        if let (Some(found), Some(payload)) = (&mut found, *self.payload.lock().unwrap()) {
            found.record.payload = Bytes::from_static(payload);
        }
        Ok(found)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.call(match write {
            Write::Create { .. } => "create",
            Write::Update(_) => "update",
        })
        .await?;
        self.written.lock().unwrap().push((*key, record.payload.clone()));
        self.write(self.inner.save(key, record, write)).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.call("touch").await?;
        self.inner.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.call("destroy").await?;
        self.write(self.inner.destroy(key, only)).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.call("gc").await?;
        self.inner.gc(limit).await
    }
}
