//! The end of a session: what it contains, and that nothing is left of it.

use session_core::web::Found;

use crate::content::content;
use crate::ledger::{Ledger, Seen, add};
use crate::visitor::Visitors;

impl Visitors {
    /// When no request uses the session any more.
    pub(crate) async fn audit(&self, ledger: &Ledger) {
        let (dead, ending) = {
            let state = ledger.state();
            (state.dead, state.ending)
        };
        if !dead {
            let Some(before) = ({
                let state = ledger.state();
                state.before(state.cookies.len() - 1)
            }) else {
                return;
            };
            let load = || self.store.web().load(&before.value);
            let Some(found) = self.insist("load", load).await else {
                return;
            };
            let Found::Session(session) = found else {
                let seen =
                    if matches!(found, Found::Rotated(_)) { Seen::Rotated } else { Seen::Nothing };
                self.check(ledger.state().after(&before, &seen));
                return;
            };
            let (list, names) = content(&session);
            if let Some(violation) = ledger.state().audit(&list, &names) {
                self.counts.violation(violation);
            }
            if !ending {
                add(&self.counts.audited);
            }
            self.end(ledger, &session, before.cookie).await;
        }
        if ledger.state().dead {
            let last = ledger.state().cookies.len();
            for cookie in last.saturating_sub(2)..last {
                let Some(before) = ledger.state().before(cookie) else { continue };
                let load = || self.store.web().load(&before.value);
                if let Some(Found::Session(_)) = self.insist("load", load).await {
                    self.counts.violation("a session was loaded after its end");
                }
            }
        }
    }
}
