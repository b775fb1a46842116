//! Signing in: a new id, an owner and a new start of the lifetime.

use std::time::{Duration, Instant};

use session_core::web::Found;
use session_core::{Config, ErrorKind, Saved};

use super::tombstone::{Scene, found};
use crate::case::{
    CaseResult, Context, Failure, LONG, cases, ensure, lives, owner, patient, refused, together,
};
use crate::visitor::Visitor;

cases! { "sign_in":
    "the promise of a new id at sign-in" => renews_id_owner_and_life,
    "the promise that regenerate keeps the expiry" => regenerate_keeps_the_life,
    "the promise that the old id does not work" => old_cookie_is_dead,
    "the promise that no change is lost" => keeps_what_others_saved_before,
    "the promise that a late request changes nothing" => late_session_is_empty_and_stores_nothing,
    "the promise that a sign-in always counts" => late_sign_in_has_an_id_of_its_own,
    "the promise that a sign-in always counts" => submitted_twice_signs_in_twice,
    "the promise that logout always wins" => after_destroy_is_gone,
}

async fn renews_id_owner_and_life(cx: &Context) -> CaseResult {
    for config in [
        Config::default().lifetime(LONG),
        Config::default().lifetime(None).idle_timeout(LONG),
        Config::default().lifetime(LONG * 2).idle_timeout(LONG),
    ] {
        let store = cx.store(config).await?;
        let mut visitor = Visitor::known(&store).await?;
        let old = visitor.cookie()?.to_owned();
        tokio::time::sleep(Duration::from_millis(80)).await;
        let session = visitor.session().await?;
        let began = session.created_at();
        session.sign_in(owner("alice"));
        session.insert("role", "admin")?;
        let before = Instant::now();
        let saved = visitor.save(&session).await?;
        ensure!(saved == Saved::Issued, "a sign-in must be Issued, but is {saved:?}");
        ensure!(visitor.cookie()? != old, "a sign-in must change the id");
        let after = visitor.session().await?;
        ensure!(after.owner() == Some(owner("alice")), "a sign-in must set the owner");
        let keys = after.keys();
        ensure!(keys == ["role", "user"], "a sign-in must keep the values, but names are {keys:?}");
        lives(
            after.expires_in().unwrap_or_default(),
            LONG,
            before,
            "a session that was signed in",
        )?;
        ensure!(after.created_at() > began, "a sign-in must begin the lifetime again");
    }
    Ok(())
}

async fn regenerate_keeps_the_life(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default().lifetime(LONG)).await?;
    let mut visitor = Visitor::known(&store).await?;
    let created = Instant::now();
    tokio::time::sleep(Duration::from_millis(120)).await;
    let session = visitor.session().await?;
    session.regenerate();
    let began = Instant::now();
    visitor.save(&session).await?;
    // The handle reads the remaining life and writes it again a moment later.
    let at_most = LONG - created.elapsed() + began.elapsed() + crate::case::SLACK;
    let left = visitor.session().await?.expires_in().unwrap_or_default();
    ensure!(
        left <= at_most,
        "regenerate must keep the expiry, but {left:?} are left instead of at most {at_most:?}"
    );
    Ok(())
}

async fn old_cookie_is_dead(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let (store, elsewhere) =
        (cx.store(Config::default()).await?, cx.store(Config::default()).await?);
    let mut visitor = Visitor::known(&store).await?;
    let old = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    ensure!(elsewhere.load(&old).await?.is_some(), "the session must load before a sign-in");
    session.sign_in(owner("alice"));
    visitor.save(&session).await?;
    for store in [store, elsewhere] {
        ensure!(store.load(&old).await?.is_none(), "the id from before a sign-in must load None");
    }
    Ok(())
}

async fn keeps_what_others_saved_before(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let (session, other) = (scene.session().await?, scene.elsewhere().await?);
    other.insert("cart", 7)?;
    scene.other.save(&other).await?;
    session.sign_in(owner("bob"));
    scene.visitor.save(&session).await?;
    scene.has(&["cart", "user"]).await?;
    let found = scene.visitor.session().await?.owner();
    ensure!(
        found == Some(owner("bob")),
        "the owner of the sign-in must be stored, but is {found:?}"
    );
    scene.old_id_is_dead().await
}

/// A web layer gets an empty session for an id that was replaced a moment ago.
async fn late_session_is_empty_and_stores_nothing(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    scene.rotate().await?;
    let Found::Rotated(late) = scene.store.web().load(&scene.old).await? else {
        return Err(Failure::Failed("an id that was replaced must be found as rotated".to_owned()));
    };
    ensure!(
        late.is_empty() && late.owner().is_none() && late.is_new(),
        "a late request must read an empty session"
    );
    scene.spy.asked();
    let saved = scene.store.save(&late).await?;
    ensure!(
        saved == Saved::Unchanged,
        "a late request without changes must be Unchanged, but is {saved:?}"
    );
    late.insert("late", 1)?;
    refused(
        scene.store.save(&late).await,
        ErrorKind::Gone,
        "a save of a late request with changes",
    )?;
    ensure!(scene.store.cookie_value(&late).is_none(), "a late request must get no cookie value");
    let asked = scene.spy.asked();
    ensure!(asked.is_empty(), "a late request must write nothing, but asked {asked:?}");
    scene.has(&["user"]).await
}

async fn late_sign_in_has_an_id_of_its_own(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let loaded_before = scene.elsewhere().await?;
    scene.rotate().await?;
    let Found::Rotated(loaded_after) = scene.other.web().load(&scene.old).await? else {
        return Err(Failure::Failed("an id that was replaced must be found as rotated".to_owned()));
    };
    let mut ids = vec![scene.visitor.cookie()?.to_owned(), scene.old.clone()];
    for late in [loaded_before, loaded_after] {
        late.sign_in(owner("bob"));
        let saved = scene.other.save(&late).await?;
        ensure!(saved == Saved::Issued, "a late sign-in must be Issued, but is {saved:?}");
        let cookie = scene.other.cookie_value(&late);
        let cookie = cookie.map(session_core::CookieValue::into_string).unwrap_or_default();
        ensure!(!ids.contains(&cookie), "a late sign-in must have its own id");
        let signed_in = found(&scene.store, &cookie).await?;
        ensure!(signed_in.owner() == Some(owner("bob")), "a late sign-in must set the owner");
        ensure!(!signed_in.contains("user"), "a late sign-in must not reach the other session");
        ids.push(cookie);
    }
    ensure!(
        scene.visitor.session().await?.owner() == Some(owner("alice")),
        "a late sign-in must leave the other session alone"
    );
    scene.has(&["user"]).await?;
    scene.old_id_is_dead().await
}

async fn submitted_twice_signs_in_twice(cx: &Context) -> CaseResult {
    cx.needs_conflicts()?;
    let (one, other) = (cx.store(patient()).await?, cx.store(patient()).await?);
    for _ in 0..8 {
        let visitor = Visitor::known(&one).await?;
        let mut forms = Vec::new();
        for store in [&one, &other] {
            forms.push((store.clone(), found(store, visitor.cookie()?).await?));
        }
        let forms = forms.into_iter().map(|(store, session)| async move {
            session.sign_in(owner("alice"));
            store.save(&session).await.map(|saved| (saved, store.cookie_value(&session)))
        });
        let mut ids = Vec::new();
        for signed_in in together(forms).await {
            let (saved, cookie) = signed_in?;
            ensure!(saved == Saved::Issued, "each sign-in must be Issued, but is {saved:?}");
            ids.extend(cookie.map(session_core::CookieValue::into_string));
        }
        ensure!(ids.len() == 2 && ids[0] != ids[1], "each sign-in must have its own id");
        for id in &ids {
            let session = found(&one, id).await?;
            ensure!(session.owner() == Some(owner("alice")), "each sign-in must set the owner");
        }
        ensure!(visitor.load().await?.is_none(), "the old id must load None");
    }
    Ok(())
}

async fn after_destroy_is_gone(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let store = cx.store(Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    let in_flight = visitor.session().await?;
    store.destroy(&visitor.session().await?).await?;
    in_flight.sign_in(owner("alice"));
    refused(store.save(&in_flight).await, ErrorKind::Gone, "a sign-in after a logout")?;
    ensure!(
        store.cookie_value(&in_flight).is_none(),
        "a session that is gone must have no cookie value"
    );
    ensure!(visitor.load().await?.is_none(), "load must be None after a logout");
    Ok(())
}
