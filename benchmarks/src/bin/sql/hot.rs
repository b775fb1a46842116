//! Measures what an index on the expiry costs updates in PostgreSQL.

use std::time::{Duration, Instant};

use session_core::{Backend as _, Revision, Update, Write};
use session_sql::PostgresBackend;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use crate::{Outcome, key, record, say};

const KEYS: usize = 10_000;
const UPDATES: usize = 40_000;
const TASKS: usize = 64;
const ROUNDS: usize = 3;
const LIFE: Duration = Duration::from_secs(7_200);

/// Three tables: with the index of session-sql, with an index on the hour of the expiry, and without an index.
const TABLES: [(&str, &str); 3] = [
    ("on_the_expiry", ""),
    (
        "on_its_hour",
        "DROP INDEX on_its_hour_expires_at; \
         ALTER TABLE on_its_hour ADD expires_hour bigint \
         GENERATED ALWAYS AS (expires_at / 3600000) STORED; \
         CREATE INDEX ON on_its_hour (expires_hour)",
    ),
    ("without", "DROP INDEX without_expires_at"),
];

pub(crate) async fn postgres() -> Outcome {
    let server = crate::postgres()?;
    let base = PostgresBackend::connect(server.url()).await?;
    for (what, ttl) in [("saves that keep the expiry", None), ("saves that renew it", Some(LIFE))] {
        for (table, change) in TABLES {
            let drop = format!("DROP TABLE IF EXISTS {table}");
            base.pool().execute(AssertSqlSafe(drop)).await?;
            let backend = base.clone().with_table(table)?;
            backend.migrate().await?;
            backend.pool().execute(change).await?;
            save(&backend, KEYS, Write::Create { ttl: LIFE }).await?;
        }
        for _ in 0..ROUNDS {
            for (table, _) in TABLES {
                let backend = base.clone().with_table(table)?;
                let start = Instant::now();
                let write = Update { expected: Revision::from_u64(1), ttl };
                save(&backend, UPDATES, Write::Update(write)).await?;
                let rate = UPDATES as f64 / start.elapsed().as_secs_f64();
                say(&format!("{what}, index {table:16} {rate:7.0}/s"));
            }
        }
        // The server reports its counters with a delay.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for (table, _) in TABLES {
            let sql = "SELECT round(100.0 * n_tup_hot_upd / n_tup_upd)::bigint, \
                       pg_indexes_size(relid) / 1024 FROM pg_stat_user_tables WHERE relname = $1";
            let row = sqlx::query(sql).bind(table).fetch_one(base.pool()).await?;
            let (hot, size): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            say(&format!("{what}, index {table:16} {hot:3} % HOT, indexes {size} KiB"));
        }
    }
    say(&format!("load average {}", crate::load_average()));
    Ok(())
}

async fn save(backend: &PostgresBackend, saves: usize, write: Write) -> Outcome {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let backend = backend.clone();
            tokio::spawn(async move {
                for number in (task..saves).step_by(TASKS) {
                    backend.save(&key(number % KEYS), &record(1), write).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}
