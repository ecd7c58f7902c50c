//! Listening sockets that were bound before Pingora starts.
//!
//! Pingora binds in its own time, tries a busy address for half a minute and then leaves a
//! half-alive process. So every address is bound here first, where a failure still is the
//! command's failure and a port of 0 becomes a number for good; the sockets are put where a
//! service finds those of an upgrade. Not here: which addresses (`server`).

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{IntoRawFd, RawFd};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, RuntimeOpts, ShutdownWatch};
use pingora::services::{Service, ServiceReadyNotifier, ServiceWithDependents};

/// An address, and the socket that listens there. None during an upgrade: then the old process
/// still holds it.
pub(super) struct Handed {
    pub(super) address: SocketAddr,
    socket: Option<TcpListener>,
}

impl Handed {
    /// Binds the address, or only resolves it where the socket will be handed over.
    pub(super) fn bind(address: &str, is_upgrade: bool) -> Result<Self, String> {
        let failed = |error| format!("cannot listen on {address}: {error}");
        let wanted = address
            .to_socket_addrs()
            .map_err(failed)?
            .next()
            .ok_or_else(|| format!("cannot listen on {address}: the host has no address"))?;
        if is_upgrade {
            return Ok(Self { address: wanted, socket: None });
        }
        let socket = TcpListener::bind(wanted).map_err(failed)?;
        // Pingora makes a tokio socket of it.
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { address: socket.local_addr().map_err(failed)?, socket: Some(socket) })
    }
}

/// A service that finds its sockets bound.
pub(super) struct WithSockets<S> {
    service: S,
    sockets: Vec<(String, RawFd)>,
}

impl<S> WithSockets<S> {
    /// The addresses of `handed` must be those that the service listens on, as text.
    pub(super) fn new(service: S, handed: impl IntoIterator<Item = Handed>) -> Self {
        let sockets = handed
            .into_iter()
            .filter_map(|handed| {
                let address = handed.address.to_string();
                handed.socket.map(|socket| (address, socket.into_raw_fd()))
            })
            .collect();
        Self { service, sockets }
    }
}

#[async_trait]
impl<S: Service> ServiceWithDependents for WithSockets<S> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
        ready_notifier: ServiceReadyNotifier,
    ) {
        if let Some(table) = &fds {
            for (address, fd) in self.sockets.drain(..) {
                table.lock().add(address, fd);
            }
        }
        let service = &mut self.service;
        ServiceWithDependents::start_service(
            service,
            fds,
            shutdown,
            listeners_per_fd,
            ready_notifier,
        )
        .await;
    }

    fn name(&self) -> &str {
        ServiceWithDependents::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        ServiceWithDependents::threads(&self.service)
    }

    fn runtime_opts_override(&self, global: &RuntimeOpts) -> Option<RuntimeOpts> {
        ServiceWithDependents::runtime_opts_override(&self.service, global)
    }

    fn on_startup_delay(&self, time_waited: Duration) {
        ServiceWithDependents::on_startup_delay(&self.service, time_waited);
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        ServiceWithDependents::listen_addresses(&self.service)
    }
}
