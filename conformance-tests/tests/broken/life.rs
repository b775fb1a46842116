//! Defects of expiry, touch and gc.

use std::time::{Duration, Instant};

use session_core::{Backend, Bytes, Error, Key, Record, Result, Revision};

use super::store::pause;
use super::{Broken, Defect};
use crate::support::reference::{Entry, expiry};

impl Broken {
    /// The expiry that this store computes from a `ttl`.
    pub(super) fn expiry(&self, ttl: Duration) -> Result<Instant> {
        let now = Instant::now();
        match self.defect {
            Defect::ZeroTtlAccepted if ttl.is_zero() => Ok(now),
            Defect::ShortTtlRefused if ttl.as_millis() == 0 => {
                Err(Error::invalid_value("less than a millisecond"))
            }
            #[expect(clippy::cast_possible_truncation)]
            Defect::TtlWraps if !ttl.is_zero() => {
                Ok(now + Duration::from_millis(u64::from(ttl.as_millis() as u32)))
            }
            Defect::TtlPanics if !ttl.is_zero() => Ok(now + ttl),
            Defect::AliveAtDeadline => {
                Ok(now + Duration::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)))
            }
            _ => expiry(ttl),
        }
    }

    /// Whether this store loads the entry.
    pub(super) fn loads(&self, entry: &Entry, now: Instant) -> bool {
        match self.defect {
            Defect::ForgetsExpiry => true,
            // A clock in milliseconds that counts the last millisecond as alive.
            Defect::AliveAtDeadline => now < entry.expires + Duration::from_millis(1),
            _ => now < entry.expires,
        }
    }

    /// The remaining life that this store reports.
    pub(super) fn left(&self, entry: &Entry, now: Instant) -> Duration {
        let left = entry.expires.saturating_duration_since(now);
        match self.defect {
            Defect::ReportsSeconds => Duration::from_secs(left.as_secs() + 1),
            Defect::ForgetsExpiry => left.max(Duration::from_secs(1)),
            _ => left,
        }
    }

    pub(super) async fn touched(&self, key: &Key, revision: Revision, ttl: Duration) -> Result<()> {
        let expires = self.expiry(ttl)?;
        let seen = self.store.entries().get(key).cloned();
        match (seen, self.defect) {
            (_, Defect::TouchIsSilent) => return Ok(()),
            (None, Defect::TouchCreates) => {
                let record =
                    Record { payload: Bytes::new(), revision: Revision::from_u64(0), owner: None };
                self.store.entries().insert(*key, Entry { record, expires });
                return Ok(());
            }
            (Some(seen), Defect::TouchReadsThenWrites) if seen.record.revision == revision => {
                pause().await;
                self.store.entries().insert(*key, Entry { expires, ..seen });
                return Ok(());
            }
            _ => {}
        }
        let mut entries = self.store.entries();
        if self.is(Defect::TouchRenewsAll) {
            entries.values_mut().for_each(|entry| entry.expires = expires);
        }
        let revives = self.is(Defect::TouchRevivesExpired);
        let entry = entries.get_mut(key).filter(|entry| entry.live() || revives);
        let entry = entry.ok_or_else(Error::gone)?;
        let found = self.compared(entry.record.revision);
        match self.defect {
            _ if found == self.compared(revision) => {}
            Defect::TouchIgnoresRevision => {}
            Defect::TouchOfOtherRevisionIsGone => return Err(Error::gone()),
            Defect::TouchRenewsBeforeItCompares => {
                entry.expires = expires;
                return Err(Error::conflict());
            }
            // This store accepts every revision that the record ever had.
            Defect::TouchAcceptsOlderRevisions if self.replaced(key, revision) => {}
            _ => return Err(Error::conflict()),
        }
        entry.expires = match self.defect {
            Defect::TouchNeverShortens => entry.expires.max(expires),
            _ => expires,
        };
        match self.defect {
            Defect::TouchRewrites => entry.record.owner = None,
            Defect::TouchChangesRevision => {
                let number = entry.record.revision.to_u64().wrapping_add(1);
                entry.record.revision = Revision::from_u64(number);
            }
            _ => {}
        }
        Ok(())
    }

    /// The revision that a touch of this store compares.
    fn compared(&self, revision: Revision) -> u64 {
        match self.defect {
            Defect::TouchComparesHalfTheRevision => revision.to_u64() & u64::from(u32::MAX),
            _ => revision.to_u64(),
        }
    }

    pub(super) async fn collect(&self, limit: usize) -> Result<u64> {
        match self.defect {
            Defect::GcIsSilent => Ok(0),
            Defect::GcCountsLimit => self.store.gc(limit).await.map(|_| limit as u64),
            Defect::GcIgnoresLimit => self.store.gc(usize::MAX).await,
            Defect::GcAsksForEachRecord => {
                let records = u32::try_from(self.store.entries().len()).unwrap_or(u32::MAX);
                tokio::time::sleep(Duration::from_micros(60) * records).await;
                self.store.gc(limit).await
            }
            Defect::GcHides => {
                let entries = self.store.entries();
                Ok(entries.values().filter(|entry| !entry.live()).take(limit).count() as u64)
            }
            Defect::GcIsGreedy => {
                let mut entries = self.store.entries();
                let removed = entries.len() as u64;
                entries.clear();
                Ok(removed)
            }
            Defect::GcIsHasty => {
                let soon = Instant::now() + Duration::from_secs(1);
                let mut entries = self.store.entries();
                let before = entries.len();
                entries.retain(|_, entry| soon < entry.expires);
                Ok((before - entries.len()) as u64)
            }
            Defect::GcBelievesFirstDeadline => {
                let now = Instant::now();
                let mut entries = self.store.entries();
                let before = entries.len();
                entries.retain(|key, _| self.first_expiry(key).is_none_or(|first| now < first));
                Ok((before - entries.len()) as u64)
            }
            Defect::GcChecksThenDeletes => {
                let now = Instant::now();
                let dead: Vec<Key> = {
                    let entries = self.store.entries();
                    let dead = entries.iter().filter(|(_, entry)| entry.expires <= now);
                    dead.map(|(key, _)| *key).take(limit).collect()
                };
                tokio::time::sleep(Duration::from_millis(4)).await;
                let mut entries = self.store.entries();
                dead.iter().for_each(|key| drop(entries.remove(key)));
                Ok(dead.len() as u64)
            }
            _ => self.store.gc(limit).await,
        }
    }
}
