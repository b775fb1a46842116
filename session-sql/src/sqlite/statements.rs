//! The text of the statements for SQLite.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::ladder::{Ladder, list};
use crate::table::Table;

/// Milliseconds since 1970, one value for the whole statement.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

#[derive(Clone, Debug)]
pub(super) struct Statements {
    pub(super) table: Table,
    pub(super) load: Ladder,
    pub(super) create: Ladder,
    pub(super) update_one: SqlStr,
    pub(super) renew_one: SqlStr,
    pub(super) update: Ladder,
    pub(super) renew: Ladder,
    pub(super) touch: Ladder,
    pub(super) standing: Ladder,
    pub(super) destroy: SqlStr,
    pub(super) gc: SqlStr,
}

impl Statements {
    pub(super) fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('"');
        // A deadline that is assigned, even to itself, costs as much as all the rest: its index is
        // written. Most updates leave it alone, therefore they have statements of their own.
        let update_one = |set: &str| {
            sql(format!(
                "UPDATE {t} SET revision = ?3, payload = ?4, owner = ?5 {set} \
                 WHERE id_hash = ?1 AND revision = ?2 AND expires_at > {NOW}"
            ))
        };
        let renew = format!(", expires_at = coalesce({NOW} + ?6, expires_at)");
        // The `+` keeps the planner from walking the index of the deadlines, which are nearly all.
        let update = |set: String| {
            Ladder::new(|rows| {
                format!(
                    "UPDATE {t} AS s SET revision = i.column3, payload = i.column4, \
                     owner = i.column5 {set} FROM (VALUES {}) AS i WHERE s.id_hash = i.column1 \
                     AND +s.revision = i.column2 AND +s.expires_at > {NOW} RETURNING id_hash",
                    list("(?, ?, ?, ?, ?, ?)", rows)
                )
            })
        };
        Self {
            load: Ladder::new(|rows| {
                format!(
                    "SELECT id_hash, revision, owner, payload, expires_at - {NOW} FROM {t} \
                     WHERE id_hash IN ({}) AND +expires_at > {NOW}",
                    list("?", rows)
                )
            }),
            create: Ladder::new(|rows| {
                format!(
                    "INSERT INTO {t} AS s (id_hash, revision, payload, owner, expires_at) \
                     SELECT column1, column2, column3, column4, {NOW} + column5 \
                     FROM (VALUES {}) WHERE column1 IS NOT NULL \
                     ON CONFLICT (id_hash) DO UPDATE SET revision = excluded.revision, \
                     payload = excluded.payload, owner = excluded.owner, \
                     expires_at = excluded.expires_at WHERE s.expires_at <= {NOW} \
                     RETURNING id_hash",
                    list("(?, ?, ?, ?, ?)", rows)
                )
            }),
            update_one: update_one(""),
            renew_one: update_one(&renew),
            update: update(String::new()),
            renew: update(format!(", expires_at = coalesce({NOW} + i.column6, s.expires_at)")),
            touch: Ladder::new(|rows| {
                format!(
                    "UPDATE {t} AS s SET expires_at = {NOW} + i.column3 \
                     FROM (VALUES {}) AS i WHERE s.id_hash = i.column1 \
                     AND +s.revision = i.column2 AND +s.expires_at > {NOW} RETURNING id_hash",
                    list("(?, ?, ?)", rows)
                )
            }),
            standing: Ladder::new(|rows| {
                format!(
                    "SELECT id_hash, revision FROM {t} \
                     WHERE id_hash IN ({}) AND expires_at > {NOW}",
                    list("?", rows)
                )
            }),
            destroy: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ?1 AND (?2 IS NULL OR revision = ?2) \
                 RETURNING expires_at > {NOW}"
            )),
            gc: sql(format!(
                "DELETE FROM {t} WHERE id_hash IN (SELECT id_hash FROM {t} \
                 WHERE expires_at <= {NOW} ORDER BY expires_at LIMIT ?1) AND expires_at <= {NOW}"
            )),
            table,
        }
    }

    pub(super) fn schema(&self) -> String {
        let (t, name) = (self.table.quoted('"'), self.table.name());
        format!(
            "CREATE TABLE IF NOT EXISTS {t} (\n    \
             id_hash BLOB NOT NULL PRIMARY KEY CHECK (length(id_hash) = 32),\n    \
             revision INTEGER NOT NULL,\n    \
             expires_at INTEGER NOT NULL,\n    \
             owner BLOB,\n    \
             payload BLOB NOT NULL\n\
             ) WITHOUT ROWID;\n\
             CREATE INDEX IF NOT EXISTS \"{name}_expires_at\" ON {t} (expires_at);\n\
             CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {t} (owner) WHERE owner IS NOT NULL;\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Executor as _, Row as _, SqliteConnection, SqlitePool};

    use super::*;

    async fn plan(connection: &mut SqliteConnection, statement: &SqlStr) -> String {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.as_str()));
        let rows = connection.fetch_all(explain).await.unwrap();
        let lines = rows.iter().map(|row| row.get::<String, _>("detail"));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn the_plans_use_the_indexes() {
        let statements = Statements::new(Table::default());
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        connection.execute(AssertSqlSafe(statements.schema())).await.unwrap();

        let gc = plan(&mut connection, &statements.gc).await;
        assert!(gc.contains("COVERING INDEX sessions_expires_at (expires_at<?)"), "{gc}");
        assert!(gc.contains("PRIMARY KEY (id_hash=?)"), "{gc}");
        assert!(!gc.contains("SCAN sessions"), "{gc}");

        let one = [&statements.update_one, &statements.renew_one, &statements.destroy];
        let ladders = [&statements.load, &statements.update, &statements.renew, &statements.touch];
        let many = ladders.map(|ladder| [1, 64].map(|rows| ladder.step(rows).0));
        let standing = [1, 64].map(|rows| statements.standing.step(rows).0);
        for statement in many.as_flattened().iter().chain(&standing).chain(one) {
            let plan = plan(&mut connection, statement).await;
            assert!(plan.contains("USING PRIMARY KEY (id_hash=?)"), "{statement:?}: {plan}");
            assert!(!plan.contains("expires_at"), "{statement:?}: {plan}");
        }
    }

    /// Whoever reads the rows leaves out what has no life left, too; the statement must not rely on it.
    #[tokio::test]
    async fn the_loads_leave_out_what_expired() {
        let statements = Statements::new(Table::default());
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        connection.execute(AssertSqlSafe(statements.schema())).await.unwrap();
        for (key, deadline) in [(0, 0), (1, 4_000_000_000_000_i64)] {
            let fill = sqlx::query("INSERT INTO sessions VALUES (?, 0, ?, NULL, x'')");
            fill.bind(vec![key; 32]).bind(deadline).execute(&mut *connection).await.unwrap();
        }
        let both = sqlx::query(statements.load.step(2).0).bind(vec![0; 32]).bind(vec![1; 32]);
        let rows = both.fetch_all(&mut *connection).await.unwrap();
        let live: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(live, [[1; 32]]);
    }
}
