//! The stores that every flow runs on.

use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::SqliteBackend;
use session_tower_sessions::TowerStore;
use session_tower_sessions::session_core::{Config, SessionStore};
use tower_sessions::session::Id;

/// A store, and what has to live as long as it does.
pub(crate) struct Store {
    pub(crate) store: TowerStore,
    _directory: Option<tempfile::TempDir>,
}

pub(crate) async fn memory() -> Option<Store> {
    Some(Store { store: TowerStore::new(MemoryBackend::new()), _directory: None })
}

pub(crate) async fn sqlite() -> Option<Store> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sessions.db");
    let backend = SqliteBackend::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    backend.migrate().await.unwrap();
    Some(Store { store: TowerStore::new(backend), _directory: Some(directory) })
}

/// On one server for all tests, each with keys of its own.
pub(crate) async fn redis() -> Option<Store> {
    let server = tokio::task::spawn_blocking(test_servers::redis::shared).await.unwrap();
    let url = match server {
        Ok(server) => server.url(),
        Err(missing) => {
            let strict = std::env::var_os("CONFORMANCE_STRICT").is_some_and(|value| value == "1");
            assert!(missing.what.contains("not installed") && !strict, "{missing}");
            println!("SKIPPED: {missing}");
            return None;
        }
    };
    let backend = RedisBackend::connect(url).await.unwrap();
    let purpose = Id::default().to_string();
    let config = Config::default().purpose(purpose);
    let store = SessionStore::new(backend).with_config(config).unwrap();
    Some(Store { store: TowerStore::of(&store).unwrap(), _directory: None })
}

/// One test for each flow and each store.
macro_rules! on_every_store {
    ($($flow:ident),* $(,)?) => {
        mod memory {
            $crate::stores::on_every_store!(@ memory $($flow)*);
        }
        mod sqlite {
            $crate::stores::on_every_store!(@ sqlite $($flow)*);
        }
        mod redis {
            $crate::stores::on_every_store!(@ redis $($flow)*);
        }
    };
    (@ $store:ident $($flow:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $flow() {
                if let Some(store) = $crate::stores::$store().await {
                    super::$flow(store.store.clone()).await;
                }
            }
        )*
    };
}
pub(crate) use on_every_store;
