//! The text of the statements for SQLite.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::ladder::{Ladder, list};
use crate::table::Table;

/// Milliseconds since 1970, one value for the whole statement.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

#[derive(Debug)]
pub(super) struct Sqlite {
    pub(super) table: Table,
    pub(super) load: Ladder,
    pub(super) create: Ladder,
    pub(super) update_one: SqlStr,
    pub(super) update: Ladder,
    pub(super) renew: Ladder,
    pub(super) touch_one: SqlStr,
    pub(super) touch: Ladder,
    pub(super) revisions: Ladder,
    pub(super) destroy_one: SqlStr,
    pub(super) destroy: Ladder,
    pub(super) gc: SqlStr,
    pub(super) owned: SqlStr,
}

impl Sqlite {
    pub(super) fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('"');
        let of_live = |columns: &str| {
            Ladder::keys(|rows| {
                let keys = list("?", rows);
                format!(
                    "SELECT {columns} FROM {t} WHERE id_hash IN ({keys}) AND +expires_at > {NOW}"
                )
            })
        };
        // A deadline that is assigned, even to itself, costs as much as all the rest: its index is
        // written. Most updates leave it alone, therefore they have a statement of their own.
        // The `+` keeps the planner from walking the index of the deadlines, which are nearly all.
        let update = |set: String| {
            Ladder::rows(|rows| {
                format!(
                    "UPDATE {t} AS s SET revision = i.column3, payload = i.column4, \
                     owner = i.column5 {set} FROM (VALUES {}) AS i WHERE s.id_hash = i.column1 \
                     AND +s.revision = i.column2 AND +s.expires_at > {NOW} RETURNING id_hash",
                    list("(?, ?, ?, ?, ?, ?)", rows)
                )
            })
        };
        Self {
            load: of_live(&format!("id_hash, revision, owner, payload, expires_at - {NOW}")),
            create: Ladder::rows(|rows| {
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
            update_one: sql(format!(
                "UPDATE {t} SET revision = ?3, payload = ?4, owner = ?5 \
                 WHERE id_hash = ?1 AND revision = ?2 AND expires_at > {NOW}"
            )),
            update: update(String::new()),
            renew: update(format!(", expires_at = coalesce({NOW} + i.column6, s.expires_at)")),
            touch_one: sql(format!(
                "UPDATE {t} SET expires_at = {NOW} + ?3 \
                 WHERE id_hash = ?1 AND revision = ?2 AND expires_at > {NOW}"
            )),
            touch: Ladder::rows(|rows| {
                format!(
                    "UPDATE {t} AS s SET expires_at = {NOW} + i.column3 \
                     FROM (VALUES {}) AS i WHERE s.id_hash = i.column1 \
                     AND +s.revision = i.column2 AND +s.expires_at > {NOW} RETURNING id_hash",
                    list("(?, ?, ?)", rows)
                )
            }),
            revisions: of_live("id_hash, revision"),
            destroy_one: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ?1 AND (?2 IS NULL OR revision = ?2) \
                 AND expires_at > {NOW}"
            )),
            destroy: Ladder::rows(|rows| {
                format!(
                    "DELETE FROM {t} WHERE id_hash IN (SELECT s.id_hash \
                     FROM (VALUES {}) AS i CROSS JOIN {t} AS s ON s.id_hash = i.column1 \
                     WHERE i.column2 IS NULL OR +s.revision = i.column2) \
                     RETURNING id_hash, expires_at > {NOW}",
                    list("(?, ?)", rows)
                )
            }),
            owned: sql(format!(
                "SELECT id_hash FROM {t} WHERE owner = ?1 AND id_hash > ?2 AND +expires_at > {NOW} \
                 ORDER BY id_hash LIMIT ?3"
            )),
            gc: sql(format!(
                "DELETE FROM {t} WHERE id_hash IN (SELECT id_hash FROM {t} \
                 WHERE expires_at <= {NOW} ORDER BY expires_at LIMIT ?1) AND expires_at <= {NOW}"
            )),
            table,
        }
    }

    /// Whether the table and its indexes are there.
    pub(super) fn is_complete(&self) -> SqlStr {
        let name = self.table.name();
        AssertSqlSafe(format!(
            "SELECT count(*) = 3 FROM sqlite_master \
             WHERE name IN ('{name}', '{name}_expires_at', '{name}_owner')"
        ))
        .into_sql_str()
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
