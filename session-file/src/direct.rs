//! Loads on Linux with the fewest system calls: open with one path, read, close. A load can also be
//! limited to the page cache; it then needs no blocking thread.
//!
//! Unusual cases are not handled here: with `None` the caller loads again, opens one directory
//! after the other and finds out the error.

use std::sync::atomic::AtomicBool;

use session_core::{Key, Loaded, Result};

use crate::root::Root;

/// The direct loads of a store, and which of them its system does not support.
#[derive(Debug, Default)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has direct loads"))]
pub(crate) struct DirectLoads {
    /// Loads from the page cache.
    pub(crate) cached_unsupported: AtomicBool,
    /// All other loads.
    pub(crate) blocking_unsupported: AtomicBool,
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_self, reason = "as on Linux")]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
impl DirectLoads {
    pub(crate) fn load_cached(&self, _root: &Root, _key: &Key) -> Option<Option<Loaded>> {
        None
    }

    pub(crate) fn load(&self, _root: &Root, _key: &Key) -> Result<Option<Option<Loaded>>> {
        Ok(None)
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

    use super::{DirectLoads, Key, Loaded, Result, Root};
    use crate::bucket::RECORD;
    use crate::read::{Unread, if_live, read_beginning};
    use crate::root::is_removed;

    const ACCESS: OFlags = RECORD.union(OFlags::RDONLY);
    /// With this offset `preadv2` reads at the current position of the file.
    const CURRENT_POSITION: u64 = u64::MAX;

    /// How a load opens and reads a file.
    struct Method {
        resolve: ResolveFlags,
        read: ReadWriteFlags,
        max_len: u64,
    }

    /// Does not wait for the disk. Large files are excluded: copying and checking them would block
    /// the thread for too long.
    const CACHED: Method = Method {
        resolve: ResolveFlags::NO_SYMLINKS.union(ResolveFlags::CACHED),
        read: ReadWriteFlags::NOWAIT,
        max_len: 64 << 10,
    };
    const BLOCKING: Method = Method {
        resolve: ResolveFlags::NO_SYMLINKS,
        read: ReadWriteFlags::empty(),
        max_len: u64::MAX,
    };

    /// The reason why a direct load was not done.
    enum NotDone {
        /// This kernel or file system does not support the method.
        Unsupported,
        /// This load has to be done in another way.
        Unusual,
    }

    impl DirectLoads {
        /// The live record, if it can be loaded without waiting for the disk.
        pub(crate) fn load_cached(&self, root: &Root, key: &Key) -> Option<Option<Loaded>> {
            if self.cached_unsupported.load(Ordering::Relaxed) {
                return None;
            }
            let root = root.recently_checked()?;
            CACHED.load(&root, key, &self.cached_unsupported)
        }

        /// The live record, if nothing unusual is found. It may block.
        pub(crate) fn load(&self, root: &Root, key: &Key) -> Result<Option<Option<Loaded>>> {
            if self.blocking_unsupported.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let root = root.directory()?;
            Ok(BLOCKING.load(&root, key, &self.blocking_unsupported))
        }
    }

    impl Method {
        fn load(&self, root: &File, key: &Key, unsupported: &AtomicBool) -> Option<Option<Loaded>> {
            match self.try_load(root, key) {
                Ok(found) => Some(found),
                Err(NotDone::Unusual) => None,
                Err(NotDone::Unsupported) => {
                    unsupported.store(true, Ordering::Relaxed);
                    None
                }
            }
        }

        fn try_load(&self, root: &File, key: &Key) -> Result<Option<Loaded>, NotDone> {
            let name = key.to_hex();
            let path = format!("{}/{name}", &name[..2]);
            let mut file = match self.open(root, &path) {
                Ok(file) => Opened(file, self.read),
                Err(Errno::NOENT) if is_removed(root).is_ok_and(|removed| !removed) => {
                    return Ok(None);
                }
                Err(errno) if is_unsupported(errno) => return Err(NotDone::Unsupported),
                Err(_) => return Err(NotDone::Unusual),
            };
            let beginning = read_beginning(key, &mut file).map_err(|unread| file.why(&unread))?;
            if beginning.header.file_len() > self.max_len {
                return Err(NotDone::Unusual);
            }
            beginning.read_rest(file).map(if_live).map_err(|_| NotDone::Unusual)
        }

        fn open(&self, root: &File, path: &str) -> Result<OwnedFd, Errno> {
            let open = |access| openat2(root, path, access, Mode::empty(), self.resolve);
            // Without an update of the access time, which may wait for the journal of the file
            // system.
            match open(ACCESS | OFlags::NOATIME) {
                // Not allowed for a file of another user.
                Err(Errno::PERM) => open(ACCESS),
                opened => opened,
            }
        }
    }

    /// An open file, and the flags for reading it.
    struct Opened(OwnedFd, ReadWriteFlags);

    impl Opened {
        /// An entry that is not a file says nothing about the support for files.
        fn why(&self, unread: &Unread) -> NotDone {
            let is_file = || {
                let stat = fstat(&self.0);
                stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
            };
            match unread {
                Unread::Io(error)
                    if Errno::from_io_error(error).is_some_and(is_unsupported) && is_file() =>
                {
                    NotDone::Unsupported
                }
                _ => NotDone::Unusual,
            }
        }
    }

    impl Read for Opened {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let buffer = &mut [IoSliceMut::new(buffer)];
            Ok(preadv2(&self.0, buffer, CURRENT_POSITION, self.1)?)
        }
    }

    /// A sandbox answers `PERM` to a system call that it does not support.
    fn is_unsupported(errno: Errno) -> bool {
        matches!(errno, Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM)
    }
}
