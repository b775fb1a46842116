//! Loading the session of a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use session_core::web::Found;
use session_core::{Error, ErrorKind, SessionId};
use tokio::sync::OnceCell;

use crate::candidates::candidates;
use crate::failure::log;
use crate::headers::RequestHeaders;
use crate::same_origin::is_safe;
use crate::{Failure, Session, Shared};

/// Loads the session of one request. Adapters put it into the request's extensions. Clones give the same
/// session.
///
/// What the handler changes is not stored, and no cookie is set, for
/// - a `HEAD` request, for which frameworks run the handler of `GET`;
/// - a prefetch (`Sec-Purpose: prefetch`), whose page may never be shown: a prefetched link must consume no flash message
///   and end no session;
/// - a request of another site that changes something (`Sec-Fetch-Site: cross-site`, not GET) and carries no session
///   cookie: with `SameSite=Lax` the browser did not send it, and a new cookie would replace that of a live session.
///   [`Shared::with_cross_site_writes`] allows it.
///
/// What the handler saves itself is stored all the same.
#[derive(Clone)]
pub struct Handle(Arc<Inner>);

struct Inner {
    shared: Shared,
    /// The handle of the layer around this one.
    outer: Option<Handle>,
    /// Two layers must not share the cookie, nor the ids of their sessions.
    refused: Option<&'static str>,
    keeps_changes: bool,
    candidates: Vec<String>,
    is_navigation: bool,
    asked: AtomicBool,
    session: OnceCell<Result<Loaded, Failure>>,
}

/// The session that was found with the candidates.
#[derive(Debug, Clone)]
struct Loaded {
    session: session_core::Session,
    /// The index of its cookie among the candidates; none for a new session.
    candidate: Option<usize>,
}

impl Handle {
    /// The handle of a request with this method (in upper case) and these headers. `outer` is that of a layer around
    /// this one, which the request's extensions have.
    ///
    /// If both have the same cookie name, or their stores the same ids, each call of [`session`](Self::session) is
    /// `InvalidConfig`.
    pub fn new(
        shared: Shared,
        outer: Option<Handle>,
        method: &str,
        headers: &impl RequestHeaders,
    ) -> Self {
        // Other stores than cookie stores know ids only, so any other value can be left out.
        let ids_only = shared.store().web().cookie_name().is_none();
        let is_plausible = |value: &str| !ids_only || SessionId::parse(value).is_some();
        let mut cookies = Vec::new();
        headers.each("cookie", |line| cookies.push(line));
        let candidates = candidates(cookies.into_iter(), shared.cookie().name(), is_plausible);
        let is_navigation = !candidates.is_empty() && is_navigation(headers);
        let is_speculative = method == "HEAD"
            || headers.first("sec-purpose").is_some_and(|purpose| purpose.starts_with(b"prefetch"));
        let is_cross_site = !is_safe(method)
            && candidates.is_empty()
            && !shared.allows_cross_site()
            && headers.first("sec-fetch-site") == Some(&b"cross-site"[..]);
        Self(Arc::new(Inner {
            refused: outer.as_ref().and_then(|outer| outer.conflict(&shared)),
            shared,
            outer,
            keeps_changes: !is_speculative && !is_cross_site,
            candidates,
            is_navigation,
            asked: AtomicBool::new(false),
            session: OnceCell::new(),
        }))
    }

    /// The request's session: the client's live session, or a new one if the client has none.
    ///
    /// Only the first call loads from the store, and only if the request has a cookie.
    ///
    /// Call it before the response is returned. If a streaming body makes the first call, the head of the
    /// response was sent already: it has no `Vary: Cookie` and sets no cookie, and the layer does not save
    /// the session.
    ///
    /// # Errors
    /// The error of the store; every call of this request returns the same one. An outage never looks
    /// like an empty session. A corrupt record is not an error: it is logged and kept, and the request
    /// gets a new session.
    ///
    /// # Cancellation
    /// A dropped call has no effect; the next one loads the session.
    pub async fn session(&self) -> Result<Session, Failure> {
        self.0.asked.store(true, Ordering::Relaxed);
        let loaded = self.0.session.get_or_init(|| self.0.load()).await;
        let loaded = loaded.as_ref().map_err(Clone::clone)?;
        Ok(Session::new(loaded.session.clone(), self.0.shared.store().clone()))
    }

    /// The handle of the layer with this cookie name: this one, or one around it.
    #[must_use]
    pub fn named(&self, cookie: &str) -> Option<&Self> {
        if self.0.shared.cookie().name() == cookie {
            return Some(self);
        }
        self.0.outer.as_ref()?.named(cookie)
    }

    /// Why a layer with these settings can't be within this one.
    fn conflict(&self, inner: &Shared) -> Option<&'static str> {
        let own = &self.0.shared;
        if own.cookie().name() == inner.cookie().name() {
            return Some("two layers around this route have the same cookie name: give them two");
        }
        if own.store().web().shares_ids_with(inner.store()) {
            return Some(
                "two layers around this route use one store, so a session of one would be one of the \
                 other: give their stores different purposes (Config::purpose)",
            );
        }
        self.0.outer.as_ref()?.conflict(inner)
    }

    /// Whether the changes of the handler are stored.
    pub(crate) fn keeps_changes(&self) -> bool {
        self.0.keeps_changes
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Whether anything asked for the session.
    pub(crate) fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// The session, if it was loaded.
    pub(crate) fn loaded(&self) -> Option<&session_core::Session> {
        Some(&self.0.loaded()?.session)
    }

    /// Destroys the sessions of the client's other cookies of this name. The next request after a logout
    /// would find them.
    pub(crate) async fn destroy_others(&self) -> Result<(), Error> {
        let store = self.0.shared.store();
        let own = self.0.loaded().and_then(|loaded| loaded.candidate);
        for (place, value) in self.0.candidates.iter().enumerate() {
            if Some(place) == own {
                continue;
            }
            let other = match store.web().load(value).await {
                Ok(Found::Session(session) | Found::Rotated(session)) => session,
                Ok(Found::Nothing) => continue,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    store.web().create_instead_of(value)
                }
                Err(error) => return Err(error),
            };
            store.destroy(&other).await?;
        }
        Ok(())
    }
}

impl Inner {
    fn loaded(&self) -> Option<&Loaded> {
        self.session.get()?.as_ref().ok()
    }

    async fn load(&self) -> Result<Loaded, Failure> {
        if let Some(why) = self.refused {
            return Err(Error::invalid_config(why).into());
        }
        let store = self.shared.store();
        let (mut late, mut unreadable) = (None, None);
        for (place, value) in self.candidates.iter().enumerate() {
            match store.web().load(value).await {
                Ok(Found::Session(session)) => {
                    return Ok(Loaded { session, candidate: Some(place) });
                }
                Ok(Found::Rotated(session)) => {
                    late.get_or_insert(Loaded { session, candidate: Some(place) });
                }
                Ok(Found::Nothing) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    log("a session can't be read and is ignored", &error);
                    unreadable.get_or_insert_with(|| store.web().create_instead_of(value));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(late) = late {
            if self.is_navigation {
                // A browser navigates after it has received the previous response, so this client never
                // received the new id.
                store.web().begin_anew(&late.session);
            }
            return Ok(late);
        }
        Ok(Loaded { session: unreadable.unwrap_or_else(|| store.create()), candidate: None })
    }
}

/// Whether the request is a top-level navigation: not one of an embedded frame, and not a prefetch
/// (Fetch Metadata, <https://www.w3.org/TR/fetch-metadata/>).
fn is_navigation(headers: &impl RequestHeaders) -> bool {
    headers.first("sec-fetch-mode") == Some(&b"navigate"[..])
        && headers.first("sec-fetch-dest").is_none_or(|dest| dest == b"document")
        && headers.first("sec-purpose").is_none()
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("cookies", &self.0.candidates.len())
            .field(
                "session",
                &self.0.session.get().map(|loaded| loaded.as_ref().map(|it| &it.session)),
            )
            .finish()
    }
}
