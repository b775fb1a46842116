//! After each operation of a session the record, the session and the cookie expire at the same moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::web::CookieChange;
use session_core::{Backend, Config, Key, Session, SessionStore};

use crate::case::{
    CaseResult, Context, Failure, SLACK, cases, ensure, live, owner, patient, together,
};
use crate::spy::Spy;

cases! { "deadlines":
    "the promise that record, session and cookie expire together" => after_a_create,
    "the promise that record, session and cookie expire together" => after_a_save,
    "the promise that record, session and cookie expire together" => after_a_read,
    "the promise that record, session and cookie expire together" => after_a_merge,
    "the promise that record, session and cookie expire together" => after_an_update,
    "the promise that record, session and cookie expire together" => after_a_sign_in,
    "the promise that record, session and cookie expire together" => after_regenerate,
    "the promise that record, session and cookie expire together" => after_set_lifetime,
    "the promise that record, session and cookie expire together" => after_reset_lifetime,
    "the promise that record, session and cookie expire together" => after_extend,
}

const MINUTE: Duration = Duration::from_secs(60);

/// The pause before each operation. It is longer than the tolerance, so an expiry that was renewed differs
/// from one that was not.
const PAUSE: Duration = Duration::from_millis(120);

/// Operations of one request; it saves the session at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Save,
    Read,
    /// Another request saves the session first.
    Merge,
    Update,
    SignIn,
    Regenerate,
    Remember,
    Shorten,
    Reset,
    Extend,
}

const ALL: [Op; 10] = [
    Op::Save,
    Op::Read,
    Op::Merge,
    Op::Update,
    Op::SignIn,
    Op::Regenerate,
    Op::Remember,
    Op::Shorten,
    Op::Reset,
    Op::Extend,
];

/// Settings of lifetimes.
#[derive(Debug, Clone, Copy)]
struct Limits {
    idle: Option<Duration>,
    lifetime: Option<Duration>,
    /// Whether each use renews the idle timeout; otherwise only what asks for it.
    at_each_use: bool,
}

const LIMITS: [Limits; 5] = [
    Limits { idle: None, lifetime: Some(MINUTE.saturating_mul(30)), at_each_use: false },
    Limits { idle: Some(MINUTE.saturating_mul(7)), lifetime: None, at_each_use: true },
    Limits { idle: Some(MINUTE.saturating_mul(7)), lifetime: None, at_each_use: false },
    Limits {
        idle: Some(MINUTE.saturating_mul(7)),
        lifetime: Some(MINUTE.saturating_mul(30)),
        at_each_use: true,
    },
    // The lifetime always ends first.
    Limits {
        idle: Some(MINUTE.saturating_mul(7)),
        lifetime: Some(MINUTE.saturating_mul(5)),
        at_each_use: true,
    },
];

impl Limits {
    fn config(self) -> Config {
        let part = if self.at_each_use { 0.0 } else { 0.9 };
        patient().idle_timeout(self.idle).lifetime(self.lifetime).renew_after(part)
    }
}

/// The earliest and the latest moment of something.
#[derive(Debug, Clone, Copy)]
struct Span(Instant, Instant);

impl Span {
    fn plus(self, time: Duration) -> Self {
        Self(self.0 + time, self.1 + time)
    }

    fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0), self.1.min(other.1))
    }

    fn took(self) -> Duration {
        self.1 - self.0
    }
}

/// When a session must expire, computed from the documentation and not from any answer.
#[derive(Debug, Clone, Copy)]
struct Rule {
    limits: Limits,
    began: Span,
    /// The session's own lifetime.
    own: Option<Duration>,
    expires: Span,
}

impl Rule {
    fn created(limits: Limits, at: Span) -> Self {
        let mut rule = Self { limits, began: at, own: None, expires: at };
        rule.expires = rule.renewed(at);
        rule
    }

    /// The expiry of a life that begins in this span.
    fn renewed(&self, at: Span) -> Span {
        if let Some(own) = self.own {
            return at.plus(own);
        }
        let idle = self.limits.idle.map(|idle| at.plus(idle));
        // The rest of the lifetime is computed before the write is sent.
        let limit = self.limits.lifetime.map(|limit| self.began.plus(limit));
        let limit = limit.map(|Span(first, last)| Span(first, last + at.took()));
        idle.into_iter().chain(limit).reduce(Span::min).expect("a config has a limit")
    }

    fn after(mut self, op: Op, at: Span) -> Self {
        let renews_if_used = self.limits.at_each_use && self.own.is_none();
        let renews = match op {
            Op::Save | Op::Read | Op::Merge | Op::Update | Op::Regenerate => renews_if_used,
            Op::Extend => self.own.is_some() || self.limits.idle.is_some(),
            Op::SignIn => {
                self.began = at;
                true
            }
            Op::Reset => {
                (self.own, self.began) = (None, at);
                true
            }
            Op::Remember => {
                self.own = Some(MINUTE * 60 * 24);
                true
            }
            Op::Shorten => {
                self.own = Some(MINUTE * 2);
                true
            }
        };
        let unchanged = self.expires;
        if renews {
            self.expires = self.renewed(at);
        }
        // A renewal that would gain nothing is left out.
        if !matches!(op, Op::SignIn | Op::Reset | Op::Remember | Op::Shorten) {
            self.expires.1 = self.expires.1.max(unchanged.1);
        }
        if op == Op::Regenerate {
            // The new record gets what was left when the session was loaded, as far as its request knows.
            self.expires.1 = self.expires.1.max(unchanged.1 + at.took());
        }
        self
    }
}

/// A browser with its cookie, which it removes when its `Max-Age` has passed.
struct Browser {
    store: SessionStore,
    spy: Option<Spy>,
    cookie: Option<(String, Span)>,
    /// The key of the record, unless it is a cookie store.
    key: Option<Key>,
}

impl Browser {
    /// The backend is that of the case, because a store can't be opened as often as there are browsers.
    async fn new(
        cx: &Context,
        backend: Option<Arc<dyn Backend>>,
        limits: Limits,
    ) -> CaseResult<Self> {
        let Some(backend) = backend else {
            let store = cx.store(limits.config()).await?;
            return Ok(Self { store, spy: None, cookie: None, key: None });
        };
        let spy = Spy::new(backend);
        let store = SessionStore::new(spy.clone()).with_config(limits.config())?;
        Ok(Self { store, spy: Some(spy), cookie: None, key: None })
    }

    async fn session(&self) -> CaseResult<Session> {
        let (value, _) = self.cookie.as_ref().expect("the session was created");
        let session = self.store.load(value).await?;
        session.ok_or_else(|| Failure::Failed("a live session must load, but is None".to_owned()))
    }

    /// Ends a request: it saves, and the browser applies the change of the cookie.
    async fn end(&mut self, session: &Session) -> CaseResult {
        let _ = self.store.save(session).await?;
        self.answer(session);
        Ok(())
    }

    fn answer(&mut self, session: &Session) {
        let before = Instant::now();
        let max_age = session.expires_in().unwrap_or_default();
        let expires = Span(before, Instant::now()).plus(max_age);
        match self.store.web().cookie_change(session) {
            CookieChange::Set(value) | CookieChange::Renew(value) => {
                self.cookie = Some((value.into_string(), expires));
            }
            CookieChange::Remove => self.cookie = None,
            CookieChange::Keep => {}
        }
        let created = self.spy.iter().flat_map(Spy::saves);
        let created =
            created.filter(|save| matches!(save.write, session_core::Write::Create { .. }));
        self.key = created.last().map(|save| save.key).or(self.key);
    }

    async fn carry_out(&mut self, op: Op) -> CaseResult<Session> {
        let session = self.session().await?;
        match op {
            Op::Save => session.insert("n", fastrand::u64(..))?,
            Op::Read => drop(session.get::<u64>("n")?),
            Op::Merge => {
                let other = self.session().await?;
                other.insert("other", fastrand::u64(..))?;
                self.end(&other).await?;
                session.insert("n", fastrand::u64(..))?;
            }
            Op::Update => {
                let add = |n: Option<u64>| n.unwrap_or(0).wrapping_add(1);
                self.store.update(&session, "n", add).await?;
            }
            Op::SignIn => session.sign_in(owner("alice")),
            Op::Regenerate => session.regenerate(),
            Op::Remember => session.set_lifetime(MINUTE * 60 * 24)?,
            Op::Shorten => session.set_lifetime(MINUTE * 2)?,
            Op::Reset => session.reset_lifetime(),
            Op::Extend => session.extend(),
        }
        self.end(&session).await?;
        Ok(session)
    }

    /// Fails unless all that tell an expiry agree with the rule. The session was loaded and saved in the span.
    async fn agrees(&self, session: &Session, saved: Span, rule: &Rule, after: &str) -> CaseResult {
        let told = |left: Option<Duration>, at: Span| at.plus(left.unwrap_or_default());
        // A session knows its expiry as exactly as its load or save was fast.
        let delay = saved.took();
        let early = |moment: Instant| moment.checked_sub(delay).unwrap_or(moment);
        let now = Instant::now();
        let left = session.expires_in();
        within(told(left, Span(early(now), Instant::now())), rule, "the session", after)?;
        let before = Instant::now();
        let loaded = self.session().await?;
        within(told(loaded.expires_in(), Span(before, Instant::now())), rule, "a load", after)?;
        let Span(first, last) = self.cookie.as_ref().expect("the session is alive").1;
        within(Span(early(first), last), rule, "the cookie", after)?;
        if let (Some(spy), Some(key)) = (&self.spy, &self.key) {
            let before = Instant::now();
            let left = live(spy.inner(), key, after).await?.expires_in;
            within(told(Some(left), Span(before, Instant::now())), rule, "the record", after)?;
        }
        Ok(())
    }
}

/// Fails unless this expiry, which was read in a span, agrees with the rule.
fn within(told: Span, rule: &Rule, who: &str, after: &str) -> CaseResult {
    let (must, limits) = (rule.expires, rule.limits);
    let distance = match told.0.checked_duration_since(must.1) {
        Some(late) => format!("{late:?} late"),
        None => format!("{:?} early", must.0.saturating_duration_since(told.1)),
    };
    ensure!(
        told.0 <= must.1 + SLACK && told.1 + SLACK >= must.0,
        "{after} {who} must expire when the settings say, but does so {distance} (idle timeout {:?}, \
         lifetime {:?}, own lifetime {:?})",
        limits.idle,
        limits.lifetime,
        rule.own
    );
    Ok(())
}

/// Creates a session and carries out these operations, each in a request of its own.
async fn check(
    cx: Arc<Context>,
    backend: Option<Arc<dyn Backend>>,
    limits: Limits,
    ops: Vec<Op>,
) -> CaseResult {
    let mut browser = Browser::new(&cx, backend, limits).await?;
    let before = Instant::now();
    let session = browser.store.create();
    session.insert("n", 0)?;
    browser.end(&session).await?;
    let created = Span(before, Instant::now());
    let mut rule = Rule::created(limits, created);
    browser.agrees(&session, created, &rule, "after a create").await?;
    for (n, op) in ops.iter().enumerate() {
        tokio::time::sleep(PAUSE).await;
        let before = Instant::now();
        let session = browser.carry_out(*op).await?;
        let saved = Span(before, Instant::now());
        rule = rule.after(*op, saved);
        let done = format!("after {:?}", &ops[..=n]);
        browser.agrees(&session, saved, &rule, &done).await?;
    }
    Ok(())
}

/// Carries out the operation with all settings, alone and after each other operation.
async fn after(cx: &Arc<Context>, op: Op) -> CaseResult {
    let sequences = LIMITS.into_iter().flat_map(|limits| {
        let before = ALL.into_iter().map(Some).chain([None]);
        before.map(move |before| (limits, before.into_iter().chain([op]).collect()))
    });
    all(cx, sequences.collect()).await
}

async fn all(cx: &Arc<Context>, sequences: Vec<(Limits, Vec<Op>)>) -> CaseResult {
    let backend = if cx.is_cookie() { None } else { Some(cx.backend().await?) };
    let checks = (0..).zip(sequences).map(|(n, (limits, ops))| {
        let (cx, backend) = (Arc::clone(cx), backend.clone());
        async move {
            // Spread over time, so that the operations do not wait for each other.
            tokio::time::sleep(Duration::from_millis(4 * n)).await;
            check(cx, backend, limits, ops).await
        }
    });
    together(checks).await.into_iter().collect()
}

async fn after_a_create(cx: &Arc<Context>) -> CaseResult {
    all(cx, LIMITS.map(|limits| (limits, Vec::new())).into()).await
}

async fn after_a_save(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Save).await
}

async fn after_a_read(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Read).await
}

async fn after_a_merge(cx: &Arc<Context>) -> CaseResult {
    cx.needs_conflicts()?;
    after(cx, Op::Merge).await
}

async fn after_an_update(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Update).await
}

async fn after_a_sign_in(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::SignIn).await
}

async fn after_regenerate(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Regenerate).await
}

async fn after_set_lifetime(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Remember).await?;
    after(cx, Op::Shorten).await
}

async fn after_reset_lifetime(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Reset).await
}

async fn after_extend(cx: &Arc<Context>) -> CaseResult {
    after(cx, Op::Extend).await
}
