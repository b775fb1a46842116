//! The five kinds of operations that share batches.

use std::future::Future;
use std::pin::Pin;

use crate::{
    Backend, BatchBackend, CreateItem, DestroyItem, Key, Loaded, Result, TouchItem, UpdateItem,
    Write,
};

/// The futures of the backend's methods.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One kind of operation.
pub(super) trait Kind: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Reply: Clone + Send + 'static;

    /// The name of the operation in metrics.
    const NAME: &'static str;

    /// Whether several callers may share one item. Only loads may, because each write has its own
    /// outcome.
    const SHARES: bool = false;

    fn key(item: &Self::Item) -> Key;

    /// The size of the payload.
    fn bytes(_item: &Self::Item) -> usize {
        0
    }

    fn alone<'a>(backend: &'a dyn Backend, item: &'a Self::Item) -> Boxed<'a, Result<Self::Reply>>;

    fn together<'a>(
        backend: &'a dyn BatchBackend,
        items: &'a [Self::Item],
    ) -> Boxed<'a, Vec<Result<Self::Reply>>>;
}

pub(super) enum Loads {}

impl Kind for Loads {
    type Item = Key;
    type Reply = Option<Loaded>;

    const NAME: &'static str = "load";

    const SHARES: bool = true;

    fn key(key: &Key) -> Key {
        *key
    }

    fn alone<'a>(backend: &'a dyn Backend, key: &'a Key) -> Boxed<'a, Result<Option<Loaded>>> {
        backend.load(key)
    }

    fn together<'a>(
        backend: &'a dyn BatchBackend,
        keys: &'a [Key],
    ) -> Boxed<'a, Vec<Result<Option<Loaded>>>> {
        backend.load_many(keys)
    }
}

pub(super) enum Creates {}

impl Kind for Creates {
    type Item = CreateItem;
    type Reply = ();

    const NAME: &'static str = "create";

    fn key(item: &CreateItem) -> Key {
        item.key
    }

    fn bytes(item: &CreateItem) -> usize {
        item.record.payload.len()
    }

    fn alone<'a>(backend: &'a dyn Backend, item: &'a CreateItem) -> Boxed<'a, Result<()>> {
        backend.save(&item.key, &item.record, Write::Create { ttl: item.ttl })
    }

    fn together<'a>(
        backend: &'a dyn BatchBackend,
        items: &'a [CreateItem],
    ) -> Boxed<'a, Vec<Result<()>>> {
        backend.create_many(items)
    }
}

pub(super) enum Updates {}

impl Kind for Updates {
    type Item = UpdateItem;
    type Reply = ();

    const NAME: &'static str = "update";

    fn key(item: &UpdateItem) -> Key {
        item.key
    }

    fn bytes(item: &UpdateItem) -> usize {
        item.record.payload.len()
    }

    fn alone<'a>(backend: &'a dyn Backend, item: &'a UpdateItem) -> Boxed<'a, Result<()>> {
        backend.save(&item.key, &item.record, Write::Update(item.update))
    }

    fn together<'a>(
        backend: &'a dyn BatchBackend,
        items: &'a [UpdateItem],
    ) -> Boxed<'a, Vec<Result<()>>> {
        backend.update_many(items)
    }
}

pub(super) enum Touches {}

impl Kind for Touches {
    type Item = TouchItem;
    type Reply = ();

    const NAME: &'static str = "touch";

    fn key(item: &TouchItem) -> Key {
        item.key
    }

    fn alone<'a>(backend: &'a dyn Backend, item: &'a TouchItem) -> Boxed<'a, Result<()>> {
        backend.touch(&item.key, item.expected, item.ttl)
    }

    fn together<'a>(
        backend: &'a dyn BatchBackend,
        items: &'a [TouchItem],
    ) -> Boxed<'a, Vec<Result<()>>> {
        backend.touch_many(items)
    }
}

pub(super) enum Destroys {}

impl Kind for Destroys {
    type Item = DestroyItem;
    type Reply = bool;

    const NAME: &'static str = "destroy";

    fn key(item: &DestroyItem) -> Key {
        item.key
    }

    fn alone<'a>(backend: &'a dyn Backend, item: &'a DestroyItem) -> Boxed<'a, Result<bool>> {
        backend.destroy(&item.key, item.only)
    }

    fn together<'a>(
        backend: &'a dyn BatchBackend,
        items: &'a [DestroyItem],
    ) -> Boxed<'a, Vec<Result<bool>>> {
        backend.destroy_many(items)
    }
}
