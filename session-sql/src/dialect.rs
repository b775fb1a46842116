//! What differs between the databases: the statements.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use std::collections::HashSet;
use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use session_core::{
    Bytes, CreateItem, DestroyItem, Error, Key, Loaded, Owner, Record, Result, Revision, TouchItem,
    UpdateItem, ttl_millis,
};
use sqlx::error::DatabaseError;
use sqlx::{ColumnIndex, Database, Decode, Row, SqlStr, Type};

use crate::connections::Prepared;
use crate::failure::Class;

pub(crate) type Connection<D> = <<D as Dialect>::Database as Database>::Connection;

/// The most items of a batch.
pub(crate) const MAX_BATCH: usize = 64;

/// The owner, the key after which a page begins, and the most keys.
pub(crate) type Page<'a> = (&'a [u8], &'a [u8], i64);

/// The statements of one database. The methods that take many items are never called without any;
/// their keys are distinct and in ascending order (two batches then can't lock each other out), each ttl is
/// valid, and the results are in the same order. A batch is carried out as a whole or not at all.
pub(crate) trait Dialect: fmt::Debug + Send + Sync + 'static {
    type Database: Database;

    const NAME: &'static str;

    /// Whether the database is in the process, and takes one writer at a time.
    const LOCAL: bool;

    /// Whether a table's name may have a schema.
    const SCHEMAS: bool;

    /// How a URL may begin, and how it is written.
    const SCHEMES: &[&str];
    const URL: &str;

    fn classify(error: &dyn DatabaseError) -> Class;

    /// Whether each operation is a transaction of its own, because a pooler may lead each transaction to another
    /// connection of the server.
    fn has_pooler(&self) -> bool {
        false
    }

    /// Takes what an application set, but for the table.
    #[must_use]
    fn with_settings_of(self, _other: &Self) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// Whether a pooler between us and the server lets statements that were prepared on one connection meet those of
    /// another one.
    fn mixes_statements(
        _one: &mut Connection<Self>,
        _other: &mut Connection<Self>,
    ) -> impl Future<Output = bool> + Send {
        ready(false)
    }

    /// Changes the settings of a new connection that no application uses.
    fn prepare(_: &mut Connection<Self>) -> Prepared<'_> {
        Box::pin(ready(Ok(())))
    }

    /// The live records among these, in any order.
    fn load(
        &self,
        connection: &mut Connection<Self>,
        keys: &[&Key],
    ) -> impl Future<Output = sqlx::Result<Vec<Found>>> + Send;

    fn create(
        &self,
        connection: &mut Connection<Self>,
        items: &[&CreateItem],
    ) -> impl Future<Output = sqlx::Result<Vec<Written>>> + Send;

    fn update(
        &self,
        connection: &mut Connection<Self>,
        items: &[&UpdateItem],
    ) -> impl Future<Output = sqlx::Result<Vec<Written>>> + Send;

    fn touch(
        &self,
        connection: &mut Connection<Self>,
        items: &[&TouchItem],
    ) -> impl Future<Output = sqlx::Result<Vec<Written>>> + Send;

    /// Whether each removed a live record.
    fn destroy(
        &self,
        connection: &mut Connection<Self>,
        items: &[&DestroyItem],
    ) -> impl Future<Output = sqlx::Result<Vec<bool>>> + Send;

    /// The statement of this name, for as many rows as it has room for, to look at its plan.
    fn statement(&self, name: &str, rows: usize) -> Option<SqlStr>;

    /// How many expired records were removed, at most `limit`.
    fn gc(
        &self,
        connection: &mut Connection<Self>,
        limit: i64,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// The next keys of an owner's live records, in ascending order.
    fn owned(
        &self,
        connection: &mut Connection<Self>,
        page: Page<'_>,
    ) -> impl Future<Output = sqlx::Result<Vec<Key>>> + Send;

    /// Creates what is missing. With everything there, it needs no right to create anything.
    fn migrate(
        &self,
        connection: &mut Connection<Self>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// A row that was found, or `Err` if it is not a session.
pub(crate) type Found = (Key, Result<Loaded>);

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    Gone,
    Conflict,
    Exists,
}

impl Written {
    /// Of an update or touch that matched nothing, by the revision of the live record.
    pub(crate) fn unmatched(current: Option<Revision>) -> Self {
        current.map_or(Self::Gone, |_| Self::Conflict)
    }
}

impl From<Written> for Result<()> {
    fn from(written: Written) -> Self {
        match written {
            Written::Done => Ok(()),
            Written::Gone => Err(Error::gone()),
            Written::Conflict => Err(Error::conflict()),
            Written::Exists => Err(Error::already_exists()),
        }
    }
}

/// A ttl as a statement takes it.
pub(crate) fn millis(ttl: Duration) -> i64 {
    let millis = ttl_millis(ttl).expect("items with a ttl of zero get no further than the engine");
    i64::try_from(millis).expect("MAX_TTL has far less than 2^63 ms")
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) fn bytes(key: &Key) -> &[u8] {
    &key.as_bytes()[..]
}

pub(crate) fn owner_bytes(record: &Record) -> Option<&[u8]> {
    record.owner.as_ref().map(|owner| owner.as_str().as_bytes())
}

/// Reads a row of (key, revision, owner, payload, remaining milliseconds); `None` for one whose key
/// is not a key, or that expires at this moment.
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

/// The keys in the first column.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn keys<'r, R>(rows: &'r [R]) -> HashSet<Key>
where
    R: Row,
    usize: ColumnIndex<R>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    rows.iter().filter_map(key).collect()
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
        expires_in: Duration::from_millis(u64::try_from(remaining).unwrap_or(0)),
    })
}

/// The driver's error may quote the value, therefore it is left out.
fn not_a_record<T>(_: T) -> Error {
    Error::corrupt("the row is not a session: a column holds something else; destroy it")
}
