//! Writes that the store refuses, and the number of their calls.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use session_core::{Backend, Config, Error, ErrorKind, Record, Saved, SessionStore};

use crate::case::{
    CaseResult, Context, Failure, LONG, cases, create, ensure, holds, key, record, refused,
    revision, together, update,
};
use crate::spy::{Injected, Spy};
use crate::visitor::Visitor;

cases! { "refusal":
    "the chapter \"What to return\"" => of_any_kind_has_written_nothing,
    "the chapter \"What to return\"" => among_many_writes_has_written_nothing,
    "the chapter \"What to return\"" => names_no_key_payload_or_owner,
    "the chapter \"What to return\"" => what_is_too_large_is_refused_or_kept,
    "the promise that a refusal costs at most two writes" => of_an_update_needs_no_inquiry,
    "the promise that a refusal costs at most two writes" => of_a_create_needs_no_inquiry,
    "the promise that a refusal costs at most two writes" => of_a_rotation_keeps_the_old_id,
    "the promise that a refusal costs at most two writes" => of_a_renewal_needs_no_inquiry,
    "the promise that a refusal costs at most two writes" => of_a_destroy_is_reported,
    "the promise that a refused save can be repeated" => is_over_when_the_store_accepts_again,
    "the promise that no write is applied twice" => unknown_outcome_is_inquired,
}

/// The maximum number of writes of one refused operation: the first, and one more for a failover.
const AT_MOST: usize = 2;

/// Fails unless the error says that nothing was written.
fn wrote_nothing<T: std::fmt::Debug>(
    result: Result<T, Error>,
    kind: ErrorKind,
    what: &str,
) -> CaseResult {
    let says = result.as_ref().err().is_none_or(Error::nothing_was_written);
    refused(result, kind, what)?;
    ensure!(says, "{what} must say that nothing was written");
    Ok(())
}

async fn of_any_kind_has_written_nothing(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, missing, old, new) = (key(), crate::case::key(), record("old"), record("new"));
    let (seen, zero) = (record("never there"), Duration::ZERO);
    store.save(&key, &old, create(LONG)).await?;
    let exists = ErrorKind::AlreadyExists;
    let (gone, conflict, invalid) = (ErrorKind::Gone, ErrorKind::Conflict, ErrorKind::InvalidValue);
    let twice = LONG * 2;
    wrote_nothing(store.save(&key, &new, create(twice)).await, exists, "a create over a record")?;
    let result = store.save(&key, &new, update(&seen, Some(twice))).await;
    wrote_nothing(result, conflict, "an update of another revision")?;
    let result = store.touch(&key, revision(), twice).await;
    wrote_nothing(result, conflict, "a touch of another revision")?;
    let result = store.save(&missing, &new, update(&seen, Some(twice))).await;
    wrote_nothing(result, gone, "an update without a record")?;
    let result = store.touch(&missing, seen.revision, twice).await;
    wrote_nothing(result, gone, "a touch without a record")?;
    let result = store.save(&missing, &new, create(zero)).await;
    wrote_nothing(result, invalid, "a create with a ttl of zero")?;
    let result = store.save(&key, &new, update(&old, Some(zero))).await;
    wrote_nothing(result, invalid, "an update with a ttl of zero")?;
    let result = store.touch(&key, old.revision, zero).await;
    wrote_nothing(result, invalid, "a touch with a ttl of zero")?;
    crate::case::absent(&*store, &missing, "after refused writes").await?;
    let left = holds(&*store, &key, &old, "after refused writes").await?.expires_in;
    ensure!(left <= LONG, "refused writes must not change the expiry, but {left:?} are left");
    Ok(())
}

/// A store may refuse some of many concurrent writes, for example for want of a connection.
async fn among_many_writes_has_written_nothing(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    let seen = record("old");
    for round in 0..4 {
        let writes = (0..32).map(|task| {
            let (store, key, seen, new) =
                (Arc::clone(&handles[task % 2]), key(), seen.clone(), record("new"));
            async move {
                let created = store.save(&key, &seen, create(LONG)).await;
                let updated = match &created {
                    Ok(()) if round % 2 == 0 => store.save(&key, &new, update(&seen, None)).await,
                    _ => Ok(()),
                };
                (key, new, created, updated)
            }
        });
        for (key, new, created, updated) in together(writes).await {
            let refuses =
                |result: &Result<(), Error>| result.as_ref().is_err_and(Error::nothing_was_written);
            let found = handles[0].load(&key).await?.map(|found| found.record.revision);
            if refuses(&created) {
                ensure!(found.is_none(), "a create that is refused must write nothing, but did");
            } else if refuses(&updated) {
                let is_written = found == Some(new.revision);
                ensure!(!is_written, "an update that is refused must write nothing, but did");
            }
        }
    }
    Ok(())
}

/// An error and all of its sources, as a log shows them, in lower case.
fn printed(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    text.to_lowercase()
}

/// Half of some secret bytes, in the spellings in which databases and `Debug` print bytes, in lower case.
fn spellings(bytes: &[u8]) -> Vec<String> {
    // A multiple of three bytes, so base64 has no padding. An error may cut what it prints.
    let half = &bytes[..bytes.len() / 6 * 3];
    let list = format!("{half:?}");
    let spelled = [
        half.iter().map(|byte| format!("{byte:02x}")).collect(),
        list.trim_matches(['[', ']']).to_owned(),
        half.escape_ascii().to_string(),
        String::from_utf8_lossy(half).into_owned(),
        STANDARD_NO_PAD.encode(half),
        URL_SAFE_NO_PAD.encode(half),
    ];
    spelled.map(|spelling: String| spelling.to_lowercase()).into()
}

async fn names_no_key_payload_or_owner(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let secret =
        |what: &str| format!("{what} {:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let (payload, name) = (secret("payload"), secret("owner"));
    let secret = || Record { owner: Some(crate::case::owner(&name)), ..record(&payload) };
    let (key, missing, old, new, seen) = (key(), crate::case::key(), secret(), secret(), secret());
    store.save(&key, &old, create(LONG)).await?;
    let zero = Duration::ZERO;
    let results = [
        ("a create over a record", store.save(&key, &new, create(LONG)).await),
        ("an update of another revision", store.save(&key, &new, update(&seen, None)).await),
        ("an update without a record", store.save(&missing, &new, update(&seen, None)).await),
        ("a touch of another revision", store.touch(&key, seen.revision, LONG).await),
        ("a touch without a record", store.touch(&missing, seen.revision, LONG).await),
        ("a create with a ttl of zero", store.save(&missing, &new, create(zero)).await),
        ("an update with a ttl of zero", store.save(&key, &new, update(&old, Some(zero))).await),
    ];
    let secrets = [
        ("key", spellings(key.as_bytes())),
        ("key", spellings(missing.as_bytes())),
        ("payload", spellings(payload.as_bytes())),
        ("owner", spellings(name.as_bytes())),
    ];
    for (call, result) in results {
        let Err(error) = result else {
            return Err(Failure::Failed(format!("{call} must be refused, but was not")));
        };
        let text = printed(&error);
        for (what, spellings) in &secrets {
            let shown = spellings.iter().any(|spelling| text.contains(spelling));
            ensure!(!shown, "the error of {call}, or one of its sources, contains the {what}");
        }
    }
    Ok(())
}

/// More than some servers accept in one request.
const HUGE: usize = 20 << 20;

async fn what_is_too_large_is_refused_or_kept(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, fresh, old) = (key(), crate::case::key(), record("old"));
    let huge = record(vec![b'H'; HUGE]);
    store.save(&key, &old, create(LONG)).await?;
    let result = store.save(&key, &huge, update(&old, None)).await;
    if result.is_ok() {
        holds(&*store, &key, &huge, "after an update with 20 MiB").await?;
        store.save(&key, &old, update(&huge, None)).await?;
    } else {
        wrote_nothing(result, ErrorKind::TooLarge, "an update that is too large")?;
    }
    holds(&*store, &key, &old, "after an update with 20 MiB").await?;
    let result = store.save(&fresh, &huge, create(LONG)).await;
    if result.is_ok() {
        ensure!(store.destroy(&fresh, None).await?, "a record of 20 MiB must be destroyed");
    } else {
        wrote_nothing(result, ErrorKind::TooLarge, "a create that is too large")?;
    }
    crate::case::absent(&*store, &fresh, "after a create with 20 MiB").await?;
    let new = record("later calls work");
    store.save(&key, &new, update(&old, None)).await?;
    holds(&*store, &key, &new, "after a write that was too large").await?;
    Ok(())
}

async fn refusing(cx: &Context, config: Config) -> CaseResult<(Spy, Visitor)> {
    let spy = Spy::new(cx.backend().await?);
    let store = SessionStore::new(spy.clone()).with_config(config)?;
    let visitor = Visitor::known(&store).await?;
    Ok((spy, visitor))
}

/// Fails unless the operation was refused, after few writes and without a load.
fn cost_little<T: std::fmt::Debug>(spy: &Spy, result: Result<T, Error>, what: &str) -> CaseResult {
    let asked = spy.asked();
    wrote_nothing(result, ErrorKind::Unavailable, what)?;
    ensure!(
        asked.len() <= AT_MOST && !asked.contains(&"load"),
        "{what} must cost at most {AT_MOST} writes and no load, but cost {asked:?}"
    );
    Ok(())
}

async fn of_an_update_needs_no_inquiry(cx: &Context) -> CaseResult {
    let (spy, mut visitor) = refusing(cx, Config::default()).await?;
    let session = visitor.session().await?;
    session.insert("n", 1)?;
    for _ in 0..2 {
        spy.asked();
        spy.fail_writes(&[Injected::Refusal; 8]);
        let result = visitor.save(&session).await;
        cost_little(&spy, result, "a refused update")?;
    }
    spy.fail_writes(&[]);
    let keys = visitor.session().await?.keys();
    ensure!(keys == ["user"], "a refused update must write nothing, but names are {keys:?}");
    Ok(())
}

async fn of_a_create_needs_no_inquiry(cx: &Context) -> CaseResult {
    let (spy, visitor) = refusing(cx, Config::default()).await?;
    let mut visitor = Visitor::new(&visitor.store);
    let session = visitor.store.create();
    session.insert("n", 1)?;
    for _ in 0..2 {
        spy.asked();
        spy.fail_writes(&[Injected::Refusal; 8]);
        let result = visitor.save(&session).await;
        cost_little(&spy, result, "a refused create")?;
        let cookie = visitor.store.cookie_value(&session);
        ensure!(cookie.is_none(), "a session that was not created must have no cookie value");
    }
    Ok(())
}

/// Each of the two writes of a rotation may be refused.
async fn of_a_rotation_keeps_the_old_id(cx: &Context) -> CaseResult {
    let (spy, mut visitor) = refusing(cx, Config::default()).await?;
    let session = visitor.session().await?;
    session.regenerate();
    spy.asked();
    spy.fail_writes(&[Injected::Refusal; 8]);
    let result = visitor.save(&session).await;
    cost_little(&spy, result, "a rotation whose create is refused")?;
    spy.fail_writes(&[]);
    ensure!(visitor.session().await?.contains("user"), "the old id must work");
    spy.saves();
    let refuse = [Injected::Nothing, Injected::Refusal, Injected::Refusal];
    spy.fail_writes(&refuse);
    let result = visitor.save(&session).await;
    spy.fail_writes(&[]);
    wrote_nothing(result, ErrorKind::Unavailable, "a rotation whose second write is refused")?;
    ensure!(visitor.session().await?.contains("user"), "the old id must work");
    for save in spy.saves() {
        let is_new = matches!(save.write, session_core::Write::Create { .. });
        ensure!(
            !is_new || spy.inner().load(&save.key).await?.is_none(),
            "the new record of a refused rotation must be removed"
        );
    }
    let old = visitor.cookie()?.to_owned();
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a rotation that is tried again must be Issued: {saved:?}");
    ensure!(visitor.session().await?.contains("user"), "the new id must work");
    ensure!(visitor.store.load(&old).await?.is_none(), "the old id must load None");
    Ok(())
}

async fn of_a_renewal_needs_no_inquiry(cx: &Context) -> CaseResult {
    let config = Config::default().idle_timeout(LONG).renew_after(0.0);
    let (spy, mut visitor) = refusing(cx, config).await?;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let session = visitor.session().await?;
    let _ = session.contains("user");
    spy.asked();
    spy.fail_writes(&[Injected::Refusal; 8]);
    let result = visitor.save(&session).await;
    cost_little(&spy, result, "a refused renewal")?;
    spy.fail_writes(&[]);
    ensure!(visitor.session().await?.contains("user"), "a refused renewal must change nothing");
    Ok(())
}

async fn of_a_destroy_is_reported(cx: &Context) -> CaseResult {
    let (spy, visitor) = refusing(cx, Config::default()).await?;
    let session = visitor.session().await?;
    spy.asked();
    spy.fail_writes(&[Injected::Refusal; 8]);
    let result = visitor.store.destroy(&session).await;
    cost_little(&spy, result, "a refused destroy")?;
    ensure!(visitor.load().await?.is_some(), "a refused destroy must destroy nothing");
    spy.fail_writes(&[]);
    visitor.store.destroy(&session).await?;
    ensure!(visitor.load().await?.is_none(), "a repeated destroy must remove the session");
    Ok(())
}

async fn is_over_when_the_store_accepts_again(cx: &Context) -> CaseResult {
    for refusals in 1..=3 {
        let (spy, mut visitor) = refusing(cx, Config::default()).await?;
        let session = visitor.session().await?;
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        spy.fail_writes(&vec![Injected::Refusal; refusals]);
        // The handle may send the write once more by itself.
        let mut tries = 1;
        while let Err(error) = visitor.save(&session).await {
            wrote_nothing::<()>(Err(error), ErrorKind::Unavailable, "a refused save")?;
            ensure!(tries <= refusals, "a save must succeed when the store accepts it again");
            tries += 1;
        }
        let n = visitor.session().await?.get::<u64>("n")?;
        ensure!(n == Some(1), "a save that was refused must be applied once, but n is {n:?}");
        let saved = visitor.save(&session).await?;
        ensure!(saved == Saved::Unchanged, "a second save must be Unchanged, but is {saved:?}");
    }
    Ok(())
}

async fn unknown_outcome_is_inquired(cx: &Context) -> CaseResult {
    let writes: [(Injected, &[&str]); 2] = [
        (Injected::LoseAnswer, &["save", "load"]),
        (Injected::LoseRequest, &["save", "load", "save"]),
    ];
    for (injected, must) in writes {
        let (spy, mut visitor) = refusing(cx, Config::default()).await?;
        let session = visitor.session().await?;
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        spy.asked();
        spy.fail_writes(&[injected]);
        let saved = visitor.save(&session).await?;
        ensure!(saved == Saved::Updated, "{injected:?}: a save must be Updated, not {saved:?}");
        let asked = spy.asked();
        ensure!(asked == must, "{injected:?}: a save must cost {must:?}, but cost {asked:?}");
        let n = visitor.session().await?.get::<u64>("n")?;
        ensure!(n == Some(1), "{injected:?}: the change must be applied once, but n is {n:?}");
    }
    Ok(())
}
