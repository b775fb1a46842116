//! Decides what a save has to write.

use std::sync::Arc;
use std::time::Duration;

use super::prepared::{Identity, NewLife, Prepared, Rotation, Target, Version};
use super::state::State;
use crate::clock::{Instant, unix_millis};
use crate::document::Tombstone;
use crate::{Config, Error, ErrorKind, FlashMode, Key, MAX_TTL, Record, Result, Revision};

pub(crate) enum Plan {
    Nothing,
    Touch { key: Key, expected: Revision, ttl: Duration, version: Version },
    Write(Arc<Prepared>),
}

impl State {
    /// What a save has to write, if anything. `new` makes an id for a session that needs one.
    pub(crate) fn plan(
        &mut self,
        config: &Config,
        new: impl FnOnce() -> Result<Identity>,
    ) -> Result<Plan> {
        if config.flash == FlashMode::NextRequest && self.accessed {
            self.age_flash();
        }
        let (target, ttl) = match &self.stored {
            None if self.late && self.changes.sign_in.is_none() => {
                return if self.changes.any() { Err(rotated()) } else { Ok(Plan::Nothing) };
            }
            None if !self.worth_storing() => return Ok(Plan::Nothing),
            None => (Target::Create(new()?), Some(self.full_life(config))),
            Some(stored) if stored.gone => {
                return if self.changes.any() { Err(Error::gone()) } else { Ok(Plan::Nothing) };
            }
            Some(stored) => {
                let (key, expected) = (stored.identity.key, stored.revision);
                let sealed = stored.sealed.as_ref();
                // A revocation mark lasts as long as a cookie of the id may live. So an id has one
                // lifetime, and a session with a new lifetime needs a new id.
                let other_life = sealed.is_some() && self.changes.lifetime.is_some();
                let renewal = self.renewal(config);
                let target = if self.changes.new_id() || other_life {
                    let new = new()?;
                    let tombstone =
                        Tombstone { at: unix_millis(), key: new.key, replaced: expected };
                    let tombstone = Record {
                        payload: tombstone.encode(),
                        revision: Revision::random()?,
                        // So that the index leads to the new id while the old one is still known.
                        owner: stored.owner.clone(),
                    };
                    let expires = stored.expires;
                    Target::Rotate(Box::new(Rotation {
                        old: key,
                        expected,
                        expires,
                        new,
                        tombstone,
                    }))
                } else if self.changes.alter_record() {
                    Target::Update { key, expected }
                } else if sealed.is_some_and(|sealed| sealed.reseal || renewal.is_some()) {
                    // A cookie can't be touched, only sealed again.
                    Target::Update { key, expected }
                } else if let Some(ttl) = renewal {
                    return Ok(Plan::Touch { key, expected, ttl, version: self.version() });
                } else {
                    self.changes.reset(); // at most an `extend` that changes nothing
                    return Ok(Plan::Nothing);
                };
                (target, renewal)
            }
        };
        let document = self.changes.encode(&self.base, || unix_millis().max(self.not_before));
        let payload = document.payload();
        if payload.len() > config.max_record_size {
            return Err(too_large(payload.len(), config.max_record_size));
        }
        let write = Arc::new(Prepared {
            target,
            record: Record { payload, revision: Revision::random()?, owner: self.owner() },
            life: ttl.map(|ttl| NewLife { ttl, begins: Instant::now() }),
            document,
            version: self.version(),
            watched: self.changes.watched(),
        });
        self.doubt = Some(Arc::clone(&write).into());
        Ok(Plan::Write(write))
    }

    /// Whether a save would find nothing to do, as after most requests that only read.
    pub(crate) fn has_nothing_to_save(&self, config: &Config) -> bool {
        let is_settled = self.queued.is_none() && self.doubt.is_none() && self.ended.is_empty();
        // Flash entries that were delivered may have to be removed.
        if !is_settled || self.changes.any() || !self.delivered.is_empty() {
            return false;
        }
        self.stored.as_ref().is_none_or(|stored| {
            let reseal = stored.sealed.as_ref().is_some_and(|sealed| sealed.reseal);
            stored.gone || (!reseal && self.renewal(config).is_none())
        })
    }

    /// An empty new session is not stored, because crawlers would fill the store.
    fn worth_storing(&self) -> bool {
        self.changes.len(&self.base) > 0
            || !self.changes.flash.added.is_empty()
            || matches!(self.changes.owner, Some((_, Some(_))))
    }

    /// With [`FlashMode::NextRequest`], the entries that were delivered to this request are
    /// removed. Entries that this or another request added since then remain.
    fn age_flash(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        if !delivered.is_empty() {
            let number = self.changes.next();
            self.remove_flash(|entry| delivered.contains(&entry.id), number);
        }
    }

    /// The new ttl, or `None` if the expiry does not change.
    fn renewal(&self, config: &Config) -> Option<Duration> {
        if self.changes.lifetime.is_some() || self.changes.sign_in.is_some() {
            return Some(self.full_life(config));
        }
        let asked = self.changes.extend.is_some();
        // No life that a renewal gives is longer. The session's own lifetime is renewed by `extend` only.
        let longest = match self.base.lifetime {
            Some(own) => Duration::from_millis(own),
            None => config.idle_timeout?,
        };
        if self.base.lifetime.is_some() && !asked {
            return None;
        }
        let left = self.stored.as_ref()?.expires_in(Instant::now());
        let is_due = |life: Duration| {
            let threshold = if asked { 0.0 } else { life.as_secs_f64() * config.renew_after };
            life.saturating_sub(left).as_secs_f64() > threshold
        };
        // Most saves end here, without a look at the wall clock.
        if !is_due(longest) || (self.base.lifetime.is_none() && self.is_over(config)) {
            return None;
        }
        Some(self.full_life(config)).filter(|life| is_due(*life))
    }

    /// The ttl of a session that begins or is renewed now.
    fn full_life(&self, config: &Config) -> Duration {
        let own = match self.changes.lifetime {
            Some((_, own)) => own,
            None => self.base.lifetime.map(Duration::from_millis),
        };
        if let Some(own) = own {
            return own.min(MAX_TTL);
        }
        let rest = config.lifetime.map(|lifetime| match self.changes.new_life() {
            true => lifetime,
            false => lifetime.saturating_sub(self.age()),
        });
        let life = rest.into_iter().chain(config.idle_timeout).min().unwrap_or(MAX_TTL);
        life.clamp(Duration::from_millis(1), MAX_TTL)
    }

    /// Whether the session has reached the store's lifetime, by this machine's clock.
    fn is_over(&self, config: &Config) -> bool {
        config.lifetime.is_some_and(|lifetime| self.age() >= lifetime)
    }

    fn age(&self) -> Duration {
        Duration::from_millis(unix_millis().saturating_sub(self.base.created))
    }
}

/// The changes of this request are not stored, because the session has a new id.
pub(crate) fn rotated() -> Error {
    Error::new(
        ErrorKind::Gone,
        "another request gave the session a new id; the changes of this request are not stored",
    )
}

fn too_large(size: usize, limit: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the session has {size} bytes; max_record_size is {limit}"),
    )
}
