//! Bodies that are sent in parts, and use the session meanwhile.

use std::time::Duration;

use futures_util::stream::{self, Stream};

use crate::app::{Session, SessionHandle, Slow};

/// What the body does to the session.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Read,
    Set,
    SetAndGoOn,
    Regenerate,
    Destroy,
}

impl Act {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "read" => Self::Read,
            "set" | "ask-and-set" => Self::Set,
            "set-and-go-on" => Self::SetAndGoOn,
            "regenerate" => Self::Regenerate,
            "destroy" => Self::Destroy,
            other => panic!("{other} is no act"),
        }
    }
}

/// Where the body gets the session.
pub(crate) enum From {
    Handler(Session),
    /// The body is the first to ask for it.
    Request(SessionHandle),
}

/// `begin`, then the act once the test says so, then `end`.
pub(crate) fn body(
    from: From,
    act: Act,
    slow: Slow,
) -> impl Stream<Item = Result<&'static str, std::io::Error>> {
    stream::unfold((0, from, slow), move |(step, from, slow)| async move {
        let part = match step {
            0 => "begin",
            1 => {
                slow.reached.notify_one();
                slow.go_on.notified().await;
                let session = match &from {
                    From::Handler(session) => session.clone(),
                    From::Request(handle) => handle.session().await.unwrap(),
                };
                match act {
                    Act::Read => drop(session.get::<String>("value").unwrap()),
                    Act::Set | Act::SetAndGoOn => session.insert("value", "streamed").unwrap(),
                    Act::Regenerate => {
                        session.insert("value", "lost").unwrap();
                        session.regenerate();
                    }
                    Act::Destroy => session.destroy(),
                }
                if act == Act::SetAndGoOn { "changed" } else { "end" }
            }
            _ if act == Act::SetAndGoOn => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                "."
            }
            _ => return None,
        };
        Some((Ok(part), (step + 1, from, slow)))
    })
}
