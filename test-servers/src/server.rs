//! A running server, wherever it came from.

use std::io;
use std::path::Path;

#[cfg(feature = "containers")]
use crate::Missing;
#[cfg(feature = "containers")]
use crate::container::Container;
use crate::process::Process;

/// A server that tests use. It ends when this is dropped, unless it came from the environment.
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

/// Where a server came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A URL in the environment: it belongs to somebody else and can't be killed or paused.
    Environment,
    /// Started from local binaries.
    Local,
    /// Started as a container.
    Container,
}

impl Server {
    /// A server that somebody else runs.
    pub(crate) fn elsewhere(url: String) -> Self {
        Self { url, running: Running::Elsewhere }
    }

    pub(crate) fn local(url: String, process: Process) -> Self {
        Self { url, running: Running::Process(process) }
    }

    /// Starts a server in a container, where it listens at the port `inside`.
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

    /// Where it listens, with the user, password and database to use. It stays the same after a
    /// [`restart`](Self::restart).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`, for tests that speak to it through a proxy.
    #[must_use]
    pub fn address(&self) -> &str {
        let after_scheme = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let after_user = after_scheme.rsplit_once('@').map_or(after_scheme, |x| x.1);
        after_user.split(['/', '?']).next().unwrap_or_default()
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match &self.running {
            Running::Elsewhere => Origin::Environment,
            Running::Process(_) => Origin::Local,
            #[cfg(feature = "containers")]
            Running::Container(_) => Origin::Container,
        }
    }

    /// The temporary directory of a local server: its data, its `log`, and sockets that a setting
    /// names. It goes when the server does.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match &self.running {
            Running::Process(process) => Some(process.directory()),
            _ => None,
        }
    }

    /// Ends it at once, as `kill -9` and a crash do, and waits until it is dead.
    ///
    /// # Errors
    /// `Unsupported` for a server from the environment; here and below.
    pub fn kill(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_ours()),
            Running::Process(process) => process.kill(),
            #[cfg(feature = "containers")]
            Running::Container(container) => container.kill(),
        }
    }

    /// Starts it again after a [`kill`](Self::kill), or kills and starts it: the same port, the same
    /// data. Waits until it answers.
    ///
    /// # Errors
    /// Also when it does not answer within 30 s; the error holds the end of its log.
    pub fn restart(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_ours()),
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
    /// `Unsupported` for all but local servers.
    pub fn restart_without_waiting(&self) -> io::Result<()> {
        match &self.running {
            Running::Process(process) => process.start(),
            _ => Err(not_ours()),
        }
    }

    /// Stops it in its tracks (`SIGSTOP`): connections stay open and nothing answers.
    ///
    /// # Errors
    /// See [`kill`](Self::kill).
    pub fn pause(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_ours()),
            Running::Process(process) => process.pause(),
            #[cfg(feature = "containers")]
            Running::Container(container) => container.pause(),
        }
    }

    /// Goes on after a [`pause`](Self::pause).
    ///
    /// # Errors
    /// See [`kill`](Self::kill).
    pub fn resume(&self) -> io::Result<()> {
        match &self.running {
            Running::Elsewhere => Err(not_ours()),
            Running::Process(process) => process.resume(),
            #[cfg(feature = "containers")]
            Running::Container(container) => container.resume(),
        }
    }
}

fn not_ours() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "only a server that this process started from local binaries can be controlled like this",
    )
}
