//! The application that the tests talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorRequestTimeout;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig, post};
use actix_web::{App, Error, HttpResponse, HttpServer, Route, guard};
use futures_util::TryStreamExt as _;
pub(crate) use session_actix::{
    CookieConfig, SameSite, SessionHeader, SessionMiddleware as SessionLayer,
};
use session_actix::{OptionalSession, SessionFailure};
pub(crate) use session_actix::{Session, SessionHandle};
use session_core::{Config, Owner, SessionStore};
use tokio::sync::Notify;

use crate::stream::{self, Act};
use crate::support::{Client, Probe, number_if_it_is_one};

/// Whether the framework drops a handler whose client has disconnected.
pub(crate) const DROPS_HANDLERS: bool = false;

/// The page in place of that of a handler whose session could not be saved.
pub(crate) fn page_of_failed_save(status: u16) -> &'static str {
    match status {
        503 => "The session store is unavailable. Please try again in a moment.\n",
        _ => "The session could not be used.\n",
    }
}

type Answer = Result<String, SessionFailure>;

/// Where `/slow` waits between its read and its write.
#[derive(Clone, Default)]
pub(crate) struct Slow {
    pub(crate) reached: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

/// An application that is not served yet.
pub(crate) struct Application {
    layer: Option<SessionLayer>,
    routes: Routes,
}

type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

impl Application {
    pub(crate) fn new(
        layer: Option<SessionLayer>,
        routes: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        Self { layer, routes: Arc::new(routes) }
    }
}

/// A client of a new application over this store.
pub(crate) async fn start(probe: &Probe) -> Client {
    Client::new(serve(app(quiet(probe.store()))).await)
}

pub(crate) fn app(layer: SessionLayer) -> Application {
    app_with(layer, Slow::default())
}

pub(crate) fn app_with(layer: SessionLayer, slow: Slow) -> Application {
    Application::new(Some(layer), move |app| routes(app, slow.clone()))
}

pub(crate) fn app_without_a_layer() -> Application {
    Application::new(None, |app| routes(app, Slow::default()))
}

/// A layer without garbage collection, so that calls can be counted.
pub(crate) fn quiet(store: SessionStore) -> SessionLayer {
    SessionLayer::new(store).with_gc_probability(0.0).unwrap()
}

/// Like [`quiet`], with an idle timeout.
pub(crate) fn quiet_with_idle_timeout(probe: &Probe) -> SessionLayer {
    let config = Config::default().lifetime(None).idle_timeout(Duration::from_secs(7200));
    quiet(probe.store().with_config(config).unwrap())
}

/// Serves the application on a free port until the test's process ends.
pub(crate) async fn serve(application: Application) -> SocketAddr {
    let Application { layer, routes } = application;
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                let routes = Arc::clone(&routes);
                let routes = move |app: &mut ServiceConfig| routes(app);
                match layer.clone() {
                    Some(layer) => App::new().service(web::scope("").wrap(layer).configure(routes)),
                    None => App::new().service(web::scope("").configure(routes)),
                }
            });
            let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
            tell.send(server.addrs()[0]).unwrap();
            server.disable_signals().run().await
        })
    });
    told.await.unwrap()
}

pub(crate) fn routes(app: &mut ServiceConfig, slow: Slow) {
    app.app_data(Data::new(slow))
        .route("/plain", get().to(async || "plain"))
        .route("/ask", get().to(async |_: Session| "asked"))
        .route("/get/{key}", get().to(read))
        .route("/set/{key}/{value}", get().to(write))
        .route("/count", get().to(count))
        .route("/count-and-save", get().to(count_and_save))
        .route("/clear-and-set/{value}", get().to(clear_and_set))
        .route("/login/{name}", get().to(login))
        .route("/sign-in/{name}", get().to(sign_in))
        .route("/remember", get().to(remember))
        .route("/forget", get().to(forget))
        .route("/logout", get().to(logout))
        .route("/logout-and-set/{value}", get().to(logout_and_set))
        .route("/extend", get().to(extend))
        .route("/state", get().to(state))
        .route("/fail/login", get().to(fail_login))
        .route("/fail/logout", get().to(fail_logout))
        .route("/fail/set/{value}", get().to(fail_write))
        .route("/panic/logout", get().to(panic_logout))
        .route("/optional", get().to(optional))
        .route("/optional/set/{value}", get().to(optional_write))
        .route("/too-large", get().to(too_large))
        .route("/slow/{value}", get().to(slow_write))
        .route("/post/{value}", post().to(write_value))
        .route("/renew", get().to(slow_renewal))
        .route("/clear", get().to(clear))
        .route("/both", get().to(async |_: Session, _: OptionalSession, _: Session| ""))
        .route("/own-save", get().to(own_save))
        .route("/stream/ask-and-set", get().to(stream_from_the_request))
        .route("/stream/{act}", get().to(stream_from_the_handler))
        .route("/length/{length}", get().to(of_length))
        .route("/number", get().to(number))
        .route("/number-or-remove", get().to(number_or_remove))
        .route("/number-or-remove/add", get().to(number_or_remove_and_add))
        .service(web::resource("/half").wrap(from_fn(time_limit)).route(get().to(half)))
        .service(
            web::resource("/half-a-logout")
                .wrap(from_fn(time_limit))
                .route(get().to(half_a_logout)),
        );
}

/// As axum does, the handler of GET runs for HEAD, too.
pub(crate) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn forget(session: Session) -> &'static str {
    session.reset_lifetime();
    ""
}

async fn logout(session: Session) -> &'static str {
    session.destroy();
    ""
}

async fn extend(session: Session) -> &'static str {
    session.extend();
    ""
}

async fn clear(session: Session) -> &'static str {
    session.clear();
    ""
}

async fn read(session: Session, key: Path<String>) -> Answer {
    Ok(session.get::<String>(&key)?.unwrap_or_else(|| "nothing".into()))
}

async fn write(session: Session, path: Path<(String, String)>) -> Answer {
    let (key, value) = path.into_inner();
    session.insert(&key, &value)?;
    Ok(value)
}

async fn write_value(session: Session, value: Path<String>) -> Answer {
    session.insert("value", &*value)?;
    Ok(value.into_inner())
}

async fn count(session: Session) -> Answer {
    let count = session.update("count", |count: Option<u64>| count.unwrap_or(0) + 1)?;
    Ok(count.to_string())
}

async fn count_and_save(session: Session) -> Answer {
    let count = session.update_and_save("count", |count: Option<u64>| count.unwrap_or(0) + 1);
    Ok(count.await?.to_string())
}

async fn clear_and_set(session: Session, value: Path<String>) -> Answer {
    session.clear();
    session.insert("value", &*value)?;
    Ok(value.into_inner())
}

async fn login(session: Session, name: Path<String>) -> Answer {
    session.regenerate();
    session.insert("user", &*name)?;
    Ok(name.into_inner())
}

async fn sign_in(session: Session, name: Path<String>) -> Answer {
    session.sign_in(Owner::new(name.as_str())?);
    session.insert("user", &*name)?;
    Ok(name.into_inner())
}

async fn remember(session: Session) -> Answer {
    session.insert("remembered", true)?;
    session.set_lifetime(Duration::from_secs(30 * 86_400))?;
    Ok(String::new())
}

async fn logout_and_set(session: Session, value: Path<String>) -> Answer {
    session.destroy();
    session.insert("value", &*value)?;
    Ok(value.into_inner())
}

async fn state(session: Session) -> String {
    format!("exists: {}, empty: {}", session.exists(), session.is_empty())
}

async fn fail_login(session: Session) -> Result<HttpResponse, SessionFailure> {
    session.regenerate();
    session.insert("user", "admin")?;
    Ok(HttpResponse::InternalServerError().finish())
}

async fn fail_logout(session: Session) -> Result<HttpResponse, SessionFailure> {
    session.destroy();
    session.insert("value", "unwanted")?;
    Ok(HttpResponse::BadGateway().body("the handler's page"))
}

async fn fail_write(session: Session, value: Path<String>) -> Result<HttpResponse, SessionFailure> {
    session.insert("value", &*value)?;
    Ok(HttpResponse::InternalServerError().body("the handler's page"))
}

async fn panic_logout(session: Session) -> String {
    session.destroy();
    panic!("on purpose");
}

async fn optional(session: OptionalSession) -> Answer {
    let value = session.get::<String>("value")?;
    Ok(format!("available: {}, value: {value:?}", session.is_available()))
}

async fn optional_write(session: OptionalSession, value: Path<String>) -> Answer {
    session.insert("value", &*value)?;
    Ok(value.into_inner())
}

async fn too_large(session: Session) -> Answer {
    session.insert("value", "x".repeat(2 << 20))?;
    Ok("written".into())
}

async fn slow_write(session: Session, slow: Data<Slow>, value: Path<String>) -> Answer {
    slow.reached.notify_one();
    slow.go_on.notified().await;
    session.insert("value", &*value)?;
    Ok(value.into_inner())
}

async fn slow_renewal(session: Session, slow: Data<Slow>) -> &'static str {
    session.extend();
    slow.reached.notify_one();
    slow.go_on.notified().await;
    "renewed"
}

async fn own_save(session: Session) -> Answer {
    session.insert("value", "late")?;
    session.save().await?;
    Ok(String::new())
}

async fn stream_from_the_handler(
    session: Session,
    slow: Data<Slow>,
    act: Path<String>,
) -> HttpResponse {
    streaming(stream::From::Handler(session), Act::named(&act), &slow)
}

async fn stream_from_the_request(handle: SessionHandle, slow: Data<Slow>) -> HttpResponse {
    streaming(stream::From::Request(handle), Act::Set, &slow)
}

fn streaming(from: stream::From, act: Act, slow: &Slow) -> HttpResponse {
    let body =
        stream::body(from, act, slow.clone()).map_ok(|part| Bytes::from_static(part.as_bytes()));
    HttpResponse::Ok().streaming(body)
}

async fn of_length(session: Session, length: Path<usize>) -> Answer {
    session.insert("value", "x".repeat(*length))?;
    Ok(String::new())
}

async fn number(session: Session) -> Answer {
    Ok(session.get::<u64>("value")?.unwrap_or_default().to_string())
}

async fn number_or_remove(session: Session) -> Answer {
    Ok(number_if_it_is_one(&session)?.to_string())
}

async fn number_or_remove_and_add(session: Session) -> Answer {
    number_if_it_is_one(&session)?;
    Ok(session.update("value", |value: Option<u64>| value.unwrap_or(0) + 1)?.to_string())
}

async fn half(session: Session) -> &'static str {
    session.insert("value", "half").unwrap();
    session.regenerate();
    std::future::pending::<()>().await;
    ""
}

async fn half_a_logout(session: Session) -> &'static str {
    session.destroy();
    session.insert("value", "half").unwrap();
    std::future::pending::<()>().await;
    ""
}

/// A time limit inside the layer.
async fn time_limit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let limited = tokio::time::timeout(Duration::from_millis(50), next.call(request)).await;
    limited.unwrap_or_else(|_| Err(ErrorRequestTimeout("")))
}
