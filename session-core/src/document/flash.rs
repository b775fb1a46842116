//! Flash entries as they are stored.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How serious a message is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Level {
    /// For example, that something succeeded.
    Info,
    /// Something that needs attention.
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
    /// The text.
    pub text: String,
}

/// One entry as it is stored: a value with a name, or a message. By its random id a request removes
/// exactly the entries that it took, even if other requests added or took entries meanwhile.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub(crate) struct FlashEntry {
    pub(crate) id: u64,
    pub(crate) content: FlashContent,
}

#[derive(Clone)]
pub(crate) enum FlashContent {
    Value { name: String, value: Box<RawValue> },
    Message(Message),
}

impl FlashEntry {
    pub(crate) fn new(content: FlashContent) -> Self {
        // 53 bits: every JSON reader keeps them.
        Self { id: fastrand::u64(..1 << 53), content }
    }

    /// A new entry with the same content.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.content.clone())
    }

    pub(crate) fn is_value(&self, wanted: &str) -> bool {
        matches!(&self.content, FlashContent::Value { name, .. } if name == wanted)
    }

    pub(crate) fn message(&self) -> Option<&Message> {
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
            Some(name) => FlashContent::Value {
                name,
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
            FlashContent::Value { name, value } => {
                Self { key: Some(name), value: Some(value), ..empty }
            }
            FlashContent::Message(Message { level, text }) => {
                Self { level: Some(level), text: Some(text), ..empty }
            }
        }
    }
}
