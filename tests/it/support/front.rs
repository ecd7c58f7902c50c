//! nginx and HAProxy in front of the edge: plain processes with a conf and a folder of their own.
//!
//! A conf has `LISTEN` where the address is to stand. Neither can bind port 0 and say which it
//! got, so a port that was free a moment ago is tried, and another if somebody was faster. Needs
//! both on the machine (`.ci/setup test`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{Scratch, soon};

/// Ports that are tried before it is the conf's fault.
const TRIES: usize = 5;

/// A proxy between client and edge. Ended when dropped.
pub(crate) struct Front {
    child: Child,
    pid: u32,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    scratch: Scratch,
    make: fn(&str, &Scratch) -> String,
}

impl Drop for Front {
    fn drop(&mut self) {
        // In order, so that nginx takes its workers along: it must not be killed before it has.
        // What is gone already is gone.
        let asked = std::process::Command::new("kill").arg(self.pid.to_string()).status();
        let _is_asked = asked.is_ok();
    }
}

impl Front {
    /// nginx, with this within its `http {}`, and files beside its conf.
    pub(crate) async fn nginx(http: &str, files: &[(&str, &str)]) -> Self {
        Self::start("nginx", http, files, nginx_conf).await
    }

    /// HAProxy with this conf, and files beside it.
    pub(crate) async fn haproxy(conf: &str, files: &[(&str, &str)]) -> Self {
        Self::start("haproxy", conf, files, |conf, _| conf.to_owned()).await
    }

    async fn start(
        name: &str,
        conf: &str,
        files: &[(&str, &str)],
        make: fn(&str, &Scratch) -> String,
    ) -> Self {
        let mut errors = String::new();
        for _ in 0..TRIES {
            let scratch = Scratch::new();
            for (name, text) in files {
                scratch.write(name, text);
            }
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = free.local_addr().expect("an address");
            drop(free);
            let text = fill(conf, address, &scratch);
            let path = scratch.write(name, &make(&text, &scratch));
            let log = scratch.path().join("log");
            let mut child = command(name, &path, &scratch)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&log).expect("a file"))
                .spawn()
                .unwrap_or_else(|_| panic!("{name} is there (.ci/setup test)"));
            let pid = child.id().expect("it runs");
            let is_up = soon("a proxy listens", async {
                loop {
                    // Asked first: whoever else has the port must not be taken for it.
                    if child.try_wait().expect("a child").is_some() {
                        return false;
                    }
                    if TcpStream::connect(address).await.is_ok() {
                        return true;
                    }
                    tokio::task::yield_now().await;
                }
            });
            if is_up.await {
                return Self { child, pid, address, scratch, make };
            }
            errors = std::fs::read_to_string(&log).unwrap_or_default();
        }
        panic!("{name} does not run: {errors}");
    }

    /// nginx reads another conf; streams stay with the workers that have them.
    pub(crate) fn reload(&self, http: &str) {
        let text = fill(http, self.address, &self.scratch);
        self.scratch.write("nginx", &(self.make)(&text, &self.scratch));
        let status =
            std::process::Command::new("kill").args(["-HUP", &self.pid.to_string()]).status();
        assert!(status.expect("kill runs").success(), "it is there");
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

fn fill(conf: &str, address: SocketAddr, scratch: &Scratch) -> String {
    assert!(conf.contains("LISTEN"), "nowhere to listen: {conf}");
    let folder = scratch.path().display().to_string();
    conf.replace("LISTEN", &address.to_string()).replace("FOLDER", &folder)
}

/// What stands around `http {}` where nothing but the test's folder may be written.
fn nginx_conf(http: &str, scratch: &Scratch) -> String {
    let folder = scratch.path().display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|name| format!("    {name}_temp_path {folder}/{name};\n")).concat();
    format!(
        "daemon off;\nworker_processes 1;\nworker_shutdown_timeout 1s;\npid {folder}/pid;\n\
         error_log {folder}/error.log;\nevents {{ worker_connections 256; }}\n\
         http {{\n    access_log off;\n{temp}{http}\n}}\n"
    )
}

/// Debian's users have no `sbin` in their path.
fn command(name: &str, conf: &PathBuf, scratch: &Scratch) -> Command {
    let folders = ["/usr/local/sbin", "/usr/sbin"].map(|folder| PathBuf::from(folder).join(name));
    let program = folders.into_iter().find(|path| path.exists());
    let mut command = Command::new(program.unwrap_or_else(|| PathBuf::from(name)));
    match name {
        "nginx" => {
            command.arg("-p").arg(scratch.path()).arg("-e").arg("stderr").arg("-c").arg(conf)
        }
        // In the foreground, one process.
        _ => command.arg("-db").arg("-f").arg(conf),
    };
    command
}
