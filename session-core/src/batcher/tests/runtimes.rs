//! Runtimes that are not polled or end, and workers that block.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use super::*;

const LIMITS: BatchLimits = BatchLimits { alone: 2, in_flight: 2, items: 8, bytes: 1000 };

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_runtime_that_is_not_polled_delays_no_other_and_continues_later() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    let resting = single();
    // It is not polled any more with operations that are alone, in batches and in the queue.
    memory.held.send_replace("load");
    let abandoned = resting.block_on(begin_loads(&batcher, 0..40));
    memory.held.send_replace("");
    let sent = memory.sizes("load").len();

    let other = Runtime::new().unwrap();
    let started = Instant::now();
    for _ in 0..20 {
        other.block_on(async {
            assert_eq!(outcomes(begin_loads(&batcher, 0..40).await).await, [None; 40]);
        });
    }
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
    assert!(memory.sizes("load").len() > sent + 20);

    assert_eq!(resting.block_on(outcomes(abandoned)), [None; 40]);
    assert!(batcher.loads.queues.lock().unwrap().is_empty(), "a queue was left behind");
}

#[test]
fn a_runtime_that_ends_leaves_nothing_behind() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    let ending = single();
    memory.held.send_replace("load");
    let tasks = ending.block_on(begin_loads(&batcher, 0..40));
    drop(ending);
    memory.held.send_replace("");
    assert!(batcher.loads.queues.lock().unwrap().is_empty());
    drop(tasks);
    single().block_on(async {
        assert_eq!(outcomes(begin_loads(&batcher, 0..40).await).await, [None; 40]);
    });
}

/// A task blocks its worker after an operation that started a batch, or that was in a batch.
#[test]
fn a_blocked_worker_delays_only_its_own_operation() {
    const BLOCKED: Duration = Duration::from_millis(600);
    const ROUNDS: u32 = 8;
    // One batch in flight at a time, so that a blocked batch would block all.
    let memory = Memory::new(BatchLimits { alone: 0, in_flight: 1, ..LIMITS });
    let batcher = batcher(&memory);
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for number in 0..6 {
        let (batcher, done) = (Arc::clone(&batcher), Arc::clone(&done));
        runtime.spawn(async move {
            loop {
                batcher.load(&key(number), LIMIT).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let blocking = runtime.spawn(async move {
        for _ in 0..ROUNDS {
            for number in 0..10 {
                batcher.load(&key(number), LIMIT).await.unwrap();
            }
            std::thread::sleep(BLOCKED);
        }
    });
    // In every fifth of a second at least 50 operations complete, even on a busy machine.
    let mut before = 0;
    while !blocking.is_finished() {
        std::thread::sleep(BLOCKED / 3);
        let now = done.load(Ordering::Relaxed);
        assert!(now > before + 50, "{before}, then {now}");
        before = now;
    }
    runtime.shutdown_background();
}
