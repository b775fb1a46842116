//! The plans of the statements: each finds its rows by an index, and the loads leave out what expired
//! (the code that reads the rows does so, too).

use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use test_servers::Options;

/// Of a full batch.
const ROWS: u8 = 64;

#[tokio::test]
async fn postgres() {
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let backend = PostgresBackend::connect(server.url()).await.unwrap();
    backend.migrate().await.unwrap();
    let pool = backend.pool();
    let fill = "INSERT INTO sessions SELECT sha256(i::text::bytea), 0, \
                CASE WHEN i <= 100 THEN i ELSE 4000000000000 + i END, NULL, \
                convert_to(repeat('x', 900), 'utf8') FROM generate_series(1, 20000) AS i";
    pool.execute(fill).await.unwrap();
    // As the server plans them when it knows no parameters, one for each statement.
    pool.execute("ALTER ROLE ALL SET plan_cache_mode = force_generic_plan").await.unwrap();
    let types = [
        ("load", "bytea[]"),
        ("load_one", "bytea"),
        ("update_one", "bytea, bigint, bigint, bytea, bytea"),
        ("update", "bytea[], bigint[], bigint[], bytea[], bytea[], bigint[]"),
        ("touch", "bytea[], bigint[], bigint[]"),
        ("destroy", "bytea[], bigint[]"),
        ("gc", "bigint"),
        ("owned", "bytea, bytea, bigint"),
    ];
    let mut connection =
        sqlx::PgPool::connect(server.url()).await.unwrap().acquire().await.unwrap();
    for (name, types) in types {
        let statement = backend.statement(name, ROWS.into()).unwrap();
        let nulls = vec!["NULL"; types.split(',').count()].join(", ");
        let prepare = format!("PREPARE {name} ({types}) AS {}", statement.as_str());
        connection.execute(AssertSqlSafe(prepare)).await.unwrap();
        // The server has no statistics of a table that is new or was just filled.
        for has_statistics in [false, true] {
            pool.execute("DELETE FROM pg_statistic WHERE starelid = 'sessions'::regclass")
                .await
                .unwrap();
            if has_statistics {
                pool.execute("ANALYZE sessions").await.unwrap();
            }
            connection.execute("DISCARD PLANS").await.unwrap();
            let explain = format!("EXPLAIN EXECUTE {name} ({nulls})");
            let rows = connection.fetch_all(AssertSqlSafe(explain)).await.unwrap();
            let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let plan = lines.join("\n");
            let index = if name == "owned" { "sessions_owner" } else { "sessions_pkey" };
            assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{name}: {plan}");
            assert_eq!(plan.contains("sessions_expires_at"), name == "gc", "{name}: {plan}");
        }
    }

    let [dead, live] =
        [1, 20_000].map(|number: i32| format!("SELECT sha256('{number}'::text::bytea)"));
    let key =
        async |select| -> Vec<u8> { pool.fetch_one(AssertSqlSafe(select)).await.unwrap().get(0) };
    let [dead, live] = [key(dead).await, key(live).await];
    let load = sqlx::query(backend.statement("load", ROWS.into()).unwrap());
    let both = load.bind(vec![dead.clone(), live.clone()]).fetch_all(pool).await.unwrap();
    assert_eq!(both.iter().map(|row| row.get(0)).collect::<Vec<Vec<u8>>>(), [live]);
    let load = sqlx::query(backend.statement("load_one", ROWS.into()).unwrap());
    assert!(load.bind(dead).fetch_optional(pool).await.unwrap().is_none());
}

#[tokio::test]
async fn mariadb() {
    let server = test_servers::mariadb::start_new(Options::default()).expect("MariaDB");
    let backend = MySqlBackend::connect(server.url()).await.unwrap();
    backend.migrate().await.unwrap();
    let pool = backend.pool();
    let fill = "INSERT INTO sessions SELECT UNHEX(SHA2(seq, 256)), 0, \
                IF(seq <= 100, seq, 4000000000000 + seq), NULL, '' FROM seq_1_to_20000";
    pool.execute(fill).await.unwrap();
    pool.execute("ANALYZE TABLE sessions").await.unwrap();
    for name in ["load", "hold", "there", "touch", "destroy", "gc", "owned"] {
        let statement = backend.statement(name, ROWS.into()).unwrap();
        let explain = AssertSqlSafe(format!("EXPLAIN {}", statement.as_str()));
        let mut query = sqlx::query(explain);
        if matches!(name, "touch" | "gc") {
            query = query.bind(500_i64);
        }
        if name == "owned" {
            query = query.bind(vec![0; 3]).bind(vec![0; 32]).bind(500_i64);
        } else if name != "gc" {
            query = (0..ROWS).fold(query, |query, key| query.bind(vec![key; 32]));
        }
        let rows = query.fetch_all(pool).await.unwrap();
        let column = |row: &sqlx::mysql::MySqlRow, name| {
            row.get::<Option<String>, _>(name).unwrap_or_default()
        };
        let steps = rows.iter().map(|row| ["table", "type", "key"].map(|name| column(row, name)));
        let steps: Vec<_> = steps.collect();
        if name == "gc" {
            for step in [["sessions", "range", "sessions_expires_at"], ["s", "eq_ref", "PRIMARY"]] {
                assert!(steps.contains(&step.map(str::to_owned)), "{steps:?}");
            }
        } else {
            let index = if name == "owned" { "sessions_owner" } else { "PRIMARY" };
            assert!(steps.iter().all(|[_, _, key]| key == index), "{name}: {steps:?}");
        }
    }

    let keys: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT id_hash FROM sessions WHERE id_hash IN (UNHEX(SHA2(1, 256)), UNHEX(SHA2(20000, 256))) \
         ORDER BY expires_at",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let load = sqlx::query(backend.statement("load", 4).unwrap());
    let load = [0, 1, 1, 1].into_iter().fold(load, |load, at| load.bind(keys[at].clone()));
    let live = load.fetch_all(pool).await.unwrap();
    assert_eq!(live.iter().map(|row| row.get(0)).collect::<Vec<Vec<u8>>>(), keys[1..]);
}

#[tokio::test]
async fn sqlite() {
    let backend = SqliteBackend::connect("sqlite::memory:").await.unwrap();
    backend.migrate().await.unwrap();
    let pool = backend.pool();
    let plan = async |name, rows| {
        let statement = backend.statement(name, rows).unwrap();
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.as_str()));
        let rows = pool.fetch_all(explain).await.unwrap();
        rows.iter().map(|row| row.get("detail")).collect::<Vec<String>>().join("\n")
    };
    let gc = plan("gc", 1).await;
    assert!(gc.contains("COVERING INDEX sessions_expires_at (expires_at<?)"), "{gc}");
    assert!(gc.contains("PRIMARY KEY (id_hash=?)"), "{gc}");
    assert!(!gc.contains("SCAN sessions"), "{gc}");
    let owned = plan("owned", 1).await;
    assert!(owned.contains("INDEX sessions_owner (owner=?"), "{owned}");
    for name in [
        "load",
        "update_one",
        "update",
        "renew",
        "touch_one",
        "touch",
        "revisions",
        "destroy_one",
        "destroy",
    ] {
        for rows in [1, ROWS.into()] {
            let plan = plan(name, rows).await;
            assert!(plan.contains("USING PRIMARY KEY (id_hash=?)"), "{name}: {plan}");
            assert!(!plan.contains("expires_at"), "{name}: {plan}");
        }
    }

    // Each number of rows finds a statement that has room, and not for many more.
    for (name, per_row, factor) in [("load", 1, 4), ("touch", 3, 2), ("update", 6, 2)] {
        for rows in 1..=ROWS.into() {
            let statement = backend.statement(name, rows).unwrap();
            let room = statement.as_str().matches('?').count() / per_row;
            assert!(room >= rows && room < rows * factor, "{name} {rows}: {room}");
        }
    }

    for (key, expiry) in [(0, 0), (1, 4_000_000_000_000_i64)] {
        let fill = sqlx::query("INSERT INTO sessions VALUES (?, 0, ?, NULL, x'')");
        fill.bind(vec![key; 32]).bind(expiry).execute(pool).await.unwrap();
    }
    let load = sqlx::query(backend.statement("load", 4).unwrap());
    let load = [0, 1, 1, 1].into_iter().fold(load, |load, key| load.bind(vec![key; 32]));
    let live = load.fetch_all(pool).await.unwrap();
    assert_eq!(live.iter().map(|row| row.get(0)).collect::<Vec<Vec<u8>>>(), [[1; 32]]);
}
