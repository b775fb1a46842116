//! What a save has to write.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{State, later};
use super::unix_millis;
use crate::document::Document;
use crate::{Config, Error, ErrorKind, FlashMode, MAX_TTL, Record, Result, Revision, SessionId};

pub(crate) enum Plan {
    Nothing,
    Touch { ttl: Duration, seq: u64, epoch: u64 },
    Write(Arc<Pending>),
}

/// A write, ready to be sent and to be sent again.
pub(crate) struct Pending {
    pub(crate) target: Target,
    pub(crate) record: Record,
    /// `None` for a new session.
    pub(crate) expected: Option<Revision>,
    /// The new life, or `None`: it stays as it is.
    pub(crate) ttl: Option<Duration>,
    /// When the new life begins: with the request, not with its last repetition.
    begins: Option<Instant>,
    /// What the session is based on once this was written.
    pub(crate) document: Document,
    /// The last change that it holds.
    pub(super) seq: u64,
    pub(crate) epoch: u64,
}

pub(crate) enum Target {
    Create(SessionId),
    Update,
    Rotate(SessionId),
}

impl Pending {
    /// The life that is left to give, for a write that is sent now.
    pub(crate) fn ttl_now(&self) -> Option<Duration> {
        let spent = self.begins.map_or(Duration::ZERO, |begins| begins.elapsed());
        self.ttl.map(|ttl| ttl.saturating_sub(spent).max(Duration::from_millis(1)))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(later(self.begins?, self.ttl?))
    }
}

impl State {
    /// What a save has to write, if anything; `new_id` is for a session that needs one.
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
            Some(stored) if stored.gone => {
                return if self.changes.any() { Err(Error::gone()) } else { Ok(Plan::Nothing) };
            }
            Some(_) if self.changes.regenerate.is_some() => Target::Rotate(new_id()?),
            // A logout marks an id for as long as its cookies were to live, so one that is to live
            // longer needs another id.
            Some(stored) if stored.sealed.is_some() && self.lengthens(config) => {
                Target::Rotate(new_id()?)
            }
            Some(_) if self.changes.alter_record() => Target::Update,
            Some(stored) => match (self.renewal(config), &stored.sealed) {
                // What stands in the cookie can't be touched, only sealed anew.
                (Some(_), Some(_)) => Target::Update,
                (None, Some(sealed)) if sealed.reseal => Target::Update,
                (Some(ttl), None) => {
                    return Ok(Plan::Touch { ttl, seq: self.changes.last(), epoch: self.epoch });
                }
                (None, _) => {
                    self.changes.reset(); // at most an `extend` that gains nothing
                    return Ok(Plan::Nothing);
                }
            },
        };
        let ttl = match &self.stored {
            None => Some(self.full_life(config)),
            Some(_) => self.renewal(config),
        };
        let document = self.changes.encode(&self.base);
        let payload = document.payload();
        if payload.len() > config.max_record_size {
            return Err(too_large(payload.len(), config.max_record_size));
        }
        let pending = Arc::new(Pending {
            target,
            record: Record { payload, revision: random_revision()?, owner: self.owner() },
            expected: self.stored.as_ref().map(|stored| stored.revision),
            ttl,
            begins: ttl.map(|_| Instant::now()),
            document,
            seq: self.changes.last(),
            epoch: self.epoch,
        });
        self.pending = Some(Arc::clone(&pending));
        self.abandoned = false;
        Ok(Plan::Write(pending))
    }

    /// A new session that is still empty is not stored: crawlers would fill the store.
    fn worth_storing(&self) -> bool {
        self.changes.len(&self.base) > 0
            || !self.changes.flash.added.is_empty()
            || matches!(self.changes.owner, Some((_, Some(_))))
    }

    /// With [`FlashMode::NextRequest`], what this request was sent ends with it; not what another
    /// request, or this one, has added since.
    fn age_flash(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        if !delivered.is_empty() {
            let seq = self.changes.next();
            self.remove_flash(|entry| delivered.contains(&entry.id), seq);
        }
    }

    /// The life that begins with this save, or `None` when the deadline stays where it is.
    fn renewal(&self, config: &Config) -> Option<Duration> {
        if config.absolute_lifetime.is_some_and(|limit| self.age() >= limit) {
            return None; // nothing can push it past that
        }
        if self.changes.lifetime.is_some() {
            return Some(self.full_life(config));
        }
        let asked = self.changes.extend.is_some();
        if !asked && !config.sliding {
            return None;
        }
        let left = self.stored.as_ref()?.expires_in(Instant::now());
        let life = self.full_life(config);
        let gain = life.saturating_sub(left);
        let threshold = if asked { Duration::ZERO } else { life.mul_f64(config.renew_after) };
        (gain > threshold).then_some(life)
    }

    /// The life of a session that is renewed now: its lifetime, within the absolute one.
    fn full_life(&self, config: &Config) -> Duration {
        let own = || self.base.lifetime.map(Duration::from_millis);
        let changed = self.changes.lifetime.map(|(_, lifetime)| lifetime);
        let lifetime = changed.or_else(own).unwrap_or(config.lifetime).min(MAX_TTL);
        let Some(limit) = config.absolute_lifetime else {
            return lifetime;
        };
        lifetime.min(limit.saturating_sub(self.age())).max(Duration::from_millis(1))
    }

    /// Whether this request gives the session a longer lifetime than it had.
    fn lengthens(&self, config: &Config) -> bool {
        let before = self.base.lifetime.map_or(config.lifetime, Duration::from_millis);
        self.changes.lifetime.is_some_and(|(_, lifetime)| lifetime > before.max(config.lifetime))
    }

    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(unix_millis().saturating_sub(self.base.created))
    }
}

fn too_large(size: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the session has {size} bytes; max_record_size is {limit}"),
    )
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
                Error::new(ErrorKind::Other, "the random source failed").with_source(error)
            })?)),
        };
        Ok(Revision::from_u64(random.u64(..)))
    })
}
