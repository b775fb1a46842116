//! The life of a session: its id, its end, its lifetime, its owner.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Session, State};
use crate::clock::Instant;
use crate::{Error, MAX_TTL, Owner, Result};

impl Session {
    /// Signs an account in: at the next save the session has this owner, a new id, a full new
    /// lifetime and all its values.
    ///
    /// Call it whenever somebody proves who they are, and only then (OWASP ASVS 5, 7.2.4: a new id at
    /// authentication; NIST SP 800-63B-4, 5.1). The lifetime begins again, so that a visitor who
    /// browsed for most of it is not signed out a minute later. To renew the id alone, for example
    /// after a change of privileges, use [`regenerate`](Self::regenerate). [`destroy`](Self::destroy)
    /// signs out.
    ///
    /// # Requests that come late
    /// See [`regenerate`](Self::regenerate). A sign-in is the one change that a late request may
    /// store: a form that is submitted twice, or again because the first answer was lost, signs in,
    /// each time with an id of its own.
    ///
    /// ```
    /// use session_core::{Owner, Session};
    ///
    /// # fn main() -> session_core::Result<()> {
    /// # let session = Session::new();
    /// session.sign_in(Owner::new("alice")?);
    /// assert_eq!(session.owner().unwrap().as_str(), "alice");
    /// # Ok(())
    /// # }
    /// ```
    pub fn sign_in(&self, owner: Owner) {
        self.write(|state| {
            let number = state.changes.next();
            state.changes.sign_in = Some(number);
            state.changes.owner = Some((number, Some(owner)));
        });
    }

    /// Gives the session a new id at the next save. Its values and its expiry remain, and the old id
    /// loads nothing from then on. Call it when privileges change; at sign-in,
    /// [`sign_in`](Self::sign_in) does it.
    ///
    /// # Requests that come late
    /// A browser may have sent other requests with the old id already. For
    /// [`Config::tombstone_ttl`](crate::Config::tombstone_ttl) (10 s) such a request reads an empty
    /// session, stores nothing and gets no cookie, so it can't replace the cookie with the new id. It
    /// is never given the new session: an attacker who planted the old id would get it, too. The
    /// price is that what a late request wanted to store is lost (`Gone`). A sign-out with the old id
    /// ends the session.
    pub fn regenerate(&self) {
        self.write(|state| state.changes.regenerate = Some(state.changes.next()));
    }

    /// Ends the session: at the next save it is removed from the store, whatever another request
    /// does meanwhile (OWASP ASVS 5, 7.4.1). What is put into it afterwards belongs to a new session
    /// with a new id.
    pub fn destroy(&self) {
        self.write(State::destroy);
    }

    /// Whether there is no stored session behind this one (yet, or any more).
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.exists()
    }

    /// Whether there is a stored session behind this one, as far as is known without asking.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.read(State::exists)
    }

    /// Gives this session a lifetime of its own ("remember me"), in whole milliseconds, that begins
    /// with the next save. The store's lifetime and idle timeout no longer apply to it;
    /// [`extend`](Self::extend) renews it. Its cookie survives the browser, even where cookies expire
    /// on close by default.
    ///
    /// # Errors
    /// `InvalidValue` for zero; use [`destroy`](Self::destroy) to end a session.
    pub fn set_lifetime(&self, lifetime: Duration) -> Result<()> {
        if lifetime.as_millis() == 0 {
            return Err(Error::invalid_value("a lifetime must be at least a millisecond"));
        }
        let own = Some(lifetime.min(MAX_TTL));
        self.write(|state| state.changes.lifetime = Some((state.changes.next(), own)));
        Ok(())
    }

    /// Undoes [`set_lifetime`](Self::set_lifetime): the store's lifetime and idle timeout apply again
    /// and begin with the next save.
    pub fn reset_lifetime(&self) {
        self.write(|state| state.changes.lifetime = Some((state.changes.next(), None)));
    }

    /// Renews the session at the next save: its idle timeout, or its own lifetime, begins again. It
    /// never shortens a life, and never exceeds the store's lifetime.
    pub fn extend(&self) {
        self.write(|state| state.changes.extend = Some(state.changes.next()));
    }

    /// What is left of the session's life, as of the last load or save; `None` while it is not
    /// stored.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        self.read(|state| Some(state.stored.as_ref()?.expires_in(Instant::now())))
    }

    /// When the session began: when it was created or, later, signed in or given the store's lifetime
    /// again ([`reset_lifetime`](Self::reset_lifetime)). By the clock of the application server that
    /// did it.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        let created = Duration::from_millis(self.read(|state| state.base.created));
        UNIX_EPOCH.checked_add(created).unwrap_or(UNIX_EPOCH)
    }

    /// Sets whose session it is without a new id, so that a store can find all sessions of an
    /// account; `None` for nobody's. At sign-in, use [`sign_in`](Self::sign_in).
    pub fn set_owner(&self, owner: Option<Owner>) {
        self.write(|state| {
            let number = state.changes.next();
            state.changes.owner = Some((number, owner));
        });
    }

    /// Whose session it is.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.read(|state| state.owner())
    }
}
