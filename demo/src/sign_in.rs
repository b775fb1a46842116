//! Sign-in, sign-out, and the guard of the members' pages.

use axum::extract::{Form as FormBody, Request};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use session_core::{Level, Owner, Result};
use session_tower::{Session, SessionFailure};
use std::time::Duration;

use crate::devices;

/// The maximum length of a refused name that is shown in the form again.
const SHOWN_CHARS: usize = 80;

const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// The visitor's input. If it is refused, it is shortened and stored in the flash, and the next page shows
/// it in the form. Serialization skips the password, so no handler can store it by mistake.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Input {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, skip_serializing)]
    password: String,
    #[serde(default)]
    pub(crate) remember: Option<String>,
}

/// The errors of the input, for each field.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errors {
    pub(crate) name: Option<String>,
    pub(crate) password: Option<String>,
}

/// The form as the page shows it; after a refusal it has the old input and the errors.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(crate) input: Input,
    pub(crate) errors: Errors,
}

impl Form {
    pub(crate) fn of(session: &Session) -> Result<Self> {
        let flash = session.flash();
        Ok(Self {
            input: flash.take("input")?.unwrap_or_default(),
            errors: flash.take("errors")?.unwrap_or_default(),
        })
    }
}

impl Input {
    fn errors(&self) -> Errors {
        let name = match self.name.trim().chars().count() {
            0 => Some("Please enter a name; any name is accepted.".into()),
            1..=40 => None,
            _ => Some("Please enter a name of at most 40 characters.".into()),
        };
        let too_short = self.password.chars().count() < 4;
        let password =
            too_short.then(|| "Please enter any password of at least 4 characters.".into());
        Errors { name, password }
    }

    /// Shortens the input so that it fits into any session, also into a cookie.
    fn shortened(self) -> Self {
        Self { name: self.name.chars().take(SHOWN_CHARS).collect(), ..self }
    }
}

pub(crate) async fn sign_in(
    session: Session,
    headers: HeaderMap,
    FormBody(input): FormBody<Input>,
) -> Result<Redirect, SessionFailure> {
    let errors = input.errors();
    if errors != Errors::default() {
        session.flash().insert("input", input.shortened())?;
        session.flash().insert("errors", errors)?;
        return Ok(Redirect::to("/"));
    }
    let name = input.name.trim();
    if session.contains("name") {
        // Another visitor was signed in. The new one must not get their values or their "remember me".
        session.destroy();
    }
    // The session gets a new id, so an attacker who knows the old one is not signed in.
    session.sign_in(Owner::new(name)?);
    session.set_label(Some(&devices::label(&headers)))?;
    session.insert("name", name)?;
    if input.remember.is_some() {
        session.set_lifetime(REMEMBERED)?;
    }
    session.flash().message(Level::Info, format!("Welcome, {name}!"));
    Ok(Redirect::to("/"))
}

/// The session is destroyed before the response is sent, so every copy of its cookie is invalid.
pub(crate) async fn sign_out(session: Session) -> Redirect {
    session.destroy();
    Redirect::to("/signed-out")
}

/// The guard: redirects a visitor who is not signed in to the form.
pub(crate) async fn members_only(
    session: Session,
    request: Request,
    next: Next,
) -> Result<Response, SessionFailure> {
    if session.get::<String>("name")?.is_none() {
        return Ok(Redirect::to("/?sign-in=needed").into_response());
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, password: &str) -> Input {
        Input { name: name.into(), password: password.into(), remember: None }
    }

    #[test]
    fn any_name_and_a_password_of_four_characters_are_accepted() {
        assert_eq!(input("Zoë", "1234").errors(), Errors::default());
        assert!(input(" ", "1234").errors().name.is_some());
        assert!(input(&"n".repeat(41), "1234").errors().name.is_some());
        assert!(input("Zoë", "123").errors().password.is_some());
    }

    #[test]
    fn a_refused_name_is_shortened() {
        let long = input(&"ß".repeat(4000), "1234").shortened();
        assert_eq!(long.name.chars().count(), SHOWN_CHARS);
        assert_eq!(input("Zoë", "1234").shortened().name, "Zoë");
    }

    #[test]
    fn a_refused_password_does_not_reach_the_session() {
        let json = serde_json::to_string(&input("Zoë", "hunter2")).unwrap();
        assert!(json.contains("Zoë") && !json.contains("hunter2"), "{json}");
    }
}
