//! Private Redis, PostgreSQL and MariaDB instances for tests, benchmarks and the demo.
//!
//! [`redis::shared`], [`postgres::shared`] and [`mariadb::shared`] return one instance for all
//! tests of a process. It is the first of these that is available:
//!
//! 1. a URL in the environment: `SESSION_TEST_REDIS_URL`, `SESSION_TEST_POSTGRES_URL`,
//!    `SESSION_TEST_MYSQL_URL`;
//! 2. a private instance of the local binaries, in a temporary directory on a free port;
//! 3. a container, with the feature `containers` and when a Docker engine answers;
//! 4. otherwise there is none, and [`Missing`] says what is missing and how to get it.
//!
//! Tests share an instance: each uses its own table or prefix. A test that kills, pauses or
//! configures its server starts its own instance with `start_new`.
//!
//! All functions block: they start processes and wait for them. A server ends and its directory is
//! removed when the [`Server`] is dropped, and when the process ends in any way, `kill -9`
//! included.
//!
//! ```
//! match test_servers::redis::shared() {
//!     Ok(server) => println!("tests use {}", server.url()),
//!     Err(missing) => println!("skipped: {missing}"),
//! }
//! ```

mod binaries;
#[cfg(feature = "containers")]
mod container;
pub mod mariadb;
mod missing;
mod options;
pub mod pgbouncer;
pub mod pgpool;
mod port;
pub mod postgres;
mod process;
pub mod redis;
mod server;
mod watchdog;

pub use missing::Missing;
pub use options::Options;
pub use server::{Origin, Server};
