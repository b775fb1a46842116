//! The values of a session, and the effects of a save.

use serde_json::{Value, json};
use session_core::{Config, ErrorKind, Saved};

use crate::case::{CaseResult, Context, Failure, cases, ensure, owner, refused};
use crate::visitor::Visitor;

cases! { "session":
    "the promise that values are stored exactly" => values_round_trip,
    "the promise that values are stored exactly" => number_extremes,
    "the promise that values are stored exactly" => hostile_keys_and_values,
    "the promise that values are stored exactly" => all_of_unicode,
    "the promise that values are stored exactly" => ten_thousand_keys,
    "the promise that values are stored exactly" => value_of_almost_one_mebibyte,
    "the promise that an empty new session is not stored" => new_and_empty_is_not_stored,
    "the promise that every change is saved" => every_mutator_alone_is_saved,
    "the promise that every change is saved" => clear_is_saved,
    "the promise that an empty session exists" => emptied_session_still_exists,
    "the promise that an unchanged session is not written" => unchanged_is_not_saved,
    "the promise that the owner is stored with the session" => owner_is_saved,
    "the promise that a save that is too large keeps the old session" => too_large_keeps_the_old,
    "clause 1" => survives_reopening,
}

/// Saves these values, and fails unless another request reads exactly these values.
async fn round_trip(cx: &Context, values: &[(&str, Value)]) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::new(&store);
    let session = store.create();
    for (key, value) in values {
        session.insert(key, value)?;
    }
    visitor.save(&session).await?;
    let after = visitor.session().await?;
    for (key, value) in values {
        let found = after.get::<Value>(key)?;
        ensure!(
            found.as_ref() == Some(value),
            "the value {key:?} must be {value}, but is {found:?}"
        );
    }
    ensure!(
        after.len() == values.len(),
        "{} values were saved, but {} were loaded: a value must not create others",
        values.len(),
        after.len()
    );
    Ok(())
}

async fn values_round_trip(cx: &Context) -> CaseResult {
    let values = [
        ("null", Value::Null),
        ("bool", json!(true)),
        ("text", json!("")),
        ("list", json!([1, "two", null, [[]], {}])),
        ("map", json!({"a": {"b": {"c": [1.5, -2]}}, "": ""})),
    ];
    round_trip(cx, &values).await
}

async fn number_extremes(cx: &Context) -> CaseResult {
    let numbers = [
        json!(0),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!((1_u64 << 53) + 1),
        json!(f64::MAX),
        json!(f64::MIN_POSITIVE),
        json!(f64::from_bits(1)),
        json!(0.1 + 0.2),
        json!(1e300),
    ];
    let keys: Vec<String> = (0..numbers.len()).map(|n| n.to_string()).collect();
    let values: Vec<_> = keys.iter().map(String::as_str).zip(numbers).collect();
    round_trip(cx, &values).await
}

async fn hostile_keys_and_values(cx: &Context) -> CaseResult {
    let hostile = [
        "",
        " ",
        "\0",
        "a\0b",
        "\"",
        "\\",
        "\\\"",
        "\",\"admin\":true,\"x\":\"",
        "{}",
        "}",
        "a:b",
        "a=b;c",
        "\r\nSet-Cookie: x=y",
        "__proto__",
        "constructor",
        "$where",
        "%00",
        "%s",
        "' OR '1'='1",
        "user",
        "User",
        "v",
        "flash",
        "created",
        "data",
        "<script>",
        "../..",
        "\u{2028}",
        "\u{feff}",
        "\u{202e}",
        "e\u{301}",
        "é",
    ];
    let values: Vec<_> = hostile.iter().map(|&text| (text, json!(text))).collect();
    round_trip(cx, &values).await
}

async fn all_of_unicode(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let at_once = if cx.is_cookie() { 400 } else { 120_000 };
    let everything: Vec<char> = (0..=0x10_ffff).filter_map(char::from_u32).collect();
    for part in everything.chunks(at_once) {
        let text: String = part.iter().collect();
        let mut visitor = Visitor::new(&store);
        let session = store.create();
        session.insert("text", &text)?;
        visitor.save(&session).await?;
        let found = visitor.session().await?.get::<String>("text")?.unwrap_or_default();
        if let Some((is, must)) = found.chars().zip(text.chars()).find(|(is, must)| is != must) {
            return Err(Failure::Failed(format!("{must:?} must come back, but is {is:?}")));
        }
        ensure!(found.len() == text.len(), "all characters must come back, but some are missing");
    }
    Ok(())
}

async fn ten_thousand_keys(cx: &Context) -> CaseResult {
    cx.needs_space()?;
    let keys: Vec<String> = (0..10_000).map(|n| format!("key {n}")).collect();
    let values: Vec<_> = keys.iter().enumerate().map(|(n, key)| (key.as_str(), json!(n))).collect();
    round_trip(cx, &values).await
}

async fn value_of_almost_one_mebibyte(cx: &Context) -> CaseResult {
    cx.needs_space()?;
    round_trip(cx, &[("big", json!("x".repeat((1 << 20) - 1_000)))]).await
}

async fn new_and_empty_is_not_stored(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let session = store.create();
    let _ = session.contains("anything");
    let saved = store.save(&session).await?;
    ensure!(saved == Saved::Unchanged, "an empty new session must not be saved, but is {saved:?}");
    ensure!(
        store.cookie_value(&session).is_none(),
        "an empty new session must have no cookie value"
    );
    session.insert("fleeting", 1)?;
    session.remove("fleeting");
    let saved = store.save(&session).await?;
    ensure!(
        saved == Saved::Unchanged,
        "an emptied new session must not be saved, but is {saved:?}"
    );
    Ok(())
}

async fn every_mutator_alone_is_saved(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    type Mutator = (&'static str, fn(&session_core::Session), fn(&session_core::Session) -> bool);
    let mutators: [Mutator; 7] = [
        ("insert", |s| drop(s.insert("new", 1)), |s| s.contains("new")),
        (
            "update",
            |s| drop(s.update("new", |n: Option<u8>| n.unwrap_or(7))),
            |s| s.contains("new"),
        ),
        ("remove", |s| assert!(s.remove("user")), |s| !s.contains("user")),
        ("clear", |s| s.clear(), |s| s.is_empty()),
        ("set_owner", |s| s.set_owner(Some(owner("alice"))), |s| s.owner().is_some()),
        ("flash.insert", |s| drop(s.flash().insert("f", 1)), |s| s.flash().contains("f")),
        (
            "flash.message",
            |s| s.flash().message("info", "text"),
            |s| s.flash().peek_messages().len() == 1,
        ),
    ];
    for (name, change, changed) in mutators {
        let mut visitor = Visitor::known(&store).await?;
        let session = visitor.session().await?;
        change(&session);
        let saved = visitor.save(&session).await?;
        ensure!(saved != Saved::Unchanged, "{name} alone must be saved, but save is {saved:?}");
        ensure!(
            changed(&visitor.session().await?),
            "{name} alone must be stored, but is missing after a reload"
        );
    }
    Ok(())
}

async fn clear_is_saved(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.clear();
    session.insert("after", 1)?;
    visitor.save(&session).await?;
    let keys = visitor.session().await?.keys();
    ensure!(keys == ["after"], "clear must be saved, but names are {keys:?}");
    Ok(())
}

async fn emptied_session_still_exists(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.remove("user");
    visitor.save(&session).await?;
    let after = visitor.session().await?;
    ensure!(after.exists() && after.is_empty(), "an emptied session must load as an empty one");
    Ok(())
}

async fn unchanged_is_not_saved(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let cookie = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    let _ = session.get::<String>("user")?;
    let saved = visitor.save(&session).await?;
    ensure!(
        saved == Saved::Unchanged,
        "a session that was only read must be Unchanged, but is {saved:?}"
    );
    ensure!(visitor.cookie()? == cookie, "a session that was only read must keep its cookie");
    Ok(())
}

async fn owner_is_saved(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    for name in [Some("alice"), Some("Alice"), None] {
        let session = visitor.session().await?;
        session.set_owner(name.map(owner));
        session.regenerate();
        visitor.save(&session).await?;
        let found = visitor.session().await?.owner();
        ensure!(
            found == name.map(owner),
            "the owner must be {name:?}, but is {:?}",
            found.as_ref().map(session_core::Owner::as_str)
        );
    }
    Ok(())
}

async fn too_large_keeps_the_old(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default().max_record_size(2_000)).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.insert("big", "x".repeat(2_000))?;
    refused(visitor.save(&session).await, ErrorKind::TooLarge, "a save beyond the size limit")?;
    let keys = visitor.session().await?.keys();
    ensure!(
        keys == ["user"],
        "a save that is too large must keep the old session, but names are {keys:?}"
    );
    session.remove("big");
    session.insert("small", 1)?;
    visitor.save(&session).await?;
    ensure!(visitor.session().await?.contains("small"), "a later save within the limit must work");
    Ok(())
}

async fn survives_reopening(cx: &Context) -> CaseResult {
    if !cx.capabilities.durable {
        return Err(crate::case::skip("the store does not claim to be durable"));
    }
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let unconnected = cx.store(Config::default()).await?;
    visitor.store = unconnected;
    drop(store);
    ensure!(visitor.session().await?.contains("user"), "the session must be there after reopening");
    Ok(())
}
