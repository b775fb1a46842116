//! The limit on the sessions of an account.

use std::collections::HashSet;
use std::time::Duration;

use session_core::{Config, ErrorKind, OwnerLimit, SessionStore};

use super::owner_index::index;
use crate::case::{CaseResult, Context, cases, ensure, owner, patient, refused, together};
use crate::visitor::Visitor;

cases! { "owner":
    "the promise that an account's sessions are limited" => limit_ends_the_oldest,
    "the promise that an account's sessions are limited" => limit_refuses_the_new_one,
    "the promise that an account's sessions are limited" => limit_holds_for_parallel_sign_ins,
}

async fn limited(cx: &Context, limit: OwnerLimit) -> CaseResult<SessionStore> {
    let config = |config: Config| config.owner_limit(limit);
    if cx.is_cookie() {
        let kept = cx.store(Config::default()).await?.with_config(config(Config::default()));
        refused(kept, ErrorKind::InvalidConfig, "a limit on the sessions in cookies")?;
    }
    index(&*cx.backend().await?)?;
    cx.store(config(patient())).await
}

/// Signs in later than all before.
async fn sign_in(store: &SessionStore, name: &str) -> CaseResult<Visitor> {
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut visitor = Visitor::known(store).await?;
    let session = visitor.session().await?;
    session.sign_in(owner(name));
    visitor.save(&session).await?;
    Ok(visitor)
}

/// How many sessions of these visitors are alive, and how many are listed.
async fn alive(visitors: &[Visitor], store: &SessionStore) -> CaseResult<usize> {
    let mut alive = 0;
    for visitor in visitors {
        alive += usize::from(visitor.load().await?.is_some());
    }
    let listed = store.sessions_of(&owner("alice")).await?.len();
    ensure!(listed == alive, "of {alive} live sessions all must be listed, but {listed} are");
    Ok(alive)
}

async fn limit_ends_the_oldest(cx: &Context) -> CaseResult {
    let limit = OwnerLimit::EndOldest(3);
    let stores = [limited(cx, limit).await?, limited(cx, limit).await?];
    let bob = sign_in(&stores[0], "bob").await?;
    let mut visitors = Vec::new();
    for n in 0..7 {
        visitors.push(sign_in(&stores[n % 2], "alice").await?);
        let count = alive(&visitors, &stores[0]).await?;
        let expected = visitors.len().min(3);
        ensure!(count == expected, "{expected} sessions must be alive, but {count} are");
    }
    for latest in &visitors[4..] {
        latest.session().await?;
    }
    // A new id does not make a session later, and other saves end none.
    let session = visitors[4].session().await?;
    session.regenerate();
    visitors[4].save(&session).await?;
    let count = alive(&visitors, &stores[1]).await?;
    ensure!(count == 3, "a new id must end no session, but {count} of 3 are alive");
    visitors.push(sign_in(&stores[1], "alice").await?);
    ensure!(visitors[4].load().await?.is_none(), "the oldest sign-in must end, but is alive");
    bob.session().await?;
    Ok(())
}

async fn limit_refuses_the_new_one(cx: &Context) -> CaseResult {
    let limit = OwnerLimit::Refuse(2);
    let stores = [limited(cx, limit).await?, limited(cx, limit).await?];
    let mut visitors = Vec::new();
    for store in &stores {
        visitors.push(sign_in(store, "alice").await?);
    }
    let mut third = Visitor::known(&stores[1]).await?;
    let session = third.session().await?;
    session.sign_in(owner("alice"));
    for _ in 0..2 {
        let kind = ErrorKind::TooManySessions;
        refused(third.save(&session).await, kind, "a sign-in beyond the limit")?;
    }
    let before = third.session().await?;
    ensure!(before.owner().is_none(), "a refused sign-in must write nothing, but did");
    let count = alive(&visitors, &stores[0]).await?;
    ensure!(count == 2, "a refused sign-in must end no session, but {count} of 2 are alive");
    // Who is signed in may sign in again, and the place of one who has left is free.
    let again = visitors[0].session().await?;
    again.sign_in(owner("alice"));
    visitors[0].save(&again).await?;
    stores[0].destroy(&visitors[1].session().await?).await?;
    third.save(&session).await?;
    third.session().await?;
    Ok(())
}

/// As many as the limit remain of any number of sign-ins at once: not more, and not fewer.
async fn limit_holds_for_parallel_sign_ins(cx: &Context) -> CaseResult {
    for (limit, max) in [(OwnerLimit::EndOldest(3), 3), (OwnerLimit::Refuse(2), 2)] {
        for round in 0..3 {
            let stores = [limited(cx, limit).await?, limited(cx, limit).await?];
            let name = format!("{limit:?} {round}");
            let sign_ins = (0..16).map(|n| {
                let (store, name) = (stores[n % 2].clone(), name.clone());
                async move {
                    let mut visitor = Visitor::new(&store);
                    let session = store.create();
                    session.sign_in(owner(&name));
                    let saved = visitor.save(&session).await;
                    (visitor, saved.map_err(|error| (error.kind(), error.to_string())))
                }
            });
            let mut visitors = HashSet::new();
            let mut alive = 0;
            for (visitor, saved) in together(sign_ins).await {
                match (saved, limit) {
                    (Ok(_), _) => {}
                    (Err((ErrorKind::TooManySessions, _)), OwnerLimit::Refuse(_))
                    | (Err((ErrorKind::Gone, _)), OwnerLimit::EndOldest(_)) => continue,
                    (Err((kind, error)), _) => {
                        ensure!(false, "a sign-in at once with others was {kind:?}: {error}");
                    }
                }
                ensure!(visitors.insert(visitor.cookie()?.to_owned()), "two sign-ins share an id");
                alive += usize::from(visitor.load().await?.is_some());
            }
            let listed = stores[0].sessions_of(&owner(&name)).await?.len();
            ensure!(
                alive == max && listed == max,
                "with {limit:?} {max} sessions must remain of 16 sign-ins at once, but {alive} \
                 load and {listed} are listed"
            );
        }
    }
    Ok(())
}
