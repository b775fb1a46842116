//! The text of the statements for MySQL and MariaDB.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::ladder::{Ladder, list};
use crate::table::Table;

/// Milliseconds since 1970 at the statement's start, in any time zone of the session.
const START: &str = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";
/// The same at the moment of evaluation: a statement that waited for a row's lock has to judge by the
/// time at which it got it. `SYSDATE` has the session's time zone, therefore only its distance from the
/// statement's start counts.
const NOW: &str = "((TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) + \
                   GREATEST(0, TIMESTAMPDIFF(MICROSECOND, NOW(3), SYSDATE(3)))) DIV 1000)";

#[derive(Debug)]
pub(super) struct MySql {
    pub(super) table: Table,
    pub(super) load: Ladder,
    pub(super) insert_one: SqlStr,
    pub(super) replace_expired: SqlStr,
    pub(super) insert: Ladder,
    pub(super) update_one: SqlStr,
    pub(super) hold: Ladder,
    pub(super) overwrite: Ladder,
    pub(super) touch_one: SqlStr,
    pub(super) touch: Ladder,
    pub(super) revision: SqlStr,
    pub(super) there: Ladder,
    pub(super) destroy_one: SqlStr,
    pub(super) destroy: Ladder,
    pub(super) gc: SqlStr,
    pub(super) owned: SqlStr,
}

impl MySql {
    pub(super) fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('`');
        let columns = "id_hash, revision, payload, owner, expires_at";
        // On the rows of these keys.
        let on_keys = |before: &str, after: &str| {
            Ladder::keys(|rows| {
                format!("{before} WHERE id_hash IN ({keys}){after}", keys = list("?", rows))
            })
        };
        Self {
            load: on_keys(
                &format!("SELECT id_hash, revision, owner, payload, expires_at - {START} FROM {t}"),
                &format!(" AND expires_at > {START}"),
            ),
            insert_one: sql(format!("INSERT INTO {t} ({columns}) VALUES (?, ?, ?, ?, {NOW} + ?)")),
            replace_expired: sql(format!(
                "UPDATE {t} SET revision = ?, payload = ?, owner = ?, expires_at = {NOW} + ? \
                 WHERE id_hash = ? AND expires_at <= {NOW}"
            )),
            // `expires_at` is assigned last: the others look at the old one.
            insert: Ladder::rows(|rows| {
                let if_expired = |column: &str| {
                    format!("{column} = IF(expires_at <= {START}, VALUES({column}), {column})")
                };
                format!(
                    "INSERT INTO {t} ({columns}) VALUES {} ON DUPLICATE KEY UPDATE {}",
                    list(&format!("(?, ?, ?, ?, {START} + ?)"), rows),
                    ["revision", "payload", "owner", "expires_at"].map(if_expired).join(", ")
                )
            }),
            update_one: sql(format!(
                "UPDATE {t} SET revision = ?, payload = ?, owner = ?, \
                 expires_at = COALESCE({NOW} + ?, expires_at) \
                 WHERE id_hash = ? AND revision = ? AND expires_at > {NOW}"
            )),
            // Each row is locked before its deadline is looked at.
            hold: on_keys(
                &format!("SELECT id_hash, revision, expires_at > {NOW} FROM {t}"),
                " ORDER BY id_hash FOR UPDATE",
            ),
            overwrite: Ladder::rows(|rows| {
                format!(
                    "INSERT INTO {t} ({columns}) VALUES {} ON DUPLICATE KEY UPDATE \
                     revision = VALUES(revision), payload = VALUES(payload), \
                     owner = VALUES(owner), \
                     expires_at = IF(VALUES(expires_at) = 0, expires_at, VALUES(expires_at))",
                    list(&format!("(?, ?, ?, ?, COALESCE({START} + ?, 0))"), rows)
                )
            }),
            touch_one: sql(format!(
                "UPDATE {t} SET expires_at = {NOW} + ? \
                 WHERE id_hash = ? AND revision = ? AND expires_at > {NOW}"
            )),
            touch: on_keys(&format!("UPDATE {t} SET expires_at = {START} + ?"), ""),
            revision: sql(format!(
                "SELECT revision FROM {t} WHERE id_hash = ? AND expires_at > {START}"
            )),
            there: on_keys(&format!("SELECT id_hash, revision FROM {t}"), ""),
            destroy_one: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ? AND (? IS NULL OR revision = ?) \
                 AND expires_at > {NOW}"
            )),
            destroy: on_keys(&format!("DELETE FROM {t}"), ""),
            owned: sql(format!(
                "SELECT id_hash FROM {t} WHERE owner = ? AND id_hash > ? AND expires_at > {START} \
                 ORDER BY id_hash LIMIT ?"
            )),
            // The index finds the rows, but for those that are locked. STRAIGHT_JOIN: otherwise the
            // server may begin with the table itself and wait for each lock.
            gc: sql(format!(
                "DELETE s FROM (SELECT id_hash FROM {t} WHERE expires_at <= {START} \
                 ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) AS expired \
                 STRAIGHT_JOIN {t} AS s ON s.id_hash = expired.id_hash \
                 WHERE s.expires_at <= {START}"
            )),
            table,
        }
    }

    /// Fails where there is no such table with such columns.
    pub(super) fn probe(&self) -> SqlStr {
        let t = self.table.quoted('`');
        let columns = "id_hash, revision, expires_at, owner, payload";
        AssertSqlSafe(format!("SELECT {columns} FROM {t} LIMIT 0")).into_sql_str()
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
