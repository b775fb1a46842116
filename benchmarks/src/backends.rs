//! The contenders of each backend.

use std::hint::black_box;
use std::time::Duration;

use bench_harness::{Args, Comparison, Contender, Operation, Ours, Report, Subject};
use indicatif::ProgressBar;
use session_cookie::{CookieStore, SecretKey};
use session_core::{Bytes, CookieBackend as _, Expiry, Record, Revision, SessionId, SessionStore};
use session_file::FileBackend;
use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use test_servers::{Missing, Options, Server};

use crate::raw;

pub(crate) async fn run(args: &Args, report: &mut Report, progress: &ProgressBar) {
    if args.wants_backend("cookie") {
        cookie(args, report, progress).await;
    }
    if args.wants_backend("memory") {
        let ours = SessionStore::new(MemoryBackend::new());
        let contenders = contenders(ours, raw::memory::Raw::new());
        Comparison::new("memory", contenders, args, progress).run(report).await;
    }
    if args.wants_backend("file") {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let backend = FileBackend::open(directory.path().join("ours")).expect("it can be opened");
        let raw = directory.path().join("raw");
        std::fs::create_dir(&raw).expect("a directory can be made");
        let contenders = contenders(SessionStore::new(backend), raw::file::Raw::new(&raw, true));
        Comparison::new("file", contenders, args, progress).run(report).await;
    }
    if args.wants_backend("redis") {
        let server = server("redis", test_servers::redis::start_new);
        let ours = RedisBackend::connect(server.url()).await.expect("Redis answers");
        let raw = raw::redis::Raw::connect(server.url()).await.expect("Redis answers");
        let contenders = contenders(SessionStore::new(ours), raw);
        Comparison::new("redis", contenders, args, progress).run(report).await;
    }
    if args.wants_backend("sqlite") {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let url = format!("sqlite:{}", directory.path().join("ours.db").display());
        let ours = SqliteBackend::connect(&url).await.expect("SQLite opens");
        ours.migrate().await.expect("the table can be made");
        let raw = raw::sql::sqlite(&directory.path().join("raw.db")).await.expect("SQLite opens");
        let contenders = contenders(SessionStore::new(ours), raw);
        Comparison::new("sqlite", contenders, args, progress).run(report).await;
    }
    if args.wants_backend("postgres") {
        let server = server("postgres", test_servers::postgres::start_new);
        let ours = PostgresBackend::connect(server.url()).await.expect("PostgreSQL answers");
        ours.migrate().await.expect("the table can be made");
        let raw = raw::sql::postgres(server.url()).await.expect("PostgreSQL answers");
        let contenders = contenders(SessionStore::new(ours), raw);
        Comparison::new("postgres", contenders, args, progress).run(report).await;
    }
    if args.wants_backend("mariadb") {
        let server = server("mariadb", test_servers::mariadb::start_new);
        let ours = MySqlBackend::connect(server.url()).await.expect("MariaDB answers");
        ours.migrate().await.expect("the table can be made");
        let raw = raw::sql::mysql(server.url()).await.expect("MariaDB answers");
        let contenders = contenders(SessionStore::new(ours), raw);
        Comparison::new("mariadb", contenders, args, progress).run(report).await;
    }
}

fn contenders(ours: SessionStore, raw: impl Subject) -> Vec<Contender> {
    vec![Contender::new("ours", Ours::new(ours)), Contender::new("raw", raw)]
}

/// A private server with the default durability.
fn server(name: &str, start: fn(Options) -> Result<Server, Missing>) -> Server {
    // By default Redis has no append-only file.
    let durable = name != "redis";
    start(Options::default().durable(durable)).unwrap_or_else(|missing| panic!("{missing}"))
}

/// A cookie store has no storage, so destroy, hot and gc are not measured.
async fn cookie(args: &Args, report: &mut Report, progress: &ProgressBar) {
    use Operation::{Create, LoadHit, LoadMiss, Save};
    let signed = || {
        let key = SecretKey::generate().expect("the random source works");
        CookieStore::signed("__Host-session", [key]).expect("the key is good")
    };
    let contenders = vec![
        Contender::calls("ours", seal_and_open(signed())),
        Contender::calls("raw", raw::cookie::seal_and_open()),
    ];
    let only = [(LoadHit, "seal_open")];
    Comparison::new("cookie", contenders, args, progress).only(&only).run(report).await;
    let contenders = vec![
        Contender::new("ours", Ours::new(SessionStore::new_cookie(signed()))),
        Contender::new("raw", raw::cookie::Raw::new()),
    ];
    let only = [LoadHit, LoadMiss, Save, Create].map(|operation| (operation, operation.name()));
    Comparison::new("cookie", contenders, args, progress).only(&only).run(report).await;
}

/// Without the session around it.
fn seal_and_open(store: CookieStore) -> impl Fn() {
    let record = Record {
        payload: Bytes::from(raw::payload()),
        revision: Revision::from_u64(1),
        owner: None,
    };
    let id = SessionId::from_bytes(raw::random_key());
    move || {
        let expiry = Expiry::After(Duration::from_secs(7200));
        let sealed = store.seal(&id, &record, expiry).expect("it is small enough");
        let opened = store.open(black_box(&sealed.value)).expect("it is authentic");
        assert!(black_box(opened).is_some());
    }
}
