//! The inside of a session, and how it answers to what a save finds out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::plan::{Pending, Target};
use super::unix_millis;
use crate::changes::Changes;
use crate::document::Document;
use crate::flash::FlashEntry;
use crate::{Key, Owner, Record, Revision, SessionId};

pub(crate) struct State {
    /// The session in the store, as it was last seen.
    pub(crate) stored: Option<Stored>,
    /// What was loaded or last saved.
    pub(crate) base: Document,
    pub(crate) changes: Changes,
    /// A write whose outcome is not known: it was sent and no answer came, or nobody waited for it.
    pub(crate) pending: Option<Arc<Pending>>,
    /// The pending write's changes were discarded: if it was not carried out, it is not sent again.
    pub(crate) abandoned: bool,
    /// Sessions that the next save has to destroy.
    pub(crate) doomed: Vec<Doomed>,
    /// The flash entries that this request was sent and has neither kept nor seen age.
    pub(crate) delivered: Vec<u64>,
    pub(crate) accessed: bool,
    /// Changes when the session is destroyed: a save that was under way must not bring it back.
    pub(crate) epoch: u64,
    pub(crate) client: Client,
    /// A record that could not be read, which this session stands in for.
    unreadable: Option<Key>,
}

pub(crate) struct Stored {
    pub(crate) id: SessionId,
    pub(crate) key: Key,
    pub(crate) revision: Revision,
    pub(crate) owner: Option<Owner>,
    /// By this process's monotonic clock, from what the store said was left.
    pub(crate) deadline: Instant,
    /// The store said that it is not there any more.
    pub(crate) gone: bool,
    /// For a cookie store: the cookie's value and when it expires.
    pub(crate) sealed: Option<SealedAs>,
}

#[derive(Clone)]
pub(crate) struct SealedAs {
    pub(crate) value: Arc<str>,
    pub(crate) expires_at: SystemTime,
    pub(crate) reseal: bool,
    /// The mark that this session's own rotation left in the revocation store, if it got so far.
    pub(crate) mark: Option<Revision>,
}

pub(crate) struct Doomed {
    pub(crate) key: Key,
    /// How long a cookie of it could still live.
    pub(crate) expires_in: Duration,
}

/// What the client holds, to know what it has to be told.
#[derive(Default)]
pub(crate) struct Client {
    /// The session that its cookie names.
    pub(crate) key: Option<Key>,
    /// The cookie has another content or deadline since.
    pub(crate) stale: bool,
    /// The session was destroyed.
    pub(crate) ended: bool,
}

impl Stored {
    pub(crate) fn expires_in(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}

impl State {
    pub(crate) fn new(created: u64) -> Self {
        Self::over(None, Document::new(created))
    }

    pub(crate) fn loaded(stored: Stored, document: Document) -> Self {
        Self::over(Some(stored), document)
    }

    fn over(stored: Option<Stored>, document: Document) -> Self {
        let key = stored.as_ref().map(|stored| stored.key);
        Self {
            stored,
            delivered: document.flash.iter().map(|entry| entry.id).collect(),
            base: document,
            changes: Changes::default(),
            pending: None,
            abandoned: false,
            doomed: Vec::new(),
            accessed: false,
            epoch: 0,
            client: Client { key, ..Client::default() },
            unreadable: None,
        }
    }

    /// A new session in place of one whose record can't be read: that one stays as it is, unless
    /// this one is destroyed.
    pub(crate) fn instead_of(created: u64, unreadable: Key) -> Self {
        let mut state = Self::new(created);
        state.client.key = Some(unreadable);
        state.unreadable = Some(unreadable);
        state
    }

    pub(crate) fn exists(&self) -> bool {
        self.live().is_some()
    }

    pub(crate) fn live(&self) -> Option<&Stored> {
        self.stored.as_ref().filter(|stored| !stored.gone)
    }

    /// The session that a save would write over, and the epoch.
    pub(crate) fn overwrites(&self) -> Option<(Key, u64)> {
        let changed = self.changes.alter_record() || self.changes.regenerate.is_some();
        self.live().filter(|_| changed).map(|stored| (stored.key, self.epoch))
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        match &self.changes.owner {
            Some((_, owner)) => owner.clone(),
            None => self.stored.as_ref()?.owner.clone(),
        }
    }

    /// The flash that this request was sent: not what it adds for a later one.
    pub(crate) fn visible_flash(&self) -> impl DoubleEndedIterator<Item = &FlashEntry> {
        self.base.flash.iter().filter(|entry| !self.changes.flash.removed.contains_key(&entry.id))
    }

    pub(crate) fn remove_flash(&mut self, which: impl Fn(&FlashEntry) -> bool, seq: u64) {
        for entry in self.base.flash.iter().filter(|entry| which(entry)) {
            self.changes.flash.removed.entry(entry.id).or_insert(seq);
        }
    }

    pub(crate) fn keep_flash(&mut self, which: impl Fn(&FlashEntry) -> bool) {
        for entry in self.base.flash.iter().filter(|entry| which(entry)) {
            let removed = self.changes.flash.removed.remove(&entry.id);
            self.delivered.retain(|id| *id != entry.id);
            if removed.is_some() && self.pending.is_some() {
                // The removal may be on its way: put it in again.
                let seq = self.changes.next();
                self.changes.flash.added.push((seq, entry.again()));
            }
        }
    }

    /// The longest lifetime that the session has, or is about to have, of its own: a cookie of it that
    /// another request was sent may live as long.
    pub(crate) fn own_lifetime(&mut self) -> Duration {
        let own = self.base.lifetime.map_or(Duration::ZERO, Duration::from_millis);
        own.max(self.changes.lifetime.map_or(Duration::ZERO, |(_, lifetime)| lifetime))
    }

    /// Turns this into a new session and remembers to destroy the old one.
    pub(crate) fn destroy(&mut self) {
        let longest = self.own_lifetime();
        if let Some(key) = self.unreadable.take() {
            self.doomed.push(Doomed { key, expires_in: longest });
        }
        if let Some(stored) = self.stored.take() {
            let expires_in = stored.expires_in(Instant::now()).max(longest);
            self.doomed.push(Doomed { key: stored.key, expires_in });
        }
        if let Some(pending) = self.pending.take()
            && let Target::Create(id) | Target::Rotate(id) = &pending.target
        {
            let expires_in = pending.ttl.unwrap_or_default().max(longest);
            self.doomed.push(Doomed { key: id.key(), expires_in });
        }
        self.base = Document::new(unix_millis());
        self.changes.reset();
        self.delivered.clear();
        self.abandoned = false;
        self.epoch += 1;
    }

    /// A destroy was carried out.
    pub(crate) fn destroyed(&mut self, key: Key) {
        self.doomed.retain(|doomed| doomed.key != key);
        self.client.ended = true;
    }

    pub(crate) fn discard(&mut self) {
        self.changes.reset();
        self.delivered.clear();
        self.abandoned = self.pending.is_some();
    }

    /// A write was carried out; whether the client's cookie must change.
    pub(crate) fn settle(&mut self, pending: &Pending, sealed: Option<SealedAs>) -> bool {
        if self.epoch != pending.epoch {
            return false; // destroyed meanwhile; the key is doomed already
        }
        let Record { revision, owner, .. } = pending.record.clone();
        let deadline = pending.deadline();
        let issued =
            deadline.is_some() || sealed.is_some() || !matches!(pending.target, Target::Update);
        match (&pending.target, &mut self.stored) {
            (Target::Update, Some(stored)) => {
                stored.revision = revision;
                stored.owner = owner;
                stored.deadline = deadline.unwrap_or(stored.deadline);
                stored.sealed = sealed;
            }
            (Target::Create(id) | Target::Rotate(id), before) => {
                let standing = before.as_ref().map(|before| before.deadline);
                let deadline = deadline.or(standing).unwrap_or_else(Instant::now);
                let (id, key) = (id.clone(), id.key());
                *before = Some(Stored { id, key, revision, owner, deadline, gone: false, sealed });
            }
            (Target::Update, None) => {}
        }
        self.base = pending.document.clone();
        self.changes.settle(pending.seq);
        self.forget_pending();
        self.client.stale |= issued;
        issued
    }

    /// A renewal was carried out.
    pub(crate) fn renewed(&mut self, deadline: Instant, seq: u64, epoch: u64) {
        if self.epoch == epoch {
            if let Some(stored) = &mut self.stored {
                stored.deadline = deadline;
            }
            self.changes.settle(seq);
            self.client.stale = true;
        }
    }

    pub(crate) fn forget_pending(&mut self) {
        self.pending = None;
        self.abandoned = false;
    }

    /// The store said that the session is not there any more.
    pub(crate) fn set_gone(&mut self, epoch: u64) {
        if self.epoch == epoch {
            if let Some(stored) = &mut self.stored {
                stored.gone = true;
            }
            self.forget_pending();
        }
    }
}

/// A moment that long after another; a life beyond the clock's range ends at its end.
pub(crate) fn later(now: Instant, life: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(life).unwrap_or_else(|| now + CENTURY)
}
