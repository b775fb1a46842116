//! The directory of the store.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, chmodat, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use session_core::{Error, Result};

use crate::Durability;
use crate::directory::{Bucket, DIRECTORY, bucket_error, not_written, unreadable};
use crate::sync::Syncs;

/// The directory that the user named.
#[derive(Debug)]
pub(crate) struct Root(File);

impl Root {
    /// Creates the directory where it does not exist, and refuses one that others can get at.
    pub(crate) fn open(path: &Path, durability: Durability) -> Result<Self> {
        // Without a trailing slash, which would follow a symbolic link.
        let path: PathBuf = path.components().collect();
        let refuse = |why: &str, source: io::Error| {
            Error::invalid_config(format!("the session directory {} {why}", path.display()))
                .with_source(source)
        };
        create(&path, durability).map_err(|error| refuse("can't be created", error))?;
        let root = open(&path, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::MLINK => refuse(
                "is a symbolic link or no directory: name the directory itself",
                errno.into(),
            ),
            _ => refuse("can't be opened", errno.into()),
        })?;
        let stat = fstat(&root).map_err(|errno| refuse("can't be examined", errno.into()))?;
        let refuse = |why: String| {
            let path = path.display();
            Err(Error::invalid_config(format!("the session directory {path} {why}")))
        };
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me {
            return refuse(format!(
                "belongs to user {}, this process runs as {me}: choose a directory of its own, or \
                 `chown {me}` it",
                stat.st_uid
            ));
        }
        if stat.st_mode & 0o777 != 0o700 {
            return refuse(format!(
                "is open to other users, or closed to its own (mode {:o}): `chmod 700` it, or choose \
                 a directory that is used for sessions only",
                stat.st_mode & 0o7777
            ));
        }
        Ok(Self(root.into()))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn directory(&self) -> &File {
        &self.0
    }

    /// The sub-directory of this number, if there is one.
    pub(crate) fn bucket(&self, number: u8) -> Result<Option<Bucket>> {
        match openat(&self.0, name(number), DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Some(Bucket::new(number, directory))),
            Err(Errno::NOENT) => self.still_there().map(|()| None),
            Err(errno) => Err(bucket_error(errno)),
        }
    }

    /// The sub-directory of this number, created where it does not exist.
    pub(crate) fn make_bucket(&self, number: u8, syncs: &Syncs) -> Result<Bucket> {
        if let Some(bucket) = self.bucket(number)? {
            return Ok(bucket);
        }
        let name = name(number);
        match mkdirat(&self.0, name.as_str(), Mode::RWXU) {
            // The process's umask may have taken rights away.
            Ok(()) => chmodat(&self.0, name.as_str(), Mode::RWXU, AtFlags::empty())
                .map_err(not_written)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(not_written(errno)),
        }
        syncs.will_enter(number);
        openat(&self.0, name.as_str(), DIRECTORY, Mode::empty())
            .map(|directory| Bucket::new(number, directory))
            .map_err(bucket_error)
    }

    /// Makes the entry of a sub-directory survive, if that is asked for and was not done.
    pub(crate) fn enter(&self, number: u8, syncs: &Syncs) -> Result<()> {
        syncs.enter(number, &self.0)
    }

    /// A directory that was removed looks empty, but it is not one without sessions.
    pub(crate) fn still_there(&self) -> Result<()> {
        match fstat(&self.0) {
            Ok(stat) if stat.st_nlink == 0 => Err(Error::unavailable(
                "the session directory was removed while it was in use: restart to create it anew",
            )),
            Ok(_) => Ok(()),
            Err(errno) => Err(unreadable(errno)),
        }
    }
}

/// Creates a directory and those above it where they do not exist, whatever the process's umask.
fn create(path: &Path, durability: Durability) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else {
                return Err(error);
            };
            create(parent, durability)?;
            match DirBuilder::new().mode(0o700).create(path) {
                // Another process was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                done => done?,
            }
        }
        Err(error) => return Err(error),
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    if durability == Durability::Full {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn name(number: u8) -> String {
    format!("{number:02x}")
}
