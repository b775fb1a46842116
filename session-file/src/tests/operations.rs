//! What touch, rotate and reopening do to files.

use super::*;

#[tokio::test]
async fn touch_changes_twelve_bytes_of_the_same_file() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let path = fixture.file(&key);
    let (inode, before) = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
    fixture.store.touch(&key, 2 * HOUR).await.unwrap();
    let after = fs::read(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_ne!(before[8..20], after[8..20]);
    assert_eq!((&before[..8], &before[20..]), (&after[..8], &after[20..]));
}

/// A load that meets half a touch asks again under the lock, rather than to call it corrupt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_waits_for_a_touch_that_is_half_written() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let whole = fs::read(fixture.file(&key)).unwrap();
    let file = File::options().write(true).open(fixture.file(&key)).unwrap();
    let lock = File::open(fixture.root().join("01")).unwrap();
    lock.lock().unwrap();
    file.write_all_at(&[0xFF; 4], 8).unwrap();
    let load = tokio::spawn({
        let store = fixture.store.clone();
        async move { store.load(&key).await }
    });
    sleep(MOMENT).await;
    assert!(!load.is_finished());
    file.write_all_at(&whole[8..20], 8).unwrap();
    lock.unlock().unwrap();
    assert_eq!(load.await.unwrap().unwrap().unwrap().record, record(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loads_beside_touches_are_never_corrupt() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let done = Arc::new(AtomicBool::new(false));
    let loads = tokio::spawn({
        let (store, done) = (fixture.store.clone(), Arc::clone(&done));
        async move {
            let mut loads = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(store.load(&key).await.unwrap().is_some());
                loads += 1;
            }
            loads
        }
    });
    for n in 0..2_000 {
        let ttl = HOUR + Duration::from_millis(n * 0x1_0101);
        fixture.store.touch(&key, ttl).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(loads.await.unwrap() > 100);
}

#[tokio::test]
async fn sessions_survive_reopening_with_their_deadline() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    for durability in [Durability::None, Durability::Data, Durability::Full] {
        let store = FileBackend::open_with(fixture.root(), durability).unwrap();
        let loaded = store.load(&key(1, 1)).await.unwrap().unwrap();
        assert_eq!(loaded.record, record(1));
        assert!(loaded.expires_in <= HOUR && loaded.expires_in > HOUR - Duration::from_secs(60));
        let write = Write::Update(update(1));
        store.save(&key(1, 1), &record(1), write).await.unwrap();
        let write = update(1);
        store.rotate(&key(1, 1), &key(2, 1), &record(2), write).await.unwrap();
        let write = update(2);
        store.rotate(&key(2, 1), &key(1, 1), &record(1), write).await.unwrap();
        assert!(store.load(&key(2, 1)).await.unwrap().is_none());
    }
}

/// 32 tasks move sessions between two sub-directories in both directions: nothing is lost, and
/// nobody waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotations_in_both_directions_do_not_block_each_other() {
    let fixture = Fixture::new();
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                let (mut here, mut there) = (key(1, task), key(2, task));
                if task % 2 == 0 {
                    (here, there) = (there, here);
                }
                let write = Write::Create { ttl: HOUR };
                store.save(&here, &record(0), write).await.unwrap();
                for n in 0..50 {
                    let rotated = store.rotate(&here, &there, &record(n + 1), update(n)).await;
                    rotated.unwrap();
                    (here, there) = (there, here);
                }
                let loaded = store.load(&here).await.unwrap().unwrap();
                assert_eq!(loaded.record.revision, Revision::from_u64(50));
                assert!(store.load(&there).await.unwrap().is_none());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
