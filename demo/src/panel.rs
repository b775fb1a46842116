//! The panel beside the page, which shows the contents of the session.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};
use session_core::{Result, Session, SessionStore};

/// A session's state, without its id.
pub(crate) struct Panel {
    store: &'static str,
    exists: bool,
    created: String,
    expires_in: Option<String>,
    owner: Option<String>,
    values: Vec<(String, String)>,
    flash: Vec<String>,
}

impl Panel {
    /// Must be called before the page takes the flash messages.
    pub(crate) fn new(session: &Session, store: &SessionStore) -> Result<Self> {
        let value = |key: String| {
            let value: Option<serde_json::Value> = session.get(&key)?;
            Ok(value.map(|value| (key, value.to_string())))
        };
        let flash = session.flash();
        let messages = flash.peek_messages().into_iter().map(|message| message.text);
        let fields = ["input", "errors"].into_iter().filter(|key| flash.contains(key));
        Ok(Self {
            store: store.backend_name(),
            exists: session.exists(),
            created: clock_time(session),
            expires_in: session.expires_in().map(readable),
            owner: session.owner().map(|owner| owner.as_str().to_owned()),
            values: session
                .keys()
                .into_iter()
                .filter_map(|key| value(key).transpose())
                .collect::<Result<_>>()?,
            flash: messages.chain(fields.map(|key| format!("the form's {key}"))).collect(),
        })
    }

    pub(crate) fn render(&self) -> Markup {
        html! {
            aside.panel aria-label="Your session" {
                h2 { "Your session" }
                @if self.exists {
                    dl {
                        (row("store", &html! { (self.store) }))
                        (row("created", &html! { (self.created) " UTC" }))
                        @if let Some(left) = &self.expires_in { (row("expires in", &html! { (left) })) }
                        @if let Some(owner) = &self.owner { (row("owner", &html! { (owner) })) }
                    }
                } @else {
                    p #no-session {
                        "You have no session yet. Nothing is stored in " b { (self.store) }
                        " and no cookie is set until there is something to store."
                    }
                }
                h3 { "Values" }
                @if self.values.is_empty() { p.none { "none" } }
                dl #values {
                    @for (key, value) in &self.values { (row(key, &html! { code { (value) } })) }
                }
                h3 { "Flash, delivered with this page" }
                @if self.flash.is_empty() { p.none { "none" } }
                ul { @for text in &self.flash { li { (text) } } }
                p.note { "The id is a secret and never shown: anybody with it has your session." }
            }
        }
    }
}

fn row(name: &str, value: &Markup) -> Markup {
    html! { dt { (name) } dd { (value) } }
}

/// The time of day at which the session was created.
fn clock_time(session: &Session) -> String {
    let since = session.created_at().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}:{:02}", since / 3600 % 24, since / 60 % 60, since % 60)
}

fn readable(life: Duration) -> String {
    let seconds = life.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_readable() {
        for (seconds, text) in
            [(7, "7 s"), (67, "1 min 7 s"), (7199, "1 h 59 min"), (30 * 86_400, "30 d 0 h")]
        {
            assert_eq!(readable(Duration::from_secs(seconds)), text);
        }
    }
}
