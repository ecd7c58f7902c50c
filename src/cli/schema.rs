//! `chatmux schema`: contracts that are made of the code.

use crate::config;
use crate::proto::contract;

/// Options of `schema`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux schema conf > conf.schema.json
  chatmux schema configuration > configuration.md
  chatmux schema events > events.schema.json
  chatmux schema typescript > chatmux.ts")]
pub(super) struct Args {
    /// Which
    what: What,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// The JSON Schema of conf files, for editors
    Conf,
    /// The reference of conf files, Markdown for people
    Configuration,
    /// The JSON Schema of every event
    Events,
    /// The AsyncAPI 3 document of the stream
    Asyncapi,
    /// The TypeScript types of every event
    Typescript,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let text = match args.what {
        What::Conf => pretty(&config::schema())?,
        What::Configuration => config::document(),
        What::Events => pretty(&contract::schema())?,
        What::Asyncapi => pretty(&contract::asyncapi())?,
        What::Typescript => contract::typescript(),
    };
    super::print(text.as_bytes())
}

fn pretty(value: &serde_json::Value) -> Result<String, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    Ok(format!("{text}\n"))
}
