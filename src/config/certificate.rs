//! Certificates of conf files: whether they can be read, how long they are good, whether the key
//! belongs to them, which names they are for.
//!
//! What makes TLS fail is an error, what only ends soon or has ended is a warning: a reload must
//! not fail over a date. Not here: which options name certificates (`listen`, `source`), which
//! of several is shown (`names`).

use std::path::Path;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::Error;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod};
use openssl::x509::{X509, X509VerifyResult};
use zeroize::Zeroizing;

use super::names::{Named, is_for};
use super::read::{Reader, Table};
use super::yaml::join;
use super::{Certificate, Tls};

/// So many days before its end a certificate is spoken of: enough to get another.
pub const EXPIRY_NEAR_DAYS: i32 = 14;
/// So many names are told where there are more.
const NAMES_TOLD: usize = 3;
/// What a PEM file says of a key with a pass phrase, in the older form and the newer.
const PASS_PHRASE: &[u8] = b"ENCRYPTED";

/// How many whole days are left until a time, negative if it is past; `None` if the clock or the
/// time cannot be read.
#[must_use]
pub fn days_left(until: &Asn1TimeRef) -> Option<i32> {
    let left = Asn1Time::days_from_now(0).ok()?.diff(until).ok()?;
    Some(if left.days == 0 && left.secs < 0 { -1 } else { left.days })
}

/// A chain and the key of its first certificate.
pub(crate) struct Pair {
    /// The certificate, and those that lead from it to an authority. Never empty.
    pub(crate) chain: Vec<X509>,
    /// Invariant: the key of the first.
    pub(crate) key: PKey<Private>,
}

/// Which file of a pair is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// That of the certificate.
    Cert,
    /// That of the key.
    Key,
}

impl Pair {
    /// Reads both files' text.
    ///
    /// # Errors
    /// What is wrong with which of them.
    fn parse(cert: &[u8], key: &[u8]) -> Result<Self, (Part, &'static str)> {
        let chain = parse_chain(cert).map_err(|message| (Part::Cert, message))?;
        let key = parse_key(key).map_err(|message| (Part::Key, message))?;
        let pair = Self { chain, key };
        let public = pair.leaf().and_then(|leaf| leaf.public_key().ok());
        if public.is_none_or(|public| !public.public_eq(&pair.key)) {
            return Err((Part::Key, "this key does not belong to the certificate"));
        }
        match refused(&pair.chain) {
            Some(message) => Err((Part::Cert, message)),
            None => Ok(pair),
        }
    }

    /// Reads the text of these files.
    ///
    /// # Errors
    /// What is wrong with which of them, by its path.
    pub(crate) fn of(files: &Tls, cert: &[u8], key: &[u8]) -> Result<Self, String> {
        Self::parse(cert, key).map_err(|(part, message)| {
            let path = match part {
                Part::Cert => &files.cert,
                Part::Key => &files.key,
            };
            format!("{}: {message}", path.display())
        })
    }

    /// Reads these files.
    ///
    /// # Errors
    /// As of [`of`](Self::of), and files that cannot be read.
    pub(crate) fn read(files: &Tls) -> Result<Self, String> {
        let read = |path: &Path| {
            let read = std::fs::read(path).map(Zeroizing::new);
            read.map_err(|error| format!("{}: {error}", path.display()))
        };
        Self::of(files, &read(&files.cert)?, &read(&files.key)?)
    }

    /// The certificate itself.
    pub(crate) fn leaf(&self) -> Option<&X509> {
        self.chain.first()
    }

    /// What is chosen by: these names, or else those in the certificate.
    pub(crate) fn named(&self, names: &[String]) -> Named {
        let names = match names {
            [] => self.leaf().map(names_in).unwrap_or_default(),
            names => names.to_vec(),
        };
        Named { names, kind: self.key.id().as_raw() }
    }

    /// When the first of its chain ends, in seconds of Unix.
    pub(crate) fn ends(&self) -> Option<i64> {
        let epoch = Asn1Time::from_unix(0).ok()?;
        let ends = self.chain.iter().filter_map(|certificate| {
            let left = epoch.diff(certificate.not_after()).ok()?;
            Some(i64::from(left.days) * 86_400 + i64::from(left.secs))
        });
        ends.min()
    }
}

/// The DNS names that a certificate is for, in lower case.
fn names_in(leaf: &X509) -> Vec<String> {
    let names = leaf.subject_alt_names();
    let names = names.iter().flatten().filter_map(|name| name.dnsname());
    names.map(str::to_ascii_lowercase).collect()
}

fn parse_chain(pem: &[u8]) -> Result<Vec<X509>, &'static str> {
    let chain = X509::stack_from_pem(pem).unwrap_or_default();
    if chain.is_empty() {
        return Err("a certificate in this file cannot be read");
    }
    Ok(chain)
}

fn parse_key(pem: &[u8]) -> Result<PKey<Private>, &'static str> {
    if memchr::memmem::find(pem, PASS_PHRASE).is_some() {
        return Err("the private key in this file has a pass phrase, which nobody is there to \
                    type; take it off (openssl pkey -in FILE -out OTHER)");
    }
    PKey::private_key_from_pem(pem).map_err(|_| "the private key in this file cannot be read")
}

/// OpenSSL's reasons (`sslerr.h`), which its Rust crate has no names for.
mod reason {
    pub(super) const CA_KEY_TOO_SMALL: i32 = 397;
    pub(super) const CA_MD_TOO_WEAK: i32 = 398;
    pub(super) const EE_KEY_TOO_SMALL: i32 = 399;
}

/// Why a chain is not shown to anybody: TLS libraries refuse what can be forged.
fn refused(chain: &[X509]) -> Option<&'static str> {
    let context = SslContextBuilder::new(SslMethod::tls()).map(SslContextBuilder::build);
    let tried = context.and_then(|context| Ssl::new(&context)).and_then(|mut ssl| {
        let mut chain = chain.iter();
        if let Some(leaf) = chain.next() {
            ssl.set_certificate(leaf)?;
        }
        chain.try_for_each(|issuer| ssl.add_chain_cert(issuer.clone()))
    });
    let errors = tried.err()?;
    let reasons: Vec<_> = errors.errors().iter().map(Error::reason_code).collect();
    let has = |reason| reasons.contains(&reason);
    Some(if has(reason::EE_KEY_TOO_SMALL) {
        "the key of this certificate is too short, TLS does not take it; RSA needs 2048 bits or \
         more, elliptic curves 256"
    } else if has(reason::CA_KEY_TOO_SMALL) {
        "the key of an authority in this file is too short, TLS does not take it; RSA needs 2048 \
         bits or more, elliptic curves 256"
    } else if has(reason::CA_MD_TOO_WEAK) {
        "a certificate in this file is signed with MD5 or SHA-1, TLS does not take it; it needs \
         SHA-256 or better"
    } else {
        "TLS does not take this certificate; get another, with a key of 2048 bits RSA or 256 bits \
         ECDSA, signed with SHA-256"
    })
}

/// Checks a chain and its key, as far as both could be read; `names` are their options.
pub(super) fn check(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    names: [&str; 2],
    files: [Option<&Path>; 2],
) {
    let ([cert_name, key_name], [cert, key]) = (names, files);
    let chain = chain(reader, table, cert_name, cert);
    let cert_path = join(&table.path, cert_name);
    if let Some(finding) = chain.iter().find_map(dates) {
        reader.warn(table.at(cert_name), &cert_path, finding);
    }
    if let Some(message) = refused(&chain) {
        reader.error(table.at(cert_name), &cert_path, message);
    }
    if !is_in_order(&chain) {
        let message = "the certificates in this file do not follow from each other: first the \
             one that is shown, then each time the one that has issued the last; clients may not \
             find the way to an authority";
        reader.warn(table.at(cert_name), &cert_path, message);
    }
    let Some(pem) = key.and_then(|key| std::fs::read(key).ok()).map(Zeroizing::new) else {
        return;
    };
    let key_path = join(&table.path, key_name);
    match parse_key(&pem) {
        Err(message) => reader.error(table.at(key_name), &key_path, message),
        Ok(key) => {
            let public = chain.first().and_then(|leaf| leaf.public_key().ok());
            if public.is_some_and(|public| !public.public_eq(&key)) {
                let message = "this key does not belong to the certificate";
                reader.error(table.at(key_name), &key_path, message);
            }
        }
    }
}

/// Checks that of a bundle of authorities at least one is good. Bundles hold old ones, too.
pub(super) fn check_authorities(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    name: &str,
    file: Option<&Path>,
) {
    let chain = chain(reader, table, name, file);
    let findings: Option<Vec<_>> = chain.iter().map(dates).collect();
    if let Some(finding) = findings.and_then(|findings| findings.into_iter().next()) {
        reader.warn(table.at(name), &format!("{}.{name}", table.path), finding);
    }
}

/// Speaks of names that no client is shown the right certificate for. Of two certificates with
/// one kind of key and one name only the first is ever shown.
pub(super) fn check_names(reader: &mut Reader<'_>, certificates: &[(&Table<'_>, Certificate)]) {
    let mut before: Vec<(&str, Named)> = Vec::new();
    for (table, certificate) in certificates {
        let Ok(pair) = Pair::read(&certificate.files) else { continue };
        let own = pair.named(&[]).names;
        let named = pair.named(&certificate.names);
        let covered = |name: &String| own.iter().any(|own| is_for(own, name));
        let stray: Vec<_> = certificate.names.iter().filter(|name| !covered(name)).collect();
        if !stray.is_empty() {
            let message = format!("the certificate is not for {}", told(&stray));
            reader.warn(table.at("names"), &join(&table.path, "names"), message);
        }
        if named.names.is_empty() && !before.is_empty() {
            let message = "there is no name in this certificate, so it is never shown";
            reader.warn(table.at("cert"), &join(&table.path, "cert"), message);
        }
        for (path, other) in before.iter().filter(|(_, other)| other.kind == named.kind) {
            let twice: Vec<_> =
                named.names.iter().filter(|name| other.names.contains(name)).collect();
            if !twice.is_empty() {
                let message = format!("{path} comes first for {}", told(&twice));
                reader.warn(table.at, &table.path, message);
            }
        }
        before.push((&table.path, named));
    }
}

/// Whether no client can ask for any of these by name.
pub(super) fn are_nameless(certificates: &[Certificate]) -> bool {
    certificates.iter().all(|certificate| {
        let pair = Pair::read(&certificate.files);
        pair.is_ok_and(|pair| pair.named(&certificate.names).names.is_empty())
    })
}

/// A few names for a message.
fn told(names: &[&String]) -> String {
    let few: Vec<_> = names.iter().take(NAMES_TOLD).map(|name| name.as_str()).collect();
    let more = names.len().saturating_sub(NAMES_TOLD);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", few.join(", "))
}

/// All certificates in a file that is there.
fn chain(reader: &mut Reader<'_>, table: &Table<'_>, name: &str, file: Option<&Path>) -> Vec<X509> {
    let Some(pem) = file.and_then(|file| std::fs::read(file).ok()) else {
        return Vec::new();
    };
    parse_chain(&pem).unwrap_or_else(|message| {
        reader.error(table.at(name), &format!("{}.{name}", table.path), message);
        Vec::new()
    })
}

/// Whether each has been issued by the next.
fn is_in_order(chain: &[X509]) -> bool {
    chain.windows(2).all(|pair| match pair {
        [issued, issuer] => issuer.issued(issued) == X509VerifyResult::OK,
        _ => true,
    })
}

/// What is to be said of a certificate's dates.
fn dates(certificate: &X509) -> Option<String> {
    let (from, until) = (certificate.not_before(), certificate.not_after());
    if days_left(from)? > 0 {
        return Some(format!("a certificate in this file is good only from {from} on"));
    }
    match days_left(until)? {
        i32::MIN..=-1 => Some(format!("a certificate in this file has ended on {until}")),
        days @ 0..EXPIRY_NEAR_DAYS => {
            Some(format!("a certificate in this file ends on {until}, in {days} days"))
        }
        EXPIRY_NEAR_DAYS.. => None,
    }
}
