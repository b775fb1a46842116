//! The process of the application.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running demo; it is killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    arguments: Vec<String>,
    second: Option<String>,
}

impl Server {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::start_at("127.0.0.1:0", arguments).await
    }

    async fn start_at(listen: &str, arguments: Vec<String>) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(["--listen", listen])
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = lines.next_line().await.unwrap().expect("the demo prints its URL");
            line.split(' ').next().unwrap().trim_end_matches('/').to_owned()
        };
        let url = next().await;
        let second = match arguments.iter().any(|argument| argument == "--servers") {
            true => Some(next().await),
            false => None,
        };
        Self { process, url, arguments, second }
    }

    /// The URL of the second server.
    #[allow(dead_code, reason = "not every test program has two")]
    pub(crate) fn second(&self) -> &str {
        self.second.as_ref().expect("--servers 2")
    }

    /// Kills the process, as `kill -9` does, and starts another one at the same address.
    pub(crate) async fn restart(mut self) -> Self {
        self.process.kill().await.unwrap();
        let address = self.url.trim_start_matches("http://").to_owned();
        let next = Self::start_at(&address, self.arguments.clone()).await;
        assert_eq!(next.url, self.url);
        next
    }
}
