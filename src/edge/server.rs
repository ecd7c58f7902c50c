//! The process: its listeners, its services, its reload.
//!
//! Every address is bound before anything starts (`handed`). Not here: how it ends (`leaving`),
//! what it serves (`proxy`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::protocols::TcpKeepalive;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::admin::Admin;
use super::door::{Crowd, Door, Entrance};
use super::handed::{self, Handed, Sockets, WithSockets};
use super::leaving::{Leaver, Patient, Signals, grace};
use super::proxy::Edge;
use super::supervisor;
use super::tls::Slot;
use crate::config::{Config, Listen};

/// Kernel send buffer of a client: with the default of the system a reader that has stalled
/// would not be noticed for minutes.
const SEND_BUFFER: usize = 64 * 1024;
/// Most request heads fit; the default of 64 KiB would be paid per connection.
const READ_BUFFER: usize = 1024;
/// Streams write what they have in one go, so a buffer would only be paid for.
const WRITE_BUFFER: usize = 0;
/// For the probe that tells when the listeners are up.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// Listeners differ by this: HTTP/2 without TLS, and a PROXY header in front.
const LISTENER_KINDS: [(bool, bool); 4] =
    [(false, false), (true, false), (false, true), (true, true)];

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Take the listeners over from a running process.
    pub is_upgrade: bool,
    /// Go to the background.
    pub is_daemon: bool,
    /// Where a background process writes its id.
    pub pid_file: Option<String>,
    /// End by itself after this time.
    pub stop_after: Option<Duration>,
}

/// The addresses that were bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Client listeners: URL and address.
    pub listen: Vec<(String, SocketAddr)>,
    /// The operators' listener.
    pub admin: Option<SocketAddr>,
}

/// What the process calls on its way.
pub struct Hooks {
    /// Once clients can come in.
    pub on_ready: Box<dyn Fn(&Bound) + Send + Sync>,
    /// On SIGHUP: reads the configuration anew. Without it SIGHUP is only logged.
    pub reload: Option<Box<dyn Fn() -> Result<Config, String> + Send + Sync>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { on_ready: Box::new(|_| {}), reload: None }
    }
}

/// Runs until a signal ends the process.
///
/// # Errors
/// An address that cannot be bound, or a certificate that cannot be used. Nothing was started
/// then.
pub fn run(edge: Arc<Edge>, options: &RunOptions, hooks: Hooks) -> Result<(), String> {
    let config = edge.config();
    let mut listen = Vec::new();
    for (index, one) in config.listen.iter().enumerate() {
        let handed = Handed::bind(&one.address, options.is_upgrade)?;
        listen.push(Listener {
            listen: one.clone(),
            handed,
            slot: edge.certificates().slot(index),
        });
    }
    let admin = config.admin.as_ref();
    let admin = admin.map(|admin| Handed::bind(&admin.address, options.is_upgrade)).transpose()?;
    let bound = Bound {
        listen: listen.iter().map(|one| (one.url(), one.handed.address)).collect(),
        admin: admin.as_ref().map(|handed| handed.address),
    };
    let conf = server_conf(&config, options);
    let upgrade_socket = config.server.upgrade_socket.clone();
    if options.is_upgrade {
        let path = upgrade_socket.as_deref();
        let path = path.ok_or("an upgrade needs a socket: set server.upgrade_socket")?;
        handed::check_upgrade_socket(&path.display().to_string())?;
        log::info!("waiting for the listeners: send SIGQUIT to the old process within 5 s");
    }
    let mut server = Server::new_with_opt_and_conf(
        Some(Opt { upgrade: options.is_upgrade, daemon: options.is_daemon, ..Opt::default() }),
        conf,
    );
    server.bootstrap();
    let sockets = Sockets::default();

    let is_started = Arc::new(AtomicBool::new(false));
    let crowd = Crowd::new();
    for kind in LISTENER_KINDS {
        let (alike, others): (Vec<_>, Vec<_>) =
            listen.into_iter().partition(|one: &Listener| one.kind() == kind);
        listen = others;
        if !alike.is_empty() {
            let entrance = Entrance::new(edge.clone(), crowd.clone(), kind.1);
            let listeners = alike.iter().map(|one| (one.handed.address, one.slot.clone()));
            let listeners = listeners.collect();
            let door = Door::new(edge.clone(), &server.configuration, entrance, listeners, kind.0);
            add_listeners(&mut server, door, alike, &sockets);
        }
    }
    if let Some(handed) = admin {
        let mut app = Admin::new(edge.clone(), is_started.clone(), handed.address);
        if config.admin.as_ref().is_some_and(|admin| admin.has_console) {
            app = app.with_console(&bound.listen);
        }
        let mut service = Service::new("admin".to_owned(), app);
        service.add_tcp(&handed.address.to_string());
        server.add_service(WithSockets::new(service, [handed], &sockets));
    }
    let is_watching = Arc::new(AtomicBool::new(false));
    let keeper =
        Keeper { edge: edge.clone(), bound, is_watching: is_watching.clone(), is_started, hooks };
    server.add_service(background_service("keeper", keeper));
    let leaver = Leaver { edge: edge.clone(), drain: config.server.drain };
    server.add_service(background_service("leave", leaver));
    let shutdown_signal = Box::new(Signals {
        edge,
        drain: config.server.drain,
        stop_after: options.stop_after,
        sockets,
        upgrade_socket,
        is_watching,
    });
    server.run(RunArgs { shutdown_signal });
    Ok(())
}

fn server_conf(config: &Config, options: &RunOptions) -> ServerConf {
    let defaults = ServerConf::default();
    ServerConf {
        daemon: options.is_daemon,
        pid_file: options.pid_file.clone().unwrap_or_else(|| defaults.pid_file.clone()),
        upgrade_sock: config
            .server
            .upgrade_socket
            .as_ref()
            .map_or_else(|| defaults.upgrade_sock.clone(), |path| path.display().to_string()),
        threads: config.server.threads,
        // Only an upgrade waits for it: any other end is drained before Pingora hears of it.
        grace_period_seconds: Some(grace(config.server.drain).as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        ..defaults
    }
}

/// One service for listeners that are alike: what they take is the service's.
fn add_listeners(server: &mut Server, door: Door, listen: Vec<Listener>, sockets: &Sockets) {
    let mut service = Service::new("streams".to_owned(), Patient::new(door));
    for one in &listen {
        service.add_listener(endpoint(one.handed.address));
    }
    let handed = listen.into_iter().map(|one| one.handed);
    server.add_service(WithSockets::new(service, handed, sockets));
}

/// Where clients come in: bound, with the certificates that they are shown.
struct Listener {
    listen: Listen,
    handed: Handed,
    slot: Option<Arc<Slot>>,
}

impl Listener {
    const fn kind(&self) -> (bool, bool) {
        (self.listen.h2c, self.listen.proxy_protocol)
    }

    fn url(&self) -> String {
        let scheme = if self.listen.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.handed.address)
    }
}

/// Pingora accepts; TLS is ours (`door`), since it would wait a minute for it, and log each
/// failure as an error.
fn endpoint(address: SocketAddr) -> ListenerConfig {
    let mut options = TcpSocketOptions::default();
    options.tcp_snd_buf = Some(SEND_BUFFER);
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 6,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::from_secs(60),
    });
    ListenerConfig::tcp(address.to_string())
        .tcp_socket_options(options)
        .l4_buffer(L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER))
}

/// Says where clients come in, as soon as they can; then reads the configuration anew on SIGHUP,
/// and lives on after SIGUSR1.
/// One after the other, since whoever has read the line may send the signal.
struct Keeper {
    edge: Arc<Edge>,
    bound: Bound,
    /// Signals are waited for: until then they would kill the process.
    is_watching: Arc<AtomicBool>,
    is_started: Arc<AtomicBool>,
    hooks: Hooks,
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        if hangup.is_none() {
            log::error!("SIGHUP cannot be watched; the configuration is not reloaded");
        }
        // What rotates logs sends it to whoever has a log file. Unwatched, it would end the process.
        let mut reopen = signal(SignalKind::user_defined1()).ok();
        self.edge.start();
        self.announce(&mut shutdown).await;
        let next = async |signal: &mut Option<Signal>| match signal {
            Some(signal) => signal.recv().await,
            None => std::future::pending().await,
        };
        while !*shutdown.borrow() {
            tokio::select! {
                _ = next(&mut hangup) => self.reload(),
                _ = next(&mut reopen) => log::info!("SIGUSR1: there is no log file to reopen"),
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Keeper {
    async fn announce(&self, shutdown: &mut ShutdownWatch) {
        let listen = self.bound.listen.iter().map(|(_, address)| *address);
        for address in listen.chain(self.bound.admin) {
            // Pingora starts in its own time and tells nobody; a connection shows that it has.
            while tokio::net::TcpStream::connect(reachable(address)).await.is_err() {
                tokio::time::sleep(PROBE_PAUSE).await;
                if *shutdown.borrow_and_update() {
                    return;
                }
            }
        }
        // Whoever reads the line may send a signal.
        while !self.is_watching.load(Ordering::SeqCst) {
            tokio::time::sleep(PROBE_PAUSE).await;
            if *shutdown.borrow_and_update() {
                return;
            }
        }
        self.is_started.store(true, Ordering::SeqCst);
        let urls: Vec<_> = self.bound.listen.iter().map(|(url, _)| url.as_str()).collect();
        let admin = self.bound.admin.map_or_else(|| "none".to_owned(), |at| format!("http://{at}"));
        log::info!(streams = urls.join(",").as_str(), admin = admin.as_str(); "listening");
        supervisor::on_ready();
        (self.hooks.on_ready)(&self.bound);
    }

    fn reload(&self) {
        supervisor::on_reload();
        self.read_anew();
        supervisor::on_ready();
    }

    fn read_anew(&self) {
        let Some(reload) = &self.hooks.reload else {
            log::warn!("SIGHUP: there is no conf file to read anew");
            return;
        };
        let reloaded = reload()
            .inspect_err(|_| self.edge.metrics().on_reload(None))
            .and_then(|config| self.edge.reload(Arc::new(config)));
        match reloaded {
            Ok(differing) => {
                log::info!("configuration reloaded");
                for path in differing {
                    let path = path.as_str();
                    log::warn!(path; "configuration: a change needs a restart or an upgrade");
                }
            }
            Err(errors) => {
                for error in errors.lines() {
                    log::error!(error; "configuration refused, the old one stays");
                }
            }
        }
    }
}

/// An address that stands for all is reached by loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
