//! A headless chromium.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

const PATIENCE: Duration = Duration::from_secs(20);

/// The programs that are missing to control a browser, and how to install them.
pub(crate) fn missing() -> Option<String> {
    let missing: Vec<_> =
        ["chromium", "chromedriver"].into_iter().filter(|name| !is_installed(name)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "no {} here; on Debian: apt-get install chromium chromium-driver",
            missing.join(", ")
        )
    })
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Clones control the same browser.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    driver: Arc<Mutex<Child>>,
    name: &'static str,
}

impl Browser {
    pub(crate) async fn start(name: &'static str, javascript: bool) -> Self {
        Self::start_with(name, javascript, None).await
    }

    /// With a profile that outlives the browser.
    pub(crate) async fn start_with(
        name: &'static str,
        javascript: bool,
        profile: Option<&Path>,
    ) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Later output must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut arguments: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1100,1000",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend(profile.map(|path| format!("--user-data-dir={}", path.display())));
        let options = json!({
            "args": arguments,
            "prefs": {
                "profile.managed_default_content_settings.javascript": if javascript { 1 } else { 2 },
            },
        });
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromedriver starts chromium");
        Self { client, driver: Arc::new(Mutex::new(driver)), name }
    }

    pub(crate) async fn close(self) {
        // Chromedriver ends chromium here; if chromedriver were killed, chromium would keep running.
        let _ = self.client.close().await;
        let _ = self.driver.lock().await.kill().await;
    }

    pub(crate) async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The browser's own button.
    pub(crate) async fn back(&self) {
        self.client.back().await.unwrap();
    }

    /// The visible text of an element, once it is there.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.wait_for(css).await.text().await.unwrap()
    }

    /// Whether an element is on the page now.
    pub(crate) async fn has(&self, css: &str) -> bool {
        !self.client.find_all(Locator::Css(css)).await.unwrap().is_empty()
    }

    pub(crate) async fn is_visible(&self, css: &str) -> bool {
        self.wait_for(css).await.is_displayed().await.unwrap()
    }

    pub(crate) async fn attribute(&self, css: &str, name: &str) -> Option<String> {
        self.wait_for(css).await.attr(name).await.unwrap()
    }

    /// The value of a form field.
    pub(crate) async fn field(&self, css: &str) -> String {
        self.wait_for(css).await.prop("value").await.unwrap().unwrap()
    }

    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        self.wait_for(css).await.send_keys(text).await.unwrap();
    }

    pub(crate) async fn click(&self, css: &str) {
        self.wait_for(css).await.click().await.unwrap();
    }

    /// Clicks a button that sends a form, and waits for the next page.
    pub(crate) async fn submit(&self, css: &str) {
        let page = self.client.find(Locator::Css("html")).await.unwrap();
        self.click(css).await;
        let gone = async {
            while page.tag_name().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the form leads to another page");
        self.wait_for("body").await;
    }

    /// Waits until the text of an element contains this part.
    pub(crate) async fn text_with(&self, css: &str, part: &str) -> String {
        let text = async {
            loop {
                let text = self.text(css).await;
                if text.contains(part) {
                    break text;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, text).await {
            Ok(text) => text,
            Err(_) => panic!("no {part:?} in {css}: {:?}", self.text(css).await),
        }
    }

    /// Runs a script in the page, without waiting for what it starts.
    pub(crate) async fn script(&self, script: &str) {
        self.client.execute(script, Vec::new()).await.unwrap();
    }

    /// Waits until the title of the page contains this part.
    pub(crate) async fn title_with(&self, part: &str) {
        let title = async {
            while !self.client.title().await.unwrap().contains(part) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, title).await.expect("the title changes");
    }

    /// The current tab.
    pub(crate) async fn tab(&self) -> WindowHandle {
        self.client.window().await.unwrap()
    }

    /// Opens another tab and switches to it.
    pub(crate) async fn open_tab(&self) -> WindowHandle {
        let tab = self.client.new_window(true).await.unwrap().handle;
        self.switch_to(&tab).await;
        tab
    }

    pub(crate) async fn switch_to(&self, tab: &WindowHandle) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
    }

    pub(crate) async fn close_tab(&self) {
        self.client.close_window().await.unwrap();
    }

    /// Deletes the cookies of the page's site, which are those of all ports.
    pub(crate) async fn forget(&self) {
        self.client.delete_all_cookies().await.unwrap();
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    pub(crate) async fn source(&self) -> String {
        self.client.source().await.unwrap()
    }

    /// The value of the session's cookie.
    pub(crate) async fn session_cookie(&self) -> Option<String> {
        let cookies = self.client.get_all_cookies().await.unwrap();
        let cookie = cookies.into_iter().find(|cookie| cookie.name() == "__Host-id")?;
        assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)));
        Some(cookie.value().to_owned())
    }

    /// Saves a screenshot of the page if `E2E_SCREENSHOTS` is set.
    pub(crate) async fn picture(&self, what: &str) {
        if let Some(directory) = std::env::var_os("E2E_SCREENSHOTS") {
            self.screenshot(&PathBuf::from(directory).join(format!("{what}.png"))).await;
        }
    }

    pub(crate) async fn picture_of_failure(&self) -> Option<PathBuf> {
        let path = std::env::temp_dir().join(format!("{}-{}.png", self.name, std::process::id()));
        self.screenshot(&path).await.then_some(path)
    }

    async fn screenshot(&self, path: &Path) -> bool {
        match self.client.screenshot().await {
            Ok(png) => std::fs::write(path, png).is_ok(),
            Err(_) => false,
        }
    }

    async fn wait_for(&self, css: &str) -> fantoccini::elements::Element {
        let element = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        match element {
            Ok(element) => element,
            Err(error) => panic!("no {css} on the page: {error}"),
        }
    }
}
