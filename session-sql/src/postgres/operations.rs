//! The operations on PostgreSQL.

use std::collections::HashMap;

use session_core::{Key, Revision};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _};

use super::statements::Statements;
use crate::dialect::{
    Birth, Change, Dialect, Extension, Found, Verdict, found, key, owner_bytes, verdicts,
};
use crate::fault::Class;

/// "session", for the advisory lock of migrations.
const MIGRATION_LOCK: i64 = 0x73_65_73_73_69_6f_6e;

impl Statements {
    /// The update of one: of a row that somebody changed while the statement waited for it, the
    /// statement's snapshot still shows the expected revision; then it is asked once more.
    async fn verdict_of_one(
        &self,
        connection: &mut PgConnection,
        change: &Change,
        row: &PgRow,
    ) -> sqlx::Result<Verdict> {
        if row.try_get(0)? {
            return Ok(Verdict::Done);
        }
        let mut standing: Option<i64> = row.try_get(1)?;
        if standing == Some(change.expected.to_i64()) {
            standing = sqlx::query_scalar(self.standing.clone())
                .bind(&change.key.as_bytes()[..])
                .fetch_optional(connection)
                .await?;
        }
        let standing = standing.map(Revision::from_i64);
        Ok(Verdict::of_failed_update(standing, change.record.revision))
    }
}

/// The live rows that a statement locked: whether each was written, and the revision before.
fn live_rows(rows: &[PgRow]) -> sqlx::Result<HashMap<Key, (bool, Revision)>> {
    let rows = rows.iter().filter_map(|row| Some((key(row)?, row)));
    rows.map(|(key, row)| Ok((key, (row.try_get(1)?, Revision::from_i64(row.try_get(2)?)))))
        .collect()
}

impl Dialect for Statements {
    type Database = Postgres;

    const NAME: &'static str = "postgres";
    const ONE_WRITER: bool = false;
    const SCHEMAS: bool = true;

    fn classify(error: &dyn DatabaseError) -> Class {
        match error.code().as_deref().unwrap_or_default() {
            "23505" => Class::Duplicate,
            // An undefined table, column or schema, or one of another type.
            "42P01" | "42703" | "3F000" | "42804" | "42883" => Class::NoTable,
            "28000" | "28P01" | "3D000" | "42501" => Class::Denied,
            "25006" => Class::ReadOnly,
            "40001" | "40P01" => Class::Aborted,
            "55P03" | "53200" => Class::Busy,
            "53100" => Class::Full,
            "53300" | "53400" | "57P03" => Class::NoConnection,
            "54000" => Class::TooLarge,
            // The server ended this connection.
            "57P01" | "57P02" | "57P05" | "25P03" => Class::Lost,
            code if code.starts_with("08") => Class::Lost,
            "57014" => Class::Cancelled,
            _ => Class::Other,
        }
    }

    async fn load(&self, connection: &mut PgConnection, keys: &[Key]) -> sqlx::Result<Vec<Found>> {
        let rows = if let [key] = keys {
            let query = sqlx::query(self.load_one.clone()).bind(&key.as_bytes()[..]);
            query.fetch_all(connection).await?
        } else {
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[..]).collect();
            let query = sqlx::query(self.load_many.clone()).bind(keys);
            query.fetch_all(connection).await?
        };
        Ok(rows.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut PgConnection,
        births: &[Birth],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [birth] = births {
            let created = sqlx::query(self.create_one.clone())
                .bind(&birth.key.as_bytes()[..])
                .bind(birth.record.revision.to_i64())
                .bind(&birth.record.payload[..])
                .bind(owner_bytes(&birth.record))
                .bind(birth.ttl)
                .execute(connection)
                .await?;
            let done = created.rows_affected() > 0;
            return Ok(vec![if done { Verdict::Done } else { Verdict::Exists }]);
        }
        let keys: Vec<&[u8]> = births.iter().map(|birth| &birth.key.as_bytes()[..]).collect();
        let revisions: Vec<i64> =
            births.iter().map(|birth| birth.record.revision.to_i64()).collect();
        let payloads: Vec<&[u8]> = births.iter().map(|birth| &birth.record.payload[..]).collect();
        let owners: Vec<Option<&[u8]>> =
            births.iter().map(|birth| owner_bytes(&birth.record)).collect();
        let ttls: Vec<i64> = births.iter().map(|birth| birth.ttl).collect();
        let rows = sqlx::query(self.create_many.clone())
            .bind(keys)
            .bind(revisions)
            .bind(payloads)
            .bind(owners)
            .bind(ttls)
            .fetch_all(connection)
            .await?;
        let keys = births.iter().map(|birth| birth.key);
        Ok(verdicts(keys, &rows, Verdict::Exists))
    }

    async fn update(
        &self,
        connection: &mut PgConnection,
        changes: &[Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [change] = changes {
            let row = sqlx::query(self.update_one.clone())
                .bind(&change.key.as_bytes()[..])
                .bind(change.expected.to_i64())
                .bind(change.record.revision.to_i64())
                .bind(&change.record.payload[..])
                .bind(owner_bytes(&change.record))
                .bind(change.ttl)
                .fetch_one(&mut *connection)
                .await?;
            return Ok(vec![self.verdict_of_one(connection, change, &row).await?]);
        }
        let records = || changes.iter().map(|change| &change.record);
        let keys: Vec<&[u8]> = changes.iter().map(|change| &change.key.as_bytes()[..]).collect();
        let expected: Vec<i64> = changes.iter().map(|change| change.expected.to_i64()).collect();
        let revisions: Vec<i64> = records().map(|record| record.revision.to_i64()).collect();
        let payloads: Vec<&[u8]> = records().map(|record| &record.payload[..]).collect();
        let owners: Vec<Option<&[u8]>> = records().map(owner_bytes).collect();
        let ttls: Vec<Option<i64>> = changes.iter().map(|change| change.ttl).collect();
        let rows = sqlx::query(self.update_many.clone())
            .bind(keys)
            .bind(expected)
            .bind(revisions)
            .bind(payloads)
            .bind(owners)
            .bind(ttls)
            .fetch_all(connection)
            .await?;
        let live = live_rows(&rows)?;
        let verdict = |change: &Change| match live.get(&change.key) {
            Some((true, _)) => Verdict::Done,
            other => Verdict::of_failed_update(
                other.map(|(_, revision)| *revision),
                change.record.revision,
            ),
        };
        Ok(changes.iter().map(verdict).collect())
    }

    async fn touch(
        &self,
        connection: &mut PgConnection,
        extensions: &[Extension],
    ) -> sqlx::Result<Vec<Verdict>> {
        let keys: Vec<&[u8]> = extensions.iter().map(|one| &one.key.as_bytes()[..]).collect();
        let ttls: Vec<i64> = extensions.iter().map(|one| one.ttl).collect();
        let expected: Vec<i64> = extensions.iter().map(|one| one.expected.to_i64()).collect();
        let rows = sqlx::query(self.touch_many.clone())
            .bind(keys)
            .bind(expected)
            .bind(ttls)
            .fetch_all(connection)
            .await?;
        let live = live_rows(&rows)?;
        let verdict = |one: &Extension| match live.get(&one.key) {
            Some((true, _)) => Verdict::Done,
            other => Verdict::of_failed_touch(other.map(|(_, revision)| *revision)),
        };
        Ok(extensions.iter().map(verdict).collect())
    }

    async fn destroy(
        &self,
        connection: &mut PgConnection,
        key: &Key,
        only: Option<Revision>,
    ) -> sqlx::Result<bool> {
        let lived: Option<bool> = sqlx::query_scalar(self.destroy.clone())
            .bind(&key.as_bytes()[..])
            .bind(only.map(Revision::to_i64))
            .fetch_optional(connection)
            .await?;
        Ok(lived.unwrap_or(false))
    }

    fn gc_statement(&self) -> &str {
        self.gc.as_str()
    }

    async fn gc(&self, connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn migrate(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        // IF NOT EXISTS alone is not safe against another process that is creating the same.
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
