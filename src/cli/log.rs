//! Log lines on standard error, for people or for machines.
//!
//! `RUST_LOG` overrides the configured level, for lines of chatmux. Lines of libraries below
//! `warn` stay out whatever it says: they repeat requests, credentials included. A panic is told
//! by its place alone, since its message may hold what a client sent. Warnings and errors that
//! repeat are counted instead. Not here: what is told, how a line is written down (`line`).

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use env_logger::{Builder, Env, Logger};
use foldhash::fast::RandomState;
use log::kv::{self, Key, Source, ToValue as _, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};

use super::line;
use crate::config::{Log, LogFormat, LogLevel};
use crate::edge;
use crate::telemetry::Repeats;

/// The fields that say what a line is about; others are about its moment.
const SUBJECTS: [&str; 7] = ["source", "route", "reason", "issuer", "path", "address", "listener"];

/// Installs the logger and the panic hook. A second call changes nothing.
pub(super) fn init(conf: Log) {
    let level = match conf.level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    };
    let mut builder = Builder::new();
    builder.filter_level(level.min(LevelFilter::Warn)).filter_module("chatmux", level);
    builder.parse_env(Env::default());
    match conf.format {
        LogFormat::Json => builder.format(line::json),
        LogFormat::Text => builder.format(line::text),
    };
    let discreet = Discreet::new(builder.build());
    let most = discreet.logger.filter();
    // It fails only where an embedder has installed a logger of its own, which then stands.
    if log::set_boxed_logger(Box::new(discreet)).is_ok() {
        log::set_max_level(most);
        std::panic::set_hook(Box::new(|panic| {
            let at = place(panic.location());
            log::error!(at = at.as_str(); "panicked: a bug of chatmux, please report this line");
        }));
    }
}

fn place(at: Option<&Location<'_>>) -> String {
    at.map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
}

/// A logger that keeps what libraries tell of requests to itself, and does not repeat itself.
struct Discreet {
    logger: Logger,
    repeats: Mutex<Repeats>,
    hasher: RandomState,
}

impl Discreet {
    fn new(logger: Logger) -> Self {
        Self { logger, repeats: Mutex::default(), hasher: RandomState::default() }
    }

    /// Whether to write a warning or an error, and how many of the same were left out before it.
    /// Ours are the same with the same message about the same thing; a library's with the same
    /// place, since its messages hold addresses and the like. News of sources counts, too: each
    /// of their streams has it; and of listeners: anybody may fail there. All else that was asked
    /// for, as the ends of streams, does not.
    fn admit(&self, record: &Record<'_>) -> Option<u64> {
        let is_about = |key| record.key_values().get(Key::from_str(key)).is_some();
        let is_news = match record.level() {
            Level::Error | Level::Warn => true,
            Level::Info => is_about("source") || is_about("listener"),
            Level::Debug | Level::Trace => is_about("listener"),
        };
        if !is_news {
            return Some(0);
        }
        let mut hash = self.hasher.build_hasher();
        (record.target(), record.line()).hash(&mut hash);
        if Self::is_ours(record.target()) {
            record.args().to_string().hash(&mut hash);
            for key in SUBJECTS {
                let value = record.key_values().get(Key::from_str(key));
                value.map(|value| value.to_string()).hash(&mut hash);
            }
        }
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        repeats.on_line(hash.finish(), edge::now())
    }

    fn is_ours(target: &str) -> bool {
        target == "chatmux" || target.starts_with("chatmux::")
    }
}

impl log::Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_open = Self::is_ours(metadata.target()) || metadata.level() <= LevelFilter::Warn;
        is_open && self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Errors of ours want somebody to come: each is told.
        if record.level() == Level::Error && Self::is_ours(record.target()) {
            return self.logger.log(record);
        }
        match self.admit(record) {
            None => {}
            Some(0) => self.logger.log(record),
            Some(suppressed) => {
                let fields = Suppressed { inner: record.key_values(), suppressed };
                self.logger.log(&record.to_builder().key_values(&fields).build());
            }
        }
    }

    fn flush(&self) {
        self.logger.flush();
    }
}

/// The fields of a record, and how many others like it were left out.
struct Suppressed<'r> {
    inner: &'r dyn Source,
    suppressed: u64,
}

impl Source for Suppressed<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        self.inner.visit(visitor)?;
        visitor.visit_pair(Key::from_str("suppressed"), self.suppressed.to_value())
    }
}

#[cfg(test)]
mod tests {
    use log::{Level, Log as _};

    use super::*;
    use crate::telemetry::REPEATS_MAX;

    #[test]
    fn libraries_are_heard_from_warn_on() {
        let logger = Discreet::new(Builder::new().filter_level(LevelFilter::Trace).build());
        let is_heard = |target: &str, level: Level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(is_heard("chatmux", Level::Trace) && is_heard("chatmux::edge", Level::Trace));
        for target in ["pingora_proxy", "h2::codec", "chatmux_not", "rustls"] {
            assert!(is_heard(target, Level::Warn) && is_heard(target, Level::Error));
            assert!(!is_heard(target, Level::Info) && !is_heard(target, Level::Trace), "{target}");
        }
    }

    #[test]
    fn the_same_about_another_thing_is_no_repeat_and_neither_is_news() {
        let logger = Discreet::new(Builder::new().build());
        let admitted = |level: Level, source: &str, wait_secs: u64| {
            let fields = [("source", source.to_value()), ("wait_secs", wait_secs.to_value())];
            let fields = fields.as_slice();
            let mut record = Record::builder();
            record.level(level).target("chatmux::edge").line(Some(1)).key_values(&fields);
            logger.admit(&record.args(format_args!("source is down")).build()).is_some()
        };
        let told = (0..100).filter(|wait| admitted(Level::Warn, "desk", *wait)).count();
        assert_eq!(told, REPEATS_MAX as usize);
        assert!(admitted(Level::Warn, "care", 0), "another source");
        let up = (0..100).filter(|wait| admitted(Level::Info, "voice", *wait)).count();
        assert_eq!(up, REPEATS_MAX as usize, "a thousand streams come back together, too");
        let ends = || {
            let record = Record::builder().level(Level::Info).target("chatmux::access").build();
            logger.admit(&record).is_some()
        };
        assert!((0..100).all(|_| ends()), "each stream has its end");
        let library = |port: u16| {
            let mut record = Record::builder();
            record.level(Level::Error).target("pingora_core").line(Some(7));
            logger.admit(&record.args(format_args!("{port} fails")).build()).is_some()
        };
        assert_eq!((1..100).filter(|port| library(*port)).count(), REPEATS_MAX as usize);
    }

    #[test]
    fn a_panic_is_told_by_its_place_alone() {
        let told = place(Some(Location::caller()));
        assert!(told.starts_with("src/cli/log.rs:"), "{told}");
    }
}
