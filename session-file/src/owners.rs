//! The index of owners: `owners/<digest of the owner>/<key>`, an empty file for each session of an owner.
//!
//! The digest, because a name may contain any character and be longer than a file name.
//!
//! An entry is written before the record that it names and removed after it, both while the writer has
//! the bucket of the key. So at every moment, and after the death of a writer, each record has its entry.
//! An entry without a record may remain; a collection removes it.

use std::collections::BinaryHeap;
use std::fs::File;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, chmodat, fchmod, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use session_core::{Error, Key, Owner, Result};

use crate::bucket::DIRECTORY;
use crate::errors::{not_written, unreadable};
use crate::name::parse_key;
use crate::root::Root;

/// The directory of all owners, and the digest that names an owner's directory in it.
const OWNERS: &str = "owners";
const ENTRY: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// How often an entry is written again because its directory was removed meanwhile.
const MAX_ATTEMPTS: u32 = 100;

/// Writes the entry of a session, unless it is there. The caller has the bucket of the key, and writes
/// the record afterwards.
pub(crate) fn enter(root: &Root, owner: &Owner, key: &Key) -> Result<()> {
    let (name, entry) = (owner.digest().to_hex(), key.to_hex());
    for _ in 0..MAX_ATTEMPTS {
        let root = root.directory()?;
        let Some(entries) = open_in(&root, OWNERS)? else {
            make(&root, OWNERS)?;
            continue;
        };
        let Some(entries) = open_in(&entries, &name)? else {
            // If all owners were removed meanwhile, the next attempt creates them.
            make(&entries, &name)?;
            continue;
        };
        match openat(&entries, entry.as_str(), ENTRY, PRIVATE_FILE) {
            // The umask of the process may have removed rights.
            Ok(file) => return fchmod(&file, PRIVATE_FILE).map_err(not_written),
            // Another writer has just removed the last entry, and the directory with it.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(not_written(errno)),
        }
    }
    Err(Error::refused(
        "the directory of an owner was removed again and again; nothing was written. Use the session \
         directory for sessions only",
    ))
}

/// Removes the entry of a session. The caller has the bucket of the key, and the record is gone or has
/// another owner. If it fails, the entry remains until a collection removes it.
pub(crate) fn leave(root: &Root, owner: &Owner, key: &Key) {
    let name = owner.digest().to_hex();
    let left = directory(root).and_then(|owners| match &owners {
        Some(owners) => remove(owners, &name, key),
        None => Ok(()),
    });
    // The operation itself was carried out.
    drop(left);
}

/// The keys of this owner's entries, in ascending order.
///
/// A directory has no order, so each page reads the names of all entries of the owner. It keeps `limit`
/// of them in memory, however many there are.
pub(crate) fn keys_of(
    root: &Root,
    owner: &Owner,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Key>> {
    let Some(owners) = directory(root)? else {
        return Ok(Vec::new());
    };
    let Some(directory) = open_in(&owners, &owner.digest().to_hex())? else {
        return Ok(Vec::new());
    };
    let mut least = BinaryHeap::new();
    for_each_name(&directory, |name| {
        if let Some(key) = parse_key(name).filter(|key| after.is_none_or(|after| after < key)) {
            if least.len() < limit {
                least.push(key);
            } else if let Some(mut greatest) = least.peek_mut().filter(|greatest| **greatest > key)
            {
                *greatest = key;
            }
        }
    })?;
    Ok(least.into_sorted_vec())
}

/// The directory of all owners, if there is one.
pub(crate) fn directory(root: &Root) -> Result<Option<File>> {
    open_in(&*root.directory()?, OWNERS)
}

/// The names of the owners' directories.
pub(crate) fn names(owners: &File) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for_each_name(owners, |name| names.extend(parse_key(name).map(|_| name.to_owned())))?;
    Ok(names)
}

/// The keys in an owner's directory, in any order.
pub(crate) fn keys_in(owners: &File, name: &str) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    if let Some(directory) = open_in(owners, name)? {
        for_each_name(&directory, |name| keys.extend(parse_key(name)))?;
    }
    Ok(keys)
}

/// Removes an entry, and the directory of its owner with the last one.
pub(crate) fn remove(owners: &File, name: &str, key: &Key) -> Result<()> {
    let Some(entries) = open_in(owners, name)? else {
        return Ok(());
    };
    match unlinkat(&entries, key.to_hex(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(not_written(errno)),
    }
    // It is refused if the directory is not empty.
    let _ = unlinkat(owners, name, AtFlags::REMOVEDIR);
    Ok(())
}

/// Calls `each` with the name of each entry that is text.
fn for_each_name(directory: &File, mut each: impl FnMut(&str)) -> Result<()> {
    for entry in Dir::read_from(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if let Ok(name) = entry.file_name().to_str() {
            each(name);
        }
    }
    Ok(())
}

fn open_in(directory: &File, name: &str) -> Result<Option<File>> {
    match openat(directory, name, DIRECTORY, Mode::empty()) {
        Ok(opened) => Ok(Some(opened.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno @ (Errno::LOOP | Errno::NOTDIR | Errno::MLINK)) => Err(Error::refused(
            "a symbolic link or a file has the name of a directory of the owner index: remove it",
        )
        .with_source(std::io::Error::from(errno))),
        Err(errno) => Err(unreadable(errno)),
    }
}

fn make(directory: &File, name: &str) -> Result<()> {
    match mkdirat(directory, name, Mode::RWXU) {
        // The umask of the process may have removed rights.
        Ok(()) => match chmodat(directory, name, Mode::RWXU, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(not_written(errno)),
        },
        Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(not_written(errno)),
    }
}
