//! The owner of a record.

use crate::case::{CaseResult, Context, LONG, cases, create, holds, key, owner, record, update};

cases! { "owner":
    "clause 1" => round_trips,
    "clause 1" => is_byte_exact,
    "clause 1" => of_many_records_is_the_same,
    "clause 8" => update_replaces_owner,
}

async fn round_trips(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut record) = (key(), record("x"));
    record.owner = Some(owner("alice"));
    store.save(&key, &record, create(LONG)).await?;
    holds(&*store, &key, &record, "after a create with an owner").await?;
    Ok(())
}

async fn is_byte_exact(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let longest = ["a".repeat(255), "é".repeat(127), "😀".repeat(63)];
    let names = [
        "a",
        "Alice",
        "alice",
        "ALICE",
        "alice ",
        " alice",
        "alice\0",
        "\0",
        " ",
        "%",
        "_",
        "*",
        "straße",
        "strasse",
        "é",
        "e\u{301}",
        "ı",
        "I",
        "null",
        "0",
        "00",
        "' OR 1=1 --",
        "\"",
        "\\",
        "{}",
        "a:b",
        "a\r\nb",
        "\u{202e}",
        "\u{feff}x",
        "\u{10ffff}",
    ];
    for name in names.into_iter().chain(longest.iter().map(String::as_str)) {
        let (key, mut record) = (key(), record(name));
        record.owner = Some(owner(name));
        store.save(&key, &record, create(LONG)).await?;
        holds(&*store, &key, &record, "after a create with an owner").await?;
    }
    Ok(())
}

async fn of_many_records_is_the_same(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let mut records = Vec::new();
    for n in 0..5 {
        let (key, mut record) = (key(), record([n]));
        record.owner = Some(owner(["alice", "bob"][usize::from(n % 2)]));
        store.save(&key, &record, create(LONG)).await?;
        records.push((key, record));
    }
    store.destroy(&records[0].0, None).await?;
    for (key, record) in &records[1..] {
        holds(&*store, key, record, "of one owner among several").await?;
    }
    Ok(())
}

async fn update_replaces_owner(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut last) = (key(), record("x"));
    store.save(&key, &last, create(LONG)).await?;
    for name in [Some("alice"), Some("Alice"), None, Some("bob"), Some("bob")] {
        let mut next = record("x");
        next.owner = name.map(owner);
        store.save(&key, &next, update(&last, None)).await?;
        holds(&*store, &key, &next, "after an update with another owner").await?;
        last = next;
    }
    Ok(())
}
