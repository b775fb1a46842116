//! The text of the statements for MySQL and MariaDB.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::ladder::{Ladder, list};
use crate::table::Table;

/// Milliseconds since 1970 at the statement's start, whatever the time zone of the session is.
const NOW: &str = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";

#[derive(Clone, Debug)]
pub(super) struct Statements {
    pub(super) table: Table,
    pub(super) load: Ladder,
    pub(super) insert: SqlStr,
    pub(super) replace_expired: SqlStr,
    pub(super) insert_many: Ladder,
    pub(super) update_one: SqlStr,
    pub(super) hold: Ladder,
    pub(super) overwrite: Ladder,
    pub(super) touch: SqlStr,
    pub(super) standing: Ladder,
    pub(super) there: Ladder,
    pub(super) destroy: SqlStr,
    pub(super) gc: SqlStr,
}

impl Statements {
    pub(super) fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('`');
        let columns = "id_hash, revision, payload, owner, expires_at";
        let update_one = |set_key: &str| {
            sql(format!(
                "UPDATE {t} SET {set_key} revision = ?, payload = ?, owner = ?, \
                 expires_at = COALESCE({NOW} + ?, expires_at) \
                 WHERE id_hash = ? AND revision = ? AND expires_at > {NOW}"
            ))
        };
        let of_live = |columns: &str, rows: usize| {
            let keys = list("?", rows);
            format!("SELECT {columns} FROM {t} WHERE id_hash IN ({keys}) AND expires_at > {NOW}")
        };
        Self {
            load: Ladder::new(|rows| {
                let remaining = format!("expires_at - {NOW}");
                of_live(&format!("id_hash, revision, owner, payload, {remaining}"), rows)
            }),
            insert: sql(format!("INSERT INTO {t} ({columns}) VALUES (?, ?, ?, ?, {NOW} + ?)")),
            replace_expired: sql(format!(
                "UPDATE {t} SET revision = ?, payload = ?, owner = ?, expires_at = {NOW} + ? \
                 WHERE id_hash = ? AND expires_at <= {NOW}"
            )),
            // `expires_at` is assigned last: the others look at the old one.
            insert_many: Ladder::new(|rows| {
                let if_expired = |column: &str| {
                    format!("{column} = IF(expires_at <= {NOW}, VALUES({column}), {column})")
                };
                format!(
                    "INSERT INTO {t} ({columns}) VALUES {} ON DUPLICATE KEY UPDATE {}",
                    list(&format!("(?, ?, ?, ?, {NOW} + ?)"), rows),
                    ["revision", "payload", "owner", "expires_at"].map(if_expired).join(", ")
                )
            }),
            update_one: update_one(""),
            hold: Ladder::new(|rows| {
                let rows = of_live("id_hash, revision", rows);
                format!("{rows} ORDER BY id_hash FOR UPDATE")
            }),
            overwrite: Ladder::new(|rows| {
                format!(
                    "INSERT INTO {t} ({columns}) VALUES {} ON DUPLICATE KEY UPDATE \
                     revision = VALUES(revision), payload = VALUES(payload), \
                     owner = VALUES(owner), \
                     expires_at = IF(VALUES(expires_at) = 0, expires_at, VALUES(expires_at))",
                    list(&format!("(?, ?, ?, ?, COALESCE({NOW} + ?, 0))"), rows)
                )
            }),
            touch: sql(format!(
                "UPDATE {t} SET expires_at = {NOW} + ? \
                 WHERE id_hash = ? AND revision = ? AND expires_at > {NOW}"
            )),
            standing: Ladder::new(|rows| of_live("id_hash, revision", rows)),
            there: Ladder::new(|rows| {
                let keys = list("?", rows);
                format!("SELECT id_hash, revision FROM {t} WHERE id_hash IN ({keys})")
            }),
            destroy: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ? AND (? IS NULL OR revision = ?) \
                 AND expires_at > {NOW}"
            )),
            // The index finds the rows; whoever is at work on one keeps it. STRAIGHT_JOIN: else the
            // server may begin with the table itself and wait for each lock.
            gc: sql(format!(
                "DELETE s FROM (SELECT id_hash FROM {t} WHERE expires_at <= {NOW} \
                 ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) AS expired \
                 STRAIGHT_JOIN {t} AS s ON s.id_hash = expired.id_hash \
                 WHERE s.expires_at <= {NOW}"
            )),
            table,
        }
    }

    pub(super) fn schema(&self) -> String {
        let (t, name) = (self.table.quoted('`'), self.table.name());
        format!(
            "CREATE TABLE IF NOT EXISTS {t} (\n    \
             `id_hash` BINARY(32) NOT NULL PRIMARY KEY,\n    \
             `revision` BIGINT NOT NULL,\n    \
             `expires_at` BIGINT NOT NULL,\n    \
             `owner` VARBINARY(255),\n    \
             `payload` LONGBLOB NOT NULL,\n    \
             KEY `{name}_expires_at` (`expires_at`),\n    \
             KEY `{name}_owner` (`owner`)\n\
             ) ENGINE = InnoDB;\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Executor as _, MySqlPool, Row as _};

    use super::*;

    /// Table, type of access and index of each step, for a number and so many keys.
    async fn plan(
        pool: &MySqlPool,
        statement: &SqlStr,
        number: Option<i64>,
        keys: u8,
    ) -> Vec<[String; 3]> {
        let explain = AssertSqlSafe(format!("EXPLAIN {}", statement.as_str()));
        let query = number.into_iter().fold(sqlx::query(explain), |query, one| query.bind(one));
        let query = (0..keys).fold(query, |query, key| query.bind(vec![key; 32]));
        let rows = query.fetch_all(pool).await.unwrap();
        let column = |row: &sqlx::mysql::MySqlRow, name| {
            row.get::<Option<String>, _>(name).unwrap_or_default()
        };
        rows.iter().map(|row| ["table", "type", "key"].map(|name| column(row, name))).collect()
    }

    #[tokio::test]
    async fn the_plans_use_the_indexes() {
        let statements = Statements::new(Table::default());
        let server = test_servers::mariadb::shared().expect("MariaDB");
        let pool = MySqlPool::connect(server.url()).await.unwrap();
        pool.execute(AssertSqlSafe(statements.schema())).await.unwrap();
        let fill = "INSERT INTO sessions SELECT UNHEX(SHA2(seq, 256)), 0, \
                    IF(seq <= 100, seq, 4000000000000 + seq), NULL, '' FROM seq_1_to_20000";
        pool.execute(fill).await.unwrap();
        pool.execute("ANALYZE TABLE sessions").await.unwrap();

        let gc = plan(&pool, &statements.gc, Some(500), 0).await;
        for step in [["sessions", "range", "sessions_expires_at"], ["s", "eq_ref", "PRIMARY"]] {
            assert!(gc.contains(&step.map(str::to_owned)), "{gc:?}");
        }
        for ladder in [&statements.load, &statements.hold, &statements.standing, &statements.there]
        {
            let plan = plan(&pool, &ladder.step(64).0, None, 64).await;
            assert!(plan.iter().all(|[_, _, key]| key == "PRIMARY"), "{plan:?}");
        }
    }

    /// Whoever reads the rows leaves out what has no life left, too; the statement must not rely on it.
    #[tokio::test]
    async fn the_loads_leave_out_what_expired() {
        let statements = Statements::new(Table::parse("leaves_out", true).unwrap());
        let server = test_servers::mariadb::shared().expect("MariaDB");
        let pool = MySqlPool::connect(server.url()).await.unwrap();
        pool.execute(AssertSqlSafe(statements.schema())).await.unwrap();
        let fill = "INSERT INTO leaves_out VALUES (REPEAT(x'00', 32), 0, 0, NULL, ''), \
                    (REPEAT(x'01', 32), 0, 4000000000000, NULL, '')";
        pool.execute(fill).await.unwrap();
        let both = sqlx::query(statements.load.step(2).0).bind(vec![0; 32]).bind(vec![1; 32]);
        let live: Vec<Vec<u8>> =
            both.fetch_all(&pool).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(live, [[1; 32]]);
    }
}
