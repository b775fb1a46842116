//! The settings of a new instance.

/// Settings of an instance. The default is for tests: the server is as fast as possible, and a kill
/// of its process loses no acknowledged write (a power failure may).
///
/// Redis is an exception: it has no persistence unless `appendonly` is set to `yes`; then each write is on the disk before
/// it is acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) durable: bool,
    pub(crate) settings: Vec<(String, String)>,
}

impl Options {
    /// Whether a commit waits for the disk, as in production (default: `false`). It is for
    /// benchmarks.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets a setting of the server, by its name in the server's configuration, for example
    /// `maxmemory` for Redis, `max_connections` for PostgreSQL, `max-connections` for MariaDB.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The last value of a setting.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(set, _)| set == name).map(|(_, value)| value.as_str())
    }
}
