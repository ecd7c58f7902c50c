//! `chatmux run`: the proxy.

use std::path::PathBuf;
use std::sync::Arc;

use super::log;
use crate::config;
use crate::edge::{self, RunOptions};

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
    #[arg(long, value_name = "FILE")]
    pid_file: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let loaded = config::load(&args.conf, &|name| std::env::var(name).ok())
        .map_err(|errors| errors.to_string())?;
    log::init(loaded.config.log);
    for warning in &loaded.warnings {
        ::log::warn!("{warning}");
    }
    let options = RunOptions {
        is_upgrade: args.upgrade,
        is_daemon: args.daemon,
        pid_file: args.pid_file.clone(),
        stop_after: None,
    };
    edge::run(Arc::new(loaded.config), &options)
}
