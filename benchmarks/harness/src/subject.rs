//! What is measured.

use std::future::Future;
use std::time::Duration;

/// Something that keeps sessions. Every operation panics when it fails: a benchmark of errors is
/// worth nothing.
pub trait Subject: Send + Sync + 'static {
    /// What a client holds.
    type Id: Clone + Send + Sync;
    /// A session as a request holds it after it loaded or created it.
    type Session: Send;

    /// A session of the [`values`](crate::values), stored, with a life of two hours.
    fn create(&self) -> impl Future<Output = Self::Session> + Send;

    /// What a client needs to get it again.
    fn id(&self, session: &Self::Session) -> Self::Id;

    /// An id that no session has.
    fn unknown(&self) -> Self::Id;

    /// Loads a session to usable values and reads [`READ_KEY`](crate::READ_KEY) out; whether it is
    /// there.
    fn load(&self, id: &Self::Id) -> impl Future<Output = bool> + Send;

    /// Loads a session in order to change it.
    fn open(&self, id: &Self::Id) -> impl Future<Output = Self::Session> + Send;

    /// Changes [`CHANGED_KEY`](crate::CHANGED_KEY) and saves.
    fn save(&self, session: &mut Self::Session, number: u64) -> impl Future<Output = ()> + Send;

    /// Renews the session's life.
    fn touch(&self, session: &mut Self::Session) -> impl Future<Output = ()> + Send;

    /// Removes the session.
    fn destroy(&self, session: Self::Session) -> impl Future<Output = ()> + Send;

    /// One request: loads the session, adds one to [`COUNTER_KEY`](crate::COUNTER_KEY), saves.
    fn increment(&self, id: &Self::Id) -> impl Future<Output = ()> + Send;

    /// What the counter says.
    fn counter(&self, id: &Self::Id) -> impl Future<Output = u64> + Send;

    /// Stores a session that expires after `life`.
    fn create_short(&self, life: Duration) -> impl Future<Output = ()> + Send;

    /// Removes what has expired and says how much; `None` where there is nothing to do.
    fn gc(&self) -> impl Future<Output = Option<u64>> + Send;
}
