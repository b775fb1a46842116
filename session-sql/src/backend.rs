//! What all three backends have in their public interface.

/// The interface that the backends share, over a newtype of [`Engine`](crate::engine::Engine) with this
/// dialect.
macro_rules! backend {
    ($backend:ident, $dialect:ident, $pool:ty, durable: $durable:expr) => {
        impl $backend {
            /// Uses a pool that the application has, with the options of the application:
            /// `test_before_acquire(false)` saves a round trip per operation, and an `acquire_timeout`
            /// of more than 3 s has no effect.
            #[must_use]
            pub fn from_pool(pool: $pool) -> Self {
                let durable = $durable(&pool);
                Self(Engine::shared($dialect::new(Table::default()), pool, durable))
            }

            /// Another table than `sessions`: `name`, or `schema.name`. The schema is not created.
            ///
            /// # Errors
            /// `InvalidConfig` for anything but lower-case letters, digits and `_`, and for a schema in
            /// SQLite.
            pub fn with_table(self, table: &str) -> Result<Self> {
                let dialect = $dialect::new(Table::parse(table, $dialect::SCHEMAS)?);
                Ok(Self(self.0.with_table(dialect)))
            }

            /// The most connections that the store opens. Fewer are enough where the database gives fewer:
            /// operations that wait share them.
            ///
            /// # Errors
            /// `InvalidConfig` for 0, and after `from_pool`: a pool has a setting of its own.
            pub fn with_max_connections(self, most: usize) -> Result<Self> {
                Ok(Self(self.0.with_max_connections(most)?))
            }

            /// Creates the table and its indexes where they are missing. Any number of processes may
            /// do so at the same moment, each time they start. With everything there, it needs no right
            /// to create anything. Not bounded in time.
            ///
            /// # Errors
            /// `InvalidConfig` when the user may not create tables; `Unavailable`.
            pub async fn migrate(&self) -> Result<()> {
                self.0.migrate().await
            }

            /// The statements of [`migrate`](Self::migrate), for applications with migrations of their
            /// own.
            #[must_use]
            pub fn schema(&self) -> String {
                self.0.dialect().schema()
            }

            /// A statement, to look at its plan.
            #[doc(hidden)]
            #[must_use]
            pub fn statement(&self, name: &str, rows: usize) -> Option<sqlx::SqlStr> {
                self.0.dialect().statement(name, rows)
            }

            /// A pool to the same database, for the application's own statements. After `connect` it
            /// is apart from the connections of the store.
            #[must_use]
            pub fn pool(&self) -> &$pool {
                self.0.connections().pool()
            }
        }

        #[async_trait]
        impl Backend for $backend {
            fn name(&self) -> &'static str {
                $dialect::NAME
            }

            fn capabilities(&self) -> Capabilities {
                Capabilities { durable: self.0.durable(), expires_natively: false }
            }

            async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
                self.0.one(key).await
            }

            async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
                let (key, record) = (*key, record.clone());
                match write {
                    Write::Create { ttl } => self.0.one(&CreateItem { key, record, ttl }).await,
                    Write::Update(update) => self.0.one(&UpdateItem { key, record, update }).await,
                }
            }

            async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
                self.0.one(&TouchItem { key: *key, expected, ttl }).await
            }

            async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
                self.0.one(&DestroyItem { key: *key, only }).await
            }

            async fn gc(&self, limit: usize) -> Result<u64> {
                self.0.gc(limit).await
            }

            fn batch(&self) -> Option<&dyn BatchBackend> {
                Some(self)
            }

            fn owner_index(&self) -> Option<&dyn OwnerIndex> {
                Some(self)
            }
        }

        /// The owner is a column of the table, with an index.
        #[async_trait]
        impl OwnerIndex for $backend {
            async fn keys_of(
                &self,
                owner: &Owner,
                after: Option<&Key>,
                limit: usize,
            ) -> Result<Vec<Key>> {
                self.0.keys_of(owner, after, limit).await
            }
        }

        #[async_trait]
        impl BatchBackend for $backend {
            fn limits(&self) -> BatchLimits {
                BatchLimits { items: MAX_BATCH, ..BatchLimits::default() }
            }

            async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
                self.0.many(keys).await
            }

            async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
                self.0.many(items).await
            }

            async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
                self.0.many(items).await
            }

            async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
                self.0.many(items).await
            }

            async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
                self.0.many(items).await
            }
        }
    };
}

pub(crate) use backend;

/// How to connect to a database that is a server.
#[cfg(any(feature = "mysql", feature = "postgres"))]
macro_rules! server {
    ($backend:ident, $dialect:ident, $options:ty, $url:literal) => {
        impl $backend {
            #[doc = concat!("Connects to `", $url, "`.")]
            ///
            /// The store opens up to 10 connections of its own
            /// ([`with_max_connections`](Self::with_max_connections)). Returns after 3 s, at the latest.
            ///
            /// # Errors
            /// `InvalidConfig` for a URL of another database and for a wrong user, password or database;
            /// `Unavailable` when the server can't be reached.
            pub async fn connect(url: &str) -> Result<Self> {
                let options = Engine::<$dialect>::parse(url)?;
                let dialect = $dialect::new(Table::default());
                Self::checked(Engine::own(dialect, options, MAX_CONNECTIONS, (true, None))).await
            }

            /// Connects with the options that the provider returns. It is called before each new connection,
            /// so a password may change while the store is in use. While it fails, there are no new
            /// connections (`Unavailable`).
            ///
            /// # Errors
            /// As [`connect`](Self::connect).
            pub async fn connect_with<F, O, E>(provider: F) -> Result<Self>
            where
                F: Fn() -> O + Send + Sync + 'static,
                O: Future<Output = std::result::Result<$options, E>> + Send + 'static,
                E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
            {
                let provider = move || {
                    let options = provider();
                    async move { options.await.map_err(Into::into) }
                };
                let dialect = $dialect::new(Table::default());
                Self::checked(Engine::provided(dialect, provider, MAX_CONNECTIONS).await?).await
            }

            async fn checked(engine: Engine<$dialect>) -> Result<Self> {
                engine.check().await?;
                Ok(Self(engine))
            }
        }
    };
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) use server;
