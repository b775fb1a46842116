//! Keys and ids: what a store files a session under, and what it must never see.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use session_core::{Backend, ErrorKind, Key};

use crate::case::{Context, LONG, Verdict, cases, create, ensure, record, refused, stands, update};

cases! { "ids":
    "clause 2" => keys_differ_in_every_byte,
    "clause 2" => keys_are_case_sensitive,
    "clause 2" => keys_of_any_bytes,
}

async fn keys_differ_in_every_byte(cx: &Context) -> Verdict {
    let base: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let mut keys = vec![Key::from_bytes(base)];
    for byte in 0..32 {
        for bit in [0x01, 0x80] {
            let mut near = base;
            near[byte] ^= bit;
            keys.push(Key::from_bytes(near));
        }
    }
    all_distinct(&*cx.backend().await?, &keys).await
}

async fn keys_are_case_sensitive(cx: &Context) -> Verdict {
    let letters = *b"abcdefghijklmnopqrstuvwxyzabcdef";
    let mixed = std::array::from_fn(|at| letters[at] & if at % 2 == 0 { 0xdf } else { 0xff });
    let mut keys = vec![
        Key::from_bytes(letters),
        Key::from_bytes(letters.map(|byte| byte.to_ascii_uppercase())),
        Key::from_bytes(mixed),
    ];
    // A store that files under text must not fold the text's case either.
    for text in ["a", "A"] {
        let bytes = URL_SAFE_NO_PAD
            .decode(format!("{}A", text.repeat(42)))
            .expect("43 characters of base64url");
        keys.push(Key::from_bytes(bytes.try_into().expect("32 bytes")));
    }
    all_distinct(&*cx.backend().await?, &keys).await
}

async fn keys_of_any_bytes(cx: &Context) -> Verdict {
    let mut keys: Vec<Key> = [0x00, 0x20, 0x25, 0x2a, 0x30, 0x41, 0x5f, 0x7f, 0x80, 0xff]
        .map(|byte| Key::from_bytes([byte; 32]))
        .into();
    let endings: [&[u8]; 6] = [b" ", b"\0", b"\t", b"=", b"/", b"\n"];
    for ending in endings {
        let mut bytes = *b"padding must not be trimmed.....";
        bytes[32 - ending.len()..].copy_from_slice(ending);
        keys.push(Key::from_bytes(bytes));
    }
    for text in [
        *b"../../../../../../../etc/passwd\0",
        *b"'; DROP TABLE sessions; -- padding".first_chunk::<32>().expect("34 bytes"),
    ] {
        keys.push(Key::from_bytes(text));
    }
    all_distinct(&*cx.backend().await?, &keys).await
}

/// Under each key a record of its own can be created, updated, read and destroyed.
async fn all_distinct(store: &dyn Backend, keys: &[Key]) -> Verdict {
    let mut records = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let created = record(n.to_string());
        if let Err(error) = store.save(key, &created, create(LONG)).await {
            ensure!(
                error.kind() != ErrorKind::AlreadyExists,
                "two different keys must be two sessions, but key {n} is taken for an earlier one"
            );
            return Err(error.into());
        }
        records.push(created);
    }
    for (key, record) in keys.iter().zip(&records) {
        stands(store, key, record, "beside those of similar keys").await?;
    }
    for (key, created) in keys.iter().zip(&mut records) {
        let updated = record("updated");
        store.save(key, &updated, update(created, None)).await?;
        *created = updated;
    }
    for (n, (key, last)) in keys.iter().zip(&records).enumerate() {
        stands(store, key, last, "beside those of similar keys").await?;
        ensure!(store.destroy(key, None).await?, "destroy of key {n} must find its record");
        let result = store.save(key, last, update(last, None)).await;
        refused(result, ErrorKind::Gone, "an update of a destroyed key")?;
    }
    Ok(())
}
