//! How the suite gets at a store.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use session_core::{Backend, Capabilities, CookieBackend, Result, SessionStore, async_trait};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Open<T> = Box<dyn Fn() -> BoxFuture<Result<T>> + Send + Sync>;

/// A store under test. The name comes first in the name of each trial.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The name, for example `"redis"`.
    fn name(&self) -> &str;

    /// What the backend is expected to claim; one that claims something else fails. For a cookie
    /// store: `durable`, and nothing else.
    fn capabilities(&self) -> Capabilities;

    /// A fresh, empty store that shares nothing with any other: a directory, a table, a prefix of
    /// its own. Called once for each case, by several at the same moment, on one runtime that lives
    /// as long as the harness; a server is started here by the first call and kept in the harness.
    ///
    /// # Errors
    /// Any error fails the case. A server that can't be had is [`Fixture::missing`] instead.
    async fn open(&self) -> Result<Fixture>;
}

/// A fresh, empty store for one case.
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

    /// A store that is reached through this one object.
    #[must_use]
    pub fn new(backend: impl Backend) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(backend);
        Self::of(Kind::Backend(Box::new(move || {
            let backend = Arc::clone(&backend);
            Box::pin(async move { Ok(backend) })
        })))
    }

    /// A store that `connect` opens: each call gives an independent object (another pool, another
    /// connection) that reaches the **same data**. A case that needs two application servers calls
    /// it twice; one that closes and reopens a durable store drops what it has and calls it again.
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

    /// A store whose medium is the cookie. Each call of `open` gives one with the same keys.
    #[must_use]
    pub fn cookie<B: CookieBackend>(open: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self::of(Kind::Cookie(Box::new(move || SessionStore::new_cookie(open()))))
    }

    /// No store: say why, and how to get it. The cases are skipped, or fail in strict mode.
    #[must_use]
    pub fn missing(why_and_how_to_get_it: impl Into<String>) -> Self {
        Self::of(Kind::Missing(why_and_how_to_get_it.into()))
    }

    /// The cookie store has a revocation store: a destroyed session is dead also for a client that
    /// kept its cookie. A store on a server is always revocable.
    #[must_use]
    pub fn revocable(mut self) -> Self {
        self.revocable = true;
        self
    }

    /// How to read everything that the store holds at rest, in any order and form that shows the
    /// stored bytes: files, rows, keys and values.
    #[must_use]
    pub fn dumping<F>(mut self, dump: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<u8>>> + Send + 'static,
    {
        self.dump = Some(Box::new(move || Box::pin(dump())));
        self
    }

    /// What to do after the case, passed or failed: drop the table, for example.
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
