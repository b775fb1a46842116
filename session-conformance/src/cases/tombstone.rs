//! The tombstone that a rotation leaves under the old key.

use std::time::Duration;

use session_core::{
    Config, ErrorKind, Key, Loaded, Record, Saved, Session, SessionStore, Update, Write,
};

use crate::case::{
    CaseResult, Context, Failure, LONG, SHORT, SLACK, absent, cases, ensure, live, outlive, owner,
    refused, same,
};
use crate::spy::{Save, Spy};
use crate::visitor::Visitor;

cases! { "tombstone":
    "the promise that the old id does not work" => old_id_is_none_and_the_new_one_has_all,
    "the promise of few store calls" => costs_a_create_and_an_update,
    "the promise that the old id does not work" => holds_nothing_of_the_session,
    "the promise that the old id does not work" => never_outlives_the_session,
    "the promise that the old id does not work" => ends_on_time,
    "the promise that the old id does not work" => late_requests_change_nothing,
    "the promise that logout always wins" => logout_with_the_new_id_ends_both,
    "the promise that logout always wins" => logout_with_the_old_session_follows,
    "the promise that logout always wins" => logout_follows_two_rotations,
}

/// The longest ttl of a tombstone, unless a case sets another one.
const USUAL: Duration = Duration::from_secs(10);

/// The maximum size of a tombstone, which holds no session data.
const SMALL: usize = 256;

/// A visitor of two application servers. The store of the first one is behind a spy.
pub(super) struct Scene {
    pub(super) spy: Spy,
    pub(super) store: SessionStore,
    pub(super) other: SessionStore,
    pub(super) visitor: Visitor,
    /// The cookie and the key from before the rotation.
    pub(super) old: String,
    pub(super) old_key: Key,
}

impl Scene {
    pub(super) async fn new(cx: &Context, config: Config) -> CaseResult<Self> {
        let spy = Spy::new(cx.backend().await?);
        let store = SessionStore::new(spy.clone()).with_config(config.clone())?;
        let other = cx.store(config).await?;
        let mut visitor = Visitor::new(&store);
        let session = store.create();
        // Larger than a tombstone.
        session.insert("user", "alice".repeat(100))?;
        session.set_owner(Some(owner("alice")));
        visitor.save(&session).await?;
        let old = visitor.cookie()?.to_owned();
        let saves = spy.saves();
        ensure!(saves.len() == 1, "a new session must need one save, but needed {saves:?}");
        spy.asked();
        Ok(Self { old_key: saves[0].key, spy, store, other, visitor, old })
    }

    /// The visitor's session, loaded by the store behind the spy.
    pub(super) async fn session(&self) -> CaseResult<Session> {
        found(&self.store, &self.old).await
    }

    /// The same session in another request to the other application server.
    pub(super) async fn elsewhere(&self) -> CaseResult<Session> {
        found(&self.other, &self.old).await
    }

    /// Rotates the session and returns the saves of the rotation.
    pub(super) async fn rotate(&mut self) -> CaseResult<Vec<Save>> {
        let session = self.session().await?;
        session.regenerate();
        self.spy.saves();
        self.spy.asked();
        let saved = self.visitor.save(&session).await?;
        ensure!(saved == Saved::Issued, "a new id must be Issued, but save is {saved:?}");
        Ok(self.spy.saves())
    }

    /// The record under the old key.
    pub(super) async fn left(&self) -> CaseResult<Loaded> {
        live(self.spy.inner(), &self.old_key, "under the old key after a rotation").await
    }

    pub(super) async fn old_id_is_dead(&self) -> CaseResult {
        for store in [&self.store, &self.other] {
            ensure!(
                store.load(&self.old).await?.is_none(),
                "the id from before a rotation must load None"
            );
        }
        Ok(())
    }

    /// Fails unless the visitor's session has these values and no others.
    pub(super) async fn has(&self, must: &[&str]) -> CaseResult {
        let keys = self.visitor.session().await?.keys();
        ensure!(keys == must, "the session must hold {must:?}, but holds {keys:?}");
        Ok(())
    }

    /// Fails if there is a record under one of these keys, except for that of the visitor's cookie.
    pub(super) async fn no_other_is_left(&self, created: &[Save]) -> CaseResult {
        let mut left = 0;
        for save in created.iter().filter(|save| save.key != self.old_key) {
            left += usize::from(self.spy.inner().load(&save.key).await?.is_some());
        }
        let must = usize::from(self.visitor.load().await?.is_some());
        ensure!(left == must, "{must} new records must be left after a rotation, but {left} are");
        Ok(())
    }
}

pub(super) async fn found(store: &SessionStore, cookie: &str) -> CaseResult<Session> {
    let session = store.load(cookie).await?;
    session.ok_or_else(|| Failure::Failed("a saved session must load, but is None".to_owned()))
}

async fn old_id_is_none_and_the_new_one_has_all(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let store = cx.store(Config::default()).await?;
    let elsewhere = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.set_owner(Some(owner("alice")));
    visitor.save(&session).await?;
    let mut ids = vec![visitor.cookie()?.to_owned()];
    for round in 0..3 {
        let session = visitor.session().await?;
        session.insert(&format!("round {round}"), round)?;
        session.regenerate();
        let saved = visitor.save(&session).await?;
        ensure!(saved == Saved::Issued, "a new id must be Issued, but save is {saved:?}");
        let cookie = visitor.cookie()?.to_owned();
        ensure!(!ids.contains(&cookie), "each rotation must give another id");
        for (store, old) in [&store, &elsewhere].into_iter().zip(ids.iter().cycle()) {
            ensure!(store.load(old).await?.is_none(), "an old id must load None");
        }
        ids.push(cookie);
        let after = visitor.session().await?;
        ensure!(after.owner() == Some(owner("alice")), "a rotation must keep the owner");
        ensure!(
            after.get::<String>("user")?.as_deref() == Some("alice")
                && after.get::<i32>(&format!("round {round}"))? == Some(round)
                && after.len() == round.unsigned_abs() as usize + 2,
            "a rotation must keep all values, but names are {:?}",
            after.keys()
        );
    }
    Ok(())
}

/// The tombstone that a rotation saved, after its create of a record under a new key.
fn tombstone<'a>(saves: &'a [Save], old_key: &Key) -> CaseResult<(&'a Record, Update)> {
    let [created, replaced] = saves else {
        return Err(Failure::Failed(format!(
            "a rotation must need two saves, but needed {saves:?}"
        )));
    };
    let Write::Update(update) = replaced.write else {
        return Err(Failure::Failed("the old record must be replaced by an update".to_owned()));
    };
    ensure!(
        matches!(created.write, Write::Create { .. }) && created.key != *old_key,
        "a rotation must create a record under a new key first"
    );
    ensure!(replaced.key == *old_key, "a rotation must replace the record under the old key");
    Ok((&replaced.record, update))
}

async fn costs_a_create_and_an_update(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let before = scene.left().await?.record;
    let saves = scene.rotate().await?;
    let asked = scene.spy.asked();
    ensure!(asked == ["save", "save"], "a rotation must cost two writes, but cost {asked:?}");
    let (_, update) = tombstone(&saves, &scene.old_key)?;
    ensure!(
        update.expected == before.revision,
        "the old record must be replaced only if it is the one that was loaded"
    );
    let ttl = update.ttl.unwrap_or_default();
    ensure!(
        !ttl.is_zero() && ttl <= USUAL,
        "a tombstone must live for {USUAL:?} at most, but its ttl is {:?}",
        update.ttl
    );
    scene.old_id_is_dead().await?;
    scene.has(&["user"]).await
}

async fn holds_nothing_of_the_session(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let session = scene.session().await?;
    session.insert("secret", "s".repeat(5_000))?;
    scene.visitor.save(&session).await?;
    scene.rotate().await?;
    let left = scene.left().await?;
    let payload = &left.record.payload;
    let shows = |text: &str| payload.windows(text.len()).any(|window| window == text.as_bytes());
    ensure!(
        payload.len() <= SMALL && !shows("alice") && !shows("ssss"),
        "a tombstone must hold nothing of the session, but has {} bytes",
        payload.len()
    );
    ensure!(
        left.record.owner == Some(owner("alice")),
        "a tombstone must keep the owner, so that the account's sessions are found, but has {:?}",
        left.record.owner
    );
    ensure!(
        left.expires_in <= USUAL,
        "a tombstone must expire soon, but {:?} are left",
        left.expires_in
    );
    scene.has(&["secret", "user"]).await
}

async fn never_outlives_the_session(cx: &Context) -> CaseResult {
    let lifetime = Duration::from_secs(6);
    let mut scene = Scene::new(cx, Config::default().lifetime(lifetime)).await?;
    tokio::time::sleep(SLACK * 3).await;
    let before = scene.left().await?.expires_in;
    scene.rotate().await?;
    let after = scene.left().await?.expires_in;
    ensure!(
        after <= before + SLACK,
        "a tombstone must not outlive the session: {before:?} were left, now it is {after:?}"
    );
    Ok(())
}

async fn ends_on_time(cx: &Context) -> CaseResult {
    for ttl in SHORT {
        let config = Config::default().tombstone_ttl(ttl).deadline(ttl);
        let mut scene = Scene::new(cx, config).await?;
        let session = scene.session().await?;
        session.regenerate();
        match scene.visitor.save(&session).await {
            // The deadline is short, too.
            Err(error) if error.kind() == ErrorKind::Unavailable => continue,
            saved => drop(saved?),
        }
        outlive(ttl).await;
        // Before any load, because a store may remove an expired record when it loads it.
        if !cx.capabilities.expires_natively {
            let removed = scene.spy.inner().gc(10).await?;
            ensure!(removed == 1, "gc must remove the tombstone, but removed {removed} records");
        }
        absent(scene.spy.inner(), &scene.old_key, "of the old key after a tombstone's life")
            .await?;
        scene.old_id_is_dead().await?;
        return scene.has(&["user"]).await;
    }
    Err(crate::case::too_slow())
}

/// The operations of late requests are refused, and the tombstone is unchanged.
async fn late_requests_change_nothing(cx: &Context) -> CaseResult {
    let config = Config::default().idle_timeout(LONG).renew_after(0.0);
    let mut scene = Scene::new(cx, config).await?;
    let (read, written) = (scene.elsewhere().await?, scene.elsewhere().await?);
    let (rotated, extended) = (scene.elsewhere().await?, scene.elsewhere().await?);
    scene.rotate().await?;
    let before = scene.left().await?;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let _ = read.contains("user");
    written.insert("late", 1)?;
    rotated.regenerate();
    extended.extend();
    let late = [
        ("a renewal", read, false),
        ("a write", written, true),
        ("a rotation", rotated, true),
        ("an extension", extended, false),
    ];
    for (what, session, loses) in late {
        let first = scene.other.save(&session).await;
        if loses || first.is_err() {
            refused(first, ErrorKind::Gone, &format!("{what} with the id from before a rotation"))?;
        }
        let second = scene.other.save(&session).await;
        ensure!(
            second
                .as_ref()
                .map_or_else(|e| e.kind() == ErrorKind::Gone, |s| *s == Saved::Unchanged),
            "a second save after {what} with the old id must be Unchanged, but is {second:?}"
        );
        let cookie = scene.other.cookie_value(&session);
        ensure!(cookie.is_none(), "{what} with the old id must get no cookie value");
        scene.old_id_is_dead().await?;
        let after = scene.left().await?;
        same(&after.record, &before.record, "after late requests with the old id")?;
        ensure!(
            after.expires_in <= before.expires_in,
            "late requests must not prolong a tombstone, but {:?} are left of {:?}",
            after.expires_in,
            before.expires_in
        );
    }
    scene.has(&["user"]).await
}

async fn logout_with_the_new_id_ends_both(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let late = scene.elsewhere().await?;
    let saves = scene.rotate().await?;
    scene.other.destroy(&found(&scene.other, scene.visitor.cookie()?).await?).await?;
    ensure!(scene.visitor.load().await?.is_none(), "load must be None after a logout");
    late.insert("late", 1)?;
    refused(scene.other.save(&late).await, ErrorKind::Gone, "a write with the old id")?;
    scene.old_id_is_dead().await?;
    scene.no_other_is_left(&saves).await
}

async fn logout_with_the_old_session_follows(cx: &Context) -> CaseResult {
    for at_once in [true, false] {
        let mut scene = Scene::new(cx, Config::default()).await?;
        let late = scene.elsewhere().await?;
        let saves = scene.rotate().await?;
        log_out(&scene.other, &late, at_once).await?;
        ensure!(
            scene.visitor.load().await?.is_none(),
            "a logout of a session that was rotated meanwhile must end it under its new id, too"
        );
        scene.old_id_is_dead().await?;
        scene.no_other_is_left(&saves).await?;
    }
    Ok(())
}

async fn logout_follows_two_rotations(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let late = scene.elsewhere().await?;
    let mut saves = scene.rotate().await?;
    let session = scene.visitor.session().await?;
    session.regenerate();
    scene.visitor.save(&session).await?;
    saves.extend(scene.spy.saves());
    log_out(&scene.other, &late, true).await?;
    ensure!(
        scene.visitor.load().await?.is_none(),
        "a logout of a session that was rotated twice meanwhile must end it"
    );
    Ok(())
}

async fn log_out(store: &SessionStore, session: &Session, at_once: bool) -> CaseResult {
    if at_once {
        store.destroy(session).await?;
    } else {
        session.destroy();
        store.save(session).await?;
    }
    Ok(())
}
