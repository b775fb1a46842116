//! The sessions of an account: to list them and to end them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use session_core::{Config, ErrorKind, OwnedSession, SessionStore};

use super::owner_index::index;
use crate::case::{
    CaseResult, Context, Failure, SLACK, cases, ensure, owner, patient, refused, together,
};
use crate::visitor::Visitor;

cases! { "account":
    "the promise that an account's sessions are listed" => lists_its_live_sessions,
    "the promise that an account's sessions are listed" => lists_labels_and_times,
    "the promise that an account's sessions end" => destroy_all_ends_every_session,
    "the promise that an account's sessions end" => destroy_all_leaves_other_accounts_alone,
    "the promise that an account's sessions end" => destroy_others_keeps_this_one,
    "the promise that an account's sessions end" => one_of_the_list_can_be_ended,
    "the promise that an account's sessions end" => destroy_all_ends_what_is_rotated_meanwhile,
    "the promise that an account's sessions end" => destroy_all_follows_a_new_id,
    "the promise that an account's sessions end" => destroy_all_ends_all_that_began_before,
    "the promise that an account's sessions end" => without_an_index_it_is_unsupported,
}

pub(super) async fn accounts(cx: &Context) -> CaseResult<SessionStore> {
    if !cx.is_cookie() {
        index(&*cx.backend().await?)?;
    }
    cx.needs_space()?;
    cx.store(patient()).await
}

pub(super) async fn signed_in(store: &SessionStore, name: &str) -> CaseResult<Visitor> {
    let mut visitor = Visitor::known(store).await?;
    let session = visitor.session().await?;
    session.sign_in(owner(name));
    visitor.save(&session).await?;
    Ok(visitor)
}

async fn listed(store: &SessionStore, name: &str, count: usize) -> CaseResult<Vec<OwnedSession>> {
    let sessions = store.sessions_of(&owner(name)).await?;
    ensure!(
        sessions.len() == count,
        "an account with {count} sessions must have a list of {count}, but has {}",
        sessions.len()
    );
    Ok(sessions)
}

async fn lists_its_live_sessions(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let other = cx.store(Config::default()).await?;
    let mut visitors = Vec::new();
    for _ in 0..3 {
        visitors.push(signed_in(&store, "alice").await?);
    }
    signed_in(&store, "bob").await?;
    Visitor::known(&store).await?;
    listed(&other, "alice", 3).await?;
    // A sign-out and a change of the owner take a session from the list.
    let session = visitors[0].session().await?;
    store.destroy(&session).await?;
    let session = visitors[1].session().await?;
    session.set_owner(Some(owner("carol")));
    visitors[1].save(&session).await?;
    listed(&other, "alice", 1).await?;
    listed(&other, "carol", 1).await?;
    listed(&other, "dave", 0).await?;
    Ok(())
}

async fn lists_labels_and_times(cx: &Context) -> CaseResult {
    accounts(cx).await?;
    let timeout = Duration::from_secs(3600);
    let store = cx.store(patient().idle_timeout(timeout)).await?;
    let mut visitor = signed_in(&store, "alice").await?;
    let session = visitor.session().await?;
    session.set_label(Some("Firefox \"on\" Linüx"))?;
    visitor.save(&session).await?;
    let other = signed_in(&store, "alice").await?.session().await?;
    let sessions = listed(&store, "alice", 2).await?;
    let (mine, rest): (Vec<_>, Vec<_>) = sessions.iter().partition(|one| one.is(&session));
    ensure!(
        mine.len() == 1 && rest[0].is(&other) && mine[0].reference() != rest[0].reference(),
        "one session of a list must be the current one, but {} are",
        mine.len()
    );
    ensure!(
        mine[0].label() == Some("Firefox \"on\" Linüx") && rest[0].label().is_none(),
        "a session of a list must have its label, but has {:?}",
        mine[0].label()
    );
    let left = mine[0].expires_in();
    ensure!(
        left <= timeout && left > timeout / 2,
        "a session of a list must have a remaining life of about {timeout:?}, but has {left:?}"
    );
    let now = SystemTime::now() + SLACK;
    let (created, seen) = (mine[0].created_at(), mine[0].last_seen());
    ensure!(
        created == session.created_at() && created <= seen && seen <= now,
        "a session of a list must have been created, then seen, but {created:?} and {seen:?}"
    );
    let shown = format!("{sessions:?}");
    ensure!(
        !shown.contains("alice") && !shown.contains("Linüx") && !shown.contains(visitor.cookie()?),
        "the Debug text of a list must show no owner, label or id, but does"
    );
    Ok(())
}

/// Fails if the visitor's cookie still loads a session.
async fn is_out(visitor: &Visitor, after: &str) -> CaseResult {
    let session = visitor.load().await?;
    ensure!(session.is_none(), "a session must be dead {after}, but it loads");
    Ok(())
}

async fn destroy_all_ends_every_session(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let other = cx.store(Config::default()).await?;
    let mut visitors = Vec::new();
    for _ in 0..5 {
        visitors.push(signed_in(&store, "alice").await?);
    }
    let session = visitors[0].session().await?;
    let ended = other.destroy_all(&owner("alice")).await?;
    ensure!(ended == 5, "destroy_all must end 5 sessions, but says {ended}");
    for visitor in &visitors {
        is_out(visitor, "after destroy_all").await?;
    }
    session.insert("late", 1)?;
    refused(visitors[0].save(&session).await, ErrorKind::Gone, "a save after destroy_all")?;
    let again = other.destroy_all(&owner("alice")).await?;
    ensure!(again == 0, "a second destroy_all must end nothing, but says {again}");
    // The account can sign in again.
    signed_in(&store, "alice").await?.session().await?;
    Ok(())
}

async fn destroy_all_leaves_other_accounts_alone(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let names = ["Alice", "alice ", "alic", "bob"];
    let mut others = vec![Visitor::known(&store).await?];
    for name in names {
        others.push(signed_in(&store, name).await?);
    }
    signed_in(&store, "alice").await?;
    store.destroy_all(&owner("alice")).await?;
    for other in others {
        other.session().await?;
    }
    Ok(())
}

async fn destroy_others_keeps_this_one(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let mut mine = signed_in(&store, "alice").await?;
    let rest = [signed_in(&store, "alice").await?, signed_in(&store, "alice").await?];
    let session = mine.session().await?;
    // It has just got a new id, so its own tombstone is still there.
    session.regenerate();
    refused(
        store.destroy_others(&session).await,
        ErrorKind::InvalidValue,
        "destroy_others of a session whose new id is not saved",
    )?;
    mine.save(&session).await?;
    let ended = store.destroy_others(&session).await?;
    ensure!(ended == 2, "destroy_others must end 2 sessions, but says {ended}");
    mine.session().await?;
    for visitor in rest {
        is_out(&visitor, "after destroy_others").await?;
    }
    let anonymous = Visitor::known(&store).await?.session().await?;
    let ended = store.destroy_others(&anonymous).await?;
    ensure!(ended == 0, "a session without an owner has no others, but {ended} ended");
    Ok(())
}

async fn one_of_the_list_can_be_ended(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let mine = signed_in(&store, "alice").await?;
    let other = signed_in(&store, "alice").await?;
    let session = mine.session().await?;
    let sessions = listed(&store, "alice", 2).await?;
    for one in sessions.iter().filter(|one| !one.is(&session)) {
        ensure!(one.end().await?, "the end of a live session must say true, but said false");
        ensure!(!one.end().await?, "the end of a dead session must say false, but said true");
    }
    is_out(&other, "after its end from the list").await?;
    mine.session().await?;
    listed(&store, "alice", 1).await?;
    Ok(())
}

/// Sessions are saved, renewed and given new ids all the time. All of them were acknowledged before
/// destroy_all, so none may be alive afterwards.
async fn destroy_all_ends_what_is_rotated_meanwhile(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let other = cx.store(patient()).await?;
    for _ in 0..4 {
        let ended = Arc::new(AtomicBool::new(false));
        let mut visitors = Vec::new();
        for _ in 0..8 {
            visitors.push(signed_in(&store, "alice").await?);
        }
        let requests = visitors.into_iter().enumerate().map(|(n, mut visitor)| {
            let ended = Arc::clone(&ended);
            async move {
                let mut requests = n;
                while !ended.load(Ordering::Relaxed) {
                    requests += 1;
                    let Some(session) = visitor.load().await? else { break };
                    match requests % 3 {
                        0 => session.regenerate(),
                        1 => session.insert("n", requests)?,
                        _ => session.extend(),
                    }
                    match visitor.save(&session).await {
                        Err(error) if error.kind() == ErrorKind::Gone => break,
                        saved => drop(saved?),
                    }
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                Ok::<_, Failure>(visitor)
            }
        });
        let requesting = tokio::spawn(together(requests.collect::<Vec<_>>()));
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..12))).await;
        let destroyed = other.destroy_all(&owner("alice")).await;
        ended.store(true, Ordering::Relaxed);
        let visitors = requesting.await.expect("requests do not panic");
        let destroyed = destroyed?;
        for visitor in visitors {
            is_out(&visitor?, "after destroy_all during its requests").await?;
        }
        // A session that gets a new id at that moment counts twice.
        ensure!(destroyed >= 8, "destroy_all must end 8 sessions, but says {destroyed}");
        listed(&other, "alice", 0).await?;
    }
    Ok(())
}

/// The list was read before the session got a new id.
async fn destroy_all_follows_a_new_id(cx: &Context) -> CaseResult {
    let store = accounts(cx).await?;
    let mut visitor = signed_in(&store, "alice").await?;
    let listed = listed(&store, "alice", 1).await?;
    let session = visitor.session().await?;
    session.regenerate();
    visitor.save(&session).await?;
    ensure!(listed[0].end().await?, "the end of a session with a new id must say true");
    is_out(&visitor, "after its end under its old id").await
}

/// On every store, also without a list: what began before is dead, what begins afterwards lives.
async fn destroy_all_ends_all_that_began_before(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    if !cx.is_cookie() {
        index(&*cx.backend().await?)?;
    }
    let (store, other) = (cx.store(patient()).await?, cx.store(patient()).await?);
    let (bob, anonymous) = (signed_in(&store, "bob").await?, Visitor::known(&store).await?);
    let mut latest = signed_in(&other, "alice").await?;
    for _ in 0..3 {
        let idle = signed_in(&store, "alice").await?;
        let loaded = latest.session().await?;
        let rotated = [signed_in(&store, "alice").await?, signed_in(&other, "alice").await?];
        let mut handles = Vec::new();
        for visitor in &rotated {
            handles.push(visitor.session().await?);
        }
        other.destroy_all(&owner("alice")).await?;
        for visitor in rotated.iter().chain([&idle, &latest]) {
            is_out(visitor, "after destroy_all").await?;
        }
        ensure!(!store.is_alive(&loaded).await?, "a session must not be alive after destroy_all");
        // What was loaded before is dead, too, whatever it does.
        loaded.insert("late", 1)?;
        refused(store.save(&loaded).await, ErrorKind::Gone, "a save after destroy_all")?;
        handles[0].regenerate();
        refused(store.save(&handles[0]).await, ErrorKind::Gone, "a new id after destroy_all")?;
        handles[1].sign_in(owner("alice"));
        refused(other.save(&handles[1]).await, ErrorKind::Gone, "a dead session's sign-in")?;
        // At once, and again while it is new.
        latest = signed_in(&store, "alice").await?;
        let session = latest.session().await?;
        session.sign_in(owner("alice"));
        latest.save(&session).await?;
        ensure!(store.is_alive(&session).await?, "a sign-in after destroy_all must live");
    }
    latest.session().await?;
    bob.session().await?;
    anonymous.session().await?;
    Ok(())
}

async fn without_an_index_it_is_unsupported(cx: &Context) -> CaseResult {
    if !cx.is_cookie() && cx.backend().await?.owner_index().is_some() {
        return Ok(());
    }
    let store = cx.store(Config::default()).await?;
    let kind = ErrorKind::Unsupported;
    refused(store.sessions_of(&owner("alice")).await, kind, "a list without an index")?;
    if cx.is_cookie() && cx.is_revocable() {
        store.destroy_all(&owner("alice")).await?;
    } else {
        let ended = store.destroy_all(&owner("alice")).await;
        refused::<u64>(ended, kind, "destroy_all without an index")?;
    }
    Ok(())
}
