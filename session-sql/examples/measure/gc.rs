//! gc of 1,000 expired records among 1,000,000: its time, and what it does to loads meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, Key};
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::{AssertSqlSafe, Database, Executor, Pool};

use crate::{Outcome, say};

const ROWS: usize = 1_000_000;
const EXPIRED: usize = 1_000;
const RUNS: usize = 10;

pub(crate) async fn all(databases: &[&str]) -> Outcome {
    for database in databases {
        match *database {
            "sqlite" => {
                let directory = tempfile::tempdir()?;
                let path = directory.path().join("sessions.db");
                let backend = SqliteBackend::connect(&format!("sqlite:{}", path.display())).await?;
                backend.migrate().await?;
                let pool = backend.pool().clone();
                let numbers = |n: String| {
                    format!(
                        "SELECT {n}, 0, value, zeroblob(460) \
                         FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL \
                         SELECT value + 1 FROM c LIMIT"
                    )
                };
                let keys = |first| {
                    format!("CAST(printf('{first}%031d', (value * 7919) % 1000003) AS BLOB)")
                };
                let fill = Fill {
                    live: format!(
                        "{} {ROWS}) SELECT value + 4000000000000 AS value FROM c)",
                        numbers(keys('l'))
                    ),
                    dead: format!("{} {EXPIRED}) SELECT value FROM c)", numbers(keys('d'))),
                    after: "ANALYZE",
                };
                measure("sqlite", backend, pool, fill).await?;
            }
            "postgres" => {
                let server = crate::postgres()?;
                let backend = PostgresBackend::connect(server.url()).await?;
                backend.migrate().await?;
                let pool = backend.pool().clone();
                let rows = |from: u64, count: usize| {
                    format!(
                        "SELECT sha256(i::text::bytea), 0, i, convert_to(repeat('x', 460), 'UTF8') \
                         FROM generate_series({from}, {from} + {count} - 1) AS i"
                    )
                };
                let fill = Fill {
                    live: rows(4_000_000_000_000, ROWS),
                    dead: rows(1, EXPIRED),
                    after: "ANALYZE sessions",
                };
                measure("postgres", backend, pool, fill).await?;
            }
            "mariadb" => {
                let server = crate::mariadb()?;
                let backend = MySqlBackend::connect(server.url()).await?;
                backend.migrate().await?;
                let pool = backend.pool().clone();
                let rows = |offset: u64, count: usize| {
                    format!(
                        "SELECT UNHEX(SHA2(seq + {offset}, 256)), 0, seq + {offset}, \
                         REPEAT('x', 460) FROM seq_1_to_{count}"
                    )
                };
                let fill = Fill {
                    live: rows(4_000_000_000_000, ROWS),
                    dead: rows(0, EXPIRED),
                    after: "ANALYZE TABLE sessions",
                };
                measure("mariadb", backend, pool, fill).await?;
            }
            other => return Err(format!("{other}: no such database").into()),
        }
    }
    Ok(())
}

struct Fill {
    live: String,
    dead: String,
    after: &'static str,
}

async fn measure<B, DB>(name: &str, backend: B, pool: Pool<DB>, fill: Fill) -> Outcome
where
    B: Backend,
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let insert = |select: &str| {
        AssertSqlSafe(format!(
            "INSERT INTO sessions (id_hash, revision, expires_at, payload) {select}"
        ))
    };
    pool.execute(insert(&fill.live)).await?;
    pool.execute(AssertSqlSafe(fill.after.to_owned())).await?;
    let backend = Arc::new(backend);
    let (mut times, mut quiet, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        pool.execute(insert(&fill.dead)).await?;
        let pause = tokio::time::sleep(Duration::from_millis(300));
        quiet.extend(
            loads_during(&backend, async {
                pause.await;
                Ok(())
            })
            .await?,
        );
        let collected = async {
            let start = Instant::now();
            let removed = backend.gc(EXPIRED).await?;
            assert_eq!(removed, EXPIRED as u64);
            times.push(start.elapsed());
            Ok(())
        };
        busy.extend(loads_during(&backend, collected).await?);
    }
    say(&format!(
        "{name:9} gc of {EXPIRED} among {ROWS}: median {:?}; p99 of a load {:?}, during gc {:?}",
        percentile(&mut times, 50),
        percentile(&mut quiet, 99),
        percentile(&mut busy, 99),
    ));
    Ok(())
}

/// How long the loads of four tasks took while `work` was under way.
async fn loads_during<B: Backend>(
    backend: &Arc<B>,
    work: impl Future<Output = Outcome>,
) -> Outcome<Vec<Duration>> {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..4_u8)
        .map(|task| {
            let (backend, stop) = (Arc::clone(backend), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    backend.load(&Key::from_bytes([task; 32])).await?;
                    times.push(start.elapsed());
                }
                Outcome::Ok(times)
            })
        })
        .collect();
    work.await?;
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(times)
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}
