//! The sessions of an account, through the extractor.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use session_core::{Owner, SessionStore};
use session_memory::MemoryBackend;
use session_tower::{Session, SessionFailure};

use crate::app::{quiet, serve};
use crate::support::Client;

type Answer = Result<String, SessionFailure>;

async fn sign_in(session: Session, Path(device): Path<String>) -> Answer {
    session.sign_in(Owner::new("ann")?);
    session.set_label(Some(&device))?;
    Ok(device)
}

async fn devices(session: Session) -> Answer {
    let mut names = Vec::new();
    for one in session.account_sessions().await? {
        let here = if one.is(&session) { "*" } else { "" };
        names.push(format!("{}{here}", one.label().unwrap_or_default()));
    }
    Ok(names.join(" "))
}

async fn app() -> std::net::SocketAddr {
    let router = Router::new()
        .route("/sign-in/{device}", get(sign_in))
        .route("/devices", get(devices))
        .route(
            "/end-others",
            get(async |session: Session| -> Answer {
                Ok(session.destroy_others().await?.to_string())
            }),
        )
        .route(
            "/end-all",
            get(async |session: Session| -> Answer {
                Ok(session.destroy_all().await?.to_string())
            }),
        )
        .layer(quiet(SessionStore::new(MemoryBackend::new())));
    serve(router).await
}

#[tokio::test]
async fn an_account_sees_and_ends_its_sessions() {
    let address = app().await;
    let mut clients = Vec::new();
    for device in ["phone", "laptop", "tablet"] {
        let mut client = Client::new(address);
        client.get(&format!("/sign-in/{device}")).await;
        clients.push(client);
        // The list is in the order of the sign-ins, to the millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(clients[1].get("/devices").await.text, "phone laptop* tablet");
    assert_eq!(clients[1].get("/end-others").await.text, "2");
    assert_eq!(clients[1].get("/devices").await.text, "laptop*");
    assert_eq!(clients[0].get("/devices").await.text, "");

    clients[0].get("/sign-in/phone").await;
    let reply = clients[1].get("/end-all").await;
    assert_eq!(reply.text, "1");
    assert!(reply.set_cookie().is_some_and(|cookie| cookie.contains("Max-Age=0")));
    for client in &mut clients {
        assert_eq!(client.get("/devices").await.text, "");
    }
}
