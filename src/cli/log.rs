//! Log lines on standard error, for people or for machines.
//!
//! `RUST_LOG` overrides the configured level. Pingora's own lines below `warn` stay out: they
//! are about its insides.

use std::io::Write as _;

use env_logger::{Builder, Env};
use log::LevelFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Installs the logger. A second call changes nothing.
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
    // It fails only where an embedder has installed a logger of its own, which then stands.
    let _is_first = builder.try_init().is_ok();
}
