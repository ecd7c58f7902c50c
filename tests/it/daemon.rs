//! A process in the background: what it needs of the folder that it was started in.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use chatmux::scripted::Kind;
use tokio::process::Command;

use crate::support::{Ask, Conf, Metrics, Scratch, backend, chatmux, soon};

/// A port that was free a moment ago, and nearly always still is: nobody reads what it logs.
fn free() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address")
}

/// Asks until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(what, asking).await;
}

/// Ends what it was started for, however the test ends.
struct Daemon(String);

impl Daemon {
    fn signal(&self, name: &str) -> bool {
        let kill = std::process::Command::new("kill").arg(format!("-{name}")).arg(&self.0).status();
        kill.is_ok_and(|status| status.success())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

#[tokio::test]
async fn a_daemon_finds_its_files_wherever_it_goes() {
    let (backend, admin) = (backend(Kind::Xians).await, free());
    let scratch = Scratch::new();
    let yaml = Conf::new().backend(&backend).yaml();
    let at = format!("admin: {{address: \"{admin}\"}}");
    let yaml = yaml.replace("admin: {address: \"127.0.0.1:0\"}", &at);
    assert!(yaml.contains(&at), "{yaml}");
    scratch.write("edge.yaml", &yaml);
    let status = Command::new(env!("CARGO_BIN_EXE_chatmux"))
        .args(["run", "-c", "edge.yaml", "--daemon", "--pid-file", "edge.pid"])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let status = soon("it goes to the background", status).await.expect("the binary runs");
    assert!(status.success());
    let pid_file = scratch.path().join("edge.pid");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    until("its id is written", async || !read(&pid_file).is_empty()).await;
    let daemon = Daemon(read(&pid_file));
    let is_listening = async || tokio::net::TcpStream::connect(admin).await.is_ok();
    until("it listens", is_listening).await;
    let ready = async || Ask::get("/ready").send(admin).await.head.status == 200;
    until("it is ready", ready).await;
    assert!(daemon.signal("HUP"));
    let reloads = async || {
        let metrics = Metrics::parse(&Ask::get("/metrics").send(admin).await.text());
        let of = |outcome| metrics.sum("chatmux_config_reloads_total", &[("outcome", outcome)]);
        (of("success"), of("failure"))
    };
    until("it reads its conf anew", async || reloads().await == (1, 0)).await;
    assert!(daemon.signal("TERM"));
    until("it ends", async || !is_listening().await).await;
}

#[tokio::test]
async fn what_a_process_cannot_do_in_the_background_is_said_before() {
    let backend = backend(Kind::Xians).await;
    let scratch = Scratch::new();
    let conf = scratch.write("edge.yaml", &Conf::new().backend(&backend).yaml());
    let conf = conf.to_str().expect("a path");
    for (more, code, words) in [
        (&["--daemon", "--pid-file", "/no-such-folder/edge.pid"][..], 1, "--pid-file /no-such"),
        (&["--pid-file", "edge.pid"], 2, "--daemon"),
        (&["--upgrade"], 1, "set server.upgrade_socket"),
    ] {
        let said = chatmux(&[&["run", "-c", conf][..], more].concat()).await;
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains(words) && !said.err.contains("panic"), "{said:?}");
    }
}
