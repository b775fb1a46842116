//! A backend that records its calls, and fails or waits on demand.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Write, async_trait,
};

use crate::fixture::BoxFuture;

/// Wraps the backend under test, and forwards only the methods that every wrapper must forward.
#[derive(Debug, Clone)]
pub(crate) struct Spy {
    inner: Arc<dyn Backend>,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    asked: Vec<&'static str>,
    saves: Vec<Save>,
    writes: Plans,
    loads: Plans,
}

/// The injected outcomes of the next operations of a kind, in order.
#[derive(Default)]
struct Plans {
    errors: VecDeque<Injected>,
    /// A hook: the number of operations before it, and its action.
    before: Option<(usize, BoxFuture<()>)>,
}

/// A recorded save.
#[derive(Debug, Clone)]
pub(crate) struct Save {
    pub(crate) key: Key,
    pub(crate) record: Record,
    pub(crate) write: Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Injected {
    /// Carried out and answered as usual.
    Nothing,
    /// Not carried out, and reported as a refusal.
    Refusal,
    /// Not carried out, and reported as `Unavailable`: the outcome is not known.
    LoseRequest,
    /// Carried out, and reported as `Unavailable`: the outcome is not known.
    LoseAnswer,
    /// Not carried out, and never answered.
    HangBefore,
    /// Carried out, and never answered.
    Hang,
}

impl Spy {
    pub(crate) fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, notes: Arc::default() }
    }

    /// The backend without the spy.
    pub(crate) fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    /// The calls since the last time this method was called.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.notes().asked)
    }

    /// The saves since the last time this method was called.
    pub(crate) fn saves(&self) -> Vec<Save> {
        std::mem::take(&mut self.notes().saves)
    }

    /// Sets the outcomes of the next writes (save, touch, destroy).
    pub(crate) fn fail_writes(&self, errors: &[Injected]) {
        self.notes().writes.errors = errors.iter().copied().collect();
    }

    /// Sets the outcomes of the next loads.
    pub(crate) fn fail_loads(&self, errors: &[Injected]) {
        self.notes().loads.errors = errors.iter().copied().collect();
    }

    /// Lets `first` writes pass, and runs the action before the next one.
    pub(crate) fn before_write(
        &self,
        first: usize,
        act: impl Future<Output = ()> + Send + 'static,
    ) {
        self.notes().writes.before = Some((first, Box::pin(act)));
    }

    /// Runs the action before the next load.
    pub(crate) fn before_load(&self, act: impl Future<Output = ()> + Send + 'static) {
        self.notes().loads.before = Some((0, Box::pin(act)));
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (act, error) = {
            let mut notes = self.notes();
            notes.asked.push(name);
            notes.writes.next()
        };
        carry_out(act, error, operation).await
    }
}

impl Plans {
    fn next(&mut self) -> (Option<BoxFuture<()>>, Injected) {
        let error = self.errors.pop_front().unwrap_or(Injected::Nothing);
        let act = match self.before.take() {
            Some((0, act)) => Some(act),
            Some((first, act)) => {
                self.before = Some((first - 1, act));
                None
            }
            None => None,
        };
        (act, error)
    }
}

async fn carry_out<T>(
    act: Option<BoxFuture<()>>,
    error: Injected,
    operation: impl Future<Output = Result<T>>,
) -> Result<T> {
    if let Some(act) = act {
        act.await;
    }
    match error {
        Injected::Nothing => operation.await,
        Injected::Refusal => Err(Error::refused("the suite refuses")),
        Injected::LoseRequest => Err(Error::unavailable("the suite lost the request")),
        Injected::LoseAnswer => {
            operation.await?;
            Err(Error::unavailable("the suite lost the response"))
        }
        Injected::HangBefore => pending().await,
        Injected::Hang => {
            operation.await?;
            pending().await
        }
    }
}

#[async_trait]
impl Backend for Spy {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let (act, error) = {
            let mut notes = self.notes();
            notes.asked.push("load");
            notes.loads.next()
        };
        carry_out(act, error, self.inner.load(key)).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.notes().saves.push(Save { key: *key, record: record.clone(), write });
        self.write("save", self.inner.save(key, record, write)).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.write("touch", self.inner.touch(key, expected, ttl)).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.write("destroy", self.inner.destroy(key, only)).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.inner.gc(limit).await
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("asked", &self.asked).finish_non_exhaustive()
    }
}
