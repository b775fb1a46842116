use session_core::ErrorKind;

use super::*;

fn header(config: CookieConfig) -> String {
    config.check(None, None).unwrap().remove().unwrap()
}

fn refusal(config: CookieConfig) -> String {
    let error = config.check(None, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    error.to_string()
}

fn name(name: &'static str) -> CookieName {
    CookieName::new(name).unwrap()
}

#[test]
fn defaults_are_the_safest_that_work() {
    assert_eq!(
        header(CookieConfig::new()),
        "__Host-id=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
    );
}

#[test]
fn every_attribute_is_configurable() {
    let all = CookieConfig::new()
        .name("__Secure-app")
        .http_only(false)
        .same_site(SameSite::None)
        .path("/app")
        .domain("example.org")
        .partitioned(true);
    assert_eq!(
        header(all),
        "__Secure-app=; Path=/app; Domain=example.org; Secure; SameSite=None; Partitioned; Max-Age=0"
    );
    let bare = CookieConfig::new().name("sid").secure(false).same_site(SameSite::Strict);
    assert_eq!(header(bare), "sid=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
}

#[test]
fn what_browsers_reject_is_refused() {
    let plain = || CookieConfig::new().name("sid");
    for name in ["__Host-id", "__Secure-id", "__Http-id", "__HOST-id", "__secure-id"] {
        assert!(refusal(CookieConfig::new().name(name).secure(false)).contains("Secure"));
    }
    assert!(refusal(CookieConfig::new().path("/app")).contains("Path=/"));
    assert!(refusal(CookieConfig::new().domain("example.org")).contains("Domain"));
    for name in ["__Http-id", "__Host-Http-id"] {
        assert!(refusal(CookieConfig::new().name(name).http_only(false)).contains("HttpOnly"));
    }
    assert!(refusal(plain().secure(false).same_site(SameSite::None)).contains("SameSite"));
    assert!(refusal(plain().secure(false).partitioned(true)).contains("Partitioned"));
    for name in ["", "a b", "a=b", "a;b", "é", "a\0", "a,b", "\"a\""] {
        refusal(CookieConfig::new().name(name));
    }
    refusal(CookieConfig::new().name("n".repeat(CookieName::MAX_BYTES + 1)));
    for path in ["", "app", "/a;b", "/a\nb", "/é", "/ "] {
        refusal(plain().path(path));
    }
    refusal(plain().path(format!("/{}", "p".repeat(MAX_ATTRIBUTE_BYTES))));
    for domain in ["", ".", "example.org.", "exa mple.org", "bücher.de", "a;b", "..a"] {
        refusal(plain().domain(domain));
    }
}

#[test]
fn a_cookie_store_dictates_the_name() {
    let sealed = name("__Host-sealed");
    let cookie = CookieConfig::new().check(Some(&sealed), None).unwrap();
    assert_eq!(cookie.name().as_str(), "__Host-sealed");
    assert!(CookieConfig::new().name("__Host-sealed").check(Some(&sealed), None).is_ok());
    assert!(CookieConfig::new().name("other").check(Some(&sealed), None).is_err());
    assert!(CookieConfig::new().path("/app").check(Some(&sealed), None).is_err());
    assert!(CookieConfig::new().path("/app").check(Some(&name("sealed")), None).is_ok());
}

#[test]
fn attributes_that_a_cookie_store_keeps_no_room_for_are_refused() {
    let (secure, host) = (name("__Secure-s"), name("__Host-s"));
    let config = |path: usize| CookieConfig::new().path(format!("/{}", "p".repeat(path)));
    let refusal = config(300).check(Some(&secure), Some(117)).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidConfig);
    let needed =
        "; Path=/; Secure; HttpOnly; SameSite=Lax".len() + 300 + "; Max-Age=34560000".len();
    assert!(refusal.message().contains(&format!("with_attribute_reserve({needed})")));
    assert!(config(300).check(Some(&secure), Some(needed)).is_ok());
    assert!(config(300).check(Some(&secure), Some(needed - 1)).is_err());
    // A session with its own lifetime has a persistent cookie even with `expire_on_close`.
    let on_close = config(300).expire_on_close(true);
    assert!(on_close.check(Some(&secure), Some(needed - 1)).is_err());
    // The defaults fit into the smallest reserve of a cookie store.
    assert!(CookieConfig::new().check(Some(&host), Some(64)).is_ok());
}

#[cfg(feature = "serde")]
#[test]
fn a_file_sets_what_it_names_and_its_mistakes_are_errors() {
    let read = |json: &str| serde_json::from_str::<CookieConfig>(json);
    let all = r#"{"name":"__Secure-app","http_only":false,"same_site":"none","path":"/app",
        "domain":"example.org","partitioned":true,"secure":true,"expire_on_close":true}"#;
    let config = read(all).unwrap();
    assert!(config.expire_on_close);
    assert_eq!(
        header(config),
        "__Secure-app=; Path=/app; Domain=example.org; Secure; SameSite=None; Partitioned; Max-Age=0"
    );
    assert_eq!(header(read("{}").unwrap()), header(CookieConfig::new()));
    assert!(read(r#"{"path":"/app"}"#).is_ok(), "a cookie store may dictate a name that allows it");
    for bad in [
        r#"{"nam":"id"}"#,
        r#"{"name":"a b"}"#,
        r#"{"name":"__Host-id","secure":false}"#,
        r#"{"same_site":"Lax "}"#,
        r#"{"same_site":"none","secure":false}"#,
        r#"{"path":"app"}"#,
        r#"{"domain":"a;b"}"#,
        r#"{"secure":"yes"}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
