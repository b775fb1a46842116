//! The operations on MySQL and MariaDB.

use std::collections::HashMap;

use session_core::{Key, Record, Revision};
use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlArguments, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Connection as _, MySql, MySqlConnection, Row as _, Transaction};

use super::statements::Statements;
use crate::dialect::{Birth, Change, Dialect, Extension, Found, Verdict, found, key, owner_bytes};
use crate::fault::Class;
use crate::ladder::Ladder;

/// Locks only rows that are there: no gaps, in which others want to insert.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
/// How often a create that met a row tries to find out what became of it.
const CREATE_ATTEMPTS: usize = 3;

impl Statements {
    /// The revisions under these keys, of live rows but for [`there`](Self::there). With locks
    /// ([`hold`](Self::hold)) they stay so until the transaction ends.
    async fn revisions(
        &self,
        connection: &mut MySqlConnection,
        statements: &Ladder,
        keys: impl ExactSizeIterator<Item = Key>,
    ) -> sqlx::Result<HashMap<Key, Revision>> {
        let rows = keys_query(statements, None, keys).fetch_all(connection).await?;
        let rows = rows.iter().filter_map(|row| Some((key(row)?, row)));
        rows.map(|(key, row)| Ok((key, Revision::from_i64(row.try_get(1)?)))).collect()
    }

    /// What became of an update of one. The server counts the rows that it found, not those that it
    /// changed (sqlx asks for that), therefore an update that changes nothing counts as well.
    async fn verdict_of_one(
        &self,
        connection: &mut MySqlConnection,
        rows_found: u64,
        change: &Change,
    ) -> sqlx::Result<Verdict> {
        if rows_found > 0 {
            return Ok(Verdict::Done);
        }
        let keys = [change.key].into_iter();
        let standing = self.revisions(connection, &self.standing, keys).await?;
        let standing = standing.get(&change.key).copied();
        Ok(Verdict::of_failed_update(standing, change.record.revision))
    }

    async fn create_one(
        &self,
        connection: &mut MySqlConnection,
        birth: &Birth,
    ) -> sqlx::Result<Verdict> {
        for _ in 0..CREATE_ATTEMPTS {
            let insert = birth_values(sqlx::query(self.insert.clone()), birth);
            match insert.execute(&mut *connection).await {
                Ok(_) => return Ok(Verdict::Done),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(error),
            }
            let replaced = sqlx::query(self.replace_expired.clone())
                .bind(birth.record.revision.to_i64())
                .bind(&birth.record.payload[..])
                .bind(owner_bytes(&birth.record))
                .bind(birth.ttl)
                .bind(&birth.key.as_bytes()[..])
                .execute(&mut *connection)
                .await?;
            if replaced.rows_affected() > 0 {
                return Ok(Verdict::Done);
            }
            let keys = [birth.key].into_iter();
            if !self.revisions(connection, &self.standing, keys).await?.is_empty() {
                break;
            }
            // What stood there went in between: its place is free.
        }
        Ok(Verdict::Exists)
    }

    /// What stands under the keys afterwards, dead or alive: a life may be shorter than this. The rows
    /// are locked by the insertion, those that it left as they were as well.
    async fn insert_together(
        &self,
        connection: &mut MySqlConnection,
        births: &[Birth],
    ) -> sqlx::Result<HashMap<Key, Revision>> {
        let (statement, room) = self.insert_many.step(births.len());
        // A row that is there twice finds itself alive and stays as it is.
        let rows = filled_up(births.iter(), room, |birth| &birth.record);
        let query = rows.fold(sqlx::query(statement), birth_values);
        query.execute(&mut *connection).await?;
        let keys = births.iter().map(|birth| birth.key);
        self.revisions(connection, &self.there, keys).await
    }

    /// What stood under the keys before; where it was what a change expects, the change is done.
    async fn overwrite_together(
        &self,
        connection: &mut MySqlConnection,
        changes: &[Change],
    ) -> sqlx::Result<HashMap<Key, Revision>> {
        let keys = changes.iter().map(|change| change.key);
        let standing = self.revisions(&mut *connection, &self.hold, keys).await?;
        let matches = |change: &&Change| standing.get(&change.key) == Some(&change.expected);
        let matching: Vec<&Change> = changes.iter().filter(matches).collect();
        if !matching.is_empty() {
            let (statement, room) = self.overwrite.step(matching.len());
            let rows = filled_up(matching.into_iter(), room, |change| &change.record);
            let query = rows.fold(sqlx::query(statement), |query, change| {
                row_values(query, change.key, &change.record).bind(change.ttl)
            });
            query.execute(connection).await?;
        }
        Ok(standing)
    }
}

/// Ends a transaction at once, whatever became of it. Left to itself, one that failed would be rolled
/// back when its connection is used next, and until then keep others from the rows that it locked.
async fn ended<T>(
    transaction: Transaction<'_, MySql>,
    outcome: sqlx::Result<T>,
) -> sqlx::Result<T> {
    match outcome {
        Ok(value) => transaction.commit().await.map(|()| value),
        Err(error) => {
            // Where this fails the connection is broken, and the server does it.
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

/// The smallest row again and again where there is room for more.
fn filled_up<'a, T: 'a>(
    rows: impl Iterator<Item = &'a T> + Clone,
    room: usize,
    record: fn(&T) -> &Record,
) -> impl Iterator<Item = &'a T> {
    let smallest = rows.clone().min_by_key(|row| record(row).payload.len());
    rows.chain(smallest.into_iter().cycle()).take(room)
}

type Query = sqlx::query::Query<'static, MySql, MySqlArguments>;

/// A statement on keys, after one number where there is one; the last key is repeated where there
/// is room for more.
fn keys_query(
    statements: &Ladder,
    first: Option<i64>,
    keys: impl ExactSizeIterator<Item = Key>,
) -> Query {
    let (statement, room) = statements.step(keys.len());
    let padding = room - keys.len();
    let mut query = sqlx::query(statement);
    if let Some(first) = first {
        query = query.bind(first);
    }
    let mut last = None;
    for key in keys {
        query = query.bind(key.as_bytes().to_vec());
        last = Some(key);
    }
    (0..padding).fold(query, |query, _| query.bind(last.map(|key| key.as_bytes().to_vec())))
}

fn birth_values(query: Query, birth: &Birth) -> Query {
    row_values(query, birth.key, &birth.record).bind(birth.ttl)
}

fn row_values(query: Query, key: Key, record: &Record) -> Query {
    query
        .bind(&key.as_bytes()[..])
        .bind(record.revision.to_i64())
        .bind(&record.payload[..])
        .bind(owner_bytes(record))
}

fn change_query(query: Query, change: &Change) -> Query {
    query
        .bind(change.record.revision.to_i64())
        .bind(&change.record.payload[..])
        .bind(owner_bytes(&change.record))
        .bind(change.ttl)
        .bind(&change.key.as_bytes()[..])
        .bind(change.expected.to_i64())
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

impl Dialect for Statements {
    type Database = MySql;

    const NAME: &'static str = "mysql";
    const ONE_WRITER: bool = false;
    const SCHEMAS: bool = true;

    fn classify(error: &dyn DatabaseError) -> Class {
        let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() else {
            return Class::Other;
        };
        match error.number() {
            1062 => Class::Duplicate,
            // An unknown table, column or database of the table.
            1146 | 1054 => Class::NoTable,
            1044 | 1045 | 1049 | 1142 | 1143 | 1698 => Class::Denied,
            // --read-only, --super-read-only, a read-only transaction.
            1290 | 1792 | 1836 => Class::ReadOnly,
            1213 => Class::Aborted,
            1205 => Class::Busy,
            1021 | 1114 => Class::Full,
            1040 | 1047 | 1203 | 1226 | 1461 => Class::NoConnection,
            1153 | 1301 => Class::TooLarge,
            // The server is shutting down, or this connection was killed.
            1053 | 1079 | 1927 | 4031 => Class::Lost,
            1317 | 1969 | 3024 => Class::Cancelled,
            _ => Class::Other,
        }
    }

    async fn load(
        &self,
        connection: &mut MySqlConnection,
        keys: &[Key],
    ) -> sqlx::Result<Vec<Found>> {
        let query = keys_query(&self.load, None, keys.iter().copied());
        let rows = query.fetch_all(connection).await?;
        Ok(rows.iter().filter_map(found).collect())
    }

    /// Many are inserted where nothing or something expired stands, and what stands there afterwards
    /// tells which were: the transaction holds the rows meanwhile.
    async fn create(
        &self,
        connection: &mut MySqlConnection,
        births: &[Birth],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [birth] = births {
            return Ok(vec![self.create_one(connection, birth).await?]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let standing = self.insert_together(&mut transaction, births).await;
        let standing = ended(transaction, standing).await?;
        let ours = |birth: &Birth| standing.get(&birth.key) == Some(&birth.record.revision);
        let verdict = |birth| if ours(birth) { Verdict::Done } else { Verdict::Exists };
        Ok(births.iter().map(verdict).collect())
    }

    /// Many are locked, compared and overwritten in one transaction.
    async fn update(
        &self,
        connection: &mut MySqlConnection,
        changes: &[Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [change] = changes {
            let query = change_query(sqlx::query(self.update_one.clone()), change);
            let found = query.execute(&mut *connection).await?.rows_affected();
            return Ok(vec![self.verdict_of_one(connection, found, change).await?]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let standing = self.overwrite_together(&mut transaction, changes).await;
        let standing = ended(transaction, standing).await?;
        let verdict = |change: &Change| match standing.get(&change.key).copied() {
            Some(revision) if revision == change.expected => Verdict::Done,
            other => Verdict::of_failed_update(other, change.record.revision),
        };
        Ok(changes.iter().map(verdict).collect())
    }

    async fn touch(
        &self,
        connection: &mut MySqlConnection,
        extensions: &[Extension],
    ) -> sqlx::Result<Vec<Verdict>> {
        let mut verdicts = Vec::with_capacity(extensions.len());
        for Extension { key, expected, ttl } in extensions {
            let query = sqlx::query(self.touch.clone())
                .bind(*ttl)
                .bind(key.as_bytes().to_vec())
                .bind(expected.to_i64());
            verdicts.push(match query.execute(&mut *connection).await?.rows_affected() {
                0 => {
                    let keys = [*key].into_iter();
                    let current = self.revisions(connection, &self.standing, keys).await?;
                    Verdict::of_failed_touch(current.get(key).copied())
                }
                _ => Verdict::Done,
            });
        }
        Ok(verdicts)
    }

    /// An expired record is left to gc.
    async fn destroy(
        &self,
        connection: &mut MySqlConnection,
        key: &Key,
        only: Option<Revision>,
    ) -> sqlx::Result<bool> {
        let only = only.map(Revision::to_i64);
        let query = sqlx::query(self.destroy.clone()).bind(&key.as_bytes()[..]);
        let done = query.bind(only).bind(only).execute(connection).await?;
        Ok(done.rows_affected() > 0)
    }

    fn gc_statement(&self) -> &str {
        self.gc.as_str()
    }

    async fn gc(&self, connection: &mut MySqlConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn migrate(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        // One statement, indexes included; the server has its own lock for it.
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(connection).await.map(drop)
    }
}
