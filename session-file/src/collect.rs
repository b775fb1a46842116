//! Removing what expired, without looking at what lives over and over.
//!
//! A directory can't be asked for the files that are due, so for each sub-directory the store
//! remembers the deadlines up to a horizon: of the files it writes, and of those it finds when it
//! sweeps the sub-directory, which it does again when the horizon is reached. A file that lives is
//! looked at once per sweep interval, by each process that collects, plus once when it is due.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::Ordering;

use session_core::{Error, ErrorKind, Key, Result};

use crate::directory::Name;
use crate::format::Fault;
use crate::operations::{Held, Standing, Store, Unread, now, read_header, standing};

/// How far the horizon lies ahead of a sweep, in milliseconds: an hour. What another process wrote
/// and did not collect itself is found that late at most.
const SWEEP_INTERVAL: u64 = 3_600_000;
/// How many deadlines are remembered for one sub-directory: 12 MiB or so for all 256 of them.
const MAX_TRACKED: usize = 1024;
/// How many headers one collection reads in sweeps before it leaves the rest to the next one.
const MAX_SWEPT: usize = 20_000;
/// How many sessions are removed before writers get at the sub-directory again.
const BATCH: usize = 64;

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

    fn pop_due(&mut self, now: u64) -> Option<Key> {
        if self.due.first()?.0 > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }

    fn has_due(&self, now: u64) -> bool {
        self.due.first().is_some_and(|(deadline, _)| *deadline <= now)
    }
}

impl Store {
    /// Removes up to `limit` expired sessions, beginning where the last collection ended.
    pub(crate) fn collect(&self, limit: usize) -> Result<u64> {
        let first = self.next_bucket.load(Ordering::Relaxed);
        let (mut removed, mut swept) = (0, 0);
        for step in 0..=255_u8 {
            let number = first.wrapping_add(step);
            removed += self.remove_due(number, limit - removed)?;
            while removed < limit && swept < MAX_SWEPT && self.tracker(number).horizon <= now() {
                swept += self.sweep(number)?;
                removed += self.remove_due(number, limit - removed)?;
            }
            if removed == limit || swept >= MAX_SWEPT {
                let next = number.wrapping_add(u8::from(removed < limit));
                self.next_bucket.store(next, Ordering::Relaxed);
                break;
            }
        }
        Ok(removed as u64)
    }

    /// Reads the headers of all files in a sub-directory, without any lock. How many they were.
    fn sweep(&self, number: u8) -> Result<usize> {
        // From here on, what is written meanwhile is noted.
        self.tracker(number).horizon = now().saturating_add(SWEEP_INTERVAL);
        let swept = self.sweep_files(number);
        if swept.is_err() {
            self.tracker(number).horizon = 0;
        }
        swept
    }

    fn sweep_files(&self, number: u8) -> Result<usize> {
        let Some(bucket) = self.root.bucket(number)? else {
            return Ok(0);
        };
        let mut swept = 0;
        for name in bucket.names()? {
            let name = name?;
            match Name::parse(&name, number) {
                Name::Foreign => {}
                Name::Temporary => {
                    if let Some(held) = self.hold(number)? {
                        held.bucket.remove_temporary()?;
                    }
                }
                Name::Record(key) => {
                    swept += 1;
                    let deadline = match bucket.open(&name).map(|file| deadline_of(&key, file)) {
                        Ok(deadline) => deadline?,
                        Err(error) => unless_corrupt(error)?,
                    };
                    if let Some(deadline) = deadline {
                        self.tracker(number).note(deadline, &key);
                    }
                }
            }
        }
        Ok(swept)
    }

    /// Removes up to `limit` sessions that are due, if they really are.
    fn remove_due(&self, number: u8, limit: usize) -> Result<usize> {
        let mut removed = 0;
        while removed < limit && self.tracker(number).has_due(now()) {
            let Some(mut held) = self.hold(number)? else {
                self.tracker(number).due.clear();
                break;
            };
            match remove_batch(&mut held, BATCH.min(limit - removed)) {
                Ok(more) => removed += more,
                Err(error) => {
                    // What was taken out of the list is found again.
                    held.tracker.horizon = 0;
                    return Err(error);
                }
            }
        }
        Ok(removed)
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

fn remove_batch(held: &mut Held<'_>, limit: usize) -> Result<usize> {
    let now = now();
    let mut removed = 0;
    for _ in 0..limit {
        let Some(key) = held.tracker.pop_due(now) else {
            break;
        };
        match standing(&held.bucket, &key, now).map_or_else(unless_corrupt, |it| Ok(Some(it)))? {
            Some(Standing::Expired) => {
                held.bucket.remove(&key.to_hex())?;
                removed += 1;
            }
            Some(Standing::Live(header)) => held.tracker.note(header.deadline, &key),
            Some(Standing::Nothing) | None => {}
        }
    }
    Ok(removed)
}
