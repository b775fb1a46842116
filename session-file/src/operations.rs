//! The store's operations as they run on a thread that may block. Each is one hop to such a thread.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicU8;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::fdatasync;
use session_core::{
    Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write, ttl_millis,
};

use crate::Durability;
use crate::collect::Tracker;
use crate::directory::{
    Bucket, Locked, Root, bucket_of, not_a_file, not_confirmed, not_written, unreadable,
};
use crate::format::{DEADLINE_AT, Fault, HEADER, Header, deadline_field, encode, parse_header};

/// Most sessions are read with one call into a buffer of this size.
const FIRST_READ: usize = 4096;

/// The store, as its threads share it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) root: Root,
    pub(crate) durability: Durability,
    /// One for each sub-directory. Writers of this process queue here rather than in the kernel, and
    /// hold it while they hold the sub-directory's file lock. Who needs two takes the lower number
    /// first.
    pub(crate) trackers: Box<[Mutex<Tracker>]>,
    /// The sub-directory where the next collection begins.
    pub(crate) next_bucket: AtomicU8,
}

/// What stands under a key.
pub(crate) enum Standing {
    Nothing,
    Expired,
    Live(Header),
}

impl Store {
    pub(crate) fn new(root: Root, durability: Durability) -> Self {
        Self {
            root,
            durability,
            trackers: (0..256).map(|_| Mutex::default()).collect(),
            next_bucket: AtomicU8::new(0),
        }
    }

    /// Takes no lock: a rename is atomic, and a touch that is half written is recognized.
    pub(crate) fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let Some(bucket) = self.root.bucket(bucket_of(key))? else {
            return Ok(None);
        };
        let name = key.to_hex();
        match bucket.open(&name)?.map(|file| read_record(key, file)) {
            None => Ok(None),
            Some(Ok(found)) => Ok(live(found)),
            Some(Err(Unread::Fault(Fault::Deadline))) => {
                // A touch is being written, or the file is damaged: under the lock it is settled.
                let Some(held) = self.hold(bucket_of(key))? else {
                    return Ok(None);
                };
                match held.bucket.open(&name)?.map(|file| read_record(key, file)) {
                    None => Ok(None),
                    Some(found) => found.map(live).map_err(Error::from),
                }
            }
            Some(Err(unread)) => Err(unread.into()),
        }
    }

    pub(crate) fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        match write {
            Write::Create { ttl } => self.create(key, record, ttl),
            Write::Update(update) => self.update(key, record, update),
        }
    }

    fn create(&self, key: &Key, record: &Record, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let mut held = self.hold_made(bucket_of(key))?;
        let now = now();
        if let Standing::Live(_) = standing(&held.bucket, key, now)? {
            return Err(Error::already_exists());
        }
        let deadline = now.saturating_add(millis);
        self.place(&held.bucket, &mut held.tracker, key, record, deadline)?;
        held.bucket.sync(self.durability)
    }

    fn update(&self, key: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let mut held = self.hold(bucket_of(key))?.ok_or_else(Error::gone)?;
        let now = now();
        let header = expect(&held.bucket, key, write.expected, now)?;
        let deadline = deadline(now, millis, header);
        self.place(&held.bucket, &mut held.tracker, key, record, deadline)?;
        held.bucket.sync(self.durability)
    }

    pub(crate) fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let mut held = self.hold(bucket_of(key))?.ok_or_else(Error::gone)?;
        let file = held.bucket.open_to_change(&key.to_hex())?;
        let file = file.ok_or_else(Error::gone)?;
        let now = now();
        if read_header(key, &file)?.deadline <= now {
            return Err(Error::gone());
        }
        let deadline = now.saturating_add(millis);
        held.tracker.note(deadline, key);
        file.write_all_at(&deadline_field(key, deadline), DEADLINE_AT).map_err(not_written)?;
        if self.durability != Durability::None {
            fdatasync(&file).map_err(not_confirmed)?;
        }
        Ok(())
    }

    pub(crate) fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let Some(held) = self.hold(bucket_of(key))? else {
            return Ok(false);
        };
        let live = match standing(&held.bucket, key, now()) {
            Ok(Standing::Nothing) => return Ok(false),
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
        held.bucket.remove(&key.to_hex())?;
        held.bucket.sync(self.durability)?;
        Ok(live)
    }

    /// In one step for everyone who takes the lock. A crash in between leaves the old session as it
    /// was, and a copy under a key that nobody has.
    pub(crate) fn rotate(
        &self,
        old: &Key,
        new: &Key,
        record: &Record,
        write: Update,
    ) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let (from, to) = (bucket_of(old), bucket_of(new));
        self.root.make_bucket(to, self.durability)?;
        let mut low = self.hold(from.min(to))?.ok_or_else(Error::gone)?;
        let mut high = match from.max(to) {
            same if same == from.min(to) => None,
            high => Some(self.hold(high)?.ok_or_else(Error::gone)?),
        };
        let (source, target, tracker) = match (&mut low, &mut high) {
            (one, None) => (&one.bucket, &one.bucket, &mut *one.tracker),
            (low, Some(high)) if from < to => (&low.bucket, &high.bucket, &mut *high.tracker),
            (low, Some(high)) => (&high.bucket, &low.bucket, &mut *low.tracker),
        };

        let now = now();
        let header = expect(source, old, write.expected, now)?;
        if let Standing::Live(_) = standing(target, new, now)? {
            return Err(Error::already_exists());
        }
        let deadline = deadline(now, millis, header);
        self.place(target, tracker, new, record, deadline)?;
        // The old record must not go before the new one is there to stay.
        let synced = target.sync(self.durability);
        if let Err(error) = synced.and_then(|()| source.remove(&old.to_hex())) {
            // Only one of them may stand, and it is the old one.
            target.remove(&new.to_hex())?;
            return Err(error);
        }
        source.sync(self.durability)
    }

    fn place(
        &self,
        bucket: &Locked,
        tracker: &mut Tracker,
        key: &Key,
        record: &Record,
        deadline: u64,
    ) -> Result<()> {
        // Before the write, so that gc knows of the file however the write ends.
        tracker.note(deadline, key);
        let file = encode(key, record, deadline);
        bucket.place(&key.to_hex(), &file, self.durability)
    }

    /// Keeps all other writers out of a sub-directory, if there is one.
    pub(crate) fn hold(&self, number: u8) -> Result<Option<Held<'_>>> {
        let tracker = self.tracker(number);
        let bucket = self.root.bucket(number)?;
        let bucket = bucket.map(Bucket::lock).transpose()?;
        Ok(bucket.map(|bucket| Held { tracker, bucket }))
    }

    /// Keeps all other writers out of a sub-directory, which is created where it does not exist.
    fn hold_made(&self, number: u8) -> Result<Held<'_>> {
        let tracker = self.tracker(number);
        let bucket = self.root.make_bucket(number, self.durability)?.lock()?;
        Ok(Held { tracker, bucket })
    }

    pub(crate) fn tracker(&self, number: u8) -> MutexGuard<'_, Tracker> {
        let tracker = &self.trackers[usize::from(number)];
        // A panic can't leave it worse than incomplete, and a sweep completes it.
        tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sub-directory that nobody else writes to.
pub(crate) struct Held<'a> {
    // In the order in which they are released.
    pub(crate) bucket: Locked,
    pub(crate) tracker: MutexGuard<'a, Tracker>,
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

fn deadline(now: u64, millis: Option<u64>, standing: Header) -> u64 {
    millis.map_or(standing.deadline, |millis| now.saturating_add(millis))
}

fn live((header, record): (Header, Record)) -> Option<Loaded> {
    let left = header.deadline.saturating_sub(now());
    (left > 0).then(|| Loaded { record, expires_in: Duration::from_millis(left) })
}

/// The wall clock, since a file outlives the process and the machine's start: milliseconds since
/// 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Why a file could not be read as a record.
pub(crate) enum Unread {
    Fault(Fault),
    Io(io::Error),
}

fn read_record(key: &Key, mut file: File) -> Result<(Header, Record), Unread> {
    let mut content = vec![0; FIRST_READ];
    let len = read_once(|| file.read(&mut content))?;
    content.truncate(len);
    let header = parse_header(key, &content)?;
    if len == FIRST_READ || (len as u64) < header.file_len() {
        // One byte more than there should be, to notice a file that has grown.
        let rest = header.file_len().saturating_add(1) - len as u64;
        file.take(rest).read_to_end(&mut content)?;
    }
    let record = header.parse_record(content)?;
    Ok((header, record))
}

/// Reads no more than the header.
pub(crate) fn read_header(key: &Key, file: &File) -> Result<Header, Unread> {
    let mut content = [0; HEADER];
    let len = read_once(|| file.read_at(&mut content, 0))?;
    Ok(parse_header(key, &content[..len])?)
}

/// A file gives what it has in one go; only a signal comes in between.
fn read_once(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Fault(fault) => {
                Error::corrupt(format!("a session's file is not a record: {}", fault.words()))
            }
            Unread::Io(error) => match error.kind() {
                io::ErrorKind::IsADirectory
                | io::ErrorKind::NotSeekable
                | io::ErrorKind::WouldBlock => not_a_file(),
                _ => unreadable(error),
            },
        }
    }
}
