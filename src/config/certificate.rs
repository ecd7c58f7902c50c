//! Certificates of conf files: whether they can be read, how long they are good, whether the key
//! belongs to them.
//!
//! What makes TLS fail is an error, what only ends soon or has ended is a warning: a reload must
//! not fail over a date. Not here: which options name certificates (`file`, `source`).

use std::path::Path;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkey::PKey;
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::read::{Reader, Table};

/// So many days before its end a certificate is spoken of: enough to get another.
pub const EXPIRY_NEAR_DAYS: i32 = 14;

/// How many whole days are left until a time, negative if it is past; `None` if the clock or the
/// time cannot be read.
#[must_use]
pub fn days_left(until: &Asn1TimeRef) -> Option<i32> {
    let left = Asn1Time::days_from_now(0).ok()?.diff(until).ok()?;
    Some(if left.days == 0 && left.secs < 0 { -1 } else { left.days })
}

/// Checks a chain and its key, as far as both could be read.
pub(super) fn check(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    cert: Option<&Path>,
    key: Option<&Path>,
) {
    let chain = chain(reader, table, "cert", cert);
    if let Some(finding) = chain.iter().find_map(dates) {
        reader.warn(table.at("cert"), &format!("{}.cert", table.path), finding);
    }
    let Some(pem) = key.and_then(|key| std::fs::read(key).ok()).map(Zeroizing::new) else {
        return;
    };
    let path = format!("{}.key", table.path);
    // A pass phrase is given so that nobody is asked for one.
    let Ok(key) = PKey::private_key_from_pem_passphrase(&pem, b"") else {
        let message = "the private key in this file cannot be read; it may have a pass phrase, \
             which must be taken off";
        reader.error(table.at("key"), &path, message);
        return;
    };
    let public = chain.first().and_then(|leaf| leaf.public_key().ok());
    if public.is_some_and(|public| !public.public_eq(&key)) {
        reader.error(table.at("key"), &path, "this key does not belong to the certificate");
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

/// All certificates in a file that is there.
fn chain(reader: &mut Reader<'_>, table: &Table<'_>, name: &str, file: Option<&Path>) -> Vec<X509> {
    let Some(pem) = file.and_then(|file| std::fs::read(file).ok()) else {
        return Vec::new();
    };
    let chain = X509::stack_from_pem(&pem).unwrap_or_default();
    if chain.is_empty() {
        let message = "a certificate in this file cannot be read";
        reader.error(table.at(name), &format!("{}.{name}", table.path), message);
    }
    chain
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
