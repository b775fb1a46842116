//! Load and save, beside the same work through bare sqlx with a pool of 10, which does not test its
//! connections before use (sqlx' default, a round trip more, would flatter us).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, Revision, Update, Write};
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    ColumnIndex, ConnectOptions as _, Database, Decode, Encode, Executor, IntoArguments, Pool, Row,
    Type,
};

use crate::{Outcome, key, record, say};

const KEYS: usize = 6_400;
const ROUNDS: u32 = 5;
const SLICE: Duration = Duration::from_millis(600);
const LIFE: Duration = Duration::from_secs(7_200);

pub(crate) async fn all(databases: &[&str]) -> Outcome {
    for database in databases {
        match *database {
            "sqlite" => sqlite().await?,
            "postgres" => postgres().await?,
            "mariadb" => mariadb().await?,
            other => return Err(format!("{other}: no such database").into()),
        }
    }
    Ok(())
}

async fn sqlite() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.db");
    let backend = SqliteBackend::connect(&format!("sqlite:{}", path.display())).await?;
    backend.migrate().await?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(10)
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    let bare = Bare {
        pool,
        select: "SELECT payload FROM sessions WHERE id_hash = ? AND expires_at > 0",
        upsert: "INSERT INTO sessions (id_hash, payload, revision, expires_at) \
                 VALUES (?, ?, 1, 4000000000000) ON CONFLICT (id_hash) DO UPDATE \
                 SET payload = excluded.payload, revision = excluded.revision",
    };
    compare("sqlite", backend, bare).await
}

async fn postgres() -> Outcome {
    let server = crate::postgres()?;
    let backend = PostgresBackend::connect(server.url()).await?;
    backend.migrate().await?;
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .test_before_acquire(false)
        .connect(server.url())
        .await?;
    let bare = Bare {
        pool,
        select: "SELECT payload FROM sessions WHERE id_hash = $1 AND expires_at > 0",
        upsert: "INSERT INTO sessions (id_hash, payload, revision, expires_at) \
                 VALUES ($1, $2, 1, 4000000000000) ON CONFLICT (id_hash) DO UPDATE \
                 SET payload = excluded.payload, revision = excluded.revision",
    };
    compare("postgres", backend, bare).await
}

async fn mariadb() -> Outcome {
    let server = crate::mariadb()?;
    let backend = MySqlBackend::connect(server.url()).await?;
    backend.migrate().await?;
    let pool = MySqlPoolOptions::new()
        .max_connections(10)
        .test_before_acquire(false)
        .connect(server.url())
        .await?;
    let bare = Bare {
        pool,
        select: "SELECT payload FROM sessions WHERE id_hash = ? AND expires_at > 0",
        upsert: "INSERT INTO sessions (id_hash, payload, revision, expires_at) \
                 VALUES (?, ?, 1, 4000000000000) ON DUPLICATE KEY UPDATE \
                 payload = VALUES(payload), revision = VALUES(revision)",
    };
    compare("mariadb", backend, bare).await
}

struct Bare<DB: Database> {
    pool: Pool<DB>,
    select: &'static str,
    upsert: &'static str,
}

async fn compare<B, DB>(name: &str, backend: B, bare: Bare<DB>) -> Outcome
where
    B: Backend,
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    usize: ColumnIndex<DB::Row>,
    for<'r> Vec<u8>: Decode<'r, DB> + Encode<'r, DB> + Type<DB>,
{
    let backend = Arc::new(backend);
    // One table for both; the bare upsert leaves revision 1 behind, as `record(1)` does.
    for number in 0..KEYS {
        backend.save(&key(number), &record(1), Write::Create { ttl: LIFE }).await?;
    }
    for tasks in [1, 64] {
        let (mut load, mut select, mut save, mut upsert) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..ROUNDS {
            let (pool, statement) = (bare.pool.clone(), bare.select);
            select += rate(tasks, move |number| {
                let pool = pool.clone();
                async move {
                    let id = key(number).as_bytes().to_vec();
                    let row = sqlx::query(statement).bind(id).fetch_one(&pool).await?;
                    let payload: Vec<u8> = row.try_get(0)?;
                    assert_eq!(payload.len(), 460);
                    Ok(())
                }
            })
            .await?;
            let store = Arc::clone(&backend);
            load += rate(tasks, move |number| {
                let backend = Arc::clone(&store);
                async move {
                    let loaded = backend.load(&key(number)).await?;
                    assert!(loaded.is_some());
                    Ok(())
                }
            })
            .await?;
            let (pool, statement) = (bare.pool.clone(), bare.upsert);
            upsert += rate(tasks, move |number| {
                let pool = pool.clone();
                async move {
                    let id = key(number).as_bytes().to_vec();
                    let payload = record(1).payload.to_vec();
                    sqlx::query(statement).bind(id).bind(payload).execute(&pool).await?;
                    Ok(())
                }
            })
            .await?;
            let store = Arc::clone(&backend);
            save += rate(tasks, move |number| {
                let backend = Arc::clone(&store);
                async move {
                    // The handle leaves the deadline where it is but once in a while.
                    let write = Update { expected: Revision::from_u64(1), ttl: None };
                    backend.save(&key(number), &record(1), Write::Update(write)).await?;
                    Ok(())
                }
            })
            .await?;
        }
        let rounds = f64::from(ROUNDS);
        for (operation, ours, bare) in [("load", load, select), ("save", save, upsert)] {
            say(&format!(
                "{name:9} {operation} {tasks:2} tasks: {:6.0}/s, bare {:6.0}/s, ratio {:.2}",
                ours / rounds,
                bare / rounds,
                ours / bare
            ));
        }
    }
    Ok(())
}

/// Operations per second of so many tasks in a closed loop, each on keys of its own.
async fn rate<F>(
    tasks: usize,
    operation: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Outcome<f64>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let done = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (operation, done) = (operation.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut number = task;
                while start.elapsed() < SLICE {
                    operation(number).await?;
                    number = (number + tasks) % KEYS;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in running {
        task.await??;
    }
    let done = u32::try_from(done.load(Ordering::Relaxed))?;
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}
