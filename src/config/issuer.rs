//! One issuer of tokens: its algorithms, where its keys come from, what its claims bind.
//!
//! Refuses algorithms that do not fit the key. Shared secrets never come from a set of keys: who
//! can publish one could sign tokens with it. Not here: what a set holds (`edge::gate`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::net::{Scheme, Url};
use super::read::{Reader, Table, Value, no_word, parse_text};
use super::secret::{Given, read_text};
use super::{Algorithm, Bound, Issuer, IssuerKey, KEY_SET_BYTES_MAX, KeySetUrl};
use super::{file, source, spec};
use crate::proto::secret::Secret;

/// A name is a label of metrics.
const NAME_BYTES_MAX: usize = 512;

/// What a key must be for an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Shared,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    /// Reads a name of RFC 7518, exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "HS384" => Some(Self::Hs384),
            "HS512" => Some(Self::Hs512),
            "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            "PS256" => Some(Self::Ps256),
            "PS384" => Some(Self::Ps384),
            "PS512" => Some(Self::Ps512),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    const fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Shared,
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }

    /// RFC 7518, 3.2: a shared secret is at least as long as the hash.
    const fn secret_bytes_min(self) -> usize {
        match self {
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            Self::Hs256 => 32,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => 0,
            Self::Es256 | Self::Es384 | Self::EdDsa => 0,
        }
    }
}

pub(super) fn issuer(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Issuer> {
    let table = reader.table(value, spec::JWT)?;
    let issuer = reader.text(&table, "issuer", parse_text);
    if issuer.as_ref().is_some_and(|issuer| issuer.len() > NAME_BYTES_MAX) {
        let message = format!("an issuer's name has at most {NAME_BYTES_MAX} bytes");
        reader.error(table.at("issuer"), &format!("{}.issuer", table.path), message);
    }
    let audiences = reader.one_or_more(&table, "audience");
    let audiences = audiences
        .iter()
        .filter_map(|value| reader.parsed(value, |scalar| parse_text(&scalar.text)))
        .collect();
    let algorithms = algorithms(reader, &table);
    let key = key(reader, &table, &algorithms);
    let leeway = reader.duration_of_seconds(&table, "leeway");
    let bind = bind(reader, &table);
    Some(Issuer { issuer: issuer?, audiences, algorithms, key: key?, leeway: leeway?, bind: bind? })
}

fn algorithms(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<Algorithm> {
    let algorithms = reader.list_of(table, "algorithms", |reader, value| {
        reader.parsed(value, |scalar| {
            Algorithm::from_name(&scalar.text)
                .ok_or_else(|| no_word(&scalar.text, spec::ALGORITHMS))
        })
    });
    let has_set = table.has("jwks_file") || table.has("jwks_url");
    if let Some(first) = algorithms.first()
        && !has_set
        && algorithms.iter().any(|algorithm| algorithm.family() != first.family())
    {
        let message =
            "one key cannot serve them all; keep HS*, RS* with PS*, ES256, ES384 and EdDSA apart";
        reader.error(table.at("algorithms"), &format!("{}.algorithms", table.path), message);
        return Vec::new();
    }
    algorithms
}

/// Where the keys come from: a shared secret from `secret`, all others from one of three.
fn key(reader: &mut Reader<'_>, table: &Table<'_>, algorithms: &[Algorithm]) -> Option<IssuerKey> {
    const PUBLIC: &[&str] = &["public_key", "jwks_file", "jwks_url"];
    let secret = table.get("secret").and_then(|value| reader.secret(&value));
    let public_key = table.get("public_key").and_then(|value| public_key(reader, &value));
    let first = algorithms.first()?;
    let shared = algorithms.iter().filter(|algorithm| algorithm.family() == Family::Shared).count();
    let (wanted, unwanted): (&[&str], &[&str]) =
        if shared > 0 { (&["secret"], PUBLIC) } else { (PUBLIC, &["secret"]) };
    for name in unwanted.iter().filter(|name| table.has(name)) {
        let message = match wanted {
            ["secret"] => "these algorithms take a secret".to_owned(),
            _ => format!("these algorithms take a {}", PUBLIC.join(", or a ")),
        };
        reader.error(table.at(name), &format!("{}.{name}", table.path), message);
    }
    let mut given = wanted.iter().copied().filter(|name| table.has(name));
    let Some(name) = given.next() else {
        let message = match wanted {
            ["secret"] => "this is missing: what signatures are checked with",
            _ => "this is missing: what signatures are checked with; or a jwks_file, or a jwks_url",
        };
        let name = wanted.first().copied().unwrap_or_default();
        reader.error(table.at, &format!("{}.{name}", table.path), message);
        return None;
    };
    if let Some(other) = given.next() {
        let message = format!("there is a {name} already; keep one of them");
        reader.error(table.at(other), &format!("{}.{other}", table.path), message);
        return None;
    }
    refuse_lone_options(reader, table);
    match name {
        "secret" => shared_secret(reader, table, algorithms, secret?),
        "public_key" => pem(reader, table, *first, public_key?),
        "jwks_file" => key_set_file(reader, table),
        _ => key_set_url(reader, table).map(IssuerKey::KeySetUrl),
    }
}

/// Options of `jwks_url` have no meaning without it.
fn refuse_lone_options(reader: &mut Reader<'_>, table: &Table<'_>) {
    for name in ["jwks_refresh", "jwks_pause", "jwks_tls"] {
        if table.has(name) && !table.has("jwks_url") {
            let message = "this has no meaning without jwks_url";
            reader.error(table.at(name), &format!("{}.{name}", table.path), message);
        }
    }
}

fn shared_secret(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    algorithms: &[Algorithm],
    secret: Secret,
) -> Option<IssuerKey> {
    let bytes_min =
        algorithms.iter().map(|algorithm| algorithm.secret_bytes_min()).max().unwrap_or(0);
    if secret.reveal().len() < bytes_min {
        let message = format!(
            "this secret can be guessed: for these algorithms it has {bytes_min} bytes or more"
        );
        reader.warn(table.at("secret"), &format!("{}.secret", table.path), message);
    }
    Some(IssuerKey::Secret(secret))
}

fn pem(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    algorithm: Algorithm,
    (pem, family): (Vec<u8>, Family),
) -> Option<IssuerKey> {
    if family != algorithm.family() {
        let message = format!(
            "this key is {}; the algorithms take {}",
            name(family),
            name(algorithm.family())
        );
        reader.error(table.at("public_key"), &format!("{}.public_key", table.path), message);
    }
    Some(IssuerKey::Pem(pem))
}

/// The file's text; what stands in it is looked at where keys are used.
fn key_set_file(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<IssuerKey> {
    let value = table.get("jwks_file")?;
    let folder = reader.folder(value.node.at).to_owned();
    let text = reader.parsed(&value, |scalar| {
        let written = parse_text(&scalar.text)?;
        read_text(&folder.join(&written), &written, KEY_SET_BYTES_MAX as u64)
    });
    text.map(IssuerKey::KeySet)
}

fn key_set_url(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<KeySetUrl> {
    let parsed = reader.text(table, "jwks_url", parse_key_set_url);
    let refresh = reader.duration(table, "jwks_refresh");
    let pause = reader.duration(table, "jwks_pause");
    let tls = reader.sub_table(table, "jwks_tls", spec::SOURCE_TLS)?;
    let ca = file::pem_file(reader, &tls, "ca", file::CERTIFICATE);
    let sni = reader.text(&tls, "sni", source::parse_sni);
    let (url, target) = parsed?;
    let path = format!("{}.jwks_url", table.path);
    if url.scheme == Scheme::Http {
        if table.has("jwks_tls") {
            let message = "this has no meaning with http://; write https:// in jwks_url";
            reader.error(table.at("jwks_tls"), &tls.path, message);
        }
        if !url.is_loopback() {
            let message = "keys that come in the clear can be swapped on the way; use https://";
            reader.warn(table.at("jwks_url"), &path, message);
        }
    }
    let (refresh, pause) = (refresh?, pause?);
    if pause > refresh {
        let message = "this is longer than jwks_refresh, so the set is fetched less often";
        reader.warn(table.at("jwks_pause"), &format!("{}.jwks_pause", table.path), message);
    }
    Some(KeySetUrl { url, target, ca, sni, refresh, pause })
}

/// A URL that may have a query, and the path and query as they are asked for.
fn parse_key_set_url(text: &str) -> Result<(Url, String), String> {
    let text = parse_text(text)?;
    let (before, query) = match text.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (text.as_str(), None),
    };
    let url = Url::parse(before)?;
    let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>{}\\^`|".contains(&byte);
    if query.is_some_and(|query| !query.bytes().all(is_fit)) {
        return Err("a query holds no spaces, no fragment, and only ASCII".to_owned());
    }
    // A path loses the slash at its end; here it is what the issuer wrote.
    let slash = if before.ends_with('/') && url.path != "/" { "/" } else { "" };
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let target = format!("{}{slash}{query}", url.path);
    Ok((url, target))
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::Shared => "a shared secret",
        Family::Rsa => "an RSA key",
        Family::P256 => "a P-256 key",
        Family::P384 => "a P-384 key",
        Family::Ed25519 => "an Ed25519 key",
    }
}

fn public_key(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<(Vec<u8>, Family)> {
    let given = reader.given(value)?;
    let (Given::Elsewhere(text) | Given::Literal(text)) = given;
    match family(&text) {
        Ok(family) => Some((text.reveal().as_bytes().to_vec(), family)),
        Err(message) => {
            reader.error(value.node.at, &value.path, message);
            None
        }
    }
}

/// What kind of key a PEM text holds, told by the object identifier in it.
fn family(pem: &Secret) -> Result<Family, &'static str> {
    const RULE: &str = "this must be a public key or a certificate in PEM, RSA, P-256, P-384 or \
         Ed25519; from a file: ${file:PATH}";
    const OIDS: &[(&[u8], Family)] = &[
        (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", Family::Rsa),
        (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", Family::P256),
        (b"\x06\x05\x2b\x81\x04\x00\x22", Family::P384),
        (b"\x06\x03\x2b\x65\x70", Family::Ed25519),
    ];
    let text = pem.reveal().trim();
    if text.contains("PRIVATE KEY-----") {
        return Err("this is a private key; only its public key belongs here");
    }
    let inside = |kind: &str| {
        let rest = text.strip_prefix(&format!("-----BEGIN {kind}-----"))?;
        let (body, _) = rest.split_once(&format!("-----END {kind}-----"))?;
        STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()
    };
    // This form holds nothing but an RSA key, and does not say so inside.
    if inside("RSA PUBLIC KEY").is_some() {
        return Ok(Family::Rsa);
    }
    let der = inside("PUBLIC KEY").or_else(|| inside("CERTIFICATE")).ok_or(RULE)?;
    let holds = |oid: &[u8]| der.windows(oid.len()).any(|window| window == oid);
    OIDS.iter().find(|(oid, _)| holds(oid)).map(|(_, family)| *family).ok_or(RULE)
}

fn bind(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<(Bound, String)>> {
    let bind = reader.sub_table(table, "bind", spec::BIND)?;
    let bounds = [
        ("participantId", Bound::ParticipantId),
        ("tenantId", Bound::TenantId),
        ("workflow", Bound::Workflow),
    ];
    let mut out = Vec::new();
    for (name, bound) in bounds {
        if let Some(claim) = reader.text(&bind, name, parse_text) {
            out.push((bound, claim));
        }
    }
    if !bind.has("participantId") {
        let message =
            "no claim is bound to participantId: a token opens the stream of any participant";
        reader.warn(bind.at, &bind.path, message);
    }
    Some(out)
}
