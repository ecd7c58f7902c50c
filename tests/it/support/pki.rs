//! Certificates of the tests' own making: authorities, chains, any names and kinds of keys. And
//! OpenSSL's client, which judges what is shown.

use std::net::SocketAddr;
use std::process::Stdio;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use tokio::process::Command;

use super::soon;

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    Ec,
}

/// Somebody who issues certificates.
pub(crate) struct Authority {
    cert: X509,
    key: PKey<Private>,
    /// Those between it and the root, itself first; the root is sent to nobody.
    chain: Vec<X509>,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

fn new_key(kind: KeyKind) -> PKey<Private> {
    match kind {
        KeyKind::Rsa => Rsa::generate(2048).and_then(PKey::from_rsa),
        KeyKind::Ec => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
            EcKey::generate(&group).and_then(PKey::from_ec_key)
        }
    }
    .expect("a key")
}

fn pem(chain: &[X509]) -> String {
    let one = |cert: &X509| String::from_utf8(cert.to_pem().expect("PEM")).expect("text");
    chain.iter().map(one).collect()
}

/// A certificate for a subject, good for so many days; `None` = an authority.
fn certificate(
    subject: &str,
    key: &PKey<Private>,
    by: Option<&Authority>,
    (names, days): (Option<&[&str]>, u32),
) -> X509 {
    let mut name = X509Name::builder().expect("a name");
    name.append_entry_by_text("CN", subject).expect("a name");
    let name = name.build();
    let mut builder = X509::builder().expect("a certificate");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(100, MsbOption::MAYBE_ZERO, false).expect("a number");
    let serial = serial.to_asn1_integer().expect("a number");
    builder.set_version(2).expect("version 3");
    builder.set_serial_number(&serial).expect("a serial");
    builder.set_subject_name(&name).expect("a name");
    builder.set_issuer_name(by.map_or(&*name, |by| by.cert.subject_name())).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&Asn1Time::from_unix(1_600_000_000).expect("a day")).expect("a day");
    builder.set_not_after(&Asn1Time::days_from_now(days).expect("a day")).expect("a day");
    match names {
        None => {
            let is_authority = BasicConstraints::new().critical().ca().build().expect("a mark");
            builder.append_extension(is_authority).expect("a mark");
        }
        Some(names) if !names.is_empty() => {
            let mut san = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<std::net::IpAddr>() {
                    Ok(_) => san.ip(name),
                    Err(_) => san.dns(name),
                };
            }
            let names = san.build(&builder.x509v3_context(by.map(|by| &*by.cert), None));
            builder.append_extension(names.expect("names")).expect("names");
        }
        Some(_) => {}
    }
    builder.sign(by.map_or(key, |by| &by.key), MessageDigest::sha256()).expect("a signature");
    builder.build()
}

impl Authority {
    /// One that vouches for itself.
    pub(crate) fn root() -> Self {
        let key = new_key(KeyKind::Ec);
        let cert = certificate("tests' root", &key, None, (None, 365));
        Self { cert, key, chain: Vec::new() }
    }

    /// One that it vouches for.
    pub(crate) fn below(&self) -> Self {
        let key = new_key(KeyKind::Ec);
        let cert = certificate("tests' intermediate", &key, Some(self), (None, 365));
        let chain = [vec![cert.clone()], self.chain.clone()].concat();
        Self { cert, key, chain }
    }

    /// What clients trust.
    pub(crate) fn pem(&self) -> String {
        pem(std::slice::from_ref(&self.cert))
    }

    /// A certificate with its chain, good for a year.
    pub(crate) fn issue(&self, subject: &str, names: &[&str], kind: KeyKind) -> Issued {
        self.issue_for_days(subject, names, kind, 365)
    }

    /// A certificate with its chain.
    pub(crate) fn issue_for_days(
        &self,
        subject: &str,
        names: &[&str],
        kind: KeyKind,
        days: u32,
    ) -> Issued {
        let key = new_key(kind);
        let leaf = certificate(subject, &key, Some(self), (Some(names), days));
        let cert = format!("{}{}", pem(&[leaf]), pem(&self.chain));
        let key = key.private_key_to_pem_pkcs8().expect("PEM");
        Issued { cert, key: String::from_utf8(key).expect("text") }
    }
}

/// What `openssl s_client` says of a handshake, and whether there was one.
#[derive(Debug)]
pub(crate) struct Shaken {
    pub(crate) is_connected: bool,
    pub(crate) text: String,
}

impl Shaken {
    /// The subject of the certificate that was shown.
    pub(crate) fn subject(&self) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix("subject="));
        line.unwrap_or("none").trim_start_matches("CN").trim_start_matches([' ', '='])
    }

    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        assert!(self.text.contains(what), "no {what} in {}", self.text);
    }
}

/// A handshake of OpenSSL's command, which hangs up after it.
pub(crate) async fn s_client(to: SocketAddr, args: &[&str]) -> Shaken {
    let made = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string()])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let made = soon("openssl's answer", made).await.expect("openssl runs");
    let text = [&made.stdout[..], &made.stderr[..]].map(String::from_utf8_lossy).concat();
    Shaken { is_connected: text.contains("Cipher is ") && !text.contains("(NONE)"), text }
}
