//! The store, and the requests on their way to it.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use session_core::{Error, Key, Loaded, Record, Result, Revision, Write, ttl_millis};

use crate::checks::{Kept, latest_expiry};
use crate::content::Content;
use crate::model::Model;
use crate::network::{Kind, Network, Outcome, Trip};
use crate::setup::Setup;

#[derive(Debug, Clone)]
pub(crate) enum Request {
    Load(Key),
    Save(Key, Record, Write),
    Touch(Key, Revision, Duration),
    Destroy(Key, Option<Revision>),
}

#[derive(Debug)]
pub(crate) enum Reply {
    Loaded(Option<Loaded>),
    Done,
    Removed(bool),
}

/// A record as the store keeps it. It stays when it expires: nothing is collected.
struct Stored {
    record: Record,
    expiry: u64,
    content: Content,
}

/// A request on its way: when it arrives, and its number.
struct Message {
    order: (u64, u32, u64),
    request: Request,
}

/// What one operation of a client has sent.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) writes: u32,
    /// Those of them that were refused.
    pub(crate) refused: u32,
}

pub(crate) struct World {
    now: u64,
    network: Network,
    pub(crate) model: Model,
    /// Of the operations of clients.
    pub(crate) costs: HashMap<u64, Cost>,
    operations: u64,
    skew: u64,
    calm: bool,
    records: HashMap<Key, Stored>,
    on_the_way: BinaryHeap<Message>,
    replies: HashMap<u64, Result<Reply>>,
    last: u64,
    trace: Option<Vec<String>>,
    /// How many violations are in the trace.
    logged: usize,
    names: HashMap<Key, usize>,
}

impl World {
    pub(crate) fn new(network: Network, setup: &Setup, trace: bool) -> Self {
        Self {
            now: 0,
            network,
            model: Model::default(),
            costs: HashMap::new(),
            operations: 0,
            skew: setup.servers.iter().map(|server| server.skew.unsigned_abs()).max().unwrap_or(0),
            calm: setup.is_calm(),
            records: HashMap::new(),
            on_the_way: BinaryHeap::new(),
            replies: HashMap::new(),
            last: 0,
            trace: trace.then(Vec::new),
            logged: 0,
            names: HashMap::new(),
        }
    }

    pub(crate) fn begin_operation(&mut self) -> u64 {
        self.operations += 1;
        self.costs.insert(self.operations, Cost::default());
        self.operations
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// Carries out what has arrived until now.
    pub(crate) fn advance(&mut self, now: u64) {
        while let Some(next) = self.on_the_way.peek()
            && next.order.0 <= now
        {
            let Message { order: (at, _, number), request } =
                self.on_the_way.pop().expect("there is one");
            self.now = at.max(self.now);
            let name = self.describe(&request);
            let reply = self.carry_out(request);
            self.log(|| format!("  store: {name} -> {}", outcome_of(&reply)));
            self.log_violations();
            self.replies.insert(number, reply);
        }
        self.now = now;
    }

    /// Sends requests in one trip, on behalf of an operation. Returns the number of each, what happens
    /// to the trip, and what is refused.
    pub(crate) fn send(&mut self, requests: Vec<Request>, operation: u64) -> Sending {
        let updates = |request: &Request| match request {
            Request::Save(_, record, Write::Update(_)) => {
                Content::read(&record.payload).is_none_or(|content| content.is_session())
            }
            _ => false,
        };
        let kind = match requests.first() {
            Some(Request::Save(_, _, Write::Create { .. })) => Kind::Create,
            _ if requests.iter().any(updates) => Kind::Update,
            _ => Kind::Other,
        };
        let single = requests.len() == 1;
        let trip = self.network.send(self.now, kind);
        let answered = match trip.outcome {
            Outcome::Answer { of, .. } => Some(of),
            _ => None,
        };
        let mut items = Vec::with_capacity(requests.len());
        for request in requests {
            let stores = matches!(request, Request::Save(..));
            let refused =
                stores && self.network.is_full(self.now) || !single && self.network.spoils_item();
            if let (true, Some(cost)) = (stores, self.costs.get_mut(&operation)) {
                cost.writes += 1;
            }
            let name = self.describe(&request);
            self.log(|| {
                format!("  operation {operation} sends {name}: {trip:?}, refused {refused}")
            });
            // Copies of one request that arrive together arrive in their order.
            let tie = self.network.tie();
            let mut item = Item { number: None, stores, refused };
            for (copy, at) in trip.arrivals.iter().enumerate().filter(|_| !refused) {
                self.last += 1;
                if answered == Some(copy) {
                    item.number = Some(self.last);
                }
                let order = (*at, tie, self.last);
                self.on_the_way.push(Message { order, request: request.clone() });
            }
            items.push(item);
        }
        Sending { items, trip }
    }

    /// The sender learns that a request was refused.
    pub(crate) fn learn_refusal(&mut self, operation: u64, item: &Item) {
        if let (true, Some(cost)) = (item.stores, self.costs.get_mut(&operation)) {
            cost.refused += 1;
        }
    }

    pub(crate) fn reply(&mut self, item: &Item, operation: u64) -> Result<Reply> {
        if item.refused {
            self.learn_refusal(operation, item);
            return Err(Error::refused("the store is full"));
        }
        let reply = item.number.and_then(|number| self.replies.remove(&number));
        reply.expect("it was carried out before it is answered")
    }

    fn live(&self, key: &Key) -> Option<&Stored> {
        self.records.get(key).filter(|stored| stored.expiry > self.now)
    }

    fn carry_out(&mut self, request: Request) -> Result<Reply> {
        match request {
            Request::Load(key) => Ok(Reply::Loaded(self.live(&key).map(|stored| Loaded {
                record: stored.record.clone(),
                expires_in: Duration::from_millis(stored.expiry - self.now),
            }))),
            Request::Save(key, record, write) => {
                self.save(key, record, write).map(|()| Reply::Done)
            }
            Request::Touch(key, expected, ttl) => {
                let live = self.live(&key).ok_or_else(Error::gone)?;
                if live.record.revision != expected {
                    return Err(Error::conflict());
                }
                let expiry = self.now + ttl_millis(ttl)?;
                if !live.content.is_session() {
                    self.model.violation("a tombstone was touched");
                    return Ok(Reply::Done);
                }
                let content = live.content.clone();
                self.check_expiry(&key, expiry, &content);
                self.records.get_mut(&key).expect("it is live").expiry = expiry;
                Ok(Reply::Done)
            }
            Request::Destroy(key, only) => {
                let wanted = self.live(&key).filter(|stored| {
                    only.is_none_or(|revision| revision == stored.record.revision)
                });
                if wanted.is_none() {
                    return Ok(Reply::Removed(false));
                }
                let stored = self.records.remove(&key).expect("it is live");
                self.model.removed(&key, &stored.content, self.now);
                Ok(Reply::Removed(true))
            }
        }
    }

    fn save(&mut self, key: Key, record: Record, write: Write) -> Result<()> {
        let now = self.now;
        let now_live = |stored: &&Stored| stored.expiry > now;
        let live = self.records.get(&key).filter(now_live);
        let expiry = match (write, live) {
            (Write::Create { .. }, Some(_)) => return Err(Error::already_exists()),
            (Write::Create { ttl }, None) => now + ttl_millis(ttl)?,
            (Write::Update(_), None) => return Err(Error::gone()),
            (Write::Update(update), Some(live)) => {
                if live.record.revision != update.expected {
                    return Err(Error::conflict());
                }
                match update.ttl {
                    Some(ttl) => now + ttl_millis(ttl)?,
                    None => live.expiry,
                }
            }
        };
        let Some(content) = Content::read(&record.payload) else {
            self.model.violation("a payload can't be read");
            return Err(Error::corrupt("not a session"));
        };
        let before = live.map(|stored| &stored.content);
        self.model.wrote(key, record.revision.to_u64(), before, &content);
        if let Some(new) = content.next {
            let there = self.live(&new).map(|stored| stored.content.clone());
            self.model.rotated(key, new, expiry, there.as_ref());
        } else {
            self.check_expiry(&key, expiry, &content);
        }
        self.records.insert(key, Stored { record, expiry, content });
        Ok(())
    }

    fn check_expiry(&mut self, key: &Key, expiry: u64, content: &Content) {
        let skew = self.skew;
        if let Some(lineage) = self.model.lineage(key)
            && !content.own_life
            && expiry > latest_expiry(content.created, skew, lineage.rotations)
        {
            self.model.violation("a session got a longer life than the store's lifetime");
        }
    }

    /// Somebody holds this id from now on.
    pub(crate) fn issue(&mut self, key: Key, origin: Option<u32>) {
        let content = self.records.get(&key).map(|stored| stored.content.clone());
        self.model.issue(key, origin, content.as_ref());
    }

    /// Carries out what is still on its way and checks everything.
    pub(crate) fn end(&mut self) {
        let last = self.on_the_way.iter().map(|message| message.order.0).max();
        self.advance(last.unwrap_or(self.now).max(self.now));
        let records = &self.records;
        let kept = |key: &Key| {
            let Stored { content, expiry, .. } = records.get(key)?;
            Some(Kept { content, expiry: *expiry })
        };
        let unknown = |(key, stored): (&Key, &Stored)| {
            stored.content.is_session()
                && stored.expiry > self.now
                && self.model.lineage_of(key).is_none()
        };
        if self.calm && records.iter().any(unknown) {
            self.model.violation("a record remains whose id nobody has");
        }
        self.model.check_all(self.now, kept);
        self.log_violations();
    }

    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = format!("{:>6} ms {}", self.now, line());
            trace.push(line);
        }
    }

    /// Shows in the trace what was found since the last time.
    pub(crate) fn log_violations(&mut self) {
        while let Some(violation) = self.model.violations.get(self.logged).cloned() {
            self.logged += 1;
            self.log(|| format!("violation: {violation}"));
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// A short name for a key, in traces.
    pub(crate) fn name(&mut self, key: &Key) -> String {
        let next = self.names.len() + 1;
        format!("k{}", self.names.entry(*key).or_insert(next))
    }

    fn describe(&mut self, request: &Request) -> String {
        if self.trace.is_none() {
            return String::new();
        }
        let short = |revision: &Revision| format!("r{:04x}", revision.to_u64() >> 48);
        match request {
            Request::Load(key) => format!("load {}", self.name(key)),
            Request::Save(key, record, write) => {
                let content = Content::read(&record.payload).unwrap_or_default();
                let what = match content.next {
                    Some(next) => format!("tombstone to {}", self.name(&next)),
                    None => format!("{:?}", content.changes().collect::<Vec<_>>()),
                };
                let how = match write {
                    Write::Create { ttl } => format!("create for {ttl:?}"),
                    Write::Update(update) => {
                        format!("update of {} for {:?}", short(&update.expected), update.ttl)
                    }
                };
                format!("{how} {} {} {what}", self.name(key), short(&record.revision))
            }
            Request::Touch(key, expected, ttl) => {
                format!("touch {} {} for {ttl:?}", self.name(key), short(expected))
            }
            Request::Destroy(key, only) => {
                format!("destroy {} {:?}", self.name(key), only.as_ref().map(short))
            }
        }
    }
}

/// Requests that were sent together.
pub(crate) struct Sending {
    pub(crate) items: Vec<Item>,
    pub(crate) trip: Trip,
}

pub(crate) struct Item {
    /// Of the copy whose answer the sender gets.
    number: Option<u64>,
    /// It is a save.
    stores: bool,
    refused: bool,
}

fn outcome_of(reply: &Result<Reply>) -> String {
    match reply {
        Ok(Reply::Loaded(loaded)) => {
            let found = |loaded: &Loaded| format!("r{:04x}", loaded.record.revision.to_u64() >> 48);
            loaded.as_ref().map_or_else(|| "none".to_owned(), found)
        }
        Ok(Reply::Done) => "done".to_owned(),
        Ok(Reply::Removed(removed)) => format!("removed {removed}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// The first to arrive is the greatest.
impl Ord for Message {
    fn cmp(&self, other: &Self) -> Ordering {
        other.order.cmp(&self.order)
    }
}

impl PartialOrd for Message {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Message {}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
