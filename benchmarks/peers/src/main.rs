//! Measures other session libraries with the same workload as the stores of this project:
//! `cargo run --release --manifest-path benchmarks/peers/Cargo.toml -- --help`.
//!
//! The stores of this project are measured in the same process, except for SQLite, because a process can
//! link only one version of it.

mod actix;
mod pavex;
mod tower;

use std::time::Duration;

use bench_harness::{Args, Comparison, Contender, Operation, Ours, Report};
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use session_core::SessionStore;
use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend};
use test_servers::{Missing, Options, Server};

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let mut report = Report::new(args.json.as_deref())?;
    let progress = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed} {pos} rows: {msg}");
    progress.set_style(style.expect("the template is correct"));
    progress.enable_steady_tick(Duration::from_millis(200));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&args, &mut report, &progress));
    progress.finish_and_clear();
    Ok(())
}

async fn run(args: &Args, report: &mut Report, progress: &ProgressBar) {
    // gc and renewals are not comparable between the peers.
    use Operation::{Create, Destroy, Hot, LoadHit, LoadMiss, Save};
    let only = [LoadHit, LoadMiss, Save, Create, Destroy, Hot];
    let only = only.map(|operation| (operation, operation.name()));
    if args.wants_backend("memory") {
        let contenders = vec![
            ours(MemoryBackend::new()),
            Contender::new("tower-sessions", tower::Handle::memory()),
            Contender::new("tower-sessions store", tower::Store::memory()),
            Contender::new("pavex", pavex::Store::memory()),
        ];
        Comparison::new("memory", contenders, args, progress).only(&only).run(report).await;
        let contenders = vec![
            ours(MemoryBackend::new()),
            Contender::new("tower-sessions store", tower::Store::memory_with_new_maps()),
        ];
        let only = [(Save, "save_new_map")];
        Comparison::new("memory", contenders, args, progress).only(&only).run(report).await;
    }
    if args.wants_backend("redis") {
        let server = server(test_servers::redis::start_new, false);
        let contenders = vec![
            ours(RedisBackend::connect(server.url()).await.expect("Redis answers")),
            Contender::new("tower-sessions", tower::redis(server.url()).await),
            Contender::new("actix-session", actix::Store::connect(server.url()).await),
        ];
        Comparison::new("redis", contenders, args, progress).only(&only).run(report).await;
    }
    if args.wants_backend("sqlite") {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("peer.db");
        let contenders = vec![Contender::new("tower-sessions", tower::sqlite(&path).await)];
        Comparison::new("sqlite", contenders, args, progress).only(&only).run(report).await;
    }
    if args.wants_backend("postgres") {
        let server = server(test_servers::postgres::start_new, true);
        let backend = PostgresBackend::connect(server.url()).await.expect("PostgreSQL answers");
        backend.migrate().await.expect("the table can be made");
        let peer = tower::postgres(server.url()).await;
        let contenders = vec![ours(backend), Contender::new("tower-sessions", peer)];
        Comparison::new("postgres", contenders, args, progress).only(&only).run(report).await;
    }
    if args.wants_backend("mariadb") {
        let server = server(test_servers::mariadb::start_new, true);
        let backend = MySqlBackend::connect(server.url()).await.expect("MariaDB answers");
        backend.migrate().await.expect("the table can be made");
        let peer = tower::mysql(server.url()).await;
        let contenders = vec![ours(backend), Contender::new("tower-sessions", peer)];
        Comparison::new("mariadb", contenders, args, progress).only(&only).run(report).await;
    }
}

fn ours(backend: impl session_core::Backend) -> Contender {
    Contender::new("ours", Ours::new(SessionStore::new(backend)))
}

fn server(start: fn(Options) -> Result<Server, Missing>, durable: bool) -> Server {
    start(Options::default().durable(durable)).unwrap_or_else(|missing| panic!("{missing}"))
}
