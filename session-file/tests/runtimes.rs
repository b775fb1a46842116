//! A runtime that rests and a worker that blocks hold up their own requests only.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs::{DirBuilder, File};
use std::future::poll_fn;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use session_core::{Backend as _, Session, SessionStore};
use session_file::{Durability, FileBackend};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, unconstrained, yield_now};
use tokio::time::{sleep, timeout};

const TASKS: usize = 64;
/// How long one worker is blocked.
const BLOCKED: Duration = Duration::from_secs(3);
/// How long one save may take. Behind a worker that is blocked it would take longer.
const LIMIT: Duration = Duration::from_millis(2500);
/// Throughput is measured in windows of this length. The median of several ignores what else the
/// machine does.
const WINDOW: Duration = Duration::from_millis(200);
const WINDOWS: usize = 9;

/// The tests measure, so they run one after the other.
static MEASURES: Mutex<()> = Mutex::new(());

/// A runtime stops while its operations wait, and never runs again.
#[test]
fn a_runtime_that_rests_holds_up_no_other() {
    let _alone = MEASURES.lock().unwrap_or_else(PoisonError::into_inner);
    let (directory, backend) = backend();
    let store = SessionStore::new(backend.clone());
    let own = runtime();
    let load = Load::start(&own, &store, TASKS);
    std::thread::sleep(WINDOW);
    let alone = load.median();
    load.stop(&own);

    // As if another process wrote everywhere, so that operations come to wait for it, for a thread
    // and for each other.
    let resting = Builder::new_current_thread().enable_all().build().unwrap();
    let locks = lock_all(directory.path());
    let load_there = Load::start(&resting, &store, 4 * TASKS);
    for _ in 0..8 {
        let backend = backend.clone();
        drop(resting.spawn(async move { while backend.gc(1000).await.is_ok() {} }));
    }
    resting.block_on(async { sleep(WINDOW).await });
    drop(locks);

    let load = Load::start(&own, &store, TASKS);
    std::thread::sleep(WINDOW);
    let beside = load.median();
    own.block_on(async { timeout(LIMIT, backend.gc(1000)).await.unwrap().unwrap() });
    load.stop(&own);
    assert_eq!(load_there.saves(), 0);
    println!("{alone} saves in a window alone, {beside} beside a runtime that rests");
    // It has no share while it rests. What waited for it would save nothing; the rest is for what else the machine does.
    assert!(beside > alone / 4, "{alone} saves, and {beside} beside a runtime that rests");
}

#[test]
fn a_worker_that_blocks_slows_the_others_by_at_most_its_share() {
    let _alone = MEASURES.lock().unwrap_or_else(PoisonError::into_inner);
    let (_directory, backend) = backend();
    let store = SessionStore::new(backend);
    let own = runtime();
    let load = Load::start(&own, &store, TASKS);
    std::thread::sleep(WINDOW);
    let usual = load.median();

    // It saves and then computes on the same worker, with more saves on their way.
    let blocking = own.spawn({
        let store = store.clone();
        async move {
            save(&store, &store.create(), 0).await;
            let sessions: Vec<Session> = (0..4 * TASKS).map(|_| store.create()).collect();
            let mut saves: Vec<_> =
                sessions.iter().map(|session| Box::pin(save(&store, session, 0))).collect();
            // All of them begin, however much this task has done already.
            let begin = poll_fn(|context| {
                for save in &mut saves {
                    let _ = save.as_mut().poll(context);
                }
                Poll::Ready(())
            });
            unconstrained(begin).await;
            std::thread::sleep(BLOCKED);
        }
    });
    std::thread::sleep(WINDOW);
    let meanwhile = load.median();
    assert!(!blocking.is_finished());
    own.block_on(blocking).unwrap();
    let usual = usual.min(load.median());
    load.stop(&own);
    println!("{usual} saves in a window, {meanwhile} while a worker is blocked");
    // Its share is a quarter. What waited for it would save nothing; the rest is for what else the machine does.
    assert!(meanwhile > usual / 4, "{usual} saves, and {meanwhile} while a worker is blocked");
}

fn backend() -> (TempDir, FileBackend) {
    // What the disk needs would be noise: for a sync, and for its journal when other programs write.
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(directory).unwrap();
    let backend = FileBackend::open_with(directory.path().join("sessions"), Durability::None);
    (directory, backend.unwrap())
}

/// Locks every bucket against the writers of this store, until the files are dropped.
fn lock_all(directory: &Path) -> Vec<File> {
    let lock = |number| {
        let bucket = directory.join("sessions").join(format!("{number:02x}"));
        let _ = DirBuilder::new().mode(0o700).create(&bucket);
        let bucket = File::open(bucket).unwrap();
        bucket.lock().unwrap();
        bucket
    };
    (0..=255).map(lock).collect()
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
    counts: Arc<Counts>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    saves: AtomicU32,
    /// The longest save so far, in milliseconds.
    longest: AtomicU64,
    ends: AtomicBool,
}

impl Load {
    fn start(runtime: &Runtime, store: &SessionStore, tasks: usize) -> Self {
        let counts = Arc::new(Counts::default());
        let start = |_| {
            let (store, counts) = (store.clone(), Arc::clone(&counts));
            runtime.spawn(async move {
                let session = store.create();
                let mut number = 0;
                while !counts.ends.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    save(&store, &session, number).await;
                    let took = u64::try_from(start.elapsed().as_millis()).unwrap();
                    counts.longest.fetch_max(took, Ordering::Relaxed);
                    counts.saves.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                    // tokio makes a task yield that has used its budget, and other workers can't
                    // take it over until the worker that it ran on goes on. With this it happens
                    // between two saves, so that what is measured is the store.
                    yield_now().await;
                }
            })
        };
        let tasks = (0..tasks).map(start).collect();
        Self { counts, tasks }
    }

    fn saves(&self) -> u32 {
        self.counts.saves.load(Ordering::Relaxed)
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

    /// No save has failed or taken long.
    fn stop(self, runtime: &Runtime) {
        self.counts.ends.store(true, Ordering::Relaxed);
        for task in self.tasks {
            runtime.block_on(task).unwrap();
        }
        let longest = Duration::from_millis(self.counts.longest.load(Ordering::Relaxed));
        assert!(longest < LIMIT, "a save took {longest:?}");
    }
}
