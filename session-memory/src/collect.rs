//! Removing what expired, a batch at a time.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;

use crate::MemoryBackend;
use crate::backend::{hash_of, lock};

/// How many sessions the collector looks at before it lets others at the shard.
const BATCH: usize = 128;
/// How many sessions a creation in a full store looks at in one go, to find an expired one.
const LOOKS_OF_CREATE: usize = 8 * BATCH;

/// What became of a batch.
#[derive(Default)]
struct Batch {
    looked_at: usize,
    removed: usize,
}

impl MemoryBackend {
    /// Removes up to `limit` expired sessions, and lets other tasks run after each batch.
    pub(crate) async fn collect(&self, limit: usize) -> usize {
        let mut removed = 0;
        for shard in self.shards_in_turn() {
            while removed < limit && self.has_due(shard) {
                removed += self.collect_batch(shard, limit - removed).removed;
                yield_now().await;
            }
        }
        removed
    }

    /// Makes room for a session in a full store. It looks at a few batches at most; whether it found
    /// anything to look at.
    pub(crate) fn make_room(&self) -> bool {
        let (mut looked_at, mut removed) = (0, 0);
        for shard in self.shards_in_turn() {
            while looked_at < LOOKS_OF_CREATE && removed == 0 && self.has_due(shard) {
                let batch = self.collect_batch(shard, BATCH);
                looked_at += batch.looked_at;
                removed += batch.removed;
            }
        }
        looked_at > 0
    }

    fn has_due(&self, shard: usize) -> bool {
        lock(&self.deadlines[shard]).has_due(self.clock.now())
    }

    /// All shards, beginning with another one each time.
    fn shards_in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let shards = self.deadlines.len();
        let first = self.next_shard.fetch_add(1, Ordering::Relaxed);
        (0..shards).map(move |step| first.wrapping_add(step) % shards)
    }

    /// Looks at up to `BATCH` sessions that are due: removes the expired ones, at most `limit`, and
    /// files those anew that were prolonged.
    fn collect_batch(&self, shard: usize, limit: usize) -> Batch {
        let mut batch = Batch::default();
        let mut sessions = self.sessions.shards()[shard].write();
        let mut deadlines = lock(&self.deadlines[shard]);
        let now = self.clock.now();
        while batch.looked_at < BATCH && batch.removed < limit {
            let Some((filed, prefix)) = deadlines.pop_due(now) else {
                break;
            };
            batch.looked_at += 1;
            let hash = hash_of(prefix);
            let Some((_, entry)) = sessions
                .get_mut(hash, |(key, entry)| key.prefix() == prefix && entry.get().filed == filed)
            else {
                debug_assert!(false, "a filed session is in the map");
                continue;
            };
            let entry = entry.get_mut();
            if entry.is_live(now) {
                entry.filed = deadlines.file(entry.deadline, prefix);
                continue;
            }
            sessions.remove_entry(hash, |(key, entry)| {
                key.prefix() == prefix && entry.get().filed == filed
            });
            batch.removed += 1;
        }
        // Before the locks are released: who finds nothing due afterwards finds the room.
        self.taken.fetch_sub(batch.removed, Ordering::Relaxed);
        batch
    }
}

/// Lets other tasks run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| match std::mem::replace(&mut yielded, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
