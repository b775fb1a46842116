//! The operations of the store, which run on a blocking thread.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use session_core::{
    Error, ErrorKind, Key, Loaded, Owner, Record, Result, Revision, Update, Write, ttl_millis,
};

use crate::bucket::Locked;
use crate::clock::now;
use crate::collect::Collector;
use crate::direct::DirectLoads;
use crate::durability::Durability;
use crate::errors::{in_doubt, not_changed};
use crate::format::{EXPIRY_OFFSET, Header, Invalid, encode, expiry_field};
use crate::name::bucket_of;
use crate::owners;
use crate::queue::{MAX_WAIT, Queues, Request};
use crate::read::{Stored, Unread, if_live, look_up, read_header, read_record};
use crate::root::Root;

/// A wait of at least this length, in milliseconds, was for other writers.
const NOTICEABLE_WAIT: u64 = 100;

/// The state that all threads of a store share.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) root: Root,
    pub(crate) durability: Durability,
    pub(crate) queues: Queues,
    pub(crate) direct: DirectLoads,
    pub(crate) collector: Collector,
    /// How long an operation waits for other writers.
    pub(crate) max_wait: Duration,
}

/// The result of a load that took no lock.
pub(crate) enum LockFreeLoad {
    Done(Option<Loaded>),
    /// A touch is in progress, or the file is damaged. A load under the lock has to find out which.
    NeedsLock,
}

impl Store {
    pub(crate) fn open(path: &Path, durability: Durability) -> Result<Self> {
        Ok(Self {
            root: Root::open(path)?,
            durability,
            queues: Queues::new(),
            direct: DirectLoads::default(),
            collector: Collector::new(),
            max_wait: MAX_WAIT,
        })
    }

    /// The live record, if it can be loaded without waiting for the disk. Never blocks.
    pub(crate) fn load_cached(&self, key: &Key) -> Option<Option<Loaded>> {
        self.direct.load_cached(&self.root, key)
    }

    /// Takes no lock: a rename is atomic, and the checksum detects a half-written touch.
    pub(crate) fn load(&self, key: &Key) -> Result<LockFreeLoad> {
        if let Some(found) = self.direct.load(&self.root, key)? {
            return Ok(LockFreeLoad::Done(found));
        }
        let Some(bucket) = self.root.bucket(bucket_of(key))? else {
            return Ok(LockFreeLoad::Done(None));
        };
        match bucket.open(&key.to_hex())?.map(|file| read_record(key, file)) {
            None => Ok(LockFreeLoad::Done(None)),
            Some(Ok(found)) => Ok(LockFreeLoad::Done(if_live(found))),
            Some(Err(Unread::Invalid(Invalid::Expiry))) => Ok(LockFreeLoad::NeedsLock),
            Some(Err(unread)) => Err(unread.into()),
        }
    }

    pub(crate) fn load_locked(&self, request: Request, key: &Key) -> Result<Option<Loaded>> {
        let Some(bucket) = self.lock(request, key)? else {
            return Ok(None);
        };
        match bucket.open(&key.to_hex())?.map(|file| read_record(key, file)) {
            None => Ok(None),
            Some(found) => found.map(if_live).map_err(Error::from),
        }
    }

    pub(crate) fn save(
        &self,
        request: Request,
        key: &Key,
        record: &Record,
        write: Write,
    ) -> Result<()> {
        match write {
            Write::Create { ttl } => self.create(request, key, record, ttl),
            Write::Update(update) => self.update(request, key, record, update),
        }
    }

    fn create(&self, request: Request, key: &Key, record: &Record, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let bucket = self.root.make_bucket(bucket_of(key))?.lock(request.until)?;
        let now = now();
        let before = match look_up(&bucket, key, now)? {
            Stored::Live(..) => return Err(Error::already_exists()),
            Stored::Expired(owner) => owner,
            Stored::Missing => None,
        };
        let expires_at = new_expiry(request, now, millis).ok_or_else(|| {
            Error::refused(
                "the ttl of the session ended before other writers had finished; nothing was written",
            )
        })?;
        self.put(&bucket, key, record, expires_at, before.as_ref())
    }

    fn update(&self, request: Request, key: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let bucket = self.lock(request, key)?.ok_or_else(Error::gone)?;
        let now = now();
        let (header, before) = match look_up(&bucket, key, now)? {
            Stored::Missing | Stored::Expired(_) => return Err(Error::gone()),
            Stored::Live(header, owner) => (expect(header, write.expected)?, owner),
        };
        let expires_at = match millis {
            None => header.expires_at,
            Some(millis) => new_expiry(request, now, millis).ok_or_else(Error::gone)?,
        };
        self.put(&bucket, key, record, expires_at, before.as_ref())
    }

    pub(crate) fn touch(
        &self,
        request: Request,
        key: &Key,
        expected: Revision,
        ttl: Duration,
    ) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let bucket = self.lock(request, key)?.ok_or_else(Error::gone)?;
        let file = bucket.open_to_change(&key.to_hex())?.ok_or_else(Error::gone)?;
        let now = now();
        let header = read_header(key, &file)?;
        if header.expires_at <= now {
            return Err(Error::gone());
        }
        expect(header, expected)?;
        let expires_at = new_expiry(request, now, millis).ok_or_else(Error::gone)?;
        self.collector.note(expires_at, key);
        overwrite(&file, &expiry_field(key, expires_at), EXPIRY_OFFSET)?;
        match self.durability {
            Durability::None => Ok(()),
            Durability::Data => file.sync_data().map_err(in_doubt),
        }
    }

    pub(crate) fn destroy(
        &self,
        request: Request,
        key: &Key,
        only: Option<Revision>,
    ) -> Result<bool> {
        let Some(bucket) = self.lock(request, key)? else {
            return Ok(false);
        };
        let (live, owner) = match look_up(&bucket, key, now()) {
            Ok(Stored::Missing) => return Ok(false),
            Ok(Stored::Expired(owner)) => (false, owner),
            Ok(Stored::Live(header, _)) if only.is_some_and(|only| only != header.revision) => {
                return Ok(false);
            }
            Ok(Stored::Live(_, owner)) => (true, owner),
            // A damaged file does not have the expected revision. If no revision is expected, it is
            // removed, because it may have been live.
            Err(error) if error.kind() == ErrorKind::Corrupt && only.is_some() => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Corrupt => (true, None),
            Err(error) => return Err(error),
        };
        bucket.remove(&key.to_hex())?;
        if let Some(owner) = owner {
            owners::leave(&self.root, &owner, key);
        }
        Ok(live)
    }

    pub(crate) fn collect(&self, limit: usize) -> Result<u64> {
        self.collector.collect(&self.root, &self.queues, limit)
    }

    /// The last step of a save. An error before the rename has changed nothing. `before` is the owner
    /// of the record that is replaced.
    fn put(
        &self,
        bucket: &Locked,
        key: &Key,
        record: &Record,
        expires_at: u64,
        before: Option<&Owner>,
    ) -> Result<()> {
        self.collector.note(expires_at, key);
        if let Some(owner) = record.owner.as_ref().filter(|owner| Some(*owner) != before) {
            owners::enter(&self.root, owner, key)?;
        }
        bucket.put(&key.to_hex(), &encode(key, record, expires_at), self.durability)?;
        if let Some(before) = before.filter(|before| Some(*before) != record.owner.as_ref()) {
            owners::leave(&self.root, before, key);
        }
        Ok(())
    }

    pub(crate) fn keys_of(
        &self,
        owner: &Owner,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        owners::keys_of(&self.root, owner, after, limit)
    }

    /// Locks the bucket of a key, if it exists.
    fn lock(&self, request: Request, key: &Key) -> Result<Option<Locked>> {
        let bucket = self.root.bucket(bucket_of(key))?;
        bucket.map(|bucket| bucket.lock(request.until)).transpose()
    }
}

fn expect(header: Header, expected: Revision) -> Result<Header> {
    match header.revision == expected {
        true => Ok(header),
        false => Err(Error::conflict()),
    }
}

/// The expiry of a ttl that begins at the request, not when the bucket was free. `None` if it has
/// passed after a noticeable wait for other writers. A ttl of a few milliseconds without such a
/// wait is not refused.
fn new_expiry(request: Request, now: u64, millis: u64) -> Option<u64> {
    let expires_at = request.at.saturating_add(millis);
    let waited = now.saturating_sub(request.at);
    (expires_at > now || waited < NOTICEABLE_WAIT).then_some(expires_at)
}

/// If the first write fails, nothing was written. If a later one fails, the file is damaged.
fn overwrite(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
    let written = loop {
        match file.write_at(bytes, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            written => break written.map_err(not_changed)?,
        }
    };
    file.write_all_at(&bytes[written..], offset + written as u64).map_err(in_doubt)
}
