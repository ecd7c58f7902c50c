//! The commands, a file each. Exit codes: 0 done, 1 what was asked failed, 2 usage.

mod check;
mod demo;
mod key;
mod log;
mod normalize;
mod run;
mod tail;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// One event stream in front of many chat backends.
#[derive(Parser)]
#[command(name = "chatmux", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  chatmux demo
  chatmux check -c conf/chatmux.yaml
  chatmux run -c conf/chatmux.yaml
  chatmux normalize --backend openfire --participant agent1@example.org capture.sse")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy
    Run(run::Args),
    /// Show everything in one process: scripted backends, the proxy in front, the merged stream
    Demo(demo::Args),
    /// Check a conf file: all errors at once
    Check(check::Args),
    /// Turn a captured upstream stream into the unified one
    Normalize(normalize::Args),
    /// Print the events of any stream, with reconnect
    Tail(tail::Args),
    /// Make an API key, or list those of a conf file
    Key(key::Args),
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Normalize(args) => normalize::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Key(args) => key::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                eprintln!("chatmux: {line}");
            }
            ExitCode::FAILURE
        }
    }
}
