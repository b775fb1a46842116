//! Waiting saves of one session in one process: one write for all, and an outcome for each.

use std::sync::Arc;
use std::time::Duration;

use session_core::{ErrorKind, Result, Saved, Session, SessionStore};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::faulty::{Fault, Faulty};
use crate::support::{config, cookie, increment, load, n, request, store, stored, with_config};

type Saving = JoinHandle<Result<Saved>>;

fn save(store: &SessionStore, session: &Session) -> Saving {
    let (store, session) = (store.clone(), session.clone());
    tokio::spawn(async move { store.save(&session).await })
}

/// Long enough for a save to proceed as far as it can.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// A store with one session, `followers` other handles to it, and the save of a leader that had a
/// conflict and is about to load. The saves of the followers begin at that moment.
async fn queue(
    backend: &Arc<Faulty>,
    store: &SessionStore,
    followers: Vec<Session>,
    cookie: &str,
) -> (Saving, Vec<Saving>) {
    let leader = load(store, cookie).await;
    increment(&leader);
    request(store, cookie, increment).await;
    backend.take_calls();
    let (arrived, arrival) = oneshot::channel();
    let same_store = store.clone();
    backend.before("load", 1, async move {
        let mut saves = Vec::new();
        for session in followers {
            saves.push(save(&same_store, &session));
            tokio::task::yield_now().await;
        }
        a_moment().await;
        drop(arrived.send(saves));
    });
    let leading = save(store, &leader);
    (leading, arrival.await.unwrap())
}

async fn incremented(store: &SessionStore, cookie: &str, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let session = load(store, cookie).await;
        increment(&session);
        sessions.push(session);
    }
    sessions
}

async fn outcomes(saves: Vec<Saving>) -> Vec<Saved> {
    let mut outcomes = Vec::new();
    for save in saves {
        outcomes.push(save.await.unwrap().unwrap());
    }
    outcomes
}

#[tokio::test]
async fn sixteen_waiting_saves_are_one_write() {
    let (backend, store) = store();
    let (cookie, _) = stored(&store).await;
    let followers = incremented(&store, &cookie, 15).await;
    let (leading, saves) = queue(&backend, &store, followers.clone(), &cookie).await;
    assert_eq!(leading.await.unwrap().unwrap(), Saved::Updated);
    assert_eq!(outcomes(saves).await, [Saved::Updated; 15]);
    assert_eq!(backend.take_calls(), ["save", "load", "save"]);
    assert_eq!(n(&store, &cookie).await, 17);
    // Each handle can be saved again.
    for session in followers {
        assert!(!session.changed());
        assert_eq!(session.get::<u32>("n").unwrap(), Some(17));
    }
}

#[tokio::test]
async fn each_update_gets_its_own_number() {
    let (_, store) = store();
    let (cookie, _) = stored(&store).await;
    let mut tasks = Vec::new();
    for _ in 0..64 {
        let session = load(&store, &cookie).await;
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            store.update(&session, "n", |n: Option<u32>| n.unwrap_or(0) + 1).await.unwrap()
        }));
    }
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_error_of_one_save_does_not_affect_the_others() {
    let (backend, store) = with_config(config().max_record_size(400));
    let (cookie, _) = stored(&store).await;
    let mut followers = incremented(&store, &cookie, 5).await;
    // One has an update that fails on the value that another one writes, one has an update that
    // panics, and one is too large.
    followers[0].insert("kind", "text").unwrap();
    followers[1].update("kind", |n: Option<u32>| n.unwrap_or(0)).unwrap();
    let below_one = |n: Option<u32>| {
        assert!(n.unwrap_or(0) < 1, "this panic is part of the test");
        n.unwrap_or(0) + 1
    };
    let panicking = load(&store, &cookie).await;
    panicking.update("n", below_one).unwrap();
    followers[2] = panicking;
    followers[3].insert("big", "x".repeat(500)).unwrap();
    let (leading, saves) = queue(&backend, &store, followers, &cookie).await;
    assert_eq!(leading.await.unwrap().unwrap(), Saved::Updated);
    let [text, misfit, panics, big, last] = <[Saving; 5]>::try_from(saves).unwrap();
    assert_eq!(text.await.unwrap().unwrap(), Saved::Updated);
    assert_eq!(misfit.await.unwrap().unwrap_err().kind(), ErrorKind::InvalidValue);
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(big.await.unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(last.await.unwrap().unwrap(), Saved::Updated);
    // The save that is too large and the failing update have written nothing.
    assert_eq!(n(&store, &cookie).await, 4);
}

#[tokio::test]
async fn a_common_write_whose_answer_was_lost_is_applied_once() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::SentTwice, Fault::Hang] {
        let (backend, store) = store();
        let (cookie, _) = stored(&store).await;
        let followers = incremented(&store, &cookie, 7).await;
        let faulty = Arc::clone(&backend);
        let (leading, saves) = queue(&backend, &store, followers, &cookie).await;
        faulty.fail(&[fault]);
        assert_eq!(leading.await.unwrap().unwrap(), Saved::Updated, "{fault:?}");
        assert_eq!(outcomes(saves).await, [Saved::Updated; 7]);
        assert_eq!(n(&store, &cookie).await, 9, "{fault:?}");
    }
}

#[tokio::test]
async fn a_dropped_leader_loses_no_change_of_the_others() {
    for fault in [Fault::None, Fault::Hang] {
        let (backend, store) = store();
        let (cookie, _) = stored(&store).await;
        let followers = incremented(&store, &cookie, 7).await;
        let (leading, saves) = queue(&backend, &store, followers, &cookie).await;
        // Its future is dropped during the load, or while the common write hangs.
        if fault == Fault::Hang {
            backend.fail(&[fault]);
            a_moment().await;
        } else {
            backend.before("save", 1, std::future::pending());
            a_moment().await;
        }
        leading.abort();
        assert_eq!(outcomes(saves).await, [Saved::Updated; 7], "{fault:?}");
        let expected = if fault == Fault::Hang { 9 } else { 8 };
        // The leader's change is part of the common write. That was carried out, or a member may
        // have sent it again.
        let written = n(&store, &cookie).await;
        assert!(written == expected || written == 9, "{written} after {fault:?}");
    }
}

#[tokio::test]
async fn a_save_that_was_dropped_before_the_write_is_not_part_of_it() {
    let (backend, store) = store();
    let (cookie, _) = stored(&store).await;
    let followers = incremented(&store, &cookie, 3).await;
    let left = followers[1].clone();
    let (arrived, mut arrival) = oneshot::channel::<()>();
    let leader = load(&store, &cookie).await;
    increment(&leader);
    request(&store, &cookie, increment).await;
    let same_store = store.clone();
    backend.before("load", 1, async move {
        let saves: Vec<_> = followers.iter().map(|session| save(&same_store, session)).collect();
        a_moment().await;
        saves[1].abort();
        a_moment().await;
        drop(arrived);
    });
    assert_eq!(store.save(&leader).await.unwrap(), Saved::Updated);
    assert!(arrival.try_recv().is_err());
    a_moment().await;
    assert_eq!(n(&store, &cookie).await, 4);
    // The session can be saved later, once.
    assert_eq!(store.save(&left).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 5);
}

#[tokio::test]
async fn a_logout_ends_all_waiting_saves() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    let followers = incremented(&store, &cookie, 7).await;
    // Immediately before the leader loads, while the others wait.
    let same_store = store.clone();
    backend.before("load", 3, async move { same_store.destroy(&session).await.unwrap() });
    let (leading, saves) = queue(&backend, &store, followers, &cookie).await;
    assert_eq!(leading.await.unwrap().unwrap_err().kind(), ErrorKind::Gone);
    for save in saves {
        assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::Gone);
    }
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_rotation_in_the_queue_keeps_the_changes_of_the_others() {
    let (backend, store) = store();
    let (old_cookie, _) = stored(&store).await;
    let followers = incremented(&store, &old_cookie, 3).await;
    followers[1].regenerate();
    let rotated = followers[1].clone();
    let (leading, saves) = queue(&backend, &store, followers, &old_cookie).await;
    assert_eq!(leading.await.unwrap().unwrap(), Saved::Updated);
    let [first, rotation, last] = <[Saving; 3]>::try_from(saves).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Saved::Updated);
    assert_eq!(rotation.await.unwrap().unwrap(), Saved::Issued);
    // It waited behind the rotation, so it is late.
    assert_eq!(last.await.unwrap().unwrap_err().kind(), ErrorKind::Gone);
    let new_cookie = cookie(&store, &rotated);
    assert_eq!(n(&store, &new_cookie).await, 4);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
    assert_eq!(backend.len(), 1);
}
