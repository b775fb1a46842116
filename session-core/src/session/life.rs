//! The id, the lifetime, the end and the owner of a session.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Session, State};
use crate::clock::Instant;
use crate::{Error, MAX_TTL, Owner, Result};

impl Session {
    /// Signs an account in: at the next save the session gets this owner, a new id and a full new
    /// lifetime, and keeps its values.
    ///
    /// Call it at every authentication, and only then (OWASP ASVS 5, 7.2.4: a new id at
    /// authentication; NIST SP 800-63B-4, 5.1). The lifetime begins again, so that a visitor is not
    /// signed out a minute later because the session is old. To renew the id alone, for example
    /// after a change of privileges, use [`regenerate`](Self::regenerate).
    /// [`destroy`](Self::destroy) signs out.
    ///
    /// # Late requests
    /// See [`regenerate`](Self::regenerate). A sign-in is the only change that a late request
    /// stores. So a form that is submitted twice, or again because the first answer was lost, signs
    /// in each time, with a different id.
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

    /// Gives the session a new id at the next save. Its values and its expiry do not change, and
    /// the old id loads nothing from then on. Call it when privileges change;
    /// [`sign_in`](Self::sign_in) includes it.
    ///
    /// # Late requests
    /// A browser may already have sent other requests with the old id. For
    /// [`Config::tombstone_ttl`](crate::Config::tombstone_ttl) (10 s) such a late request reads an
    /// empty session, stores nothing and gets no cookie, so it can't replace the cookie with the
    /// new id. It never gets the new session, because an attacker who planted the old id would get
    /// it, too. Changes of a late request are lost (`Gone`). A sign-out with the old id ends the
    /// session.
    pub fn regenerate(&self) {
        self.write(|state| state.changes.regenerate = Some(state.changes.next()));
    }

    /// Ends the session: the next save removes it from the store, even if other requests save it
    /// meanwhile (OWASP ASVS 5, 7.4.1). Values that are inserted afterwards belong to a new session
    /// with a new id.
    pub fn destroy(&self) {
        self.write(State::destroy);
    }

    /// Whether this session is not stored: it is new, destroyed or gone.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.exists()
    }

    /// Whether this session is stored, as of the last operation on the store.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.read(State::exists)
    }

    /// Gives this session its own lifetime ("remember me"), in whole milliseconds, which begins
    /// with the next save. The store's lifetime and idle timeout no longer apply to the session;
    /// [`extend`](Self::extend) renews it. Its cookie is persistent, even if the web layer sets
    /// cookies that end with the browser session.
    ///
    /// # Errors
    /// `InvalidValue` for less than a millisecond; use [`destroy`](Self::destroy) to end a session.
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
    /// never makes the expiry earlier, and an idle timeout never exceeds the store's lifetime.
    pub fn extend(&self) {
        self.write(|state| state.changes.extend = Some(state.changes.next()));
    }

    /// The time until the session expires, as of the last load or save; `None` if it is not stored.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        self.read(|state| Some(state.stored.as_ref()?.expires_in(Instant::now())))
    }

    /// When the session's lifetime began: at its creation, or at the last sign-in or
    /// [`reset_lifetime`](Self::reset_lifetime). The time is from the clock of the application
    /// server that carried this out.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        let created = Duration::from_millis(self.read(|state| state.base.created));
        UNIX_EPOCH.checked_add(created).unwrap_or(UNIX_EPOCH)
    }

    /// Sets the owner without a new id; `None` removes it. At sign-in, use
    /// [`sign_in`](Self::sign_in).
    pub fn set_owner(&self, owner: Option<Owner>) {
        self.write(|state| {
            let number = state.changes.next();
            state.changes.owner = Some((number, owner));
        });
    }

    /// Calls the session something that its user recognises in a list of the account's sessions, for
    /// example the device: 1 to 255 bytes; `None` removes the label. It is saved with the session, keeps
    /// through [`sign_in`](Self::sign_in) and [`regenerate`](Self::regenerate), and is personal data like
    /// the owner.
    ///
    /// # Errors
    /// `InvalidValue` for an empty label and for more than 255 bytes.
    ///
    /// ```
    /// # fn main() -> session_core::Result<()> {
    /// let session = session_core::Session::new();
    /// session.set_label(Some("Firefox on Linux"))?;
    /// assert_eq!(session.label().as_deref(), Some("Firefox on Linux"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_label(&self, label: Option<&str>) -> Result<()> {
        if label.is_some_and(|label| label.is_empty() || label.len() > Owner::MAX_BYTES) {
            return Err(Error::invalid_value("a label has 1 to 255 bytes"));
        }
        let label: Option<Box<str>> = label.map(Into::into);
        self.write(|state| {
            let number = state.changes.next();
            state.changes.label = Some((number, label));
        });
        Ok(())
    }

    /// What [`set_label`](Self::set_label) called this session.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        self.read(|state| {
            let changed = state.changes.label.as_ref().map(|(_, label)| label.as_deref());
            changed.unwrap_or(state.base.label.as_deref()).map(ToOwned::to_owned)
        })
    }

    /// The owner.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.read(|state| state.owner())
    }
}
