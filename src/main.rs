//! The `chatmux` command. All of it is in `chatmux::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chatmux::cli::main()
}
