//! The tables of `listen`: an address, and the certificates that are shown there.
//!
//! Which certificate a client is shown follows from the names in it, so names that nobody can
//! ask for, or that two certificates share, are spoken of here. Not here: what a certificate
//! holds (`certificate`), what is done with it (`edge`).

use std::net::IpAddr;
use std::path::Path;

use super::file::{CERTIFICATE, PRIVATE_KEY, parse_address, pem_file};
use super::net::{HAS_TLS, NO_TLS};
use super::read::{Reader, Table, Value};
use super::yaml::{self, join};
use super::{Certificate, Listen, ListenTls, Tls, TlsVersion, source, spec};

/// A listener.
pub(super) fn listen(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    are_proxies_trusted: bool,
) -> Option<Listen> {
    let table = reader.table(value, spec::LISTEN)?;
    let address = reader.text(&table, "address", parse_address);
    let h2c = reader.bool(&table, "h2c");
    let tls = table.get("tls").map(|value| listen_tls(reader, &value));
    if table.has("tls") && h2c == Some(true) {
        let message = "with tls, HTTP/2 is there already; leave h2c out";
        reader.error(table.at("h2c"), &format!("{}.h2c", table.path), message);
    }
    let proxy_protocol = reader.bool(&table, "proxy_protocol");
    if proxy_protocol == Some(true) && !are_proxies_trusted {
        let message = "nobody may send it; name who does in trusted_proxies";
        let path = format!("{}.proxy_protocol", table.path);
        reader.error(table.at("proxy_protocol"), &path, message);
    }
    // One that cannot be read is no listener without TLS.
    let tls = tls.map_or(Some(None), |tls| tls.map(Some));
    Some(Listen { address: address?, tls: tls?, h2c: h2c?, proxy_protocol: proxy_protocol? })
}

fn listen_tls(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ListenTls> {
    let table = reader.table(value, spec::LISTEN_TLS)?;
    if !HAS_TLS {
        reader.error(table.at, &table.path, NO_TLS);
    }
    let certificates = certificates(reader, &table);
    let min_version = reader.word(&table, "min_version", |word| match word {
        "1.2" => Some(TlsVersion::Tls12),
        "1.3" => Some(TlsVersion::Tls13),
        _ => None,
    });
    let refuses_unknown_names = reader.word(&table, "unknown_names", |word| match word {
        "default" => Some(false),
        "refuse" => Some(true),
        _ => None,
    });
    let watch = reader.duration(&table, "watch");
    #[cfg(feature = "openssl")]
    if refuses_unknown_names == Some(true)
        && !certificates.is_empty()
        && super::certificate::are_nameless(&certificates)
    {
        let message = "no certificate here has a name, so every client would be refused";
        reader.error(table.at("unknown_names"), &join(&table.path, "unknown_names"), message);
    }
    let certificates = (!certificates.is_empty()).then_some(certificates);
    Some(ListenTls {
        certificates: certificates?,
        refuses_unknown_names: refuses_unknown_names?,
        min_version: min_version?,
        watch: watch?,
    })
}

/// The one of `cert` and `key`, or the list of them.
fn certificates(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<Certificate> {
    if !table.has("certificates") {
        for (name, what) in [("cert", "the certificate chain, PEM"), ("key", "the private key")] {
            if !table.has(name) {
                let message = format!("this is missing: {what}; or write certificates");
                reader.error(table.at, &join(&table.path, name), message);
            }
        }
        let files = pair(reader, table);
        return files.map(|files| Certificate { files, names: Vec::new() }).into_iter().collect();
    }
    for name in ["cert", "key"] {
        if table.has(name) {
            let message = "with certificates this has no meaning; make it the first of them";
            reader.error(table.at(name), &join(&table.path, name), message);
        }
    }
    let tables = reader.list(table, "certificates");
    let tables = tables.iter().filter_map(|value| reader.table(value, spec::CERTIFICATE));
    let tables: Vec<_> = tables.collect();
    let mut read = Vec::new();
    for table in &tables {
        let files = pair(reader, table);
        let names = reader.list_of(table, "names", |reader, value| {
            reader.parsed(value, |scalar| parse_name(&scalar.text))
        });
        read.extend(files.map(|files| (table, Certificate { files, names })));
    }
    #[cfg(feature = "openssl")]
    super::certificate::check_names(reader, &read);
    read.into_iter().map(|(_, certificate)| certificate).collect()
}

/// A certificate's files, which are proven to belong together.
fn pair(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Tls> {
    let cert = pem_file(reader, table, "cert", CERTIFICATE);
    let key = pem_file(reader, table, "key", PRIVATE_KEY);
    check_pair(reader, table, ["cert", "key"], [cert.as_deref(), key.as_deref()]);
    Some(Tls { cert: cert?, key: key? })
}

/// Whether a certificate and a key belong together, how long the certificate is good, and whom
/// the key is shown to; `names` are their options.
pub(super) fn check_pair(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    names: [&str; 2],
    files: [Option<&Path>; 2],
) {
    let [_, key_name] = names;
    if let Some(value) = table.get(key_name)
        && let yaml::Data::Scalar(scalar) = &value.node.data
    {
        reader.warn_if_open(&value, &scalar.text);
    }
    #[cfg(feature = "openssl")]
    super::certificate::check(reader, table, names, files);
    #[cfg(not(feature = "openssl"))]
    let _no_tls = files;
}

/// A host name, or a whole label of it open.
fn parse_name(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err("clients ask for no certificate by address; write a name".to_owned());
    }
    let (wildcard, host) = text.strip_prefix("*.").map_or(("", text), |host| ("*.", host));
    source::parse_sni(host).map(|host| format!("{wildcard}{host}"))
}
