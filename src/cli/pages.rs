//! `chatmux completions` and `chatmux man`: made of the command line itself, so never behind it.

use clap::Command;
use clap_complete::Shell;

/// Options of `completions`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux completions bash > /usr/share/bash-completion/completions/chatmux
  chatmux completions zsh > ~/.zfunc/_chatmux
  chatmux completions fish > ~/.config/fish/completions/chatmux.fish")]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

/// Options of `man`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux man > chatmux.1
  chatmux man check | man -l -")]
pub(super) struct ManArgs {
    /// The page of a command; without it, that of chatmux itself
    command: Option<String>,
}

pub(super) fn completions(mut cli: Command, args: &CompletionsArgs) -> Result<(), String> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "chatmux", &mut out);
    super::print(&out)
}

pub(super) fn man(mut cli: Command, args: &ManArgs) -> Result<(), String> {
    // Gives the commands of the command their full names.
    cli.build();
    let page = match &args.command {
        None => cli,
        Some(name) => {
            let known: Vec<_> = cli.get_subcommands().map(|command| command.get_name()).collect();
            let found = cli.find_subcommand(name).cloned();
            found.ok_or_else(|| format!("no command {name:?}; there are {}", known.join(", ")))?
        }
    };
    let title = page.get_display_name().unwrap_or("chatmux").to_owned();
    let source = format!("chatmux {}", env!("CARGO_PKG_VERSION"));
    let mut out = Vec::new();
    let page = clap_mangen::Man::new(page).title(title).source(source);
    page.render(&mut out).map_err(|error| error.to_string())?;
    super::print(&out)
}
