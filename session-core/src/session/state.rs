//! The state of a session, and its changes after each result from the store.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::changes::Changes;
use super::prepared::{Doubt, Identity, Prepared, Target, Ticket, Version};
use crate::clock::{Instant, unix_millis};
use crate::document::{Document, FlashEntry};
use crate::{Key, Owner, Record, Revision};

pub(crate) struct State {
    /// The session in the store, as of the last operation.
    pub(crate) stored: Option<Stored>,
    /// The document that was loaded or last saved.
    pub(crate) base: Document,
    pub(crate) changes: Changes,
    pub(crate) doubt: Option<Doubt>,
    /// A save of this handle whose future was dropped while it waited in a queue. A leader may
    /// still be writing its changes.
    pub(crate) queued: Option<Box<Ticket>>,
    /// Sessions that the next save has to destroy, in this order.
    pub(crate) ended: Vec<Ended>,
    /// The flash entries that were delivered to this request and that it has neither kept nor
    /// removed.
    pub(crate) delivered: Vec<u64>,
    pub(crate) accessed: bool,
    /// See [`Version::life`].
    pub(super) life: u64,
    pub(crate) client: Client,
    /// The request is late: it has an id that another request replaced a moment ago. Only an
    /// explicit sign-in is stored.
    pub(crate) late: bool,
    /// The new key that another request gave to the session, for a sign-out.
    elsewhere: Option<Box<Key>>,
    /// The number of the latest change that was given up: it was discarded or late, or its write
    /// remains in doubt.
    pub(crate) given_up: u64,
    /// A save of this handle gave the session its owner, and has not yet compared the number of the
    /// owner's sessions with the limit.
    pub(crate) uncounted: bool,
    /// A life that begins does not begin before this time, whatever the clock says.
    pub(super) not_before: u64,
    /// The unreadable record that this session replaces.
    unreadable: Option<Box<Key>>,
}

pub(crate) struct Stored {
    pub(crate) identity: Identity,
    pub(crate) revision: Revision,
    pub(crate) owner: Option<Owner>,
    /// By this process's monotonic clock, computed from the ttl that the store reported.
    pub(crate) expires: Instant,
    /// The store reported that there is no live record.
    pub(crate) gone: bool,
    /// For a cookie store: the cookie's value and when it expires.
    pub(crate) sealed: Option<SealedAs>,
}

#[derive(Clone)]
pub(crate) struct SealedAs {
    pub(crate) value: Arc<str>,
    pub(crate) expires_at: SystemTime,
    pub(crate) reseal: bool,
}

/// A session to destroy.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) key: Key,
    /// Its revision, as far as known.
    pub(crate) revision: Option<Revision>,
    /// Whether the record has to be removed without being loaded: it can't be read, or it is not
    /// known whether it exists.
    pub(crate) unread: bool,
    /// How long a cookie of the session may still live.
    pub(crate) expires_in: Duration,
    /// It was sent once, and failed: the record may be gone, and the destruction not confirmed.
    pub(crate) tried: bool,
}

/// The state of the client's cookie. It determines what has to be sent to the client.
#[derive(Default)]
pub(crate) struct Client {
    /// The key of the session in the client's cookie.
    pub(crate) cookie: Option<Key>,
    /// The current key of that session, if this or another request has given it another one.
    moved: Option<Box<Key>>,
    pub(crate) stale: Staleness,
    /// The session was destroyed.
    pub(crate) ended: bool,
}

/// The part of the client's cookie that is out of date.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Staleness {
    #[default]
    Nothing,
    Expiry,
    Value,
}

impl Client {
    /// The current key of the session in the client's cookie.
    fn session(&self) -> Option<&Key> {
        self.moved.as_deref().or(self.cookie.as_ref())
    }
}

impl Stored {
    pub(crate) fn expires_in(&self, now: Instant) -> Duration {
        self.expires.saturating_duration_since(now)
    }
}

impl State {
    pub(crate) fn new(created: u64) -> Self {
        Self::over(None, None, Document::new(created))
    }

    #[inline(always)]
    pub(crate) fn loaded(stored: Stored, document: Document) -> Self {
        Self::over(Some(stored.identity.key), Some(stored), document)
    }

    /// An empty session for a late request.
    pub(crate) fn late(old: Key, new: Key) -> Self {
        let mut state = Self::over(Some(old), None, Document::new(unix_millis()));
        state.set_late(new);
        state
    }

    /// A new session that replaces one whose record can't be read. The record remains, unless this
    /// session is destroyed.
    pub(crate) fn instead_of(unreadable: Key) -> Self {
        let mut state = Self::over(Some(unreadable), None, Document::new(unix_millis()));
        state.unreadable = Some(Box::new(unreadable));
        state
    }

    #[inline(always)]
    fn over(cookie: Option<Key>, stored: Option<Stored>, document: Document) -> Self {
        Self {
            stored,
            delivered: document.flash.iter().map(|entry| entry.id).collect(),
            base: document,
            changes: Changes::default(),
            doubt: None,
            queued: None,
            ended: Vec::new(),
            accessed: false,
            life: 0,
            client: Client { cookie, ..Client::default() },
            late: false,
            elsewhere: None,
            given_up: 0,
            uncounted: false,
            not_before: 0,
            unreadable: None,
        }
    }

    /// The sessions of the owner have ended that signed in until this time. Returns whether this one
    /// signs in with the next save: then that is later.
    pub(crate) fn begin_after(&mut self, ended: u64) -> bool {
        let begins = ended.saturating_add(1);
        self.not_before = self.not_before.max(begins);
        if self.stored.is_none() {
            self.base.created = self.base.created.max(begins);
        }
        self.stored.is_none() || self.changes.new_life()
    }

    pub(crate) fn exists(&self) -> bool {
        self.live().is_some()
    }

    pub(crate) fn live(&self) -> Option<&Stored> {
        self.stored.as_ref().filter(|stored| !stored.gone)
    }

    pub(crate) fn version(&self) -> Version {
        Version { life: self.life, change: self.changes.last() }
    }

    /// Whether the handle still has the session of that version, and not a later one.
    pub(crate) fn is_same_life(&self, version: Version) -> bool {
        self.life == version.life
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        match &self.changes.owner {
            Some((_, owner)) => owner.clone(),
            None => self.stored.as_ref()?.owner.clone(),
        }
    }

    /// The owner that the next save gives to the session, if the session counts as a new one of that
    /// owner.
    pub(crate) fn owner_to_get(&self) -> Option<Owner> {
        let (_, owner) = self.changes.owner.as_ref()?;
        let is_new = self.changes.sign_in.is_some()
            || self.live().is_none_or(|stored| stored.owner != *owner);
        owner.clone().filter(|_| is_new)
    }

    /// The flash entries that were delivered to this request, without those that it adds.
    pub(crate) fn visible_flash(&self) -> impl DoubleEndedIterator<Item = &FlashEntry> {
        self.base.flash.iter().filter(|entry| !self.changes.flash.removed.contains_key(&entry.id))
    }

    pub(crate) fn remove_flash(&mut self, which: impl Fn(&FlashEntry) -> bool, number: u64) {
        for entry in self.base.flash.iter().filter(|entry| which(entry)) {
            self.changes.flash.removed.entry(entry.id).or_insert(number);
        }
    }

    pub(crate) fn keep_flash(&mut self, which: impl Fn(&FlashEntry) -> bool) {
        for entry in self.base.flash.iter().filter(|entry| which(entry)) {
            let removed = self.changes.flash.removed.remove(&entry.id);
            self.delivered.retain(|id| *id != entry.id);
            if removed.is_some() && self.doubt.is_some() {
                // The removal may have been sent: add the entry again.
                let number = self.changes.next();
                self.changes.flash.added.push((number, entry.again()));
            }
        }
    }

    /// The longest own lifetime that the session has or is about to get. A cookie from another
    /// request may live as long.
    pub(crate) fn own_lifetime(&self) -> Duration {
        let own = self.base.lifetime.map_or(Duration::ZERO, Duration::from_millis);
        let changed = self.changes.lifetime.and_then(|(_, lifetime)| lifetime);
        own.max(changed.unwrap_or_default())
    }

    /// Turns this into a new session and adds the old one to those that the next save destroys.
    pub(crate) fn destroy(&mut self) {
        let longest = self.own_lifetime();
        self.ended.extend(self.unreadable.take().map(|key| Ended {
            key: *key,
            revision: None,
            unread: true,
            expires_in: longest,
            tried: false,
        }));
        match self.stored.take() {
            Some(stored) => self.ended.push(Ended {
                key: stored.identity.key,
                revision: Some(stored.revision),
                unread: false,
                expires_in: stored.expires_in(Instant::now()).max(longest),
                tried: false,
            }),
            // A sign-out with the old id ends the session under its new id.
            None => self.ended.extend(self.elsewhere.take().map(|key| Ended {
                key: *key,
                revision: None,
                unread: false,
                expires_in: longest,
                tried: false,
            })),
        }
        // After the old id, so that a rotation that arrives late finds no session to move.
        if let Some(new) = self.doubt.as_ref().and_then(|doubt| doubt.write.new_identity()) {
            let ttl = self.doubt.as_ref().and_then(|doubt| Some(doubt.write.life?.ttl));
            self.ended.push(Ended {
                key: new.key,
                revision: None,
                unread: true,
                expires_in: ttl.unwrap_or_default().max(longest),
                tried: false,
            });
        }
        self.base = Document::new(unix_millis());
        self.changes.reset();
        self.delivered.clear();
        self.doubt = None;
        self.late = false;
        self.uncounted = false;
        self.life += 1;
    }

    /// A destruction was sent and failed.
    pub(crate) fn tried(&mut self, key: Key) {
        for ended in self.ended.iter_mut().filter(|ended| ended.key == key) {
            ended.tried = true;
        }
    }

    /// A destruction was carried out.
    pub(crate) fn destroyed(&mut self, key: Key) {
        self.ended.retain(|ended| ended.key != key);
        self.client.ended |= self.client.session() == Some(&key);
    }

    /// Gives up all changes up to this number.
    pub(crate) fn give_up(&mut self, number: u64) {
        self.given_up = number;
        self.changes.forget_up_to(number);
    }

    pub(crate) fn discard(&mut self) {
        self.give_up(self.changes.last());
        self.delivered.clear();
        if let Some(doubt) = &mut self.doubt {
            doubt.discarded = true;
        }
    }

    /// Records that a write was carried out. Returns whether the client's cookie is out of date.
    pub(crate) fn written(&mut self, write: &Prepared, sealed: Option<SealedAs>) -> bool {
        if !self.is_same_life(write.version) {
            return false; // destroyed meanwhile; the key is among the ended ones already
        }
        write.watched.set_written();
        let stale = match (&write.target, &sealed, write.life) {
            (Target::Update { .. }, None, None) => Staleness::Nothing,
            // The session's own lifetime may make the cookie persistent.
            (Target::Update { .. }, None, Some(_)) if self.changes.lifetime.is_none() => {
                Staleness::Expiry
            }
            _ => Staleness::Value,
        };
        if let Target::Rotate(rotation) = &write.target
            && self.client.session() == Some(&rotation.old)
        {
            self.client.moved = Some(Box::new(rotation.new.key));
        }
        let Record { revision, owner, .. } = &write.record;
        let owner_before = self.stored.as_ref().and_then(|stored| stored.owner.as_ref());
        self.uncounted |= owner.is_some()
            && (owner.as_ref() != owner_before || write.document.created != self.base.created);
        let expires = write.expires_at().or(self.stored.as_ref().map(|stored| stored.expires));
        let expires = expires.unwrap_or_else(Instant::now);
        let (revision, owner) = (*revision, owner.clone());
        match (write.new_identity(), &mut self.stored) {
            (Some(new), _) => {
                let identity = new.clone();
                let gone = false;
                self.stored = Some(Stored { identity, revision, owner, expires, gone, sealed });
            }
            (None, Some(stored)) => {
                (stored.revision, stored.owner, stored.expires) = (revision, owner, expires);
                (stored.gone, stored.sealed) = (false, sealed);
            }
            (None, None) => {}
        }
        self.base = write.document.clone();
        self.changes.forget_up_to(write.version.change);
        self.doubt = None;
        self.late = false;
        self.elsewhere = None;
        self.client.stale = self.client.stale.max(stale);
        stale != Staleness::Nothing
    }

    /// Records that a renewal was carried out.
    pub(crate) fn renewed(&mut self, expires: Instant, version: Version) {
        if self.is_same_life(version) {
            if let Some(stored) = &mut self.stored {
                stored.expires = expires;
            }
            self.changes.forget_up_to(version.change);
            self.client.stale = self.client.stale.max(Staleness::Expiry);
        }
    }

    /// Records that there is no live record.
    pub(crate) fn set_gone(&mut self, version: Version) {
        if self.is_same_life(version) {
            if let Some(stored) = &mut self.stored {
                stored.gone = true;
            }
            self.doubt = None;
        }
    }

    /// Records that another request gave the session a new id, with the key `new`. The changes of
    /// this request are stored only if it signs in, and then in a separate session, without the
    /// values of the old one.
    pub(crate) fn set_late(&mut self, new: Key) {
        self.client.moved = Some(Box::new(new));
        self.elsewhere = Some(Box::new(new));
        self.stored = None;
        self.base = Document::new(unix_millis());
        self.delivered.clear();
        self.doubt = None;
        self.late = true;
    }
}
