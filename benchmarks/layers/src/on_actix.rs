//! actix-web: the bare application, session-actix, and actix-session with a store in memory. One thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore as Store, UpdateError};
use actix_session::{Session as TheirSession, SessionMiddleware as TheirMiddleware};
use actix_web::body::MessageBody;
use actix_web::cookie::{Key, time};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{COOKIE, SET_COOKIE};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, web};
use session_actix::{Session, SessionMiddleware};
use session_core::SessionStore;
use session_memory::MemoryBackend;

use crate::{Count, Operation, TURNS, head, print};

/// actix-session has no store in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<HashMap<String, HashMap<String, String>>>>);

impl Store for Memory {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        Ok(self.0.lock().expect("no panic").get(key.as_ref()).cloned())
    }

    async fn save(
        &self,
        state: HashMap<String, String>,
        _: &time::Duration,
    ) -> Result<SessionKey, SaveError> {
        let key: String = (0..64).map(|_| fastrand::alphanumeric()).collect();
        self.0.lock().expect("no panic").insert(key.clone(), state);
        key.try_into().map_err(|_| SaveError::Other(anyhow::anyhow!("the key is short")))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        _: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.0.lock().expect("no panic").insert(key.as_ref().to_owned(), state);
        Ok(key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &time::Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        self.0.lock().expect("no panic").remove(key.as_ref());
        Ok(())
    }
}

async fn page() -> &'static str {
    "page"
}

async fn read(session: Session) -> String {
    session.get::<u64>("value").expect("it is a number").unwrap_or(0).to_string()
}

async fn write(session: Session) -> &'static str {
    session.insert("value", fastrand::u64(..)).expect("a number can be kept");
    "written"
}

async fn their_read(session: TheirSession) -> String {
    session.get::<u64>("value").expect("it is a number").unwrap_or(0).to_string()
}

async fn their_write(session: TheirSession) -> &'static str {
    session.insert("value", fastrand::u64(..)).expect("a number can be kept");
    "written"
}

pub(crate) fn run(turn: Duration) {
    actix_web::rt::System::new().block_on(async {
        let bare = App::new()
            .route("/unused", web::get().to(page))
            .route("/read", web::get().to(page))
            .route("/write", web::get().to(page));
        let ours = App::new()
            .wrap(SessionMiddleware::new(SessionStore::new(MemoryBackend::new())))
            .route("/unused", web::get().to(page))
            .route("/read", web::get().to(read))
            .route("/write", web::get().to(write));
        let theirs = App::new()
            .wrap(TheirMiddleware::new(Memory::default(), Key::generate()))
            .route("/unused", web::get().to(page))
            .route("/read", web::get().to(their_read))
            .route("/write", web::get().to(their_write));
        let (bare, ours, theirs) =
            (init_service(bare).await, init_service(ours).await, init_service(theirs).await);
        head("actix-session");
        for operation in Operation::ALL {
            let mut counts = [Count::default(); 3];
            for _ in 0..TURNS {
                counts[0].add(measure(&bare, operation, turn).await);
                counts[1].add(measure(&ours, operation, turn).await);
                counts[2].add(measure(&theirs, operation, turn).await);
            }
            print(operation, 1, counts);
        }
    });
}

async fn measure<S, B>(application: &S, operation: Operation, turn: Duration) -> Count
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let first = application.call(TestRequest::get().uri("/write").to_request()).await;
    let first = first.expect("the application answers");
    let set = first.headers().get(SET_COOKIE).map(|value| value.to_str().expect("it is text"));
    let pair = set.and_then(|set| set.split(';').next()).unwrap_or("id=0123456789").to_owned();
    let (begun, mut requests) = (Instant::now(), 0);
    while begun.elapsed() < turn {
        for _ in 0..16 {
            let request = TestRequest::get().uri(operation.path()).insert_header((COOKIE, &*pair));
            let response = application.call(request.to_request()).await;
            assert!(response.expect("the application answers").status().is_success());
            requests += 1;
        }
    }
    Count { requests, time: begun.elapsed() }
}
