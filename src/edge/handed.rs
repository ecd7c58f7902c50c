//! Listening sockets that were bound before Pingora starts.
//!
//! Pingora binds in its own time, tries a busy address for half a minute and then leaves a
//! half-alive process. So every address is bound here first, where a failure still is the
//! command's failure and a port of 0 becomes a number for good; the sockets are put where a
//! service finds those of an upgrade. From there they are given to the next process. Not here:
//! which addresses (`server`), when (`leaving`).

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{Fds, ListenFds, RuntimeOpts, ShutdownWatch};
use pingora::services::{Service, ServiceReadyNotifier, ServiceWithDependents};

/// How long an address may stay taken that no process has handed over: the old one may hold it in
/// another form, such as all addresses instead of one, until its listeners close.
const FREE_WITHIN: Duration = Duration::from_secs(30);
/// Between two tries to get it.
const FREE_POLL: Duration = Duration::from_millis(50);

/// An address, and the socket that listens there. None where it is taken during an upgrade: then
/// the old process holds it.
pub(super) struct Handed {
    pub(super) address: SocketAddr,
    socket: Option<TcpListener>,
}

impl Handed {
    /// Binds the address. In an upgrade one that is taken will be handed over.
    pub(super) fn bind(address: &str, is_upgrade: bool) -> Result<Self, String> {
        let failed = |error| format!("cannot listen on {address}: {error}");
        let wanted = address
            .to_socket_addrs()
            .map_err(failed)?
            .next()
            .ok_or_else(|| format!("cannot listen on {address}: the host has no address"))?;
        match listen(wanted) {
            Ok(socket) => {
                Ok(Self { address: socket.local_addr().map_err(failed)?, socket: Some(socket) })
            }
            Err(error) if is_upgrade && error.kind() == io::ErrorKind::AddrInUse => {
                Ok(Self { address: wanted, socket: None })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Puts the socket where Pingora looks for it, unless the old process has handed one over.
    async fn put_into(self, table: &ListenFds) -> io::Result<()> {
        let name = self.address.to_string();
        if table.lock().get(&name).is_some() {
            return Ok(());
        }
        let socket = match self.socket {
            Some(socket) => socket,
            None => listen_when_free(self.address).await?,
        };
        table.lock().add(name, socket.into_raw_fd());
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    // Pingora makes a tokio socket of it.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn listen_when_free(address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = tokio::time::Instant::now() + FREE_WITHIN;
    loop {
        match listen(address) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(FREE_POLL).await;
            }
            done => return done,
        }
    }
}

/// Whether listeners can be taken over by way of this path. Pingora would panic where it cannot
/// make a socket.
pub(super) fn check_upgrade_socket(path: &str) -> Result<(), String> {
    let failed = |error: io::Error| {
        format!("cannot take listeners over by server.upgrade_socket {path}: {error}")
    };
    // Beside it: at the path itself the old process might already look for the new one.
    let probe = format!("{path}.try");
    if std::fs::exists(&probe).map_err(failed)? {
        std::fs::remove_file(&probe).map_err(failed)?;
    }
    UnixListener::bind(&probe).map_err(failed)?;
    std::fs::remove_file(&probe).map_err(failed)
}

/// The listeners of the process, as Pingora keeps them. Known once a service has started.
#[derive(Clone, Default)]
pub(super) struct Sockets(Arc<OnceLock<ListenFds>>);

impl Sockets {
    /// Gives them to the process that waits at this path. Blocks, for five seconds where none does.
    pub(super) fn give(&self, path: &str) -> Result<(), String> {
        let table = self.0.get().ok_or("there are no listeners")?;
        // A copy, so that nobody waits for the lock meanwhile.
        let (names, sockets) = table.lock().serialize();
        let mut copy = Fds::new();
        copy.deserialize(names, sockets);
        match copy.send_to_sock(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("no process takes the listeners at {path}: {error}")),
        }
    }
}

/// A service that finds its sockets bound.
pub(super) struct WithSockets<S> {
    service: S,
    handed: Vec<Handed>,
    sockets: Sockets,
}

impl<S> WithSockets<S> {
    /// The addresses of `handed` must be those that the service listens on, as text.
    pub(super) fn new(
        service: S,
        handed: impl IntoIterator<Item = Handed>,
        sockets: &Sockets,
    ) -> Self {
        Self { service, handed: handed.into_iter().collect(), sockets: sockets.clone() }
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
            self.sockets.0.get_or_init(|| table.clone());
            for handed in self.handed.drain(..) {
                let address = handed.address;
                if let Err(error) = handed.put_into(table).await {
                    // Pingora would go on without it, half-alive.
                    log::error!(address:%, error:%; "cannot listen");
                    std::process::exit(1);
                }
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
