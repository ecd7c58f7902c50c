//! `chatmux check`: a conf file, all errors at once; what it needs of the machine; with
//! `--online` whether its sources and issuers answer.
//!
//! What is wrong with a conf is found where it is read (`config`). Here it is reported: for
//! people on a terminal, as JSON for pipelines. What the machine has is told and never fails the
//! check, which may run on another machine than the proxy.

mod machine;
mod online;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Format;
use super::terminal::{Paint, colour};
use crate::config::{self, Config, Finding, Places};
use crate::edge::wall;

/// Options of `check`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux check -c conf/chatmux.yaml
  chatmux check -c conf/chatmux.yaml --online
  chatmux check -c conf/chatmux.yaml --format json --strict")]
pub(super) struct Args {
    /// The conf file
    #[arg(short, long, value_name = "FILE")]
    conf: PathBuf,
    /// For people, or for pipelines
    #[arg(long, default_value = "text")]
    format: Format,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// Try each source and key set, too: name, connection, certificate, answer, clock
    #[arg(long)]
    online: bool,
}

/// All that there is to say.
#[derive(Default)]
struct Report {
    errors: Vec<Said>,
    warnings: Vec<Said>,
    /// What the conf amounts to, and what it needs.
    summary: Option<String>,
    needs: Option<machine::Needs>,
    tried: Vec<online::Tried>,
}

/// One thing that is wrong, or odd.
struct Said {
    finding: Finding,
    text: String,
}

impl Said {
    /// About a file as a whole.
    fn of_whole(conf: &Path, message: String) -> Self {
        let file = conf.display().to_string().into();
        Self::from(&Finding { file, position: None, path: String::new(), message })
    }

    fn json(&self) -> Value {
        let finding = &self.finding;
        json!({
            "text": self.text,
            "file": *finding.file,
            "line": finding.position.map(|at| at.line),
            "column": finding.position.map(|at| at.column),
            "path": finding.path,
            "message": finding.message,
        })
    }
}

impl From<&Finding> for Said {
    fn from(finding: &Finding) -> Self {
        Self { finding: finding.clone(), text: finding.to_string() }
    }
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let mut report = Report::default();
    match config::load(&args.conf, &|name| std::env::var(name).ok()) {
        Ok(loaded) => {
            report.warnings = loaded.warnings.iter().map(Said::from).collect();
            look_at(args, loaded.config, &mut report)?;
        }
        Err(errors) => {
            report.errors = errors.errors.iter().map(Said::from).collect();
            if errors.more > 0 {
                let more = format!("there are {} more errors", errors.more);
                report.errors.push(Said::of_whole(&args.conf, more));
            }
            report.warnings = errors.warnings.iter().map(Said::from).collect();
        }
    }
    if args.strict {
        report.errors.append(&mut report.warnings);
    }
    match args.format {
        Format::Json => print_json(&report),
        Format::Text => print_text(&report),
    }
}

/// What only shows when a good conf is used.
fn look_at(args: &Args, config: Config, report: &mut Report) -> Result<(), String> {
    report.summary = Some(format!(
        "{}: {} listeners, {} sources, {} routes",
        args.conf.display(),
        config.listen.len(),
        config.sources.len(),
        config.routes.len()
    ));
    report.needs = Some(machine::needs(&config));
    let mut places = None;
    let now = wall();
    for (index, key) in config.auth.api_keys.iter().enumerate() {
        if key.is_expired(now) {
            let option = format!("auth.api_keys[{index}].expires");
            let message = "this key has expired and opens nothing; drop it, or make another";
            report.warnings.push(at(args, &mut places, &option, message));
        }
    }
    let config = std::sync::Arc::new(config);
    // Keys of token issuers, authorities of sources.
    if let Err(error) = crate::edge::Edge::new(config.clone()) {
        let (option, message) = error.split_once(": ").unwrap_or(("", &error));
        report.errors.push(at(args, &mut places, option, message));
        return Ok(());
    }
    if args.online {
        report.tried = online::try_all(&config)?;
        for tried in &report.tried {
            let mut said = |text: &String| at(args, &mut places, &tried.path, text);
            report.errors.extend(tried.errors.iter().map(&mut said));
            report.warnings.extend(tried.warnings.iter().map(&mut said));
        }
    }
    Ok(())
}

/// Something to say about an option, and where it stands. `places` are looked up once.
fn at(args: &Args, places: &mut Option<Option<Places>>, option: &str, message: &str) -> Said {
    match places.get_or_insert_with(|| Places::load(&args.conf)) {
        Some(places) => Said::from(&places.finding(option, message.to_owned())),
        // It could be read a moment ago.
        None => Said::of_whole(&args.conf, format!("{option}: {message}")),
    }
}

fn print_json(report: &Report) -> Result<(), String> {
    let list = |all: &[Said]| all.iter().map(Said::json).collect::<Vec<_>>();
    let text = json!({
        "ok": report.errors.is_empty(),
        "errors": list(&report.errors),
        "warnings": list(&report.warnings),
        "resources": report.needs.as_ref().map(machine::Needs::json),
        "online": report.tried.iter().map(online::Tried::json).collect::<Vec<_>>(),
    });
    super::print(format!("{text}\n").as_bytes())?;
    if report.errors.is_empty() { Ok(()) } else { Err("the conf has errors".to_owned()) }
}

fn print_text(report: &Report) -> Result<(), String> {
    let (out, err) = (Paint::of(&io::stdout()), Paint::of(&io::stderr()));
    for warning in &report.warnings {
        eprintln!("{} {}", err.paint(colour::YELLOW, "warning:"), warning.text);
    }
    let mut text = String::new();
    for tried in &report.tried {
        text.push_str(&format!("{}\n", tried.line(out)));
    }
    if report.errors.is_empty()
        && let (Some(summary), Some(needs)) = (&report.summary, &report.needs)
    {
        for line in needs.lines() {
            text.push_str(&format!("{}\n", out.paint(colour::GREY, &line)));
        }
        text.push_str(&format!("{summary}: {}\n", out.paint(colour::GREEN, "ok")));
    }
    super::print(text.as_bytes())?;
    if report.errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = report.errors.iter().map(|error| error.text.as_str()).collect();
    Err(errors.join("\n"))
}
