//! What a case is, and what it is given.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{
    Backend, Bytes, Capabilities, Config, Error, ErrorKind, Key, Loaded, Owner, Record, Revision,
    SessionStore, Update, Write,
};

use crate::fixture::{BoxFuture, Fixture, Kind};

/// A life that no case outlives.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// What clocks may differ by: this machine's and the server's run at slightly different speeds, and
/// stores count whole milliseconds.
pub(crate) const SLACK: Duration = Duration::from_millis(20);

/// Settings for many requests at the same moment: a machine that is busy is no outage.
pub(crate) fn patient() -> Config {
    Config::default().deadline(Duration::from_secs(40))
}

/// A named fact about a store.
pub(crate) struct Case {
    /// `group::fact`.
    pub(crate) name: &'static str,
    /// The clause of the contract, or the promise of the session, that it proves.
    pub(crate) promise: &'static str,
    pub(crate) run: fn(Arc<Context>) -> BoxFuture<CaseResult>,
}

/// The list of a module's cases: the promise, then the function of the case's name.
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

/// The store that a case examines.
pub(crate) struct Context {
    pub(crate) fixture: Fixture,
    /// What the harness expects of the backend.
    pub(crate) capabilities: Capabilities,
}

impl Context {
    /// A handle to the store's data; another one with each call where the harness can.
    pub(crate) async fn backend(&self) -> CaseResult<Arc<dyn Backend>> {
        match &self.fixture.kind {
            Kind::Backend(connect) => Ok(connect().await?),
            Kind::Cookie(_) => Err(skip("the cookie is the store: it has no Backend")),
            Kind::Missing(reason) => Err(skip(reason)),
        }
    }

    /// The store that applications hold; another one with each call where the harness can.
    pub(crate) async fn store(&self, config: Config) -> CaseResult<SessionStore> {
        let store = match &self.fixture.kind {
            Kind::Backend(connect) => SessionStore::new(connect().await?),
            Kind::Cookie(open) => open(),
            Kind::Missing(reason) => return Err(skip(reason)),
        };
        Ok(store.with_config(config)?)
    }

    /// Skips the case for a cookie store: of two responses, the later cookie replaces the earlier.
    pub(crate) fn needs_conflicts(&self) -> CaseResult {
        if self.is_cookie() {
            return Err(skip("the cookie is the store: it can't know of another request's write"));
        }
        Ok(())
    }

    pub(crate) fn needs_revocation(&self) -> CaseResult {
        if self.is_revocable() {
            return Ok(());
        }
        Err(skip("without revocation an old cookie is valid until it expires"))
    }

    /// Whether a destroyed session is dead for a client that kept its cookie.
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

/// A key that no other case and no other call uses.
pub(crate) fn key() -> Key {
    Key::from_bytes(std::array::from_fn(|_| fastrand::u8(..)))
}

pub(crate) fn revision() -> Revision {
    Revision::from_u64(fastrand::u64(..))
}

/// A record without an owner, with a revision of its own.
pub(crate) fn record(payload: impl AsRef<[u8]>) -> Record {
    Record { payload: Bytes::copy_from_slice(payload.as_ref()), revision: revision(), owner: None }
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner::new(name).expect("the cases' owners have 1 to 255 bytes")
}

pub(crate) const fn create(ttl: Duration) -> Write {
    Write::Create { ttl }
}

/// An update over the record that was seen.
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

/// The live record under the key, which must be there.
pub(crate) async fn live(backend: &dyn Backend, key: &Key, after: &str) -> CaseResult<Loaded> {
    match backend.load(key).await? {
        Some(loaded) => Ok(loaded),
        None => Err(Failure::Failed(format!("the record is missing {after}"))),
    }
}

/// Fails unless exactly this record is live under the key.
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

/// Fails unless no live record is under the key.
pub(crate) async fn absent(backend: &dyn Backend, key: &Key, after: &str) -> CaseResult {
    let loaded = backend.load(key).await?;
    ensure!(loaded.is_none(), "load must be None {after}, but gave {loaded:?}");
    Ok(())
}

/// Says which part of a record is not what it must be.
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

/// Waits until a life that began at or before this moment has surely ended.
pub(crate) async fn outlive(ttl: Duration) {
    tokio::time::sleep(ttl + SLACK).await;
}

/// Short lives, to be tried in turn: where a case must act within a life and the machine or the
/// server was too slow for the first, the next will do.
pub(crate) const SHORT: [Duration; 3] =
    [Duration::from_millis(120), Duration::from_millis(800), Duration::from_secs(5)];

/// Whether a refusal may be due to a life that ended before the store was asked.
pub(crate) fn too_late<T>(result: &Result<T, Error>, began: Instant, ttl: Duration) -> bool {
    began.elapsed() + SLACK >= ttl
        && matches!(result, Err(error) if error.kind() == ErrorKind::Gone)
}

/// Fails unless what is left of a life that was given between the two moments fits to it.
pub(crate) fn lives(left: Duration, ttl: Duration, before: Instant, what: &str) -> CaseResult {
    let at_least = ttl.saturating_sub(before.elapsed() + SLACK);
    ensure!(
        left >= at_least && left <= ttl,
        "{what} must live for {ttl:?} from then on, but {left:?} are left"
    );
    Ok(())
}

/// Runs the futures at the same moment, on the threads that the runtime has.
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
