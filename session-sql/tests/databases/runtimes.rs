//! Runtimes that nobody runs and worker threads that are blocked hold up their own requests only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, Session, SessionStore};
use tokio::runtime::{Builder, Runtime};

use crate::{mariadb, postgres, sqlite};

const TASKS: usize = 64;

#[test]
fn sqlite() {
    let own = own_runtime();
    let (_directory, _, backend) = own.block_on(sqlite::file());
    nobody_is_held_up(&own, Arc::new(backend), 1);
}

#[test]
fn postgres() {
    let own = own_runtime();
    let backend = own.block_on(postgres::backend());
    nobody_is_held_up(&own, Arc::new(backend), 2);
}

#[test]
fn mariadb() {
    let own = own_runtime();
    let backend = own.block_on(mariadb::backend());
    nobody_is_held_up(&own, Arc::new(backend), 2);
}

fn own_runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn nobody_is_held_up(own: &Runtime, backend: Arc<dyn Backend>, others: usize) {
    let store = SessionStore::new(backend);
    let load = Load::start(own, &store);
    // The first ones open connections and prepare statements.
    load.saves_within(Duration::from_millis(500));
    let usual = load.saves_within(Duration::from_millis(500));

    let blocked = own.spawn({
        let store = store.clone();
        async move {
            save(&store, &store.create(), 0).await;
            std::thread::sleep(Duration::from_millis(1500));
        }
    });
    std::thread::sleep(Duration::from_millis(250));
    let meanwhile = load.saves_within(Duration::from_millis(500));
    assert!(meanwhile > usual / 4, "{usual} saves, and {meanwhile} with a blocked worker");
    own.block_on(blocked).unwrap();

    // These rest with operations alone, in batches and waiting.
    let resting: Vec<_> = (0..others)
        .map(|_| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            for number in 0..TASKS {
                let store = store.clone();
                let _ = runtime.spawn(async move {
                    let session = store.create();
                    loop {
                        save(&store, &session, number).await;
                    }
                });
            }
            runtime.block_on(save(&store, &store.create(), 0));
            runtime
        })
        .collect();
    std::thread::sleep(Duration::from_millis(250));
    let meanwhile = load.saves_within(Duration::from_millis(500));
    assert!(meanwhile > usual / 4, "{usual} saves, and {meanwhile} beside resting runtimes");
    own.block_on(async {
        let session = store.create();
        save(&store, &session, 0).await;
        assert!(store.destroy(&session).await.is_ok());
    });
    load.stop();
    drop(resting);
}

async fn save(store: &SessionStore, session: &Session, number: usize) {
    session.insert("number", number).unwrap();
    let _ = store.save(session).await.unwrap();
}

/// Tasks that save without a pause.
struct Load {
    saves: Arc<AtomicU32>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(runtime: &Runtime, store: &SessionStore) -> Self {
        let saves = Arc::new(AtomicU32::new(0));
        let start = |_| {
            let (store, saves) = (store.clone(), Arc::clone(&saves));
            runtime.spawn(async move {
                let session = store.create();
                for number in 0.. {
                    save(&store, &session, number).await;
                    saves.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let tasks = (0..TASKS).map(start).collect();
        Self { saves, tasks }
    }

    fn saves_within(&self, time: Duration) -> u32 {
        let (before, start) = (self.saves.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(time);
        let saves = self.saves.load(Ordering::Relaxed) - before;
        // As many as in that time: the machine may be busy.
        (f64::from(saves) * time.as_secs_f64() / start.elapsed().as_secs_f64()) as u32
    }

    fn stop(self) {
        for task in self.tasks {
            // None of them has failed.
            assert!(!task.is_finished());
            task.abort();
        }
    }
}
