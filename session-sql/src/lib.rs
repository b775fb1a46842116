//! Sessions in SQLite, PostgreSQL, MySQL or MariaDB.
