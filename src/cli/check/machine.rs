//! What a conf may need at worst, and what the machine has: file descriptors and memory.
//!
//! At worst means: no two clients share anything, every ring is full, every source has sent the
//! largest event it may, and every connection that speaks HTTP/2 holds as many streams as it may.
//! Real needs are a small part of it. Not here: measuring.

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::config::{Config, Limit};
use crate::edge::{H2_STREAMS_MAX, connections_max};

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
    /// Upstream streams of a client stream.
    sources_max: u64,
    bytes_each: u64,
    limits: Vec<Bound>,
}

/// What a limit of the conf lets in.
struct Bound {
    path: &'static str,
    whose: &'static str,
    streams: u64,
    /// Of clients. Streams of HTTP/1.1 have one each.
    connections: u64,
    /// The conf does not say it; this much is let in all the same.
    is_default: bool,
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
            let streams = streams.into();
            limits.push(Bound { path, whose, streams, connections: streams, is_default: false });
        }
    };
    add("limits.address.concurrent", "one address", &config.limits.address);
    add("limits.subject.concurrent", "one key or subject", &config.limits.subject);
    add("limits.tenant.concurrent", "one tenant", &config.limits.tenant);
    let machine = machine();
    limits.push(everybody(config, machine.descriptors));
    Needs {
        machine,
        sources_max,
        bytes_each: CLIENT_BYTES + config.replay.bytes as u64 + bytes_max,
        limits,
    }
}

/// The one limit for all clients together: that of connections.
fn everybody(config: &Config, descriptors: Option<u64>) -> Bound {
    let configured = config.limits.connections.total;
    let connections = configured.unwrap_or_else(|| connections_max(descriptors));
    let speaks_h2 = config.listen.iter().any(|listen| listen.tls.is_some() || listen.h2c);
    let streams_each = if speaks_h2 { u64::from(H2_STREAMS_MAX) } else { 1 };
    Bound {
        path: "limits.connections.total",
        whose: "all clients",
        streams: u64::from(connections) * streams_each,
        connections: connections.into(),
        is_default: configured.is_none(),
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
    const fn descriptors(&self, bound: &Bound) -> u64 {
        let upstreams = self.sources_max.saturating_mul(bound.streams);
        DESCRIPTORS_BASE.saturating_add(bound.connections).saturating_add(upstreams)
    }

    const fn bytes(&self, bound: &Bound) -> u64 {
        self.bytes_each.saturating_mul(bound.streams)
    }

    /// Of one client stream with a connection of its own.
    const fn descriptors_each(&self) -> u64 {
        1 + self.sources_max
    }

    /// How many streams the machine holds at worst; `None` if it does not tell.
    fn streams_max(&self) -> Option<u64> {
        let descriptors = self.machine.descriptors?.saturating_sub(DESCRIPTORS_BASE);
        let by_descriptors = descriptors / self.descriptors_each();
        let by_bytes = self.machine.bytes.map_or(u64::MAX, |bytes| bytes / self.bytes_each);
        Some(by_descriptors.min(by_bytes))
    }

    fn fits(&self, bound: &Bound) -> bool {
        let has = |needed: u64, there: Option<u64>| there.is_none_or(|there| needed <= there);
        has(self.descriptors(bound), self.machine.descriptors)
            && has(self.bytes(bound), self.machine.bytes)
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let show =
            |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let mut lines = vec![format!(
            "at worst a stream takes {} descriptors and {}; this machine has {} and {}: {} streams",
            self.descriptors_each(),
            mebibytes(self.bytes_each),
            show(self.machine.descriptors),
            self.machine.bytes.map_or_else(|| "?".to_owned(), mebibytes),
            show(self.streams_max()),
        )];
        for bound in &self.limits {
            let Bound { path, whose, streams, connections, is_default } = bound;
            let verdict = if self.fits(bound) { "" } else { ", more than this machine has" };
            let is_default = if *is_default { " (not set)" } else { "" };
            let over = match streams == connections {
                true => String::new(),
                false => format!(" over {connections} connections"),
            };
            lines.push(format!(
                "{path}{is_default}: {streams} streams of {whose}{over} take at worst \
                 {} descriptors and {}{verdict}",
                self.descriptors(bound),
                mebibytes(self.bytes(bound)),
            ));
        }
        lines
    }

    /// For pipelines.
    pub(super) fn json(&self) -> Value {
        let limits = self.limits.iter().map(|bound| {
            json!({
                "path": bound.path,
                "isSet": !bound.is_default,
                "streams": bound.streams,
                "connections": bound.connections,
                "descriptors": self.descriptors(bound),
                "bytes": self.bytes(bound),
                "fits": self.fits(bound),
            })
        });
        json!({
            "machine": {"descriptors": self.machine.descriptors, "bytes": self.machine.bytes},
            "stream": {"descriptors": self.descriptors_each(), "bytes": self.bytes_each},
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
        assert_eq!(needs.descriptors_each(), 3);
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
        assert_eq!((needs.streams_max(), needs.fits(&needs.limits[0])), (Some(1000), true));
        assert!(!needs.lines()[1].contains("more than"));
    }

    #[test]
    fn connections_bound_all_clients_and_http2_holds_a_hundred_streams_in_one() {
        let of = |listen: &str, limits: &str| {
            let conf = format!(
                "listen: [{{address: '127.0.0.1:0'{listen}}}]\nauth: {{anonymous: true}}\n\
                 limits: {{{limits}}}\n\
                 sources: {{a: {{backend: openfire, url: 'https://a', token: '{{query.token}}'}}}}\n\
                 routes: [{{path: /a, sources: [a]}}]"
            );
            let loaded = crate::config::parse(&conf, "c", std::path::Path::new(""), &|_| None);
            needs(&loaded.expect("a conf").config)
        };
        let plain = of("", "connections: {total: 500}");
        assert_eq!(plain.json()["limits"][0]["descriptors"], 64 + 500 + 500);
        assert!(plain.lines()[1].starts_with("limits.connections.total: 500 streams of all"));
        let h2 = of(", h2c: true", "connections: {total: 500}");
        let all = &h2.json()["limits"][0];
        assert_eq!((&all["connections"], &all["streams"]), (&500.into(), &50_000.into()));
        assert_eq!(all["descriptors"], 64 + 500 + 50_000);
        assert!(h2.lines()[1].contains(" over 500 connections "), "{:?}", h2.lines());
        let unset = of("", "");
        let Some(descriptors) = unset.machine.descriptors else { return };
        assert_eq!(unset.json()["limits"][0]["isSet"], false);
        assert_eq!(unset.limits[0].connections, u64::from(connections_max(Some(descriptors))));
        assert!(unset.lines()[1].starts_with("limits.connections.total (not set): "));
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
