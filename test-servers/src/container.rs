//! Servers in containers, for machines with a Docker engine and without installed servers.
//!
//! The images are `redis:7`, `postgres:15` and `mariadb:10.11`. Missing images are pulled. Without
//! a registry, `scripts/build-test-images.sh` builds images of the same names from Debian packages.

use std::future::Future;
use std::io;

use testcontainers::core::{ContainerPort, ImageExt};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, TestcontainersError};

use crate::port;
use crate::process::{Probe, Ready};
use crate::watchdog::Watchdog;

/// A container on a port that does not change at a restart.
pub(crate) struct Container {
    /// Both are `Some` until the drop.
    parts: Option<(tokio::runtime::Runtime, ContainerAsync<GenericImage>)>,
    ready: Ready,
    _watchdog: Watchdog,
}

impl Container {
    /// Starts a container whose server listens on the port `inside`.
    pub(crate) fn start(
        image: ContainerRequest<GenericImage>,
        inside: u16,
        probe: Probe,
    ) -> io::Result<Self> {
        let ready = Ready { probe, port: port::free()?, password: None };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let image = image.with_mapped_port(ready.port, ContainerPort::Tcp(inside));
        let container = wait(&runtime, image.start()).map_err(io::Error::other)?;
        let watchdog = Watchdog::over_container(container.id())?;
        let parts = Some((runtime, container));
        let container = Self { parts, ready, _watchdog: watchdog };
        container.ready.wait(|| Ok(()))?;
        Ok(container)
    }

    pub(crate) fn port(&self) -> u16 {
        self.ready.port
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        // Without time for an orderly shutdown.
        self.tell(async |container| container.stop_with_timeout(Some(0)).await)
    }

    pub(crate) fn restart(&self) -> io::Result<()> {
        self.kill()?;
        self.tell(async |container| container.start().await)?;
        self.ready.wait(|| Ok(()))
    }

    pub(crate) fn pause(&self) -> io::Result<()> {
        self.tell(async |container| container.pause().await)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        self.tell(async |container| container.unpause().await)
    }

    fn tell<F>(&self, order: F) -> io::Result<()>
    where
        F: AsyncFnOnce(&ContainerAsync<GenericImage>) -> Result<(), TestcontainersError> + Send,
    {
        let Some((runtime, container)) = &self.parts else {
            return Err(io::Error::other("the container is gone"));
        };
        in_a_thread(|| runtime.block_on(order(container))).map_err(io::Error::other)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some((runtime, container)) = self.parts.take() {
            in_a_thread(move || {
                // If this fails, the watchdog, which is dropped next, removes the container.
                let _ = runtime.block_on(container.rm());
            });
        }
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("ready", &self.ready).finish_non_exhaustive()
    }
}

fn wait<F>(runtime: &tokio::runtime::Runtime, future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    in_a_thread(|| runtime.block_on(future))
}

/// The caller may be on a thread of a runtime, which must not block on another runtime.
fn in_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
