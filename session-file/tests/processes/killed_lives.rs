//! `kill -9` while sessions are created, moved to another key and destroyed.

use std::collections::HashMap;

use libtest_mimic::Failed;
use session_core::{Backend as _, Key, Owner, Record, Result, Revision, Write};
use session_file::FileBackend;

use crate::killed::{acknowledge, numbered, write_until_killed};
use crate::{HOUR, open, runtime, start, store_of_child};

const KILLS: usize = 100;
/// Each user has one session at a time, in a bucket with the session of another user.
const USERS: u8 = 32;
/// Steps of a life: created, moved to another key twice, destroyed.
const STEPS: u64 = 4;

/// Each user takes one step after the other, and acknowledges the number of steps taken.
#[expect(clippy::print_stdout, reason = "what a run was worth is seen in its figures")]
pub(crate) fn test() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let runtime = runtime();
    let (mut acknowledged, mut seen) = (0, Seen::default());
    for run in 0..KILLS {
        let path = directory.path().join(run.to_string());
        let mut steps = HashMap::new();
        acknowledged += write_until_killed(start("live", &path), &mut steps)?;
        let store = open(&path);
        for user in 0..USERS {
            let taken = steps.get(&user).copied().unwrap_or(0);
            runtime.block_on(check(&store, user, taken, &mut seen))?;
        }
        std::fs::remove_dir_all(path)?;
    }
    println!("{KILLS} kills, {acknowledged} steps acknowledged, then {seen:?}");
    // Otherwise no process was killed during a step.
    assert!(seen.taken > 0);
    assert!(acknowledged > 5 * KILLS);
    Ok(())
}

/// The state of the step after the last acknowledged one.
#[derive(Debug, Default)]
struct Seen {
    not_taken: usize,
    taken: usize,
    /// The old session without a change, and a copy under the new key that was not acknowledged.
    half_moved: usize,
}

/// Of all keys of the user, only the key of the last acknowledged step or of the step after it is
/// live.
async fn check(store: &FileBackend, user: u8, taken: u64, seen: &mut Seen) -> Result<(), Failed> {
    let mut live = Vec::new();
    for step in 0..=taken + 1 {
        if let Some(loaded) = store.load(&key(user, step)).await? {
            assert_eq!(loaded.record, owned(user, step), "not what was written under this key");
            let found = store.owner_index().ok_or("there is an index")?;
            let keys = found.keys_of(&owner(user), None, 100).await?;
            assert!(keys.contains(&key(user, step)), "the index lacks a session of user {user}");
            live.push(step);
        }
    }
    let live_after = |taken: u64| Vec::from_iter((!taken.is_multiple_of(STEPS)).then_some(taken));
    if live == live_after(taken) {
        seen.not_taken += 1;
    } else if live == live_after(taken + 1) {
        seen.taken += 1;
    } else {
        let both = [live_after(taken), live_after(taken + 1)].concat();
        assert_eq!(live, both, "user {user} after {taken} steps");
        assert_eq!(both.len(), 2, "user {user} after {taken} steps");
        seen.half_moved += 1;
    }
    Ok(())
}

/// Lives until it is killed.
pub(crate) fn child() {
    let store = store_of_child();
    runtime().block_on(async {
        let users: Vec<_> =
            (0..USERS).map(|user| tokio::spawn(live(store.clone(), user))).collect();
        for user in users {
            user.await.expect("no user panics");
        }
    });
}

async fn live(store: FileBackend, user: u8) {
    for taken in 1.. {
        step(&store, user, taken).await.expect("no other user has these keys");
        acknowledge(user, taken);
    }
}

async fn step(store: &FileBackend, user: u8, number: u64) -> Result<()> {
    let (old, new) = (key(user, number - 1), key(user, number));
    match number % STEPS {
        0 => store.destroy(&old, None).await.map(|was_live| assert!(was_live)),
        1 => store.save(&new, &owned(user, number), Write::Create { ttl: HOUR }).await,
        _ => {
            store.save(&new, &owned(user, number), Write::Create { ttl: HOUR }).await?;
            let only = Some(Revision::from_u64(number - 1));
            store.destroy(&old, only).await.map(|was_live| assert!(was_live))
        }
    }
}

/// Two users share an owner.
fn owner(user: u8) -> Owner {
    Owner::new(format!("owner {}", user / 2)).expect("a short name")
}

fn owned(user: u8, step: u64) -> Record {
    Record { owner: Some(owner(user)), ..numbered(step) }
}

/// The key that a user has after this step. Each step leads to another bucket.
fn key(user: u8, step: u64) -> Key {
    let mut bytes = [user; 32];
    bytes[0] = user / 2 + 16 * u8::try_from(step % 3).expect("below 3");
    bytes[24..].copy_from_slice(&step.to_be_bytes());
    Key::from_bytes(bytes)
}
