//! axum: the bare router, session-tower, and tower-sessions with its store in memory.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderValue, Request};
use axum::routing::get;
use session_core::SessionStore;
use session_memory::MemoryBackend;
use session_tower::SessionLayer;
use tower_service::Service as _;
use tower_sessions::{MemoryStore, SessionManagerLayer};

use crate::{Count, Operation, TURNS, head, print};

fn bare() -> Router {
    let page = || async { "page" };
    Router::new().route("/unused", get(page)).route("/read", get(page)).route("/write", get(page))
}

fn ours() -> Router {
    type Session = session_tower::Session;
    let read = |session: Session| async move {
        session.get::<u64>("value").expect("it is a number").unwrap_or(0).to_string()
    };
    let write = |session: Session| async move {
        session.insert("value", fastrand::u64(..)).expect("a number can be kept");
        "written"
    };
    Router::new()
        .route("/unused", get(|| async { "page" }))
        .route("/read", get(read))
        .route("/write", get(write))
        .layer(SessionLayer::new(SessionStore::new(MemoryBackend::new())))
}

fn theirs() -> Router {
    type Session = tower_sessions::Session;
    let read = |session: Session| async move {
        session.get::<u64>("value").await.expect("it is a number").unwrap_or(0).to_string()
    };
    let write = |session: Session| async move {
        session.insert("value", fastrand::u64(..)).await.expect("a number can be kept");
        "written"
    };
    Router::new()
        .route("/unused", get(|| async { "page" }))
        .route("/read", get(read))
        .route("/write", get(write))
        .layer(SessionManagerLayer::new(MemoryStore::default()))
}

pub(crate) fn run(turn: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built").block_on(async {
        head("tower-sessions");
        for operation in Operation::ALL {
            for tasks in [1, 64] {
                let routers = [bare(), ours(), theirs()];
                let mut counts = [Count::default(); 3];
                for _ in 0..TURNS {
                    for (router, count) in routers.iter().zip(&mut counts) {
                        count.add(measure(router, operation, tasks, turn).await);
                    }
                }
                print(operation, tasks, counts);
            }
        }
    });
}

/// Runs one request of this project for as long as this.
pub(crate) fn profile(operation: Operation, time: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let count = runtime.block_on(measure(&ours(), operation, 1, time));
    println!("{:.0} requests/s", count.requests as f64 / count.time.as_secs_f64());
}

async fn measure(router: &Router, operation: Operation, tasks: usize, turn: Duration) -> Count {
    let mut running = Vec::new();
    for _ in 0..tasks {
        let mut router = router.clone();
        let cookie = cookie(&mut router).await;
        running.push((router, cookie));
    }
    let begun = Instant::now();
    let running = running.into_iter().map(|(mut router, cookie)| {
        tokio::spawn(async move {
            let mut requests = 0;
            while begun.elapsed() < turn {
                for _ in 0..16 {
                    let request = Request::get(operation.path()).header(COOKIE, cookie.clone());
                    let request = request.body(Body::empty()).expect("the request is valid");
                    let response = router.call(request).await.expect("a router answers");
                    assert!(response.status().is_success());
                    requests += 1;
                }
                tokio::task::yield_now().await;
            }
            requests
        })
    });
    let running: Vec<_> = running.collect();
    let mut requests = 0;
    for task in running {
        requests += task.await.expect("the task ends");
    }
    Count { requests, time: begun.elapsed() }
}

/// The cookie of a new session, or one that the bare router does not read.
async fn cookie(router: &mut Router) -> HeaderValue {
    let request = Request::get("/write").body(Body::empty()).expect("the request is valid");
    let response = router.call(request).await.expect("a router answers");
    let set = response.headers().get(SET_COOKIE).map(|value| value.to_str().expect("it is text"));
    let pair = set.and_then(|set| set.split(';').next()).unwrap_or("id=0123456789012345678901234567890123456789012");
    HeaderValue::from_str(pair).expect("it was a header")
}
