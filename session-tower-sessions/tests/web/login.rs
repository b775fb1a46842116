//! An application on axum-login 0.18, which brings tower-sessions 0.14.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use axum_login::tower_sessions::SessionManagerLayer;
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend};
use session_tower_sessions::{OnMissing, TowerStore};

use crate::app::Gate;
use crate::browser::Browser;
use crate::stores::on_every_store;
use crate::watched::Watched;

on_every_store!(
    sign_in,
    sign_out,
    second_sign_in,
    fixation,
    two_browsers,
    another_password,
    sign_out_during_a_slow_request,
    sign_out_with_a_message_during_a_slow_request,
    sign_in_during_a_slow_request,
    what_other_stores_do,
);

/// Users by name, with their passwords.
#[derive(Clone, Debug, Default)]
struct Users(Arc<Mutex<BTreeMap<String, String>>>);

#[derive(Clone, Debug)]
struct User {
    name: String,
    password: String,
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = (String, String);
    type Error = Infallible;

    async fn authenticate(
        &self,
        (name, password): Self::Credentials,
    ) -> Result<Option<User>, Infallible> {
        Ok(self.get_user(&name).await?.filter(|user| user.password == password))
    }

    async fn get_user(&self, name: &String) -> Result<Option<User>, Infallible> {
        let password = self.0.lock().unwrap().get(name).cloned();
        Ok(password.map(|password| User { name: name.clone(), password }))
    }
}

type AuthSession = axum_login::AuthSession<Users>;
type Answer = Result<String, StatusCode>;
type Pairs = Query<BTreeMap<String, String>>;

fn app(store: TowerStore) -> (Router, Users, Gate) {
    let (users, gate) = (Users::default(), Gate::new());
    for name in ["ann", "bob"] {
        users.0.lock().unwrap().insert(name.to_owned(), "secret".to_owned());
    }
    let sessions = SessionManagerLayer::new(store).with_secure(false);
    let auth = AuthManagerLayerBuilder::new(users.clone(), sessions).build();
    let app = Router::new()
        .route("/login", get(login))
        .route("/logout", get(logout))
        .route("/logout-with-message", get(logout_with_message))
        .route("/whoami", get(whoami))
        .route("/put", get(put))
        .route("/slow-put", get(slow_put))
        .layer(auth)
        .layer(Extension(gate.clone()));
    (app, users, gate)
}

fn failed<E>(_: E) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

async fn login(mut auth: AuthSession, Query(form): Pairs) -> Answer {
    let credentials = (form["name"].clone(), form["password"].clone());
    let user = auth.authenticate(credentials).await.map_err(failed)?;
    let user = user.ok_or(StatusCode::UNAUTHORIZED)?;
    auth.login(&user).await.map_err(failed)?;
    Ok(user.name)
}

async fn logout(mut auth: AuthSession) -> Answer {
    auth.logout().await.map_err(failed)?;
    Ok(String::new())
}

async fn logout_with_message(mut auth: AuthSession) -> Answer {
    auth.logout().await.map_err(failed)?;
    auth.session.insert("message", "bye").await.map_err(failed)?;
    Ok(String::new())
}

async fn whoami(auth: AuthSession) -> Answer {
    let user = auth.user.map_or("nobody".to_owned(), |user| user.name);
    let cart: Option<String> = auth.session.get("cart").await.map_err(failed)?;
    Ok(format!("{user},{}", cart.unwrap_or_default()))
}

async fn put(auth: AuthSession) -> Answer {
    auth.session.insert("cart", "full").await.map_err(failed)?;
    Ok(String::new())
}

/// Has read the session when it is held up, and changes it then.
async fn slow_put(auth: AuthSession, Extension(gate): Extension<Gate>) -> Answer {
    gate.wait().await;
    put(auth).await
}

const ANN: &str = "/login?name=ann&password=secret";
const BOB: &str = "/login?name=bob&password=secret";

async fn sign_in(store: TowerStore) {
    let (app, ..) = app(store);
    let mut browser = Browser::new(&app);
    assert_eq!(browser.body("/whoami").await, "nobody,");
    assert_eq!(
        browser.send("/login?name=ann&password=wrong").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(browser.body("/whoami").await, "nobody,");
    browser.get(ANN).await;
    assert_eq!(browser.body("/whoami").await, "ann,");
    browser.get("/put").await;
    assert_eq!(browser.body("/whoami").await, "ann,full");
}

async fn sign_out(store: TowerStore) {
    let (app, ..) = app(store);
    let mut browser = Browser::new(&app);
    browser.get(ANN).await;
    let mut old = browser.clone();
    browser.get("/logout").await;
    assert_eq!(browser.id(), None);
    assert_eq!(browser.body("/whoami").await, "nobody,");
    assert_eq!(old.body("/whoami").await, "nobody,");
}

async fn second_sign_in(store: TowerStore) {
    let (app, ..) = app(store);
    let mut browser = Browser::new(&app);
    browser.get(ANN).await;
    browser.get("/put").await;
    let mut first = browser.clone();
    browser.get("/logout").await;
    browser.get(BOB).await;
    assert_ne!(browser.id(), first.id());
    assert_eq!(browser.body("/whoami").await, "bob,");
    assert_eq!(first.body("/whoami").await, "nobody,");
    // Signed in already, axum-login changes the user and keeps the session.
    browser.get(ANN).await;
    assert_eq!(browser.body("/whoami").await, "ann,");
}

async fn fixation(store: TowerStore) {
    let (app, ..) = app(store);
    let mut attacker = Browser::new(&app);
    attacker.get("/put").await;
    let mut victim = Browser::new(&app);
    victim.set_id(attacker.id().unwrap());
    assert_eq!(victim.body("/whoami").await, "nobody,full");
    victim.get(ANN).await;
    assert_ne!(victim.id(), attacker.id());
    assert_eq!(victim.body("/whoami").await, "ann,full");
    assert_eq!(attacker.body("/whoami").await, "nobody,");

    // An id that no session has is not taken over.
    let mut victim = Browser::new(&app);
    victim.set_id("AAAAAAAAAAAAAAAAAAAAAA");
    victim.get(ANN).await;
    assert_ne!(victim.id(), Some("AAAAAAAAAAAAAAAAAAAAAA"));
    let mut attacker = Browser::new(&app);
    attacker.set_id("AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(attacker.body("/whoami").await, "nobody,");
}

async fn two_browsers(store: TowerStore) {
    let (app, ..) = app(store);
    let (mut one, mut other) = (Browser::new(&app), Browser::new(&app));
    one.get(ANN).await;
    other.get(ANN).await;
    one.get("/logout").await;
    assert_eq!(one.body("/whoami").await, "nobody,");
    assert_eq!(other.body("/whoami").await, "ann,");
}

/// axum-login ends the sessions of a password that was changed.
async fn another_password(store: TowerStore) {
    let (app, users, _) = app(store);
    let mut browser = Browser::new(&app);
    browser.get(ANN).await;
    users.0.lock().unwrap().insert("ann".to_owned(), "another".to_owned());
    assert_eq!(browser.body("/whoami").await, "nobody,");
    users.0.lock().unwrap().insert("ann".to_owned(), "secret".to_owned());
    assert_eq!(browser.body("/whoami").await, "nobody,");
}

/// A signed-in session, its copy in a request that is held up, and what `path` does meanwhile; the
/// status of the slow request.
async fn during_a_slow_request(
    browser: &mut Browser,
    gate: &Gate,
    path: &str,
) -> (StatusCode, Browser) {
    let mut slow = browser.clone();
    let request = tokio::spawn(async move {
        let answer = slow.send("/slow-put").await;
        (answer.status, slow)
    });
    gate.arrival().await;
    browser.get(path).await;
    gate.open();
    request.await.unwrap()
}

async fn sign_out_during_a_slow_request(store: TowerStore) {
    let (app, _, gate) = app(store);
    let mut browser = Browser::new(&app);
    browser.get(ANN).await;
    let (status, mut slow) = during_a_slow_request(&mut browser, &gate, "/logout").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(slow.body("/whoami").await, "nobody,");
    assert_eq!(browser.body("/whoami").await, "nobody,");
}

async fn sign_out_with_a_message_during_a_slow_request(store: TowerStore) {
    let (app, _, gate) = app(store);
    let mut browser = Browser::new(&app);
    browser.get(ANN).await;
    let (status, mut slow) =
        during_a_slow_request(&mut browser, &gate, "/logout-with-message").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(slow.body("/whoami").await, "nobody,");
    assert_eq!(browser.body("/whoami").await, "nobody,");
}

/// The slow request of the session before the sign-in neither ends the new one nor gets into it. Its
/// answer sets the dead cookie again, which only the layer could prevent: a browser that takes it is
/// signed out.
async fn sign_in_during_a_slow_request(store: TowerStore) {
    let (app, _, gate) = app(store);
    let mut browser = Browser::new(&app);
    browser.get("/logout-with-message").await;
    let (status, mut slow) = during_a_slow_request(&mut browser, &gate, ANN).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(browser.body("/whoami").await, "ann,");
    assert_eq!(slow.body("/whoami").await, "nobody,");
}

/// What happens where a save brings a session back, as it does in other stores.
async fn what_other_stores_do(store: TowerStore) {
    for path in ["/logout", "/logout-with-message"] {
        let (app, _, gate) = app(store.clone().on_missing(OnMissing::Create));
        let mut browser = Browser::new(&app);
        browser.get(ANN).await;
        let (status, mut slow) = during_a_slow_request(&mut browser, &gate, path).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(slow.body("/whoami").await, "ann,full", "{path}");
    }
}

/// During an outage nobody is signed out: it is an error, and afterwards all goes on.
#[tokio::test]
async fn an_outage_signs_nobody_out() {
    let backend = Arc::new(Watched::new());
    let (app, ..) = app(TowerStore::new(backend.clone()));
    let mut browser = Browser::new(&app);
    browser.get(ANN).await;
    backend.down.store(true, SeqCst);
    for path in ["/whoami", "/put", "/logout", ANN] {
        let answer = browser.send(path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(answer.cookies.is_empty(), "{path}");
    }
    backend.down.store(false, SeqCst);
    assert_eq!(browser.body("/whoami").await, "ann,");
}
