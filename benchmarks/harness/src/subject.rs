//! The interface of the stores that are measured.

use std::future::Future;
use std::time::Duration;

/// A store that is measured. Every operation panics if it fails, because figures of failed operations would
/// be meaningless.
pub trait Subject: Send + Sync + 'static {
    /// The id that a client holds.
    type Id: Clone + Send + Sync;
    /// A session that a request has loaded or created.
    type Session: Send;

    /// Creates a session with the [`values`](crate::values) and a lifetime of two hours.
    fn create(&self) -> impl Future<Output = Self::Session> + Send;

    /// The id of the session.
    fn id(&self, session: &Self::Session) -> Self::Id;

    /// An id that no session has.
    fn unknown(&self) -> Self::Id;

    /// Loads a session and reads [`READ_KEY`](crate::READ_KEY); whether the session exists.
    fn load(&self, id: &Self::Id) -> impl Future<Output = bool> + Send;

    /// Loads a session in order to change it.
    fn open(&self, id: &Self::Id) -> impl Future<Output = Self::Session> + Send;

    /// Changes [`CHANGED_KEY`](crate::CHANGED_KEY) and saves.
    fn save(&self, session: &mut Self::Session, number: u64) -> impl Future<Output = ()> + Send;

    /// Renews the session.
    fn touch(&self, session: &mut Self::Session) -> impl Future<Output = ()> + Send;

    /// Removes the session.
    fn destroy(&self, session: Self::Session) -> impl Future<Output = ()> + Send;

    /// One request: loads the session, adds one to [`COUNTER_KEY`](crate::COUNTER_KEY), saves.
    fn increment(&self, id: &Self::Id) -> impl Future<Output = ()> + Send;

    /// The value of the counter.
    fn counter(&self, id: &Self::Id) -> impl Future<Output = u64> + Send;

    /// Stores a session that expires after `life`.
    fn create_short(&self, life: Duration) -> impl Future<Output = ()> + Send;

    /// Removes expired sessions and returns their number; `None` if the store needs no gc.
    fn gc(&self) -> impl Future<Output = Option<u64>> + Send;
}
