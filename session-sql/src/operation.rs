//! The operations that can be carried out many at a time.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use session_core::{CreateItem, DestroyItem, Key, Loaded, Result, TouchItem, UpdateItem};

use crate::dialect::{Connection, Dialect, Written};

/// One result for each item.
pub(crate) type Results<T> = sqlx::Result<Vec<Result<T>>>;

/// An item of a batch.
pub(crate) trait Operation<D: Dialect>: Sync {
    type Reply: Send;

    const NAME: &'static str;
    const WRITES: bool = true;

    fn key(&self) -> &Key;

    /// The new life, if it gives one.
    fn ttl(&self) -> Option<Duration> {
        None
    }

    /// Carries out items with distinct keys in ascending order.
    fn run(
        dialect: &D,
        connection: &mut Connection<D>,
        items: &[&Self],
    ) -> impl Future<Output = Results<Self::Reply>> + Send;
}

impl<D: Dialect> Operation<D> for Key {
    type Reply = Option<Loaded>;

    const NAME: &'static str = "load";
    const WRITES: bool = false;

    fn key(&self) -> &Key {
        self
    }

    async fn run(
        dialect: &D,
        connection: &mut Connection<D>,
        keys: &[&Self],
    ) -> Results<Option<Loaded>> {
        let mut found = dialect.load(connection, keys).await?;
        if keys.len() == 1 {
            return Ok(vec![found.pop().map(|(_, loaded)| loaded).transpose()]);
        }
        let mut found: HashMap<Key, Result<Loaded>> = found.into_iter().collect();
        Ok(keys.iter().map(|key| found.remove(*key).transpose()).collect())
    }
}

impl<D: Dialect> Operation<D> for CreateItem {
    type Reply = ();

    const NAME: &'static str = "save";

    fn key(&self) -> &Key {
        &self.key
    }

    fn ttl(&self) -> Option<Duration> {
        Some(self.ttl)
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, items: &[&Self]) -> Results<()> {
        Ok(results(dialect.create(connection, items).await?))
    }
}

impl<D: Dialect> Operation<D> for UpdateItem {
    type Reply = ();

    const NAME: &'static str = "save";

    fn key(&self) -> &Key {
        &self.key
    }

    fn ttl(&self) -> Option<Duration> {
        self.update.ttl
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, items: &[&Self]) -> Results<()> {
        Ok(results(dialect.update(connection, items).await?))
    }
}

impl<D: Dialect> Operation<D> for TouchItem {
    type Reply = ();

    const NAME: &'static str = "touch";

    fn key(&self) -> &Key {
        &self.key
    }

    fn ttl(&self) -> Option<Duration> {
        Some(self.ttl)
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, items: &[&Self]) -> Results<()> {
        Ok(results(dialect.touch(connection, items).await?))
    }
}

impl<D: Dialect> Operation<D> for DestroyItem {
    type Reply = bool;

    const NAME: &'static str = "destroy";

    fn key(&self) -> &Key {
        &self.key
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, items: &[&Self]) -> Results<bool> {
        Ok(dialect.destroy(connection, items).await?.into_iter().map(Ok).collect())
    }
}

fn results(written: Vec<Written>) -> Vec<Result<()>> {
    written.into_iter().map(Into::into).collect()
}
