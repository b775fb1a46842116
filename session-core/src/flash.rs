//! Flash: values and messages that are delivered once.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Result;
use crate::session::{Session, from_json, to_json};

/// When an entry that was delivered to the client's next request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlashMode {
    /// When it was read: it waits for the first request that takes it (the default).
    #[default]
    UntilRead,
    /// After the next request that uses the session, whether that read it or not.
    NextRequest,
}

/// How serious a message is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Level {
    /// Something went as it should.
    Info,
    /// Something deserves attention.
    Warning,
    /// Something went wrong.
    Error,
    /// A category of the application's own.
    Custom(String),
}

impl Level {
    /// The name, as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Custom(name) => name,
        }
    }
}

impl From<String> for Level {
    fn from(name: String) -> Self {
        match name.as_str() {
            "info" => Self::Info,
            "warning" => Self::Warning,
            "error" => Self::Error,
            _ => Self::Custom(name),
        }
    }
}

impl From<&str> for Level {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<Level> for String {
    fn from(level: Level) -> Self {
        level.as_str().to_owned()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How serious it is.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// One entry as it is stored: a value under a key, or a message. Its random id lets a request remove
/// just what it took, whatever another request added or took meanwhile.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub(crate) struct FlashEntry {
    pub(crate) id: u64,
    pub(crate) content: FlashContent,
}

#[derive(Clone)]
pub(crate) enum FlashContent {
    Value { key: String, value: Box<RawValue> },
    Message(Message),
}

impl FlashEntry {
    fn new(content: FlashContent) -> Self {
        // 53 bits: every JSON reader keeps them.
        Self { id: fastrand::u64(..1 << 53), content }
    }

    /// The same content as an entry of its own.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.content.clone())
    }

    fn is_value(&self, wanted: &str) -> bool {
        matches!(&self.content, FlashContent::Value { key, .. } if key == wanted)
    }

    fn message(&self) -> Option<&Message> {
        match &self.content {
            FlashContent::Message(message) => Some(message),
            FlashContent::Value { .. } => None,
        }
    }
}

/// The stored form: `{"id":1,"key":"k","value":…}` or `{"id":2,"level":"info","text":"…"}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl From<Wire> for FlashEntry {
    fn from(wire: Wire) -> Self {
        let content = match wire.key {
            // serde reads a null as None.
            Some(key) => FlashContent::Value {
                key,
                value: wire.value.unwrap_or_else(|| RawValue::NULL.to_owned()),
            },
            None => FlashContent::Message(Message {
                level: wire.level.unwrap_or(Level::Info),
                text: wire.text.unwrap_or_default(),
            }),
        };
        Self { id: wire.id, content }
    }
}

impl From<FlashEntry> for Wire {
    fn from(entry: FlashEntry) -> Self {
        let empty = Self { id: entry.id, key: None, value: None, level: None, text: None };
        match entry.content {
            FlashContent::Value { key, value } => {
                Self { key: Some(key), value: Some(value), ..empty }
            }
            FlashContent::Message(Message { level, text }) => {
                Self { level: Some(level), text: Some(text), ..empty }
            }
        }
    }
}

/// What this request did to the flash, each with the number of the change
/// (see [`Changes`](crate::changes::Changes)).
#[derive(Default)]
pub(crate) struct FlashChanges {
    pub(crate) added: Vec<(u64, FlashEntry)>,
    pub(crate) removed: BTreeMap<u64, u64>,
}

/// The flash of a session: [`Session::flash`].
///
/// What a request adds is delivered to a *later* request, the first that reads it: it becomes
/// visible when it was saved. Two requests that read in the same moment may both get an entry; none is
/// ever lost unread. A request that does not use the session neither ages nor drops anything.
#[derive(Debug)]
pub struct Flash<'a>(pub(crate) &'a Session);

impl Flash<'_> {
    /// Leaves a value for a later request. It replaces an undelivered one of the same key.
    ///
    /// # Errors
    /// `InvalidValue` when the value can't be written as JSON.
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        let json = to_json(value)?;
        let value = from_json(&json)?;
        let entry = FlashEntry::new(FlashContent::Value { key: key.to_owned(), value });
        self.0.write(|state| {
            let seq = state.changes.next();
            state.remove_flash(|old| old.is_value(key), seq);
            state.changes.flash.added.retain(|(_, old)| !old.is_value(key));
            state.changes.flash.added.push((seq, entry));
        });
        Ok(())
    }

    /// Takes a value: no later request will get it.
    ///
    /// # Errors
    /// `InvalidValue` when it is no `T`; it is left there then.
    pub fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.peek(key)?;
        if value.is_some() {
            self.0.write(|state| {
                let seq = state.changes.next();
                state.remove_flash(|entry| entry.is_value(key), seq);
            });
        }
        Ok(value)
    }

    /// Reads a value and leaves it for a later request.
    ///
    /// # Errors
    /// `InvalidValue` when it is no `T`.
    pub fn peek<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let json = self.0.read(|state| {
            state.visible_flash().rev().find_map(|entry| match &entry.content {
                FlashContent::Value { key: own, value } if own == key => Some(value.clone()),
                _ => None,
            })
        });
        json.map(|json| from_json(json.get().as_bytes())).transpose()
    }

    /// Whether a value waits under this key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.0.read(|state| state.visible_flash().any(|entry| entry.is_value(key)))
    }

    /// Keeps a value for one more request: undoes a [`take`](Self::take) of this request, and with
    /// [`FlashMode::NextRequest`] prolongs its life by one.
    pub fn keep(&self, key: &str) {
        self.0.write(|state| state.keep_flash(|entry| entry.is_value(key)));
    }

    /// Keeps everything, values and messages, as [`keep`](Self::keep) does.
    pub fn keep_all(&self) {
        self.0.write(|state| state.keep_flash(|_| true));
    }

    /// Leaves a message for a later request. Messages keep their order.
    pub fn message(&self, level: impl Into<Level>, text: impl Into<String>) {
        let message = Message { level: level.into(), text: text.into() };
        let entry = FlashEntry::new(FlashContent::Message(message));
        self.0.write(|state| {
            let seq = state.changes.next();
            state.changes.flash.added.push((seq, entry));
        });
    }

    /// Takes all messages, in the order in which they were left.
    #[must_use]
    pub fn take_messages(&self) -> Vec<Message> {
        self.take_where(|_| true)
    }

    /// Takes the messages of one level, in the order in which they were left.
    #[must_use]
    pub fn take_level(&self, level: &Level) -> Vec<Message> {
        self.take_where(|message| message.level == *level)
    }

    /// Reads all messages and leaves them for a later request.
    #[must_use]
    pub fn peek_messages(&self) -> Vec<Message> {
        self.0
            .read(|state| state.visible_flash().filter_map(FlashEntry::message).cloned().collect())
    }

    fn take_where(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let wanted = |entry: &FlashEntry| entry.message().is_some_and(&wanted);
        self.0.write(|state| {
            let taken: Vec<_> = state
                .visible_flash()
                .filter(|entry| wanted(entry))
                .filter_map(FlashEntry::message)
                .cloned()
                .collect();
            if !taken.is_empty() {
                let seq = state.changes.next();
                state.remove_flash(wanted, seq);
            }
            taken
        })
    }
}
