//! `chatmux check`: a conf file, all errors at once.

use std::path::PathBuf;

use serde_json::json;

use crate::config;

/// Options of `check`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux check -c conf/chatmux.yaml
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
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let (errors, warnings, summary) =
        match config::load(&args.conf, &|name| std::env::var(name).ok()) {
            Ok(loaded) => {
                let config = loaded.config;
                let summary = format!(
                    "{}: {} listeners, {} sources, {} routes",
                    args.conf.display(),
                    config.listen.len(),
                    config.sources.len(),
                    config.routes.len()
                );
                // What only shows when it is used: keys of token issuers.
                let built = crate::edge::Edge::new(std::sync::Arc::new(config));
                (built.err(), lines(&loaded.warnings), summary)
            }
            Err(errors) => (Some(errors.to_string()), Vec::new(), String::new()),
        };
    let mut errors: Vec<String> =
        errors.iter().flat_map(|errors| errors.lines()).map(str::to_owned).collect();
    let mut warnings = warnings;
    if args.strict {
        errors.append(&mut warnings);
    }
    match args.format {
        Format::Json => {
            println!(
                "{}",
                json!({"ok": errors.is_empty(), "errors": errors, "warnings": warnings})
            );
        }
        Format::Text => {
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
            if errors.is_empty() {
                println!("{summary}: ok");
            }
        }
    }
    match (errors.is_empty(), args.format) {
        (true, _) => Ok(()),
        (false, Format::Text) => Err(errors.join("\n")),
        (false, Format::Json) => Err("the conf file has errors".to_owned()),
    }
}

fn lines(warnings: &[impl ToString]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
