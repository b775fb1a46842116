//! The nemesis: what happens to a store while it is used.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use session_sql::sqlx::{self, Connection as _, Row as _};
use tokio::time::{Instant, sleep};

use crate::proxy::Mode;
use crate::stores::Field;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The server is killed as by `kill -9`, and started again.
    Kill,
    /// The server stops (`SIGSTOP`) and continues.
    Pause,
    /// All connections are closed and new ones are refused.
    Cut,
    /// Nothing is forwarded for a while.
    Stall,
    /// Nothing is forwarded for a while, and never again on the connections of before.
    Lose,
    /// The server ends the sessions of all clients, again and again.
    Terminate,
    /// Redis forgets the scripts, again and again.
    FlushScripts,
    /// Redis has no memory left.
    FillMemory,
    /// Another process holds SQLite's write lock.
    Lock,
    /// The directory of the files is moved away and back.
    MoveAway,
    /// The file system is full.
    FillDisk,
}

impl Fault {
    /// Carries it out for this long, and ends it.
    pub(crate) async fn strike(self, field: &Field, length: Duration) -> Result<(), String> {
        self.carry_out(field, length).await.map_err(|error| format!("{self:?}: {error}"))
    }

    async fn carry_out(
        self,
        field: &Field,
        length: Duration,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let server = || field.server.as_ref().ok_or_else(|| io::Error::other("no server"));
        let proxy = || field.proxy.as_ref().ok_or_else(|| io::Error::other("no proxy"));
        match self {
            Self::Kill => {
                let server = server()?;
                tokio::task::block_in_place(|| server.kill())?;
                sleep(length).await;
                tokio::task::block_in_place(|| server.restart())?;
            }
            Self::Pause => {
                let server = server()?;
                tokio::task::block_in_place(|| server.pause())?;
                sleep(length).await;
                tokio::task::block_in_place(|| server.resume())?;
            }
            Self::Cut | Self::Stall | Self::Lose => {
                let proxy = proxy()?;
                proxy.set(if self == Self::Cut { Mode::Cut } else { Mode::Stalled });
                sleep(length).await;
                if self == Self::Lose {
                    proxy.lose_connections();
                }
                proxy.set(Mode::Open);
            }
            Self::Terminate => {
                let url = server()?.url();
                let until = Instant::now() + length;
                while Instant::now() < until {
                    if url.starts_with("postgres") {
                        end_postgres(url).await?;
                    } else {
                        end_mariadb(url).await?;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Self::FlushScripts => {
                let until = Instant::now() + length;
                while Instant::now() < until {
                    redis(server()?.address(), "SCRIPT FLUSH")?;
                    sleep(Duration::from_millis(50)).await;
                }
            }
            Self::FillMemory => {
                let address = server()?.address();
                redis(address, "CONFIG SET maxmemory 1")?;
                sleep(length).await;
                redis(address, "CONFIG SET maxmemory 0")?;
            }
            Self::Lock => {
                let url = format!("sqlite:{}", field.path.display());
                let mut other = sqlx::SqliteConnection::connect(&url).await?;
                sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut other).await?;
                sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
                sleep(length).await;
                sqlx::query("COMMIT").execute(&mut other).await?;
                other.close().await?;
            }
            Self::MoveAway => {
                let away = field.path.with_extension("away");
                std::fs::rename(&field.path, &away)?;
                sleep(length).await;
                std::fs::rename(&away, &field.path)?;
            }
            Self::FillDisk => {
                let disk = field.disk.as_ref().ok_or_else(|| io::Error::other("no disk"))?;
                tokio::task::block_in_place(|| disk.fill());
                sleep(length).await;
                disk.free();
            }
        }
        Ok(())
    }
}

async fn end_postgres(url: &str) -> sqlx::Result<()> {
    let mut admin = sqlx::PgConnection::connect(url).await?;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    .execute(&mut admin)
    .await?;
    admin.close().await
}

async fn end_mariadb(url: &str) -> sqlx::Result<()> {
    let mut admin = sqlx::MySqlConnection::connect(url).await?;
    let list = "SELECT id FROM information_schema.processlist \
                WHERE id <> CONNECTION_ID() AND user <> 'system user'";
    for row in sqlx::query(list).fetch_all(&mut admin).await? {
        let id: i64 = row.try_get_unchecked(0)?;
        // It may have ended by itself.
        let kill = sqlx::AssertSqlSafe(format!("KILL {id}"));
        let _ = sqlx::raw_sql(kill).execute(&mut admin).await;
    }
    admin.close().await
}

/// Sends one command to Redis, and waits for the answer.
fn redis(address: &str, command: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer)?;
    if answer.first() != Some(&b'+') {
        return Err(io::Error::other(String::from_utf8_lossy(&answer[..length]).into_owned()));
    }
    Ok(())
}
