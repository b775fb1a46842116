//! What differs between the databases: the statements.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;

use session_core::{Bytes, Error, Key, Loaded, Owner, Record, Result, Revision};
use sqlx::error::DatabaseError;
use sqlx::{ColumnIndex, Database, Decode, Row, Type};

use crate::fault::Class;

pub(crate) type Connection<D> = <<D as Dialect>::Database as Database>::Connection;

/// The statements of one database. Each method is one batch: it is never called with nothing, its
/// keys are distinct and in ascending order (two batches then can't lock each other out), and it
/// answers in the same order. A batch is carried out as a whole or not at all.
pub(crate) trait Dialect: fmt::Debug + Send + Sync + 'static {
    type Database: Database;

    const NAME: &'static str;

    /// Whether the database takes one writer at a time.
    const ONE_WRITER: bool;

    /// Whether a table's name may have a schema.
    const SCHEMAS: bool;

    fn classify(error: &dyn DatabaseError) -> Class;

    /// The live records among these; in any order, absent ones left out.
    fn load(
        &self,
        connection: &mut Connection<Self>,
        keys: &[Key],
    ) -> impl Future<Output = sqlx::Result<Vec<Found>>> + Send;

    fn create(
        &self,
        connection: &mut Connection<Self>,
        births: &[Birth],
    ) -> impl Future<Output = sqlx::Result<Vec<Verdict>>> + Send;

    fn update(
        &self,
        connection: &mut Connection<Self>,
        changes: &[Change],
    ) -> impl Future<Output = sqlx::Result<Vec<Verdict>>> + Send;

    fn touch(
        &self,
        connection: &mut Connection<Self>,
        extensions: &[Extension],
    ) -> impl Future<Output = sqlx::Result<Vec<Verdict>>> + Send;

    /// Whether a live record was removed.
    fn destroy(
        &self,
        connection: &mut Connection<Self>,
        key: &Key,
        only: Option<Revision>,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    fn gc_statement(&self) -> &str;

    /// How many expired ones were removed, at most `limit`.
    fn gc(
        &self,
        connection: &mut Connection<Self>,
        limit: i64,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    fn migrate(
        &self,
        connection: &mut Connection<Self>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// A row that was found, or `Err` if it is none of ours.
pub(crate) type Found = (Key, Result<Loaded>);

/// A record to be created. Times are milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) key: Key,
    pub(crate) record: Record,
    pub(crate) ttl: i64,
}

/// A record to be written over the expected revision.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) record: Record,
    pub(crate) expected: Revision,
    pub(crate) ttl: Option<i64>,
}

/// A live record's new life.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) key: Key,
    pub(crate) expected: Revision,
    pub(crate) ttl: i64,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Gone,
    Conflict,
    Exists,
}

impl Verdict {
    /// Of an update that matched nothing, by the live revision that stands under the key: a write
    /// whose acknowledgement was lost and that is repeated finds its own.
    pub(crate) fn of_failed_update(standing: Option<Revision>, written: Revision) -> Self {
        match standing {
            None => Self::Gone,
            Some(revision) if revision == written => Self::Done,
            Some(_) => Self::Conflict,
        }
    }

    /// Of a touch that matched nothing, by the live revision under the key.
    pub(crate) fn of_failed_touch(current: Option<Revision>) -> Self {
        current.map_or(Self::Gone, |_| Self::Conflict)
    }
}

impl From<Verdict> for Result<()> {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done => Ok(()),
            Verdict::Gone => Err(Error::gone()),
            Verdict::Conflict => Err(Error::conflict()),
            Verdict::Exists => Err(Error::already_exists()),
        }
    }
}

pub(crate) fn owner_bytes(record: &Record) -> Option<&[u8]> {
    record.owner.as_ref().map(|owner| owner.as_str().as_bytes())
}

/// Reads a row of (key, revision, owner, payload, remaining milliseconds); `None` for one whose key
/// is no key or that expired in this very moment.
pub(crate) fn found<'r, R>(row: &'r R) -> Option<Found>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let key = key(row)?;
    match loaded(row) {
        Ok(loaded) if loaded.expires_in.is_zero() => None,
        Ok(loaded) => Some((key, Ok(loaded))),
        Err(error) => Some((key, Err(error))),
    }
}

/// The key in the first column.
pub(crate) fn key<'r, R>(row: &'r R) -> Option<Key>
where
    R: Row,
    usize: ColumnIndex<R>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let bytes: Vec<u8> = row.try_get(0).ok()?;
    Some(Key::from_bytes(bytes.try_into().ok()?))
}

/// `Done` for each whose key is in the first column of a row, else `otherwise`.
pub(crate) fn verdicts<'r, R>(
    keys: impl Iterator<Item = Key>,
    rows: &'r [R],
    otherwise: Verdict,
) -> Vec<Verdict>
where
    R: Row,
    usize: ColumnIndex<R>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let written: HashSet<Key> = rows.iter().filter_map(key).collect();
    keys.map(|key| match written.contains(&key) {
        true => Verdict::Done,
        false => otherwise,
    })
    .collect()
}

fn loaded<'r, R>(row: &'r R) -> Result<Loaded>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let revision: i64 = row.try_get(1).map_err(not_a_record)?;
    let owner: Option<Vec<u8>> = row.try_get(2).map_err(not_a_record)?;
    let payload: Vec<u8> = row.try_get(3).map_err(not_a_record)?;
    let remaining: i64 = row.try_get(4).map_err(not_a_record)?;
    let owner = match owner {
        None => None,
        Some(bytes) => {
            let name = String::from_utf8(bytes).map_err(|_| not_a_record("owner"))?;
            Some(Owner::new(name).map_err(|_| not_a_record("owner"))?)
        }
    };
    Ok(Loaded {
        record: Record {
            payload: Bytes::from(payload),
            revision: Revision::from_i64(revision),
            owner,
        },
        expires_in: std::time::Duration::from_millis(u64::try_from(remaining).unwrap_or(0)),
    })
}

/// The driver's error may quote the value, therefore it is left out.
fn not_a_record<T>(_: T) -> Error {
    Error::corrupt("the row is not a session: a column holds something else; destroy it")
}
