//! What all three backends have in their public interface.

/// The interface that the backends share, over a newtype of [`Engine`](crate::engine::Engine). The
/// module has a `Statements` (its dialect), the constant `SETTINGS`, and a function `durable` of the pool.
macro_rules! backend {
    ($backend:ident, $pool:ty) => {
        impl $backend {
            /// Uses a pool that the application has already. No connection is kept from it between
            /// operations; its options are the application's, and `test_before_acquire(false)` saves
            /// a round trip per operation. Wait no longer than about 3 s in its `acquire_timeout`.
            #[must_use]
            pub fn from_pool(pool: $pool) -> Self {
                let settings = Settings { durable: durable(&pool), ..SETTINGS };
                Self::over(Connections::shared(pool, Statements::ONE_WRITER), settings)
            }

            fn over(
                connections: Connections<<Statements as Dialect>::Database>,
                settings: Settings,
            ) -> Self {
                let statements = Statements::new(Table::default());
                Self(Engine::new(statements, Arc::new(connections), settings))
            }

            /// Another table than `sessions`: `name`, or `schema.name`. The schema is not created.
            ///
            /// # Errors
            /// `InvalidConfig` for anything but lower-case letters, digits and `_`, and for a schema in
            /// SQLite.
            pub fn with_table(self, table: &str) -> Result<Self> {
                let statements = Statements::new(Table::parse(table, Statements::SCHEMAS)?);
                let connections = Arc::clone(self.0.connections());
                Ok(Self(Engine::new(statements, connections, self.0.settings())))
            }

            /// Whether operations that wait share a statement and a commit (the default), or each
            /// has its own. Alone, an operation goes out at once either way.
            #[must_use]
            pub fn group_commit(self, group_commit: bool) -> Self {
                let statements = self.0.dialect().clone();
                let connections = Arc::clone(self.0.connections());
                let settings = Settings { group_commit, ..self.0.settings() };
                Self(Engine::new(statements, connections, settings))
            }

            /// Creates the table and its indexes where they are missing. Any number of processes may
            /// do so at the same moment, each time they start. Not bounded in time.
            ///
            /// # Errors
            /// `InvalidConfig` when the user may not create tables; `Unavailable`.
            pub async fn migrate(&self) -> Result<()> {
                self.0.migrate().await
            }

            /// What [`migrate`](Self::migrate) executes, for those who run their own migrations.
            #[must_use]
            pub fn schema(&self) -> String {
                self.0.dialect().schema()
            }

            /// The statement of gc with its one parameter, for who looks at its plan.
            #[doc(hidden)]
            #[must_use]
            pub fn gc_statement(&self) -> &str {
                self.0.dialect().gc_statement()
            }

            /// The pool.
            #[must_use]
            pub fn pool(&self) -> &$pool {
                self.0.connections().pool()
            }
        }

        #[async_trait]
        impl Backend for $backend {
            fn name(&self) -> &'static str {
                Statements::NAME
            }

            fn capabilities(&self) -> Capabilities {
                Capabilities { durable: self.0.settings().durable, expires_natively: false }
            }

            async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
                self.0.load(key).await
            }

            async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
                self.0.save(key, record, write).await
            }

            async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
                self.0.touch(key, expected, ttl).await
            }

            async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
                self.0.destroy(key, only).await
            }

            async fn gc(&self, limit: usize) -> Result<u64> {
                self.0.gc(limit).await
            }
        }
    };
}

pub(crate) use backend;
