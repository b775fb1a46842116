//! Payloads of any bytes, and any number of records.

use std::sync::Arc;

use session_core::{ErrorKind, Revision};

use crate::case::{
    CaseResult, Context, LONG, cases, create, ensure, holds, key, record, refused, together, update,
};

cases! { "data":
    "clause 1" => payload_is_byte_exact,
    "clause 1" => payload_is_not_interpreted,
    "clause 1" => empty_payload,
    "clause 1" => payload_around_64_kib,
    "clause 1" => payload_of_one_mebibyte,
    "clause 1" => revision_extremes,
    "clause 1" => a_thousand_records,
}

/// Saves the payload by a create and by an update, and reads it back.
async fn round_trip(cx: &Context, payload: &[u8]) -> CaseResult {
    let store = cx.backend().await?;
    let (key, created, updated) = (key(), record(payload), record(payload));
    store.save(&key, &created, create(LONG)).await?;
    holds(&*store, &key, &created, "after a create").await?;
    store.save(&key, &updated, update(&created, None)).await?;
    holds(&*store, &key, &updated, "after an update").await?;
    Ok(())
}

async fn payload_is_byte_exact(cx: &Context) -> CaseResult {
    let all: Vec<u8> = (0..=255).collect();
    let reversed: Vec<u8> = (0..=255).rev().collect();
    let payloads: [&[u8]; 12] = [
        &all,
        &reversed,
        b"\0",
        b"a\0b",
        b"ends with NUL\0",
        b"\0\0\0\0",
        b" blanks at both ends ",
        b"a line\r\nand another\n",
        b"\xff\xfe\x00\x01",
        b"not UTF-8: \xc3\x28 \xed\xa0\x80 \xf0\x9f",
        "\u{feff}BOM, é, e\u{301}, 😀".as_bytes(),
        b"\x1a\x04\x08\x1b",
    ];
    for payload in payloads {
        round_trip(cx, payload).await?;
    }
    Ok(())
}

async fn payload_is_not_interpreted(cx: &Context) -> CaseResult {
    let payloads = [
        "0",
        "00",
        "7.0",
        "1e5",
        "-0",
        "true",
        "null",
        "nil",
        "NaN",
        "18446744073709551616",
        "{\"a\":1,\"a\":2}",
        "{ \"b\" : 1 }",
        "'; DROP TABLE sessions; --",
        "\\x41\\101\\\\",
        "%s%n",
        "$1 ? :name @p1",
        "*3\r\n$3\r\nDEL\r\n",
        "__proto__",
        "<script>",
        "../../etc/passwd",
    ];
    for payload in payloads {
        round_trip(cx, payload.as_bytes()).await?;
    }
    Ok(())
}

async fn empty_payload(cx: &Context) -> CaseResult {
    round_trip(cx, b"").await
}

async fn payload_around_64_kib(cx: &Context) -> CaseResult {
    for length in [65_534, 65_535, 65_536, 65_537] {
        round_trip(cx, &noise(length)).await?;
    }
    Ok(())
}

async fn payload_of_one_mebibyte(cx: &Context) -> CaseResult {
    for length in [1 << 20, (1 << 20) + 4_096] {
        round_trip(cx, &noise(length)).await?;
    }
    Ok(())
}

async fn revision_extremes(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let numbers = [
        0,
        1,
        (1 << 32) - 1,
        1 << 32,
        1 << 53,
        (1 << 53) + 1,
        i64::MAX.cast_unsigned(),
        i64::MIN.cast_unsigned(),
        u64::MAX - 1,
        u64::MAX,
    ];
    for number in numbers {
        let (key, mut old, mut new) = (key(), record("old"), record("new"));
        old.revision = Revision::from_u64(number);
        new.revision = Revision::from_u64(!number);
        store.save(&key, &old, create(LONG)).await?;
        holds(&*store, &key, &old, "after a create").await?;
        for bit in [0, 31, 32, 52, 62, 63] {
            let mut near = old.clone();
            near.revision = Revision::from_u64(number ^ (1 << bit));
            let what = format!("an update over a revision that differs in bit {bit}");
            let result = store.save(&key, &new, update(&near, None)).await;
            refused(result, ErrorKind::Conflict, &what)?;
            ensure!(
                !store.destroy(&key, Some(near.revision)).await?,
                "destroy with a revision that differs in bit {bit} must say false"
            );
        }
        store.save(&key, &new, update(&old, None)).await?;
        holds(&*store, &key, &new, "after an update").await?;
    }
    Ok(())
}

async fn a_thousand_records(cx: &Context) -> CaseResult {
    const TASKS: u16 = 8;
    const EACH: u16 = 125;
    let handles = [cx.backend().await?, cx.backend().await?];
    let writers = (0..TASKS).map(|task| {
        let store = Arc::clone(&handles[usize::from(task % 2)]);
        async move {
            let mut written = Vec::new();
            for n in 0..EACH {
                let (key, record) = (key(), record((task * EACH + n).to_be_bytes()));
                store.save(&key, &record, create(LONG)).await?;
                written.push((key, record));
            }
            Ok::<_, session_core::Error>(written)
        }
    });
    for written in together(writers).await {
        for (key, record) in written? {
            holds(&*handles[0], &key, &record, "among a thousand").await?;
        }
    }
    Ok(())
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::fill(&mut bytes);
    bytes
}
