//! `chatmux completions` and `chatmux man`: made of the command line itself, so never behind it.
//!
//! What packages hold of both is committed (`packaging/completions`, `packaging/man`); a test
//! compares, and `BLESS=1` rewrites.

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
  chatmux man check | man -l -
  chatmux man key list | man -l -")]
pub(super) struct ManArgs {
    /// The page of a command, word by word; without it, that of chatmux itself
    command: Vec<String>,
}

pub(super) fn completions(cli: Command, args: &CompletionsArgs) -> Result<(), String> {
    super::print(&completion(cli, args.shell))
}

pub(super) fn man(cli: Command, args: &ManArgs) -> Result<(), String> {
    let mut page = documented(cli);
    for name in &args.command {
        let known: Vec<_> = page.get_subcommands().map(|command| command.get_name()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let found = page.find_subcommand(name).cloned();
        page = found.ok_or_else(|| format!("no command {name:?}; there are {known}"))?;
    }
    super::print(&written(page)?)
}

fn completion(mut cli: Command, shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut cli, "chatmux", &mut out);
    out
}

/// The commands of which there are pages, with their full names.
fn documented(cli: Command) -> Command {
    // `help` says what the pages say.
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    cli
}

fn written(page: Command) -> Result<Vec<u8>, String> {
    let title = page.get_display_name().unwrap_or("chatmux").to_owned();
    let source = format!("chatmux {}", env!("CARGO_PKG_VERSION"));
    let mut out = Vec::new();
    let page = clap_mangen::Man::new(page).title(title).source(source);
    page.render(&mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    use super::*;

    /// All pages, by the names of their files.
    fn pages(command: Command, out: &mut BTreeMap<String, String>) {
        for one in command.get_subcommands() {
            pages(one.clone(), out);
        }
        let name = command.get_display_name().unwrap_or("chatmux").to_owned();
        let text = written(command).expect("a page");
        out.insert(format!("man/{name}.1"), String::from_utf8(text).expect("text"));
    }

    /// The files below a folder, by their paths from `packaging/`.
    fn committed(folder: &std::path::Path, prefix: &str, out: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = format!("{prefix}/{}", path.file_name().expect("a name").to_string_lossy());
            if path.is_dir() {
                committed(&path, &name, out);
            } else {
                out.insert(name, std::fs::read_to_string(&path).expect("text"));
            }
        }
    }

    #[test]
    fn packages_hold_what_the_command_line_makes() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
        let mut made = BTreeMap::new();
        pages(documented(super::super::Cli::command()), &mut made);
        for (shell, file) in [
            (Shell::Bash, "bash/chatmux"),
            (Shell::Zsh, "zsh/_chatmux"),
            (Shell::Fish, "fish/chatmux.fish"),
        ] {
            let text = completion(super::super::Cli::command(), shell);
            made.insert(format!("completions/{file}"), String::from_utf8(text).expect("text"));
        }
        if std::env::var_os("BLESS").is_some() {
            for (file, text) in &made {
                std::fs::write(root.join(file), text).expect("a file");
            }
        }
        let mut found = BTreeMap::new();
        committed(&root.join("man"), "man", &mut found);
        committed(&root.join("completions"), "completions", &mut found);
        let names = |all: &BTreeMap<String, String>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&made), names(&found), "a file for each, and no other");
        for (file, text) in &made {
            assert!(found[file] == *text, "packaging/{file} is another; BLESS=1 rewrites it");
        }
    }

    #[test]
    fn every_page_that_a_page_names_is_there() {
        let mut made = BTreeMap::new();
        pages(documented(super::super::Cli::command()), &mut made);
        let mut count = 0;
        for (file, text) in &made {
            for name in text.lines().filter_map(|line| line.strip_suffix("(1)")) {
                count += 1;
                let name = format!("man/{}.1", name.replace("\\-", "-"));
                assert!(made.contains_key(&name), "{file} names {name}");
            }
        }
        assert_eq!(count + 1, made.len(), "each but the first is named once");
    }
}
