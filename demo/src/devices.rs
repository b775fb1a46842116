//! "Your sessions": those of the account on all devices, and how to end them.

use std::time::SystemTime;

use axum::Form;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use session_core::{ErrorKind, Level, OwnedSession, Result};
use session_tower::{Session, SessionFailure};

/// The sessions of the account; none if the store can't list them, as sessions in cookies.
pub(crate) struct Devices(Option<Vec<Device>>);

struct Device {
    reference: String,
    label: String,
    signed_in: String,
    seen: String,
    is_this: bool,
}

impl Devices {
    pub(crate) async fn of(session: &Session) -> Result<Self> {
        match session.account_sessions().await {
            Ok(all) => Ok(Self(Some(all.iter().map(|one| Device::new(one, session)).collect()))),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn render(&self) -> Markup {
        html! {
            section #devices {
                h2 { "Your sessions" }
                @if let Some(devices) = &self.0 {
                    ul {
                        @for device in devices {
                            li.device {
                                b { (device.label) }
                                @if device.is_this { " (this one)" }
                                ", signed in " (device.signed_in) ", last seen " (device.seen)
                                @if !device.is_this {
                                    form method="post" action="/account/end" {
                                        input type="hidden" name="reference" value=(device.reference);
                                        button.end { "End" }
                                    }
                                }
                            }
                        }
                    }
                    form method="post" action="/account/end-others" {
                        button #end-others { "End all others" }
                    }
                    form method="post" action="/account/end-all" {
                        button #end-all { "End all, and sign out here" }
                    }
                } @else {
                    p { "This store can't list the sessions of an account: they are in the browsers' cookies." }
                }
            }
        }
    }
}

impl Device {
    fn new(one: &OwnedSession, session: &Session) -> Self {
        Self {
            reference: one.reference(),
            label: one.label().unwrap_or("Unknown device").to_owned(),
            signed_in: ago(one.created_at()),
            seen: ago(one.last_seen()),
            is_this: one.is(session),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Which {
    reference: String,
}

/// The reference of a session is none of its ids: it only finds a session of the same account.
pub(crate) async fn end(
    session: Session,
    Form(which): Form<Which>,
) -> std::result::Result<Redirect, SessionFailure> {
    let all = session.account_sessions().await?;
    let text = match all.iter().find(|one| one.reference() == which.reference) {
        Some(one) if one.end().await? => "The session has ended.",
        _ => "The session had ended before.",
    };
    session.flash().message(Level::Info, text);
    Ok(Redirect::to("/account"))
}

pub(crate) async fn end_others(session: Session) -> std::result::Result<Redirect, SessionFailure> {
    let text = match session.destroy_others().await? {
        0 => "There were no other sessions.".to_owned(),
        1 => "One other session has ended.".to_owned(),
        many => format!("{many} other sessions have ended."),
    };
    session.flash().message(Level::Info, text);
    Ok(Redirect::to("/account"))
}

pub(crate) async fn end_all(session: Session) -> std::result::Result<Redirect, SessionFailure> {
    session.destroy_all().await?;
    Ok(Redirect::to("/signed-out"))
}

/// A name for the browser, as its header has it.
pub(crate) fn label(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let named = |names: &[(&str, &'static str)]| {
        let found = names.iter().find(|(part, _)| agent.contains(part));
        found.map_or("unknown", |(_, name)| *name)
    };
    // Most browsers name others, too: the first that is found is the right one.
    let browser = named(&[
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = named(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    format!("{browser} on {system}")
}

fn ago(time: SystemTime) -> String {
    let seconds = time.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..=59 => "just now".to_owned(),
        60..=3599 => format!("{} min ago", seconds / 60),
        3600..=86_399 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_has_its_own_name() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, \
                 like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("", "unknown on unknown"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().unwrap());
            assert_eq!(label(&headers), name);
        }
    }

    #[test]
    fn a_time_is_readable() {
        let before = |seconds| SystemTime::now() - std::time::Duration::from_secs(seconds);
        for (seconds, text) in
            [(5, "just now"), (125, "2 min ago"), (7300, "2 h ago"), (180_000, "2 d ago")]
        {
            assert_eq!(ago(before(seconds)), text);
        }
    }
}
