//! The optional part of the contract for stores that can carry out many operations together.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Key, Loaded, Record, Result, Revision, Update};

/// Carries out many operations of one kind together: in a pipeline, one statement or one commit.
///
/// A store that implements it returns itself from [`Backend::batch`](crate::Backend::batch). The
/// handle then sends an operation alone while few are in flight, and otherwise lets it join the next
/// batch. The methods of `Backend` still have to work: single operations use them.
///
/// # The contract
///
/// - Each method returns exactly one result for each item, in the order of the items. Each result is
///   what the single operation would have returned; all clauses of [`Backend`](crate::Backend) hold.
/// - The keys of one batch are all different.
/// - One bad item does not affect the others. If the batch fails as a whole, each item gets an
///   error.
/// - A batch is not a transaction for its callers: some items may succeed while others fail.
/// - The future may be dropped at any await. The handle drops it when the deadlines of all items
///   have passed.
/// - If the method panics, the callers of these items get an error. Other operations are not
///   affected.
///
/// ```
/// use session_core::{
///     Backend, BatchBackend, BatchLimits, CreateItem, DestroyItem, Key, Loaded, Result, TouchItem,
///     UpdateItem, Write, async_trait,
/// };
///
/// /// A client of a database that has one request for many keys.
/// #[derive(Debug)]
/// struct Database;
///
/// #[async_trait]
/// impl BatchBackend for Database {
///     fn limits(&self) -> BatchLimits {
///         BatchLimits { items: 100, ..BatchLimits::default() }
///     }
///     async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
///         self.get(keys).await
///     }
///     async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
///         let creates = items.iter().map(|item| (&item.key, &item.record, Write::Create { ttl: item.ttl }));
///         self.put(creates).await
///     }
///     async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
///         let updates = items.iter().map(|item| (&item.key, &item.record, Write::Update(item.update)));
///         self.put(updates).await
///     }
///     async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
///         self.expire(items.iter().map(|item| (&item.key, item.expected, item.ttl))).await
///     }
///     async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
///         self.delete(items.iter().map(|item| (&item.key, item.only))).await
///     }
/// }
/// # use session_core::{Record, Revision};
/// # use std::time::Duration;
/// # impl Database {
/// #     async fn get(&self, _: &[Key]) -> Vec<Result<Option<Loaded>>> { vec![] }
/// #     async fn put<'a>(&self, _: impl Iterator<Item = (&'a Key, &'a Record, Write)>) -> Vec<Result<()>> { vec![] }
/// #     async fn expire<'a>(&self, _: impl Iterator<Item = (&'a Key, Revision, Duration)>) -> Vec<Result<()>> { vec![] }
/// #     async fn delete<'a>(&self, _: impl Iterator<Item = (&'a Key, Option<Revision>)>) -> Vec<Result<bool>> { vec![] }
/// # }
/// ```
#[async_trait]
pub trait BatchBackend: Send + Sync {
    /// How large batches may be and how many may be in flight.
    fn limits(&self) -> BatchLimits {
        BatchLimits::default()
    }

    /// [`load`](crate::Backend::load) for each key.
    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>>;

    /// [`save`](crate::Backend::save) with [`Write::Create`](crate::Write::Create) for each item.
    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>>;

    /// [`save`](crate::Backend::save) with [`Write::Update`](crate::Write::Update) for each item.
    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>>;

    /// [`touch`](crate::Backend::touch) for each item.
    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>>;

    /// [`destroy`](crate::Backend::destroy) for each item.
    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>>;
}

/// The limits of batches, for each kind of operation and each tokio runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// An operation is sent alone if at most this many operations of its kind, itself included, are
    /// waiting or in flight (default: 2). While another batch is in flight, a further batch is sent
    /// only with at least as many items.
    pub alone: usize,
    /// How many batches of one kind may be in flight (default: 2).
    pub in_flight: usize,
    /// The most items of one batch (default: 64).
    pub items: usize,
    /// The most payload bytes of one batch; a single larger item is sent in its own batch (default:
    /// 1 MiB).
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { alone: 2, in_flight: 2, items: 64, bytes: 1 << 20 }
    }
}

/// One create of a batch.
#[derive(Debug, Clone)]
pub struct CreateItem {
    /// The key.
    pub key: Key,
    /// The record.
    pub record: Record,
    /// The record's life, from now.
    pub ttl: Duration,
}

/// One update of a batch.
#[derive(Debug, Clone)]
pub struct UpdateItem {
    /// The key.
    pub key: Key,
    /// The record.
    pub record: Record,
    /// The expected revision and the new life.
    pub update: Update,
}

/// One touch of a batch.
#[derive(Debug, Clone, Copy)]
pub struct TouchItem {
    /// The key.
    pub key: Key,
    /// The expected revision.
    pub expected: Revision,
    /// The new life, from now.
    pub ttl: Duration,
}

/// One destroy of a batch.
#[derive(Debug, Clone, Copy)]
pub struct DestroyItem {
    /// The key.
    pub key: Key,
    /// Only a record of this revision, if set.
    pub only: Option<Revision>,
}
