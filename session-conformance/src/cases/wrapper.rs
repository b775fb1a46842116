//! A backend behind a wrapper that forwards only the methods that every wrapper must forward.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{
    Backend, Capabilities, ErrorKind, Key, Loaded, Record, Result, Revision, Saved, Session,
    SessionStore, Write, async_trait,
};

use super::tombstone::found;
use crate::case::{
    CaseResult, Context, Failure, LONG, SLACK, cases, ensure, outlive, owner, patient, refused,
    together,
};
use crate::visitor::Visitor;

cases! { "wrapper":
    "the chapter \"Wrappers\"" => forwards_only_the_five_methods,
}

/// Forwards the name, the capabilities and the five methods, but no optional method.
#[derive(Debug)]
struct FiveMethods(Arc<dyn Backend>);

#[async_trait]
impl Backend for FiveMethods {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.0.load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.0.save(key, record, write).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.0.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.0.destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.0.gc(limit).await
    }
}

/// One application server uses the backend itself, the other one a wrapper around it. Each operation of one
/// must be visible to the other, in both directions.
async fn forwards_only_the_five_methods(cx: &Context) -> CaseResult {
    let config = patient().idle_timeout(LONG).renew_after(0.0);
    let wrapped = FiveMethods(cx.backend().await?);
    let wrapped = SessionStore::new(wrapped).with_config(config.clone())?;
    let plain = cx.store(config).await?;
    for (one, other) in [(&wrapped, &plain), (&plain, &wrapped), (&wrapped, &wrapped)] {
        supported(create_and_update(one, other).await)?;
        supported(merge(one, other).await)?;
        supported(renew(one, other).await)?;
        supported(sign_in(one, other).await)?;
        supported(log_out(one, other).await)?;
    }
    supported(many_at_once(&wrapped, &plain).await)?;
    supported(collect(cx, &wrapped).await)
}

/// A wrapper may make an operation `Unsupported`, but must not cause any other difference.
fn supported(result: CaseResult) -> CaseResult {
    match result {
        Err(Failure::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}

async fn create_and_update(one: &SessionStore, other: &SessionStore) -> CaseResult {
    let mut visitor = Visitor::known(one).await?;
    let session = found(other, visitor.cookie()?).await?;
    visitor.session().await?;
    session.insert("n", 1)?;
    visitor.store = other.clone();
    visitor.save(&session).await?;
    for store in [one, other] {
        let keys = found(store, visitor.cookie()?).await?.keys();
        ensure!(keys == ["n", "user"], "an update must be visible to both, but names are {keys:?}");
    }
    Ok(())
}

async fn merge(one: &SessionStore, other: &SessionStore) -> CaseResult {
    let visitor = Visitor::known(one).await?;
    let sessions = (found(one, visitor.cookie()?).await?, found(other, visitor.cookie()?).await?);
    sessions.0.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    sessions.1.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    one.save(&sessions.0).await?;
    other.save(&sessions.1).await?;
    let n = visitor.session().await?.get::<u64>("n")?;
    ensure!(n == Some(2), "two increments through a wrapper must make 2, but n is {n:?}");
    Ok(())
}

async fn renew(one: &SessionStore, other: &SessionStore) -> CaseResult {
    let expires = |session: &Session| Instant::now() + session.expires_in().unwrap_or_default();
    // The difference includes the duration of a load: on a slow store the next pause is longer.
    for pause in [60, 600, 1_500] {
        let visitor = Visitor::known(one).await?;
        let before = expires(&visitor.session().await?);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let session = found(other, visitor.cookie()?).await?;
        let _ = session.contains("user");
        other.save(&session).await?;
        if expires(&visitor.session().await?) > before + SLACK {
            return Ok(());
        }
    }
    Err(Failure::Failed(
        "a renewal must be visible to both, but the expiry is the old one".to_owned(),
    ))
}

async fn sign_in(one: &SessionStore, other: &SessionStore) -> CaseResult {
    let mut visitor = Visitor::known(one).await?;
    let old = visitor.cookie()?.to_owned();
    let (session, late) = (found(other, &old).await?, found(one, &old).await?);
    session.sign_in(owner("alice"));
    visitor.store = other.clone();
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a sign-in must be Issued, but save is {saved:?}");
    late.insert("late", 1)?;
    refused(one.save(&late).await, ErrorKind::Gone, "a save with the id from before a rotation")?;
    for store in [one, other] {
        ensure!(store.load(&old).await?.is_none(), "the old id must load None");
        ensure!(found(store, visitor.cookie()?).await?.contains("user"), "the new id must work");
    }
    Ok(())
}

async fn log_out(one: &SessionStore, other: &SessionStore) -> CaseResult {
    let mut visitor = Visitor::known(one).await?;
    let late = found(one, visitor.cookie()?).await?;
    let rotated = found(other, visitor.cookie()?).await?;
    rotated.regenerate();
    visitor.store = other.clone();
    visitor.save(&rotated).await?;
    visitor.session().await?;
    one.destroy(&found(one, visitor.cookie()?).await?).await?;
    for store in [one, other] {
        ensure!(store.load(visitor.cookie()?).await?.is_none(), "a logout must be visible to both");
    }
    late.insert("late", 1)?;
    refused(one.save(&late).await, ErrorKind::Gone, "a save after a logout")?;
    let visitor = Visitor::known(one).await?;
    let late = found(other, visitor.cookie()?).await?;
    one.destroy(&visitor.session().await?).await?;
    late.insert("late", 1)?;
    refused(other.save(&late).await, ErrorKind::Gone, "a save after a logout")?;
    ensure!(visitor.load().await?.is_none(), "load must be None after a logout");
    Ok(())
}

/// If the backend takes batches, the wrapper does not use them.
async fn many_at_once(wrapped: &SessionStore, plain: &SessionStore) -> CaseResult {
    let visitor = Visitor::known(wrapped).await?;
    let mut requests = Vec::new();
    for store in [wrapped, plain].into_iter().cycle().take(32) {
        requests.push((store.clone(), found(store, visitor.cookie()?).await?));
    }
    let requests = requests.into_iter().map(|(store, session)| async move {
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        store.save(&session).await?;
        let mut other = Visitor::known(&store).await?;
        let session = other.session().await?;
        session.regenerate();
        other.save(&session).await?;
        ensure!(other.session().await?.contains("user"), "a rotated session must load");
        store.destroy(&session).await?;
        Ok::<_, Failure>(())
    });
    for result in together(requests).await {
        result?;
    }
    let n = visitor.session().await?.get::<u64>("n")?;
    ensure!(n == Some(32), "32 increments through a wrapper must make 32, but n is {n:?}");
    Ok(())
}

async fn collect(cx: &Context, wrapped: &SessionStore) -> CaseResult {
    let lifetime = Duration::from_millis(30);
    let brief = SessionStore::new(FiveMethods(cx.backend().await?))
        .with_config(patient().lifetime(lifetime))?;
    let live = Visitor::known(wrapped).await?;
    let expired = Visitor::known(&brief).await?;
    outlive(lifetime).await;
    let removed = wrapped.gc().await?;
    ensure!(
        removed >= 1 || cx.capabilities.expires_natively,
        "gc through a wrapper must remove an expired session, but says {removed}"
    );
    ensure!(expired.load().await?.is_none(), "an expired session must load None");
    ensure!(live.session().await?.contains("user"), "gc must keep a live session");
    Ok(())
}
