//! The operations on PostgreSQL.

use std::collections::HashMap;

use session_core::{CreateItem, DestroyItem, Key, Record, Revision, TouchItem, UpdateItem};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqlStr};

use super::statements::Postgres;
use crate::dialect::{Dialect, Found, Page, Written, bytes, found, key, keys, millis, owner_bytes};
use crate::failure::Class;

/// "session", for the advisory lock of migrations.
const MIGRATION_LOCK: i64 = 0x73_65_73_73_69_6f_6e;

type Query = sqlx::query::Query<'static, sqlx::Postgres, PgArguments>;

impl Postgres {
    /// Prepared once per connection, but for a pooler: without a name then, for one use.
    fn query(&self, statement: &SqlStr) -> Query {
        sqlx::query(statement.clone()).persistent(!self.has_pooler)
    }

    /// Of a row that another transaction changed while the statement waited for it, the statement's
    /// snapshot still shows the expected revision. Then the revision is looked up once more.
    async fn update_one(
        &self,
        connection: &mut PgConnection,
        item: &UpdateItem,
    ) -> sqlx::Result<Written> {
        let row = self
            .query(&self.update_one)
            .bind(bytes(&item.key))
            .bind(item.update.expected.to_i64())
            .bind(item.record.revision.to_i64())
            .bind(&item.record.payload[..])
            .bind(owner_bytes(&item.record))
            .fetch_one(&mut *connection)
            .await?;
        if row.try_get(0)? {
            return Ok(Written::Done);
        }
        let mut current: Option<i64> = row.try_get(1)?;
        if current == Some(item.update.expected.to_i64()) {
            let query = self.query(&self.revision).bind(bytes(&item.key));
            current =
                query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()?;
        }
        Ok(Written::unmatched(current.map(Revision::from_i64)))
    }
}

/// The live rows of a statement that locked them: whether each was written, and the revision before.
fn live(rows: &[PgRow]) -> sqlx::Result<HashMap<Key, (bool, Revision)>> {
    let rows = rows.iter().filter_map(|row| Some((key(row)?, row)));
    rows.map(|(key, row)| Ok((key, (row.try_get(1)?, Revision::from_i64(row.try_get(2)?)))))
        .collect()
}

/// A column of a batch.
fn column<'a, I, T>(items: &[&'a I], of: impl Fn(&'a I) -> T) -> Vec<T> {
    items.iter().map(|item| of(item)).collect()
}

fn revision(record: &Record) -> i64 {
    record.revision.to_i64()
}

impl Dialect for Postgres {
    type Database = sqlx::Postgres;

    const NAME: &'static str = "postgres";
    const LOCAL: bool = false;
    const SCHEMAS: bool = true;
    const SCHEMES: &[&str] = &["postgres", "postgresql"];
    const URL: &str = "postgres://user:password@host:port/database";

    fn has_pooler(&self) -> bool {
        self.has_pooler
    }

    fn with_settings_of(self, other: &Self) -> Self {
        Self { has_pooler: other.has_pooler, ..self }
    }

    /// Both prepare a statement, and the driver gives both the same name.
    async fn mixes_statements(one: &mut PgConnection, other: &mut PgConnection) -> bool {
        for _ in 0..3 {
            for (connection, number) in [(&mut *one, 1), (&mut *other, 2)] {
                let statement = if number == 1 { "SELECT 1" } else { "SELECT 2" };
                match sqlx::query_scalar::<_, i32>(statement).fetch_one(connection).await {
                    Ok(found) if found == number => {}
                    Ok(_) => return true,
                    Err(sqlx::Error::Database(error)) => {
                        return Self::classify(&*error) == Class::Stale;
                    }
                    Err(_) => return false,
                }
            }
        }
        false
    }

    fn classify(error: &dyn DatabaseError) -> Class {
        match error.code().as_deref().unwrap_or_default() {
            "23505" => Class::Duplicate,
            // A changed column, a statement that is known already or not at all: a pooler between.
            "0A000" | "42P05" | "26000" => Class::Stale,
            // A pooler also reports so that it lost the server, maybe after the commit.
            "08P01" if error.message().contains("prepared statement") => Class::Stale,
            // An undefined table, column or schema, or one of another type.
            "42P01" | "42703" | "3F000" | "42804" | "42883" => Class::NoTable,
            "28000" | "28P01" | "3D000" | "42501" => Class::Denied,
            "25006" => Class::ReadOnly,
            "40001" | "40P01" => Class::Aborted,
            // Also out of memory.
            "55P03" | "53200" => Class::Busy,
            "53100" => Class::Full,
            "53300" | "53400" => Class::NoConnection,
            "57P03" => Class::NotServing,
            "54000" => Class::TooLarge,
            // The server ended this connection.
            "57P01" | "57P02" | "57P05" | "25P03" => Class::Broken,
            code if code.starts_with("08") => Class::Broken,
            "57014" => Class::Cancelled,
            _ => Class::Other,
        }
    }

    async fn load(&self, connection: &mut PgConnection, keys: &[&Key]) -> sqlx::Result<Vec<Found>> {
        let query = match keys {
            [key] => self.query(&self.load_one).bind(bytes(key)),
            keys => self.query(&self.load).bind(column(keys, bytes)),
        };
        Ok(query.fetch_all(connection).await?.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut PgConnection,
        items: &[&CreateItem],
    ) -> sqlx::Result<Vec<Written>> {
        let rows = self
            .query(&self.create)
            .bind(column(items, |item| bytes(&item.key)))
            .bind(column(items, |item| revision(&item.record)))
            .bind(column(items, |item| &item.record.payload[..]))
            .bind(column(items, |item| owner_bytes(&item.record)))
            .bind(column(items, |item| millis(item.ttl)))
            .fetch_all(connection)
            .await?;
        let created = keys(&rows);
        Ok(column(items, |item| match created.contains(&item.key) {
            true => Written::Done,
            false => Written::Exists,
        }))
    }

    async fn update(
        &self,
        connection: &mut PgConnection,
        items: &[&UpdateItem],
    ) -> sqlx::Result<Vec<Written>> {
        if let [item] = items
            && item.update.ttl.is_none()
        {
            return Ok(vec![self.update_one(connection, item).await?]);
        }
        let rows = self
            .query(&self.update)
            .bind(column(items, |item| bytes(&item.key)))
            .bind(column(items, |item| item.update.expected.to_i64()))
            .bind(column(items, |item| revision(&item.record)))
            .bind(column(items, |item| &item.record.payload[..]))
            .bind(column(items, |item| owner_bytes(&item.record)))
            .bind(column(items, |item| item.update.ttl.map(millis)))
            .fetch_all(connection)
            .await?;
        let live = live(&rows)?;
        Ok(column(items, |item| match live.get(&item.key) {
            Some((true, _)) => Written::Done,
            other => Written::unmatched(other.map(|(_, current)| *current)),
        }))
    }

    async fn touch(
        &self,
        connection: &mut PgConnection,
        items: &[&TouchItem],
    ) -> sqlx::Result<Vec<Written>> {
        let rows = self
            .query(&self.touch)
            .bind(column(items, |item| bytes(&item.key)))
            .bind(column(items, |item| item.expected.to_i64()))
            .bind(column(items, |item| millis(item.ttl)))
            .fetch_all(connection)
            .await?;
        let live = live(&rows)?;
        Ok(column(items, |item| match live.get(&item.key) {
            Some((true, _)) => Written::Done,
            other => Written::unmatched(other.map(|(_, current)| *current)),
        }))
    }

    async fn destroy(
        &self,
        connection: &mut PgConnection,
        items: &[&DestroyItem],
    ) -> sqlx::Result<Vec<bool>> {
        let rows = self
            .query(&self.destroy)
            .bind(column(items, |item| bytes(&item.key)))
            .bind(column(items, |item| item.only.map(Revision::to_i64)))
            .fetch_all(connection)
            .await?;
        let removed = rows.iter().filter_map(|row| Some((key(row)?, row)));
        let removed = removed.map(|(key, row)| Ok((key, row.try_get(1)?)));
        let removed: HashMap<Key, bool> = removed.collect::<sqlx::Result<_>>()?;
        Ok(column(items, |item| removed.get(&item.key).copied().unwrap_or(false)))
    }

    fn statement(&self, name: &str, _rows: usize) -> Option<SqlStr> {
        let all = [
            ("load_one", &self.load_one),
            ("load", &self.load),
            ("update_one", &self.update_one),
            ("update", &self.update),
            ("touch", &self.touch),
            ("destroy", &self.destroy),
            ("gc", &self.gc),
            ("owned", &self.owned),
        ];
        all.into_iter().find(|(one, _)| *one == name).map(|(_, statement)| statement.clone())
    }

    async fn gc(&self, connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
        let query = self.query(&self.gc).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn owned(
        &self,
        connection: &mut PgConnection,
        (owner, after, limit): Page<'_>,
    ) -> sqlx::Result<Vec<Key>> {
        let query = self.query(&self.owned).bind(owner).bind(after).bind(limit);
        Ok(query.fetch_all(connection).await?.iter().filter_map(key).collect())
    }

    async fn migrate(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        // In one message each: a pooler may lead two messages to two connections of the server.
        let complete = sqlx::raw_sql(self.is_complete()).fetch_one(&mut *connection).await?;
        if complete.try_get(0)? {
            return Ok(());
        }
        // IF NOT EXISTS alone is not safe against another process that is creating the same.
        let mut transaction = connection.begin().await?;
        let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await?;
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
