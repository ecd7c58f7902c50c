//! What is counted of TLS towards clients: handshakes, and the certificates of the listeners.
//!
//! A listener is called by its address as the conf has it, a certificate by its place there, from
//! 0: neither is a client's to choose, and no label holds a path. Not here: the handshake
//! (`edge`).

use prometheus::{IntCounterVec, IntGaugeVec};

use super::metrics::Build;

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// In a connection.
    Success,
    /// The client took too long.
    Timeout,
    /// The client left in the middle of it.
    Closed,
    /// The client does not speak TLS.
    NotTls,
    /// No version in common.
    Version,
    /// No cipher suite, group or signature in common.
    Cipher,
    /// The client speaks no version of HTTP that is offered.
    Protocol,
    /// No certificate is for the name that the client asks for.
    UnknownName,
    /// The client refused, most often the certificate.
    Refused,
    /// Anything else.
    Other,
}

impl Handshake {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::Version,
        Self::Cipher,
        Self::Protocol,
        Self::UnknownName,
        Self::Refused,
        Self::Other,
    ];

    /// As in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Version => "version",
            Self::Cipher => "cipher",
            Self::Protocol => "protocol",
            Self::UnknownName => "unknown_name",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }
}

/// The series of TLS.
pub struct TlsMetrics {
    handshakes: IntCounterVec,
    expiry: IntGaugeVec,
    reloads: IntCounterVec,
    is_last_reload_good: IntGaugeVec,
}

impl TlsMetrics {
    pub(super) fn new(build: &Build<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            handshakes: build.counters(
                "tls_handshakes_total",
                "TLS handshakes with clients, by how they ended.",
                &["outcome"],
            )?,
            expiry: build.gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "When the chain that clients are shown ends, at its shortest.",
                &["listener", "certificate"],
            )?,
            reloads: build.counters(
                "tls_reloads_total",
                "Changed certificate files that were taken or refused.",
                &["listener", "outcome"],
            )?,
            is_last_reload_good: build.gauges(
                "tls_last_reload_successful",
                "1 if the certificate files as last read are in use, 0 if they were refused.",
                &["listener"],
            )?,
        };
        for outcome in Handshake::ALL {
            metrics.handshakes.with_label_values(&[outcome.as_str()]);
        }
        Ok(metrics)
    }

    /// A handshake has ended.
    pub fn on_handshake(&self, outcome: Handshake) {
        self.handshakes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// A listener shows certificates that end at these times from now on, where there were so
    /// many before.
    pub fn on_certificates(&self, listener: &str, ends: &[i64], before: usize) {
        for (index, ends) in ends.iter().enumerate() {
            self.expiry.with_label_values(&[listener, &index.to_string()]).set(*ends);
        }
        for index in ends.len()..before {
            // Another listener of the same address may have taken it away.
            self.expiry.remove_label_values(&[listener, &index.to_string()]).ok();
        }
        for outcome in ["success", "failure"] {
            self.reloads.with_label_values(&[listener, outcome]);
        }
        self.is_last_reload_good.with_label_values(&[listener]).set(1);
    }

    /// Changed files of a listener were taken, or refused.
    pub fn on_reload(&self, listener: &str, is_taken: bool) {
        let outcome = if is_taken { "success" } else { "failure" };
        self.reloads.with_label_values(&[listener, outcome]).inc();
        self.is_last_reload_good.with_label_values(&[listener]).set(i64::from(is_taken));
    }

    /// Files that were refused are again as those in use.
    pub fn on_restored(&self, listener: &str) {
        self.is_last_reload_good.with_label_values(&[listener]).set(1);
    }
}
