//! Loads as Linux does them in the fewest steps: open by one path, read, close. The kernel can also be
//! asked for what it has in memory and nothing else, which needs no hop to a thread that may block.
//!
//! Nothing unusual is decided here: `None` leaves it to [`Store::load`], which opens one directory
//! after the other and knows what went wrong.

use std::sync::atomic::AtomicBool;

use session_core::{Key, Loaded};

use crate::operations::Store;

/// Which direct loads this kernel or the file system will never do.
#[derive(Debug, Default)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has direct loads"))]
pub(crate) struct Refused {
    /// Those of what is in memory.
    pub(crate) at_once: AtomicBool,
    /// Those that open one path.
    pub(crate) at_length: AtomicBool,
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_self, reason = "as on Linux")]
impl Store {
    pub(crate) fn load_cached(&self, _key: &Key) -> Option<Option<Loaded>> {
        None
    }

    pub(crate) fn load_direct(&self, _key: &Key) -> Option<Option<Loaded>> {
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::{self, IoSliceMut, Read};
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::{Key, Loaded, Store};
    use crate::directory::RECORD;
    use crate::name::bucket_of;
    use crate::operations::live;
    use crate::read::{Unread, read_beginning};

    const ACCESS: OFlags = RECORD.union(OFlags::RDONLY);
    /// The offset that stands for the file's own position.
    const HERE: u64 = u64::MAX;

    /// How a load may go about it.
    struct Way {
        resolve: ResolveFlags,
        read: ReadWriteFlags,
        max_len: u64,
    }

    /// It does not wait for a session's data. Copying and checking a long one would keep the thread
    /// too long.
    const AT_ONCE: Way = Way {
        resolve: ResolveFlags::NO_SYMLINKS.union(ResolveFlags::CACHED),
        read: ReadWriteFlags::NOWAIT,
        max_len: 64 << 10,
    };
    const AT_LENGTH: Way = Way {
        resolve: ResolveFlags::NO_SYMLINKS,
        read: ReadWriteFlags::empty(),
        max_len: u64::MAX,
    };

    /// A load was not done.
    enum Undone {
        /// Nor will this kernel or this file system ever do one that way.
        Refused,
        ThisTime,
    }

    impl Store {
        /// What stands under the key, if it can be said without waiting for its data.
        pub(crate) fn load_cached(&self, key: &Key) -> Option<Option<Loaded>> {
            self.load_by(&AT_ONCE, &self.refused.at_once, key)
        }

        /// What stands under the key, if that is plain. On a thread that may block.
        pub(crate) fn load_direct(&self, key: &Key) -> Option<Option<Loaded>> {
            self.load_by(&AT_LENGTH, &self.refused.at_length, key)
        }

        fn load_by(&self, way: &Way, refused: &AtomicBool, key: &Key) -> Option<Option<Loaded>> {
            let is_settled = || self.syncs.is_settled(bucket_of(key));
            // Asked now, to spare a read in vain.
            if refused.load(Ordering::Relaxed) || !is_settled() {
                return None;
            }
            match self.read_by(way, key) {
                // Asked again: what was read may be a change that began meanwhile.
                Ok(found) => is_settled().then_some(found),
                Err(Undone::Refused) => {
                    refused.store(true, Ordering::Relaxed);
                    None
                }
                Err(Undone::ThisTime) => None,
            }
        }

        fn read_by(&self, way: &Way, key: &Key) -> Result<Option<Loaded>, Undone> {
            let name = key.to_hex();
            let path = format!("{}/{name}", &name[..2]);
            let mut file = match way.open(self.root.directory(), &path) {
                Ok(file) => Direct(file, way.read),
                Err(Errno::NOENT) if self.root.still_there().is_ok() => return Ok(None),
                Err(errno) if is_refusal(errno) => return Err(Undone::Refused),
                Err(_) => return Err(Undone::ThisTime),
            };
            let beginning =
                read_beginning(key, &mut file).map_err(|unread| file.undone(&unread))?;
            if beginning.header.file_len() > way.max_len {
                return Err(Undone::ThisTime);
            }
            beginning.read_rest(file).map(live).map_err(|_| Undone::ThisTime)
        }
    }

    impl Way {
        fn open(&self, root: &File, path: &str) -> Result<OwnedFd, Errno> {
            let open = |access| openat2(root, path, access, Mode::empty(), self.resolve);
            // Without writing the time of the access, which may wait for the file system's journal.
            match open(ACCESS | OFlags::NOATIME) {
                // Not for a file of another user.
                Err(Errno::PERM) => open(ACCESS),
                opened => opened,
            }
        }
    }

    /// A file, and how it is read.
    struct Direct(OwnedFd, ReadWriteFlags);

    impl Direct {
        /// Whether this kernel or this file system will never read a file this way. What is no file
        /// says nothing about those that are.
        fn undone(&self, unread: &Unread) -> Undone {
            let is_file = || {
                let stat = fstat(&self.0);
                stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
            };
            match unread {
                Unread::Io(error)
                    if Errno::from_io_error(error).is_some_and(is_refusal) && is_file() =>
                {
                    Undone::Refused
                }
                _ => Undone::ThisTime,
            }
        }
    }

    impl Read for Direct {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let buffer = &mut [IoSliceMut::new(buffer)];
            Ok(preadv2(&self.0, buffer, HERE, self.1)?)
        }
    }

    /// `PERM` is what a sandbox says to a call it does not know.
    fn is_refusal(errno: Errno) -> bool {
        matches!(errno, Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM)
    }
}
