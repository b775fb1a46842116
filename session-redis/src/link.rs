//! A connection that comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use redis::{ErrorKind, Pipeline, RedisError, Value};

use crate::failure::{self, Failure, was_not_carried_out};
use crate::source::{Connection, Source};

/// A connection is given up when no answer came for this long although one was awaited: it may be half
/// open, and then nothing else would ever end it.
const SILENCE: Duration = Duration::from_millis(250);
/// The time limit of an attempt to connect. The operation that began it may end sooner.
const OPENING: Duration = Duration::from_secs(5);
/// After this time, an operation begins another attempt beside one that has no answer: it may have begun while the
/// network lost everything, and would wait for its own end, long after the network works again. One to a cluster
/// may take as long as it takes.
const ANOTHER_ATTEMPT: Duration = Duration::from_secs(1);
/// A silent node ends a connection to a cluster only after this age, because a new one opens
/// connections to all nodes.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(3);

/// Commands, and what is needed to send them.
pub(crate) struct Request<'a> {
    pub(crate) commands: &'a Pipeline,
    /// A key of theirs: it says which node of a cluster serves them.
    pub(crate) key: &'a [u8],
    /// Whether sending them twice is harmless.
    pub(crate) repeatable: bool,
}

/// A connection that is opened when it is needed, and again after it broke.
pub(crate) struct Link {
    source: Arc<Source>,
    patience: Option<Duration>,
    live: Arc<RwLock<Option<Live>>>,
    /// The last attempt, and when it began.
    opening: Mutex<Option<(Instant, Attempt)>>,
}

/// An attempt to connect. It goes on when no operation waits for it any more: otherwise operations with a
/// shorter time limit would never get a connection.
type Attempt = watch::Receiver<Option<Result<Live, RedisError>>>;

#[derive(Clone)]
struct Live {
    connection: Connection,
    health: Arc<Health>,
}

/// What is known about a connection's health.
struct Health {
    opened: Instant,
    /// Milliseconds after `opened`.
    last_answer: AtomicU64,
    closed: AtomicBool,
}

impl Link {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self { source, patience: None, live: Arc::default(), opening: Mutex::default() }
    }

    /// For answers that may take as long as `patience`.
    pub(crate) fn patient(source: Arc<Source>, patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::new(source) }
    }

    /// What every master says about itself.
    pub(crate) async fn info(&self, limit: Duration) -> Result<Value, Failure> {
        let asking = async {
            let mut live = self.connect().await.map_err(Failure::of_connecting)?;
            live.connection.info(limit).await.map_err(Failure::of)
        };
        match tokio::time::timeout(limit, asking).await {
            Ok(result) => result,
            Err(_) => Err(Failure::no_answer(limit)),
        }
    }

    /// Sends a request and waits for its replies; again, until `limit` after it all `started`, where that
    /// does no harm. `under_way` is set while the server may carry something out without an answer yet.
    pub(crate) async fn attempts(
        &self,
        request: &Request<'_>,
        under_way: &AtomicBool,
        started: Instant,
        limit: Duration,
    ) -> Result<Vec<Value>, Failure> {
        let mut pause = Duration::from_millis(5);
        let mut may_repeat = request.repeatable;
        let mut in_doubt = false;
        loop {
            // What is rare is in boxes: the future of each operation has room for all that is not.
            let live = match self.live() {
                Some(live) => live,
                None => Box::pin(self.connect()).await.map_err(|error| {
                    let failure = Failure::of(error);
                    if in_doubt { failure.in_doubt() } else { failure.refused() }
                })?,
            };
            under_way.store(true, Ordering::Relaxed);
            let error = match self.attempt(live, request).await {
                Ok(replies) => return Ok(replies),
                Err(error) => error,
            };
            let lost = error.is_io_error();
            in_doubt |= lost;
            under_way.store(in_doubt, Ordering::Relaxed);
            let again = if lost {
                // Once is enough to get over a connection that broke unnoticed.
                std::mem::take(&mut may_repeat)
            } else {
                self.source.serves_cluster() && was_not_carried_out(&error)
            };
            if !again || started.elapsed() + pause >= limit {
                let failure = match self.source.serves_cluster() {
                    true => Failure::of_cluster(error),
                    false => Failure::of(error),
                };
                return Err(if in_doubt { failure.in_doubt() } else { failure });
            }
            if !lost {
                Box::pin(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(Duration::from_millis(200));
            }
        }
    }

    async fn attempt(&self, live: Live, request: &Request<'_>) -> Result<Vec<Value>, RedisError> {
        let Live { mut connection, health } = live;
        let waiting = Waiting { link: self, health: &health, since: Instant::now() };
        let result = connection.send(request.commands, request.key).await;
        // Nothing is awaited any more.
        std::mem::forget(waiting);
        match &result {
            Ok(replies) => {
                health.note_answer();
                // The master's role has gone elsewhere; a new connection finds it by name.
                if !self.source.is_cluster() && replies.iter().any(failure::is_read_only) {
                    self.give_up(&health);
                }
            }
            Err(error) if error.is_timeout() => self.give_up_silent(&health),
            Err(error) if error.is_unrecoverable_error() => {
                if !self.source.is_cluster() || error.kind() == ErrorKind::ClusterConnectionNotFound
                {
                    self.give_up(&health);
                }
            }
            Err(_) => health.note_answer(),
        }
        result
    }

    /// The connection, opened if there is none.
    async fn connect(&self) -> Result<Live, RedisError> {
        let mut joined_before = false;
        loop {
            if let Some(live) = self.live() {
                return Ok(live);
            }
            let (mut attempt, joined) = self.open(&Handle::current());
            let opened = match attempt.wait_for(Option::is_some).await {
                Ok(opened) => opened.clone(),
                // The runtime that ran it was shut down.
                Err(_) => None,
            };
            match opened {
                Some(Ok(live)) => return Ok(live),
                // What began before we came may have failed for what is over by now.
                Some(Err(error)) if joined_before || !joined => return Err(error),
                Some(Err(_)) => joined_before = true,
                None => {}
            }
        }
    }

    /// Joins the attempt that is running, or begins one. Says which.
    fn open(&self, runtime: &Handle) -> (Attempt, bool) {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((began, attempt)) = &*opening
            && attempt.borrow().is_none()
            // Its runtime lives, and has not come to rest.
            && attempt.has_changed().is_ok()
            && began.elapsed() < if self.source.is_cluster() { OPENING } else { ANOTHER_ATTEMPT }
        {
            return (attempt.clone(), true);
        }
        let (done, attempt) = watch::channel(None);
        let (source, live) = (Arc::clone(&self.source), Arc::clone(&self.live));
        let patience = self.patience;
        runtime.spawn(async move {
            let opened = open(&source, patience).await;
            if let Ok(opened) = &opened {
                *live.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.clone());
            }
            // There may be no receiver any more.
            let _ = done.send(Some(opened));
        });
        *opening = Some((Instant::now(), attempt.clone()));
        (attempt, false)
    }

    fn live(&self) -> Option<Live> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.health.closed.load(Ordering::Acquire)).cloned()
    }

    /// No operation begins to use this connection; those that wait for answers on it still get them. A
    /// connection to a cluster is used until another is ready, because most of its nodes may be well.
    fn give_up(&self, health: &Arc<Health>) {
        if let Source::Given { .. } = *self.source {
            return;
        }
        let is_current = |live: &Option<Live>| {
            live.as_ref().is_some_and(|live| Arc::ptr_eq(&live.health, health))
        };
        if self.source.is_cluster()
            && let Ok(runtime) = Handle::try_current()
        {
            if is_current(&self.live.read().unwrap_or_else(PoisonError::into_inner)) {
                self.open(&runtime);
            }
            return;
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if is_current(&live) {
            *live = None;
        }
    }

    /// A node did not answer in time.
    fn give_up_silent(&self, health: &Arc<Health>) {
        if !self.source.is_cluster() || health.opened.elapsed() > CLUSTER_PATIENCE {
            self.give_up(health);
        }
    }
}

/// One attempt to connect.
async fn open(source: &Source, patience: Option<Duration>) -> Result<Live, RedisError> {
    let health = Arc::new(Health {
        opened: Instant::now(),
        last_answer: AtomicU64::new(0),
        closed: AtomicBool::new(false),
    });
    let observed = Arc::clone(&health);
    let closed = move || observed.closed.store(true, Ordering::Release);
    match tokio::time::timeout(OPENING, source.open(OPENING, patience, closed)).await {
        Ok(connection) => Ok(Live { connection: connection?, health }),
        Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
    }
}

impl Health {
    fn note_answer(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_answer.store(now, Ordering::Relaxed);
    }

    fn silent_since(&self, moment: Instant) -> bool {
        let heard = Duration::from_millis(self.last_answer.load(Ordering::Relaxed));
        self.opened + heard < moment
    }
}

/// An answer is awaited. Dropped when the operation gives up.
struct Waiting<'a> {
    link: &'a Link,
    health: &'a Arc<Health>,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let source = &self.link.source;
        // In a cluster, one node is silent while others are heard.
        let silent = source.is_cluster() || self.health.silent_since(self.since);
        if self.since.elapsed() >= SILENCE && silent {
            self.link.give_up_silent(self.health);
        }
    }
}
