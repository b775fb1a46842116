//! Cases, their context, and the helpers that they share.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{
    Backend, Bytes, Capabilities, Config, Error, ErrorKind, Key, Loaded, Owner, Record, Revision,
    SessionStore, Update, Write,
};

use crate::fixture::{BoxFuture, Fixture, Kind};
use crate::observed::{Observed, Outages};

/// A ttl that is longer than any case.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// The tolerance of comparisons of time: the clocks of this machine and of the server run at slightly
/// different speeds, and stores count whole milliseconds.
pub(crate) const SLACK: Duration = Duration::from_millis(20);

/// Settings for many concurrent requests, which must not fail because the machine is busy.
pub(crate) fn patient() -> Config {
    Config::default().deadline(Duration::from_secs(40))
}

/// A named fact about a store.
pub(crate) struct Case {
    /// `group::fact`.
    pub(crate) name: &'static str,
    /// The clause of the contract, or the promise of the session, that the case tests.
    pub(crate) promise: &'static str,
    pub(crate) run: fn(Arc<Context>) -> BoxFuture<CaseResult>,
}

/// The cases of a module: the promise, then the function, whose name is the name of the case.
macro_rules! cases {
    ($group:literal: $($promise:literal => $case:ident,)+) => {
        pub(crate) const CASES: &[$crate::case::Case] = &[$($crate::case::Case {
            name: concat!($group, "::", stringify!($case)),
            promise: $promise,
            run: |context| Box::pin(async move { $case(&context).await }),
        }),+];
    };
}
pub(crate) use cases;

/// Fails the case with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::case::Failure::Failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

pub(crate) type CaseResult<T = ()> = Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    Failed(String),
    Skipped(String),
    /// An operation that must succeed failed.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The store that a case tests.
pub(crate) struct Context {
    pub(crate) fixture: Fixture,
    /// The capabilities that the harness expects of the backend.
    pub(crate) capabilities: Capabilities,
    pub(crate) outages: Outages,
}

impl Context {
    /// A backend for the data of the store; each call returns another object if the harness can open several.
    pub(crate) async fn backend(&self) -> CaseResult<Arc<dyn Backend>> {
        match &self.fixture.kind {
            Kind::Backend(connect) => Ok(Observed::over(connect().await?, &self.outages)),
            Kind::Cookie(_) => Err(skip("a cookie store has no Backend")),
            Kind::Missing(reason) => Err(skip(reason)),
        }
    }

    /// The store as applications use it; each call returns another object if the harness can open several.
    pub(crate) async fn store(&self, config: Config) -> CaseResult<SessionStore> {
        let store = match &self.fixture.kind {
            Kind::Cookie(open) => open(),
            Kind::Backend(_) | Kind::Missing(_) => SessionStore::new(self.backend().await?),
        };
        Ok(store.with_config(config)?)
    }

    /// Skips the case for a cookie store: the cookie of a later response replaces that of an earlier one.
    pub(crate) fn needs_conflicts(&self) -> CaseResult {
        if self.is_cookie() {
            return Err(skip("a cookie store can't detect a write of another request"));
        }
        Ok(())
    }

    pub(crate) fn needs_revocation(&self) -> CaseResult {
        if self.is_revocable() {
            return Ok(());
        }
        Err(skip("without revocation an old cookie is valid until it expires"))
    }

    /// Whether a destroyed session has also ended for a client that kept its cookie.
    pub(crate) fn is_revocable(&self) -> bool {
        !self.is_cookie() || self.fixture.revocable
    }

    /// Skips the case for a cookie store.
    pub(crate) fn needs_space(&self) -> CaseResult {
        if self.is_cookie() {
            return Err(skip("a cookie holds 4 KiB"));
        }
        Ok(())
    }

    pub(crate) fn is_cookie(&self) -> bool {
        matches!(self.fixture.kind, Kind::Cookie(_))
    }
}

pub(crate) fn skip(reason: impl Into<String>) -> Failure {
    Failure::Skipped(reason.into())
}

/// A new random key.
pub(crate) fn key() -> Key {
    Key::from_bytes(std::array::from_fn(|_| fastrand::u8(..)))
}

pub(crate) fn revision() -> Revision {
    Revision::from_u64(fastrand::u64(..))
}

/// A record without an owner, with a new revision.
pub(crate) fn record(payload: impl AsRef<[u8]>) -> Record {
    Record { payload: Bytes::copy_from_slice(payload.as_ref()), revision: revision(), owner: None }
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner::new(name).expect("the cases' owners have 1 to 255 bytes")
}

pub(crate) const fn create(ttl: Duration) -> Write {
    Write::Create { ttl }
}

/// An update that expects the revision of the loaded record.
pub(crate) const fn update(seen: &Record, ttl: Option<Duration>) -> Write {
    Write::Update(over(seen, ttl))
}

pub(crate) const fn over(seen: &Record, ttl: Option<Duration>) -> Update {
    Update { expected: seen.revision, ttl }
}

/// Fails unless the operation was refused with this kind.
pub(crate) fn refused<T: Debug>(
    result: Result<T, Error>,
    kind: ErrorKind,
    what: &str,
) -> CaseResult<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::Failed(format!(
            "{what} must be {kind:?}, but was {:?} ({error})",
            error.kind()
        ))),
        Ok(value) => {
            Err(Failure::Failed(format!("{what} must be {kind:?}, but was Ok({value:?})")))
        }
    }
}

/// The live record under the key; fails if there is none.
pub(crate) async fn live(backend: &dyn Backend, key: &Key, after: &str) -> CaseResult<Loaded> {
    match backend.load(key).await? {
        Some(loaded) => Ok(loaded),
        None => Err(Failure::Failed(format!("the record is missing {after}"))),
    }
}

/// Fails unless this record is live under the key.
pub(crate) async fn holds(
    backend: &dyn Backend,
    key: &Key,
    expected: &Record,
    after: &str,
) -> CaseResult<Loaded> {
    let loaded = live(backend, key, after).await?;
    same(&loaded.record, expected, after)?;
    Ok(loaded)
}

/// Fails if there is a live record under the key.
pub(crate) async fn absent(backend: &dyn Backend, key: &Key, after: &str) -> CaseResult {
    let loaded = backend.load(key).await?;
    ensure!(loaded.is_none(), "load must be None {after}, but gave {loaded:?}");
    Ok(())
}

/// Fails with the part of the record that differs from the expected one.
pub(crate) fn same(found: &Record, expected: &Record, after: &str) -> CaseResult {
    let (is, must) = (&found.payload, &expected.payload);
    if is != must {
        let at = is.iter().zip(must).take_while(|(a, b)| a == b).count();
        return Err(Failure::Failed(format!(
            "the payload {after} differs from byte {at} on: {} bytes instead of {}",
            is.len(),
            must.len()
        )));
    }
    ensure!(
        found.revision == expected.revision,
        "the revision {after} is {:?} instead of {:?}",
        found.revision,
        expected.revision
    );
    let name = |record: &Record| record.owner.as_ref().map(|owner| owner.as_str().to_owned());
    ensure!(
        found.owner == expected.owner,
        "the owner {after} is {:?} instead of {:?}",
        name(found),
        name(expected)
    );
    Ok(())
}

/// Waits until a record with a ttl that began at or before this moment has certainly expired.
pub(crate) async fn outlive(ttl: Duration) {
    tokio::time::sleep(ttl + SLACK).await;
}

/// Short ttls, which a case tries one after another: if it must act before the expiry and the machine or the
/// server was too slow for a ttl, it tries the next, longer one.
pub(crate) const SHORT: [Duration; 3] =
    [Duration::from_millis(120), Duration::from_millis(800), Duration::from_secs(5)];

/// Whether the record may have expired before the store carried out the operation that it refused.
pub(crate) fn too_late<T>(result: &Result<T, Error>, began: Instant, ttl: Duration) -> bool {
    began.elapsed() + SLACK >= ttl
        && matches!(result, Err(error) if error.kind() == ErrorKind::Gone)
}

/// Fails unless the remaining life is right for a ttl that began between the two moments.
pub(crate) fn lives(left: Duration, ttl: Duration, before: Instant, what: &str) -> CaseResult {
    let at_least = ttl.saturating_sub(before.elapsed() + SLACK);
    ensure!(
        left >= at_least && left <= ttl,
        "{what} must live for {ttl:?} from then on, but {left:?} are left"
    );
    Ok(())
}

/// Runs the futures concurrently on the threads of the runtime.
pub(crate) async fn together<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut outputs = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(output) => outputs.push(output),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    outputs
}

pub(crate) fn too_slow() -> Failure {
    Failure::Failed(format!("two operations in a row must not take {:?}, but did", SHORT[2]))
}
