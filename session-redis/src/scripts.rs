//! The operations that need more than one command in one atomic step.
//!
//! Each compares the head of a value (mark and revision) before it writes. They use `pcall`, so that
//! a server's error arrives as it is on every version of Redis.

use std::sync::LazyLock;

use redis::{Pipeline, Script};

/// A script and its hash.
pub(crate) struct Lua {
    text: &'static str,
    hash: LazyLock<String>,
}

macro_rules! lua {
    ($text:literal) => {
        Lua { text: $text, hash: LazyLock::new(|| Script::new($text).get_hash().to_owned()) }
    };
}

/// Compare-and-swap of any number of keys, each by itself: `OK`, 0 for another revision, -1 for no
/// record, or an error. A value that carries our own revision already is `OK`.
///
/// Arguments, three for each key: the expected head, the value, the life in milliseconds or nothing.
pub(crate) static SWAP: Lua = lua!(
    "local replies = {}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('GETRANGE', key, 0, 18)
  if found == ARGV[3 * i - 2] then
    if ARGV[3 * i] == '' then
      replies[i] = redis.pcall('SET', key, ARGV[3 * i - 1], 'KEEPTTL')
    else
      replies[i] = redis.pcall('SET', key, ARGV[3 * i - 1], 'PX', ARGV[3 * i])
    end
  elseif type(found) == 'table' then
    replies[i] = found
  elseif found == '' then
    replies[i] = -1
  elseif found == string.sub(ARGV[3 * i - 1], 1, 19) then
    replies[i] = redis.status_reply('OK')
  else
    replies[i] = 0
  end
end
return replies"
);

/// Deletes a key if it has the expected head: 1 or 0.
pub(crate) static DELETE_ONLY: Lua = lua!(
    "local found = redis.pcall('GETRANGE', KEYS[1], 0, 18)
if type(found) == 'table' then return found end
if found ~= ARGV[1] then return 0 end
return redis.pcall('DEL', KEYS[1])"
);

/// Moves a record: `OK`, 0 for another revision, -1 for no record, -2 when something stands under the
/// new key, or an error. The new key is written first, because only that can be refused.
///
/// Arguments: the expected head, the value, the life in milliseconds or nothing.
pub(crate) static ROTATE: Lua = lua!(
    "local found = redis.pcall('GETRANGE', KEYS[1], 0, 18)
if type(found) == 'table' then return found end
if found == '' then return -1 end
if found ~= ARGV[1] then return 0 end
local life = ARGV[3]
if life == '' then life = redis.call('PTTL', KEYS[1]) end
local set = redis.pcall('SET', KEYS[2], ARGV[2], 'NX', 'PX', math.max(tonumber(life), 1))
if not set then return -2 end
if set.err then return set end
redis.call('DEL', KEYS[1])
return set"
);

/// How a script is named in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By its hash, which a server knows once it has seen the whole.
    Hash,
    /// In full.
    Text,
}

/// Adds a call of the script to a pipeline; its keys and arguments follow.
pub(crate) fn call<'p>(
    pipeline: &'p mut Pipeline,
    script: &Lua,
    naming: Naming,
    keys: usize,
) -> &'p mut Pipeline {
    match naming {
        Naming::Hash => pipeline.cmd("EVALSHA").arg(script.hash.as_str()),
        Naming::Text => pipeline.cmd("EVAL").arg(script.text),
    }
    .arg(keys)
}
