//! What a server says about itself when we connect.

use redis::Value;

/// What matters to sessions in the reply to `INFO`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    pub(crate) is_cluster: bool,
    /// A `maxmemory-policy` that throws sessions away to make room, where there is a limit at all.
    pub(crate) evicts_by: Option<String>,
    /// Its version, where that is older than 6.2.
    pub(crate) too_old: Option<String>,
    /// It does not tell: the user may not ask.
    pub(crate) is_silent: bool,
}

impl ServerInfo {
    /// Reads the replies of one node or several.
    pub(crate) fn parse(reply: &Value) -> Self {
        let mut info = Self::default();
        info.read(reply);
        info
    }

    fn read(&mut self, reply: &Value) {
        match reply {
            Value::BulkString(bytes) => self.read_text(&String::from_utf8_lossy(bytes)),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => self.read_text(text),
            Value::Array(replies) => replies.iter().for_each(|reply| self.read(reply)),
            Value::Map(replies) => replies.iter().for_each(|(_, reply)| self.read(reply)),
            Value::ServerError(_) => self.is_silent = true,
            _ => {}
        }
    }

    fn read_text(&mut self, text: &str) {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        // Valkey 8 and later name it without Redis, unless they are told to be compatible.
        let mode = field("redis_mode").or_else(|| field("server_mode"));
        self.is_cluster |= mode == Some("cluster");
        if let Some(version) = field("redis_version") {
            let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
            if numbers.next().zip(numbers.next()).is_some_and(|version| version < (6, 2)) {
                self.too_old = Some(version.to_owned());
            }
        }
        let limited = field("maxmemory").is_some_and(|bytes| bytes != "0");
        if let Some(policy) = field("maxmemory_policy")
            && limited
            && policy != "noeviction"
        {
            self.evicts_by = Some(policy.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> ServerInfo {
        ServerInfo::parse(&Value::BulkString(text.replace('\n', "\r\n").into_bytes()))
    }

    #[test]
    fn a_node_of_a_cluster_says_so_in_redis_and_in_valkey() {
        for field in ["redis_mode", "server_mode"] {
            assert!(info(&format!("{field}:cluster\n")).is_cluster, "{field}");
            assert!(!info(&format!("{field}:standalone\n")).is_cluster, "{field}");
        }
    }

    #[test]
    fn a_version_is_compared_as_numbers() {
        for (version, old) in
            [("5.0.14", true), ("6.0.16", true), ("6.2.0", false), ("10.0", false)]
        {
            let found = info(&format!("redis_version:{version}\n")).too_old;
            assert_eq!(found.as_deref(), old.then_some(version));
        }
    }

    #[test]
    fn one_evicting_node_of_several_is_enough() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |policy: &str| {
            let told =
                format!("redis_mode:cluster\r\nmaxmemory:9\r\nmaxmemory_policy:{policy}\r\n");
            (text("an address"), text(&told))
        };
        let reply = Value::Map(vec![node("noeviction"), node("allkeys-lfu")]);
        let info = ServerInfo::parse(&reply);
        assert!(info.is_cluster);
        assert_eq!(info.evicts_by.as_deref(), Some("allkeys-lfu"));
    }
}
