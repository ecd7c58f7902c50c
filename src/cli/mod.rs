//! The commands, a file each. Exit codes: 0 done, 1 what was asked failed, 2 usage.

mod check;
mod demo;
mod key;
mod line;
mod log;
mod normalize;
mod pages;
mod run;
mod schema;
mod selftest;
mod stream;
mod tail;
mod terminal;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::terminal::{Paint, colour};

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
    /// Find out whether something between here and a stream buffers, compresses or cuts it
    Selftest(selftest::Args),
    /// Make an API key, or list those of a conf file
    Key(key::Args),
    /// Print a contract that is made of the code
    Schema(schema::Args),
    /// Print what makes a shell complete chatmux's commands
    Completions(pages::CompletionsArgs),
    /// Print a manual page
    Man(pages::ManArgs),
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
        Command::Selftest(args) => selftest::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => pages::completions(Cli::command(), &args),
        Command::Man(args) => pages::man(Cli::command(), &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let head = Paint::of(&io::stderr()).paint(colour::RED, "chatmux:");
            for line in message.lines() {
                eprintln!("{head} {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What a command runs on that waits for the network.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))
}

/// Writes to standard output. Whoever closes it has seen enough.
fn print(text: &[u8]) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
