//! What needs more than one command in one atomic step.

use std::sync::LazyLock;

use redis::{Cmd, Script};

/// Every write but a plain `DEL`, for any number of keys.
const WRITE: &str = include_str!("write.lua");
static HASH: LazyLock<String> = LazyLock::new(|| Script::new(WRITE).get_hash().to_owned());

/// How the script is named in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By its hash, which a server knows once it has seen the whole.
    Hash,
    /// In full.
    Text,
}

/// The beginning of a call; the keys and arguments follow, of `bytes` together.
pub(crate) fn call(naming: Naming, keys: usize, arguments: usize, bytes: usize) -> Cmd {
    let (command, script) = match naming {
        Naming::Hash => ("EVALSHA", HASH.as_str()),
        Naming::Text => ("EVAL", WRITE),
    };
    let mut call = Cmd::with_capacity(3 + keys + arguments, bytes + script.len() + 32);
    call.arg(command).arg(script).arg(keys);
    call
}
