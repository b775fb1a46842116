//! The operations on SQLite.

use std::collections::{HashMap, HashSet};

use session_core::{CreateItem, DestroyItem, Key, Record, Revision, TouchItem, UpdateItem};
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqlStr, SqliteConnection};

use super::statements::Sqlite;
use crate::dialect::{Dialect, Found, Page, Written, found, key, keys, millis, owner_bytes};
use crate::failure::Class;
use crate::ladder::Ladder;

type Query = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

impl Sqlite {
    /// The outcome of updates and touches. What became of the rows that were not written is told by the
    /// revisions of the live records: those rows are nobody else's business, therefore they may be looked
    /// at afterwards.
    async fn outcome<I>(
        &self,
        connection: &mut SqliteConnection,
        written: HashSet<Key>,
        items: &[&I],
        key_of: fn(&I) -> &Key,
    ) -> sqlx::Result<Vec<Written>>
    where
        I: Sync,
    {
        let mut revisions = HashMap::new();
        if written.len() < items.len() {
            let all = items.iter().map(|item| key_of(item));
            for row in on_keys(&self.revisions, all).fetch_all(connection).await? {
                let revision: i64 = row.try_get(1)?;
                revisions.extend(key(&row).map(|key| (key, Revision::from_i64(revision))));
            }
        }
        let outcome = |item: &&I| match written.contains(key_of(item)) {
            true => Written::Done,
            false => Written::unmatched(revisions.get(key_of(item)).copied()),
        };
        Ok(items.iter().map(outcome).collect())
    }
}

/// Carries out a statement for one row. It is without RETURNING, for which SQLite would make a table.
async fn written_one(
    connection: &mut SqliteConnection,
    query: Query,
    key: Key,
) -> sqlx::Result<HashSet<Key>> {
    let written = query.execute(connection).await?.rows_affected() > 0;
    Ok(written.then_some(key).into_iter().collect())
}

/// Carries out a statement for many rows.
async fn written_many(
    connection: &mut SqliteConnection,
    query: Query,
) -> sqlx::Result<HashSet<Key>> {
    Ok(keys(&query.fetch_all(connection).await?))
}

fn owned(key: &Key) -> Vec<u8> {
    key.as_bytes().to_vec()
}

/// A statement on keys; the last one is repeated where there is room for more.
fn on_keys<'k>(statements: &Ladder, keys: impl ExactSizeIterator<Item = &'k Key>) -> Query {
    let (statement, room) = statements.step(keys.len());
    let padding = room - keys.len();
    let mut last = None;
    let query = keys.fold(sqlx::query(statement), |query, key| {
        last = Some(key);
        query.bind(owned(key))
    });
    (0..padding).fold(query, |query, _| query.bind(last.map(owned)))
}

/// A statement on rows; a null key, which matches nothing, fills it up.
fn on_rows<I>(
    statements: &Ladder,
    items: &[&I],
    parameters: usize,
    bind: impl FnMut(Query, &&I) -> Query,
) -> Query {
    let (statement, room) = statements.step(items.len());
    let query = items.iter().fold(sqlx::query(statement), bind);
    (items.len() * parameters..room * parameters).fold(query, |query, _| query.bind(None::<i64>))
}

fn record_values(query: Query, record: &Record) -> Query {
    query
        .bind(record.revision.to_i64())
        .bind(record.payload.to_vec())
        .bind(owner_bytes(record).map(<[u8]>::to_vec))
}

fn update_values(query: Query, item: &UpdateItem) -> Query {
    let query = query.bind(owned(&item.key)).bind(item.update.expected.to_i64());
    record_values(query, &item.record)
}

impl Dialect for Sqlite {
    type Database = sqlx::Sqlite;

    const NAME: &'static str = "sqlite";
    const LOCAL: bool = true;
    const SCHEMAS: bool = false;
    const SCHEMES: &[&str] = &["sqlite"];
    const URL: &str = "sqlite:path/to/file";

    fn classify(error: &dyn DatabaseError) -> Class {
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        // The low byte is the class of the error, see https://sqlite.org/rescode.html.
        match (code, code & 0xff) {
            (1555 | 2067, _) => Class::Duplicate,
            (_, 1) if error.message().starts_with("no such") => Class::NoTable,
            (_, 1) if error.message().contains("has no column") => Class::NoTable,
            (_, 5 | 6) => Class::Busy,
            (_, 8) => Class::ReadOnly,
            (_, 13) => Class::Full,
            (_, 14 | 26) => Class::Misconfigured,
            (_, 18) => Class::TooLarge,
            _ => Class::Other,
        }
    }

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        keys: &[&Key],
    ) -> sqlx::Result<Vec<Found>> {
        let rows = on_keys(&self.load, keys.iter().copied()).fetch_all(connection).await?;
        Ok(rows.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut SqliteConnection,
        items: &[&CreateItem],
    ) -> sqlx::Result<Vec<Written>> {
        let query = on_rows(&self.create, items, 5, |query, item| {
            record_values(query.bind(owned(&item.key)), &item.record).bind(millis(item.ttl))
        });
        let created = keys(&query.fetch_all(connection).await?);
        let written = |item: &&CreateItem| match created.contains(&item.key) {
            true => Written::Done,
            false => Written::Exists,
        };
        Ok(items.iter().map(written).collect())
    }

    async fn update(
        &self,
        connection: &mut SqliteConnection,
        items: &[&UpdateItem],
    ) -> sqlx::Result<Vec<Written>> {
        let renews = items.iter().any(|item| item.update.ttl.is_some());
        let written = match items {
            [item] if !renews => {
                let query = update_values(sqlx::query(self.update_one.clone()), item);
                written_one(connection, query, item.key).await?
            }
            items => {
                let statements = if renews { &self.renew } else { &self.update };
                let query = on_rows(statements, items, 6, |query, item| {
                    update_values(query, item).bind(item.update.ttl.map(millis))
                });
                written_many(connection, query).await?
            }
        };
        self.outcome(connection, written, items, |item| &item.key).await
    }

    async fn touch(
        &self,
        connection: &mut SqliteConnection,
        items: &[&TouchItem],
    ) -> sqlx::Result<Vec<Written>> {
        let bind = |query: Query, item: &&TouchItem| {
            let query = query.bind(owned(&item.key)).bind(item.expected.to_i64());
            query.bind(millis(item.ttl))
        };
        let written = match items {
            [item] => {
                let query = bind(sqlx::query(self.touch_one.clone()), item);
                written_one(connection, query, item.key).await?
            }
            items => written_many(connection, on_rows(&self.touch, items, 3, bind)).await?,
        };
        self.outcome(connection, written, items, |item| &item.key).await
    }

    async fn destroy(
        &self,
        connection: &mut SqliteConnection,
        items: &[&DestroyItem],
    ) -> sqlx::Result<Vec<bool>> {
        let bind = |query: Query, item: &&DestroyItem| {
            query.bind(owned(&item.key)).bind(item.only.map(Revision::to_i64))
        };
        if let [item] = items {
            // An expired record is left to gc.
            let query = bind(sqlx::query(self.destroy_one.clone()), item);
            return Ok(vec![!written_one(connection, query, item.key).await?.is_empty()]);
        }
        let rows = on_rows(&self.destroy, items, 2, bind).fetch_all(connection).await?;
        let removed = rows.iter().filter_map(|row| Some((key(row)?, row)));
        let removed = removed.map(|(key, row)| Ok((key, row.try_get(1)?)));
        let removed: HashMap<Key, bool> = removed.collect::<sqlx::Result<_>>()?;
        Ok(items.iter().map(|item| removed.get(&item.key).copied().unwrap_or(false)).collect())
    }

    fn statement(&self, name: &str, rows: usize) -> Option<SqlStr> {
        let ladder = match name {
            "load" => &self.load,
            "update" => &self.update,
            "renew" => &self.renew,
            "touch" => &self.touch,
            "revisions" => &self.revisions,
            "destroy" => &self.destroy,
            "update_one" => return Some(self.update_one.clone()),
            "touch_one" => return Some(self.touch_one.clone()),
            "destroy_one" => return Some(self.destroy_one.clone()),
            "gc" => return Some(self.gc.clone()),
            "owned" => return Some(self.owned.clone()),
            _ => return None,
        };
        Some(ladder.step(rows).0)
    }

    async fn gc(&self, connection: &mut SqliteConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn owned(
        &self,
        connection: &mut SqliteConnection,
        (owner, after, limit): Page<'_>,
    ) -> sqlx::Result<Vec<Key>> {
        let query =
            sqlx::query(self.owned.clone()).bind(owner.to_vec()).bind(after.to_vec()).bind(limit);
        Ok(query.fetch_all(connection).await?.iter().filter_map(key).collect())
    }

    async fn migrate(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        if sqlx::query_scalar(self.is_complete()).fetch_one(&mut *connection).await? {
            return Ok(());
        }
        // Takes the lock at once: one that reads first and then wants to write may not wait.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
