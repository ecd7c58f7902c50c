//! `chatmux normalize`: a captured upstream stream, turned into the unified one.
//!
//! Message events only, on standard output; with `--explain` a line per frame on standard
//! error. The exit code says whether the input could be read, not what was in it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::terminal::{Paint, Progress, colour};
use crate::edge::wall;
use crate::proto::backend::{self, Dialect, Keep, Policy, SessionValues, Transport};
use crate::proto::channel::Filter;
use crate::proto::event::{Subscription, TypeSet, Vocabulary};
use crate::proto::normalize::{Capture, Normalizer};
use crate::proto::time::UnixMillis;

/// Read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Poll answers are read whole; a capture that is larger is none.
const ANSWERS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Options of `normalize`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux normalize --backend openfire --participant agent1@example.org capture.sse
  curl -sN ... | chatmux normalize --backend xians --participant jane@example.com --explain
  chatmux normalize --backend brightpattern --participant ada --chat d6c1adc2 answers.json")]
pub(super) struct Args {
    /// The dialect: openfire, xians, salesforce, brightpattern
    #[arg(long, value_parser = dialect)]
    backend: &'static Dialect,
    /// The participant whose stream it was
    #[arg(long)]
    participant: String,
    /// The tenant
    #[arg(long, default_value = "tenant")]
    tenant: String,
    /// The workflow
    #[arg(long, default_value = "workflow")]
    workflow: String,
    /// The conversation, where the source names one (Salesforce)
    #[arg(long)]
    conversation: Option<String>,
    /// The chat's id (Bright Pattern)
    #[arg(long)]
    chat: Option<String>,
    /// The scope that passes
    #[arg(long)]
    scope: Option<String>,
    /// The message types that pass, a comma list
    #[arg(long, value_parser = types)]
    types: Option<TypeSet>,
    /// The names that clients know
    #[arg(long, default_value = "full")]
    vocabulary: Names,
    /// What becomes of frames whose name is not in the dialect's table
    #[arg(long, default_value = "raw")]
    unmapped: KeepWord,
    /// What becomes of broken frames
    #[arg(long, default_value = "drop")]
    malformed: KeepWord,
    /// Say of each frame, on standard error, what became of it
    #[arg(long)]
    explain: bool,
    /// The same output at every run: minted ids m1, m2..., epoch 0, arrival in 1970
    #[arg(long)]
    deterministic: bool,
    /// The capture, in one or more files; without any, standard input
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Names {
    Full,
    Core,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum KeepWord {
    Raw,
    Drop,
}

impl From<KeepWord> for Keep {
    fn from(word: KeepWord) -> Self {
        match word {
            KeepWord::Raw => Self::Raw,
            KeepWord::Drop => Self::Drop,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let mut reader = open(&args.files)?;
    let mut normalizer = Normalizer::new(Capture {
        dialect: args.backend,
        subscription: Subscription::new(&args.tenant, &args.workflow, &args.participant),
        values: &values(args),
        policy: Policy { unmapped: args.unmapped.into(), malformed: args.malformed.into() },
        filter: Filter {
            types: args.types.unwrap_or(TypeSet::ALL),
            scope: args.scope.as_deref().filter(|scope| !scope.is_empty()).map(Box::from),
            vocabulary: match args.vocabulary {
                Names::Full => Vocabulary::Full,
                Names::Core => Vocabulary::Core,
            },
        },
        mint: (!args.deterministic).then(|| format!("{:016x}", rand::random::<u64>())),
        epoch: if args.deterministic { 0 } else { rand::random() },
        seed: if args.deterministic { 0 } else { rand::random() },
    });
    let done = match args.backend.transport {
        Transport::Stream => stream(args, &mut normalizer, &mut reader),
        Transport::Poll { .. } => answers(args, &mut normalizer, reader),
    };
    match done {
        Ok(()) => {}
        // Whoever reads the output has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(Failure::Output(error)) => return Err(format!("cannot write: {error}")),
        Err(Failure::Input(error)) => return Err(format!("cannot read the capture: {error}")),
    }
    if args.explain {
        eprintln!("{}", normalizer.summary());
    }
    Ok(())
}

enum Failure {
    Input(io::Error),
    Output(io::Error),
}

fn stream(args: &Args, normalizer: &mut Normalizer, reader: &mut dyn Read) -> Result<(), Failure> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut progress, mut done) = (Progress::new(), 0);
    // What comes out is a sign of life already.
    let is_seen = args.explain || io::stdout().is_terminal();
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Input(error)),
        };
        done += read;
        if !is_seen {
            progress.tell(|| format!("{} MiB are read", done >> 20));
        }
        let bytes = Bytes::copy_from_slice(chunk.get(..read).unwrap_or_default());
        let (mut out, mut lines) = (Vec::new(), String::new());
        normalizer.push(bytes, arrival(args), &mut out, &mut lines);
        write(args, &out, &lines).map_err(Failure::Output)?;
    }
}

fn answers(args: &Args, normalizer: &mut Normalizer, reader: Box<dyn Read>) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    reader.take(ANSWERS_BYTES_MAX).read_to_end(&mut bytes).map_err(Failure::Input)?;
    let text = String::from_utf8_lossy(&bytes);
    for document in backend::brightpattern::documents(&text) {
        let (mut out, mut lines) = (Vec::new(), String::new());
        normalizer.answer(document, arrival(args), &mut out, &mut lines);
        write(args, &out, &lines).map_err(Failure::Output)?;
    }
    Ok(())
}

fn write(args: &Args, out: &[u8], lines: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(out)?;
    stdout.flush()?;
    if args.explain {
        let paint = Paint::of(&io::stderr());
        for line in lines.lines() {
            let is_lost = line.contains("-> discarded: ");
            let line = if is_lost { paint.paint(colour::YELLOW, line) } else { line.to_owned() };
            eprintln!("{line}");
        }
    }
    Ok(())
}

fn arrival(args: &Args) -> UnixMillis {
    if args.deterministic { UnixMillis(0) } else { wall() }
}

fn values(args: &Args) -> SessionValues {
    let mut values = SessionValues::new();
    for (name, value) in [("conversation", &args.conversation), ("chat", &args.chat)] {
        if let Some(value) = value {
            values.insert(name, value.clone());
        }
    }
    values
}

/// All files, one after another; standard input where there is none.
fn open(files: &[PathBuf]) -> Result<Box<dyn Read>, String> {
    let mut reader: Box<dyn Read> = Box::new(io::empty());
    if files.is_empty() {
        return Ok(Box::new(io::stdin()));
    }
    for path in files {
        let next: Box<dyn Read> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Box::new(file)
        };
        reader = Box::new(reader.chain(next));
    }
    Ok(reader)
}

fn dialect(name: &str) -> Result<&'static Dialect, String> {
    backend::dialect(name).ok_or_else(|| {
        let names: Vec<_> = backend::ROSTER.iter().map(|dialect| dialect.name).collect();
        format!("no such backend; there are {}", names.join(", "))
    })
}

fn types(list: &str) -> Result<TypeSet, String> {
    TypeSet::parse(list).map_err(|name| format!("{name:?} is no message type"))
}
