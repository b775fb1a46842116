//! The file of a database in the process: whether it is still the one that was opened.

use std::fs::{Metadata, remove_file};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A path, and the file that was there when the first connection was opened.
///
/// A file that is replaced or removed stays readable and writable for those who have it open. What they write is
/// lost when they close it.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    database: Option<File>,
    /// The write-ahead log. SQLite does not remove it when it closes a database that has moved, and would apply it to
    /// the new one.
    log: Option<File>,
}

/// The device and the number of a file.
type File = (u64, u64);

impl Place {
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "servers have no file"))]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, opened: Mutex::default() }
    }

    /// Whether the file is the one that was opened, or none was opened yet.
    pub(crate) fn is_same(&self) -> bool {
        let mut opened = self.opened();
        let is_same = opened.database.is_none_or(|database| file(&self.path) == Some(database));
        // SQLite creates the log with the first write.
        if is_same && opened.database.is_some() && opened.log.is_none() {
            opened.log = file(&self.beside("-wal"));
        }
        is_same
    }

    /// The file that is there now is about to be opened, and no connection to another one is left. False if there is
    /// no file any more.
    pub(crate) fn opens(&self) -> bool {
        let mut opened = self.opened();
        let Some(there) = file(&self.path) else {
            return opened.database.is_none();
        };
        let is_another = opened.database.is_some_and(|database| database != there);
        if is_another && opened.log.is_some() && file(&self.beside("-wal")) == opened.log {
            // Without the log the other file is not used.
            let _ = remove_file(self.beside("-shm"));
            if remove_file(self.beside("-wal")).is_err() {
                return false;
            }
        }
        *opened = Opened { database: Some(there), log: None };
        true
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(path: &Path) -> Option<File> {
    std::fs::metadata(path).ok().map(|file| identity(&file))
}

#[cfg(unix)]
fn identity(file: &Metadata) -> File {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

/// Other systems don't let a file be replaced that is open.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> File {
    (0, 0)
}
