//! Loading the session of a request.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use session_core::web::Found;
use session_core::{Error, ErrorKind};
use tokio::runtime::Handle as Runtime;
use tokio::sync::OnceCell;

use crate::candidates::{Candidates, Shape};
use crate::cookie::Cookie;
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
    /// The request is a `HEAD` or a prefetch.
    is_speculative: bool,
    /// The request is a change that another site requests.
    is_cross_site: bool,
    /// The request has the session id in a header, and the response has a new one there.
    by_header: bool,
    /// The cookie of this request, if it depends on the request.
    cookie: Result<Option<Cookie>, Failure>,
    /// The values of the request's `Cookie` headers, or that of the header for session ids. Most requests don't ask
    /// for their session, so it is parsed when one does.
    sent: Vec<u8>,
    candidates: OnceLock<Candidates>,
    is_navigation: bool,
    asked: AtomicBool,
    /// Where the handler runs; the request may be dropped elsewhere.
    runtime: OnceLock<Runtime>,
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
    /// If both have the same cookie name (also where no cookie is used, because [`named`](Self::named) finds a layer by
    /// it), the same header for ids, or stores with the same ids, each call of [`session`](Self::session) is
    /// `InvalidConfig`.
    pub fn new(
        shared: Shared,
        outer: Option<Handle>,
        method: &str,
        headers: &impl RequestHeaders,
    ) -> Self {
        let header = shared.header();
        let sent_id = header.and_then(|header| header.sent(headers));
        let by_header = sent_id.is_some() || !shared.uses_cookies();
        let sent = if by_header {
            sent_id.unwrap_or_default().to_vec()
        } else {
            let mut sent = Vec::new();
            headers.each("cookie", |line| {
                if !sent.is_empty() {
                    sent.push(b';');
                }
                sent.extend_from_slice(line);
            });
            sent
        };
        let cookie = match by_header {
            true => Ok(None),
            false => shared.cookie_for(headers).transpose().map_err(Failure::from),
        };
        let is_speculative = method == "HEAD"
            || headers.first("sec-purpose").is_some_and(|purpose| purpose.starts_with(b"prefetch"));
        let is_cross_site = !is_safe(method)
            && !by_header
            && !shared.allows_cross_site()
            && headers.first("sec-fetch-site") == Some(&b"cross-site"[..]);
        Self(Arc::new(Inner {
            refused: outer.as_ref().and_then(|outer| outer.conflict(&shared)),
            shared,
            outer,
            is_speculative,
            is_cross_site,
            by_header,
            cookie,
            is_navigation: !by_header && !sent.is_empty() && is_navigation(headers),
            sent,
            candidates: OnceLock::new(),
            asked: AtomicBool::new(false),
            runtime: OnceLock::new(),
            session: OnceCell::new(),
        }))
    }

    /// The request's session: the client's live session, or a new one if the client has none.
    ///
    /// Only the first call loads from the store, and only if the request has a cookie.
    ///
    /// Call it before the response is returned. If a streaming body makes the first call, the head of the
    /// response was sent already: it has no `Vary: Cookie` and sets no cookie. See [`Trailing`](crate::Trailing).
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
        if self.0.runtime.get().is_none()
            && let Ok(runtime) = Runtime::try_current()
        {
            // Another call may have set the same one.
            let _ = self.0.runtime.set(runtime);
        }
        let loaded = self.0.session.get_or_init(|| self.0.load()).await;
        let loaded = loaded.as_ref().map_err(Clone::clone)?;
        Ok(Session::new(loaded.session.clone(), self.0.shared.store().clone()))
    }

    /// The handle of the layer with this cookie name: this one, or one around it.
    #[must_use]
    pub fn named(&self, cookie: &str) -> Option<&Self> {
        if self.0.shared.cookie().name().as_str() == cookie {
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
        if let (Some(own), Some(inner)) = (own.header(), inner.header())
            && own.shares_a_header_with(inner)
        {
            return Some(
                "two layers around this route have the session id in the same header: name two",
            );
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
        let is_kept_out = || self.0.is_cross_site && self.0.candidates().len() == 0;
        !self.0.is_speculative && !is_kept_out()
    }

    /// The tokio runtime in which the handler has asked for the session, if there was one.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.0.runtime.get()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The header in which the client gets a new id, if that is not in a cookie.
    pub(crate) fn response_header(&self) -> Option<&str> {
        Some(self.0.shared.header().filter(|_| self.0.by_header)?.response())
    }

    /// The cookie of this request.
    pub(crate) fn cookie(&self) -> &Cookie {
        let own = self.0.cookie.as_ref().ok().and_then(Option::as_ref);
        own.unwrap_or_else(|| self.0.shared.cookie())
    }

    /// Whether anything asked for the session.
    pub(crate) fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// The session, if it was loaded.
    pub(crate) fn loaded(&self) -> Option<&session_core::Session> {
        Some(&self.0.loaded()?.session)
    }

    /// Saves the session. If the client's session was destroyed, by this save or by the handler, the sessions
    /// of its other cookies are destroyed, too, even if a new session took its place.
    pub(crate) async fn save(self, session: session_core::Session) -> Result<(), Error> {
        let store = self.0.shared.store();
        store.save(&session).await?;
        if store.web().ended(&session) {
            self.destroy_others().await?;
        }
        Ok(())
    }

    /// Destroys the sessions of the client's other cookies of this name. The next request after a logout
    /// would find them.
    pub(crate) async fn destroy_others(&self) -> Result<(), Error> {
        let store = self.0.shared.store();
        let own = self.0.loaded().and_then(|loaded| loaded.candidate);
        for (place, value) in self.0.candidates().enumerate() {
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

    /// The values under which the client may have a session.
    fn candidates(&self) -> impl ExactSizeIterator<Item = &str> {
        let found = self.candidates.get_or_init(|| {
            // Other stores than cookie stores know ids only.
            let shape = match self.shared.store().web().cookie_name() {
                None => Shape::Id,
                Some(_) => Shape::Sealed,
            };
            if self.by_header {
                return Candidates::of_header(&self.sent, shape);
            }
            Candidates::of_cookies(&self.sent, self.shared.cookie().name().as_str(), shape)
        });
        found.values(&self.sent)
    }

    async fn load(&self) -> Result<Loaded, Failure> {
        if let Some(why) = self.refused {
            return Err(Error::invalid_config(why).into());
        }
        if let Err(failure) = &self.cookie {
            return Err(failure.clone());
        }
        let store = self.shared.store();
        let (mut late, mut unreadable) = (None, None);
        for (place, value) in self.candidates().enumerate() {
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
            .field("cookies", &self.0.candidates().len())
            .field(
                "session",
                &self.0.session.get().map(|loaded| loaded.as_ref().map(|it| &it.session)),
            )
            .finish()
    }
}
