//! Removes expired sessions without reading all live ones each time.
//!
//! A directory has no index by expiry. So the store remembers, for each bucket, the sessions that
//! expire before a horizon: those that it writes, and those that it finds in a sweep, which reads
//! the headers of all files of the bucket. The next sweep begins when the horizon is reached. So
//! each collecting process reads a live file once per sweep interval, and once more when it is due.
//!
//! A collection does not wait for writers, and writers wait for it at most while it removes a few
//! files. One collection runs at a time, on one thread, for at most two seconds. It takes no permit
//! of the writers. Dropping its future does not end it, so without these limits slow collections
//! would accumulate.

mod owners;

use std::fs::File;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use session_core::{Error, ErrorKind, Key, Result};

use crate::bucket::{Bucket, Locked};
use crate::clock::now;
use crate::expiries::Expiries;
use crate::format::Invalid;
use crate::name::{Name, TEMPORARY, bucket_of};
use crate::owner_sweep::Sweep;
use crate::owners::leave;
use crate::queue::{InUse, Queues};
use crate::read::{Stored, Unread, look_up, read_header};
use crate::root::Root;

/// The time from a sweep to its horizon, in milliseconds: an hour. Sessions of another process that
/// does not collect itself are found after this time at most.
const SWEEP_INTERVAL: u64 = 3_600_000;
/// The time until a bucket is swept again if a file in it could not be read: a minute.
const RETRY_AFTER: u64 = 60_000;
/// How many sessions are removed before the bucket is unlocked for writers.
const BATCH: usize = 64;
/// How long a collection takes at most, apart from its last file.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The state that collections share.
#[derive(Debug)]
pub(crate) struct Collector {
    /// One for each bucket.
    expiries: Box<[Mutex<Expiries>]>,
    /// The bucket where the next collection begins.
    next_bucket: AtomicU8,
    owners: Sweep,
    pub(crate) time_limit: Duration,
    #[cfg(test)]
    pub(crate) slow_disk: SlowDisk,
}

/// Simulates a disk that needs this long for the header of a file.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct SlowDisk {
    pub(crate) delay: Duration,
    /// How many collections run now, and the greatest number so far.
    pub(crate) running: std::sync::atomic::AtomicUsize,
    pub(crate) most: std::sync::atomic::AtomicUsize,
}

impl Collector {
    pub(crate) fn new() -> Self {
        Self {
            expiries: (0..256).map(|_| Mutex::default()).collect(),
            next_bucket: AtomicU8::new(0),
            owners: Sweep::default(),
            time_limit: TIME_LIMIT,
            #[cfg(test)]
            slow_disk: SlowDisk::default(),
        }
    }

    /// Remembers when a session expires. Call it before the session is written, so that the file is
    /// known after every outcome of the write.
    pub(crate) fn note(&self, expires_at: u64, key: &Key) {
        self.expiries(bucket_of(key)).note(expires_at, key);
    }

    /// Removes up to `limit` expired sessions, beginning where the last collection ended.
    pub(crate) fn collect(&self, root: &Root, queues: &Queues, limit: usize) -> Result<u64> {
        let ends_at = Instant::now() + self.time_limit;
        let mut collection =
            Collection { shared: self, root, queues, limit, ends_at, removed: 0, error: None };
        #[cfg(test)]
        self.slow_disk.begin();
        collection.run();
        #[cfg(test)]
        self.slow_disk.end();
        match collection.error {
            Some(error) if collection.removed == 0 => Err(error),
            _ => Ok(collection.removed as u64),
        }
    }

    /// The lock is held for a short time, never while a file is read or written.
    fn expiries(&self, bucket: u8) -> MutexGuard<'_, Expiries> {
        let expiries = &self.expiries[usize::from(bucket)];
        // After a panic it may be incomplete, and the next sweep completes it.
        expiries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One collection.
struct Collection<'a> {
    shared: &'a Collector,
    root: &'a Root,
    queues: &'a Queues,
    limit: usize,
    ends_at: Instant,
    removed: usize,
    /// The first error. The collection continues with other files.
    error: Option<Error>,
}

/// A bucket without other writers.
struct Exclusive {
    // The fields are dropped in this order.
    bucket: Locked,
    _in_use: InUse,
}

enum Attempt {
    Locked(Exclusive),
    /// Other writers use the bucket. The next collection tries again.
    Busy,
    Missing,
}

impl Collection<'_> {
    fn run(&mut self) {
        let first = self.shared.next_bucket.load(Ordering::Relaxed);
        for step in 0..=255_u8 {
            let number = first.wrapping_add(step);
            let collected = self.collect_in(number);
            self.check(collected);
            if self.is_over() {
                self.shared.next_bucket.store(number, Ordering::Relaxed);
                return;
            }
        }
        let swept = self.sweep_owners();
        self.check(swept);
    }

    fn collect_in(&mut self, number: u8) -> Result<()> {
        self.remove_due(number)?;
        if !self.is_over() && self.shared.expiries(number).needs_sweep(now()) {
            self.sweep(number)?;
        }
        Ok(())
    }

    /// Removes the due sessions whose files confirm that they have expired. Returns `false` if
    /// other writers use the bucket.
    fn remove_due(&mut self, number: u8) -> Result<bool> {
        while !self.is_over() && self.shared.expiries(number).has_due(now()) {
            match self.try_lock(number)? {
                Attempt::Locked(exclusive) => self.remove_batch(&exclusive.bucket, number),
                Attempt::Busy => return Ok(false),
                Attempt::Missing => self.shared.expiries(number).clear(),
            }
        }
        Ok(true)
    }

    fn remove_batch(&mut self, bucket: &Locked, number: u8) {
        for _ in 0..BATCH {
            let now = now();
            let due = self.shared.expiries(number).pop_due(now);
            let Some(key) = due else {
                break;
            };
            let stored = unless_corrupt(look_up(bucket, &key, now));
            match self.check(stored).flatten() {
                Some(Stored::Expired(owner)) => {
                    let removed = bucket.remove(&key.to_hex());
                    if self.check(removed).is_some() {
                        self.removed += 1;
                        if let Some(owner) = owner {
                            leave(self.root, &owner, &key);
                        }
                    }
                }
                Some(Stored::Live(header, _)) => self.shared.note(header.expires_at, &key),
                Some(Stored::Missing) | None => {}
            }
            if self.is_over() {
                break;
            }
        }
    }

    /// Reads the headers of all files in a bucket, without the lock.
    fn sweep(&mut self, number: u8) -> Result<()> {
        let horizon = now().saturating_add(SWEEP_INTERVAL);
        let passed = self.shared.expiries(number).begin_sweep(horizon);
        let error_before = self.error.take();
        let swept = match self.root.bucket(number) {
            Ok(Some(bucket)) => self.sweep_files(number, &bucket, passed),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let mut expiries = self.shared.expiries(number);
        match swept {
            Ok(Some(passed)) => expiries.interrupt_sweep(passed),
            Ok(None) if self.error.is_none() => {}
            Ok(None) => expiries.sweep_before(now().saturating_add(RETRY_AFTER)),
            Err(_) => expiries.sweep_before(0),
        }
        drop(expiries);
        self.error = error_before.or(self.error.take());
        swept.map(|_| ())
    }

    /// Continues after the names that were passed before, and returns how many have been passed if
    /// the time ends before the names do. Names of due sessions don't count, because their files
    /// will be removed.
    ///
    /// The names may change in between. The next sweep finds a file that was missed for this
    /// reason.
    fn sweep_files(
        &mut self,
        number: u8,
        bucket: &Bucket,
        mut passed: usize,
    ) -> Result<Option<usize>> {
        let mut due = 0;
        for name in bucket.names()?.skip(passed) {
            let name = name?;
            let mut is_due = false;
            match Name::parse(&name, number) {
                Name::Foreign => {}
                Name::Temporary => {
                    if let Attempt::Locked(exclusive) = self.try_lock(number)? {
                        let removed = exclusive.bucket.remove(TEMPORARY);
                        self.check(removed);
                    }
                }
                Name::Record(key) => {
                    #[cfg(test)]
                    std::thread::sleep(self.shared.slow_disk.delay);
                    let expires_at = expiry_of(&key, bucket.open(&name));
                    if let Some(expires_at) = self.check(expires_at).flatten() {
                        self.shared.note(expires_at, &key);
                        is_due = expires_at <= now();
                    }
                }
            }
            passed += usize::from(!is_due);
            due += usize::from(is_due);
            let mut is_busy = false;
            if due == BATCH {
                due = 0;
                is_busy = !self.remove_due(number)?;
            }
            if is_busy || self.is_over() {
                return Ok(Some(passed));
            }
        }
        self.remove_due(number)?;
        Ok(None)
    }

    fn try_lock(&self, number: u8) -> Result<Attempt> {
        let Some(in_use) = self.queues.writers.try_bucket(number) else {
            return Ok(Attempt::Busy);
        };
        let Some(bucket) = self.root.bucket(number)? else {
            return Ok(Attempt::Missing);
        };
        Ok(match bucket.try_lock()? {
            Ok(bucket) => Attempt::Locked(Exclusive { bucket, _in_use: in_use }),
            Err(_) => Attempt::Busy,
        })
    }

    fn is_over(&self) -> bool {
        self.removed >= self.limit || Instant::now() >= self.ends_at
    }

    /// Returns the value, or keeps the first error.
    fn check<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error.get_or_insert(error)).ok()
    }
}

#[cfg(test)]
impl SlowDisk {
    fn begin(&self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
    }

    fn end(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// `None` if there is no file, or if it is not a record.
fn expiry_of(key: &Key, file: Result<Option<File>>) -> Result<Option<u64>> {
    let Some(file) = unless_corrupt(file)?.flatten() else {
        return Ok(None);
    };
    match read_header(key, &file) {
        Ok(header) => Ok(Some(header.expires_at)),
        // A touch may be in progress. The session counts as due, and is examined again under the
        // lock.
        Err(Unread::Invalid(Invalid::Expiry)) => Ok(Some(0)),
        Err(unread) => unless_corrupt(Err(unread.into())),
    }
}

/// A file that is not a record is left alone.
fn unless_corrupt<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        Err(error) => Err(error),
    }
}
