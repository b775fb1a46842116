//! A connection that comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::{ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};

use crate::failure::{self, Failure};
use crate::source::{Connection, Source};

/// A connection on which nothing was heard for this long, while somebody waited, is given up: it may
/// be half open, and then nothing else would ever end it.
const SILENCE: Duration = Duration::from_millis(250);
/// A new connection to a cluster is dear, and one silent node is no reason to open another at once.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(3);

/// Commands, and what is needed to send them.
pub(crate) struct Request<'a> {
    pub(crate) commands: &'a Pipeline,
    /// A key of theirs: it says which node of a cluster serves them.
    pub(crate) key: &'a str,
    /// Whether sending them twice is harmless.
    pub(crate) repeatable: bool,
}

/// A connection that is opened when it is needed, and again after it broke.
#[derive(Debug)]
pub(crate) struct Link {
    source: Arc<Source>,
    live: RwLock<Option<Live>>,
    opening: tokio::sync::Mutex<Opening>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Opening {
    last_error: Option<RedisError>,
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    pulse: Arc<Pulse>,
}

/// What is known about a connection's health.
#[derive(Debug)]
struct Pulse {
    opened: Instant,
    /// Milliseconds after `opened`.
    last_heard: AtomicU64,
    closed: AtomicBool,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.pulse.fmt(f)
    }
}

impl Link {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            live: RwLock::new(None),
            opening: tokio::sync::Mutex::default(),
            failures: AtomicU64::new(0),
        }
    }

    /// Sends a request and waits for its replies, at most for `limit`, connecting included.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        limit: Duration,
    ) -> Result<Vec<Value>, Failure> {
        let started = Instant::now();
        match tokio::time::timeout(limit, self.attempts(request, started, limit)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::no_answer(limit)),
        }
    }

    /// What every master says about itself.
    pub(crate) async fn info(&self, limit: Duration) -> Result<Value, Failure> {
        let asking = async {
            let mut live = self.connect(limit).await.map_err(Failure::of_connecting)?;
            live.connection.info().await.map_err(Failure::of)
        };
        match tokio::time::timeout(limit, asking).await {
            Ok(result) => result,
            Err(_) => Err(Failure::no_answer(limit)),
        }
    }

    async fn attempts(
        &self,
        request: &Request<'_>,
        started: Instant,
        limit: Duration,
    ) -> Result<Vec<Value>, Failure> {
        let mut pause = Duration::from_millis(5);
        let mut may_repeat = request.repeatable;
        loop {
            let live = self.connect(limit).await.map_err(Failure::of)?;
            let error = match self.attempt(live, request).await {
                Ok(replies) => return Ok(replies),
                Err(error) => error,
            };
            let lost = error.is_io_error();
            let again = if lost {
                // Once is enough to get over a connection that broke unnoticed.
                std::mem::take(&mut may_repeat)
            } else {
                self.source.is_cluster() && was_not_carried_out(&error)
            };
            if !again || started.elapsed() + pause >= limit {
                return Err(match self.source.is_cluster() {
                    true => Failure::of_cluster(error),
                    false => Failure::of(error),
                });
            }
            if !lost {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(200));
            }
        }
    }

    async fn attempt(&self, live: Live, request: &Request<'_>) -> Result<Vec<Value>, RedisError> {
        let Live { mut connection, pulse } = live;
        let waiting = Waiting { link: self, pulse: &pulse, since: Instant::now() };
        let mut result = connection.send(request.commands, request.key).await;
        if let Err(error) = &result
            && self.source.is_cluster()
            && error.kind() == ErrorKind::Server(ServerErrorKind::Ask)
            && let Some((node, _slot)) = error.redirect_node()
        {
            result = connection.send_asking(request.commands, node).await;
        }
        // Whatever came, it came.
        std::mem::forget(waiting);
        match &result {
            Ok(replies) => {
                pulse.heard();
                // The master's role has gone elsewhere; a new connection finds it by name.
                if !self.source.is_cluster() && replies.iter().any(failure::is_read_only) {
                    self.give_up(&pulse);
                }
            }
            Err(error) if error.is_timeout() => self.give_up_cluster(&pulse),
            Err(error) if error.is_unrecoverable_error() => {
                if !self.source.is_cluster() || error.kind() == ErrorKind::ClusterConnectionNotFound
                {
                    self.give_up(&pulse);
                }
            }
            Err(_) => pulse.heard(),
        }
        result
    }

    /// The connection, opened if there is none. Callers that wait for one attempt share its failure.
    async fn connect(&self, limit: Duration) -> Result<Live, RedisError> {
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let failures = self.failures.load(Ordering::Acquire);
        let mut opening = self.opening.lock().await;
        if let Some(live) = self.live() {
            return Ok(live);
        }
        if let Some(error) = &opening.last_error
            && self.failures.load(Ordering::Acquire) != failures
        {
            return Err(error.clone());
        }
        let pulse = Arc::new(Pulse {
            opened: Instant::now(),
            last_heard: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let observed = Arc::clone(&pulse);
        let closed = move || observed.closed.store(true, Ordering::Release);
        match self.source.open(limit, closed).await {
            Ok(connection) => {
                let live = Live { connection, pulse };
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                opening.last_error = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    fn live(&self) -> Option<Live> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.pulse.closed.load(Ordering::Acquire)).cloned()
    }

    /// Nobody uses this connection again; what waits for answers on it still gets them.
    fn give_up(&self, pulse: &Arc<Pulse>) {
        if let Source::Given(_) = *self.source {
            return;
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(&live.pulse, pulse)) {
            *live = None;
        }
    }

    fn give_up_cluster(&self, pulse: &Arc<Pulse>) {
        if !self.source.is_cluster() || pulse.opened.elapsed() > CLUSTER_PATIENCE {
            self.give_up(pulse);
        }
    }
}

impl Pulse {
    fn heard(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_heard.store(now, Ordering::Relaxed);
    }

    fn silent_since(&self, moment: Instant) -> bool {
        let heard = Duration::from_millis(self.last_heard.load(Ordering::Relaxed));
        self.opened + heard < moment
    }
}

/// Somebody waits for an answer. Dropped when they give up.
struct Waiting<'a> {
    link: &'a Link,
    pulse: &'a Arc<Pulse>,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= SILENCE && self.pulse.silent_since(self.since) {
            self.link.give_up_cluster(self.pulse);
        }
    }
}

/// Whether a node of a cluster refused the request before it did anything, so that it may be sent
/// again: the slot is somewhere else, or nowhere for the moment.
fn was_not_carried_out(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
            )
    )
}
