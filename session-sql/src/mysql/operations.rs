//! The operations on MySQL and MariaDB.

use std::collections::{BTreeMap, HashMap};

use session_core::{CreateItem, DestroyItem, Key, Revision, TouchItem, UpdateItem};
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _, SqlStr, Transaction};

use super::packet;
use super::rows::{filled_up, on_keys, row_values};
use super::statements::MySql;
use super::transaction::{self, BEGIN};
use crate::connections::Prepared;
use crate::dialect::{Dialect, Found, Page, Written, bytes, found, key, millis, owner_bytes};
use crate::failure::{Class, class_of};

/// How often a create that met a row tries to find out what became of that row.
const CREATE_ATTEMPTS: usize = 3;

impl MySql {
    /// The revision of a live record.
    async fn revision(
        &self,
        connection: &mut MySqlConnection,
        key: &Key,
    ) -> sqlx::Result<Option<Revision>> {
        let query = sqlx::query_scalar(self.revision.clone()).bind(bytes(key));
        Ok(query.fetch_optional(connection).await?.map(Revision::from_i64))
    }

    /// Locks these rows until the transaction ends. Returns the revisions of the live records.
    async fn hold(
        &self,
        connection: &mut MySqlConnection,
        keys: impl ExactSizeIterator<Item = &Key>,
    ) -> sqlx::Result<HashMap<Key, Revision>> {
        let mut live = HashMap::new();
        for row in &on_keys(&self.hold, None, keys).fetch_all(connection).await? {
            let (revision, is_live): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            if is_live != 0 {
                live.extend(key(row).map(|key| (key, Revision::from_i64(revision))));
            }
        }
        Ok(live)
    }

    async fn create_one(
        &self,
        connection: &mut MySqlConnection,
        item: &CreateItem,
    ) -> sqlx::Result<Written> {
        for _ in 0..CREATE_ATTEMPTS {
            let query = sqlx::query(self.insert_one.clone());
            let query = row_values(query, &item.key, &item.record).bind(millis(item.ttl));
            match query.execute(&mut *connection).await {
                Ok(_) => return Ok(Written::Done),
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                Err(error) => return Err(error),
            }
            let replaced = sqlx::query(self.replace_expired.clone())
                .bind(item.record.revision.to_i64())
                .bind(&item.record.payload[..])
                .bind(owner_bytes(&item.record))
                .bind(millis(item.ttl))
                .bind(bytes(&item.key))
                .execute(&mut *connection)
                .await?;
            if replaced.rows_affected() > 0 {
                return Ok(Written::Done);
            }
            if self.revision(connection, &item.key).await?.is_some() {
                break;
            }
            // The record that was there is gone by now: try again.
        }
        Ok(Written::Exists)
    }

    /// What is there afterwards tells which were inserted, expired ones as well: a life may be shorter
    /// than this. The insert locks all the rows, also those that it does not change.
    async fn create_together(
        &self,
        connection: &mut MySqlConnection,
        items: &[&CreateItem],
    ) -> sqlx::Result<Vec<Written>> {
        let (statement, room) = self.insert.step(items.len());
        // A row that is there twice finds itself alive and stays as it is.
        let rows = filled_up(items, room, |item| &item.record);
        let query = rows.fold(sqlx::query(statement), |query, item| {
            row_values(query, &item.key, &item.record).bind(millis(item.ttl))
        });
        query.execute(&mut *connection).await?;
        let query = on_keys(&self.there, None, items.iter().map(|item| &item.key));
        let mut there = HashMap::new();
        for row in query.fetch_all(connection).await? {
            let revision: i64 = row.try_get(1)?;
            there.extend(key(&row).map(|key| (key, Revision::from_i64(revision))));
        }
        let written = |item: &&CreateItem| match there.get(&item.key) {
            Some(revision) if *revision == item.record.revision => Written::Done,
            _ => Written::Exists,
        };
        Ok(items.iter().map(written).collect())
    }

    async fn update_together(
        &self,
        connection: &mut MySqlConnection,
        items: &[&UpdateItem],
    ) -> sqlx::Result<Vec<Written>> {
        let live = self.hold(connection, items.iter().map(|item| &item.key)).await?;
        let written = |item: &&UpdateItem| match live.get(&item.key).copied() {
            Some(revision) if revision == item.update.expected => Written::Done,
            other => Written::unmatched(other),
        };
        let written: Vec<_> = items.iter().map(written).collect();
        let matching = done(items, &written);
        if !matching.is_empty() {
            let (statement, room) = self.overwrite.step(matching.len());
            let rows = filled_up(&matching, room, |item| &item.record);
            let query = rows.fold(sqlx::query(statement), |query, item| {
                row_values(query, &item.key, &item.record).bind(item.update.ttl.map(millis))
            });
            query.execute(connection).await?;
        }
        Ok(written)
    }

    /// Those that get the same life, which is nearly always all, go together.
    async fn touch_together(
        &self,
        connection: &mut MySqlConnection,
        items: &[&TouchItem],
    ) -> sqlx::Result<Vec<Written>> {
        let live = self.hold(connection, items.iter().map(|item| &item.key)).await?;
        let written = |item: &&TouchItem| match live.get(&item.key).copied() {
            Some(revision) if revision == item.expected => Written::Done,
            other => Written::unmatched(other),
        };
        let written: Vec<_> = items.iter().map(written).collect();
        let mut by_ttl: BTreeMap<i64, Vec<&Key>> = BTreeMap::new();
        for item in done(items, &written) {
            by_ttl.entry(millis(item.ttl)).or_default().push(&item.key);
        }
        for (ttl, keys) in by_ttl {
            on_keys(&self.touch, Some(ttl), keys.into_iter()).execute(&mut *connection).await?;
        }
        Ok(written)
    }

    async fn destroy_together(
        &self,
        connection: &mut MySqlConnection,
        items: &[&DestroyItem],
    ) -> sqlx::Result<Vec<bool>> {
        let live = self.hold(connection, items.iter().map(|item| &item.key)).await?;
        let matches = |item: &&DestroyItem| {
            live.get(&item.key)
                .is_some_and(|revision| item.only.is_none_or(|only| *revision == only))
        };
        let matching: Vec<_> = items.iter().filter(|item| matches(item)).collect();
        if !matching.is_empty() {
            let keys = matching.iter().map(|item| &item.key);
            on_keys(&self.destroy, None, keys).execute(connection).await?;
        }
        Ok(items.iter().map(matches).collect())
    }
}

/// Ends a transaction at once, whatever its outcome is. Left to itself, one that failed would be rolled
/// back when its connection is used next, and until then keep others from the rows that it locked.
async fn ended<T>(
    transaction: Transaction<'_, sqlx::MySql>,
    outcome: sqlx::Result<T>,
) -> sqlx::Result<T> {
    match outcome {
        Ok(value) => match transaction.commit().await {
            Ok(()) => Ok(value),
            // It is not known what a commit did that failed in an unknown way.
            Err(error) if class_of(&error, MySql::classify) == Class::Other => {
                Err(sqlx::Error::Protocol(error.to_string()))
            }
            Err(error) => Err(error),
        },
        Err(error) => {
            // Where this fails the connection is broken, and the server does it.
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

fn done<'a, I>(items: &[&'a I], written: &[Written]) -> Vec<&'a I> {
    let items = items.iter().zip(written);
    items.filter(|(_, written)| **written == Written::Done).map(|(item, _)| *item).collect()
}

impl Dialect for MySql {
    type Database = sqlx::MySql;

    const NAME: &'static str = "mysql";
    const LOCAL: bool = false;
    const SCHEMAS: bool = true;
    const SCHEMES: &[&str] = &["mysql", "mariadb"];
    const URL: &str = "mysql://user:password@host:port/database";

    fn prepare(connection: &mut MySqlConnection) -> Prepared<'_> {
        Box::pin(transaction::limit(connection))
    }

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
            // A Galera node that is not part of the primary component.
            1047 => Class::NotServing,
            1213 => Class::Aborted,
            1205 => Class::Busy,
            1021 | 1114 => Class::Full,
            // The server's limits, and those of the user.
            1040 | 1203 | 1226 => Class::NoConnection,
            // max_prepared_stmt_count.
            1461 => Class::NoStatement,
            // An unknown statement, a statement to be prepared again.
            1243 | 1615 => Class::Stale,
            1153 | 1301 => Class::TooLarge,
            // The server is shutting down, or this connection was killed.
            1053 | 1079 | 1927 | 4031 => Class::Broken,
            1317 | 1969 | 3024 => Class::Cancelled,
            _ => Class::Other,
        }
    }

    async fn load(
        &self,
        connection: &mut MySqlConnection,
        keys: &[&Key],
    ) -> sqlx::Result<Vec<Found>> {
        let rows = on_keys(&self.load, None, keys.iter().copied()).fetch_all(connection).await?;
        Ok(rows.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut MySqlConnection,
        items: &[&CreateItem],
    ) -> sqlx::Result<Vec<Written>> {
        packet::check(connection, items.iter().map(|item| &item.record)).await?;
        if let [item] = items {
            return Ok(vec![self.create_one(connection, item).await?]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let outcome = self.create_together(&mut transaction, items).await;
        ended(transaction, outcome).await
    }

    async fn update(
        &self,
        connection: &mut MySqlConnection,
        items: &[&UpdateItem],
    ) -> sqlx::Result<Vec<Written>> {
        packet::check(connection, items.iter().map(|item| &item.record)).await?;
        if let [item] = items {
            let found = sqlx::query(self.update_one.clone())
                .bind(item.record.revision.to_i64())
                .bind(&item.record.payload[..])
                .bind(owner_bytes(&item.record))
                .bind(item.update.ttl.map(millis))
                .bind(bytes(&item.key))
                .bind(item.update.expected.to_i64())
                .execute(&mut *connection)
                .await?;
            // The server counts the rows that it found, not those that it changed (sqlx asks for
            // that), therefore an update that changes nothing counts as well.
            if found.rows_affected() > 0 {
                return Ok(vec![Written::Done]);
            }
            let current = self.revision(connection, &item.key).await?;
            return Ok(vec![Written::unmatched(current)]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let outcome = self.update_together(&mut transaction, items).await;
        ended(transaction, outcome).await
    }

    async fn touch(
        &self,
        connection: &mut MySqlConnection,
        items: &[&TouchItem],
    ) -> sqlx::Result<Vec<Written>> {
        if let [item] = items {
            let found = sqlx::query(self.touch_one.clone())
                .bind(millis(item.ttl))
                .bind(bytes(&item.key))
                .bind(item.expected.to_i64())
                .execute(&mut *connection)
                .await?;
            if found.rows_affected() > 0 {
                return Ok(vec![Written::Done]);
            }
            return Ok(vec![Written::unmatched(self.revision(connection, &item.key).await?)]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let outcome = self.touch_together(&mut transaction, items).await;
        ended(transaction, outcome).await
    }

    async fn destroy(
        &self,
        connection: &mut MySqlConnection,
        items: &[&DestroyItem],
    ) -> sqlx::Result<Vec<bool>> {
        if let [item] = items {
            // An expired record is left to gc.
            let only = item.only.map(Revision::to_i64);
            let query = sqlx::query(self.destroy_one.clone()).bind(bytes(&item.key));
            let found = query.bind(only).bind(only).execute(connection).await?;
            return Ok(vec![found.rows_affected() > 0]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let outcome = self.destroy_together(&mut transaction, items).await;
        ended(transaction, outcome).await
    }

    fn statement(&self, name: &str, rows: usize) -> Option<SqlStr> {
        let ladder = match name {
            "load" => &self.load,
            "hold" => &self.hold,
            "there" => &self.there,
            "touch" => &self.touch,
            "destroy" => &self.destroy,
            "gc" => return Some(self.gc.clone()),
            "owned" => return Some(self.owned.clone()),
            _ => return None,
        };
        Some(ladder.step(rows).0)
    }

    async fn gc(&self, connection: &mut MySqlConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn owned(
        &self,
        connection: &mut MySqlConnection,
        (owner, after, limit): Page<'_>,
    ) -> sqlx::Result<Vec<Key>> {
        let query = sqlx::query(self.owned.clone()).bind(owner).bind(after).bind(limit);
        Ok(query.fetch_all(connection).await?.iter().filter_map(key).collect())
    }

    async fn migrate(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        if sqlx::raw_sql(self.probe()).execute(&mut *connection).await.is_ok() {
            return Ok(());
        }
        // One statement, indexes included; the server has its own lock for it.
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(connection).await.map(drop)
    }
}
