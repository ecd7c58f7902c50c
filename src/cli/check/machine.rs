//! What a conf may need at worst, and what the machine has: file descriptors and memory.
//!
//! At worst means: no two clients share anything, every ring is full, every source has sent the
//! largest event it may. Real needs are a small part of it. Not here: measuring.

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::config::{Config, Limit};

/// Descriptors of a process that serves nobody: listeners, runtime, log.
const DESCRIPTORS_BASE: u64 = 64;
/// Of a client stream beside its log: the kernel's send buffer (64 KiB, set so), one write in
/// the making (64 KiB), the tasks.
const CLIENT_BYTES: u64 = 160 * 1024;
/// Of an upstream stream beside its event: the kernel's receive buffer, TLS, the session.
const UPSTREAM_BYTES: u64 = 256 * 1024;

/// What the machine has.
struct Machine {
    descriptors: Option<u64>,
    bytes: Option<u64>,
}

/// What is needed.
pub(super) struct Needs {
    machine: Machine,
    descriptors_each: u64,
    bytes_each: u64,
    limits: Vec<Bound>,
}

/// What a limit of the conf lets in.
struct Bound {
    path: &'static str,
    whose: &'static str,
    streams: u64,
}

/// What a conf needs for each stream and within each of its limits.
pub(super) fn needs(config: &Config) -> Needs {
    let mut sources_max = 0;
    let mut bytes_max = 0;
    for route in &config.routes {
        let bytes = |bytes: usize| 2 * bytes as u64 + UPSTREAM_BYTES;
        sources_max = sources_max.max(route.sources.len() as u64);
        // One event as bytes, and one as what it became.
        bytes_max = bytes_max
            .max(route.sources.iter().map(|source| bytes(source.event_bytes_max)).sum::<u64>());
    }
    let mut limits = Vec::new();
    let mut add = |path, whose, limit: &Limit| {
        if let Some(streams) = limit.concurrent {
            limits.push(Bound { path, whose, streams: streams.into() });
        }
    };
    add("limits.address.concurrent", "one address", &config.limits.address);
    add("limits.subject.concurrent", "one key or subject", &config.limits.subject);
    add("limits.tenant.concurrent", "one tenant", &config.limits.tenant);
    Needs {
        machine: machine(),
        descriptors_each: 1 + sources_max,
        bytes_each: CLIENT_BYTES + config.replay.bytes as u64 + bytes_max,
        limits,
    }
}

fn machine() -> Machine {
    // `run` raises the soft limit to the hard one.
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard);
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let total = read("/proc/meminfo").and_then(|text| meminfo(&text));
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    let bytes = match (total, group) {
        (Some(total), Some(group)) => Some(total.min(group)),
        (total, group) => total.or(group),
    };
    Machine { descriptors, bytes }
}

/// The memory of the machine in bytes.
fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl Needs {
    const fn descriptors(&self, streams: u64) -> u64 {
        DESCRIPTORS_BASE + self.descriptors_each.saturating_mul(streams)
    }

    const fn bytes(&self, streams: u64) -> u64 {
        self.bytes_each.saturating_mul(streams)
    }

    /// How many streams the machine holds at worst; `None` if it does not tell.
    fn streams_max(&self) -> Option<u64> {
        let descriptors = self.machine.descriptors?.saturating_sub(DESCRIPTORS_BASE);
        let by_descriptors = descriptors / self.descriptors_each;
        let by_bytes = self.machine.bytes.map_or(u64::MAX, |bytes| bytes / self.bytes_each);
        Some(by_descriptors.min(by_bytes))
    }

    fn fits(&self, streams: u64) -> bool {
        self.streams_max().is_none_or(|max| streams <= max)
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let show =
            |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let mut lines = vec![format!(
            "at worst a stream takes {} descriptors and {}; this machine has {} and {}: {} streams",
            self.descriptors_each,
            mebibytes(self.bytes_each),
            show(self.machine.descriptors),
            self.machine.bytes.map_or_else(|| "?".to_owned(), mebibytes),
            show(self.streams_max()),
        )];
        for Bound { path, whose, streams } in &self.limits {
            let verdict = if self.fits(*streams) { "" } else { ", more than this machine has" };
            lines.push(format!(
                "{path}: {streams} streams of {whose} take at worst {} descriptors and {}{verdict}",
                self.descriptors(*streams),
                mebibytes(self.bytes(*streams)),
            ));
        }
        lines
    }

    /// For pipelines.
    pub(super) fn json(&self) -> Value {
        let limits = self.limits.iter().map(|Bound { path, streams, .. }| {
            json!({
                "path": path,
                "streams": streams,
                "descriptors": self.descriptors(*streams),
                "bytes": self.bytes(*streams),
                "fits": self.fits(*streams),
            })
        });
        json!({
            "machine": {"descriptors": self.machine.descriptors, "bytes": self.machine.bytes},
            "stream": {"descriptors": self.descriptors_each, "bytes": self.bytes_each},
            "streamsMax": self.streams_max(),
            "limits": limits.collect::<Vec<_>>(),
        })
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_those_of_the_widest_route_and_the_limits() {
        let conf = "listen: [{address: '127.0.0.1:0'}]
auth: {anonymous: true}
limits: {tenant: {concurrent: 1000}, event: 1MiB}
replay: {bytes: 1MiB}
sources:
  a: {backend: openfire, url: 'https://a', token: '{query.token}'}
  b: {backend: openfire, url: 'https://b', token: '{query.token}', event: 2MiB}
routes:
  - {path: /a, sources: [a]}
  - {path: /b, sources: [a, b]}";
        let loaded = crate::config::parse(conf, "c", std::path::Path::new(""), &|_| None);
        let config = loaded.expect("a conf").config;
        let mut needs = needs(&config);
        assert_eq!(needs.descriptors_each, 3);
        let mib = 1024 * 1024;
        assert_eq!(
            needs.bytes_each,
            CLIENT_BYTES + mib + (2 * mib + UPSTREAM_BYTES) + (4 * mib + UPSTREAM_BYTES)
        );
        needs.machine = Machine { descriptors: Some(64 + 2999), bytes: None };
        assert_eq!(needs.streams_max(), Some(999));
        let json = needs.json();
        assert_eq!(json["limits"][0]["fits"], false);
        assert_eq!(json["limits"][0]["descriptors"], 3064);
        assert!(needs.lines()[1].contains("3064 descriptors") && needs.lines()[1].contains("more"));
        needs.machine =
            Machine { descriptors: Some(1 << 20), bytes: Some(needs.bytes_each * 1000) };
        assert_eq!((needs.streams_max(), needs.fits(1000)), (Some(1000), true));
        assert!(!needs.lines()[1].contains("more than"));
    }

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        assert_eq!(
            meminfo("MemTotal:       24620188 kB\nMemFree: 1 kB\n"),
            Some(24_620_188 * 1024)
        );
        assert_eq!(meminfo("nothing"), None);
    }
}
