//! Batches of the reference store: one item after another.

use session_core::{
    Backend, BatchBackend, CreateItem, DestroyItem, Key, Loaded, Result, TouchItem, UpdateItem,
    Write, async_trait,
};

use super::reference::Reference;

#[async_trait]
impl BatchBackend for Reference {
    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        let mut results = Vec::new();
        for key in keys {
            results.push(self.load(key).await);
        }
        results
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for CreateItem { key, record, ttl } in items {
            results.push(self.save(key, record, Write::Create { ttl: *ttl }).await);
        }
        results
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for UpdateItem { key, record, update } in items {
            results.push(self.save(key, record, Write::Update(*update)).await);
        }
        results
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for TouchItem { key, expected, ttl } in items {
            results.push(self.touch(key, *expected, *ttl).await);
        }
        results
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        let mut results = Vec::new();
        for DestroyItem { key, only } in items {
            results.push(self.destroy(key, *only).await);
        }
        results
    }
}
