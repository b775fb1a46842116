//! gc of 1,000 expired records among many: its plan, its time, and what it does to loads meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, Key};
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Executor, MySqlPool, PgPool, Pool, Row as _,
    SqlitePool, Type,
};

use crate::{Outcome, load_average, say};

const EXPIRED: usize = 1_000;
const RUNS: usize = 30;
const TASKS: usize = 4;
/// What lives does so until then, in milliseconds since 1970.
const FAR: u64 = 4_000_000_000_000;

pub(crate) async fn all(rows: usize, databases: &[&str]) -> Outcome {
    for database in databases {
        match *database {
            "sqlite" => sqlite(rows).await?,
            "postgres" => postgres(rows).await?,
            "mariadb" => mariadb(rows).await?,
            other => return Err(format!("{other}: no such database").into()),
        }
    }
    Ok(())
}

/// How a table is filled: with keys like digests, in their order where the table is kept in it, or a
/// million random writes would take many minutes.
struct Fill {
    live: String,
    dead: String,
    analyze: &'static str,
}

async fn sqlite(rows: usize) -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sessions.db");
    let backend = SqliteBackend::connect(&format!("sqlite:{}", path.display())).await?;
    backend.migrate().await?;
    let pool = backend.pool().clone();
    let select = |from: u64, count: usize| {
        format!(
            "SELECT randomblob(32), 0, {from} + value, zeroblob(460) FROM (WITH RECURSIVE \
             c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c LIMIT {count}) \
             SELECT value FROM c) ORDER BY 1"
        )
    };
    let fill =
        Fill { live: select(FAR, rows), dead: select(0, EXPIRED), analyze: "ANALYZE sessions" };
    measure("sqlite", backend, pool, rows, fill, async |pool: &SqlitePool, gc: &str| {
        let explain = format!("EXPLAIN QUERY PLAN {}", gc.replace("?1", "500"));
        let lines = pool.fetch_all(AssertSqlSafe(explain)).await?;
        Ok(lines.iter().map(|row| row.get("detail")).collect())
    })
    .await
}

async fn postgres(rows: usize) -> Outcome {
    let server = crate::postgres()?;
    let backend = PostgresBackend::connect(server.url()).await?;
    backend.migrate().await?;
    let pool = backend.pool().clone();
    let select = |from: u64, count: usize| {
        format!(
            "SELECT sha256(({from} + i)::text::bytea), 0, {from} + i, \
             convert_to(repeat('x', 460), 'UTF8') FROM generate_series(1, {count}) AS i"
        )
    };
    let fill =
        Fill { live: select(FAR, rows), dead: select(0, EXPIRED), analyze: "ANALYZE sessions" };
    measure("postgres", backend, pool, rows, fill, async |pool: &PgPool, gc: &str| {
        let analyze = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)";
        let explain = format!("{analyze} {}", gc.replace("$1", "500"));
        let mut undone = pool.begin().await?;
        let lines = undone.fetch_all(AssertSqlSafe(explain)).await?;
        undone.rollback().await?;
        Ok(lines.iter().map(|row| row.get(0)).collect())
    })
    .await
}

async fn mariadb(rows: usize) -> Outcome {
    let server = crate::mariadb()?;
    let backend = MySqlBackend::connect(server.url()).await?;
    backend.migrate().await?;
    let pool = backend.pool().clone();
    let select = |from: u64, count: usize| {
        format!(
            "SELECT UNHEX(SHA2(seq + {from}, 256)), 0, seq + {from}, REPEAT('x', 460) \
             FROM seq_1_to_{count} ORDER BY 1"
        )
    };
    let fill = Fill {
        live: select(FAR, rows),
        dead: select(0, EXPIRED),
        analyze: "ANALYZE TABLE sessions",
    };
    measure("mariadb", backend, pool, rows, fill, async |pool: &MySqlPool, gc: &str| {
        let mut undone = pool.begin().await?;
        let explain = format!("ANALYZE {}", gc.replace('?', "500"));
        let steps = undone.fetch_all(AssertSqlSafe(explain)).await?;
        undone.rollback().await?;
        let column = |row: &sqlx::mysql::MySqlRow, name| {
            row.try_get::<Option<String>, _>(name).ok().flatten().unwrap_or_default()
        };
        let line = |row| {
            let [table, access, key, rows] =
                ["table", "type", "key", "r_rows"].map(|name| column(row, name));
            format!("{table}: {access} by {key}, rows examined {rows}")
        };
        Ok(steps.iter().map(line).collect())
    })
    .await
}

async fn measure<B, DB>(
    name: &str,
    backend: B,
    pool: Pool<DB>,
    rows: usize,
    fill: Fill,
    plan: impl AsyncFn(&Pool<DB>, &str) -> Outcome<Vec<String>>,
) -> Outcome
where
    B: Backend + Collects,
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'r> Vec<u8>: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let insert = |select: &str| {
        AssertSqlSafe(format!(
            "INSERT INTO sessions (id_hash, revision, expires_at, payload) {select}"
        ))
    };
    let start = Instant::now();
    pool.execute(insert(&fill.live)).await?;
    pool.execute(fill.analyze).await?;
    say(&format!("{name:9} {rows} rows, filled in {:.0?}", start.elapsed()));
    pool.execute(insert(&fill.dead)).await?;
    for line in plan(&pool, &backend.statement_of_gc()).await? {
        say(&format!("{name:9} plan of 500: {line}"));
    }
    backend.gc(usize::MAX).await?;

    let some = format!("SELECT id_hash FROM sessions WHERE expires_at % {} = 0", rows / 1000 + 1);
    let some = pool.fetch_all(AssertSqlSafe(some)).await?;
    let some: sqlx::Result<Vec<Vec<u8>>> = some.iter().map(|row| row.try_get(0)).collect();
    let keys = some?.into_iter().filter_map(|bytes| Some(Key::from_bytes(bytes.try_into().ok()?)));
    let keys: Arc<[Key]> = keys.collect();
    let backend = Arc::new(backend);
    let (mut times, mut quiet, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        pool.execute(insert(&fill.dead)).await?;
        let pause = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        };
        quiet.extend(loads_during(&backend, &keys, pause).await?);
        let collected = async {
            let start = Instant::now();
            let removed = backend.gc(EXPIRED).await?;
            assert_eq!(removed, EXPIRED as u64);
            times.push(start.elapsed());
            Ok(())
        };
        busy.extend(loads_during(&backend, &keys, collected).await?);
    }
    let [gc_50, gc_99] = [50, 99].map(|percent| percentile(&mut times, percent));
    say(&format!("{name:9} gc of {EXPIRED}: median {gc_50:.1?}, at most {gc_99:.1?}"));
    for percent in [50, 99] {
        let (without, with) = (percentile(&mut quiet, percent), percentile(&mut busy, percent));
        say(&format!(
            "{name:9} p{percent} of a load without gc {without:.0?} (of {}), with it {with:.0?} \
             (of {}), ratio {:.2}",
            quiet.len(),
            busy.len(),
            with.as_secs_f64() / without.as_secs_f64()
        ));
    }
    say(&format!("{name:9} took {:.0?}, load average {}", start.elapsed(), load_average()));
    Ok(())
}

/// The text of gc's statement.
trait Collects {
    fn statement_of_gc(&self) -> String;
}

macro_rules! collects {
    ($($backend:ty),*) => {$(
        impl Collects for $backend {
            fn statement_of_gc(&self) -> String {
                let statement = self.statement("gc", 1).expect("each database has it");
                statement.as_str().to_owned()
            }
        }
    )*};
}

collects!(SqliteBackend, PostgresBackend, MySqlBackend);

/// How long the loads of a few tasks took while `work` was under way.
async fn loads_during<B: Backend>(
    backend: &Arc<B>,
    keys: &Arc<[Key]>,
    work: impl Future<Output = Outcome>,
) -> Outcome<Vec<Duration>> {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (backend, keys, stop) = (Arc::clone(backend), Arc::clone(keys), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut keys = keys.iter().cycle().skip(task * keys.len() / TASKS);
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    backend.load(keys.next().ok_or("no rows")?).await?.ok_or("a row is gone")?;
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
