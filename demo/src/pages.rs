//! The pages. The template library escapes all input of visitors.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use session_core::{Level, Message, Result};
use session_tower::Session;

use crate::devices::Devices;
use crate::panel::Panel;
use crate::sign_in::Form;
use crate::theme::Theme;

/// The contents that every page with a session shows.
pub(crate) struct Page {
    theme: Theme,
    name: Option<String>,
    messages: Vec<Message>,
}

impl Page {
    /// Takes the flash messages, so that no other page shows them.
    pub(crate) fn of(session: &Session) -> Result<Self> {
        Ok(Self {
            theme: session.get("theme")?.unwrap_or_default(),
            name: session.get("name")?,
            messages: session.flash().take_messages(),
        })
    }

    pub(crate) fn render(&self, title: &str, main: &Markup, panel: &Panel) -> Markup {
        layout(
            title,
            self.theme,
            &html! {
                div.columns {
                    main {
                        @for message in &self.messages {
                            p.flash data-level=(level(&message.level)) role="status" { (message.text) }
                        }
                        (main)
                    }
                    (panel.render())
                }
            },
        )
    }
}

pub(crate) fn home(
    page: &Page,
    form: &Form,
    sign_in_needed: bool,
    loses_updates: bool,
    panel: &Panel,
) -> Markup {
    let main = html! {
        h1 { "A session, whatever the store" }
        @if sign_in_needed && page.name.is_none() {
            p.flash data-level="warning" role="status" { "Please sign in to see your account." }
        }
        (sign_in(page, form))
        (theme(page.theme))
        (increments(loses_updates))
    };
    page.render("Home", &main, panel)
}

fn sign_in(page: &Page, form: &Form) -> Markup {
    html! {
        section {
            @if let Some(name) = &page.name {
                h2 #hello { "Hello " (name) ", you are logged in" }
                form method="post" action="/sign-out" {
                    button #sign-out { "Sign out" }
                }
            } @else {
                h2 { "Sign in" }
                form method="post" action="/sign-in" {
                    (field("name", "Name", "text", &form.input.name, form.errors.name.as_deref()))
                    (field("password", "Password", "password", "", form.errors.password.as_deref()))
                    label.check {
                        input type="checkbox" name="remember" checked[form.input.remember.is_some()];
                        "Remember me for 30 days"
                    }
                    button #sign-in { "Sign in" }
                }
                p.note {
                    "Use any name and any password of at least four characters. If the form is refused, "
                    "it is shown again with your input, except the password."
                }
            }
        }
    }
}

fn field(name: &str, label: &str, kind: &str, value: &str, error: Option<&str>) -> Markup {
    let error_id = format!("{name}-error");
    let completes = if kind == "password" { "current-password" } else { "username" };
    html! {
        label for=(name) { (label) }
        input #(name) name=(name) type=(kind) value=(value) autocomplete=(completes) autofocus[error.is_some()]
            aria-invalid=[error.map(|_| "true")]
            aria-describedby=[error.map(|_| error_id.as_str())];
        @if let Some(error) = error { p.error #(error_id) { (error) } }
    }
}

fn theme(theme: Theme) -> Markup {
    let choice = |value: &str, label: &str, own: Theme| {
        html! {
            button name="theme" value=(value) #{ "theme-" (value) }
                aria-pressed=(theme == own) { (label) }
        }
    };
    html! {
        section {
            h2 { "Theme" }
            form.choice method="post" action="/theme" {
                (choice("system", "System", Theme::System))
                (choice("light", "Light", Theme::Light))
                (choice("dark", "Dark", Theme::Dark))
            }
        }
    }
}

fn increments(loses_updates: bool) -> Markup {
    html! {
        section {
            h2 { "50 parallel requests" }
            p {
                "Each request adds one to the same counter in your session, at the same time."
            }
            @if loses_updates {
                p.note {
                    "This store keeps the session in the cookie. The last response of parallel requests "
                    "wins, so some increments are lost. The other stores lose none."
                }
            }
            button #increment type="button" { "Send 50 increments" }
            div #bars hidden {
                (bar("kept", "this store"))
                (bar("naive-kept", "a store without compare-and-swap"))
            }
            output #increments aria-live="polite" {}
            noscript { p.note { "Only this button needs JavaScript." } }
            script src="/increments.js" defer {}
        }
    }
}

fn bar(id: &str, label: &str) -> Markup {
    html! {
        p {
            label for=(id) { (label) }
            meter #(id) min="0" max="50" value="0" {}
            " "
            span {}
        }
    }
}

pub(crate) fn visits(page: &Page, visits: u64, panel: &Panel) -> Markup {
    let main = html! {
        h1 { "Visits" }
        section {
            p.count #visits { (visits) }
            p {
                @if visits == 1 { "This is your first visit to this page." }
                @else { "You have visited this page " (visits) " times." }
            }
            p { a href="/visits" { "Visit it again" } }
        }
    };
    page.render("Visits", &main, panel)
}

pub(crate) fn account(page: &Page, devices: &Devices, panel: &Panel) -> Markup {
    let main = html! {
        h1 { "Account" }
        p #ended.flash data-level="warning" role="alert" hidden {
            "This session has ended: on another device, or because it expired. "
            a href="/" { "Sign in again" }
        }
        script src="/watch.js" defer {}
        section {
            p #account {
                "This page is for members, and you are " b { (page.name.as_deref().unwrap_or_default()) }
                ". A visitor who is not signed in is sent to the sign-in form."
            }
            form method="post" action="/sign-out" { button { "Sign out" } }
        }
        (devices.render())
    };
    page.render("Account", &main, panel)
}

pub(crate) fn about(theme: Theme, available: bool) -> Markup {
    layout(
        "About",
        theme,
        &html! {
            main {
                h1 { "About" }
                @if !available {
                    p.flash data-level="warning" role="status" {
                        "The session store is unavailable. This page works without your session, but it "
                        "does not know your theme."
                    }
                }
                section {
                    p {
                        "The same application runs on every session store. An option selects the store: "
                        code { "--store memory:" } ", " code { "file:PATH" } ", "
                        code { "cookie:" } ", " code { "sqlite:FILE" } ", " code { "postgres://…" } ", "
                        code { "mysql://…" } ", " code { "redis://…" } "."
                    }
                    p {
                        "No other site can send the forms in your name: the cookie is "
                        code { "SameSite=Lax" } ", and a POST whose " code { "Sec-Fetch-Site" } " or "
                        code { "Origin" } " names another site is refused. This also prevents another "
                        "site from signing you in to somebody else's account."
                    }
                    p {
                        "Stop the server and start it again on the same address. With a store that survives "
                        "a restart, you are still signed in."
                    }
                }
            }
        },
    )
}

pub(crate) fn signed_out() -> Markup {
    layout(
        "Signed out",
        Theme::System,
        &html! {
            main {
                h1 { "Signed out" }
                section {
                    p #signed-out {
                        "Your session has ended, and no copy of its cookie is valid any more. This page "
                        "does not use a session, so it causes no call to the store."
                    }
                    p { a href="/" { "Back to the start" } }
                }
            }
        },
    )
}

pub(crate) fn not_found() -> Markup {
    layout(
        "Not found",
        Theme::System,
        &html! {
            main {
                h1 { "There is no such page" }
                section { p { "Go " a href="/" { "home" } "." } }
            }
        },
    )
}

pub(crate) fn failure(status: StatusCode) -> Markup {
    let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
    let title = if unavailable { "Back in a moment" } else { "Something went wrong" };
    layout(
        title,
        Theme::System,
        &html! {
            main {
                h1 { (title) }
                section {
                    @if unavailable {
                        p #unavailable {
                            "The session store is unavailable, so your session could not be loaded. "
                            "Nothing is lost: your cookie is unchanged, and you are signed in again as soon "
                            "as the store is available."
                        }
                        p {
                            "Try again, or look for the cause in the server's log. "
                            "The page " a href="/about" { "About" } " works without the store."
                        }
                    } @else if status == StatusCode::CONFLICT {
                        p { "Your session ended or changed meanwhile. Please load the page again." }
                    } @else {
                        p { "Your session could not be used. The server's log says why." }
                    }
                }
            }
        },
    )
}

fn layout(title: &str, theme: Theme, content: &Markup) -> Markup {
    let theme = match theme {
        Theme::System => "system",
        Theme::Light => "light",
        Theme::Dark => "dark",
    };
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · sessions" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
            }
            body {
                header {
                    a.brand href="/" { "sessions" }
                    nav {
                        @for (href, label) in
                            [
                                ("/", "Home"), ("/visits", "Visits"), ("/lab", "Try it"),
                                ("/account", "Account"), ("/about", "About"),
                            ]
                        {
                            a href=(href) aria-current=[(label == title).then_some("page")] { (label) }
                        }
                    }
                }
                (content)
            }
        }
    }
}

fn level(level: &Level) -> &str {
    level.as_str()
}
