//! Removing what expired, without looking at what lives over and over.
//!
//! A directory can't be asked for the files that are due, so for each sub-directory the store
//! remembers the deadlines up to a horizon: of the files it writes, and of those it finds when it
//! sweeps the sub-directory, which it does again when the horizon is reached. A file that lives is
//! looked at once per sweep interval, by each process that collects, plus once when it is due.

use std::collections::BTreeSet;
use std::fs::File;
use std::mem::take;
use std::sync::atomic::Ordering;

use session_core::{Error, ErrorKind, Key, Result};
use tokio::sync::OwnedMutexGuard;

use crate::clock::now;
use crate::directory::{Bucket, Locked};
use crate::format::Fault;
use crate::name::Name;
use crate::operations::{Standing, Store, standing};
use crate::read::{Unread, read_header};

/// How far the horizon lies ahead of a sweep, in milliseconds: an hour. What another process wrote
/// and did not collect itself is found that late at most.
const SWEEP_INTERVAL: u64 = 3_600_000;
/// How many deadlines are remembered for one sub-directory: 12 MiB or so for all 256 of them.
const MAX_TRACKED: usize = 1024;
/// How many headers one collection reads in sweeps before it leaves the rest to the next one.
const MAX_SWEPT: usize = 20_000;
/// How many sessions are removed before writers get at the sub-directory again.
const BATCH: usize = 64;
/// How many deadlines a sweep notes at a time.
const NOTES: usize = 256;
/// How soon a sub-directory is swept again in which something could not be read: a minute.
const RETRY_AFTER: u64 = 60_000;

/// When the sessions of one sub-directory are due.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// A session may be here several times, or in vain: its file is what counts.
    due: BTreeSet<(u64, Key)>,
    /// All deadlines before it are in `due`, except those that other processes wrote since the last
    /// sweep. Zero: nothing is known yet.
    horizon: u64,
}

impl Tracker {
    /// Remembers the deadline of a session.
    pub(crate) fn note(&mut self, deadline: u64, key: &Key) {
        if deadline >= self.horizon {
            return;
        }
        self.due.insert((deadline, *key));
        if self.due.len() > MAX_TRACKED
            && let Some((latest, _)) = self.due.pop_last()
        {
            self.horizon = latest;
        }
    }

    /// Takes up to `limit` sessions that are due out of the list.
    fn take_due(&mut self, now: u64, limit: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        while keys.len() < limit && self.has_due(now) {
            keys.extend(self.due.pop_first().map(|(_, key)| key));
        }
        keys
    }

    /// The next collection sweeps again.
    fn forget(&mut self) {
        self.horizon = 0;
    }

    fn has_due(&self, now: u64) -> bool {
        self.due.first().is_some_and(|(deadline, _)| *deadline <= now)
    }
}

/// One collection.
struct Work {
    limit: usize,
    removed: usize,
    /// How many headers were read in sweeps.
    swept: usize,
    /// The first error. It ends nothing but what it concerns.
    error: Option<Error>,
}

impl Work {
    fn left(&self) -> usize {
        self.limit - self.removed
    }

    /// Gives the value, or remembers the error.
    fn check<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error.get_or_insert(error)).ok()
    }
}

/// A sub-directory that nobody else writes to.
struct Held {
    // In the order in which they are released.
    bucket: Locked,
    _turn: OwnedMutexGuard<()>,
}

enum Hold {
    Got(Held),
    /// Others are writing to it. The next collection comes by again.
    Busy,
    Missing,
}

impl Store {
    /// Removes up to `limit` expired sessions, beginning where the last collection ended.
    pub(crate) fn collect(&self, limit: usize) -> Result<u64> {
        let first = self.next_bucket.load(Ordering::Relaxed);
        let mut work = Work { limit, removed: 0, swept: 0, error: None };
        for step in 0..=255_u8 {
            let number = first.wrapping_add(step);
            let collected = self.collect_in(number, &mut work);
            work.check(collected);
            if work.left() == 0 || work.swept >= MAX_SWEPT {
                let next = number.wrapping_add(u8::from(work.left() > 0));
                self.next_bucket.store(next, Ordering::Relaxed);
                break;
            }
        }
        match work.error {
            Some(error) if work.removed == 0 => Err(error),
            _ => Ok(work.removed as u64),
        }
    }

    fn collect_in(&self, number: u8, work: &mut Work) -> Result<()> {
        self.remove_due(number, work)?;
        if work.left() > 0 && self.tracker(number).horizon <= now() {
            self.sweep(number, work)?;
        }
        Ok(())
    }

    /// Removes the remembered sessions that are due, if they really are.
    fn remove_due(&self, number: u8, work: &mut Work) -> Result<()> {
        while work.left() > 0 && self.tracker(number).has_due(now()) {
            let held = match self.hold_at_once(number)? {
                Hold::Got(held) => held,
                Hold::Busy => break,
                Hold::Missing => {
                    self.tracker(number).due.clear();
                    break;
                }
            };
            let keys = self.tracker(number).take_due(now(), BATCH.min(work.left()));
            self.remove_batch(&held, number, &keys, work);
        }
        Ok(())
    }

    /// Reads the headers of all files in a sub-directory, without the lock: removes what is due, and
    /// remembers what will be.
    fn sweep(&self, number: u8, work: &mut Work) -> Result<()> {
        // A sub-directory that is busy now will hardly be free for what the sweep finds.
        if let Hold::Busy = self.hold_at_once(number)? {
            return Ok(());
        }
        // From here on, what is written meanwhile is noted.
        self.tracker(number).horizon = now().saturating_add(SWEEP_INTERVAL);
        let error_before = work.error.take();
        let swept = self.root.bucket(number).and_then(|bucket| match bucket {
            Some(bucket) => self.sweep_files(number, &bucket, work),
            None => Ok(true),
        });
        match swept {
            Ok(true) if work.error.is_none() => {}
            Ok(true) => {
                let mut tracker = self.tracker(number);
                tracker.horizon = tracker.horizon.min(now().saturating_add(RETRY_AFTER));
            }
            Ok(false) | Err(_) => self.tracker(number).forget(),
        }
        work.error = error_before.or(work.error.take());
        swept.map(|_| ())
    }

    /// Whether it came to the end.
    fn sweep_files(&self, number: u8, bucket: &Bucket, work: &mut Work) -> Result<bool> {
        let (mut due, mut notes) = (Vec::new(), Vec::new());
        for name in bucket.names()? {
            let name = name?;
            match Name::parse(&name, number) {
                Name::Foreign => {}
                Name::Temporary => {
                    if let Hold::Got(held) = self.hold_at_once(number)? {
                        work.check(held.bucket.remove_temporary());
                    }
                }
                Name::Record(key) => {
                    work.swept += 1;
                    let opened = bucket.open(&name);
                    let deadline = opened.map_or_else(unless_corrupt, |it| deadline_of(&key, it));
                    match work.check(deadline).flatten() {
                        Some(deadline) if deadline <= now() => due.push(key),
                        Some(deadline) => notes.push((deadline, key)),
                        None => {}
                    }
                }
            }
            if notes.len() == NOTES {
                self.note_all(number, take(&mut notes));
            }
            if due.len() == BATCH.min(work.left()) && !self.remove_swept(number, &mut due, work)? {
                return Ok(false);
            }
        }
        self.note_all(number, notes);
        self.remove_swept(number, &mut due, work)
    }

    /// Whether the sweep may go on.
    fn remove_swept(&self, number: u8, due: &mut Vec<Key>, work: &mut Work) -> Result<bool> {
        if due.is_empty() {
            return Ok(true);
        }
        let Hold::Got(held) = self.hold_at_once(number)? else {
            return Ok(false);
        };
        self.remove_batch(&held, number, due, work);
        due.clear();
        Ok(work.left() > 0)
    }

    fn note_all(&self, number: u8, notes: Vec<(u64, Key)>) {
        let mut tracker = self.tracker(number);
        for (deadline, key) in notes {
            tracker.note(deadline, &key);
        }
    }

    /// Removes those of the sessions that are due; the file decides.
    fn remove_batch(&self, held: &Held, number: u8, keys: &[Key], work: &mut Work) {
        let (now, before) = (now(), work.removed);
        for key in keys {
            let there = standing(&held.bucket, key, now);
            match work.check(there.map_or_else(unless_corrupt, |it| Ok(Some(it)))).flatten() {
                Some(Standing::Expired) => {
                    let removed = held.bucket.remove(&key.to_hex(), &self.syncs);
                    work.removed += usize::from(work.check(removed).is_some());
                }
                Some(Standing::Live(header)) => self.tracker(number).note(header.deadline, key),
                Some(Standing::Nothing) | None => {}
            }
        }
        if work.removed > before {
            work.check(held.bucket.sync(&self.syncs));
        }
    }

    /// A collection waits for nobody.
    fn hold_at_once(&self, number: u8) -> Result<Hold> {
        let Some(turn) = self.queues.turn_at_once(number) else {
            return Ok(Hold::Busy);
        };
        let Some(bucket) = self.root.bucket(number)? else {
            return Ok(Hold::Missing);
        };
        Ok(match bucket.try_lock()? {
            Ok(bucket) => Hold::Got(Held { bucket, _turn: turn }),
            Err(_) => Hold::Busy,
        })
    }
}

/// `None` where there is no file any more, or one that is no record.
fn deadline_of(key: &Key, file: Option<File>) -> Result<Option<u64>> {
    let Some(file) = file else {
        return Ok(None);
    };
    match read_header(key, &file) {
        Ok(header) => Ok(Some(header.deadline)),
        // A touch may be under way: "due" has it looked at again under the lock.
        Err(Unread::Fault(Fault::Deadline)) => Ok(Some(0)),
        Err(unread) => unless_corrupt(unread.into()),
    }
}

/// What is no record is left alone.
fn unless_corrupt<T>(error: Error) -> Result<Option<T>> {
    match error.kind() {
        ErrorKind::Corrupt => Ok(None),
        _ => Err(error),
    }
}
