//! The load generator: each connection sends its next request after the previous response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Args)]
pub(crate) struct Load {
    /// The ports of the application servers.
    #[arg(long, value_delimiter = ',')]
    ports: Vec<u16>,
    /// Connections to each server.
    #[arg(long)]
    connections: usize,
    /// The number of sessions that the requests use.
    #[arg(long)]
    sessions: usize,
    #[arg(long)]
    seconds: f64,
}

/// Prints requests per second, p50 and p99 in microseconds, the number of writes with the response 200, the
/// number of other responses, and the number of writes that the sessions hold in the end.
pub(crate) async fn run(load: Load) {
    let mut first = Connection::open(load.ports[0]).await;
    let mut cookies = Vec::with_capacity(load.sessions);
    for _ in 0..load.sessions {
        cookies.push(first.get("/new", "").await.cookie.expect("a new session has a cookie"));
    }
    let cookies = Arc::new(cookies);
    let warm_up = Duration::from_millis(500);
    let begin = Instant::now() + warm_up;
    let end = begin + Duration::from_secs_f64(load.seconds);
    let tasks: Vec<_> = load
        .ports
        .iter()
        .flat_map(|port| std::iter::repeat_n(*port, load.connections))
        .map(|port| tokio::spawn(one_connection(port, Arc::clone(&cookies), begin, end)))
        .collect();
    let mut total = Tally::new();
    for task in tasks {
        total.add(&task.await.expect("no connection panics"));
    }
    let mut counted = 0;
    for cookie in &*cookies {
        counted += first.get("/count", cookie).await.body.parse::<u64>().expect("a number");
    }
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let rate = total.latencies.len() as f64 / load.seconds;
    let micros = |quantile| total.latencies.value_at_quantile(quantile);
    println!(
        "{rate:.0} {} {} {} {} {counted}",
        micros(0.5),
        micros(0.99),
        total.acknowledged,
        total.other
    );
}

struct Tally {
    /// Latencies of the requests after the warm-up, in microseconds.
    latencies: Histogram<u64>,
    acknowledged: u64,
    other: u64,
}

impl Tally {
    fn new() -> Self {
        let latencies = Histogram::new_with_max(60_000_000, 3).expect("bounds are in order");
        Self { latencies, acknowledged: 0, other: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the bounds are the same");
        self.acknowledged += other.acknowledged;
        self.other += other.other;
    }
}

async fn one_connection(
    port: u16,
    cookies: Arc<Vec<String>>,
    begin: Instant,
    end: Instant,
) -> Tally {
    let mut connection = Connection::open(port).await;
    let mut tally = Tally::new();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return tally;
        }
        let cookie = &cookies[fastrand::usize(..cookies.len())];
        let answer = connection.get("/write", cookie).await;
        if answer.status == 200 {
            tally.acknowledged += 1;
        } else {
            tally.other += 1;
        }
        if sent >= begin {
            let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
            tally.latencies.saturating_record(micros);
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

struct Answer {
    status: u16,
    cookie: Option<String>,
    body: String,
}

impl Connection {
    async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
        stream.set_nodelay(true).expect("it is a TCP socket");
        Self { stream, buffer: Vec::with_capacity(4096) }
    }

    /// Sends a request and reads the response, which has a `Content-Length`.
    async fn get(&mut self, path: &str, cookie: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
        self.buffer.clear();
        let head = loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            if let Some(end) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).into_owned();
        let header = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let length: usize =
            header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.buffer.len() < head + length {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the server answers");
            assert!(read > 0, "the server closed the connection");
        }
        Answer {
            status: text[9..12].parse().expect("a status line"),
            cookie: header("set-cookie")
                .and_then(|cookie| Some(cookie.split(';').next()?.to_owned())),
            body: String::from_utf8_lossy(&self.buffer[head..head + length]).into_owned(),
        }
    }
}
