//! The edge as operators run it: a process with a conf file, its log, its admin listener.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatmux::scripted::Backend;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Ask, Client, DEADLINE, EventSource, Metrics, Reply, Scratch, soon};

/// Between two looks at something that cannot be waited for.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// A running `chatmux run`. Killed when dropped.
pub(crate) struct Edge {
    child: Child,
    pid: u32,
    log: Log,
    urls: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    scratch: Scratch,
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Conf files of tests hold made-up secrets, and are warned of.
            let mut log = self.log.all();
            log.retain(|line| !line.contains("a secret stands in the file"));
            eprintln!("the edge's log:\n{}", log.join("\n"));
        }
    }
}

/// What the process writes to standard error, read by a thread so that it never blocks.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Log {
    fn drain(pipe: std::io::PipeReader) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sender, count) = watch::channel(0);
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                kept.lock().expect("no poison").push(line);
                sender.send_modify(|count| *count += 1);
            }
        });
        Self { lines, count }
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().expect("no poison").clone()
    }

    /// The first line with this in it; `None` if the process ends without one.
    async fn find(&mut self, what: &str) -> Option<String> {
        self.find_after(0, what).await
    }

    /// The same, after so many lines.
    async fn find_after(&mut self, mut from: usize, what: &str) -> Option<String> {
        loop {
            let count = *self.count.borrow_and_update();
            let lines = self.all();
            if let Some(line) = lines.iter().skip(from).find(|line| line.contains(what)) {
                return Some(line.clone());
            }
            from = lines.len();
            if count >= from && self.count.changed().await.is_err() && self.all().len() == from {
                return None;
            }
        }
    }
}

/// A process that was started and may not listen yet.
struct Starting {
    child: Child,
    log: Log,
    scratch: Scratch,
}

impl Starting {
    fn spawn(scratch: Scratch, yaml: &str, variables: &[(&str, &str)], options: &[&str]) -> Self {
        let conf = scratch.write("chatmux.yaml", yaml);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = Command::new(env!("CARGO_BIN_EXE_chatmux"))
            .args(["run", "-c"])
            .arg(&conf)
            .args(options)
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(writer)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        Self { child, log: Log::drain(reader), scratch }
    }

    /// Waits until clients can come in.
    async fn listening(self) -> Edge {
        let Self { child, mut log, scratch } = self;
        let line = soon("the process listens", log.find("listening")).await;
        let Some(line) = line else {
            panic!("the process ended: {:#?}", log.all());
        };
        let json = serde_json::from_str::<serde_json::Value>(&line).ok();
        let field = |name: &str| match &json {
            Some(json) => json[name].as_str().expect("a text").to_owned(),
            None => {
                let parts = line.split_once(&format!(" {name}="));
                let rest = parts.unwrap_or_else(|| panic!("no {name} in {line}")).1;
                rest.split(' ').next().unwrap_or_default().to_owned()
            }
        };
        let address = |url: &str| {
            let address = url.split_once("://").map(|(_, address)| address);
            address.and_then(|at| at.parse().ok())
        };
        Edge {
            pid: child.id().expect("it runs"),
            child,
            urls: field("streams")
                .split(',')
                .map(|url| address(url).unwrap_or_else(|| panic!("no address in {line}")))
                .collect(),
            admin: address(&field("admin")),
            log,
            scratch,
        }
    }
}

impl Edge {
    /// Runs a conf file and waits until clients can come in.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[], &[]).await
    }

    /// With files beside the conf file, and environment variables.
    pub(crate) async fn start_with(
        yaml: &str,
        files: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> Self {
        let scratch = Scratch::new();
        for (name, text) in files {
            scratch.write(name, text);
        }
        Starting::spawn(scratch, yaml, variables, &[]).listening().await
    }

    /// Starts a process that takes the listeners over, and tells this one to give them away.
    /// The conf must name their addresses.
    pub(crate) async fn upgrade(&self, yaml: &str, upgrade_socket: &Path) -> Self {
        let starting = Starting::spawn(Scratch::new(), yaml, &[], &["--upgrade"]);
        let waits = async {
            while !upgrade_socket.exists() {
                tokio::task::yield_now().await;
            }
        };
        soon("the new process waits for the listeners", waits).await;
        self.signal("QUIT").await;
        starting.listening().await
    }

    /// Where operators ask.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.expect("an admin listener")
    }

    /// The process's id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Seconds of CPU that the process has used so far.
    pub(crate) fn cpu_secs(&self) -> f64 {
        const TICKS_PER_SEC: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("a stat");
        // After the name, which may hold anything: state, then numbers.
        let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
        (ticks(11) + ticks(12)) / TICKS_PER_SEC
    }

    /// Kilobytes of memory that the process holds.
    pub(crate) fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("kilobytes")
    }

    /// Where clients come in, by the first listener.
    pub(crate) fn streams(&self) -> SocketAddr {
        self.urls[0]
    }

    /// Where clients come in, by each listener in the order of the conf.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.urls
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.all().join("\n")
    }

    /// Waits for a line of the log.
    pub(crate) async fn logged(&self, what: &str) -> String {
        let mut log = self.log.clone();
        let line = soon(&format!("a log line with {what}"), log.find(what)).await;
        line.unwrap_or_else(|| panic!("ended without {what}: {}", self.log()))
    }

    pub(crate) async fn open(&self, client: &Client) -> EventSource {
        EventSource::open(self, client).await
    }

    /// Asks as this client and reads the whole answer.
    pub(crate) async fn ask(&self, client: &Client) -> Reply {
        client.ask("GET").send(self.streams()).await
    }

    /// Asks the operators' listener.
    pub(crate) async fn admin(&self, path: &str) -> Reply {
        Ask::get(path).send(self.admin_address()).await
    }

    /// Writes a file beside the conf file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.scratch.write(name, text);
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        let reply = self.admin("/metrics").await;
        assert_eq!(reply.head.status, 200);
        Metrics::parse(&reply.text())
    }

    /// Waits until something is true of the metrics.
    pub(crate) async fn until(&self, what: &str, is_true: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut looks = interval(LOOK_PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Metrics::default();
        let look = async {
            loop {
                looks.tick().await;
                last = self.metrics().await;
                if is_true(&last) {
                    return;
                }
            }
        };
        let is_done = timeout(DEADLINE, look).await.is_ok();
        assert!(is_done, "waited {DEADLINE:?} in vain: {what}; {last:#?}");
        last
    }

    /// Waits until so many client streams are open.
    pub(crate) async fn until_open(&self, count: u64) {
        self.until(&format!("{count} open client streams"), |metrics| {
            metrics.sum("chatmux_client_streams", &[]) == count
        })
        .await;
    }

    /// For each source received = mapped + discarded; for these, received = what was sent.
    pub(crate) async fn check_law(&self, sources: &[(&str, &Backend)]) {
        for (name, backend) in sources {
            let what = format!("{name} has received all {} frames", backend.frames_sent());
            self.until(&what, |metrics| metrics.frames(name).0 == backend.frames_sent()).await;
        }
        self.until("received = mapped + discarded", |metrics| metrics.lawless().is_empty()).await;
    }

    /// Puts another conf file in the place of the one that runs, and has it read. Gives what is
    /// logged of it.
    pub(crate) async fn reload(&self, yaml: &str) -> String {
        self.scratch.write("chatmux.yaml", yaml);
        let before = self.log.all().len();
        self.signal("HUP").await;
        let mut log = self.log.clone();
        let told = log.find_after(before, "configuration re");
        soon("the conf file is read anew", told).await.expect("a line")
    }

    /// The most memory that the process has had, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse().ok()).expect("its peak")
    }

    /// Sends a signal by its name.
    pub(crate) async fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        assert!(status.await.expect("kill runs").success(), "the process is there");
    }

    /// The exit code, once the process has ended.
    pub(crate) async fn wait_exit(&mut self) -> i32 {
        let status = soon("the process ends", self.child.wait()).await.expect("a status");
        status.code().unwrap_or_else(|| panic!("{status}; {}", self.log()))
    }
}
