//! Attributes of the cookie that depend on the request.

use crate::app::{CookieConfig, app, quiet, serve};
use crate::support::{Client, Probe};

async fn client(probe: &Probe, config: CookieConfig) -> Client {
    let layer = quiet(probe.store()).with_cookie(config).unwrap();
    Client::new(serve(app(layer)).await)
}

#[tokio::test]
async fn secure_follows_the_proxy() {
    let probe = Probe::default();
    let config = CookieConfig::new()
        .name("id")
        .secure_for(|request| request.header("x-forwarded-proto") == Some("https"));
    let client = client(&probe, config).await;
    for (proto, secure) in [(Some("https"), true), (Some("http"), false), (None, false)] {
        let headers: Vec<_> = proto.map(|proto| ("x-forwarded-proto", proto)).into_iter().collect();
        let reply = client.send("GET", "/set/value/x", &headers).await;
        let cookie = reply.set_cookie().unwrap().to_owned();
        assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        // It is removed with the same attributes.
        let value = cookie.split(';').next().unwrap();
        let headers: Vec<_> = headers.into_iter().chain([("cookie", value)]).collect();
        let removal =
            client.send("GET", "/logout", &headers).await.set_cookie().unwrap().to_owned();
        assert_eq!(removal.contains("; Secure"), secure, "{removal}");
    }
}

#[tokio::test]
async fn each_tenant_has_its_domain() {
    let probe = Probe::default();
    let config = CookieConfig::new().name("__Secure-id").domain_for(|request| {
        let tenant = request.header("x-tenant")?;
        Some(format!("{tenant}.example"))
    });
    let client = client(&probe, config).await;
    for (tenant, domain) in [("acme", Some("acme.example")), ("initech", Some("initech.example"))] {
        let reply = client.send("GET", "/set/value/x", &[("x-tenant", tenant)]).await;
        let cookie = reply.set_cookie().unwrap();
        let found = cookie.split("; ").find_map(|part| part.strip_prefix("Domain="));
        assert_eq!(found, domain, "{cookie}");
    }
    let reply = client.send("GET", "/set/value/x", &[]).await;
    assert!(!reply.set_cookie().unwrap().contains("Domain"));
    // What is not a domain is a failure of the request, and nothing is stored.
    let before = probe.sessions();
    let reply = client.send("GET", "/set/value/x", &[("x-tenant", "a b;c")]).await;
    assert_eq!((reply.status, reply.set_cookie()), (500, None));
    assert_eq!(probe.sessions(), before);
}

#[tokio::test]
async fn a_name_that_does_not_permit_the_choice_is_refused() {
    let layer = || quiet(Probe::default().store());
    let domain = |name| CookieConfig::new().name(name).domain_for(|_| None);
    let secure = |name| CookieConfig::new().name(name).secure_for(|_| true);
    for (config, valid) in [
        (domain("__Host-id"), false),
        (domain("__Secure-id"), true),
        (secure("__Host-id"), false),
        (secure("__Secure-id"), false),
        (secure("id"), true),
        (CookieConfig::new().secure_for(|_| true), false),
        (CookieConfig::new().domain_for(|_| None), false),
    ] {
        assert_eq!(layer().with_cookie(config.clone()).is_ok(), valid, "{config:?}");
    }
}

#[tokio::test]
async fn development_over_plain_http_needs_no_secure_cookie() {
    let probe = Probe::default();
    let client = client(&probe, CookieConfig::for_plain_http()).await;
    let cookie = client.send("GET", "/set/value/x", &[]).await.set_cookie().unwrap().to_owned();
    assert!(cookie.starts_with("id=") && !cookie.contains("Secure"), "{cookie}");
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
}
