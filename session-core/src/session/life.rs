//! The life of a session: its id, its end, its deadline, its owner.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Session;
use crate::{Error, MAX_TTL, Owner, Result};

impl Session {
    /// Gives the session a new id at the next save: the data is kept, the old id is dead then, also
    /// for requests that are under way. Call it whenever privileges change, above all at login
    /// (OWASP ASVS 5, 7.2.4). The deadline stays where it is.
    pub fn regenerate(&self) {
        self.write(|state| state.changes.regenerate = Some(state.changes.next()));
    }

    /// Ends the session: at the next save it is removed from the store, whatever another request
    /// does meanwhile (OWASP ASVS 5, 7.4.1). What is put into it afterwards belongs to a new session
    /// with a new id.
    pub fn destroy(&self) {
        self.write(super::State::destroy);
    }

    /// Whether no stored session stands behind this one (yet, or any more).
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.exists()
    }

    /// Whether a stored session stands behind this one, as far as is known without asking.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.read(super::State::exists)
    }

    /// Gives this session a lifetime of its own from now on ("remember me"), in whole
    /// milliseconds, instead of the store's. The store's absolute lifetime still holds.
    ///
    /// # Errors
    /// `InvalidValue` for zero; use [`destroy`](Self::destroy) to end a session.
    pub fn set_lifetime(&self, lifetime: Duration) -> Result<()> {
        if lifetime.as_millis() == 0 {
            return Err(Error::invalid_value("a lifetime must be at least a millisecond"));
        }
        let lifetime = lifetime.min(MAX_TTL);
        self.write(|state| state.changes.lifetime = Some((state.changes.next(), lifetime)));
        Ok(())
    }

    /// Renews the session at the next save, as sliding does, also where sliding is off. It never
    /// shortens a life.
    pub fn extend(&self) {
        self.write(|state| state.changes.extend = Some(state.changes.next()));
    }

    /// What is left of the session's life, as of the last load or save; `None` while it is not
    /// stored.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        self.read(|state| Some(state.stored.as_ref()?.expires_in(Instant::now())))
    }

    /// When the session was created, by the clock of the server that created it.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        let created = Duration::from_millis(self.read(|state| state.base.created));
        UNIX_EPOCH.checked_add(created).unwrap_or(UNIX_EPOCH)
    }

    /// Says whose session it is, so that a store can find all sessions of an account; `None` for
    /// nobody's.
    pub fn set_owner(&self, owner: Option<Owner>) {
        self.write(|state| {
            let seq = state.changes.next();
            state.changes.owner = Some((seq, owner));
        });
    }

    /// Whose session it is.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.read(|state| state.owner())
    }
}
