//! How a new instance is set up.

/// Settings of an instance. The default is what tests want: as fast as the server can be without
/// losing what it acknowledged when its process is killed (only a power cut would lose it).
///
/// Redis is the exception: it keeps nothing on disk unless `appendonly` is set.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(crate) durable: bool,
    pub(crate) settings: Vec<(String, String)>,
}

impl Options {
    /// Whether a commit waits for the disk, as a production server does by default. Benchmarks want
    /// that; the default is `false`.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets one of the server's own settings, by its name in the server's configuration, for example
    /// `maxmemory` of Redis, `max_connections` of PostgreSQL, `max-connections` of MariaDB.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The last value given for a setting.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(set, _)| set == name).map(|(_, value)| value.as_str())
    }
}
