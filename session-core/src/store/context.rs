//! The state that all operations of a store share.

use super::queue::Queues;
use crate::measure::Metrics;
use crate::session::Identity;
use crate::{Config, Error, ErrorKind, Key, Result, SessionId};

pub(super) struct Context {
    pub(super) config: Config,
    pub(super) queues: Queues,
    pub(super) metrics: Metrics,
}

impl Context {
    pub(super) fn new(config: Config) -> Self {
        Self { config, queues: Queues::new(), metrics: Metrics::default() }
    }

    pub(super) fn key(&self, id: &SessionId) -> Key {
        id.key_for(&self.config.purpose)
    }

    /// A new id from the configured random source.
    pub(super) fn new_identity(&self) -> Result<Identity> {
        let mut bytes = [0; 32];
        let failed = |error| {
            Error::new(ErrorKind::Other, "the random source failed; the session has no new id")
                .as_refusal()
                .with_source(error)
        };
        (self.config.random_source)(&mut bytes).map_err(failed)?;
        if bytes == [0; 32] {
            return Err(failed(std::io::Error::other("it returned only zeros")));
        }
        let id = SessionId::from_bytes(bytes);
        Ok(Identity { key: self.key(&id), id })
    }
}
