//! `chatmux run`: the proxy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::log;
use crate::config::{self, Config};
use crate::edge::{self, Edge, Hooks, RunOptions};

/// Options of `run`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux run -c conf/chatmux.yaml
  chatmux run -c conf/chatmux.yaml --upgrade    # then: kill -QUIT <old process>")]
pub(super) struct Args {
    /// The conf file
    #[arg(short, long, value_name = "FILE")]
    conf: PathBuf,
    /// Take the listeners over from a running process
    #[arg(short, long)]
    upgrade: bool,
    /// Go to the background
    #[arg(short, long)]
    daemon: bool,
    /// Where a background process writes its id
    #[arg(long, value_name = "FILE", requires = "daemon")]
    pid_file: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    // A daemon leaves the folder that it was started in.
    let placed = |path: &Path| match args.daemon {
        true => std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display())),
        false => Ok(path.to_owned()),
    };
    let conf = placed(&args.conf)?;
    let pid_file = args.pid_file.as_deref().map(placed).transpose()?;
    let config = load(&conf, log::init)?;
    if let Some(path) = &pid_file {
        writable(path).map_err(|error| format!("--pid-file {}: {error}", path.display()))?;
    }
    raise_file_limit();
    let options = RunOptions {
        is_upgrade: args.upgrade,
        is_daemon: args.daemon,
        pid_file: pid_file.map(|path| path.display().to_string()),
        stop_after: None,
    };
    let hooks = Hooks { reload: Some(Box::new(move || load(&conf, |_| {}))), ..Hooks::default() };
    edge::run(Edge::new(Arc::new(config))?, &options, hooks)
}

/// Whether a file can be written. The background process could tell nobody that it cannot.
fn writable(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(path).map(drop)
}

/// Asks for as many open files as the machine allows: every stream is one, and the usual soft
/// limit of 1,024 is meant for programs that use `select`.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        ::log::warn!(error:%; "the limit of open files stays as it is");
    }
}

/// Reads the conf file; warnings go to the log, once there is one.
fn load(conf: &Path, on_log: impl FnOnce(config::Log)) -> Result<Config, String> {
    let loaded = config::load(conf, &|name| std::env::var(name).ok())
        .map_err(|errors| errors.to_string())?;
    on_log(loaded.config.log);
    for warning in &loaded.warnings {
        let (line, column) = warning.position.map(|at| (at.line, at.column)).unzip();
        let (file, path) = (&*warning.file, warning.path.as_str());
        let warning = warning.message.as_str();
        ::log::warn!(file, line, column, path, warning; "configuration is odd");
    }
    Ok(loaded.config)
}
