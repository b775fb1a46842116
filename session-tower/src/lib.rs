//! Sessions for tower services and axum.
