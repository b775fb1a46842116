//! Access to records, for adapters to the sessions of another library.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use super::attempt::{
    CreateOutcome, MAX_RESENDS, SwapOutcome, compare_and_swap, create, in_doubt, is_refusal,
};
use super::calls::Calls;
use super::context::Context;
use super::observe::Operation;
use super::server::Server;
use super::{Medium, SessionStore};
use crate::{Error, ErrorKind, Key, Loaded, Record, Result};

/// How often a replacement is tried again after a conflict.
const MAX_CONFLICTS: u32 = 3;

/// The records of a [`SessionStore`]'s backend, for an adapter that stores the sessions of another
/// library. The adapter provides ids and payloads, and this handle writes them. Applications use
/// [`Session`](crate::Session)s instead.
///
/// Each operation ends within [`Config::deadline`](crate::Config::deadline), retries included, and
/// finds out the outcome of a write whose acknowledgement was lost. Records are not merged: of two
/// concurrent [`replace`](Self::replace)s the later one wins. A destroyed or expired record is
/// never revived.
///
/// Clones share the handle. Every future may be dropped at any await; the store then contains the
/// old record or the new one.
///
/// ```
/// use std::time::Duration;
/// use session_core::{ErrorKind, Record, Records, Result, Revision};
///
/// /// Saves a session of another library under the library's own id. A session that has ended stays
/// /// ended: the result is `false`.
/// async fn save(records: &Records, id: &[u8], payload: Vec<u8>, ttl: Duration) -> Result<bool> {
///     let record = Record { payload: payload.into(), revision: Revision::random()?, owner: None };
///     match records.replace(&records.key(id), &record, ttl).await {
///         Err(error) if error.kind() == ErrorKind::Gone => Ok(false),
///         result => result.map(|()| true),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Records {
    store: SessionStore,
    server: Server,
    prefix: [u8; 32],
}

impl SessionStore {
    /// The records of another library's sessions on this store's backend, for an adapter to that
    /// library. The sessions of each library, of this library and of each
    /// [purpose](crate::Config::purpose) have different keys. A change of the name `library` loses
    /// all of its sessions.
    ///
    /// # Errors
    /// `Unsupported` for a cookie store, which has no records.
    pub fn records(&self, library: &str) -> Result<Records> {
        match &self.0.medium {
            Medium::Server(server) => {
                let prefix = Key::foreign_prefix(library, &self.config().purpose);
                Ok(Records { store: self.clone(), server: server.clone(), prefix })
            }
            Medium::Sealed(_) => {
                let message = "a cookie store has no records; use a store on a server";
                Err(self.explain(Error::new(ErrorKind::Unsupported, message), "records"))
            }
        }
    }
}

impl Records {
    /// The store of these records, for its settings and its `gc`.
    #[must_use]
    pub fn store(&self) -> &SessionStore {
        &self.store
    }

    /// The key of a session id of the library. The id should have at least 128 random bits: an
    /// attacker with a copy of the store can try ids.
    #[must_use]
    pub fn key(&self, id: &[u8]) -> Key {
        Key::foreign(&self.prefix, id)
    }

    /// Returns the live record under the key. One call.
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`, `InvalidConfig`, `Other`.
    pub async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let operation = self.operation(Operation::load, Some(key));
        let found = self.run(&operation, "load", self.calls().load(key)).await?;
        operation.ends(if found.is_some() { "found" } else { "unknown" });
        Ok(found)
    }

    /// Creates a record under the first of `keys` that is free, and returns that key. There are at
    /// most three attempts, each with another key: after an attempt in doubt, a copy of the request
    /// may still arrive, so its key must not be used. One call, without retries.
    ///
    /// The record needs a [new revision](crate::Revision::random). The ttl begins when the store
    /// carries out the create.
    ///
    /// # Errors
    /// - `AlreadyExists`: none of the keys was free;
    /// - `TooLarge` beyond [`Config::max_record_size`](crate::Config::max_record_size);
    /// - `InvalidValue` for a ttl of zero;
    /// - `Unavailable`, `InvalidConfig`, `Other`. If a record was written nevertheless, its key is
    ///   not used, and it expires.
    pub async fn create(
        &self,
        keys: impl IntoIterator<Item = Key>,
        record: &Record,
        ttl: Duration,
    ) -> Result<Key> {
        let operation = self.operation(Operation::save, None);
        let key = self.run(&operation, "create", self.try_create(keys, record, ttl)).await?;
        operation.key(Some(key));
        operation.ends("created");
        Ok(key)
    }

    /// Replaces the live record under the key, with any revision, and gives it a new life that
    /// begins when the store carries out the write. Two calls: a load and a write. After a conflict
    /// with another write both are repeated, up to three times. If the last attempt also conflicts,
    /// the replacement succeeds without a write, as if the other write had overwritten it.
    ///
    /// The record needs a [new revision](crate::Revision::random).
    ///
    /// # Errors
    /// - `Gone`: there is no live record. Nothing was written;
    /// - `Corrupt`: what is stored is not a record. It is kept;
    /// - `TooLarge`, `InvalidValue` for a ttl of zero, `Unavailable`, `InvalidConfig`, `Other`.
    pub async fn replace(&self, key: &Key, record: &Record, ttl: Duration) -> Result<()> {
        let operation = self.operation(Operation::save, Some(key));
        self.run(&operation, "replace", self.try_replace(key, record, ttl)).await?;
        operation.ends("updated");
        Ok(())
    }

    /// Destroys the record under the key, if there is one. One call.
    ///
    /// # Errors
    /// `Unavailable`, `InvalidConfig`, `Other`: whether the record is still there is not known.
    pub async fn destroy(&self, key: &Key) -> Result<()> {
        let operation = self.operation(Operation::destroy, Some(key));
        self.run(&operation, "destroy", self.try_destroy(key)).await?;
        operation.ends("ended");
        Ok(())
    }

    async fn try_create(
        &self,
        keys: impl IntoIterator<Item = Key>,
        record: &Record,
        ttl: Duration,
    ) -> Result<Key> {
        self.check_size(record)?;
        let calls = self.calls();
        let mut failure = Error::already_exists();
        for key in keys.into_iter().take(MAX_RESENDS as usize + 1) {
            match create(&calls, &key, record, ttl, false).await {
                CreateOutcome::Created => return Ok(key),
                CreateOutcome::Refused(error) => return Err(error),
                CreateOutcome::Missing(cause) => failure = cause.unwrap_or(failure),
                CreateOutcome::InDoubt(error) => return Err(in_doubt(error)),
            }
        }
        Err(failure)
    }

    async fn try_replace(&self, key: &Key, record: &Record, ttl: Duration) -> Result<()> {
        self.check_size(record)?;
        let calls = self.calls();
        let mut resends = 0;
        for conflicts in 0..=MAX_CONFLICTS {
            let found = calls.load(key).await?.ok_or_else(Error::gone)?;
            let expected = found.record.revision;
            // A driver may have sent the request twice, and the second copy conflicts with the
            // first.
            if conflicts > 0 && expected == record.revision {
                break;
            }
            let ttl = || Some(ttl);
            let swap = compare_and_swap(&calls, &mut resends, key, record, expected, ttl, false);
            match swap.await {
                SwapOutcome::Written => break,
                // The write was in doubt, and a concurrent write overwrote the record: the later
                // one wins.
                SwapOutcome::Replaced(_) => break,
                SwapOutcome::Gone | SwapOutcome::GoneInDoubt => return Err(Error::gone()),
                SwapOutcome::InDoubt(error) => return Err(in_doubt(error)),
                SwapOutcome::Refused(error) if error.kind() != ErrorKind::Conflict => {
                    return Err(error);
                }
                SwapOutcome::Refused(_) => {}
            }
        }
        Ok(())
    }

    async fn try_destroy(&self, key: &Key) -> Result<()> {
        let calls = self.calls();
        let mut resends = 0;
        loop {
            let error = match calls.destroy(key, None).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if resends == MAX_RESENDS || calls.deadline.is_over() {
                return Err(error);
            }
            // A second `destroy` is harmless, but costs more than a load.
            if !error.nothing_was_written() {
                match calls.load(key).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(_)) => {}
                    Err(asked) if asked.kind() == ErrorKind::Corrupt => {}
                    Err(_) => return Err(error),
                }
            } else if !is_refusal(&error) {
                return Err(error);
            } else {
                // After a refusal there is one more attempt.
                resends = MAX_RESENDS - 1;
            }
            resends += 1;
        }
    }

    fn check_size(&self, record: &Record) -> Result<()> {
        let (size, limit) = (record.payload.len(), self.store.config().max_record_size);
        if size > limit {
            let message = format!("the record has {size} bytes; max_record_size is {limit}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }

    fn calls(&self) -> Calls<'_> {
        self.server.calls(self.store.context())
    }

    fn operation<'a>(
        &'a self,
        begin: impl FnOnce(&'a Context, &'static str) -> Operation<'a>,
        key: Option<&Key>,
    ) -> Operation<'a> {
        let operation = begin(self.store.context(), self.store.backend_name());
        operation.key(key.copied());
        operation
    }

    async fn run<T>(
        &self,
        operation: &Operation<'_>,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = operation.run(pin!(work)).await;
        result.map_err(|error| self.store.explain_in(operation, error, name))
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Records").field(&self.store).finish()
    }
}
