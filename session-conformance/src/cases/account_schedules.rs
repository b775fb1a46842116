//! Sign-ins, renewals, new ids, changes of the owner and the end of all sessions, at the same moment.

use std::time::Duration;

use session_core::{ErrorKind, Owner, SessionStore};

use super::account::{accounts, signed_in};
use super::model::number;
use crate::case::{CaseResult, Context, Failure, cases, ensure, owner, patient, skip, together};
use crate::visitor::Visitor;

cases! { "account":
    "the promise that an account's sessions end" => schedules_of_everything_leave_none,
}

/// How many schedules run, unless `CONFORMANCE_SCHEDULES` is set.
const SCHEDULES: u64 = 8;
/// How many sessions are there before the end.
const SESSIONS: usize = 4;

async fn schedules_of_everything_leave_none(cx: &Context) -> CaseResult {
    if cx.is_cookie() {
        return Err(skip("sessions in cookies are not listed"));
    }
    let here = accounts(cx).await?;
    let there = cx.store(patient()).await?;
    for round in 0..number("CONFORMANCE_SCHEDULES").unwrap_or(SCHEDULES) {
        schedule(&here, &there, round).await?;
    }
    Ok(())
}

/// What became of a session that was there before the end.
struct Was {
    visitor: Visitor,
    /// The session may belong to another account since.
    moved: bool,
}

async fn schedule(here: &SessionStore, there: &SessionStore, round: u64) -> CaseResult {
    let (alice, bob) = (owner(&format!("alice {round}")), owner(&format!("bob {round}")));
    let mut before = Vec::new();
    for n in 0..SESSIONS {
        let store = if n % 2 == 0 { here } else { there };
        before.push(signed_in(store, alice.as_str()).await?);
    }
    let requests = before.into_iter().map(|visitor| {
        let bob = bob.clone();
        async move { request(visitor, bob).await }
    });
    let requests = tokio::spawn(together(requests.collect::<Vec<_>>()));
    let sign_ins = (0..2).map(|_| {
        let (store, alice) = (here.clone(), alice.clone());
        async move {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
            signed_in(&store, alice.as_str()).await
        }
    });
    let sign_ins = tokio::spawn(together(sign_ins.collect::<Vec<_>>()));
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
    there.destroy_all(&alice).await?;
    let mut moved = 0;
    for was in requests.await.expect("requests do not panic") {
        let was = was?;
        let Some(session) = was.visitor.load().await? else { continue };
        ensure!(
            was.moved && session.owner().as_ref() == Some(&bob),
            "a session that was there before destroy_all must be dead after it, unless it belongs to another account"
        );
        moved += 1;
    }
    // Whoever signed in meanwhile is in the list, or out.
    let mut live = 0;
    for visitor in sign_ins.await.expect("sign-ins do not panic") {
        live += usize::from(visitor?.load().await?.is_some());
    }
    let listed = here.sessions_of(&alice).await?.len();
    ensure!(listed == live, "{live} sessions are alive, but the list has {listed}");
    for (account, must) in [(&alice, live), (&bob, moved)] {
        let ended = here.destroy_all(account).await?;
        ensure!(ended == must as u64, "destroy_all must end {must} sessions, but says {ended}");
        let left = there.sessions_of(account).await?.len();
        ensure!(left == 0, "after destroy_all {left} sessions are left");
    }
    Ok(())
}

/// A few requests with the session, until it has ended.
async fn request(mut visitor: Visitor, bob: Owner) -> Result<Was, Failure> {
    let mut moved = false;
    for _ in 0..fastrand::u32(1..5) {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..800))).await;
        let Some(session) = visitor.load().await? else { break };
        match fastrand::u32(..8) {
            0 | 1 => session.extend(),
            2 | 3 => session.regenerate(),
            4 | 5 => session.insert("n", fastrand::u32(..))?,
            6 => {
                session.set_owner(Some(bob.clone()));
                moved = true;
            }
            _ => session.set_label(Some("a device"))?,
        }
        match visitor.save(&session).await {
            Err(error) if error.kind() == ErrorKind::Gone => break,
            saved => drop(saved?),
        }
    }
    Ok(Was { visitor, moved })
}
