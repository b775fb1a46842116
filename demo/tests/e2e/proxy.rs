//! A proxy between the browser and the server that delays requests or loses responses.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A running proxy; it ends with the test's runtime.
pub(crate) struct Proxy {
    pub(crate) url: String,
    rules: Rules,
}

type Rules = Arc<Mutex<Vec<Rule>>>;

/// What happens to a request.
#[derive(Clone)]
struct Rule {
    /// How its first line begins, for example `POST /sign-in `.
    begins: String,
    what: What,
    held: Arc<Held>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// The server does not receive the request until it is released.
    HoldRequest,
    /// The browser does not receive the response until it is released.
    HoldAnswer,
    /// The browser never receives the response.
    LoseAnswer,
}

/// A request that is held, or whose response is held or lost.
#[derive(Default)]
pub(crate) struct Held {
    reached: Notify,
    released: Notify,
    done: Notify,
}

impl Held {
    /// Waits until the request, or its response, has reached the proxy.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Releases it, and waits until the server has responded and the response was forwarded.
    pub(crate) async fn release(&self) {
        self.released.notify_one();
        self.done.notified().await;
    }
}

impl Proxy {
    /// In front of a server at this URL.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server.trim_start_matches("http://").to_owned();
        let rules = Rules::default();
        let shared = Arc::clone(&rules);
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                // An error of a client that disconnects is ignored.
                tokio::spawn(serve(browser, server.clone(), Arc::clone(&shared)));
            }
        });
        Self { url, rules }
    }

    /// Holds the next request that begins like this, before the server receives it.
    pub(crate) fn hold_request(&self, begins: &str) -> Arc<Held> {
        self.rule(begins, What::HoldRequest)
    }

    /// Holds the response to the next request that begins like this.
    pub(crate) fn hold_answer(&self, begins: &str) -> Arc<Held> {
        self.rule(begins, What::HoldAnswer)
    }

    /// Loses the responses to all requests that begin like this, until [`recover`](Self::recover).
    /// Several are needed: if the connection was opened in advance and ends without a response, chromium
    /// sends the request again.
    pub(crate) fn lose_answers(&self, begins: &str) -> Arc<Held> {
        self.rule(begins, What::LoseAnswer)
    }

    pub(crate) fn recover(&self) {
        self.rules.lock().unwrap().clear();
    }

    fn rule(&self, begins: &str, what: What) -> Arc<Held> {
        let held = Arc::<Held>::default();
        let rule = Rule { begins: begins.to_owned(), what, held: Arc::clone(&held) };
        self.rules.lock().unwrap().push(rule);
        held
    }
}

/// Forwards one request and its response; both connections end with it.
async fn serve(mut browser: TcpStream, server: String, rules: Rules) -> std::io::Result<()> {
    let request = read_request(&mut browser).await?;
    let rule = {
        let mut rules = rules.lock().unwrap();
        let place = rules.iter().position(|rule| request.starts_with(rule.begins.as_bytes()));
        place.map(|place| {
            let rule = rules[place].clone();
            if rule.what != What::LoseAnswer {
                rules.remove(place);
            }
            rule
        })
    };
    let (what, held) = match rule {
        Some(rule) => (Some(rule.what), rule.held),
        None => (None, Arc::default()),
    };
    if what == Some(What::HoldRequest) {
        held.reached.notify_one();
        held.released.notified().await;
    }
    let mut connection = TcpStream::connect(server).await?;
    connection.write_all(&request).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    match what {
        Some(What::HoldAnswer) => {
            held.reached.notify_one();
            held.released.notified().await;
        }
        Some(What::LoseAnswer) => {
            held.reached.notify_one();
            return Ok(());
        }
        Some(What::HoldRequest) | None => {}
    }
    let passed_on = browser.write_all(&answer).await;
    held.done.notify_one();
    passed_on
}

/// The whole request, which asks the server to close the connection after its response.
async fn read_request(browser: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let head = loop {
        if browser.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break head;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let end = head + 4 + length.unwrap_or(0);
    while request.len() < end {
        if browser.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).collect();
    let mut whole = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).into_bytes();
    whole.extend_from_slice(&request[head + 4..end]);
    Ok(whole)
}
