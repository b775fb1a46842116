//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use session_core::Config;
use session_tower::CookieConfig;

/// A small web application that shows sessions on any store. Open the printed URL in a browser.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// Where sessions live.
    ///
    /// memory: | file:DIRECTORY | cookie: (a new key at every start) | cookie:KEY_FILE (created if it
    /// is missing, with a directory KEY_FILE.revoked for logouts) | sqlite:FILE | postgres://… |
    /// mysql://… | redis://… | redis+cluster://… | redis+sentinel://…
    #[arg(long, value_name = "URL", default_value = "file:demo-sessions")]
    pub(crate) store: String,

    /// The maximum lifetime of a session.
    #[arg(long, value_name = "SECONDS", default_value_t = 7200)]
    lifetime: u64,

    /// How long a session lives without being used (default: as long as the lifetime).
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<u64>,

    /// The address to listen on; port 0 selects a free port.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// How many servers run on the store, each with its own connections. The second one and the following
    /// ones listen on free ports.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) servers: u8,

    /// Use a cookie named `id` without `Secure`, for browsers that reject `Secure` cookies from
    /// `http://127.0.0.1`, such as Safari.
    #[arg(long)]
    insecure_cookie: bool,

    /// Let cookies end when the browser is closed, except those of visitors who asked to stay signed in.
    #[arg(long)]
    expire_on_close: bool,
}

impl Options {
    pub(crate) fn config(&self) -> Config {
        Config::default()
            .lifetime(Duration::from_secs(self.lifetime))
            .idle_timeout(self.idle_timeout.map(Duration::from_secs))
    }

    /// Whether the sessions, or the key of their cookies, are in this process only.
    pub(crate) fn is_in_process(&self) -> bool {
        matches!(self.store.as_str(), "memory:" | "memory" | "cookie:" | "cookie")
    }

    pub(crate) fn cookie_name(&self) -> &'static str {
        if self.insecure_cookie { "id" } else { "__Host-id" }
    }

    pub(crate) fn cookie(&self) -> CookieConfig {
        CookieConfig::new()
            .name(self.cookie_name())
            .secure(!self.insecure_cookie)
            .expire_on_close(self.expire_on_close)
    }
}
