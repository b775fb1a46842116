//! Loads that need no hop: on Linux the kernel can be asked for what it has in memory, and for nothing
//! else. This runs on a thread of the async runtime, so it must not wait for a disk, and it does not
//! decide anything unusual: whatever is not a plain answer is left to a load that may block.

use session_core::{Key, Loaded};

use crate::operations::Store;

#[cfg(not(target_os = "linux"))]
impl Store {
    /// Elsewhere there is no such question.
    #[expect(clippy::unused_self, reason = "as on Linux")]
    pub(crate) fn load_cached(&self, _key: &Key) -> Option<Option<Loaded>> {
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

    /// A session that is longer is left to a thread that may be kept busy with it.
    const MAX_LEN: u64 = 64 << 10;
    /// A read must not write the time of the access, which may wait for the file system's journal.
    const FLAGS: OFlags = RECORD.union(OFlags::RDONLY).union(OFlags::NOATIME);
    const RESOLVE: ResolveFlags = ResolveFlags::CACHED.union(ResolveFlags::NO_SYMLINKS);
    /// The offset that stands for the file's own position.
    const HERE: u64 = u64::MAX;

    impl Store {
        /// What stands under the key, if that can be said without waiting for anything.
        pub(crate) fn load_cached(&self, key: &Key) -> Option<Option<Loaded>> {
            if self.no_cached.load(Ordering::Relaxed) {
                return None;
            }
            match self.read_cached(key) {
                // Asked after the read: what was read may be a change that began meanwhile.
                Ok(found) => self.syncs.is_settled(bucket_of(key)).then_some(found),
                Err(Unread::Io(error)) if is_unsupported(&error) => {
                    self.no_cached.store(true, Ordering::Relaxed);
                    None
                }
                Err(_) => None,
            }
        }

        fn read_cached(&self, key: &Key) -> Result<Option<Loaded>, Unread> {
            let name = key.to_hex();
            let path = format!("{}/{name}", &name[..2]);
            let mut file = match openat2(self.root.directory(), path, FLAGS, Mode::empty(), RESOLVE)
            {
                Ok(file) => Cached(file),
                Err(Errno::NOENT) if self.root.still_there().is_ok() => return Ok(None),
                Err(errno) => return Err(Unread::Io(errno.into())),
            };
            let beginning = read_beginning(key, &mut file)?;
            if beginning.header.file_len() > MAX_LEN {
                return Err(Unread::Io(ErrorKind::WouldBlock.into()));
            }
            beginning.read_rest(file).map(live)
        }
    }

    /// A file of which only what is in memory can be read.
    struct Cached(OwnedFd);

    impl Read for Cached {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let buffer = &mut [IoSliceMut::new(buffer)];
            Ok(preadv2(&self.0, buffer, HERE, ReadWriteFlags::NOWAIT)?)
        }
    }

    /// Whether this kernel or this file system will never do it.
    fn is_unsupported(error: &io::Error) -> bool {
        let errno = Errno::from_io_error(error);
        matches!(errno, Some(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL))
    }
}
