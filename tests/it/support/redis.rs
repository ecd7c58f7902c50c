//! Redis: a plain process of Debian's, with a folder of its own and nothing kept on disk.
//!
//! It cannot bind port 0 and say which it got, so a port that was free a moment ago is tried, and
//! another if somebody was faster. Needs `redis-server` on the machine (`.ci/setup test`).

use std::net::SocketAddr;
use std::process::Stdio;

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{Scratch, soon};

/// Ports that are tried before it is Redis' fault.
const TRIES: usize = 5;

/// A Redis. Ended when dropped.
pub(crate) struct Redis {
    child: Child,
    args: Vec<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    scratch: Scratch,
}

impl Redis {
    /// One that asks nobody who they are.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments.
    pub(crate) async fn start_with(args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..TRIES {
            let scratch = Scratch::new();
            let address = free_port();
            let child = spawn(&scratch, address, &args);
            let mut redis = Self { child, args: args.clone(), address, scratch };
            if redis.is_up().await {
                return redis;
            }
        }
        panic!("redis-server does not run");
    }

    /// Two that are a Redis Cluster: each has half of the keys, and sends those who ask for others
    /// to the other.
    pub(crate) async fn start_cluster() -> [Self; 2] {
        let mut two = Vec::new();
        for slots in [["0", "8191"], ["8192", "16383"]] {
            let bus = free_port().port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let redis = Self::start_with(&args).await;
            let () = redis.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]).await;
            two.push((redis, bus));
        }
        let [(one, _), (other, bus)] = <[_; 2]>::try_from(two).unwrap_or_else(|_| panic!("two"));
        let port = other.address.port().to_string();
        let () = one.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
        for redis in [&one, &other] {
            let is_whole = async {
                loop {
                    let info: String = redis.ask(&["CLUSTER", "INFO"]).await;
                    if info.contains("cluster_state:ok") && info.contains("cluster_size:2") {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            };
            soon("both know each other", is_whole).await;
        }
        [one, other]
    }

    /// What stands in a conf: the whole line, with more options (`, name: value`).
    pub(crate) fn line(&self, more: &str) -> String {
        format!("cluster: {{redis: {{url: \"redis://{}\"{more}}}}}", self.address)
    }

    /// Ends it, with all that it holds.
    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.expect("it was there");
    }

    /// Starts it again where it was, with nothing in it.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(&self.scratch, self.address, &self.args);
        assert!(self.is_up().await, "somebody else has its port");
    }

    /// Sends a signal by its name: `STOP` leaves the connections open and answers nobody.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status().await;
        assert!(status.expect("kill runs").success(), "the process is there");
    }

    /// A connection of one's own.
    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{}", self.address)).expect("a URL");
        let connected = client.get_multiplexed_async_connection();
        soon("a connection to Redis", connected).await.expect("it is there")
    }

    /// Asks it for something.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        let mut connection = self.connect().await;
        let asked = command.query_async(&mut connection);
        soon("an answer of Redis", asked).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether it answers; not if it has ended, since somebody else has its port.
    async fn is_up(&mut self) -> bool {
        let (child, address) = (&mut self.child, self.address);
        let is_up = async {
            loop {
                if child.try_wait().expect("a child").is_some() {
                    return false;
                }
                if answers(address).await.is_ok() {
                    return true;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("Redis listens", is_up).await
    }
}

fn free_port() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("an address")
}

/// An error is an answer, too: it does not know who asks.
async fn answers(address: SocketAddr) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(b"PING\r\n").await?;
    socket.read_u8().await.map(|_| ())
}

/// In the foreground, with no file but its log.
fn spawn(scratch: &Scratch, address: SocketAddr, more: &[String]) -> Child {
    let port = address.port().to_string();
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .args(["--logfile", "log", "--dir", "."])
        .args(more)
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is there (.ci/setup test)")
}
