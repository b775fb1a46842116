//! Loads as Linux does them in the fewest steps: open by one path, read, close. The kernel can also be
//! asked for what it has in memory and nothing else, which needs no hop to a thread that may block.
//!
//! Nothing unusual is decided here: `None` leaves it to [`Store::load`], which opens one directory
//! after the other and knows what went wrong.

use session_core::{Key, Loaded};

use crate::operations::Store;

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
    use std::io::{self, ErrorKind, IoSliceMut, Read};
    use std::os::fd::OwnedFd;
    use std::sync::atomic::Ordering;

    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::{Key, Loaded, Store};
    use crate::directory::RECORD;
    use crate::name::bucket_of;
    use crate::operations::live;
    use crate::read::{Unread, read_beginning};

    /// Without writing the time of the access, which may wait for the file system's journal.
    const ACCESS: OFlags = RECORD.union(OFlags::RDONLY).union(OFlags::NOATIME);
    /// The offset that stands for the file's own position.
    const HERE: u64 = u64::MAX;

    /// How a load may go about it.
    struct Way {
        resolve: ResolveFlags,
        read: ReadWriteFlags,
        max_len: u64,
    }

    /// It waits for no disk. Copying and checking a long session would keep the thread too long.
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

    impl Store {
        /// What stands under the key, if it can be said without waiting.
        pub(crate) fn load_cached(&self, key: &Key) -> Option<Option<Loaded>> {
            self.load_by(&AT_ONCE, key)
        }

        /// What stands under the key, if that is plain. On a thread that may block.
        pub(crate) fn load_direct(&self, key: &Key) -> Option<Option<Loaded>> {
            self.load_by(&AT_LENGTH, key)
        }

        fn load_by(&self, way: &Way, key: &Key) -> Option<Option<Loaded>> {
            if self.no_direct.load(Ordering::Relaxed) {
                return None;
            }
            match self.read_by(way, key) {
                // Asked after the read: what was read may be a change that began meanwhile.
                Ok(found) => self.syncs.is_settled(bucket_of(key)).then_some(found),
                Err(Unread::Io(error)) if is_unsupported(&error) => {
                    self.no_direct.store(true, Ordering::Relaxed);
                    None
                }
                Err(_) => None,
            }
        }

        fn read_by(&self, way: &Way, key: &Key) -> Result<Option<Loaded>, Unread> {
            let name = key.to_hex();
            let path = format!("{}/{name}", &name[..2]);
            let root = self.root.directory();
            let mut file = match openat2(root, path, ACCESS, Mode::empty(), way.resolve) {
                Ok(file) => Direct(file, way.read),
                Err(Errno::NOENT) if self.root.still_there().is_ok() => return Ok(None),
                Err(errno) => return Err(Unread::Io(errno.into())),
            };
            let beginning = read_beginning(key, &mut file)?;
            if beginning.header.file_len() > way.max_len {
                return Err(Unread::Io(ErrorKind::WouldBlock.into()));
            }
            beginning.read_rest(file).map(live)
        }
    }

    /// A file, and how it is read.
    struct Direct(OwnedFd, ReadWriteFlags);

    impl Read for Direct {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let buffer = &mut [IoSliceMut::new(buffer)];
            Ok(preadv2(&self.0, buffer, HERE, self.1)?)
        }
    }

    /// Whether this kernel or this file system will never do it.
    fn is_unsupported(error: &io::Error) -> bool {
        let errno = Errno::from_io_error(error);
        matches!(errno, Some(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL))
    }
}
