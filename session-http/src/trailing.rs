//! What is written to the session while the body of the response is sent.

use std::fmt;

use crate::Handle;
use crate::failure::log;

/// Saves what is written to the session while the body of the response is sent, for example by a stream of events.
/// The adapter keeps it beside the body, and drops it when the body has ended or the client has disconnected: then
/// the save begins, in a task of its own.
///
/// The head of the response was sent before, so the client can't get another id. What would need one is not stored but
/// warned of: a session that begins, a new id, and every change of a session in the cookie. A `destroy` is carried out.
pub struct Trailing {
    pub(crate) handle: Handle,
}

impl Drop for Trailing {
    fn drop(&mut self) {
        let Some(session) = self.handle.loaded().filter(|session| session.changed()) else {
            return;
        };
        if self.handle.shared().store().web().needs_another_cookie(session) {
            tracing::warn!(
                "a change of a session is lost: it was made while the body of a response was sent, and needs a new \
                 session id, which the client can't get any more; change the session before the handler returns"
            );
            session.discard_changes();
            if !session.changed() {
                return;
            }
        }
        let Some(runtime) = self.handle.runtime() else {
            tracing::error!(
                "a change of a session is lost: its request ran outside of a tokio runtime"
            );
            return;
        };
        let save = self.handle.clone().save(session.clone());
        runtime.spawn(async move {
            if let Err(error) = save.await {
                log(
                    "what was written to a session while the body of a response was sent is lost",
                    &error,
                );
            }
        });
    }
}

impl fmt::Debug for Trailing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trailing").field("handle", &self.handle).finish_non_exhaustive()
    }
}
