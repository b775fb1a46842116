//! How a store is opened: from a URL or from options, with connections of its own.

#[cfg(any(feature = "mysql", feature = "postgres"))]
use std::future::Future;
use std::future::ready;
use std::sync::Arc;

use session_core::{Error, Result};
use sqlx::{Connection as _, Pool};
use tokio::time::timeout;

use crate::connections::{Connections, Provided, Provider};
use crate::dialect::{Connection, Dialect};
use crate::engine::{Engine, STATEMENT_TIMEOUT, named, not_sent};
use crate::place::Place;

type Options<D> = <Connection<D> as sqlx::Connection>::Options;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<D: Dialect> Engine<D> {
    /// Up to `most` connections of its own, opened when they are needed. `file` is that of a database in the
    /// process.
    pub(crate) fn own(
        dialect: D,
        options: Options<D>,
        most: usize,
        (durable, file): (bool, Option<Place>),
    ) -> Self {
        let first = options.clone();
        let provider = move || -> Provided<D::Database> { Box::pin(ready(Ok(options.clone()))) };
        let connections = connections::<D>(first, Box::new(provider), most).at(file);
        Self::new(dialect, Arc::new(connections), durable)
    }

    /// The provider makes the options of each new connection.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) async fn provided<F, O>(dialect: D, provider: F, most: usize) -> Result<Self>
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = std::result::Result<Options<D>, BoxError>> + Send + 'static,
    {
        let provider = move || -> Provided<D::Database> {
            let options = provider();
            Box::pin(async move { options.await.map_err(no_options) })
        };
        let first = provider().await.map_err(|error| not_sent::<D>(&error).error());
        let first = named::<D, _>("connect", first)?;
        let connections = connections::<D>(first, Box::new(provider), most);
        Ok(Self::new(dialect, Arc::new(connections), true))
    }

    pub(crate) fn parse(url: &str) -> Result<Options<D>> {
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        let options = if D::SCHEMES.contains(&scheme) {
            url.parse().map_err(|error| not_sent::<D>(&error).error())
        } else {
            Err(Error::invalid_config(format!(
                "this is not a URL of {}: write {}",
                D::NAME,
                D::URL
            )))
        };
        named::<D, _>("connect", options)
    }

    /// The most connections of its own.
    pub(crate) fn with_max_connections(self, most: usize) -> Result<Self> {
        if most == 0 || !self.connections().set_most(most) {
            return Err(Error::invalid_config(
                "max_connections is at least 1, and for connect only: a pool has a setting of its own",
            ));
        }
        Ok(self)
    }

    /// Proves that the database can be reached.
    pub(crate) async fn check(&self) -> Result<()> {
        let checked = self.connections().check().await.map_err(|error| not_sent::<D>(&error));
        named::<D, _>("connect", checked.map_err(|failure| failure.error()))?;
        if self.dialect().has_pooler() || D::LOCAL {
            return Ok(());
        }
        let Some((mut one, mut other)) = self.connections().pair().await else {
            return Ok(());
        };
        let mixed = timeout(STATEMENT_TIMEOUT, D::mixes_statements(&mut one, &mut other)).await;
        // The server closes them anyway.
        let _ = timeout(STATEMENT_TIMEOUT, one.close()).await;
        let _ = timeout(STATEMENT_TIMEOUT, other.close()).await;
        named::<D, _>("connect", if mixed.unwrap_or(false) { Err(pooler()) } else { Ok(()) })
    }
}

fn connections<D: Dialect>(
    first: Options<D>,
    provider: Provider<D::Database>,
    most: usize,
) -> Connections<D::Database> {
    let pool = Pool::connect_lazy_with(first);
    Connections::own(provider, pool, most, D::LOCAL, D::prepare, D::classify)
}

fn pooler() -> Error {
    Error::invalid_config(
        "a pooler leads to the database that does not keep the prepared statements of its clients apart: call \
         connect_through_pooler, or give it that setting (PgBouncer 1.21: max_prepared_statements)",
    )
}

/// The provider may reach another server, so it is tried again like a connection.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn no_options(error: BoxError) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(error))
}
