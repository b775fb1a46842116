//! The store's operations as they run on a thread that may block.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicU8;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::{
    Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write, ttl_millis,
};

use crate::Durability;
use crate::clock::now;
use crate::collect::Tracker;
use crate::direct::Refused;
use crate::directory::{Bucket, Locked, not_written};
use crate::format::{DEADLINE_AT, Fault, Header, deadline_field, encode};
use crate::name::bucket_of;
use crate::queue::{Asked, PATIENCE, Queues, Turn};
use crate::read::{Unread, read_header, read_record};
use crate::root::Root;
use crate::sync::{Syncs, not_confirmed};

/// A wait of so many milliseconds is one for other writers.
const NOTICEABLE: u64 = 100;

/// The store, as its threads share it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) root: Root,
    pub(crate) syncs: Syncs,
    pub(crate) queues: Queues,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has direct loads"))]
    pub(crate) refused: Refused,
    /// How long an operation waits for its turn.
    pub(crate) patience: Duration,
    /// One for each sub-directory.
    trackers: Box<[Mutex<Tracker>]>,
    /// The sub-directory where the next collection begins.
    pub(crate) next_bucket: AtomicU8,
}

/// What stands under a key.
pub(crate) enum Standing {
    Nothing,
    Expired,
    Live(Header),
}

/// What a load without the lock has found.
pub(crate) enum Glance {
    Sure(Option<Loaded>),
    /// A touch is being written, or the file is damaged.
    Unsure,
}

impl Store {
    pub(crate) fn new(root: Root, durability: Durability) -> Self {
        Self {
            root,
            syncs: Syncs::new(durability),
            queues: Queues::new(),
            refused: Refused::default(),
            patience: PATIENCE,
            trackers: (0..256).map(|_| Mutex::default()).collect(),
            next_bucket: AtomicU8::new(0),
        }
    }

    /// Takes no lock: a rename is atomic, and a touch that is half written is recognized.
    pub(crate) fn load(&self, key: &Key) -> Result<Glance> {
        if let Some(found) = self.load_direct(key) {
            return Ok(Glance::Sure(found));
        }
        let Some(bucket) = self.root.bucket(bucket_of(key))? else {
            return Ok(Glance::Sure(None));
        };
        let found = match bucket.open(&key.to_hex())?.map(|file| read_record(key, file)) {
            None => None,
            Some(Ok(found)) => live(found),
            Some(Err(Unread::Fault(Fault::Deadline))) => return Ok(Glance::Unsure),
            Some(Err(unread)) => return Err(unread.into()),
        };
        bucket.settle_read(&self.syncs)?;
        Ok(Glance::Sure(found))
    }

    pub(crate) fn load_locked(&self, turn: &Turn, key: &Key) -> Result<Option<Loaded>> {
        let Some(bucket) = self.hold(turn, bucket_of(key))? else {
            return Ok(None);
        };
        match bucket.open(&key.to_hex())?.map(|file| read_record(key, file)) {
            None => Ok(None),
            Some(found) => found.map(live).map_err(Error::from),
        }
    }

    pub(crate) fn save(&self, turn: &Turn, key: &Key, record: &Record, write: Write) -> Result<()> {
        match write {
            Write::Create { ttl } => self.create(turn, key, record, ttl),
            Write::Update(update) => self.update(turn, key, record, update),
        }
    }

    fn create(&self, turn: &Turn, key: &Key, record: &Record, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let bucket = self.hold_made(turn, bucket_of(key))?;
        let now = now();
        if let Standing::Live(_) = standing(&bucket, key, now)? {
            return Err(Error::already_exists());
        }
        let deadline = new_deadline(turn.asked, now, millis).ok_or_else(|| {
            Error::unavailable(
                "the session's life was over before it was its turn; nothing was written",
            )
        })?;
        self.place(&bucket, key, record, deadline)?;
        bucket.sync(&self.syncs)
    }

    fn update(&self, turn: &Turn, key: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let bucket = self.hold(turn, bucket_of(key))?.ok_or_else(Error::gone)?;
        let now = now();
        let header = expect(&bucket, key, write.expected, now)?;
        let deadline = deadline(turn.asked, now, millis, header)?;
        self.place(&bucket, key, record, deadline)?;
        bucket.sync(&self.syncs)
    }

    pub(crate) fn touch(&self, turn: &Turn, key: &Key, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let bucket = self.hold(turn, bucket_of(key))?.ok_or_else(Error::gone)?;
        let file = bucket.open_to_change(&key.to_hex())?;
        let file = file.ok_or_else(Error::gone)?;
        let now = now();
        let header = read_header(key, &file)?;
        if header.deadline <= now {
            return Err(Error::gone());
        }
        let deadline = deadline(turn.asked, now, Some(millis), header)?;
        self.tracker(bucket_of(key)).note(deadline, key);
        file.write_all_at(&deadline_field(key, deadline), DEADLINE_AT).map_err(not_written)?;
        self.syncs.content(&file).map_err(not_confirmed)
    }

    pub(crate) fn destroy(&self, turn: &Turn, key: &Key, only: Option<Revision>) -> Result<bool> {
        let Some(bucket) = self.hold(turn, bucket_of(key))? else {
            return Ok(false);
        };
        let live = match standing(&bucket, key, now()) {
            Ok(Standing::Nothing) => {
                // It may have been removed by a process that was killed before the disk confirmed it.
                bucket.sync(&self.syncs)?;
                return Ok(false);
            }
            Ok(Standing::Expired) => false,
            Ok(Standing::Live(header)) if only.is_some_and(|only| only != header.revision) => {
                return Ok(false);
            }
            Ok(Standing::Live(_)) => true,
            // What is no record has no revision that could be the one; without one asked for, it may
            // have been live, and is removed.
            Err(error) if error.kind() == ErrorKind::Corrupt && only.is_none() => true,
            Err(error) => return Err(error),
        };
        bucket.remove(&key.to_hex(), &self.syncs)?;
        bucket.sync(&self.syncs)?;
        Ok(live)
    }

    /// In one step for everyone who takes the lock. A crash in between leaves the old session as it
    /// was, and a copy under a key that nobody has.
    pub(crate) fn rotate(
        &self,
        turn: &Turn,
        old: &Key,
        new: &Key,
        record: &Record,
        write: Update,
    ) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let (from, to) = (bucket_of(old), bucket_of(new));
        self.root.make_bucket(to, &self.syncs)?;
        // Everyone takes the lower number first.
        let low = self.hold(turn, from.min(to))?.ok_or_else(Error::gone)?;
        let high = match from == to {
            true => None,
            false => Some(self.hold(turn, from.max(to))?.ok_or_else(Error::gone)?),
        };
        let (source, target) = match &high {
            None => (&low, &low),
            Some(high) if from < to => (&low, high),
            Some(high) => (high, &low),
        };

        let now = now();
        let header = expect(source, old, write.expected, now)?;
        if let Standing::Live(_) = standing(target, new, now)? {
            return Err(Error::already_exists());
        }
        let deadline = deadline(turn.asked, now, millis, header)?;
        self.place(target, new, record, deadline)?;
        // The old record must not go before the new one is there to stay.
        let moved =
            target.sync(&self.syncs).and_then(|()| source.remove(&old.to_hex(), &self.syncs));
        if let Err(error) = moved {
            // Only one of them may stand, and it is the old one.
            target.remove(&new.to_hex(), &self.syncs)?;
            return Err(error);
        }
        source.sync(&self.syncs)
    }

    fn place(&self, bucket: &Locked, key: &Key, record: &Record, deadline: u64) -> Result<()> {
        // Before the write, so that gc knows of the file however the write ends.
        self.tracker(bucket_of(key)).note(deadline, key);
        bucket.place(&key.to_hex(), &encode(key, record, deadline), &self.syncs)
    }

    /// Keeps all other writers out of a sub-directory, if there is one.
    fn hold(&self, turn: &Turn, number: u8) -> Result<Option<Locked>> {
        match self.root.bucket(number)? {
            Some(bucket) => self.lock(turn, number, bucket).map(Some),
            None => Ok(None),
        }
    }

    /// Keeps all other writers out of a sub-directory, which is created where it does not exist.
    fn hold_made(&self, turn: &Turn, number: u8) -> Result<Locked> {
        let bucket = self.root.make_bucket(number, &self.syncs)?;
        self.lock(turn, number, bucket)
    }

    fn lock(&self, turn: &Turn, number: u8, bucket: Bucket) -> Result<Locked> {
        let locked = bucket.lock(turn.asked.until)?;
        self.root.enter(number, &self.syncs)?;
        locked.settle(&self.syncs)?;
        Ok(locked)
    }

    /// It is locked for a moment only, never while a file is read or written.
    pub(crate) fn tracker(&self, number: u8) -> MutexGuard<'_, Tracker> {
        let tracker = &self.trackers[usize::from(number)];
        // A panic can't leave it worse than incomplete, and a sweep completes it.
        tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn standing(bucket: &Locked, key: &Key, now: u64) -> Result<Standing> {
    let Some(file) = bucket.open(&key.to_hex())? else {
        return Ok(Standing::Nothing);
    };
    let header = read_header(key, &file)?;
    Ok(match header.deadline <= now {
        true => Standing::Expired,
        false => Standing::Live(header),
    })
}

/// The live record that an update may replace.
fn expect(bucket: &Locked, key: &Key, expected: Revision, now: u64) -> Result<Header> {
    match standing(bucket, key, now)? {
        Standing::Nothing | Standing::Expired => Err(Error::gone()),
        Standing::Live(header) if header.revision != expected => Err(Error::conflict()),
        Standing::Live(header) => Ok(header),
    }
}

fn deadline(asked: Asked, now: u64, millis: Option<u64>, standing: Header) -> Result<u64> {
    match millis {
        None => Ok(standing.deadline),
        Some(millis) => new_deadline(asked, now, millis).ok_or_else(Error::gone),
    }
}

/// A new life begins when it was asked for, not when it was its turn. `None` where it was over by then;
/// but a life of a few milliseconds is given although it ends at once.
fn new_deadline(asked: Asked, now: u64, millis: u64) -> Option<u64> {
    let deadline = asked.at.saturating_add(millis);
    let waited = now.saturating_sub(asked.at);
    (deadline > now || waited < NOTICEABLE).then_some(deadline)
}

pub(crate) fn live((header, record): (Header, Record)) -> Option<Loaded> {
    let left = header.deadline.saturating_sub(now());
    (left > 0).then(|| Loaded { record, expires_in: Duration::from_millis(left) })
}
