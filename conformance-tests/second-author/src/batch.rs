//! The batches: one single operation after the other.

use session_core::{
    Backend, BatchBackend, CreateItem, DestroyItem, Error, ErrorKind, Key, Loaded, Record, Result,
    TouchItem, UpdateItem, Write, async_trait, ttl_millis,
};

use crate::store::MAX_PAYLOAD;
use crate::{Fault, Wrong};

impl Wrong {
    async fn save_in_batch(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        if self.is(Fault::BatchItemTooLarge) && record.payload.len() > 1 << 20 {
            return Err(Error::new(ErrorKind::TooLarge, "the batch has more than 1 MiB"));
        }
        self.save(key, record, write).await
    }
}

#[async_trait]
impl BatchBackend for Wrong {
    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            results.push(self.load(key).await);
        }
        results
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(items.len());
        let mut aborted = false;
        for CreateItem { key, record, ttl } in items {
            let bad = ttl_millis(*ttl).is_err() || record.payload.len() > MAX_PAYLOAD;
            if aborted {
                results.push(Err(Error::refused("the transaction was aborted")));
                continue;
            }
            if bad && self.is(Fault::BatchAbortLies) {
                aborted = true;
                for result in &mut results {
                    *result = Err(Error::refused("the transaction was aborted"));
                }
            }
            results.push(self.save_in_batch(key, record, Write::Create { ttl: *ttl }).await);
        }
        results
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(items.len());
        for UpdateItem { key, record, update } in items {
            results.push(self.save_in_batch(key, record, Write::Update(*update)).await);
        }
        results
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(items.len());
        for TouchItem { key, expected, ttl } in items {
            let mut ttl = *ttl;
            if self.is(Fault::BatchOneTtl) && !ttl.is_zero() {
                let group =
                    |item: &&TouchItem| !item.ttl.is_zero() && item.ttl.as_secs() == ttl.as_secs();
                ttl = items.iter().find(group).map_or(ttl, |first| first.ttl);
            }
            results.push(self.touch(key, *expected, ttl).await);
        }
        results
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        let mut results = Vec::with_capacity(items.len());
        for DestroyItem { key, only } in items {
            results.push(self.destroy(key, *only).await);
        }
        results
    }
}
