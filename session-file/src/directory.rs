//! The 256 sub-directories of the store. Everything is opened relative to an open directory, so that
//! no symbolic link can lead elsewhere.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, fchmod, flock, openat, renameat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use session_core::{Error, Result};

use crate::name::TEMPORARY;
use crate::queue::busy;
use crate::sync::Syncs;

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK` so that a foreign pipe can't hold us; it means nothing for a file.
pub(crate) const RECORD: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How long a writer waits before it asks for a lock again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(5));

#[cfg(test)]
thread_local! {
    /// How many files this thread has opened, or tried to.
    pub(crate) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// One of the sub-directories.
#[derive(Debug)]
pub(crate) struct Bucket {
    number: u8,
    directory: File,
}

impl Bucket {
    pub(crate) fn new(number: u8, directory: OwnedFd) -> Self {
        Self { number, directory: directory.into() }
    }

    /// Keeps all other processes' writers out until it is dropped. It waits for them until this
    /// moment: the process that has the lock may have been stopped.
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

    /// The same without waiting; gives itself back where another process has the lock.
    pub(crate) fn try_lock(self) -> Result<Result<Locked, Self>> {
        match retry_on_intr(|| flock(&self.directory, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Ok(Locked(self))),
            Err(Errno::WOULDBLOCK) => Ok(Err(self)),
            Err(errno) => Err(Error::unavailable(
                "a sub-directory can't be locked; nothing was written. The session directory must be \
                 on a file system with working `flock`",
            )
            .with_source(io::Error::from(errno))),
        }
    }

    /// What was read in it is confirmed by the disk, if that is asked for.
    pub(crate) fn settle_read(&self, syncs: &Syncs) -> Result<()> {
        syncs.settle_read(self.number, &self.directory)
    }

    /// Opens the file of a key for reading.
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>> {
        self.open_with(name, OFlags::RDONLY)
    }

    fn open_with(&self, name: &str, access: OFlags) -> Result<Option<File>> {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        match openat(&self.directory, name, RECORD | access, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => Err(Error::corrupt(
                "a symbolic link stands where a session's file belongs; it is not followed",
            )),
            Err(Errno::ISDIR | Errno::NXIO) => Err(not_a_file()),
            Err(errno) => Err(unreadable(errno)),
        }
    }

    /// The names of all its files.
    pub(crate) fn names(&self) -> Result<impl Iterator<Item = Result<String>> + use<>> {
        let entries = Dir::read_from(&self.directory).map_err(unreadable)?;
        Ok(entries.filter_map(|entry| match entry {
            // A name that is not UTF-8 is not ours.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(errno) => Some(Err(unreadable(errno))),
        }))
    }
}

/// A sub-directory that no other process writes to.
#[derive(Debug)]
pub(crate) struct Locked(Bucket);

impl Locked {
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>> {
        self.0.open(name)
    }

    pub(crate) fn open_to_change(&self, name: &str) -> Result<Option<File>> {
        self.0.open_with(name, OFlags::RDWR)
    }

    /// Puts a file under this name, in the place of the one that may stand there: wholly or not at
    /// all. It still needs a [`sync`](Self::sync).
    pub(crate) fn place(&self, name: &str, content: &[u8], syncs: &Syncs) -> Result<()> {
        let directory = &self.0.directory;
        let placed = self.write_temporary(content, syncs).and_then(|()| {
            syncs.will_change(self.0.number);
            renameat(directory, TEMPORARY, directory, name).map_err(io::Error::from)
        });
        placed.map_err(|error| {
            // Should this fail as well, the next writer removes it.
            let _ = unlinkat(directory, TEMPORARY, AtFlags::empty());
            not_written(error)
        })
    }

    fn write_temporary(&self, content: &[u8], syncs: &Syncs) -> io::Result<()> {
        let directory = &self.0.directory;
        let create = || openat(directory, TEMPORARY, NEW, PRIVATE_FILE);
        let file = match create() {
            Err(Errno::EXIST) => {
                unlinkat(directory, TEMPORARY, AtFlags::empty())?;
                create()?
            }
            other => other?,
        };
        // The process's umask may have taken rights away.
        fchmod(&file, PRIVATE_FILE)?;
        let mut file = File::from(file);
        file.write_all(content)?;
        syncs.content(&file)
    }

    /// Removes a file, whatever is in it, if it is there. It still needs a [`sync`](Self::sync).
    pub(crate) fn remove(&self, name: &str, syncs: &Syncs) -> Result<()> {
        syncs.will_change(self.0.number);
        self.unlink(name)
    }

    /// Removes what a writer that died has left behind. No session depends on it, so the disk need
    /// not confirm it.
    pub(crate) fn remove_temporary(&self) -> Result<()> {
        self.unlink(TEMPORARY)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        match unlinkat(&self.0.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => Err(not_a_file()),
            Err(errno) => Err(not_written(errno)),
        }
    }

    /// Makes what was placed or removed survive a power failure, if that is asked for.
    pub(crate) fn sync(&self, syncs: &Syncs) -> Result<()> {
        syncs.names(self.0.number, &self.0.directory)
    }

    /// What was placed or removed earlier is confirmed by the disk, if that is asked for.
    pub(crate) fn settle(&self, syncs: &Syncs) -> Result<()> {
        syncs.settle(self.0.number, &self.0.directory)
    }
}

impl Drop for Locked {
    /// Closing the directory would not do while a process that was forked meanwhile has it open, too.
    fn drop(&mut self) {
        let _ = flock(&self.0.directory, FlockOperation::Unlock);
    }
}

pub(crate) fn unreadable(error: impl Into<io::Error>) -> Error {
    Error::unavailable("the session directory can't be read").with_source(error.into())
}

pub(crate) fn not_written(error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; nothing was written. Make room in the session directory"
        }
        _ => "the session directory can't be written to; nothing was written",
    };
    Error::unavailable(message).with_source(error)
}

pub(crate) fn not_a_file() -> Error {
    Error::corrupt("something other than a file stands where a session's file belongs: remove it")
}

pub(crate) fn bucket_error(errno: Errno) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::MLINK => Error::unavailable(
            "a symbolic link or a file stands where a sub-directory of the session directory \
             belongs: remove it",
        )
        .with_source(io::Error::from(errno)),
        _ => unreadable(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_though_a_forked_process_has_the_directory_open() {
        let path = tempfile::tempdir().unwrap();
        let bucket = || Bucket::new(0, File::open(path.path()).unwrap().into());
        let locked = bucket().lock(Instant::now()).unwrap();
        assert!(bucket().try_lock().unwrap().is_err());
        // As a fork does, it shares the lock.
        let inherited = locked.0.directory.try_clone().unwrap();
        drop(locked);
        assert!(bucket().try_lock().unwrap().is_ok());
        drop(inherited);
    }
}
