//! Log lines on standard error, for people or for machines.
//!
//! `RUST_LOG` overrides the configured level, for lines of chatmux. Lines of libraries below
//! `warn` stay out whatever it says: they repeat requests, credentials included. A panic is told
//! by its place alone, since its message may hold what a client sent. Not here: what is told.

use std::io::Write as _;
use std::panic::Location;

use env_logger::{Builder, Env, Logger};
use log::{LevelFilter, Metadata, Record};

use crate::config::{Log, LogFormat, LogLevel};

/// How Pingora's lines begin about clients whose TLS handshake came to nothing. Scanners do that
/// all day; nobody has to come for it.
const HANDSHAKE: &str = "Downstream handshake";

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
    if conf.format == LogFormat::Json {
        builder.format(|out, record| {
            let line = serde_json::json!({
                "time": out.timestamp_millis().to_string(),
                "level": record.level().as_str().to_ascii_lowercase(),
                "target": record.target(),
                "message": record.args().to_string(),
            });
            writeln!(out, "{line}")
        });
    } else {
        builder.format_timestamp_millis();
    }
    let discreet = Discreet(builder.build());
    let most = discreet.0.filter();
    // It fails only where an embedder has installed a logger of its own, which then stands.
    if log::set_boxed_logger(Box::new(discreet)).is_ok() {
        log::set_max_level(most);
        std::panic::set_hook(Box::new(|panic| log::error!("{}", panicked(panic.location()))));
    }
}

fn panicked(at: Option<&Location<'_>>) -> String {
    let at = at.map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!("panicked at {at}; this is a bug of chatmux, please report it with this line")
}

/// A logger that keeps what libraries tell of requests to itself.
struct Discreet(Logger);

impl Discreet {
    fn is_ours(target: &str) -> bool {
        target == "chatmux" || target.starts_with("chatmux::")
    }
}

impl log::Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_open = Self::is_ours(metadata.target()) || metadata.level() <= LevelFilter::Warn;
        is_open && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let is_pingoras = record.target().starts_with("pingora");
        if is_pingoras && record.args().to_string().starts_with(HANDSHAKE) {
            return;
        }
        self.0.log(record);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use log::{Level, Log as _};

    use super::*;

    #[test]
    fn libraries_are_heard_from_warn_on() {
        let logger = Discreet(Builder::new().filter_level(LevelFilter::Trace).build());
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
    fn a_panic_is_told_by_its_place_alone() {
        let told = panicked(Some(Location::caller()));
        assert!(told.starts_with("panicked at src/cli/log.rs:"), "{told}");
    }
}
