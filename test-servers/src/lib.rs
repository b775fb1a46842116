//! Private Redis, PostgreSQL and MariaDB instances for tests and benchmarks.
