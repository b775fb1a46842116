//! The store, free of the versions of tower-sessions.

use std::time::Duration;

use session_core::{
    Backend, Error, ErrorKind, Key, Record, Records, Result, Revision, SessionStore,
};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::payload::{Values, decode, encode};

/// How often a save that may create its session looks again because others create and delete it.
const MAX_ROUNDS: u32 = 8;

/// What a save does when the store has no session with its id (any more): another request signed it
/// out or gave it a new id, or it expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// Writes nothing and succeeds (the default): the request's answer is sent, and the session stays
    /// ended. The event has the level debug.
    #[default]
    Drop,
    /// Writes nothing and fails: the layer of tower-sessions answers 500, with an empty body and without
    /// a cookie.
    Fail,
    /// Creates the session again under its id, as other stores of tower-sessions do: **a slow request
    /// brings back a session that was signed out**. Ids that the layer chose are kept, too. This is what
    /// the cache of a `CachingSessionStore` needs.
    Create,
}

/// A store of this family as a store of tower-sessions 0.15 and 0.14 (for axum-login 0.18). Cheap to
/// clone; clones are the same store.
///
/// It implements `SessionStore` and `ExpiredDeletion` of both versions. See the
/// [crate's documentation](crate) for what it guarantees. Every operation keeps to
/// [`Config::deadline`](session_core::Config::deadline), retries included, and may be dropped at any await: the store holds the old
/// record or the new one then. Operations need a tokio runtime with its timer enabled.
#[derive(Debug, Clone)]
pub struct TowerStore {
    records: Records,
    on_missing: OnMissing,
}

impl TowerStore {
    /// A store on a backend, with the default settings.
    pub fn new(backend: impl Backend) -> Self {
        Self::of(&SessionStore::new(backend)).expect("a backend on a server has records")
    }

    /// A store on what a [`SessionStore`] holds, with its settings. Of these, only
    /// [`deadline`](session_core::Config::deadline), [`max_record_size`](session_core::Config::max_record_size) and
    /// [`purpose`](session_core::Config::purpose) matter: the layer of tower-sessions decides how long sessions live.
    /// Sessions of the `SessionStore` itself and of this store never mix.
    ///
    /// # Errors
    /// `Unsupported` for a cookie store.
    pub fn of(store: &SessionStore) -> Result<Self> {
        Ok(Self { records: store.records("tower-sessions")?, on_missing: OnMissing::default() })
    }

    /// What a save does when the session is not there any more (default: [`OnMissing::Drop`]).
    #[must_use]
    pub fn on_missing(mut self, on_missing: OnMissing) -> Self {
        self.on_missing = on_missing;
        self
    }

    /// Removes expired sessions in the background, about every `interval`, until the handle is aborted
    /// or the runtime ends, see [`SessionStore::spawn_gc`]. Unlike `continuously_delete_expired`, it
    /// goes on after an error.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_gc(&self, interval: Duration) -> JoinHandle<()> {
        self.records.store().spawn_gc(interval)
    }

    /// Creates a session that ends at this date and gives the id it got; `new_id` makes one. Without
    /// any time left nothing is written.
    ///
    /// The id that the layer chose is used only where it asks to keep ids: after `flush`, the layer asks
    /// to create a session under the id of the one that was just deleted, and a slow request that still
    /// saves the deleted session would write into the new one.
    pub(crate) async fn create_session(
        &self,
        chosen: i128,
        new_id: fn() -> i128,
        values: &Values,
        expires: OffsetDateTime,
    ) -> Result<i128> {
        let keep = self.on_missing == OnMissing::Create;
        let mut id = if keep { chosen } else { new_id() };
        let Some(ttl) = ttl_until(expires) else {
            return Ok(id);
        };
        let record = record(values)?;
        let mut first = true;
        let keys = std::iter::repeat_with(|| {
            if !std::mem::take(&mut first) {
                id = new_id();
            }
            self.key(id)
        });
        self.records.create(keys, &record, ttl).await?;
        Ok(id)
    }

    /// Replaces the values and the expiry of a session, whoever wrote them.
    pub(crate) async fn save_session(
        &self,
        id: i128,
        values: &Values,
        expires: OffsetDateTime,
    ) -> Result<()> {
        let key = self.key(id);
        let Some(ttl) = ttl_until(expires) else {
            return self.records.destroy(&key).await;
        };
        let record = record(values)?;
        for _ in 0..MAX_ROUNDS {
            match self.records.replace(&key, &record, ttl).await {
                Err(error) if error.kind() == ErrorKind::Gone => match self.on_missing {
                    OnMissing::Fail => return Err(error),
                    OnMissing::Create => {}
                    OnMissing::Drop => {
                        tracing::debug!("the session has ended meanwhile: its save is dropped");
                        return Ok(());
                    }
                },
                outcome => return outcome,
            }
            match self.records.create([key], &record, ttl).await {
                // Another save was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(Error::conflict().with_operation("save").with_backend(self.backend_name()))
    }

    /// The values of a live session and when it expires, by the store's clock.
    pub(crate) async fn load_session(&self, id: i128) -> Result<Option<(Values, OffsetDateTime)>> {
        let Some(found) = self.records.load(&self.key(id)).await? else {
            return Ok(None);
        };
        let values = decode(&found.record.payload)
            .map_err(|error| error.with_operation("load").with_backend(self.backend_name()))?;
        let left = time::Duration::try_from(found.expires_in).unwrap_or(time::Duration::MAX);
        Ok(Some((values, OffsetDateTime::now_utc().saturating_add(left))))
    }

    pub(crate) async fn delete_session(&self, id: i128) -> Result<()> {
        self.records.destroy(&self.key(id)).await
    }

    pub(crate) async fn delete_expired_sessions(&self) -> Result<()> {
        self.records.store().gc().await.map(drop)
    }

    fn key(&self, id: i128) -> Key {
        self.records.key(&id.to_le_bytes())
    }

    fn backend_name(&self) -> &'static str {
        self.records.store().backend_name()
    }
}

fn record(values: &Values) -> Result<Record> {
    Ok(Record { payload: encode(values)?, revision: Revision::random()?, owner: None })
}

/// The time until a date by this machine's clock, which the layer computed it with; `None` when it has
/// passed.
fn ttl_until(expires: OffsetDateTime) -> Option<Duration> {
    let left = expires - OffsetDateTime::now_utc();
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}
