//! A runtime that rests and a worker that blocks hold up their own requests only.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_core::{Session, SessionStore};
use session_memory::MemoryBackend;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

const TASKS: usize = 64;
/// How long one worker is blocked.
const BLOCKED: Duration = Duration::from_secs(3);
/// How long one save may take. It is shorter than the time that a save waits for others.
const LIMIT: Duration = Duration::from_millis(1500);
/// Throughput is measured in windows of this length. The median of several ignores what else the
/// machine does.
const WINDOW: Duration = Duration::from_millis(200);
const WINDOWS: usize = 9;

/// A runtime stops while its operations wait, and never runs again.
#[test]
fn a_runtime_that_rests_holds_up_no_other() {
    let (_directory, store) = store();
    // More than may have a thread at a time, for every bucket several.
    let resting = Builder::new_current_thread().enable_all().build().unwrap();
    let load_there = Load::start(&resting, &store, 16 * TASKS);
    for _ in 0..8 {
        let store = store.clone();
        drop(resting.spawn(async move { while store.gc().await.is_ok() {} }));
    }
    resting.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
    let saved_there = load_there.saves();
    assert!(saved_there > 0);

    let own = runtime();
    let load = Load::start(&own, &store, TASKS);
    std::thread::sleep(WINDOW);
    let beside = load.median();
    own.block_on(async { store.gc().await.unwrap() });
    load.stop();
    assert_eq!(load_there.saves(), saved_there);
    drop(resting);

    let load = Load::start(&own, &store, TASKS);
    std::thread::sleep(WINDOW);
    let alone = load.median();
    load.stop();
    println!("{alone} saves in a window alone, {beside} beside a runtime that rests");
    // It has no share while it rests. One half is for noise.
    assert!(beside > alone / 2, "{alone} saves, and {beside} beside a runtime that rests");
}

#[test]
fn a_worker_that_blocks_slows_the_others_by_at_most_its_share() {
    let (_directory, store) = store();
    let own = runtime();
    let load = Load::start(&own, &store, TASKS);
    std::thread::sleep(WINDOW);
    let usual = load.median();

    // A request that saves its session and then computes, on the same worker.
    let blocking = own.spawn({
        let store = store.clone();
        async move {
            save(&store, &store.create(), 0).await;
            std::thread::sleep(BLOCKED);
        }
    });
    std::thread::sleep(WINDOW);
    let meanwhile = load.median();
    assert!(!blocking.is_finished());
    own.block_on(blocking).unwrap();
    load.stop();
    println!("{usual} saves in a window, {meanwhile} while a worker is blocked");
    // Its share is a quarter; another quarter is for noise.
    assert!(meanwhile > usual / 2, "{usual} saves, and {meanwhile} while a worker is blocked");
}

fn store() -> (TempDir, SessionStore) {
    let directory = tempfile::tempdir().unwrap();
    // What the disk needs for a sync would be noise.
    let backend = FileBackend::open_with(directory.path().join("sessions"), Durability::None);
    (directory, SessionStore::new(backend.unwrap()))
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

async fn save(store: &SessionStore, session: &Session, number: usize) {
    session.insert("number", number).unwrap();
    store.save(session).await.unwrap();
}

/// Tasks that save without a pause, each a session of its own.
struct Load {
    saves: Arc<AtomicU32>,
    /// The longest save so far, in milliseconds.
    longest: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(runtime: &Runtime, store: &SessionStore, tasks: usize) -> Self {
        let saves = Arc::new(AtomicU32::new(0));
        let longest = Arc::new(AtomicU64::new(0));
        let start = |_| {
            let (store, saves, longest) = (store.clone(), Arc::clone(&saves), Arc::clone(&longest));
            runtime.spawn(async move {
                let session = store.create();
                for number in 0.. {
                    let start = Instant::now();
                    save(&store, &session, number).await;
                    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
                    longest.fetch_max(took, Ordering::Relaxed);
                    saves.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let tasks = (0..tasks).map(start).collect();
        Self { saves, longest, tasks }
    }

    fn saves(&self) -> u32 {
        self.saves.load(Ordering::Relaxed)
    }

    /// The median of the saves in a few windows.
    fn median(&self) -> u32 {
        let window = |_| {
            let before = self.saves();
            std::thread::sleep(WINDOW);
            self.saves() - before
        };
        let mut windows: Vec<u32> = (0..WINDOWS).map(window).collect();
        windows.sort_unstable();
        windows[WINDOWS / 2]
    }

    /// None of its tasks has failed or waited for long.
    fn stop(self) {
        let longest = Duration::from_millis(self.longest.load(Ordering::Relaxed));
        for task in self.tasks {
            assert!(!task.is_finished());
            task.abort();
        }
        assert!(longest < LIMIT, "a save took {longest:?}");
    }
}
