//! Callers that are dropped, bad items, panics and deadlines.

use super::*;

const LIMITS: BatchLimits = BatchLimits { alone: 1, in_flight: 1, items: 8, bytes: 1000 };

#[tokio::test]
async fn many_saves_do_not_delay_a_logout() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    fill(&memory, 0..100);
    memory.held.send_replace("update");
    let flood = begin_updates(&batcher, (0..100).map(|number| (number, 100))).await;
    for number in 0..100 {
        assert!(batcher.destroy(&key(number), None, LIMIT).await.unwrap());
    }
    memory.held.send_replace("");
    assert_eq!(outcomes(flood).await, [Some(ErrorKind::Gone); 100]);
}

#[tokio::test]
async fn an_operation_whose_caller_was_dropped_is_not_sent() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    fill(&memory, 0..12);
    memory.held.send_replace("update");
    let mut tasks = begin_updates(&batcher, (0..12).map(|number| (number, 100))).await;
    // Two are in flight, ten wait: every second future is dropped.
    for number in (2..12).rev().step_by(2) {
        tasks.remove(number).abort();
    }
    tokio::task::yield_now().await;
    memory.held.send_replace("");
    assert_eq!(outcomes(tasks).await, [None; 7]);
    assert_eq!(memory.sizes("update"), [0, 1, 5]);
    let records = memory.records.lock().unwrap();
    for number in 0..12 {
        let written = records[&key(number)].revision.to_u64() == 2;
        assert_eq!(written, number < 2 || number % 2 == 0, "{number}");
    }
    assert!(batcher.updates.queues.lock().unwrap().is_empty());
}

#[tokio::test]
async fn dropped_callers_of_a_batch_in_flight_do_not_affect_the_others() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    memory.held.send_replace("load");
    for round in 0..50 {
        let mut tasks = begin_loads(&batcher, 0..30).await;
        if round % 2 == 0 {
            memory.held.send_replace("");
            tokio::task::yield_now().await;
        }
        // The operation that is alone and the one that started the first batch are among them.
        for place in (0..30).rev().step_by(2).chain([0]) {
            tasks.remove(place).abort();
        }
        memory.held.send_replace("");
        assert_eq!(outcomes(tasks).await, [None; 14], "{round}");
        memory.held.send_replace("load");
    }
    tokio::task::yield_now().await;
    assert!(batcher.loads.queues.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_item_is_the_only_one_that_fails() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    fill(&memory, 0..8);
    let numbers = [0, 1, 2, BAD, 3, 4];
    let expected = numbers.map(|number| (number == BAD).then_some(ErrorKind::TooLarge));
    memory.held.send_replace("update");
    let tasks = begin_updates(&batcher, numbers.map(|number| (number, 1))).await;
    memory.held.send_replace("");
    assert_eq!(outcomes(tasks).await, expected);
    assert_eq!(memory.sizes("update"), [0, 1, 4]);
}

#[tokio::test]
async fn a_panic_fails_its_own_batch_only() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    memory.held.send_replace("load");
    // One alone, one in a batch of its own, then batches of eight.
    let numbers: Vec<u16> = (0..4).chain([PANICS]).chain(5..30).collect();
    let tasks = begin_loads(&batcher, numbers).await;
    memory.held.send_replace("");
    for (place, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(_) => assert!(!(2..10).contains(&place), "{place}"),
            Err(error) => {
                assert!((2..10).contains(&place), "{place}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(!error.nothing_was_written());
            }
        }
    }
    assert_eq!(memory.sizes("load"), [0, 1, 8, 8, 8, 4]);
    assert!(batcher.loads.queues.lock().unwrap().is_empty());

    let alone = Arc::clone(&batcher);
    let alone = tokio::spawn(async move { alone.load(&key(PANICS), LIMIT).await });
    assert!(alone.await.unwrap_err().is_panic());
    assert!(batcher.loads.queues.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_number_of_results_is_an_error_for_the_whole_batch() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    fill(&memory, (0..20).chain([FORGETS]));
    memory.held.send_replace("all");
    let loads = begin_loads(&batcher, [0, 1, 2, FORGETS, 2, 3]).await;
    let updates = begin_updates(&batcher, [0, 1, 2, FORGETS].map(|number| (number, 1))).await;
    memory.held.send_replace("");
    let wrong = Some(ErrorKind::Other);
    assert_eq!(outcomes(loads).await, [None, None, wrong, wrong, wrong, wrong]);
    for (place, task) in updates.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(()) => assert!(place < 2),
            Err(error) => assert!(place >= 2 && !error.nothing_was_written(), "{error:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_operation_ends_at_its_own_deadline() {
    let memory = Memory::new(BatchLimits { in_flight: 2, ..LIMITS });
    let batcher = batcher(&memory);
    fill(&memory, 0..20);
    memory.held.send_replace("update");
    let started = tokio::time::Instant::now();
    let mut tasks = Vec::new();
    // One alone, two in batches of their own, and nine that wait.
    let limits = [50, 900, 950, 700, 300, 800, 200, 400, 650, 150, 600, 5000];
    for (number, millis) in (0..).zip(limits) {
        let batcher = Arc::clone(&batcher);
        tasks.push(tokio::spawn(async move {
            let outcome = update(&batcher, number, 1, Duration::from_millis(millis)).await;
            (outcome, started.elapsed())
        }));
        tokio::task::yield_now().await;
    }
    let sent: usize = memory.sizes("update").iter().map(|size| (*size).max(1)).sum();
    assert_eq!(sent, 3);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    memory.held.send_replace("");
    for (place, task) in tasks.into_iter().enumerate() {
        let (outcome, elapsed) = task.await.unwrap();
        let limit = Duration::from_millis(limits[place]);
        if limits[place] > 1000 {
            assert!(outcome.is_ok());
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}");
        assert_eq!(error.nothing_was_written(), place >= sent, "{place}: {error:?}");
        let late = Duration::from_millis(12);
        assert!((limit..limit + late).contains(&elapsed), "{place}: {elapsed:?} of {limit:?}");
    }
    assert!(batcher.updates.queues.lock().unwrap().is_empty());
}

/// This includes the operation that is sent alone, with a timer in its caller.
#[tokio::test(start_paused = true)]
async fn an_operation_that_ends_at_its_deadline_makes_room_for_others() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    memory.held.send_replace("load");
    let tasks = begin_loads(&batcher, 0..30).await;
    assert_eq!(outcomes(tasks).await, [Some(ErrorKind::Unavailable); 30]);
    tokio::task::yield_now().await;
    assert!(batcher.loads.queues.lock().unwrap().is_empty());
    memory.held.send_replace("");
    assert_eq!(outcomes(begin_loads(&batcher, 0..30).await).await, [None; 30]);
}
