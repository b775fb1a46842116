use super::*;

struct Job(usize);

impl Shareable for Job {
    /// The jobs of each batch and the time that it had; every batch takes a millisecond.
    type Context = Arc<Mutex<Vec<(usize, Duration)>>>;
    type Answer = ();

    fn bytes(&self) -> usize {
        self.0
    }

    async fn run(
        seen: &Self::Context,
        jobs: Vec<Self>,
        limit: Duration,
    ) -> Vec<Result<(), Failure>> {
        seen.lock().unwrap().push((jobs.len(), limit));
        tokio::time::sleep(Duration::from_millis(1)).await;
        jobs.iter().map(|_| Ok(())).collect()
    }
}

const LIMIT: Duration = Duration::from_secs(2);

fn waiter(size: usize, since: Instant) -> Waiter<Job> {
    Waiter { job: Job(size), since, answer: oneshot::channel().0 }
}

fn waiting(sizes: &[usize]) -> Gathering<Job> {
    let mut all = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    gathering(&mut all, runtime.handle().id());
    let mut gathering = all.remove(0);
    gathering.waiting = sizes.iter().map(|&size| waiter(size, Instant::now())).collect();
    gathering.bytes = sizes.iter().sum();
    gathering
}

/// How many jobs of these sizes leave at a time.
fn batches(sizes: &[usize]) -> Vec<usize> {
    let mut gathering = waiting(sizes);
    let mut batches = Vec::new();
    while !gathering.waiting.is_empty() {
        batches.push(gathering.take(LIMIT).len());
    }
    assert_eq!(gathering.bytes, 0);
    batches
}

#[test]
fn batches_are_bounded_by_number_and_bytes() {
    assert_eq!(batches(&[100; 130]), [64, 64, 2]);
    assert_eq!(batches(&[FULL_BYTES / 4; 9]), [4, 4, 1]);
    assert_eq!(batches(&[2 * FULL_BYTES, 2 * FULL_BYTES, 1, 1]), [1, 1, 2]);
}

#[test]
fn those_of_a_batch_are_of_one_age() {
    let mut gathering = waiting(&[1; 3]);
    let young = Instant::now() + LIMIT / 2;
    gathering.waiting.extend([waiter(1, young), waiter(1, young)]);
    gathering.bytes += 2;
    assert_eq!((gathering.take(LIMIT).len(), gathering.bytes), (3, 2));
    assert_eq!((gathering.take(LIMIT).len(), gathering.bytes), (2, 0));
}

#[test]
fn a_batch_leaves_when_it_is_worth_it() {
    let mut gathering = waiting(&[]);
    let mut arrive = |count: usize| {
        let mut left = Vec::new();
        for _ in 0..count {
            gathering.outstanding = ALONE;
            match gathering.enter(Job(1), LIMIT) {
                Turn::Shared(_, batch) => left.extend(batch.map(|batch| batch.len())),
                Turn::Alone(_) => panic!("too many are outstanding for that"),
            }
        }
        left
    };
    assert_eq!(arrive(1), [1]);
    for _ in 1..TRIPS {
        assert_eq!(arrive(FEWEST), [FEWEST]);
    }
    assert!(arrive(FULL - 1).is_empty());
    assert_eq!(arrive(1), [FULL]);
    assert!(arrive(1).is_empty());
    // One comes back and ends: the others will come for who waits.
    assert!((0..TRIPS).all(|_| gathering.next(LIMIT).is_none()));
    assert_eq!(gathering.next(LIMIT).map(|batch| batch.len()), Some(1));
    assert!(gathering.next(LIMIT).is_none());
    assert_eq!(gathering.flights, 0);
}

#[test]
fn the_more_there_are_the_more_leave_at_a_time() {
    for (outstanding, leave) in [(9, FEWEST), (60, 60 / PARTS), (1000, FULL)] {
        let mut gathering = waiting(&vec![1; leave - 1]);
        (gathering.outstanding, gathering.flights) = (outstanding, 1);
        assert!(gathering.departing(LIMIT).is_none(), "{outstanding}");
        gathering.outstanding -= 1;
        match gathering.enter(Job(1), LIMIT) {
            Turn::Shared(_, batch) => assert_eq!(batch.map(|batch| batch.len()), Some(leave)),
            Turn::Alone(_) => panic!("too many are outstanding for that"),
        }
    }
}

#[tokio::test]
async fn the_time_of_a_batch_is_that_of_who_waits_longest() {
    let (sharing, seen) = (Sharing::new(true), Arc::default());
    let now = Instant::now();
    let (answer, mut overdue) = oneshot::channel();
    let batch = vec![
        waiter(1, now),
        Waiter { job: Job(1), since: now.checked_sub(LIMIT * 15 / 16).unwrap(), answer },
        waiter(1, now),
    ];
    let (answer, waits) = oneshot::channel();
    let since = now.checked_sub(LIMIT / 2).unwrap();
    let batch = batch.into_iter().chain([Waiter { job: Job(1), since, answer }]).collect();
    let runtime = Handle::current().id();
    gathering(&mut lock(&sharing.gatherings), runtime).flights = 1;
    let gatherings = Arc::clone(&sharing.gatherings);
    let flight = Flight { gatherings, runtime, landed: false };
    deliver(Arc::clone(&seen), flight, batch, LIMIT).await;
    // Whose receivers are gone sends nothing.
    assert!(waits.await.unwrap().is_ok());
    assert!(overdue.try_recv().unwrap().is_err());
    let seen = seen.lock().unwrap();
    assert!(matches!(&seen[..], [(1, left)] if *left <= LIMIT / 2), "{seen:?}");
}

#[test]
fn each_runtime_has_batches_of_its_own_and_leaves_nothing_behind() {
    let sharing = Arc::new(Sharing::new(true));
    let seen = Arc::default();
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let flood = |runtime: &tokio::runtime::Runtime| {
        let tasks = (0..100).map(|_| {
            let (sharing, seen) = (Arc::clone(&sharing), Arc::clone(&seen));
            runtime.spawn(async move { sharing.submit(&seen, Job(1), LIMIT).await })
        });
        tasks.collect::<Vec<_>>()
    };
    // It comes to rest with all that it has begun.
    let resting = build();
    let abandoned = flood(&resting);
    resting.block_on(async {
        while lock(&sharing.gatherings).first().is_none_or(|all| all.outstanding < 100) {
            tokio::task::yield_now().await;
        }
    });

    let other = build();
    for task in flood(&other) {
        let limited = async { tokio::time::timeout(LIMIT, task).await };
        assert!(other.block_on(limited).expect("nobody waits in vain").unwrap().is_ok());
    }
    assert!(seen.lock().unwrap().iter().any(|(jobs, _)| *jobs > 1), "nothing was shared");
    drop((resting, abandoned));
    assert!(lock(&sharing.gatherings).is_empty());
}

#[tokio::test]
async fn who_waits_for_a_flight_that_ends_early_hears_of_it() {
    let sharing = Sharing::<Job>::new(true);
    let runtime = Handle::current().id();
    let flight = || Flight { gatherings: Arc::clone(&sharing.gatherings), runtime, landed: false };
    let (answer, mut waits) = oneshot::channel();
    {
        let mut all = lock(&sharing.gatherings);
        let gathering = gathering(&mut all, runtime);
        (gathering.flights, gathering.outstanding) = (2, 1);
        gathering.waiting.push(Waiter { job: Job(1), since: Instant::now(), answer });
    }
    // Another one is still to come.
    drop(flight());
    assert_eq!(waits.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
    drop(flight());
    assert_eq!(waits.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    drop(Outstanding { gatherings: &sharing.gatherings, runtime });
    assert!(lock(&sharing.gatherings).is_empty());
}
