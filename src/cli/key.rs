//! `chatmux key`: makes API keys, and lists those of a conf file.
//!
//! A key is printed once and kept nowhere; the conf file holds only its digest. Not here: how a
//! key is looked up (`edge`).

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Format;
use super::terminal::{Paint, colour};
use crate::config::{self, ApiKey, Pattern};
use crate::edge;
use crate::proto::time::UnixMillis;

/// 256 bits: not to be guessed, however many keys there are.
const KEY_BYTES: usize = 32;

/// Of a digest so much is shown: enough to tell keys apart by eye.
const DIGEST_BYTES_SHOWN: usize = 6;

/// Options of `key`.
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  chatmux key new --label widget --tenant acme --expires 2027-01-01
  chatmux key list -c conf/chatmux.yaml
  chatmux key --label widget        (the same as key new)"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    new: New,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key: prints it once, and the conf entry with its digest
    New(New),
    /// List the keys of a conf file: labels, starts of digests, scopes, ends
    List(List),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux key new --label widget
  chatmux key new --label widget --tenant acme --workflow 'customer-.*' --expires 2027-01-01")]
struct New {
    /// The key's name in logs
    #[arg(long, default_value = "new-key")]
    label: String,
    /// A tenant that it opens; may be given several times
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<String>,
    /// A workflow that it opens, or an expression over all of one; may be given several times
    #[arg(long, value_name = "WORKFLOW")]
    workflow: Vec<String>,
    /// A participant that it opens; may be given several times
    #[arg(long, value_name = "PARTICIPANT")]
    participant: Vec<String>,
    /// From then on it is refused: 2027-01-01, or 2027-01-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux key list -c conf/chatmux.yaml
  chatmux key list -c conf/chatmux.yaml --format json")]
struct List {
    /// The conf file
    #[arg(short, long, value_name = "FILE")]
    conf: PathBuf,
    /// For people, or for pipelines
    #[arg(long, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    match &args.command {
        Some(Command::New(new)) => make(new),
        Some(Command::List(list)) => show(list),
        None => make(&args.new),
    }
}

fn make(new: &New) -> Result<(), String> {
    for workflow in &new.workflow {
        Pattern::parse(workflow).map_err(|why| format!("--workflow {workflow}: {why}"))?;
    }
    if let Some(expires) = &new.expires {
        let at = config::parse_time(expires);
        let at = at.map_err(|why| format!("--expires {expires}: {why}"))?;
        if at <= edge::wall() {
            let warning = Paint::of(&io::stderr()).paint(colour::YELLOW, "warning:");
            eprintln!("{warning} --expires {expires}: that is past, so the key opens nothing");
        }
    }
    let key = format!("cmx_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; KEY_BYTES]>()));
    let text = format!(
        "The key, shown this once:\n\n  {key}\n\n\
         The entry for the conf file, below auth: api_keys:\n\n{}\n",
        entry(new, &key)
    );
    super::print(text.as_bytes())
}

fn entry(new: &New, key: &str) -> String {
    // JSON strings are YAML strings, whatever is in them.
    let quoted = |text: &str| Value::from(text).to_string();
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let mut entry = format!("    - {{label: {}, sha256: \"{}\"", quoted(&new.label), hex(&digest));
    let lists = [
        ("tenants", &new.tenant),
        ("workflows", &new.workflow),
        ("participants", &new.participant),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            let list: Vec<_> = list.iter().map(|text| quoted(text)).collect();
            entry.push_str(&format!(", {name}: [{}]", list.join(", ")));
        }
    }
    if let Some(expires) = &new.expires {
        entry.push_str(&format!(", expires: {expires}"));
    }
    entry.push('}');
    entry
}

fn show(list: &List) -> Result<(), String> {
    let keys = config::api_keys(&list.conf).map_err(|errors| errors.to_string())?;
    let now = edge::wall();
    let text = match list.format {
        Format::Json => {
            let keys: Vec<_> = keys.iter().map(|key| json(key, now)).collect();
            format!("{}\n", Value::from(keys))
        }
        Format::Text => table(keys.iter().map(|key| row(key, now))),
    };
    super::print(text.as_bytes())
}

fn json(key: &ApiKey, now: UnixMillis) -> Value {
    let workflows: Vec<_> = key.workflows.iter().map(ToString::to_string).collect();
    json!({
        "label": key.label,
        "sha256": shown(&key.sha256),
        "tenants": key.tenants,
        "workflows": workflows,
        "participants": key.participants,
        "expires": key.expires.map(|at| at.to_string()),
        "isExpired": key.is_expired(now),
        "hasOwnLimits": key.limits.is_some(),
    })
}

const HEAD: [&str; 7] =
    ["LABEL", "SHA256", "TENANTS", "WORKFLOWS", "PARTICIPANTS", "EXPIRES", "LIMITS"];

fn row(key: &ApiKey, now: UnixMillis) -> [String; 7] {
    let any = |list: Vec<String>| if list.is_empty() { "any".to_owned() } else { list.join(",") };
    let expires = key.expires.map_or_else(|| "never".to_owned(), |at| at.to_string());
    [
        key.label.clone(),
        shown(&key.sha256),
        any(key.tenants.clone()),
        any(key.workflows.iter().map(ToString::to_string).collect()),
        any(key.participants.clone()),
        if key.is_expired(now) { format!("{expires} (over)") } else { expires },
        if key.limits.is_some() { "own" } else { "common" }.to_owned(),
    ]
}

fn table(rows: impl Iterator<Item = [String; 7]>) -> String {
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column));
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            // Writing to a text never fails.
            write!(line, "{text:width$}  ").unwrap_or_default();
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The start of a digest.
fn shown(digest: &[u8; 32]) -> String {
    format!("{}…", hex(digest.get(..DIGEST_BYTES_SHOWN).unwrap_or_default()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(label: &str) -> New {
        New {
            label: label.to_owned(),
            tenant: Vec::new(),
            workflow: Vec::new(),
            participant: Vec::new(),
            expires: None,
        }
    }

    #[test]
    fn the_entry_holds_the_digest_and_not_the_key() {
        let args = New {
            tenant: vec!["acme".to_owned()],
            workflow: vec!["a.*".to_owned(), "b".to_owned()],
            participant: vec!["jane".to_owned()],
            expires: Some("2027-01-01".to_owned()),
            ..new("a \"b\"")
        };
        assert_eq!(
            entry(&args, "secret"),
            "    - {label: \"a \\\"b\\\"\", sha256: \
             \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\", \
             tenants: [\"acme\"], workflows: [\"a.*\", \"b\"], participants: [\"jane\"], \
             expires: 2027-01-01}"
        );
    }

    #[test]
    fn what_would_be_refused_in_the_conf_is_refused_here() {
        let with = |args: New| make(&args).expect_err("refused");
        let workflow = vec!["a(".to_owned()];
        assert!(with(New { workflow, ..new("a") }).contains("unclosed group"));
        let expires = Some("tomorrow".to_owned());
        assert!(with(New { expires, ..new("a") }).contains("2027-01-01"));
    }

    #[test]
    fn a_list_shows_scopes_and_no_secret() {
        let key = ApiKey {
            label: "widget".to_owned(),
            sha256: [0xab; 32],
            tenants: vec!["acme".to_owned(), "globex".to_owned()],
            workflows: vec![Pattern::parse("c-.*").expect("a pattern")],
            participants: Vec::new(),
            expires: Some(UnixMillis(1_800_000_000_000)),
            limits: None,
        };
        let text = table([row(&key, UnixMillis(1_800_000_000_000))].into_iter());
        let line = text.lines().nth(1).expect("a line");
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        assert_eq!(
            words,
            [
                "widget",
                "abababababab…",
                "acme,globex",
                "c-.*",
                "any",
                "2027-01-15T08:00:00.000Z",
                "(over)",
                "common"
            ]
        );
        assert!(!text.contains(&"ab".repeat(7)), "{text}");
    }
}
