//! The errors of the store, and which of them are refusals.
//!
//! A write goes to a temporary file, which is then renamed. An error before the rename is a
//! refusal: nothing was written. Errors of reads and of locks are refusals, too.

use std::io;

use rustix::io::Errno;
use session_core::{Error, ErrorKind};

/// A file or directory could not be opened or read.
pub(crate) fn unreadable(error: impl Into<io::Error>) -> Error {
    refused("the session directory can't be read", error.into())
}

/// A file or a directory could not be written, and no session was changed.
pub(crate) fn not_written(error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; nothing was written. Make room in the session directory"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the session directory is on a read-only file system; nothing was written"
        }
        _ => "the session directory can't be written to; nothing was written",
    };
    refused(message, error)
}

/// A rename, a removal or an overwrite failed. The system has not done it if the error is one of
/// those that come before any change. All others leave it in doubt: a file system in a network or in
/// another process may have done it and lost the answer (`STALE`, `TIMEDOUT`, `INTR`), or have done it
/// at the first request and failed at its repetition (`NOENT`).
pub(crate) fn not_changed(error: impl Into<io::Error>) -> Error {
    let error = error.into();
    match Errno::from_io_error(&error) {
        Some(
            Errno::ACCESS
            | Errno::PERM
            | Errno::ROFS
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::MFILE
            | Errno::NFILE
            | Errno::ISDIR
            | Errno::NOTDIR,
        ) => not_written(error),
        _ => in_doubt(error),
    }
}

/// The change was made, or may have been, and the file system reported an error.
pub(crate) fn in_doubt(error: io::Error) -> Error {
    Error::unavailable(
        "the file system failed during a write; it is not known whether it was carried out",
    )
    .with_source(error)
}

/// Other writers had the bucket, or all threads, for too long.
pub(crate) fn busy() -> Error {
    Error::refused(
        "other writers did not release a part of the session directory in time; nothing was written. \
         If it stays so, look for a stopped process that uses the directory",
    )
}

/// `flock` failed.
pub(crate) fn not_locked(errno: Errno) -> Error {
    refused(
        "a sub-directory can't be locked; nothing was written. The session directory must be on a \
         file system with working `flock`",
        errno.into(),
    )
}

/// A bucket could not be opened.
pub(crate) fn no_bucket(errno: Errno) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::MLINK => refused(
            "a symbolic link or a file has the name of a sub-directory of the session directory: \
             remove it",
            errno.into(),
        ),
        _ => unreadable(errno),
    }
}

/// An entry with the name of a session's file is not a file.
pub(crate) fn not_a_file() -> Error {
    Error::corrupt("an entry that is not a file has the name of a session's file: remove it")
}

/// As [`not_a_file`], for a removal: `Corrupt` would mean that `destroy` can remove it.
pub(crate) fn not_removable(errno: Errno) -> Error {
    Error::new(ErrorKind::Other, "a directory has the name of a session's file: remove it")
        .with_source(io::Error::from(errno))
        .as_refusal()
}

/// By the table in the contract: missing rights are `InvalidConfig`, all other refusals are
/// `Unavailable`.
fn refused(message: &'static str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::invalid_config(
            "this process lacks rights in the session directory; nothing was written. All of it must \
             belong to the user of the process",
        ),
        _ => Error::refused(message),
    }
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_in_doubt_unless_the_error_comes_before_it() {
        let refusals = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::MFILE, Errno::NFILE];
        for errno in refusals {
            for error in [unreadable(errno), not_written(errno), not_changed(errno)] {
                assert!(error.nothing_was_written(), "{error:?}");
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
        }
        for errno in [Errno::ACCESS, Errno::PERM] {
            for error in [unreadable(errno), not_written(errno), not_changed(errno)] {
                assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
            }
        }
        assert!(not_written(Errno::IO).nothing_was_written());
        let in_doubt_after = [
            Errno::IO,
            Errno::STALE,
            Errno::TIMEDOUT,
            Errno::NOENT,
            Errno::INTR,
            Errno::NOMEM,
            Errno::NOTCONN,
        ];
        for errno in in_doubt_after {
            let error = not_changed(errno);
            assert!(!error.nothing_was_written(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(not_written(errno).nothing_was_written(), "{errno:?}");
        }
        let without_number = io::Error::other("a part was written");
        assert!(!not_changed(without_number).nothing_was_written());
        assert!(!in_doubt(Errno::NOSPC.into()).nothing_was_written());
        assert!(busy().nothing_was_written());
    }
}
