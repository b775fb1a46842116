//! How the suite opens a store.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use session_core::{Backend, Capabilities, CookieBackend, Result, SessionStore, async_trait};
use tokio::sync::Mutex;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Open<T> = Box<dyn Fn() -> BoxFuture<Result<T>> + Send + Sync>;

/// A store under test. The name comes first in the name of each trial.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The name, for example `"redis"`.
    fn name(&self) -> &str;

    /// The capabilities that the backend must claim. A cookie store has only `durable`.
    fn capabilities(&self) -> Capabilities;

    /// Opens an empty store that shares no data with any other: it has its own directory, table or prefix.
    /// This is called once for each case, concurrently, on one runtime that lives as long as the harness.
    /// If the store needs a server, the first call starts it, and the harness keeps it.
    ///
    /// # Errors
    /// Any error fails the case. If there is no server, return [`Fixture::missing`] instead.
    async fn open(&self) -> Result<Fixture>;
}

/// An empty store for one case.
pub struct Fixture {
    pub(crate) kind: Kind,
    pub(crate) revocable: bool,
    pub(crate) dump: Option<Open<Vec<u8>>>,
    pub(crate) finally: Option<Box<dyn FnOnce() -> BoxFuture<()> + Send + Sync>>,
}

pub(crate) enum Kind {
    Backend(Open<Arc<dyn Backend>>),
    Cookie(Box<dyn Fn() -> SessionStore + Send + Sync>),
    Missing(String),
}

impl Fixture {
    fn of(kind: Kind) -> Self {
        Self { kind, revocable: false, dump: None, finally: None }
    }

    /// A store that is used through this one object.
    #[must_use]
    pub fn new(backend: impl Backend) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(backend);
        Self::of(Kind::Backend(Box::new(move || {
            let backend = Arc::clone(&backend);
            Box::pin(async move { Ok(backend) })
        })))
    }

    /// A store that `connect` opens. Each call returns an independent object (another pool, another
    /// connection) for the **same data**. A case with two application servers calls it twice. A case that
    /// reopens a durable store drops the first object and calls it again. For a store that can be open only
    /// once at a time use [`exclusive`](Self::exclusive).
    #[must_use]
    pub fn connecting<F, B>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<B>> + Send + 'static,
        B: Backend,
    {
        Self::of(Kind::Backend(Box::new(move || {
            let connecting = connect();
            Box::pin(async move { Ok(Arc::new(connecting.await?) as Arc<dyn Backend>) })
        })))
    }

    /// An embedded store that allows one open object at a time, for example because it locks its file. `open`
    /// is called only when the object of the last call was dropped; until then that object is used again. So
    /// cases with two application servers share one object, and cases that reopen the store really reopen it.
    #[must_use]
    pub fn exclusive<F, B>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<B>> + Send + 'static,
        B: Backend,
    {
        let last: Arc<Mutex<Option<Weak<B>>>> = Arc::default();
        let open = Arc::new(open);
        Self::connecting(move || {
            let (last, open) = (Arc::clone(&last), Arc::clone(&open));
            async move {
                let mut last = last.lock().await;
                if let Some(shared) = last.as_ref().and_then(Weak::upgrade) {
                    return Ok(shared);
                }
                let opened = Arc::new(open().await?);
                *last = Some(Arc::downgrade(&opened));
                Ok(opened)
            }
        })
    }

    /// A cookie store. Each call of `open` returns one with the same keys.
    #[must_use]
    pub fn cookie<B: CookieBackend>(open: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self::of(Kind::Cookie(Box::new(move || SessionStore::new_cookie(open()))))
    }

    /// There is no store. The reason should say how to get one. The cases are skipped; in strict mode they
    /// fail.
    #[must_use]
    pub fn missing(why_and_how_to_get_it: impl Into<String>) -> Self {
        Self::of(Kind::Missing(why_and_how_to_get_it.into()))
    }

    /// The cookie store has a revocation store, so a destroyed session has also ended for a client that kept
    /// its cookie. Other stores are always revocable.
    #[must_use]
    pub fn revocable(mut self) -> Self {
        self.revocable = true;
        self
    }

    /// Reads everything that someone with read access to the store's data sees: all rows or records with their
    /// keys, in any order and in any form that contains the stored bytes as they are stored. Without the files
    /// of a database: their free pages may contain removed records. A store that encrypts or compresses
    /// returns what it stores, not what `load` returns.
    ///
    /// The cases look for session ids in the dump, and compare its size before and after gc.
    #[must_use]
    pub fn dumping<F>(mut self, dump: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<u8>>> + Send + 'static,
    {
        self.dump = Some(Box::new(move || Box::pin(dump())));
        self
    }

    /// Runs after the case, whether it passed or failed, for example to drop the table.
    #[must_use]
    pub fn finally<F>(mut self, clean_up: impl FnOnce() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.finally = Some(Box::new(move || Box::pin(clean_up())));
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Backend(_) => "Fixture(Backend)",
            Kind::Cookie(_) => "Fixture(Cookie)",
            Kind::Missing(_) => "Fixture(Missing)",
        })
    }
}
