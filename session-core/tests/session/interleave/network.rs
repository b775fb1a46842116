//! A store behind a network that loses, delays and duplicates requests and answers, derived from a
//! seed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Write, async_trait,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

const TOMBSTONE: &[u8] = b"{\"v\":1,\"rotated\":";

/// The delivery of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Delivery {
    Delivered,
    /// It never arrives.
    Lost,
    /// The caller gets no answer, and the request arrives later.
    Late,
    AnswerLost,
    /// The caller gets the answer to the first copy. The second copy arrives at any later time.
    Doubled,
    /// The driver sends it twice and gets the answer to the second copy.
    SentTwice,
    Refused,
}

/// The records of the store and their history.
#[derive(Default)]
pub(super) struct Table {
    pub(super) records: HashMap<Key, (Record, Instant)>,
    /// The rotations: from the old key of a session to its new key.
    pub(super) moved: HashMap<Key, Key>,
    /// Whether a tombstone was renewed, which must not happen.
    pub(super) renewed_tombstone: bool,
}

pub(super) struct Network {
    table: Arc<Mutex<Table>>,
    random: Mutex<fastrand::Rng>,
    /// How many of a hundred requests fail in some way.
    pub(super) accidents: u32,
    /// How many of the next requests are refused: refusals come in series.
    refusals: AtomicU32,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let accidents = *random.choice(&[0, 5, 15, 30]).unwrap();
        Self {
            table: Arc::default(),
            random: Mutex::new(random),
            accidents,
            refusals: AtomicU32::new(0),
        }
    }

    pub(super) fn table<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.table.lock().unwrap())
    }

    fn pick<T>(&self, pick: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        pick(&mut self.random.lock().unwrap())
    }

    fn delivery(&self) -> Delivery {
        use Delivery::{AnswerLost, Delivered, Doubled, Late, Lost, Refused, SentTwice};
        self.pick(|random| {
            let refusals = self.refusals.load(Ordering::Relaxed);
            if refusals > 0 {
                self.refusals.store(refusals - 1, Ordering::Relaxed);
                return Refused;
            }
            if random.u32(0..100) >= self.accidents {
                return Delivered;
            }
            let accidents = [Lost, Late, AnswerLost, AnswerLost, Doubled, SentTwice, Refused];
            let accident = *random.choice(&accidents).unwrap();
            if accident == Refused {
                self.refusals.store(random.u32(0..6), Ordering::Relaxed);
            }
            accident
        })
    }

    async fn pause(&self, most: u64) {
        let millis = self.pick(|random| random.u64(0..=most));
        sleep(Duration::from_millis(millis)).await;
    }

    async fn call<T: Send + 'static>(
        &self,
        what: impl Fn() -> String + Send + Sync + 'static,
        creates: bool,
        carry_out: impl Fn(&mut Table) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let delivery = match self.delivery() {
            // A handle can't prevent that a second copy of an answered create arrives after a
            // logout.
            Delivery::Doubled if creates => Delivery::SentTwice,
            delivery => delivery,
        };
        let on_the_way = self.pick(|random| random.u64(0..=4));
        let late = self.pick(|random| random.u64(0..=80));
        say(|| format!("sent: {}, {delivery:?}", what()));
        let (answer, answered) = oneshot::channel();
        let table = Arc::clone(&self.table);
        // In its own task: a request that was sent arrives even if its caller was dropped.
        tokio::spawn(async move {
            let carry_out = || {
                let answer = carry_out(&mut table.lock().unwrap());
                say(|| {
                    format!("arrived: {}, {:?}", what(), answer.as_ref().err().map(Error::kind))
                });
                answer
            };
            match delivery {
                Delivery::Lost | Delivery::Refused => return,
                Delivery::Late => sleep(Duration::from_millis(late)).await,
                _ => sleep(Duration::from_millis(on_the_way)).await,
            }
            let first = carry_out();
            match delivery {
                Delivery::Doubled => {
                    let _ = answer.send(first);
                    sleep(Duration::from_millis(late)).await;
                    let _ = carry_out();
                }
                Delivery::SentTwice => drop(answer.send(carry_out())),
                Delivery::Delivered => drop(answer.send(first)),
                _ => {}
            }
        });
        match delivery {
            Delivery::Refused => Err(Error::refused("full")),
            Delivery::Lost | Delivery::Late | Delivery::AnswerLost => {
                self.pause(40).await;
                Err(Error::unavailable("no answer"))
            }
            _ => {
                let answer = answered.await.expect("it is answered");
                self.pause(4).await;
                answer
            }
        }
    }
}

impl Table {
    fn live(&self, key: &Key) -> Option<&(Record, Instant)> {
        self.records.get(key).filter(|(_, end)| *end > Instant::now())
    }

    /// Whether the record is a live session, not a tombstone.
    pub(super) fn is_session(&self, key: &Key) -> bool {
        self.live(key).is_some_and(|(record, _)| !record.payload.starts_with(TOMBSTONE))
    }

    fn save(&mut self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let now = Instant::now();
        let end = match (write, self.live(key)) {
            (Write::Create { .. }, Some(_)) => return Err(Error::already_exists()),
            (Write::Create { ttl }, None) => now + ttl,
            (Write::Update(_), None) => return Err(Error::gone()),
            (Write::Update(update), Some((old, _))) if old.revision != update.expected => {
                return Err(Error::conflict());
            }
            (Write::Update(update), Some((_, end))) => update.ttl.map_or(*end, |ttl| now + ttl),
        };
        if let Some(new) = moved_to(record) {
            self.moved.insert(*key, new);
        }
        self.records.insert(*key, (record.clone(), end));
        Ok(())
    }

    fn touch(&mut self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let record = self.live(key).ok_or_else(Error::gone)?.0.clone();
        if record.revision != expected {
            return Err(Error::conflict());
        }
        self.renewed_tombstone |= moved_to(&record).is_some();
        self.records.insert(*key, (record, Instant::now() + ttl));
        Ok(())
    }

    fn destroy(&mut self, key: &Key, only: Option<Revision>) -> bool {
        let wanted = self
            .live(key)
            .is_some_and(|(record, _)| only.is_none_or(|only| only == record.revision));
        say(|| format!("destroys {}: {wanted}", short(key)));
        wanted && self.records.remove(key).is_some()
    }
}

fn short(key: &Key) -> String {
    key.to_hex()[..4].to_owned()
}

/// A seed that runs alone logs all requests.
pub(super) fn say(what: impl FnOnce() -> String) {
    static IS_ALONE: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("INTERLEAVE_SEED").is_some());
    if *IS_ALONE {
        eprintln!("{}", what());
    }
}

/// The new key of the session, if the record is a tombstone.
fn moved_to(record: &Record) -> Option<Key> {
    let rest = record.payload.strip_prefix(TOMBSTONE)?;
    let text = std::str::from_utf8(rest).unwrap();
    let (_, key) = text.split_once("\"key\":\"").unwrap();
    Some(Key::from_hex(&key[..64]).unwrap())
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

#[async_trait]
impl Backend for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let key = *key;
        let look = move |table: &mut Table| {
            Ok(table.live(&key).map(|(record, end)| Loaded {
                record: record.clone(),
                expires_in: *end - Instant::now(),
            }))
        };
        self.call(move || format!("load {}", short(&key)), false, look).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let (key, record) = (*key, record.clone());
        let creates = matches!(write, Write::Create { .. });
        let (moved, payload) = (moved_to(&record), record.payload.clone());
        let what = move || match (write, moved) {
            (Write::Create { .. }, _) => format!("create {} {payload:?}", short(&key)),
            (Write::Update(_), None) => format!("update {} {payload:?}", short(&key)),
            (Write::Update(_), Some(new)) => format!("move {} to {}", short(&key), short(&new)),
        };
        self.call(what, creates, move |table| table.save(&key, &record, write)).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let key = *key;
        self.call(
            move || format!("touch {}", short(&key)),
            false,
            move |table| table.touch(&key, expected, ttl),
        )
        .await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let key = *key;
        let what = move || format!("destroy {} {only:?}", short(&key));
        self.call(what, false, move |table| Ok(table.destroy(&key, only))).await
    }

    async fn gc(&self, _limit: usize) -> Result<u64> {
        Ok(0)
    }
}
