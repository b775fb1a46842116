//! The 256 sub-directories of the store, called buckets. Everything is opened relative to an open
//! directory, so that no symbolic link can lead elsewhere.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, fchmod, flock, openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use session_core::{Error, Result};

use crate::durability::Durability;
use crate::errors::{
    busy, not_a_file, not_changed, not_locked, not_removable, not_written, unreadable,
};
use crate::name::TEMPORARY;

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK` so that the open of a foreign pipe does not block. It has no effect on a file.
pub(crate) const RECORD: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The first and the longest pause before a writer tries again to lock.
const PAUSE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(5));

#[cfg(test)]
thread_local! {
    /// How many files this thread has opened, or tried to.
    pub(crate) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// An open bucket.
#[derive(Debug)]
pub(crate) struct Bucket(File);

impl Bucket {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self(directory.into())
    }

    /// Locks the bucket against writers of other processes. It waits until this moment at most,
    /// because a process that was stopped may have the lock.
    pub(crate) fn lock(mut self, until: Instant) -> Result<Locked> {
        let mut pause = PAUSE.0;
        loop {
            self = match self.try_lock()? {
                Ok(locked) => return Ok(locked),
                Err(bucket) => bucket,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(busy());
            }
            sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// As [`lock`](Self::lock), without waiting. Returns the bucket if another process has the
    /// lock.
    pub(crate) fn try_lock(self) -> Result<Result<Locked, Self>> {
        match retry_on_intr(|| flock(&self.0, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Ok(Locked(self))),
            Err(Errno::WOULDBLOCK) => Ok(Err(self)),
            Err(errno) => Err(not_locked(errno)),
        }
    }

    /// Opens the file of a key for reading.
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>> {
        self.open_with(name, OFlags::RDONLY)
    }

    fn open_with(&self, name: &str, access: OFlags) -> Result<Option<File>> {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        match openat(&self.0, name, RECORD | access, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => Err(Error::corrupt(
                "a symbolic link has the name of a session's file; it is not followed",
            )),
            Err(Errno::ISDIR | Errno::NXIO) => Err(not_a_file()),
            Err(errno) => Err(unreadable(errno)),
        }
    }

    /// Whether there is an entry with this name.
    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(unreadable(errno)),
        }
    }

    /// The names of all its entries.
    pub(crate) fn names(&self) -> Result<impl Iterator<Item = Result<String>> + use<>> {
        let entries = Dir::read_from(&self.0).map_err(unreadable)?;
        Ok(entries.filter_map(|entry| match entry {
            // This store writes no name that is not UTF-8.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(errno) => Some(Err(unreadable(errno))),
        }))
    }
}

/// A bucket that is locked against writers of other processes until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked(Bucket);

impl Locked {
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>> {
        self.0.open(name)
    }

    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        self.0.has(name)
    }

    pub(crate) fn open_to_change(&self, name: &str) -> Result<Option<File>> {
        self.0.open_with(name, OFlags::RDWR)
    }

    /// Writes a file with this name, atomically, and replaces an existing one.
    pub(crate) fn put(&self, name: &str, content: &[u8], durability: Durability) -> Result<()> {
        let directory = &self.0.0;
        let put = self
            .write_temporary(content, durability)
            .map_err(not_written)
            .and_then(|()| renameat(directory, TEMPORARY, directory, name).map_err(not_changed));
        if put.is_err() {
            // If this fails, too, the next writer removes it.
            let _ = unlinkat(directory, TEMPORARY, AtFlags::empty());
        }
        put
    }

    fn write_temporary(&self, content: &[u8], durability: Durability) -> io::Result<()> {
        let directory = &self.0.0;
        let create = || openat(directory, TEMPORARY, NEW, PRIVATE_FILE);
        let file = match create() {
            Err(Errno::EXIST) => {
                unlinkat(directory, TEMPORARY, AtFlags::empty())?;
                create()?
            }
            other => other?,
        };
        // The umask of the process may have removed rights.
        fchmod(&file, PRIVATE_FILE)?;
        let mut file = File::from(file);
        file.write_all(content)?;
        match durability {
            Durability::None => Ok(()),
            Durability::Data => file.sync_data(),
        }
    }

    /// Removes a file with any content, if it exists.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match unlinkat(&self.0.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // The error of some systems for a directory.
            Err(errno @ (Errno::ISDIR | Errno::PERM)) => Err(not_removable(errno)),
            Err(errno) => Err(not_changed(errno)),
        }
    }
}

impl Drop for Locked {
    /// Unlocks explicitly: closing the directory does not unlock it while a process that was forked
    /// meanwhile has it open, too.
    fn drop(&mut self) {
        let _ = flock(&self.0.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_though_a_forked_process_has_the_directory_open() {
        let path = tempfile::tempdir().unwrap();
        let bucket = || Bucket::new(File::open(path.path()).unwrap().into());
        let locked = bucket().lock(Instant::now()).unwrap();
        assert!(bucket().try_lock().unwrap().is_err());
        // As after a fork, it shares the lock.
        let inherited = locked.0.0.try_clone().unwrap();
        drop(locked);
        assert!(bucket().try_lock().unwrap().is_ok());
        drop(inherited);
    }
}
