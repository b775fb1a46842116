//! The inside of a session, and how it answers to what a save finds out.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::unix_millis;
use crate::changes::Changes;
use crate::document::Document;
use crate::flash::FlashEntry;
use crate::{Config, Error, FlashMode, Key, Owner, Record, Result, Revision, SessionId};

pub(crate) struct State {
    /// The session in the store, as it was last seen.
    pub(crate) stored: Option<Stored>,
    /// What was loaded or last saved.
    pub(crate) base: Document,
    pub(crate) changes: Changes,
    /// A write whose outcome is not known: it was sent and no answer came, or nobody waited for it.
    pub(crate) pending: Option<Arc<Pending>>,
    /// Sessions that the next save has to destroy.
    pub(crate) doomed: Vec<Doomed>,
    pub(crate) accessed: bool,
    /// Changes with everything that an update could depend on.
    pub(crate) version: u64,
    /// Changes when the session is destroyed: a save that was under way must not bring it back.
    pub(crate) epoch: u64,
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
}

pub(crate) struct Doomed {
    pub(crate) key: Key,
    /// How long a cookie of it could still live.
    pub(crate) expires_in: Duration,
}

/// A write, ready to be sent and to be sent again.
pub(crate) struct Pending {
    pub(crate) target: Target,
    pub(crate) record: Record,
    /// `None` for a new session.
    pub(crate) expected: Option<Revision>,
    /// The new life, or `None`: it stays as it is.
    pub(crate) ttl: Option<Duration>,
    /// What the session is based on once this was written.
    pub(crate) document: Document,
    /// The last change that it holds.
    seq: u64,
    epoch: u64,
}

pub(crate) enum Target {
    Create(SessionId),
    Update,
    Rotate(SessionId),
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
        Self {
            stored,
            base: document,
            changes: Changes::default(),
            pending: None,
            doomed: Vec::new(),
            accessed: false,
            version: 0,
            epoch: 0,
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| !stored.gone)
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
            self.changes.flash.removed.remove(&entry.id);
            self.changes.flash.kept.push(entry.id);
        }
    }

    /// Turns this into a new session and remembers to destroy the old one.
    pub(crate) fn destroy(&mut self) {
        if let Some(stored) = self.stored.take() {
            let expires_in = stored.expires_in(Instant::now());
            self.doomed.push(Doomed { key: stored.key, expires_in });
        }
        if let Some(pending) = self.pending.take()
            && let Target::Create(id) | Target::Rotate(id) = &pending.target
        {
            let expires_in = pending.ttl.unwrap_or_default();
            self.doomed.push(Doomed { key: id.key(), expires_in });
        }
        self.base = Document::new(unix_millis());
        self.changes = Changes::default();
        self.version += 1;
        self.epoch += 1;
    }

    pub(crate) fn discard(&mut self) {
        // A change number must never come twice: a save may be under way.
        let last = self.changes.last();
        self.changes.settle(last);
        self.pending = None;
        self.version += 1;
    }

    /// What a save has to write, if anything; `id` is for a session that needs a new one.
    pub(crate) fn plan(
        &mut self,
        config: &Config,
        new_id: impl FnOnce() -> Result<SessionId>,
    ) -> Result<Plan> {
        if config.flash == FlashMode::NextRequest && self.accessed {
            self.age_flash();
        }
        let target = match &self.stored {
            None if !self.worth_storing() => return Ok(Plan::Nothing),
            None => Target::Create(new_id()?),
            Some(stored) => {
                let changed = self.changes.any();
                if stored.gone {
                    return if changed { Err(Error::gone()) } else { Ok(Plan::Nothing) };
                }
                if self.changes.regenerate.is_some() {
                    Target::Rotate(new_id()?)
                } else if self.changes.alter_record() {
                    Target::Update
                } else {
                    match (self.renewal(config), &stored.sealed) {
                        // What stands in the cookie can't be touched, only sealed anew.
                        (Some(_), Some(_)) => Target::Update,
                        (None, Some(sealed)) if sealed.reseal => Target::Update,
                        (Some(ttl), None) => {
                            return Ok(Plan::Touch { ttl, seq: self.changes.last() });
                        }
                        (None, _) => return Ok(Plan::Nothing),
                    }
                }
            }
        };
        let ttl = match &self.stored {
            None => Some(self.full_life(config)),
            Some(_) => self.renewal(config),
        };
        let document = self.changes.encode(&self.base);
        let payload = document.payload();
        if payload.len() > config.max_record_size {
            return Err(Error::new(
                crate::ErrorKind::TooLarge,
                format!(
                    "the session has {} bytes; max_record_size is {}",
                    payload.len(),
                    config.max_record_size
                ),
            ));
        }
        let record = Record { payload, revision: random_revision()?, owner: self.owner() };
        let pending = Arc::new(Pending {
            target,
            record,
            expected: self.stored.as_ref().map(|stored| stored.revision),
            ttl,
            document,
            seq: self.changes.last(),
            epoch: self.epoch,
        });
        self.pending = Some(Arc::clone(&pending));
        Ok(Plan::Write(pending))
    }

    /// A new session that is still empty is not stored: crawlers would fill the store.
    fn worth_storing(&self) -> bool {
        self.changes.len(&self.base) > 0
            || !self.changes.flash.added.is_empty()
            || matches!(self.changes.owner, Some((_, Some(_))))
    }

    /// With [`FlashMode::NextRequest`], what this request was sent ends with it.
    fn age_flash(&mut self) {
        if self.base.flash.is_empty() {
            return;
        }
        let kept = std::mem::take(&mut self.changes.flash.kept);
        let over = |entry: &FlashEntry| !kept.contains(&entry.id);
        if self.base.flash.iter().any(over) {
            let seq = self.changes.next();
            self.remove_flash(over, seq);
        }
        self.changes.flash.kept = kept;
    }

    /// The life that begins with this save, or `None` when the deadline stays where it is.
    fn renewal(&self, config: &Config) -> Option<Duration> {
        let asked = self.changes.lifetime.is_some() || self.changes.extend.is_some();
        if !asked && !config.sliding {
            return None;
        }
        let left = self.stored.as_ref()?.expires_in(Instant::now());
        let life = self.full_life(config);
        if self.changes.lifetime.is_some() {
            return Some(life);
        }
        let gain = life.saturating_sub(left);
        let due = if self.changes.extend.is_some() {
            !gain.is_zero()
        } else {
            !gain.is_zero() && gain > life.mul_f64(config.renew_after)
        };
        due.then_some(life)
    }

    /// The life of a session that is renewed now: its lifetime, within the absolute one.
    fn full_life(&self, config: &Config) -> Duration {
        let own = || self.base.lifetime.map(Duration::from_millis);
        let changed = self.changes.lifetime.map(|(_, lifetime)| lifetime);
        let lifetime = changed.or_else(own).unwrap_or(config.lifetime);
        let Some(limit) = config.absolute_lifetime else {
            return lifetime;
        };
        let age = Duration::from_millis(unix_millis().saturating_sub(self.base.created));
        lifetime.min(limit.saturating_sub(age)).max(Duration::from_millis(1))
    }

    /// A write was carried out; whether the client's cookie must change.
    pub(crate) fn settle(&mut self, pending: &Pending, sealed: Option<SealedAs>) -> bool {
        if self.epoch != pending.epoch {
            return false; // destroyed meanwhile; the key is doomed already
        }
        let revision = pending.record.revision;
        let owner = pending.record.owner.clone();
        let deadline = pending.ttl.map(|ttl| later(Instant::now(), ttl));
        let issued = pending.ttl.is_some() || !matches!(pending.target, Target::Update);
        match (&pending.target, &mut self.stored) {
            (Target::Update, Some(stored)) => {
                stored.revision = revision;
                stored.owner = owner;
                stored.deadline = deadline.unwrap_or(stored.deadline);
                stored.sealed = sealed;
            }
            (Target::Create(id) | Target::Rotate(id), before) => {
                let deadline = deadline
                    .or(before.as_ref().map(|before| before.deadline))
                    .unwrap_or_else(Instant::now);
                let (id, key) = (id.clone(), id.key());
                *before = Some(Stored { id, key, revision, owner, deadline, gone: false, sealed });
            }
            (Target::Update, None) => {}
        }
        self.base = pending.document.clone();
        self.changes.settle(pending.seq);
        self.pending = None;
        self.version += 1;
        issued
    }

    /// A renewal was carried out.
    pub(crate) fn renewed(&mut self, ttl: Duration, seq: u64) {
        if let Some(stored) = &mut self.stored {
            stored.deadline = later(Instant::now(), ttl);
        }
        self.changes.settle(seq);
    }

    /// The store said that the session is not there any more.
    pub(crate) fn set_gone(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.gone = true;
        }
        self.pending = None;
    }
}

/// What a save has to do.
pub(crate) enum Plan {
    Nothing,
    Touch { ttl: Duration, seq: u64 },
    Write(Arc<Pending>),
}

/// A moment that long after another; a life beyond the clock's range ends at its end.
pub(crate) fn later(now: Instant, life: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now.checked_add(life).unwrap_or_else(|| now + CENTURY)
}

/// Revisions need not be secret, only different from each other: a generator for each thread, seeded
/// by the operating system, spares a system call for each write.
fn random_revision() -> Result<Revision> {
    thread_local! {
        static RANDOM: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
    }
    RANDOM.with_borrow_mut(|random| {
        let random = match random {
            Some(random) => random,
            None => random.insert(fastrand::Rng::with_seed(getrandom::u64().map_err(|error| {
                Error::new(crate::ErrorKind::Other, "the random source failed").with_source(error)
            })?)),
        };
        Ok(Revision::from_u64(random.u64(..)))
    })
}
