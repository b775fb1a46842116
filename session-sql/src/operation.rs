//! The operations that can be carried out many at a time.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use session_core::{CreateItem, DestroyItem, Key, Loaded, Result, TouchItem, UpdateItem};

use crate::dialect::{Connection, Dialect};

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

macro_rules! write {
    ($item:ty, $name:literal, $method:ident -> $reply:ty, $result:expr, $ttl:expr) => {
        impl<D: Dialect> Operation<D> for $item {
            type Reply = $reply;

            const NAME: &'static str = $name;

            fn key(&self) -> &Key {
                &self.key
            }

            fn ttl(&self) -> Option<Duration> {
                $ttl(self)
            }

            async fn run(
                dialect: &D,
                connection: &mut Connection<D>,
                items: &[&Self],
            ) -> Results<$reply> {
                let outcomes = dialect.$method(connection, items).await?;
                Ok(outcomes.into_iter().map($result).collect())
            }
        }
    };
}

write!(CreateItem, "save", create -> (), Into::into, |item: &CreateItem| Some(item.ttl));
write!(UpdateItem, "save", update -> (), Into::into, |item: &UpdateItem| item.update.ttl);
write!(TouchItem, "touch", touch -> (), Into::into, |item: &TouchItem| Some(item.ttl));
write!(DestroyItem, "destroy", destroy -> bool, Ok, |_: &DestroyItem| None);
