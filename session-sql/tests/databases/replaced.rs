//! SQLite's file is replaced or removed while the store is in use.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_core::{Backend, ErrorKind};
use session_sql::SqliteBackend;

use crate::common::{create, key, over, record};
use crate::sqlite::file;

/// A copy with one session in it, as an administrator restores it.
async fn backup(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("backup.db");
    let backend = SqliteBackend::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    backend.migrate().await.unwrap();
    backend.save(&key(0), &record(1), create()).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(backend.pool()).await.unwrap();
    backend.pool().close().await;
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_is_opened_anew() {
    let (directory, url, backend) = file().await;
    let backup = backup(directory.path()).await;
    let path = directory.path().join("sessions.db");
    let backend = Arc::new(backend);
    let end = Arc::new(AtomicBool::new(false));
    // What is acknowledged after this moment is in the new file.
    let replaced = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (1..9_u32)
        .map(|task| {
            let (backend, end) = (Arc::clone(&backend), Arc::clone(&end));
            let replaced = Arc::clone(&replaced);
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for number in 0.. {
                    if end.load(Ordering::SeqCst) {
                        break;
                    }
                    let key = key(task * 1_000_000 + number);
                    let is_later = replaced.load(Ordering::SeqCst);
                    let saved = backend.save(&key, &record(1), create()).await;
                    if saved.is_ok() && is_later {
                        kept.push(key);
                    }
                }
                kept
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::fs::rename(&backup, &path).unwrap();
    replaced.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(800)).await;
    end.store(true, Ordering::SeqCst);
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    assert!(kept.len() > 20, "{} saves after the file was replaced", kept.len());
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    drop(backend);
    // Another process sees them all.
    let again = SqliteBackend::connect(&url).await.unwrap();
    for key in kept {
        assert!(again.load(&key).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_is_missed() {
    let (directory, _url, backend) = file().await;
    let backup = backup(directory.path()).await;
    let path = directory.path().join("sessions.db");
    backend.save(&key(1), &record(1), create()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        let error = backend.save(&key(1), &record(2), over(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.nothing_was_written(), "{error:?}");
    }
    assert_eq!(backend.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!path.exists(), "the store creates no new file");
    std::fs::rename(&backup, &path).unwrap();
    assert!(backend.load(&key(1)).await.unwrap().is_none());
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    backend.save(&key(0), &record(2), over(1)).await.unwrap();
}
