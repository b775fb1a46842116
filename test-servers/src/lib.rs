//! Private Redis, PostgreSQL and MariaDB instances for tests, benchmarks and the demo.
//!
//! [`redis::shared`], [`postgres::shared`] and [`mariadb::shared`] give the one instance that all
//! tests of a process share; it comes from the first of these that works:
//!
//! 1. a URL in the environment: `SESSION_TEST_REDIS_URL`, `SESSION_TEST_POSTGRES_URL`,
//!    `SESSION_TEST_MYSQL_URL`;
//! 2. a private instance of the local binaries, in a temporary directory on a free port;
//! 3. a container, with the feature `containers` and when a Docker engine answers;
//! 4. otherwise [`Missing`] says what is missing and how to get it.
//!
//! Tests share an instance by keeping to a table or a prefix of their own. A test that kills, pauses
//! or configures its server starts one for itself with `start_new`.
//!
//! Everything here blocks: it starts processes and waits for them. Servers end and their directories
//! go when the [`Server`] is dropped, and also when the process ends in any way, `kill -9` included.
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
mod port;
pub mod postgres;
mod process;
pub mod redis;
mod server;
mod watchdog;

pub use missing::Missing;
pub use options::Options;
pub use server::{Origin, Server};
