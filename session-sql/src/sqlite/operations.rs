//! The operations on SQLite.

use session_core::{Key, Revision};
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection};

use super::statements::Statements;
use crate::dialect::{
    Birth, Change, Dialect, Extension, Found, Verdict, found, key, owner_bytes, verdicts,
};
use crate::fault::Class;
use crate::ladder::Ladder;

impl Statements {
    /// What became of updates that matched nothing. The row they did not write is nobody else's
    /// business, so it may be looked at afterwards.
    async fn explain(
        &self,
        connection: &mut SqliteConnection,
        changes: &[&Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        let keys = changes.iter().map(|change| change.key);
        let rows = keys_query(&self.standing, keys).fetch_all(connection).await?;
        let mut verdicts = Vec::with_capacity(changes.len());
        for change in changes {
            let standing = revision_of(&rows, change.key)?;
            verdicts.push(Verdict::of_failed_update(standing, change.record.revision));
        }
        Ok(verdicts)
    }

    async fn update_one(
        &self,
        connection: &mut SqliteConnection,
        query: Query,
        change: &Change,
    ) -> sqlx::Result<Verdict> {
        match query.execute(&mut *connection).await?.rows_affected() {
            0 => Ok(self.explain(connection, &[change]).await?[0]),
            _ => Ok(Verdict::Done),
        }
    }
}

fn revision_of(rows: &[SqliteRow], of: Key) -> sqlx::Result<Option<Revision>> {
    let row = rows.iter().find(|row| key(*row) == Some(of));
    let revision: Option<i64> = row.map(|row| row.try_get(1)).transpose()?;
    Ok(revision.map(Revision::from_i64))
}

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

fn key_bytes(key: Key) -> Vec<u8> {
    key.as_bytes().to_vec()
}

/// A statement on keys; the last one is repeated where there is room for more.
fn keys_query(statements: &Ladder, keys: impl ExactSizeIterator<Item = Key>) -> Query {
    let (statement, room) = statements.step(keys.len());
    let mut bound = 0;
    let mut last = None;
    let mut query = sqlx::query(statement);
    for key in keys {
        query = query.bind(key_bytes(key));
        last = Some(key);
        bound += 1;
    }
    for _ in bound..room {
        query = query.bind(last.map(key_bytes));
    }
    query
}

fn change_query(query: Query, change: &Change) -> Query {
    query
        .bind(key_bytes(change.key))
        .bind(change.expected.to_i64())
        .bind(change.record.revision.to_i64())
        .bind(change.record.payload.to_vec())
        .bind(owner_bytes(&change.record).map(<[u8]>::to_vec))
        .bind(change.ttl)
}

impl Dialect for Statements {
    type Database = Sqlite;

    const NAME: &'static str = "sqlite";
    const ONE_WRITER: bool = true;
    const SCHEMAS: bool = false;

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
        keys: &[Key],
    ) -> sqlx::Result<Vec<Found>> {
        let query = keys_query(&self.load, keys.iter().copied());
        let rows = query.fetch_all(connection).await?;
        Ok(rows.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut SqliteConnection,
        births: &[Birth],
    ) -> sqlx::Result<Vec<Verdict>> {
        let (statement, room) = self.create.step(births.len());
        let mut query = sqlx::query(statement);
        for Birth { key, record, ttl } in births {
            query = query
                .bind(key_bytes(*key))
                .bind(record.revision.to_i64())
                .bind(record.payload.to_vec())
                .bind(owner_bytes(record).map(<[u8]>::to_vec))
                .bind(*ttl);
        }
        let rows = with_nulls(query, (room - births.len()) * 5).fetch_all(connection).await?;
        let keys = births.iter().map(|birth| birth.key);
        Ok(verdicts(keys, &rows, Verdict::Exists))
    }

    async fn update(
        &self,
        connection: &mut SqliteConnection,
        changes: &[Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [change] = changes {
            let statement = change.ttl.map_or(&self.update_one, |_| &self.renew_one);
            let query = change_query(sqlx::query(statement.clone()), change);
            return Ok(vec![self.update_one(connection, query, change).await?]);
        }
        let renews = changes.iter().any(|change| change.ttl.is_some());
        let statements = if renews { &self.renew } else { &self.update };
        let (statement, room) = statements.step(changes.len());
        let query = changes.iter().fold(sqlx::query(statement), change_query);
        let query = with_nulls(query, (room - changes.len()) * 6);
        let rows = query.fetch_all(&mut *connection).await?;
        let keys = changes.iter().map(|change| change.key);
        let mut outcome = verdicts(keys, &rows, Verdict::Conflict);
        let failed = |verdict: &Verdict| *verdict != Verdict::Done;
        if outcome.iter().any(failed) {
            let of_failed = changes.iter().zip(&outcome).filter(|(_, verdict)| failed(verdict));
            let of_failed: Vec<&Change> = of_failed.map(|(change, _)| change).collect();
            let explained = self.explain(connection, &of_failed).await?;
            let slots = outcome.iter_mut().filter(|verdict| failed(verdict));
            for (slot, verdict) in slots.zip(explained) {
                *slot = verdict;
            }
        }
        Ok(outcome)
    }

    async fn touch(
        &self,
        connection: &mut SqliteConnection,
        extensions: &[Extension],
    ) -> sqlx::Result<Vec<Verdict>> {
        let (statement, room) = self.touch.step(extensions.len());
        let mut query = sqlx::query(statement);
        for Extension { key, expected, ttl } in extensions {
            query = query.bind(key_bytes(*key)).bind(expected.to_i64()).bind(*ttl);
        }
        let query = with_nulls(query, (room - extensions.len()) * 3);
        let rows = query.fetch_all(&mut *connection).await?;
        let keys = extensions.iter().map(|one| one.key);
        let mut outcome = verdicts(keys, &rows, Verdict::Conflict);
        if outcome.contains(&Verdict::Conflict) {
            let keys = extensions.iter().map(|one| one.key);
            let current = keys_query(&self.standing, keys).fetch_all(connection).await?;
            for (one, verdict) in extensions.iter().zip(&mut outcome) {
                if *verdict == Verdict::Conflict {
                    *verdict = Verdict::of_failed_touch(revision_of(&current, one.key)?);
                }
            }
        }
        Ok(outcome)
    }

    async fn destroy(
        &self,
        connection: &mut SqliteConnection,
        key: &Key,
        only: Option<Revision>,
    ) -> sqlx::Result<bool> {
        // All rows, though there is one at most: the commit, which may fail, comes after the last.
        let lived: Vec<bool> = sqlx::query_scalar(self.destroy.clone())
            .bind(key_bytes(*key))
            .bind(only.map(Revision::to_i64))
            .fetch_all(connection)
            .await?;
        Ok(lived == [true])
    }

    fn gc_statement(&self) -> &str {
        self.gc.as_str()
    }

    async fn gc(&self, connection: &mut SqliteConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn migrate(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        // Takes the lock at once: one that reads first and then wants to write may not wait.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

/// Fills up rows; a null key matches nothing.
fn with_nulls(query: Query, parameters: usize) -> Query {
    (0..parameters).fold(query, |query, _| query.bind(None::<i64>))
}
