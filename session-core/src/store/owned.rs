//! The sessions of an account.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::calls::Calls;
use super::server::Server;
use super::{Medium, SessionStore};
use crate::clock::unix_millis;
use crate::document::{Content, Document};
use crate::{Error, ErrorKind, Key, Loaded, Owner, OwnerIndex, Result, Session};

/// How many keys are read from the index at once.
const PAGE: usize = 500;
/// How often the index is read again while other requests begin sessions.
const MAX_PASSES: u32 = 100;
/// How often a session is loaded again after another request saved it.
const MAX_CONFLICTS: u32 = 20;

/// A live session of an account, as [`SessionStore::sessions_of`] found it. It contains no session id.
///
/// It shows the state at the time of the call. Clones are cheap.
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
            let mut sweep = Sweep::new(&self.store, &self.owner, None)?;
            sweep.end(self.key).await?;
            Ok(sweep.ended > 0)
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
        let found = async { self.0.server()?.list(self, owner).await };
        found.await.map_err(|error| self.explain(error, "sessions_of"))
    }

    /// Ends all sessions of an account, and returns how many (OWASP ASVS 5, 7.4.2 and 7.4.3).
    ///
    /// Every session of the owner whose save was acknowledged before the call is dead when it returns,
    /// also one that another request saves, renews or gives a new id at that moment, on any node. One
    /// that gets a new id at that moment may count twice. To keep new sign-ins out as well, disable the
    /// account first.
    ///
    /// It costs in proportion to the sessions of the account: two calls of the store for each, and a
    /// read of the index for each 500. If the future is dropped, the sessions that were ended so far stay ended.
    ///
    /// # Errors
    /// `Unsupported` if the store can't find the sessions of an account. `Unavailable` if it is not known
    /// whether all of them ended; call it again.
    ///
    /// ```
    /// # async fn example(store: session_core::SessionStore) -> session_core::Result<()> {
    /// let ended = store.destroy_all(&session_core::Owner::new("alice")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn destroy_all(&self, owner: &Owner) -> Result<u64> {
        let ended = async { Sweep::new(self, owner, None)?.run().await };
        ended.await.map_err(|error| self.explain(error, "destroy_all"))
    }

    /// Ends all other sessions of the account to which this session belongs, and returns how many
    /// (OWASP ASVS 5, 7.4.3: after a change of the password). A session without an owner has no others.
    ///
    /// Save the session first if it has just signed in: otherwise it is not known which one to keep.
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
                Some(key) => Sweep::new(self, &owner, Some(key))?.run().await,
                None => Err(Error::invalid_value("save the session before its others are ended")),
            }
        };
        ended.await.map_err(|error| self.explain(error, "destroy_others"))
    }
}

impl super::Inner {
    fn server(&self) -> Result<&Server> {
        match &self.medium {
            Medium::Server(server) => Ok(server),
            Medium::Sealed(_) => Err(unsupported()),
        }
    }
}

impl Server {
    fn index(&self) -> Result<&dyn OwnerIndex> {
        self.backend.owner_index().ok_or_else(unsupported)
    }

    /// All keys of the owner, page by page.
    async fn page(
        &self,
        calls: &Calls<'_>,
        owner: &Owner,
        after: Option<&Key>,
    ) -> Result<Vec<Key>> {
        calls.deadline.limit(self.index()?.keys_of(owner, after, PAGE)).await
    }

    async fn list(&self, store: &SessionStore, owner: &Owner) -> Result<Vec<OwnedSession>> {
        let mut sessions = Vec::new();
        let mut after = None;
        loop {
            let keys = self.page(&self.calls(&store.0.context), owner, after.as_ref()).await?;
            for key in &keys {
                let Some(found) = self.calls(&store.0.context).load(key).await? else { continue };
                if found.record.owner.as_ref() != Some(owner) {
                    continue;
                }
                match Content::decode(found.record.payload) {
                    Ok(Content::Session(document)) => {
                        sessions.push(owned(store, owner, *key, &document, found.expires_in));
                    }
                    Ok(Content::Tombstone(_)) => {}
                    Err(error) => tracing::warn!(%error, "a session of an account can't be read"),
                }
            }
            after = keys.last().copied();
            if keys.len() < PAGE {
                break;
            }
        }
        sessions.sort_by_key(|session| (session.created, session.key));
        Ok(sessions)
    }
}

/// The end of an account's sessions.
///
/// A pass visits each key of the index. Whoever gives a session a new id meanwhile first creates the new
/// record, which the index then has, too, and then replaces the old record by a tombstone, which keeps the
/// owner and leads to the new key. So a session that is not found under one key is found under the other
/// one, or by the next pass, because its key is new.
struct Sweep<'a> {
    server: &'a Server,
    store: &'a SessionStore,
    owner: &'a Owner,
    keep: Option<Key>,
    seen: HashSet<Key>,
    /// What was destroyed, and tombstones, which never change.
    settled: HashSet<Key>,
    ended: u64,
    again: bool,
}

impl<'a> Sweep<'a> {
    fn new(store: &'a SessionStore, owner: &'a Owner, keep: Option<Key>) -> Result<Self> {
        let server = store.0.server()?;
        let (seen, settled) = (HashSet::new(), HashSet::new());
        Ok(Self { server, store, owner, keep, seen, settled, ended: 0, again: false })
    }

    fn calls(&self) -> Calls<'a> {
        self.server.calls(&self.store.0.context)
    }

    /// Ends all sessions but the one to keep, until a pass sees no new key.
    async fn run(mut self) -> Result<u64> {
        for _ in 0..MAX_PASSES {
            self.again = false;
            let mut after = None;
            loop {
                let keys = self.server.page(&self.calls(), self.owner, after.as_ref()).await?;
                for key in &keys {
                    self.again |= self.seen.insert(*key);
                    self.end(*key).await?;
                }
                after = keys.last().copied();
                if keys.len() < PAGE {
                    break;
                }
            }
            if !self.again {
                return Ok(self.ended);
            }
        }
        Err(Error::unavailable("the account began sessions again and again meanwhile"))
    }

    /// Ends the session under this key, or under the new key to which its tombstone leads.
    async fn end(&mut self, mut key: Key) -> Result<()> {
        let calls = self.calls();
        let mut conflicts = 0;
        while Some(key) != self.keep && !self.settled.contains(&key) {
            let Some(Loaded { record, .. }) = calls.load(&key).await? else {
                break;
            };
            match Content::decode(record.payload) {
                Ok(Content::Tombstone(tombstone)) => {
                    self.settled.insert(key);
                    key = tombstone.key;
                    continue;
                }
                // It belongs to another account since.
                _ if record.owner.as_ref() != Some(self.owner) => break,
                // A record that can't be read is removed, too.
                Ok(Content::Session(_)) | Err(_) => {}
            }
            // Other requests save the session again and again: it is destroyed whatever it is now. If it
            // is a tombstone, the next pass finds the session under its new key.
            let only = (conflicts < MAX_CONFLICTS).then_some(record.revision);
            if calls.destroy(&key, only).await? {
                self.settled.insert(key);
                self.ended += 1;
                self.again |= only.is_none();
                calls.forget(self.owner, &key).await;
                break;
            }
            conflicts += 1;
        }
        Ok(())
    }
}

fn owned(
    store: &SessionStore,
    owner: &Owner,
    key: Key,
    document: &Document,
    expires_in: Duration,
) -> OwnedSession {
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
        label: document.label.clone(),
    }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

fn unsupported() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this store can't find the sessions of an account: its backend has no owner index",
    )
}
