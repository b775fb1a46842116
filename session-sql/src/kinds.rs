//! The sorts of operations: what one of them is, which queue it waits in and which statement it is.

use std::future::Future;

use session_core::{Key, Loaded, Result, Revision};

use crate::dialect::{Birth, Change, Connection, Dialect, Extension, Verdict};
use crate::engine::Core;
use crate::queue::{Item, Queue};

pub(crate) type Outcomes<T> = sqlx::Result<Vec<Result<T>>>;

pub(crate) trait Kind<D: Dialect>: 'static {
    type Item: Item + Sync;
    type Reply: Send + 'static;

    const WRITES: bool = true;

    fn queue(core: &Core<D>) -> &Queue<Self::Item, Self::Reply>;

    /// Carries a batch out: one outcome for each item.
    fn run(
        dialect: &D,
        connection: &mut Connection<D>,
        items: &[Self::Item],
    ) -> impl Future<Output = Outcomes<Self::Reply>> + Send;
}

pub(crate) enum Loads {}

impl<D: Dialect> Kind<D> for Loads {
    type Item = Key;
    type Reply = Option<Loaded>;

    const WRITES: bool = false;

    fn queue(core: &Core<D>) -> &Queue<Key, Option<Loaded>> {
        &core.loads
    }

    async fn run(
        dialect: &D,
        connection: &mut Connection<D>,
        keys: &[Key],
    ) -> Outcomes<Option<Loaded>> {
        let mut found;
        if let [_] = keys {
            found = dialect.load(connection, keys).await?;
            return Ok(vec![found.pop().map(|(_, loaded)| loaded).transpose()]);
        }
        let mut unique = keys.to_vec();
        unique.dedup();
        found = dialect.load(connection, &unique).await?;
        found.sort_unstable_by_key(|(key, _)| *key);
        let of = |key: &Key| {
            let index = found.binary_search_by_key(key, |(key, _)| *key).ok()?;
            Some(match &found[index].1 {
                Ok(loaded) => Ok(loaded.clone()),
                Err(error) => {
                    Err(session_core::Error::new(error.kind(), error.message().to_owned()))
                }
            })
        };
        Ok(keys.iter().map(|key| of(key).transpose()).collect())
    }
}

impl Item for Key {
    const REPEATABLE: bool = true;

    fn key(&self) -> Key {
        *self
    }
}

pub(crate) enum Creates {}

impl<D: Dialect> Kind<D> for Creates {
    type Item = Birth;
    type Reply = ();

    fn queue(core: &Core<D>) -> &Queue<Birth, ()> {
        &core.creates
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, births: &[Birth]) -> Outcomes<()> {
        Ok(results(dialect.create(connection, births).await?))
    }
}

impl Item for Birth {
    const REPEATABLE: bool = false;

    fn key(&self) -> Key {
        self.key
    }

    fn bytes(&self) -> usize {
        self.record.payload.len()
    }
}

pub(crate) enum Updates {}

impl<D: Dialect> Kind<D> for Updates {
    type Item = Change;
    type Reply = ();

    fn queue(core: &Core<D>) -> &Queue<Change, ()> {
        &core.updates
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, changes: &[Change]) -> Outcomes<()> {
        Ok(results(dialect.update(connection, changes).await?))
    }
}

impl Item for Change {
    const REPEATABLE: bool = false;

    fn key(&self) -> Key {
        self.key
    }

    fn bytes(&self) -> usize {
        self.record.payload.len()
    }
}

pub(crate) enum Touches {}

impl<D: Dialect> Kind<D> for Touches {
    type Item = Extension;
    type Reply = ();

    fn queue(core: &Core<D>) -> &Queue<Extension, ()> {
        &core.touches
    }

    async fn run(
        dialect: &D,
        connection: &mut Connection<D>,
        extensions: &[Extension],
    ) -> Outcomes<()> {
        Ok(results(dialect.touch(connection, extensions).await?))
    }
}

impl Item for Extension {
    const REPEATABLE: bool = false;

    fn key(&self) -> Key {
        self.key
    }
}

pub(crate) enum Destroys {}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) key: Key,
    pub(crate) only: Option<Revision>,
}

impl<D: Dialect> Kind<D> for Destroys {
    type Item = End;
    type Reply = bool;

    fn queue(core: &Core<D>) -> &Queue<End, bool> {
        &core.destroys
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, ends: &[End]) -> Outcomes<bool> {
        let mut outcomes = Vec::with_capacity(ends.len());
        for End { key, only } in ends {
            outcomes.push(Ok(dialect.destroy(connection, key, *only).await?));
        }
        Ok(outcomes)
    }
}

impl Item for End {
    const REPEATABLE: bool = false;

    fn key(&self) -> Key {
        self.key
    }
}

pub(crate) enum Sweeps {}

/// Removes at most this many expired records.
#[derive(Debug)]
pub(crate) struct Sweep(pub(crate) i64);

impl<D: Dialect> Kind<D> for Sweeps {
    type Item = Sweep;
    type Reply = u64;

    fn queue(core: &Core<D>) -> &Queue<Sweep, u64> {
        &core.sweeps
    }

    async fn run(dialect: &D, connection: &mut Connection<D>, sweeps: &[Sweep]) -> Outcomes<u64> {
        let mut outcomes = Vec::with_capacity(sweeps.len());
        for Sweep(limit) in sweeps {
            outcomes.push(Ok(dialect.gc(connection, *limit).await?));
        }
        Ok(outcomes)
    }
}

impl Item for Sweep {
    const REPEATABLE: bool = true;

    fn key(&self) -> Key {
        Key::from_bytes([0; 32])
    }
}

fn results(verdicts: Vec<Verdict>) -> Vec<Result<()>> {
    verdicts.into_iter().map(Into::into).collect()
}
