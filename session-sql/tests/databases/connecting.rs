//! What `connect` says when it can't, and passwords that change.

use std::fmt::Debug;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use session_core::{Backend, Error, ErrorKind, Result};
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, PgPool};
use test_servers::Options;

use crate::common::key;

/// A part of the password of each URL: no message and no `Debug` may contain it.
const PASSWORD: &str = "opensesame";

/// Nothing listens there: the port of a listener that has ended.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn says<B: Debug>(connected: impl Future<Output = Result<B>>, kind: ErrorKind, words: &str) {
    let begun = Instant::now();
    let error = connected.await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(words), "{words}: {error}");
    assert!(error.nothing_was_written() && error.operation() == Some("connect"), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{words}: {:?}", begun.elapsed());
    assert!(!printed(&error).contains(PASSWORD), "{}", printed(&error));
}

fn printed(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    text
}

#[tokio::test]
async fn a_url_of_something_else_is_named() {
    let (wrong, unreachable) = (ErrorKind::InvalidConfig, ErrorKind::Unavailable);
    let url = |scheme: &str, host: &str| format!("{scheme}://app:{PASSWORD}@{host}/app");
    for other in ["mysql", "redis", "http", "sqlite"] {
        let url = url(other, "127.0.0.1:1");
        says(PostgresBackend::connect(&url), wrong, "not a URL of postgres: write postgres://")
            .await;
    }
    says(PostgresBackend::connect("localhost/app"), wrong, "not a URL of postgres").await;
    says(MySqlBackend::connect(&url("postgres", "h")), wrong, "write mysql://user").await;
    says(SqliteBackend::connect(&url("postgres", "h")), wrong, "write sqlite:path").await;
    says(SqliteBackend::connect("sessions.db"), wrong, "not a URL of sqlite").await;
    let port = url("postgres", "127.0.0.1:port");
    says(PostgresBackend::connect(&port), wrong, "percent-encoded").await;
    let closed = closed();
    let url_to = |scheme| url(scheme, &closed);
    says(PostgresBackend::connect(&url_to("postgres")), unreachable, "nothing listens").await;
    says(MySqlBackend::connect(&url_to("mysql")), unreachable, "nothing listens").await;
    let nowhere = "no-such-host.invalid";
    let no_host = "host name has no address";
    says(PostgresBackend::connect(&url("postgresql", nowhere)), unreachable, no_host).await;
    says(MySqlBackend::connect(&url("mariadb", nowhere)), unreachable, no_host).await;
    says(SqliteBackend::connect("sqlite:/no/such/directory/db"), wrong, "can't be opened").await;
}

#[tokio::test]
async fn a_wrong_user_password_or_database_is_named() {
    let refused = "refuses this user";
    let wrong = ErrorKind::InvalidConfig;
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let unknown = server.url().replace("postgres@", &format!("nobody:{PASSWORD}@"));
    says(PostgresBackend::connect(&unknown), wrong, refused).await;
    let missing = server.url().replace("/postgres", "/missing");
    says(PostgresBackend::connect(&missing), wrong, refused).await;
    let server = test_servers::mariadb::start_new(Options::default()).expect("MariaDB");
    let unknown = server.url().replace("root@", &format!("nobody:{PASSWORD}@"));
    says(MySqlBackend::connect(&unknown), wrong, refused).await;
    let missing = server.url().replace("/sessions", "/missing");
    says(MySqlBackend::connect(&missing), wrong, refused).await;
}

/// The provider is asked before each new connection, so it may know the new password before the server does.
#[tokio::test]
async fn a_password_may_change() {
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let admin = PgPool::connect(server.url()).await.unwrap();
    admin.execute("CREATE ROLE app LOGIN").await.unwrap();
    let hba = "COPY (SELECT 'host all app 127.0.0.1/32 scram-sha-256' UNION ALL \
               SELECT 'host all postgres 127.0.0.1/32 trust') TO PROGRAM 'cat > pg_hba.conf'";
    admin.execute(hba).await.unwrap();
    let set = async |password: &str| {
        let set = format!("ALTER ROLE app PASSWORD '{password}'");
        admin.execute(AssertSqlSafe(set)).await.unwrap();
        admin.execute("SELECT pg_reload_conf()").await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
        admin.execute(end).await.unwrap();
    };
    set("one").await;
    let options = PgConnectOptions::from_str(server.url()).unwrap().username("app");
    let password = Arc::new(Mutex::new("one"));
    let current = Arc::clone(&password);
    let backend = PostgresBackend::connect_with(move || {
        let options = options.clone().password(*current.lock().unwrap());
        async move { Ok::<_, sqlx::Error>(options) }
    });
    let backend = backend.await.unwrap().with_table(&crate::common::fresh_table()).unwrap();
    admin.execute("GRANT CREATE ON SCHEMA public TO app").await.unwrap();
    backend.migrate().await.unwrap();
    changes(backend, &password, set).await;

    let server = test_servers::mariadb::start_new(Options::default()).expect("MariaDB");
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    admin.execute("CREATE USER app IDENTIFIED BY 'one'").await.unwrap();
    admin.execute("GRANT ALL ON sessions.* TO app").await.unwrap();
    let set = async |password: &str| {
        let set = format!("ALTER USER app IDENTIFIED BY '{password}'");
        admin.execute(AssertSqlSafe(set)).await.unwrap();
        admin.execute("KILL USER app").await.unwrap();
    };
    let options = MySqlConnectOptions::from_str(server.url()).unwrap().username("app");
    let password = Arc::new(Mutex::new("one"));
    let current = Arc::clone(&password);
    let backend = MySqlBackend::connect_with(move || {
        let options = options.clone().password(*current.lock().unwrap());
        async move { Ok::<_, sqlx::Error>(options) }
    });
    let backend = backend.await.unwrap();
    backend.migrate().await.unwrap();
    changes(backend, &password, set).await;
}

async fn changes(backend: impl Backend, password: &Mutex<&'static str>, set: impl AsyncFn(&str)) {
    assert!(backend.load(&key(0)).await.unwrap().is_none());
    set("two").await;
    let refused = backend.load(&key(0)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig, "{refused:?}");
    *password.lock().unwrap() = "two";
    assert!(backend.load(&key(0)).await.unwrap().is_none());
}
