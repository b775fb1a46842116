//! Binds keys and records to statements that have room for a fixed number of them.

use session_core::{Key, Record};
use sqlx::mysql::MySqlArguments;

use crate::dialect::{bytes, owner_bytes};
use crate::ladder::Ladder;

pub(super) type Query = sqlx::query::Query<'static, sqlx::MySql, MySqlArguments>;

/// The smallest row again and again where there is room for more.
pub(super) fn filled_up<'a, I>(
    items: &[&'a I],
    room: usize,
    record: fn(&I) -> &Record,
) -> impl Iterator<Item = &'a I> {
    let smallest = items.iter().copied().min_by_key(|item| record(item).payload.len());
    items.iter().copied().chain(smallest.into_iter().cycle()).take(room)
}

/// A statement on keys, after one number where there is one. The last key is repeated where there is
/// room for more.
pub(super) fn on_keys<'k>(
    statements: &Ladder,
    first: Option<i64>,
    keys: impl ExactSizeIterator<Item = &'k Key>,
) -> Query {
    let (statement, room) = statements.step(keys.len());
    let padding = room - keys.len();
    let mut query = sqlx::query(statement);
    if let Some(first) = first {
        query = query.bind(first);
    }
    let mut last = None;
    for key in keys {
        query = query.bind(bytes(key));
        last = Some(key);
    }
    (0..padding).fold(query, |query, _| query.bind(last.map(bytes)))
}

pub(super) fn row_values(query: Query, key: &Key, record: &Record) -> Query {
    query
        .bind(bytes(key))
        .bind(record.revision.to_i64())
        .bind(&record.payload[..])
        .bind(owner_bytes(record))
}
