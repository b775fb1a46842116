//! What the examples share: how they are served. The code in the front page and in `docs` is compiled here, too.

use axum::Router;

/// Serves the application on the port of the environment variable `PORT` (default: 3000), on this machine only.
///
/// # Errors
/// If the port is taken, or not a number.
pub async fn serve(app: Router) -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let port = port.parse().map_err(std::io::Error::other)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;

#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from.md")]
struct ComingFrom;

#[cfg(doctest)]
#[doc = include_str!("../../docs/write-a-store.md")]
struct WriteAStore;
