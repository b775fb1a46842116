//! sqlx with a pool of ten: select, upsert, update and delete by the primary key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench_harness::Subject;
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::{Key, LIFE, change, changed_number, payload, random_key};

const CONNECTIONS: u32 = 10;

/// The statements of one database. The parameters of a write are key, payload and expiry.
struct Statements {
    schema: &'static [&'static str],
    select: &'static str,
    insert: &'static str,
    /// Keeps the expiry, as the saves of this project do, so that its index does not change.
    upsert: &'static str,
    touch: &'static str,
    delete: &'static str,
    gc: &'static str,
}

/// SQLite with a write-ahead log and `synchronous = NORMAL`, like session-sql.
pub(crate) async fn sqlite(path: &std::path::Path) -> sqlx::Result<Raw<SqlitePool>> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
    Raw::<SqlitePool>::new(pool, &SQLITE).await
}

/// PostgreSQL.
pub(crate) async fn postgres(url: &str) -> sqlx::Result<Raw<PgPool>> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
    Raw::<PgPool>::new(pool.connect(url).await?, &POSTGRES).await
}

/// MySQL or MariaDB.
pub(crate) async fn mysql(url: &str) -> sqlx::Result<Raw<MySqlPool>> {
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
    Raw::<MySqlPool>::new(pool.connect(url).await?, &MYSQL).await
}

const SQLITE: Statements = Statements {
    schema: &[
        "CREATE TABLE raw (id BLOB PRIMARY KEY, payload BLOB NOT NULL, expires_at INTEGER NOT NULL) \
         WITHOUT ROWID",
        "CREATE INDEX raw_expires_at ON raw (expires_at)",
    ],
    select: "SELECT payload FROM raw WHERE id = ? AND expires_at > ?",
    insert: "INSERT INTO raw (id, payload, expires_at) VALUES (?, ?, ?)",
    upsert: "INSERT INTO raw (id, payload, expires_at) VALUES (?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET payload = excluded.payload",
    touch: "UPDATE raw SET expires_at = ? WHERE id = ?",
    delete: "DELETE FROM raw WHERE id = ?",
    gc: "DELETE FROM raw WHERE expires_at <= ?",
};

const POSTGRES: Statements = Statements {
    schema: &[
        "CREATE TABLE raw (id bytea PRIMARY KEY, payload bytea NOT NULL, expires_at bigint NOT NULL)",
        "CREATE INDEX raw_expires_at ON raw (expires_at)",
    ],
    select: "SELECT payload FROM raw WHERE id = $1 AND expires_at > $2",
    insert: "INSERT INTO raw (id, payload, expires_at) VALUES ($1, $2, $3)",
    upsert: "INSERT INTO raw (id, payload, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET payload = excluded.payload",
    touch: "UPDATE raw SET expires_at = $1 WHERE id = $2",
    delete: "DELETE FROM raw WHERE id = $1",
    gc: "DELETE FROM raw WHERE expires_at <= $1",
};

const MYSQL: Statements = Statements {
    schema: &["CREATE TABLE raw (id binary(32) PRIMARY KEY, payload longblob NOT NULL, \
         expires_at bigint NOT NULL, INDEX raw_expires_at (expires_at))"],
    upsert: "INSERT INTO raw (id, payload, expires_at) VALUES (?, ?, ?) \
             ON DUPLICATE KEY UPDATE payload = VALUES(payload)",
    ..SQLITE
};

pub(crate) struct Raw<P> {
    pool: P,
    statements: &'static Statements,
    payload: Vec<u8>,
}

macro_rules! subject {
    ($pool:ty) => {
        impl Raw<$pool> {
            async fn new(pool: $pool, statements: &'static Statements) -> sqlx::Result<Self> {
                for &statement in statements.schema {
                    sqlx::query(statement).execute(&pool).await?;
                }
                Ok(Self { pool, statements, payload: payload() })
            }

            async fn get(&self, key: &Key) -> Option<Vec<u8>> {
                let query = sqlx::query_scalar(self.statements.select).bind(&key[..]).bind(now());
                query.fetch_optional(&self.pool).await.expect("SELECT works")
            }

            async fn write(&self, sql: &'static str, key: &Key, payload: &[u8], life: Duration) {
                let query =
                    sqlx::query(sql).bind(&key[..]).bind(payload).bind(now() + millis(life));
                query.execute(&self.pool).await.expect("a write works");
            }
        }

        impl Subject for Raw<$pool> {
            type Id = Key;
            type Session = (Key, Vec<u8>);

            async fn create(&self) -> Self::Session {
                let key = random_key();
                self.write(self.statements.insert, &key, &self.payload, LIFE).await;
                (key, Vec::new())
            }

            fn id(&self, session: &Self::Session) -> Key {
                session.0
            }

            fn unknown(&self) -> Key {
                random_key()
            }

            async fn load(&self, key: &Key) -> bool {
                self.get(key).await.is_some()
            }

            async fn open(&self, key: &Key) -> Self::Session {
                (*key, self.get(key).await.expect("it exists"))
            }

            async fn save(&self, (key, payload): &mut Self::Session, number: u64) {
                change(payload, number);
                self.write(self.statements.upsert, key, payload, LIFE).await;
            }

            async fn touch(&self, (key, _): &mut Self::Session) {
                // The same expiry twice in a millisecond would not cause a write.
                let expiry = now() + millis(LIFE) + fastrand::i64(0..1000);
                let query = sqlx::query(self.statements.touch).bind(expiry).bind(&key[..]);
                query.execute(&self.pool).await.expect("UPDATE works");
            }

            async fn destroy(&self, (key, _): Self::Session) {
                let query = sqlx::query(self.statements.delete).bind(&key[..]);
                query.execute(&self.pool).await.expect("DELETE works");
            }

            async fn increment(&self, key: &Key) {
                let mut payload = self.get(key).await.expect("it exists");
                let count = changed_number(&payload) + 1;
                change(&mut payload, count);
                self.write(self.statements.upsert, key, &payload, LIFE).await;
            }

            async fn counter(&self, key: &Key) -> u64 {
                changed_number(&self.get(key).await.expect("it exists"))
            }

            async fn create_short(&self, life: Duration) {
                self.write(self.statements.insert, &random_key(), &self.payload, life).await;
            }

            async fn gc(&self) -> Option<u64> {
                let query = sqlx::query(self.statements.gc).bind(now());
                Some(query.execute(&self.pool).await.expect("DELETE works").rows_affected())
            }
        }
    };
}

subject!(SqlitePool);
subject!(PgPool);
subject!(MySqlPool);

fn now() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
