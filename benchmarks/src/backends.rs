//! Which contenders each backend has.

use std::hint::black_box;
use std::time::Duration;

use bench_harness::{Args, Comparison, Contender, Operation, Report};
use indicatif::ProgressBar;
use session_cookie::{CookieStore, SecretKey};
use session_core::{Bytes, CookieBackend as _, Expiry, Record, Revision, SessionId, SessionStore};
use session_memory::MemoryBackend;

use crate::ours::Ours;
use crate::raw;

pub(crate) async fn run(args: &Args, report: &mut Report, progress: &ProgressBar) {
    if args.wants_backend("cookie") {
        cookie(args, report, progress).await;
    }
    if args.wants_backend("memory") {
        let contenders = vec![
            Contender::new("ours", Ours(SessionStore::new(MemoryBackend::new()))),
            Contender::new("raw", raw::memory::Raw::new()),
        ];
        Comparison::new("memory", contenders, args, progress).run(report).await;
    }
}

/// There is no place where sessions could expire or collide.
async fn cookie(args: &Args, report: &mut Report, progress: &ProgressBar) {
    use Operation::{Create, LoadHit, LoadMiss, Save};
    let signed = || {
        let key = SecretKey::generate().expect("the random source works");
        CookieStore::signed("__Host-session", [key]).expect("the key is good")
    };
    let contenders = vec![
        Contender::calls("ours", seal_and_open(signed())),
        Contender::calls("raw", raw::cookie::seal_and_open()),
    ];
    let only = [(LoadHit, "seal_open")];
    Comparison::new("cookie", contenders, args, progress).only(&only).run(report).await;
    let contenders = vec![
        Contender::new("ours", Ours(SessionStore::new_cookie(signed()))),
        Contender::new("raw", raw::cookie::Raw::new()),
    ];
    let only = [LoadHit, LoadMiss, Save, Create].map(|operation| (operation, operation.name()));
    Comparison::new("cookie", contenders, args, progress).only(&only).run(report).await;
}

/// Without the session around it.
fn seal_and_open(store: CookieStore) -> impl Fn() {
    let record = Record {
        payload: Bytes::from(raw::payload()),
        revision: Revision::from_u64(1),
        owner: None,
    };
    let id = SessionId::from_bytes(raw::random_key());
    move || {
        let expiry = Expiry::After(Duration::from_secs(7200));
        let sealed = store.seal(&id, &record, expiry).expect("it is small enough");
        let opened = store.open(black_box(&sealed.value)).expect("it is authentic");
        assert!(black_box(opened).is_some());
    }
}
