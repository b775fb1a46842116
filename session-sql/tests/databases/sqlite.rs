use std::sync::Arc;
use std::time::Duration;

use session_core::{Backend, ErrorKind};
use session_sql::SqliteBackend;
use sqlx::Executor as _;
use sqlx::sqlite::SqlitePoolOptions;
use tempfile::TempDir;

use crate::common::{self, create, key, kind, over, record};
use crate::outages;

pub(crate) async fn file() -> (TempDir, String, SqliteBackend) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
    let backend = SqliteBackend::connect(&url).await.unwrap();
    backend.migrate().await.unwrap();
    (directory, url, backend)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_its_own_result() {
    let (_directory, _, backend) = file().await;
    common::each_of_a_batch_has_its_own_result(&backend).await;
    common::each_has_its_own_result(Arc::new(backend), common::MANY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_its_own_result_in_memory() {
    let backend = SqliteBackend::connect("sqlite::memory:").await.unwrap();
    backend.migrate().await.unwrap();
    common::each_of_a_batch_has_its_own_result(&backend).await;
    common::each_has_its_own_result(Arc::new(backend), common::MANY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_two_servers_agree() {
    let (_directory, url, one) = file().await;
    let two = SqliteBackend::connect(&url).await.unwrap();
    common::batches_of_two_servers_agree(Arc::new(one), Arc::new(two)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_holds_up_no_logout() {
    let (_directory, _, backend) = file().await;
    common::a_flood_holds_up_no_logout(backend).await;
    let memory = SqliteBackend::connect("sqlite::memory:").await.unwrap();
    memory.migrate().await.unwrap();
    common::a_flood_holds_up_no_logout(memory).await;
    let (_another, url, _) = file().await;
    let pool = SqlitePoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    common::a_flood_holds_up_no_logout(SqliteBackend::from_pool(pool)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_harms_nobody() {
    let (_directory, _, backend) = file().await;
    common::who_goes_away_harms_nobody(Arc::new(backend)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_session_is_corrupt() {
    let (_directory, _, backend) = file().await;
    let insert = "INSERT INTO sessions VALUES \
                  (zeroblob(32), 'no number', 4000000000000, NULL, x'00')";
    backend.pool().execute(insert).await.unwrap();
    let broken = session_core::Key::from_bytes([0; 32]);
    common::a_row_that_is_no_session_is_corrupt(Arc::new(backend), broken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_pool_works_on_the_applications_pool() {
    let (_directory, url, _) = file().await;
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    common::each_has_its_own_result(Arc::new(SqliteBackend::from_pool(pool)), common::FEW).await;
}

#[cfg(unix)]
#[tokio::test]
async fn its_files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, _, backend) = file().await;
    backend.save(&key(0), &record(1), create()).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["sessions.db", "sessions.db-shm", "sessions.db-wal"]);
}

#[tokio::test]
async fn a_read_only_database_loads_and_refuses_to_save() {
    let (_directory, url, backend) = file().await;
    backend.save(&key(0), &record(1), create()).await.unwrap();
    let reader = SqliteBackend::connect(&format!("{url}?mode=ro")).await.unwrap();
    assert_eq!(reader.load(&key(0)).await.unwrap().unwrap().record, record(1));
    let saved = reader.save(&key(0), &record(2), over(1)).await;
    assert!(saved.as_ref().unwrap_err().message().contains("read-only"), "{saved:?}");
    assert_eq!(kind(saved), ErrorKind::Unavailable);
    assert_eq!(reader.load(&key(0)).await.unwrap().unwrap().record, record(1));
}

#[tokio::test]
async fn without_its_table_it_says_what_to_do() {
    let (_directory, _, backend) = file().await;
    let other = backend.clone().with_table("missing").unwrap();
    outages::table_is_missing(other.clone(), other.migrate()).await;
    assert!(backend.load(&key(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    std::fs::write(&path, "this is no database, but it is long enough to look like one").unwrap();
    let opened = SqliteBackend::connect(&format!("sqlite:{}", path.display())).await;
    assert_eq!(kind(opened), ErrorKind::InvalidConfig);
    let absent = directory.path().join("absent.db");
    let opened = SqliteBackend::connect(&format!("sqlite:{}?mode=rw", absent.display())).await;
    assert_eq!(kind(opened), ErrorKind::InvalidConfig);
    assert!(!absent.exists(), "mode=rw asks for a file that exists");
    let missing = directory.path().join("no/such/directory.db");
    let opened = SqliteBackend::connect(&format!("sqlite:{}", missing.display())).await;
    assert_eq!(kind(opened), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn another_process_that_holds_the_lock_is_waited_for_then_reported() {
    let (_directory, url, backend) = file().await;
    backend.save(&key(0), &record(1), create()).await.unwrap();
    let other = sqlx::SqlitePool::connect(&url).await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let start = std::time::Instant::now();
    let saved = backend.save(&key(0), &record(2), over(1)).await;
    assert_eq!(kind(saved), ErrorKind::Unavailable);
    assert!(start.elapsed() > Duration::from_secs(1) && start.elapsed() < Duration::from_secs(5));
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    held.rollback().await.unwrap();
    backend.save(&key(0), &record(2), over(1)).await.unwrap();
}

/// The commit comes after the row that a statement returns: here it fails, and the logout with it.
#[tokio::test]
async fn a_destroy_that_is_not_committed_is_no_success() {
    let (_directory, _, backend) = file().await;
    backend.save(&key(0), &record(1), create()).await.unwrap();
    let refer = "CREATE TABLE baskets (session BLOB REFERENCES sessions DEFERRABLE INITIALLY \
                 DEFERRED); INSERT INTO baskets SELECT id_hash FROM sessions";
    backend.pool().execute(refer).await.unwrap();
    for only in [None, Some(record(1).revision)] {
        assert_eq!(kind(backend.destroy(&key(0), only).await), ErrorKind::Other);
        assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    }
    backend.pool().execute("DELETE FROM baskets").await.unwrap();
    assert!(backend.destroy(&key(0), None).await.unwrap());
}

#[tokio::test]
async fn what_is_in_memory_does_not_claim_to_last() {
    let connected = SqliteBackend::connect("sqlite::memory:").await.unwrap();
    assert!(!connected.capabilities().durable);
    for url in ["sqlite::memory:", "sqlite:shared?mode=memory&cache=shared"] {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        assert!(!SqliteBackend::from_pool(pool).capabilities().durable, "{url}");
    }
    let pool = sqlx::SqlitePool::connect_lazy_with(sqlx::sqlite::SqliteConnectOptions::new());
    assert!(!SqliteBackend::from_pool(pool).capabilities().durable);
    let (_directory, url, backend) = file().await;
    assert!(backend.capabilities().durable);
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    assert!(SqliteBackend::from_pool(pool).capabilities().durable);
}

/// Each `connect` has a database of its own; clones share it.
#[tokio::test]
async fn two_databases_in_memory_are_apart() {
    let one = SqliteBackend::connect("sqlite::memory:").await.unwrap();
    let two = SqliteBackend::connect("sqlite::memory:").await.unwrap();
    one.migrate().await.unwrap();
    two.migrate().await.unwrap();
    one.save(&key(0), &record(1), create()).await.unwrap();
    assert!(one.clone().load(&key(0)).await.unwrap().is_some());
    assert!(two.load(&key(0)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn start_session_makes_the_global_store() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
    session_sql::start_session(&url).await.unwrap();
    let store = session_core::global::store().unwrap();
    let session = store.create();
    session.insert("n", 1).unwrap();
    session_core::global::save(&session).await.unwrap();
    let cookie = session_core::global::cookie_value(&session).unwrap().unwrap();
    let again = session_core::global::load(cookie.as_str()).await.unwrap().unwrap();
    assert_eq!(again.get::<i32>("n").unwrap(), Some(1));
    let refused = session_sql::start_session("oracle://x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
}
