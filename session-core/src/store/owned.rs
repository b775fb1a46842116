//! The sessions of an account.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::account::{Member, Sweep, members, unsupported};
use super::server::Server;
use super::{Medium, SessionStore};
use crate::clock::unix_millis;
use crate::{Error, Key, Owner, Result, Session};

/// A live session of an account, as [`SessionStore::sessions_of`] found it. It contains no session id.
///
/// It shows the state at the time of the call. Clones are cheap.
///
/// ```
/// use session_core::{OwnedSession, Owner, Result, Session, SessionStore};
///
/// /// The page "your devices" has a form for each session, with its reference.
/// fn line(one: &OwnedSession, current: &Session) -> String {
///     let label = one.label().unwrap_or("unknown device");
///     let here = if one.is(current) { " (this device)" } else { "" };
///     format!("{}: {label}{here}, last seen {:?}", one.reference(), one.last_seen())
/// }
///
/// /// The form ends the session with the reference, if it is one of the account.
/// async fn end(store: &SessionStore, owner: &Owner, reference: &str) -> Result<bool> {
///     let sessions = store.sessions_of(owner).await?;
///     match sessions.iter().find(|one| one.reference() == reference) {
///         Some(one) => one.end().await,
///         None => Ok(false),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct OwnedSession {
    store: SessionStore,
    owner: Owner,
    key: Key,
    created: u64,
    renewed: u64,
    expires_in: Duration,
    label: Option<Box<str>>,
}

impl OwnedSession {
    /// A name for this session, which is the same in each list until the session gets a new id: 32
    /// hexadecimal digits. Use it in a form: find the session with this reference in a new list of the
    /// same account, and [`end`](Self::end) it. It can't be turned into a session id.
    #[must_use]
    pub fn reference(&self) -> String {
        self.key.reference()
    }

    /// What the application called this session; see [`Session::set_label`].
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// When the account signed in; see [`Session::created_at`].
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        at(self.created)
    }

    /// When the session was last seen, as far as the store knows: at its last renewal.
    ///
    /// With an [idle timeout](crate::Config::idle_timeout) a session is renewed when it is used and
    /// [`renew_after`](crate::Config::renew_after) of the timeout has passed, so this is too early by at
    /// most that part. Without one, and for a session with its own lifetime, it is the time of the last
    /// sign-in or [`extend`](Session::extend).
    #[must_use]
    pub fn last_seen(&self) -> SystemTime {
        at(self.renewed)
    }

    /// The time until it expires, as of the call.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// Whether this is the session of the request.
    #[must_use]
    pub fn is(&self, session: &Session) -> bool {
        session.state(|state| state.live().is_some_and(|stored| stored.identity.key == self.key))
    }

    /// Ends this session, also under a new id. Returns whether it was still alive.
    ///
    /// # Errors
    /// As [`SessionStore::destroy_all`].
    pub async fn end(&self) -> Result<bool> {
        let ended = async {
            let sweep = self.store.sweep(&self.owner, None)?;
            Ok(sweep.end(self.key, None).await?.ended)
        };
        ended.await.map_err(|error| self.store.explain(error, "end"))
    }
}

/// Shows neither the owner nor the label.
impl fmt::Debug for OwnedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSession")
            .field("reference", &self.reference())
            .field("created_at", &self.created_at())
            .field("last_seen", &self.last_seen())
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

impl SessionStore {
    /// The live sessions of an account, the oldest sign-in first (OWASP ASVS 5, 7.5.2). One read of the
    /// index and one load for each session.
    ///
    /// A session that begins or ends during the call may be missing or listed.
    ///
    /// # Errors
    /// `Unsupported` if the store can't find the sessions of an account; `Unavailable`; `Corrupt`.
    ///
    /// ```
    /// use session_core::{Owner, Result, Session, SessionStore};
    ///
    /// /// The devices of the account that is signed in.
    /// async fn devices(store: &SessionStore, session: &Session) -> Result<Vec<String>> {
    ///     let Some(owner) = session.owner() else { return Ok(Vec::new()) };
    ///     let sessions = store.sessions_of(&owner).await?;
    ///     let name = |label: Option<&str>| label.unwrap_or("unknown device").to_owned();
    ///     Ok(sessions.iter().map(|one| name(one.label())).collect())
    /// }
    /// ```
    pub async fn sessions_of(&self, owner: &Owner) -> Result<Vec<OwnedSession>> {
        let found = async {
            let mut found = members(self.server()?, &self.0.context, owner).await?;
            found.sort_by_key(Member::order);
            Ok(found.into_iter().map(|member| owned(self, owner, member)).collect())
        };
        found.await.map_err(|error| self.explain(error, "sessions_of"))
    }

    /// Ends all sessions of an account, and returns how many (OWASP ASVS 5, 7.4.2 and 7.4.3).
    ///
    /// Every session of the owner whose save was acknowledged before the call is dead when it returns,
    /// also one that another request saves, renews or gives a new id at that moment, on any node. One
    /// that gets a new id at that moment may count twice. To keep new sign-ins out as well, disable the
    /// account first.
    ///
    /// On a server it costs in proportion to the sessions of the account: two calls of the store for each, and a
    /// read of the index for each 500. A store whose index is separate (Redis) also lists sessions that have
    /// ended, until their lives would have ended; they cost the same. If the future is dropped, the sessions that were ended so far stay ended.
    ///
    /// # Sessions in cookies
    /// A cookie store with a revocation store marks the account with the time: one write, and one load and
    /// one write more if the account has a mark already. The sessions whose account signed in before
    /// are dead from then on. Nobody can count them, so it returns 0.
    ///
    /// - The time is that of the clock here, and the cookie store's leeway for servers whose clocks
    ///   are ahead (1 s by default). A session of a server whose clock is ahead by more than that
    ///   survives if it signed in within that time.
    /// - A sign-in afterwards works at once, on any server. Its
    ///   [`created_at`](Session::created_at) may be later than the clock, by the leeway.
    /// - A session that was there before the call and gets the owner afterwards, by
    ///   [`set_owner`](Session::set_owner) and without a sign-in, is `Gone`.
    /// - Each load of a session with an owner reads the mark, and so does each save: one call of the
    ///   revocation store more. A save that changes the owner reads two.
    /// - A mark remains for good, about 100 bytes for each account: sessions may have lifetimes of
    ///   their own, so it is not known when the last cookie expires.
    ///
    /// # Errors
    /// `Unsupported` if the store can't find the sessions of an account, and for a cookie store
    /// without a revocation store. `Unavailable` if it is not known
    /// whether all of them ended; call it again.
    ///
    /// ```
    /// # async fn example(store: session_core::SessionStore) -> session_core::Result<()> {
    /// let ended = store.destroy_all(&session_core::Owner::new("alice")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn destroy_all(&self, owner: &Owner) -> Result<u64> {
        let ended = async {
            match &self.0.medium {
                Medium::Server(_) => self.sweep(owner, None)?.run().await,
                Medium::Sealed(sealed) => {
                    sealed.end_all(&self.0.context, owner).await?;
                    Ok(0)
                }
            }
        };
        ended.await.map_err(|error| self.explain(error, "destroy_all"))
    }

    /// Ends all other sessions of the account to which this session belongs, and returns how many
    /// (OWASP ASVS 5, 7.4.3: after a change of the password). A session without an owner has no others.
    ///
    /// Save the session first if it has just signed in: otherwise it is not known which one to keep.
    ///
    /// Sessions in cookies can't be told apart: end them all with [`destroy_all`](Self::destroy_all),
    /// [`destroy`](Session::destroy) this one, and sign in again in its place.
    ///
    /// # Errors
    /// As [`destroy_all`](Self::destroy_all). `InvalidValue` if the session is not stored or has a change
    /// of its id or owner that is not saved.
    pub async fn destroy_others(&self, session: &Session) -> Result<u64> {
        let ended = async {
            let (owner, key, settled) = session.state(|state| {
                let key = state.live().map(|stored| stored.identity.key);
                let settled = !state.changes.new_id() && state.changes.owner.is_none();
                (state.owner(), key, settled)
            });
            let Some(owner) = owner else { return Ok(0) };
            match key.filter(|_| settled) {
                Some(key) => self.sweep(&owner, Some(key))?.run().await,
                None => Err(Error::invalid_value("save the session before its others are ended")),
            }
        };
        ended.await.map_err(|error| self.explain(error, "destroy_others"))
    }

    fn server(&self) -> Result<&Server> {
        match &self.0.medium {
            Medium::Server(server) => Ok(server),
            Medium::Sealed(_) => Err(unsupported()),
        }
    }

    fn sweep<'a>(&'a self, owner: &'a Owner, keep: Option<Key>) -> Result<Sweep<'a>> {
        Ok(Sweep { server: self.server()?, context: &self.0.context, owner, keep })
    }
}

fn owned(store: &SessionStore, owner: &Owner, member: Member) -> OwnedSession {
    let Member { key, document, expires_in } = member;
    let life = document.lifetime.map(Duration::from_millis).or(store.config().idle_timeout);
    let renewed = match life {
        Some(life) => {
            let ago = life.saturating_sub(expires_in).as_millis();
            unix_millis().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
        }
        None => document.created,
    };
    OwnedSession {
        store: store.clone(),
        owner: owner.clone(),
        key,
        created: document.created,
        renewed: renewed.max(document.created),
        expires_in,
        label: document.label,
    }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}
