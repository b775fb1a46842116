//! The directory of the store.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use rustix::fs::{AtFlags, Mode, Stat, chmodat, fchmod, fstat, lstat, mkdirat, open, openat};
use rustix::io::Errno;
use session_core::{Error, Result};

use crate::bucket::{Bucket, DIRECTORY};
use crate::errors::{no_bucket, not_written, unreadable};

/// How often the store checks whether its path still names the open directory, in milliseconds.
const CHECK_INTERVAL: u64 = 1_000;

/// The directory that the user named.
///
/// It stays open, and everything is opened relative to it. If the path names another directory
/// later, because an administrator removed the directory and created it again or replaced it, the
/// store uses the new one.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    directory: RwLock<Arc<File>>,
    opened_at: Instant,
    /// The time of the last check, in milliseconds since `opened_at`.
    checked_at: AtomicU64,
}

impl Root {
    /// Creates the directory if it does not exist. Refuses a directory that other users can enter.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Without a trailing slash, which would follow a symbolic link. Absolute, because the
        // process may change its working directory later.
        let path = std::path::absolute(path.components().collect::<PathBuf>())
            .map_err(|error| refusal(path, "has no absolute path").with_source(error))?;
        create(&path).map_err(|error| refusal(&path, "can't be created").with_source(error))?;
        let directory = RwLock::new(Arc::new(open_private(&path)?));
        Ok(Self { path, directory, opened_at: Instant::now(), checked_at: AtomicU64::new(0) })
    }

    /// The directory, unless a check of the path is due. Never blocks.
    #[cfg(target_os = "linux")]
    pub(crate) fn recently_checked(&self) -> Option<Arc<File>> {
        self.is_recently_checked().then(|| self.opened())
    }

    /// The directory that the path names.
    pub(crate) fn directory(&self) -> Result<Arc<File>> {
        let directory = self.opened();
        if self.is_recently_checked() {
            return Ok(directory);
        }
        // Other operations need not wait for this check.
        self.checked_at.store(self.age(), Ordering::Relaxed);
        let is_same = |there: Stat| {
            fstat(&*directory)
                .is_ok_and(|here| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
        };
        match lstat(&self.path) {
            Ok(there) if !is_same(there) => self.reopen(),
            // The path names nothing, or this process can't read it. The open directory may have
            // been moved, so it stays in use.
            _ if !is_removed(&directory)? => Ok(directory),
            _ => self.reopen(),
        }
    }

    /// Opens the directory that the path names now. If that fails, the open directory stays in use,
    /// unless it was removed: a removed directory looks empty, but it is not an empty store.
    fn reopen(&self) -> Result<Arc<File>> {
        match open_private(&self.path) {
            Ok(directory) => {
                let directory = Arc::new(directory);
                let mut current = self.directory.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::clone(&directory);
                Ok(directory)
            }
            Err(error) => {
                let directory = self.opened();
                match is_removed(&directory)? {
                    false => Ok(directory),
                    true => Err(Error::refused(
                        "the session directory was removed while it was in use; nothing was read or \
                         written. Create it again with mode 700, or restart",
                    )
                    .with_source(error)),
                }
            }
        }
    }

    /// The bucket of this number, if it exists.
    pub(crate) fn bucket(&self, number: u8) -> Result<Option<Bucket>> {
        let directory = self.directory()?;
        match open_bucket(&directory, number)? {
            None if is_removed(&directory)? => open_bucket(&*self.reopen()?, number),
            found => Ok(found),
        }
    }

    /// The bucket of this number. It is created if it does not exist.
    pub(crate) fn make_bucket(&self, number: u8) -> Result<Bucket> {
        if let Some(bucket) = self.bucket(number)? {
            return Ok(bucket);
        }
        let (directory, name) = (self.directory()?, name(number));
        match mkdirat(&*directory, name.as_str(), Mode::RWXU) {
            // The umask of the process may have removed rights.
            Ok(()) => chmodat(&*directory, name.as_str(), Mode::RWXU, AtFlags::empty())
                .map_err(not_written)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(not_written(errno)),
        }
        openat(&*directory, name.as_str(), DIRECTORY, Mode::empty())
            .map(Bucket::new)
            .map_err(no_bucket)
    }

    fn opened(&self) -> Arc<File> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_recently_checked(&self) -> bool {
        self.age() < self.checked_at.load(Ordering::Relaxed) + CHECK_INTERVAL
    }

    fn age(&self) -> u64 {
        u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether this directory was removed.
pub(crate) fn is_removed(directory: &File) -> Result<bool> {
    fstat(directory).map(|stat| stat.st_nlink == 0).map_err(unreadable)
}

fn open_bucket(root: &File, number: u8) -> Result<Option<Bucket>> {
    match openat(root, name(number), DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(Bucket::new(directory))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(no_bucket(errno)),
    }
}

/// Opens a directory that no other user can enter.
fn open_private(path: &Path) -> Result<File> {
    let root = open(path, DIRECTORY, Mode::empty()).map_err(|errno| {
        let why = match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::MLINK => {
                "is a symbolic link or not a directory: name the directory itself"
            }
            _ => "can't be opened",
        };
        refusal(path, why).with_source(io::Error::from(errno))
    })?;
    let failed = |why| move |errno| refusal(path, why).with_source(io::Error::from(errno));
    let stat = fstat(&root).map_err(failed("can't be examined"))?;
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me {
        return Err(refusal(
            path,
            &format!(
                "belongs to user {}, this process runs as {me}: choose another directory, or \
                 `chown {me}` it",
                stat.st_uid
            ),
        ));
    }
    let mode = stat.st_mode;
    if mode & 0o007 != 0 || mode & 0o700 != 0o700 {
        return Err(refusal(
            path,
            &format!(
                "is open to other users, or closed to its own (mode {:o}): `chmod 700` it, or choose \
                 a directory that is used for sessions only",
                mode & 0o7777
            ),
        ));
    }
    if mode & 0o070 != 0 {
        // An orchestrator gives a volume to a group when it mounts it. Only the owner or root can
        // do that.
        fchmod(&root, Mode::RWXU)
            .map_err(failed("is open to its group, and its mode can't be changed"))?;
    }
    Ok(root.into())
}

fn refusal(path: &Path, why: &str) -> Error {
    Error::invalid_config(format!("the session directory {} {why}", path.display()))
}

/// Creates a directory and its parents if they do not exist, with the right mode for every umask.
fn create(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else {
                return Err(error);
            };
            create(parent)?;
            match DirBuilder::new().mode(0o700).create(path) {
                // Another process has just created it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                done => done?,
            }
        }
        Err(error) => return Err(error),
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

fn name(number: u8) -> String {
    format!("{number:02x}")
}
