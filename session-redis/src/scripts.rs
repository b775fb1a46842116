//! Lua scripts, above all the writes that compare before they write: Redis runs a script in one atomic step.
//!
//! Each of those takes any number of keys, and each key has a result of its own: 1, done; 0, another
//! revision; -1, no record; -2, a value that is no record; or an error of the server. When all are done,
//! the reply is their number, otherwise it is the list. `pcall` keeps the error of one key from ending
//! the script.

use std::sync::OnceLock;

use redis::{Cmd, Script as Hashed};

/// A script and its hash.
pub(crate) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

/// How a script is named in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By its hash, which a server knows once it has seen the text.
    Hash,
    Text,
}

/// Compares the first 20 bytes of a value (`s1:REVISION:`) with the expected ones. `GETRANGE` is told
/// where by strings because Redis formats numbers slowly.
macro_rules! script {
    ($body:literal) => {
        Script::new(concat!(
            "local pcall, sub, results, done = redis.pcall, string.sub, {}, 0
local function compare(key, expected)
  local head = pcall('GETRANGE', key, '0', '19')
  if head == expected then return 1 end
  if type(head) == 'table' then return head end
  if #head == 20 and sub(head, 1, 3) == 's1:' then return 0, head end
  return head == '' and pcall('EXISTS', key) == 0 and -1 or -2
end
local function note(i, result)
  results[i] = result
  if result == 1 then done = done + 1 end
end
",
            $body,
            "
return done == #KEYS and done or results"
        ))
    };
}

/// Two arguments for each key: the expected head, followed by the new expiry in milliseconds if there is
/// one, and the value. An update that is repeated by a driver finds its own revision: it is done.
pub(crate) static UPDATE: Script = script!(
    "for i, key in ipairs(KEYS) do
  local expected, value, expiry = ARGV[2 * i - 1], ARGV[2 * i]
  if #expected > 20 then expected, expiry = sub(expected, 1, 20), sub(expected, 21) end
  local result, head = compare(key, expected)
  if result == 1 then
    local reply
    if expiry then
      reply = pcall('SET', key, value, 'PX', expiry)
    else
      reply = pcall('SET', key, value, 'KEEPTTL')
    end
    if reply.err then result = reply end
  elseif head and head == sub(value, 1, 20) then
    result = 1
  end
  note(i, result)
end"
);

/// Two arguments for each key: the expected head and the new expiry in milliseconds. Neither command
/// needs memory, so a full server carries it out.
pub(crate) static TOUCH: Script = script!(
    "for i, key in ipairs(KEYS) do
  local result = compare(key, ARGV[2 * i - 1])
  if result == 1 then result = pcall('PEXPIRE', key, ARGV[2 * i]) end
  note(i, result)
end"
);

/// One argument for each key: the expected head.
pub(crate) static DESTROY: Script = script!(
    "for i, key in ipairs(KEYS) do
  local result = compare(key, ARGV[i])
  if result == 1 then result = pcall('DEL', key) end
  note(i, result)
end"
);

/// Four arguments for each set of an owner: a key, its life and the margin in milliseconds, and how an entry
/// that is there changes. Removes what has ended. 2: the entry ends later than asked for.
pub(crate) static ENTER: Script = script!(
    "local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  local member, ttl, margin, flag = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
  local last = now + ttl
  local there = pcall('ZSCORE', key, member)
  pcall('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - margin))
  local result = pcall('ZADD', key, flag, string.format('%.0f', last), member)
  if type(result) == 'number' then
    result = flag == 'GT' and there and tonumber(there) > last and 2 or 1
    if pcall('PTTL', key) < ttl + margin then
      pcall('PEXPIRE', key, string.format('%.0f', ttl + margin))
    end
  end
  note(i, result)
end"
);

/// The members of an owner's set whose lives have not ended for longer than the margin.
pub(crate) static OWNED: Script = Script::new(
    "local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], string.format('%.0f', now - ARGV[1]), '+inf', 'BYSCORE')",
);

/// Runs every command that sessions need on a key that is not there, so that nothing happens. Gives the
/// commands that the user may not run or the server does not know. What refuses the key tells nothing
/// about the command, and other errors are a matter of time.
pub(crate) static RIGHTS: Script = Script::new(
    "local missing, key = {}, 'session:rights'
for _, call in ipairs({
  {'GET', key}, {'MGET', key}, {'PTTL', key}, {'GETRANGE', key, '0', '0'}, {'EXISTS', key},
  {'PEXPIRE', key, '1'}, {'DEL', key}, {'SET', key, '', 'PX', '1', 'XX'}, {'TIME'},
  {'ZADD', key, 'XX', '1', ''}, {'ZSCORE', key, ''}, {'ZREM', key, ''},
  {'ZRANGE', key, '0', '0'}, {'ZREMRANGEBYSCORE', key, '0', '0'}
}) do
  local reply = redis.pcall(unpack(call))
  local refusal = type(reply) == 'table' and reply.err or ''
  if string.find(refusal, ' run th') or string.find(refusal, 'Unknown ') then
    missing[#missing + 1] = call[1]
  end
end
return table.concat(missing, ', ')",
);

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| Hashed::new(self.text).get_hash().to_owned())
    }

    /// The beginning of a call; the keys and arguments follow, of `bytes` together.
    pub(crate) fn call(&self, naming: Naming, keys: usize, arguments: usize, bytes: usize) -> Cmd {
        let (command, script) = match naming {
            Naming::Hash => ("EVALSHA", self.hash()),
            Naming::Text => ("EVAL", self.text),
        };
        let mut call = Cmd::with_capacity(3 + keys + arguments, bytes + script.len() + 32);
        call.arg(command).arg(script).arg(keys);
        call
    }
}
