//! The README's first route, executed as it stands, in an empty folder, against the backends that
//! it starts itself.
//!
//! One shell gets the blocks in their order; what each prints is what stands below it, where `…`
//! is what differs each time. Two things are not literal: the command is the one under test
//! instead of an installed one, and ports are free ones, since others run here too.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{Scratch, soon};

/// The first of the backends' ports, of which there are four; the stream's; the operators'.
const PORTS: [(&str, u16); 3] = [("970", 4), ("8080", 1), ("9090", 1)];

/// Commands, and what stands below them as their output.
struct Step {
    commands: String,
    shown: Option<String>,
}

fn steps(section: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        if language == "sh" {
            steps.push(Step { commands: block, shown: None });
            continue;
        }
        let last = steps.last_mut().filter(|last| language == "text" && last.shown.is_none());
        let Some(last) = last else { panic!("a block of {language:?} is no step: {block}") };
        last.shown = Some(block);
    }
    steps
}

/// So many free ports in a row, below those that systems give out by themselves.
fn free_ports(count: u16) -> u16 {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut first = 20_000 + rand::random::<u16>() % 10_000;
    while !(first..first + count).all(is_free) {
        first += count;
    }
    first
}

/// Whether a line is what is shown, where `…` stands for anything.
fn is_shown(shown: &str, line: &str) -> bool {
    let parts: Vec<_> = shown.split('…').map(regex::escape).collect();
    let pattern = format!("^{}$", parts.join(".*"));
    regex::Regex::new(&pattern).expect("an expression").is_match(line)
}

fn are_shown(shown: &str, printed: &str) -> bool {
    let (shown, printed): (Vec<_>, Vec<_>) = (shown.lines().collect(), printed.lines().collect());
    let is_same = |(shown, line): (&&str, &&str)| is_shown(shown, line);
    shown.len() == printed.len() && shown.iter().zip(&printed).all(is_same)
}

/// A shell with everything that it has started.
struct Shell {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
    group: u32,
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.group);
        let killed = std::process::Command::new("kill").args(["-KILL", "--", &group]).status();
        // It may have ended by itself.
        let _is_ended = killed.is_ok();
    }
}

impl Shell {
    fn start(folder: &Path, bin: &Path) -> Self {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
        let mut child = Command::new("bash")
            .current_dir(folder)
            .env("PATH", path)
            .env_remove("RUST_LOG")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bash runs");
        let stdin = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let group = child.id().expect("it runs");
        Self { stdin, lines, child, group }
    }

    /// What a block prints, on either output.
    async fn run(&mut self, commands: &str) -> String {
        const END: &str = "the end of the block";
        let block = format!("{commands}\necho '{END}'\n");
        self.stdin.write_all(block.as_bytes()).await.expect("it reads");
        let mut printed = String::new();
        let all = async {
            loop {
                let line = self.lines.next_line().await.expect("a pipe");
                let line = line.unwrap_or_else(|| panic!("it ended in {commands}"));
                // What ends without a line break has this behind it.
                if let Some(last) = line.strip_suffix(END) {
                    printed.push_str(last);
                    return;
                }
                printed.push_str(&format!("{line}\n"));
            }
        };
        soon(commands, all).await;
        printed
    }
}

/// Looking changes nothing, so it can be done again until there is something to see.
fn only_looks(commands: &str) -> bool {
    commands.lines().all(|line| {
        let looks = ["cat ", "tail ", "curl -s "];
        looks.iter().any(|look| line.starts_with(look)) && !line.contains('>')
    })
}

#[tokio::test]
async fn the_first_route_of_the_readme_leads_to_a_running_stream() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the page");
    let section = readme.split_once("\n## First route\n").expect("a section").1;
    let mut section = section.split_once("\n## ").expect("an end").0.to_owned();
    for (written, count) in PORTS {
        assert!(section.contains(written), "{written}");
        let first = free_ports(count);
        for offset in 0..count {
            // The four follow one another: 9701 to 9704.
            let (from, to) = match count {
                1 => (written.to_owned(), first),
                _ => (format!("{written}{}", offset + 1), first + offset),
            };
            section = section.replace(&from, &to.to_string());
        }
    }
    let steps = steps(&section);
    let (install, steps) = steps.split_first().expect("steps");
    assert_eq!(install.commands, "make setup\ncargo install --locked --path .\n");
    assert!(steps.len() >= 10, "{} steps", steps.len());

    let (folder, bin) = (Scratch::new(), Scratch::new());
    let command = bin.path().join("chatmux");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_chatmux"), command).expect("a link");
    let mut shell = Shell::start(folder.path(), bin.path());
    shell.run("exec 2>&1").await;
    for Step { commands, shown } in steps {
        let shown = shown.as_deref().unwrap_or_default();
        let mut printed = shell.run(commands).await;
        if only_looks(commands) {
            let looks = async {
                while !are_shown(shown, &printed) {
                    printed = shell.run(commands).await;
                }
            };
            if tokio::time::timeout(crate::support::DEADLINE, looks).await.is_ok() {
                continue;
            }
        }
        assert!(are_shown(shown, &printed), "{commands}\nshows\n{shown}\nand prints\n{printed}");
    }
    shell.stdin.write_all(b"exit\n").await.expect("it reads");
    let status = soon("the shell ends", shell.child.wait()).await.expect("a status");
    assert!(status.success(), "{status}");
}

#[test]
fn what_is_shown_is_compared_line_by_line() {
    assert!(are_shown("a …\n\nb", "a 1\n\nb\n"));
    for printed in ["a 1\n\nc\n", "a 1\nb\n", "a 1\n\nb\nmore\n", "x a 1\n\nb\n", ""] {
        assert!(!are_shown("a …\n\nb", printed), "{printed:?}");
    }
}
