//! Reading a session's file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use session_core::{Error, Key, Loaded, Owner, Record, Result};

use crate::bucket::Locked;
use crate::clock::now;
use crate::errors::{not_a_file, unreadable};
use crate::format::{HEADER, Header, Invalid, parse_header};

/// Most sessions are read with one call into a buffer of this size.
const FIRST_READ: usize = 4096;

/// The reason why a file is not a record.
pub(crate) enum Unread {
    Invalid(Invalid),
    Io(io::Error),
}

/// The state of a key, according to its file.
pub(crate) enum Stored {
    Missing,
    Expired(Option<Owner>),
    Live(Header, Option<Owner>),
}

/// Looks up a key in a bucket that no other process writes to.
pub(crate) fn look_up(bucket: &Locked, key: &Key, now: u64) -> Result<Stored> {
    let Some(file) = bucket.open(&key.to_hex())? else {
        return Ok(Stored::Missing);
    };
    let mut content = [0; HEADER + Owner::MAX_BYTES];
    let len = read_once(|| file.read_at(&mut content, 0)).map_err(Unread::from)?;
    let header = parse_header(key, &content[..len]).map_err(Unread::from)?;
    let owner = header.owner(&content[..len]);
    Ok(match header.expires_at <= now {
        true => Stored::Expired(owner),
        false => Stored::Live(header, owner),
    })
}

/// The record with its remaining ttl, unless it is expired.
pub(crate) fn if_live((header, record): (Header, Record)) -> Option<Loaded> {
    let left = header.expires_at.saturating_sub(now());
    (left > 0).then(|| Loaded { record, expires_in: Duration::from_millis(left) })
}

/// The header of a file, and the bytes that were read along with it.
pub(crate) struct Beginning {
    pub(crate) header: Header,
    content: Vec<u8>,
}

/// Reads the whole file.
pub(crate) fn read_record(key: &Key, mut file: File) -> Result<(Header, Record), Unread> {
    read_beginning(key, &mut file)?.read_rest(file)
}

/// Reads as many bytes as most files have.
pub(crate) fn read_beginning(key: &Key, file: &mut impl Read) -> Result<Beginning, Unread> {
    let mut content = vec![0; FIRST_READ];
    let len = read_once(|| file.read(&mut content))?;
    content.truncate(len);
    let header = parse_header(key, &content)?;
    Ok(Beginning { header, content })
}

impl Beginning {
    /// Reads the rest of the file.
    pub(crate) fn read_rest(self, file: impl Read) -> Result<(Header, Record), Unread> {
        let Self { header, mut content } = self;
        let len = content.len() as u64;
        if content.len() == FIRST_READ || len < header.file_len() {
            // One byte more than the header says, to detect a file that has grown.
            let rest = header.file_len().saturating_add(1).saturating_sub(len);
            file.take(rest).read_to_end(&mut content)?;
        }
        let record = header.parse_record(content)?;
        Ok((header, record))
    }
}

/// Reads only the header.
pub(crate) fn read_header(key: &Key, file: &File) -> Result<Header, Unread> {
    let mut content = [0; HEADER];
    let len = read_once(|| file.read_at(&mut content, 0))?;
    Ok(parse_header(key, &content[..len])?)
}

/// One read returns all available bytes of a file, unless a signal interrupts it.
fn read_once(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl From<Invalid> for Unread {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Invalid(invalid) => {
                Error::corrupt(format!("a session's file is not a record: {}", invalid.words()))
            }
            Unread::Io(error) => match error.kind() {
                io::ErrorKind::IsADirectory
                | io::ErrorKind::NotSeekable
                | io::ErrorKind::WouldBlock => not_a_file(),
                _ => unreadable(error),
            },
        }
    }
}
