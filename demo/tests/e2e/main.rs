//! The application in a real browser: chromium, driven through chromedriver.
//!
//! If chromium or chromedriver is missing, the trials are shown as ignored, with the reason in their names;
//! in strict mode (`CI` or `CONFORMANCE_STRICT=1`) they fail. `E2E_SCREENSHOTS=DIRECTORY` saves a screenshot
//! of every page.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod browser;
mod journeys;
mod lab;
mod late;
mod leaving;
mod proxy;
mod server;
mod strict;

use std::pin::Pin;

use libtest_mimic::{Arguments, Failed, Trial};

use browser::Browser;

type Journey = fn(Browser) -> Pin<Box<dyn Future<Output = ()> + Send>>;

const JOURNEYS: [(&str, Journey); 17] = [
    ("a_visitor_signs_in_survives_a_restart_and_signs_out", |browser| {
        Box::pin(journeys::sign_in_restart_sign_out(browser))
    }),
    ("of_50_parallel_increments_none_is_lost", |browser| Box::pin(journeys::increments(browser))),
    ("a_refused_form_comes_back_without_the_password", |browser| {
        Box::pin(journeys::refused_form(browser))
    }),
    ("everything_but_the_increments_works_without_javascript", |browser| {
        Box::pin(journeys::without_javascript(browser))
    }),
    ("an_account_sees_and_ends_its_sessions", |browser| Box::pin(journeys::two_devices(browser))),
    ("an_outage_of_the_store_shows_a_helpful_page", |browser| Box::pin(journeys::outage(browser))),
    ("a_late_request_of_another_tab_leaves_a_sign_in_alone", |browser| {
        Box::pin(late::two_tabs(browser))
    }),
    ("a_form_that_is_submitted_twice_signs_in", |browser| Box::pin(late::submitted_twice(browser))),
    ("after_a_lost_response_the_second_sign_in_works", |browser| {
        Box::pin(late::lost_answer(browser))
    }),
    ("a_sign_out_beats_a_slow_request", |browser| Box::pin(lab::race(browser))),
    ("a_stopped_store_comes_back_with_its_sessions", |browser| {
        Box::pin(lab::stop_the_store(browser))
    }),
    ("after_a_sign_out_the_back_button_shows_nothing", |browser| {
        Box::pin(leaving::back_button(browser))
    }),
    ("a_session_expires_while_its_page_is_open", |browser| Box::pin(leaving::expiry(browser))),
    ("a_visitor_stays_signed_in_if_asked_to", |browser| Box::pin(leaving::stay_signed_in(browser))),
    ("two_servers_share_a_store", |browser| Box::pin(lab::two_servers(browser))),
    ("a_thief_of_the_store_has_no_session", |browser| Box::pin(lab::thief(browser))),
    ("a_late_renewal_leaves_a_sign_in_alone", |browser| Box::pin(late::late_renewal(browser))),
];

fn main() {
    let arguments = Arguments::from_args();
    let missing = browser::missing();
    let trials = JOURNEYS.map(|(name, journey)| match &missing {
        None => Trial::test(name, move || run(name, journey)),
        Some(why) => strict::missing(name, why.clone()),
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// Runs a journey in its own browser. A failure saves a screenshot of the page. The browser is closed in any
/// case.
fn run(name: &'static str, journey: Journey) -> Result<(), Failed> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let javascript = !name.contains("without_javascript");
        let browser = Browser::start(name, javascript).await;
        let outcome = tokio::spawn(journey(browser.clone())).await;
        let picture = match &outcome {
            Err(_) => browser.picture_of_failure().await,
            Ok(()) => None,
        };
        browser.close().await;
        outcome.map_err(|failure| {
            let why = match failure.try_into_panic() {
                Ok(panic) => panic_text(&*panic),
                Err(failure) => failure.to_string(),
            };
            let seen = picture.map(|path| format!("\nthe page: {}", path.display()));
            format!("{why}{}", seen.unwrap_or_default()).into()
        })
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}
