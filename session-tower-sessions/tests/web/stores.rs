//! The stores that every flow runs on.

use std::path::PathBuf;

use session_memory::MemoryBackend;
use session_sql::SqliteBackend;
use session_tower_sessions::TowerStore;

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
    let file: PathBuf = directory.path().join("sessions.db");
    let backend = SqliteBackend::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    backend.migrate().await.unwrap();
    Some(Store { store: TowerStore::new(backend), _directory: Some(directory) })
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
