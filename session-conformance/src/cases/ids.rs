//! Keys, under which a store keeps its records, and session ids, which it must never see.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use session_core::{Backend, Config, ErrorKind, Key, SessionId, SessionStore};

use crate::case::{
    CaseResult, Context, LONG, absent, cases, create, ensure, holds, record, refused, skip, update,
};
use crate::spy::Spy;
use crate::visitor::Visitor;

cases! { "ids":
    "clause 2" => keys_differ_in_every_byte,
    "clause 2" => keys_are_case_sensitive,
    "clause 2" => keys_of_any_bytes,
    "the promise that no id is adopted" => unknown_is_never_adopted,
    "the promise that no id is adopted" => random_ids_leave_nothing,
    "the promise that an id has one spelling" => malformed_is_none,
    "the promise that an id has one spelling" => variants_are_none,
    "the promise that the store holds no usable id" => none_in_any_dump,
    "the promise that there is no weak id" => failing_random_source_stores_nothing,
}

async fn keys_differ_in_every_byte(cx: &Context) -> CaseResult {
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

async fn keys_are_case_sensitive(cx: &Context) -> CaseResult {
    let letters = *b"abcdefghijklmnopqrstuvwxyzabcdef";
    let mixed = std::array::from_fn(|at| letters[at] & if at % 2 == 0 { 0xdf } else { 0xff });
    let mut keys = vec![
        Key::from_bytes(letters),
        Key::from_bytes(letters.map(|byte| byte.to_ascii_uppercase())),
        Key::from_bytes(mixed),
    ];
    // A store that converts keys to text must not ignore the case of the text.
    for text in ["a", "A"] {
        let bytes = URL_SAFE_NO_PAD
            .decode(format!("{}A", text.repeat(42)))
            .expect("43 characters of base64url");
        keys.push(Key::from_bytes(bytes.try_into().expect("32 bytes")));
    }
    all_distinct(&*cx.backend().await?, &keys).await
}

async fn keys_of_any_bytes(cx: &Context) -> CaseResult {
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
    // A byte at which a store may end the key, followed by different ones.
    for special in [0x00, b'\n', b' ', b':', b'/', b'\\', b'\'', 0xff] {
        for last in [1, 2] {
            let mut bytes = [b'k'; 32];
            (bytes[7], bytes[31]) = (special, last);
            keys.push(Key::from_bytes(bytes));
        }
    }
    all_distinct(&*cx.backend().await?, &keys).await
}

/// Each key has its own record, which can be created, updated, loaded and destroyed.
async fn all_distinct(store: &dyn Backend, keys: &[Key]) -> CaseResult {
    let mut records = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let created = record(n.to_string());
        if let Err(error) = store.save(key, &created, create(LONG)).await {
            ensure!(
                error.kind() != ErrorKind::AlreadyExists,
                "two different keys must have two records, but key {n} has that of an earlier one"
            );
            return Err(error.into());
        }
        records.push(created);
    }
    for (key, record) in keys.iter().zip(&records) {
        holds(store, key, record, "beside those of similar keys").await?;
    }
    for (key, created) in keys.iter().zip(&mut records) {
        let updated = record("updated");
        store.save(key, &updated, update(created, None)).await?;
        *created = updated;
    }
    for (n, (key, last)) in keys.iter().zip(&records).enumerate() {
        holds(store, key, last, "beside those of similar keys").await?;
        ensure!(store.destroy(key, None).await?, "destroy of key {n} must find its record");
        let result = store.save(key, last, update(last, None)).await;
        refused(result, ErrorKind::Gone, "an update of a destroyed key")?;
    }
    Ok(())
}

async fn unknown_is_never_adopted(cx: &Context) -> CaseResult {
    let backend = cx.backend().await?;
    let spy = Spy::new(cx.backend().await?);
    let store = SessionStore::new(spy.clone());
    let unknown = SessionId::from_bytes(std::array::from_fn(|_| fastrand::u8(..)));
    let mut visitor = Visitor::new(&store);
    visitor.cookie = Some(unknown.expose());
    ensure!(visitor.load().await?.is_none(), "an unknown id must load None");
    let session = store.create();
    session.insert("user", "mallory")?;
    visitor.save(&session).await?;
    ensure!(visitor.cookie()? != unknown.expose(), "an unknown id must not be adopted");
    absent(&*backend, &unknown.key(), "under an id that the client chose").await?;
    ensure!(visitor.session().await?.contains("user"), "the new session must work at once");
    Ok(())
}

async fn random_ids_leave_nothing(cx: &Context) -> CaseResult {
    let spy = Spy::new(cx.backend().await?);
    let store = SessionStore::new(spy.clone());
    for _ in 0..300 {
        let id = SessionId::from_bytes(std::array::from_fn(|_| fastrand::u8(..)));
        ensure!(store.load(&id.expose()).await?.is_none(), "a random id must load None");
        let session = store.create();
        let _ = session.contains("user");
        session.destroy();
        store.save(&session).await?;
    }
    let asked = spy.asked();
    ensure!(
        asked.iter().all(|&name| name == "load"),
        "random ids, reads and logouts must write nothing"
    );
    Ok(())
}

/// Values that are similar to the cookie value.
pub(super) fn malformed(good: &str) -> Vec<String> {
    let (head, last) = good.split_at(good.len() - 1);
    let mut all: Vec<String> = [
        "",
        " ",
        "\0",
        "null",
        "undefined",
        "../../../../etc/passwd",
        "..\\..\\x",
        "%2e%2e%2f",
        "*",
        "?",
        "'; DROP TABLE sessions; --",
        "session:1",
        "\r\nSet-Cookie: a=b",
        "é",
        "😀",
        "=",
        "\"\"",
    ]
    .map(str::to_owned)
    .into();
    all.extend([
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\0"),
        format!("{good}\n"),
        format!("\"{good}\""),
        format!("{good}{good}"),
        format!("{good}A"),
        format!("./{good}"),
        format!("%{good}"),
        head.to_owned(),
        format!("{head}="),
        format!("{head}\0"),
        format!("{head}+"),
        format!("{head}/"),
        format!("{head}.."),
        format!("{}é{last}", &head[..head.len() - 2]),
        "A".repeat(10_000),
        "\0".repeat(43),
        "=".repeat(43),
        "é".repeat(21) + "a",
    ]);
    all
}

async fn malformed_is_none(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    for malformed in malformed(visitor.cookie()?) {
        let found = store.load(&malformed).await?;
        ensure!(found.is_none(), "a malformed value must load None: {malformed:?}");
    }
    ensure!(visitor.session().await?.contains("user"), "the right value must still load");
    Ok(())
}

async fn variants_are_none(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    let good = visitor.cookie()?;
    let mut variants = vec![
        good.to_ascii_lowercase(),
        good.to_ascii_uppercase(),
        good.chars().rev().collect(),
        good.replace('-', "+").replace('_', "/") + "=",
    ];
    for at in 0..good.len() {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        variants.push(String::from_utf8(bytes).expect("ASCII"));
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] ^= if bytes[at].is_ascii_alphabetic() { 0x20 } else { 0x01 };
        variants.push(String::from_utf8(bytes).expect("ASCII"));
    }
    for variant in variants.iter().filter(|variant| *variant != good) {
        let found = store.load(variant).await?;
        ensure!(found.is_none(), "a value that differs in one character must load None");
    }
    Ok(())
}

async fn none_in_any_dump(cx: &Context) -> CaseResult {
    /// The length of a text that does not compress below three quarters.
    const NOISE: usize = 4_000;
    let backend = cx.backend().await?;
    let Some(dump) = &cx.fixture.dump else {
        return Err(skip("the harness has no dump of the store"));
    };
    let store = SessionStore::new(std::sync::Arc::clone(&backend));
    let mut visitor = Visitor::known(&store).await?;
    let mut ids = vec![visitor.cookie()?.to_owned()];
    let before = dump().await?.len();
    let mut noise = vec![0; NOISE * 3 / 4];
    fastrand::fill(&mut noise);
    let session = visitor.session().await?;
    session.insert("noise", STANDARD_NO_PAD.encode(&noise))?;
    session.regenerate();
    visitor.save(&session).await?;
    ids.push(visitor.cookie()?.to_owned());
    let mut shown = dump().await?;
    ensure!(
        shown.len() > before + NOISE / 2,
        "the dump of the harness must contain all records as they are stored, but a saved value is missing"
    );
    shown.extend(format!("{backend:?} {store:?}").into_bytes());
    let folded = shown.to_ascii_lowercase();
    for id in ids {
        let bytes = *SessionId::parse(&id).expect("an id of the handle").expose_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(!contains(&shown, &bytes), "the dump holds the id, as raw bytes");
        ensure!(!contains(&folded, hex.as_bytes()), "the dump holds the id, as hex");
        for text in [&URL_SAFE_NO_PAD, &STANDARD_NO_PAD].map(|engine| engine.encode(bytes)) {
            ensure!(!contains(&shown, text.as_bytes()), "the dump holds the id, as base64");
        }
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

async fn failing_random_source_stores_nothing(cx: &Context) -> CaseResult {
    let failing = Config::default().random_source(|_| Err(std::io::Error::other("no entropy")));
    let store = cx.store(failing).await?;
    let session = store.create();
    session.insert("user", "alice")?;
    let saved = store.save(&session).await;
    ensure!(
        saved.is_err(),
        "without a random source no session may be stored, but save is {saved:?}"
    );
    ensure!(
        store.cookie_value(&session).is_none(),
        "without a random source there is no cookie value"
    );
    absent_id_of_zeros(cx).await
}

/// Fails if there is a session under the id of zeros, which a source that fills nothing would give.
async fn absent_id_of_zeros(cx: &Context) -> CaseResult {
    let zeros = SessionId::from_bytes([0; 32]);
    let store = cx.store(Config::default()).await?;
    ensure!(store.load(&zeros.expose()).await?.is_none(), "the id of zeros must load None");
    Ok(())
}
