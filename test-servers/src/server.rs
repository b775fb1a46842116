//! A running server of any origin.

use std::io;
use std::path::Path;

#[cfg(feature = "containers")]
use crate::Missing;
#[cfg(feature = "containers")]
use crate::container::Container;
use crate::process::Process;

/// A server for tests. It ends when this is dropped, unless its URL is from the environment.
#[derive(Debug)]
pub struct Server {
    url: String,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Elsewhere,
    Process(Process),
    #[cfg(feature = "containers")]
    Container(Box<Container>),
}

/// The origin of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A URL in the environment. The server is not managed by this crate, and can't be killed or
    /// paused.
    Environment,
    /// Started from local binaries.
    Local,
    /// Started as a container.
    Container,
}

impl Server {
    /// A server that this crate does not manage.
    pub(crate) fn elsewhere(url: String) -> Self {
        Self { url, running: Running::Elsewhere }
    }

    pub(crate) fn local(url: String, process: Process) -> Self {
        Self { url, running: Running::Process(process) }
    }

    /// Starts a server in a container, where it listens on the port `inside`.
    #[cfg(feature = "containers")]
    pub(crate) fn in_container(
        image: testcontainers::ContainerRequest<testcontainers::GenericImage>,
        inside: u16,
        probe: crate::process::Probe,
        url: fn(u16) -> String,
    ) -> Result<Self, Missing> {
        match Container::start(image, inside, probe) {
            Ok(container) => {
                let url = url(container.port());
                Ok(Self { url, running: Running::Container(Box::new(container)) })
            }
            Err(error) => Err(Missing::new(
                format!("no container: {error}"),
                "start a Docker engine that can pull images, or run scripts/build-test-images.sh",
            )),
        }
    }

    /// Its URL, with user, password and database. It does not change at a
    /// [`restart`](Self::restart).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`, for tests that connect through a proxy.
    #[must_use]
    pub fn address(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let after_user = after_scheme.rsplit_once('@').map_or(after_scheme, |x| x.1);
        after_user.split(['/', '?']).next().unwrap_or_default()
    }

    /// Its origin.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match &self.running {
            Running::Elsewhere => Origin::Environment,
            Running::Process(_) => Origin::Local,
            #[cfg(feature = "containers")]
            Running::Container(_) => Origin::Container,
        }
    }

    /// The temporary directory of a local server, with its data, its `log` and its sockets. It is
    /// removed with the server.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match &self.running {
            Running::Process(process) => Some(process.directory()),
            _ => None,
        }
    }

    /// Kills the server at once, as `kill -9` does, and waits until it has ended.
    ///
    /// # Errors
    /// `Unsupported` for a server from the environment.
    pub fn kill(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_supported()),
            Running::Process(process) => process.kill(),
            #[cfg(feature = "containers")]
            Running::Container(container) => container.kill(),
        }
    }

    /// Starts the server again, with the same port and data, and waits until it answers. A running
    /// server is killed first.
    ///
    /// # Errors
    /// As [`kill`](Self::kill), and if the server does not answer within 30 s. The error then
    /// contains the end of its log.
    pub fn restart(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_supported()),
            Running::Process(process) => {
                process.start()?;
                process.wait_until_ready()
            }
            #[cfg(feature = "containers")]
            Running::Container(container) => container.restart(),
        }
    }

    /// Like [`restart`](Self::restart), but returns while the server is still starting.
    ///
    /// # Errors
    /// `Unsupported` except for local servers.
    pub fn restart_without_waiting(&self) -> io::Result<()> {
        match &self.running {
            Running::Process(process) => process.start(),
            _ => Err(not_supported()),
        }
    }

    /// Pauses the server (`SIGSTOP`): connections stay open, and it does not answer.
    ///
    /// # Errors
    /// See [`kill`](Self::kill).
    pub fn pause(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_supported()),
            Running::Process(process) => process.pause(),
            #[cfg(feature = "containers")]
            Running::Container(container) => container.pause(),
        }
    }

    /// Continues the server after a [`pause`](Self::pause).
    ///
    /// # Errors
    /// See [`kill`](Self::kill).
    pub fn resume(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_supported()),
            Running::Process(process) => process.resume(),
            #[cfg(feature = "containers")]
            Running::Container(container) => container.resume(),
        }
    }
}

fn not_supported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this is supported only for a server that this process started from local binaries",
    )
}
