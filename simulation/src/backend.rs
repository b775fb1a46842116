//! The simulated store, as session-core sees it.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Error, ErrorKind,
    Key, Loaded, Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};

use crate::network::Outcome;
use crate::sim::Sim;
use crate::world::{Reply, Request};

pub(crate) struct SimBackend {
    pub(crate) sim: Sim,
    /// Whether it takes batches.
    pub(crate) batches: Option<BatchLimits>,
}

impl SimBackend {
    async fn trip(&self, requests: Vec<Request>) -> Vec<Result<Reply>> {
        let sending = self.sim.with(|world| world.send(requests, Sim::operation()));
        let fail = |error: fn() -> Error| sending.items.iter().map(|_| Err(error())).collect();
        match sending.trip.outcome {
            Outcome::Never => pending().await,
            Outcome::Answer { at, .. } => {
                self.sim.sleep_until(at).await;
                let operation = Sim::operation();
                let reply = |item| self.sim.with(|world| world.reply(item, operation));
                sending.items.iter().map(reply).collect()
            }
            Outcome::Broken { at } => {
                self.sim.sleep_until(at).await;
                fail(|| Error::unavailable("the connection broke"))
            }
            Outcome::Other { at } => {
                self.sim.sleep_until(at).await;
                fail(|| Error::new(ErrorKind::Other, "an unknown error"))
            }
            Outcome::Refused { at } => {
                self.sim.sleep_until(at).await;
                let operation = Sim::operation();
                for item in &sending.items {
                    self.sim.with(|world| world.learn_refusal(operation, item));
                }
                fail(|| Error::refused("busy"))
            }
        }
    }

    async fn one(&self, request: Request) -> Result<Reply> {
        self.trip(vec![request]).await.pop().expect("there is one result for one request")
    }

    async fn writes(&self, requests: Vec<Request>) -> Vec<Result<()>> {
        let replies = self.trip(requests).await;
        replies.into_iter().map(|reply| reply.map(drop)).collect()
    }
}

fn loaded(reply: Reply) -> Option<Loaded> {
    match reply {
        Reply::Loaded(loaded) => loaded,
        Reply::Done | Reply::Removed(_) => unreachable!("it answers a load"),
    }
}

fn removed(reply: &Reply) -> bool {
    matches!(reply, Reply::Removed(true))
}

#[async_trait]
impl Backend for SimBackend {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.one(Request::Load(*key)).await.map(loaded)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.one(Request::Save(*key, record.clone(), write)).await.map(drop)
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.one(Request::Touch(*key, expected, ttl)).await.map(drop)
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.one(Request::Destroy(*key, only)).await.map(|reply| removed(&reply))
    }

    async fn gc(&self, _limit: usize) -> Result<u64> {
        Ok(0)
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        self.batches.is_some().then_some(self)
    }
}

#[async_trait]
impl BatchBackend for SimBackend {
    fn limits(&self) -> BatchLimits {
        self.batches.unwrap_or_default()
    }

    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        let replies = self.trip(keys.iter().map(|key| Request::Load(*key)).collect()).await;
        replies.into_iter().map(|reply| reply.map(loaded)).collect()
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        let request = |item: &CreateItem| {
            Request::Save(item.key, item.record.clone(), Write::Create { ttl: item.ttl })
        };
        self.writes(items.iter().map(request).collect()).await
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        let request = |item: &UpdateItem| {
            Request::Save(item.key, item.record.clone(), Write::Update(item.update))
        };
        self.writes(items.iter().map(request).collect()).await
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        let request = |item: &TouchItem| Request::Touch(item.key, item.expected, item.ttl);
        self.writes(items.iter().map(request).collect()).await
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        let request = |item: &DestroyItem| Request::Destroy(item.key, item.only);
        let replies = self.trip(items.iter().map(request).collect()).await;
        replies.into_iter().map(|reply| reply.map(|reply| removed(&reply))).collect()
    }
}

impl fmt::Debug for SimBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimBackend")
    }
}
