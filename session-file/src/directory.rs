//! The directory of the store and its 256 sub-directories. Everything is opened relative to an open
//! directory, so that no symbolic link can lead elsewhere.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, fdatasync, flock, fstat, fsync, mkdirat, open,
    openat, renameat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use session_core::{Error, Key, Result};

use crate::Durability;

/// The one temporary file of a sub-directory. Whoever holds the lock owns it; a left-over of a
/// process that died is therefore known for one.
const TEMPORARY: &str = ".tmp";

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK` so that a foreign pipe can't hold us; it means nothing for a file.
const RECORD: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The directory that the user named.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Creates the directory where it does not exist, and refuses one that others can get at.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Without a trailing slash, which would follow a symbolic link.
        let path: PathBuf = path.components().collect();
        let refuse = |why: &str, source: io::Error| {
            Error::invalid_config(format!("the session directory {} {why}", path.display()))
                .with_source(source)
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| refuse("can't be created", error))?;
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
        if stat.st_mode & 0o077 != 0 {
            return refuse(format!(
                "is open to other users (mode {:o}): `chmod 700` it, or choose a directory that is \
                 used for sessions only",
                stat.st_mode & 0o7777
            ));
        }
        Ok(Self(root))
    }

    /// The sub-directory of this number, if there is one.
    pub(crate) fn bucket(&self, number: u8) -> Result<Option<Bucket>> {
        match openat(&self.0, bucket_name(number), DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Some(Bucket(directory))),
            Err(Errno::NOENT) => self.still_there().map(|()| None),
            Err(errno) => Err(bucket_error(errno)),
        }
    }

    /// The sub-directory of this number, created where it does not exist.
    pub(crate) fn make_bucket(&self, number: u8, durability: Durability) -> Result<Bucket> {
        if let Some(bucket) = self.bucket(number)? {
            return Ok(bucket);
        }
        match mkdirat(&self.0, bucket_name(number), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(not_written(errno)),
        }
        if durability == Durability::Full {
            fsync(&self.0).map_err(not_written)?;
        }
        openat(&self.0, bucket_name(number), DIRECTORY, Mode::empty())
            .map(Bucket)
            .map_err(bucket_error)
    }

    /// A directory that was removed looks empty, but it is not one without sessions.
    fn still_there(&self) -> Result<()> {
        match fstat(&self.0) {
            Ok(stat) if stat.st_nlink == 0 => Err(Error::unavailable(
                "the session directory was removed while it was in use: restart to create it anew",
            )),
            Ok(_) => Ok(()),
            Err(errno) => Err(unreadable(errno)),
        }
    }
}

/// One of the sub-directories.
#[derive(Debug)]
pub(crate) struct Bucket(OwnedFd);

impl Bucket {
    /// Keeps all other writers out, of this process and of others, until the lock is dropped.
    pub(crate) fn lock(self) -> Result<Locked> {
        retry_on_intr(|| flock(&self.0, FlockOperation::LockExclusive)).map_err(|errno| {
            Error::unavailable(
                "a sub-directory can't be locked; nothing was written. The session directory must be \
                 on a file system with working `flock`",
            )
            .with_source(io::Error::from(errno))
        })?;
        Ok(Locked(self))
    }

    /// Opens the file of a key for reading.
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>> {
        self.open_with(name, OFlags::RDONLY)
    }

    fn open_with(&self, name: &str, access: OFlags) -> Result<Option<File>> {
        match openat(&self.0, name, RECORD | access, Mode::empty()) {
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
        let entries = Dir::read_from(&self.0).map_err(unreadable)?;
        Ok(entries.filter_map(|entry| match entry {
            // A name that is not UTF-8 is not ours.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(errno) => Some(Err(unreadable(errno))),
        }))
    }
}

/// A sub-directory that nobody else can write to.
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
    /// all.
    pub(crate) fn place(&self, name: &str, content: &[u8], durability: Durability) -> Result<()> {
        let directory = &self.0.0;
        let placed = self.write_temporary(content, durability).and_then(|()| {
            renameat(directory, TEMPORARY, directory, name).map_err(io::Error::from)
        });
        if let Err(error) = placed {
            // Should this fail as well, the next writer removes it.
            let _ = unlinkat(directory, TEMPORARY, AtFlags::empty());
            return Err(not_written(error));
        }
        Ok(())
    }

    fn write_temporary(&self, content: &[u8], durability: Durability) -> io::Result<()> {
        let create = || openat(&self.0.0, TEMPORARY, NEW, PRIVATE_FILE);
        let file = match create() {
            Err(Errno::EXIST) => {
                unlinkat(&self.0.0, TEMPORARY, AtFlags::empty())?;
                create()?
            }
            other => other?,
        };
        let mut file = File::from(file);
        file.write_all(content)?;
        if durability != Durability::None {
            fdatasync(&file)?;
        }
        Ok(())
    }

    /// Removes a file, whatever is in it, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match unlinkat(&self.0.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => Err(not_a_file()),
            Err(errno) => Err(not_written(errno)),
        }
    }

    /// Removes what a writer that died has left behind.
    pub(crate) fn remove_temporary(&self) -> Result<()> {
        self.remove(TEMPORARY)
    }

    /// Makes what was put or removed survive a power failure, if that is asked for.
    pub(crate) fn sync(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Full => fsync(&self.0.0).map_err(not_confirmed),
            Durability::None | Durability::Data => Ok(()),
        }
    }
}

/// The sub-directory that a key belongs in.
pub(crate) fn bucket_of(key: &Key) -> u8 {
    key.as_bytes()[0]
}

fn bucket_name(number: u8) -> String {
    format!("{number:02x}")
}

/// What a name in a sub-directory stands for.
pub(crate) enum Name {
    Record(Key),
    Temporary,
    Foreign,
}

impl Name {
    pub(crate) fn parse(name: &str, bucket: u8) -> Self {
        if name == TEMPORARY {
            return Self::Temporary;
        }
        match parse_key(name) {
            Some(key) if bucket_of(&key) == bucket => Self::Record(key),
            _ => Self::Foreign,
        }
    }
}

/// Only the spelling that [`Key::to_hex`] gives.
fn parse_key(name: &str) -> Option<Key> {
    let digits = name.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Key::from_bytes(bytes))
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
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

pub(crate) fn not_confirmed(error: impl Into<io::Error>) -> Error {
    Error::unavailable("the change was made, but the disk did not confirm it")
        .with_source(error.into())
}

pub(crate) fn not_a_file() -> Error {
    Error::corrupt("something other than a file stands where a session's file belongs: remove it")
}

fn bucket_error(errno: Errno) -> Error {
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
    fn only_the_hex_key_in_its_own_sub_directory_is_ours() {
        let key = Key::from_bytes([0xAB; 32]);
        let name = key.to_hex();
        assert!(matches!(Name::parse(&name, 0xAB), Name::Record(k) if k == key));
        assert!(matches!(Name::parse(".tmp", 0xAB), Name::Temporary));
        for (foreign, bucket) in [
            (name.as_str(), 0xAC),
            (&name.to_uppercase(), 0xAB),
            (&name[1..], 0xAB),
            (&format!("{name}0"), 0xAB),
            ("notes.txt", 0xAB),
            ("..", 0xAB),
        ] {
            assert!(matches!(Name::parse(foreign, bucket), Name::Foreign), "{foreign}");
        }
    }
}
