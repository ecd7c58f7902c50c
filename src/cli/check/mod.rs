//! `chatmux check`: a conf file, all errors at once; what it needs of the machine; with
//! `--online` whether its sources and issuers answer.
//!
//! What is wrong with a conf is found where it is read (`config`). Here it is reported: for
//! people on a terminal, as JSON for pipelines. What the machine has is told and never fails the
//! check, which may run on another machine than the proxy.

mod machine;
mod online;

use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Format;
use super::terminal::{Paint, colour};
use crate::config::{self, Config, Finding};

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
    /// Where it stands, if it stands anywhere.
    finding: Option<Finding>,
    text: String,
}

impl Said {
    const fn of_no_place(text: String) -> Self {
        Self { finding: None, text }
    }

    fn json(&self) -> Value {
        let Some(finding) = &self.finding else {
            return json!({"text": self.text, "message": self.text});
        };
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
        Self { finding: Some(finding.clone()), text: finding.to_string() }
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
                report.errors.push(Said::of_no_place(format!("and {} more", errors.more)));
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
    let config = std::sync::Arc::new(config);
    // Keys of token issuers, authorities of sources.
    if let Err(error) = crate::edge::Edge::new(config.clone()) {
        report.errors.push(Said::of_no_place(error));
        return Ok(());
    }
    if args.online {
        report.tried = online::try_all(&config)?;
        for tried in &report.tried {
            let said = |text: &String| Said::of_no_place(format!("{}: {text}", tried.path));
            report.errors.extend(tried.errors.iter().map(said));
            report.warnings.extend(tried.warnings.iter().map(said));
        }
    }
    Ok(())
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
