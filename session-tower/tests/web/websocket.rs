//! A session in a websocket.

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use session_tower::Session;
use tokio_tungstenite::tungstenite;
use tungstenite::client::IntoClientRequest as _;

use crate::app::{app, quiet, serve};
use crate::support::{Client, Probe};

/// The session moves into the task of the websocket, which outlives the response. The task reads the
/// loaded values and saves its own changes.
async fn talk(upgrade: WebSocketUpgrade, session: Session) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let user: Option<String> = session.get("user").unwrap();
        socket.send(Message::text(format!("hello {}", user.unwrap()))).await.unwrap();
        let Some(Ok(Message::Text(text))) = socket.recv().await else { panic!("no message") };
        session.insert("said", text.as_str()).unwrap();
        let saved = session.save().await;
        let answer = saved.map_or_else(|error| format!("{:?}", error.kind()), |_| "saved".into());
        let alive = session.is_alive().await.unwrap();
        socket.send(Message::text(format!("{answer}, alive: {alive}"))).await.unwrap();
    })
}

#[tokio::test]
async fn a_websocket_reads_its_session_and_saves_what_it_writes() {
    let probe = Probe::default();
    let layer = quiet(probe.store());
    let socket = Router::new().route("/socket", get(talk)).layer(layer.clone());
    let address = serve(app(layer).merge(socket)).await;
    let mut client = Client::new(address);
    client.get("/login/ann").await;

    for (log_out_meanwhile, expected) in
        [(false, "saved, alive: true"), (true, "Gone, alive: false")]
    {
        let mut request = format!("ws://{address}/socket").into_client_request().unwrap();
        let cookie = format!("__Host-id={}", client.cookie.clone().unwrap());
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut socket, response) =
            tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["vary"], "Cookie");
        assert_eq!(text(socket.next().await), "hello ann");
        if log_out_meanwhile {
            client.get("/logout").await;
        }
        socket.send("hi".into()).await.unwrap();
        assert_eq!(text(socket.next().await), expected);
        if !log_out_meanwhile {
            assert_eq!(client.get("/get/said").await.text, "hi");
        }
    }
    assert_eq!(probe.sessions(), 0, "logout wins over a websocket, too");
}

fn text(message: Option<tungstenite::Result<tungstenite::Message>>) -> String {
    message.unwrap().unwrap().into_text().unwrap().to_string()
}
