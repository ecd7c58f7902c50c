//! What packages are made of: the unit, the upgrade, the image, the Debian package's list.
//!
//! Judged by the tools of those who read them where there are any, and run where they can be.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chatmux::scripted::Kind;
use tokio::process::Command;

use crate::support::{Ask, Client, Conf, Edge, Scratch, backend, chatmux, soon};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The unit, with the binary under test in the place of the installed one.
fn unit(scratch: &Scratch) -> PathBuf {
    let unit = read("packaging/systemd/chatmux@.service");
    let unit = unit.replace("/usr/bin/chatmux", env!("CARGO_BIN_EXE_chatmux"));
    scratch.write("chatmux@a.service", &unit)
}

async fn run(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = soon("the command ends", output).await.expect("the command is there");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn systemd_takes_the_unit_and_finds_it_closed() {
    let scratch = Scratch::new();
    let unit = unit(&scratch);
    let verify = ["verify", "--man=no"];
    let (is_good, said) = run(Command::new("systemd-analyze").args(verify).arg(&unit)).await;
    assert!(is_good && said.trim().is_empty(), "{said}");
    // Exposure in tenths: 0 is closed, 100 is open. A service as it comes has 96.
    let security = ["security", "--offline=yes", "--threshold=25", "--no-pager"];
    let (is_good, said) = run(Command::new("systemd-analyze").args(security).arg(&unit)).await;
    assert!(is_good, "{said}");
}

#[test]
fn the_unit_drains_reloads_and_hands_over() {
    let unit = read("packaging/systemd/chatmux@.service");
    let value = |key: &str| {
        let values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let check = "/usr/bin/chatmux check -c /etc/chatmux/chatmux.yaml";
    assert_eq!(value("ExecReload"), [check, "/bin/kill -HUP $MAINPID"]);
    assert_eq!(value("EnvironmentFile"), ["-/run/chatmux-upgrade.env"]);
    assert!(value("ExecStart")[0].ends_with(" $CHATMUX_OPTIONS"));
    assert!(read("packaging/debian/chatmux.yaml").contains("/run/chatmux/upgrade.sock"));
    assert_eq!(value("Type"), ["notify"]);
    let drain: u32 = 30;
    assert!(read("conf/chatmux.yaml").contains(&format!("drain: {drain}s")), "the default");
    let stop: u32 = value("TimeoutStopSec")[0].parse().expect("seconds");
    assert!(stop > drain, "a drain is not cut short");
}

/// Ends a process of the test's that nothing else ends.
struct Ended(String);

impl Drop for Ended {
    fn drop(&mut self) {
        let status = std::process::Command::new("kill").args(["-KILL", &self.0]).status();
        // It may have ended by itself.
        let _is_ended = status.is_ok();
    }
}

/// Stands for systemd: `a` runs, `b` is started, what is to be killed is.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
  "show --property=ActiveState --value chatmux@a") echo active ;;
  "show --property=ActiveState --value chatmux@b")
    if grep -q listening "$CHATMUX_RUN/new.log" 2> /dev/null; then echo active
    else echo "${CHATMUX_B:-inactive}"; fi ;;
  "start --no-block chatmux@b")
    if [ -n "${CHATMUX_STOPPED:-}" ]; then kill -TERM $PPID; exit; fi
    . "$CHATMUX_UPGRADE_ENV"
    "$CHATMUX" run -c "$CHATMUX_CONF" $CHATMUX_OPTIONS > /dev/null 2> "$CHATMUX_RUN/new.log" &
    echo $! > "$CHATMUX_RUN/new.pid" ;;
  "kill --signal=QUIT chatmux@a") kill -QUIT "$CHATMUX_OLD" ;;
  *) echo "no such call: $*" >&2; exit 1 ;;
esac
"#;

#[tokio::test]
async fn an_upgrade_hands_the_listeners_to_the_other_instance() {
    let scratch = Scratch::new();
    let backend = backend(Kind::Xians).await;
    let socket = scratch.path().join("upgrade.sock");
    let server =
        format!("server: {{threads: 1, drain: 1s, upgrade_socket: \"{}\"}}", socket.display());
    let conf = Conf::new().backend(&backend).line(&server);
    let mut old = Edge::start(&conf.yaml()).await;
    let to = old.streams();
    let conf = conf.listen(&format!("{{address: \"{to}\"}}")).yaml();
    let conf = scratch.write("new.yaml", &conf);
    let systemctl = scratch.write("systemctl", SYSTEMCTL);
    let (is_done, _) = run(Command::new("chmod").arg("755").arg(&systemctl)).await;
    assert!(is_done);
    let path = format!("{}:{}", scratch.path().display(), std::env::var("PATH").expect("PATH"));
    let options = scratch.path().join("options.env");
    // The folder is the service's: what lies there must not lead root elsewhere.
    let foreign = scratch.write("foreign", "of somebody else");
    std::os::unix::fs::symlink(&foreign, scratch.path().join("upgrade.env")).expect("a link");
    let mut upgrade = Command::new(root().join("packaging/systemd/upgrade"));
    upgrade
        .env("PATH", path)
        .env("CHATMUX_RUN", scratch.path())
        .env("CHATMUX_UPGRADE_ENV", &options)
        .env("CHATMUX", env!("CARGO_BIN_EXE_chatmux"))
        .env("CHATMUX_CONF", &conf)
        .env("CHATMUX_OLD", old.pid().to_string());
    // The last upgrade is still draining: another one would have nowhere to go.
    let (is_done, said) = run(upgrade.env("CHATMUX_B", "deactivating")).await;
    assert!(!is_done && said.contains("chatmux@b is deactivating"), "{said}");
    // Somebody stops it halfway.
    let (is_done, _) = run(upgrade.env_remove("CHATMUX_B").env("CHATMUX_STOPPED", "yes")).await;
    assert!(!is_done && !options.exists(), "the next start is no upgrade");
    let (is_done, said) = run(upgrade.env_remove("CHATMUX_STOPPED")).await;
    let file = |name: &str| std::fs::read_to_string(scratch.path().join(name)).unwrap_or_default();
    let new = Ended(file("new.pid").trim().to_owned());
    assert!(is_done, "{said} {}", file("new.log"));
    assert_eq!(said.trim(), "upgrade: chatmux@b runs, chatmux@a drains");
    assert!(!options.exists(), "the next start is no upgrade");
    assert_eq!(std::fs::read_to_string(&foreign).expect("a file"), "of somebody else");
    assert_eq!(old.wait_exit().await, 0, "{}", old.log());
    let reply = Client::new("jane").without("apikey").ask("GET").send(to).await;
    assert_eq!(reply.head.status, 401, "the new process answers: {}", file("new.log"));
    drop(new);
}

/// What the process tells the service manager next.
async fn told(manager: &tokio::net::UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 1024];
    let length = soon("the manager is told", manager.recv(&mut bytes)).await.expect("a datagram");
    let text = std::str::from_utf8(&bytes[..length]).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_service_manager_is_told_when_it_is_ready_reloads_and_leaves() {
    let scratch = Scratch::new();
    let socket = scratch.path().join("notify.sock");
    let manager = tokio::net::UnixDatagram::bind(&socket).expect("a socket");
    let backend = backend(Kind::Xians).await;
    let yaml = Conf::new().backend(&backend).yaml();
    let variable = [("NOTIFY_SOCKET", socket.to_str().expect("a path"))];
    let mut edge = Edge::start_with(&yaml, &[], &variable).await;
    assert_eq!(told(&manager).await, ["READY=1"]);
    assert_eq!(edge.admin("/ready").await.head.status, 200);
    for conf in ["nonsense: true\n", yaml.as_str()] {
        edge.reload(conf).await;
        let reloading = told(&manager).await;
        assert_eq!((reloading.len(), reloading[0].as_str()), (2, "RELOADING=1"), "{reloading:?}");
        let since = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("a time");
        assert!(since.parse::<u64>().is_ok_and(|micros| micros > 0), "{since}");
        assert_eq!(told(&manager).await, ["READY=1"], "refused or taken, it goes on");
    }
    edge.signal("TERM").await;
    let leaving = told(&manager).await;
    assert_eq!(leaving[0], "STOPPING=1");
    let within = leaving[1].strip_prefix("EXTEND_TIMEOUT_USEC=").expect("a time");
    assert!(within.parse::<u64>().is_ok_and(|micros| micros > 1_000_000), "over server.drain");
    assert_eq!(edge.wait_exit().await, 0);
}

#[tokio::test]
async fn the_packaged_conf_runs_once_it_is_installed() {
    let scratch = Scratch::new();
    let yaml = read("packaging/debian/chatmux.yaml");
    let socket = scratch.path().join("upgrade.sock").display().to_string();
    let yaml = yaml.replace("/run/chatmux/upgrade.sock", &socket);
    let conf = scratch.write("check.yaml", &yaml);
    let said = chatmux(&["check", "--strict", "-c", conf.to_str().expect("a path")]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let free =
        yaml.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9090", "127.0.0.1:0");
    let edge = Edge::start(&free).await;
    assert_eq!(edge.admin("/ready").await.head.status, 200);
    assert_eq!(edge.ask(&Client::new("jane")).await.head.status, 401, "nobody is let in");
}

#[test]
fn everything_that_the_debian_package_holds_is_there() {
    let manifest = read("Cargo.toml");
    let assets = manifest.split_once("\nassets = [\n").expect("assets").1;
    let assets = assets.split_once("\n]\n").expect("an end").0;
    let mut count = 0;
    for line in assets.lines() {
        let fields: Vec<_> = line.split('"').skip(1).step_by(2).collect();
        let [from, to, mode] = fields[..] else { panic!("no asset: {line}") };
        count += 1;
        assert!(to.ends_with('/') && !to.starts_with('/'), "{line}");
        assert!(matches!(mode, "644" | "755"), "{line}");
        if from == "target/release/chatmux" {
            continue;
        }
        let (folder, name) = from.rsplit_once('/').unwrap_or(("", from));
        let found = match name.strip_prefix('*') {
            None => root().join(from).is_file(),
            Some(end) => std::fs::read_dir(root().join(folder))
                .expect("a folder")
                .any(|entry| entry.expect("an entry").file_name().to_string_lossy().ends_with(end)),
        };
        assert!(found, "{from} is not there");
    }
    assert!(count >= 14, "{count} assets");
    assert!(manifest.contains("\nlicense-file = [\"packaging/debian/copyright\", \"0\"]\n"));
    // In a form of its own, it is put in as it stands.
    assert!(read("packaging/debian/copyright").starts_with("Format: https://www.debian.org/"));
    assert!(manifest.contains("\nchangelog = \"packaging/debian/changelog\"\n"));
    let version = concat!("chatmux (", env!("CARGO_PKG_VERSION"), "-1) ");
    let changelog = read("packaging/debian/changelog");
    assert!(changelog.starts_with(version), "the newest entry is of this version: {changelog}");
    assert!(manifest.contains("conf-files = [\"/etc/chatmux/chatmux.yaml\"]"));
}

#[tokio::test]
async fn a_package_that_is_removed_stops_and_one_that_is_upgraded_goes_on() {
    let scratch = Scratch::new();
    let (systemd, etc) = (scratch.path().join("systemd"), scratch.path().join("etc"));
    std::fs::create_dir(&systemd).expect("a folder");
    std::fs::create_dir(&etc).expect("a folder");
    let called = scratch.path().join("called");
    for tool in ["systemctl", "deb-systemd-invoke"] {
        let tool = scratch.write(tool, "#!/bin/sh\necho \"${0##*/} $*\" >> \"$CALLED\"\n");
        assert!(run(Command::new("chmod").arg("755").arg(&tool)).await.0);
    }
    let path = format!("{}:{}", scratch.path().display(), std::env::var("PATH").expect("PATH"));
    let link = etc.join("chatmux@a.service");
    std::fs::write(&link, "enabled").expect("a file");
    let calls = async |name: &str, arguments: &[&str]| {
        let script = read(&format!("packaging/debian/{name}"));
        let wants = "/etc/systemd/system/multi-user.target.wants";
        let script = script.replace("/run/systemd/system", &systemd.display().to_string());
        let script = scratch.write(name, &script.replace(wants, &etc.display().to_string()));
        std::fs::write(&called, "").expect("a file");
        let mut sh = Command::new("sh");
        sh.arg(script).args(arguments).env("PATH", &path).env("CALLED", &called);
        let (is_done, said) = run(&mut sh).await;
        assert!(is_done, "{name} {arguments:?}: {said}");
        std::fs::read_to_string(&called).expect("a file")
    };
    let reload = "systemctl --system daemon-reload\n";
    let stop = "deb-systemd-invoke stop chatmux@a.service chatmux@b.service\n";
    assert_eq!(calls("postinst", &["configure", "0.0.9-1"]).await, reload);
    assert_eq!(calls("prerm", &["upgrade", "0.2.0-1"]).await, "");
    assert_eq!(calls("prerm", &["remove"]).await, stop);
    assert_eq!(calls("postrm", &["remove"]).await, reload);
    assert!(link.exists(), "it starts again when it is installed again");
    assert_eq!(calls("postrm", &["purge"]).await, reload);
    assert!(!link.exists());
    // In an image that is being built there is no systemd.
    std::fs::remove_dir(&systemd).expect("a folder");
    for (name, why) in [("postinst", "configure"), ("prerm", "remove"), ("postrm", "remove")] {
        assert_eq!(calls(name, &[why]).await, "", "{name}");
    }
}

/// The binary under test is ten times as large as a released one, and is compressed.
const PACKAGE_TIME_MAX: Duration = Duration::from_secs(300);

/// Builds the package of the binary under test, where `cargo deb` is there: `.ci/setup` installs it.
#[tokio::test]
async fn the_debian_package_is_built_and_holds_what_it_names() {
    let (has_tool, _) = run(Command::new("cargo").args(["deb", "--version"])).await;
    if !has_tool {
        // What it would put in is looked at above in any case.
        println!("not built: there is no `cargo deb` (.ci/setup test)");
        return;
    }
    let scratch = Scratch::new();
    // It looks for the binary of a release build below the target folder.
    let release = scratch.path().join("release");
    std::fs::create_dir(&release).expect("a folder");
    std::fs::copy(env!("CARGO_BIN_EXE_chatmux"), release.join("chatmux")).expect("a copy");
    let mut deb = Command::new("cargo");
    deb.args(["deb", "--no-build", "--no-strip", "--fast", "--offline", "--output"])
        .arg(scratch.path().join("chatmux.deb"))
        .current_dir(root())
        .env("CARGO_TARGET_DIR", scratch.path());
    let built = tokio::time::timeout(PACKAGE_TIME_MAX, deb.kill_on_drop(true).output()).await;
    let built = built.expect("it is built in time").expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let deb = scratch.path().join("chatmux.deb");
    let (is_read, control) = run(Command::new("dpkg-deb").arg("--info").arg(&deb)).await;
    assert!(is_read, "{control}");
    let scripts = ["postinst", "prerm", "postrm"];
    let fields = [" Package: chatmux\n", "ca-certificates", "libssl3", "conffiles"];
    for field in fields.into_iter().chain(scripts) {
        assert!(control.contains(field), "{field} is not in {control}");
    }
    let (is_read, files) = run(Command::new("dpkg-deb").arg("--contents").arg(&deb)).await;
    assert!(is_read, "{files}");
    for (mode, file) in [
        ("-rwxr-xr-x", "./usr/bin/chatmux"),
        ("-rw-r--r--", "./usr/lib/systemd/system/chatmux@.service"),
        ("-rwxr-xr-x", "./usr/lib/chatmux/upgrade"),
        ("-rw-r--r--", "./etc/chatmux/chatmux.yaml"),
        ("-rw-r--r--", "./usr/share/doc/chatmux/README.md"),
        ("-rw-r--r--", "./usr/share/doc/chatmux/docs/operating.md"),
        ("-rw-r--r--", "./usr/share/doc/chatmux/docs/schema/asyncapi.json"),
        ("-rw-r--r--", "./usr/share/chatmux/prometheus/alerts.yaml"),
        ("-rw-r--r--", "./usr/share/chatmux/grafana/chatmux.json"),
        ("-rw-r--r--", "./usr/share/man/man1/chatmux.1.gz"),
        ("-rw-r--r--", "./usr/share/man/man1/chatmux-check.1.gz"),
        ("-rw-r--r--", "./usr/share/bash-completion/completions/chatmux"),
        ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_chatmux"),
        ("-rw-r--r--", "./usr/share/fish/vendor_completions.d/chatmux.fish"),
        ("-rw-r--r--", "./usr/share/doc/chatmux/copyright"),
        ("-rw-r--r--", "./usr/share/doc/chatmux/changelog.Debian.gz"),
    ] {
        let has = |line: &str| line.starts_with(mode) && line.ends_with(&format!(" {file}"));
        assert!(files.lines().any(has), "{mode} {file} is not in\n{files}");
    }
    let unit = read("packaging/systemd/chatmux@.service");
    let page = unit.lines().find_map(|line| line.strip_prefix("Documentation=file://"));
    assert!(files.contains(&format!(" .{}\n", page.expect("a page"))), "the unit's page");
}

#[tokio::test]
async fn the_image_runs_as_nobody_and_its_health_check_asks_the_process() {
    let docker = read("packaging/docker/Dockerfile");
    let stages: Vec<_> = docker.lines().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages, ["FROM rust:1.95-bookworm AS build", "FROM debian:bookworm-slim"]);
    // What is copied from the build stage is made there, from what is not left out of it.
    assert!(docker.contains("\nCOPY . .\nRUN cargo build --release --locked --bin chatmux\n"));
    let ignored = read(".dockerignore");
    for needed in ["src", "Cargo.toml", "Cargo.lock", "examples", ".cargo"] {
        assert!(root().join(needed).exists(), "{needed}");
        assert!(ignored.lines().all(|line| line.trim_end_matches('/') != needed), "{needed}");
    }
    let last = docker.rsplit_once("\nFROM ").expect("stages").1;
    let user = last.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    for copied in docker.lines().filter(|line| line.starts_with("COPY --from=build ")) {
        assert!(copied.contains("/src/target/release/chatmux"), "{copied}");
    }
    let check = last.lines().find_map(|line| line.trim().strip_prefix("CMD [\"bash\""));
    let check = format!("[\"bash\"{}", check.expect("a health check"));
    let check: Vec<String> = serde_json::from_str(&check).expect("the exec form");
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&Conf::new().backend(&backend).yaml()).await;
    let here = edge.admin_address().port().to_string();
    assert_eq!(Ask::get("/live").send(edge.admin_address()).await.head.status, 200);
    let ask = |port: &str| {
        let mut command = Command::new(&check[0]);
        command.args(check[1..].iter().map(|part| part.replace("9090", port)));
        command
    };
    let (is_healthy, said) = run(&mut ask(&here)).await;
    assert!(is_healthy, "{said}");
    let (is_healthy, _) = run(&mut ask(&edge.streams().port().to_string())).await;
    assert!(!is_healthy, "another answer than 200 is no health");
    drop(edge);
    let (is_healthy, _) = run(&mut ask("1")).await;
    assert!(!is_healthy, "nobody is there");
}
