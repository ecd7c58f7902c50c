//! The `auth` table: who is let in.
//!
//! Refuses what would open more than it says: empty lists, algorithms that do not fit the key,
//! a way in that nobody can take. Not here: checking credentials (`edge::gate`).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{Place, quoted};
use super::file::limit;
use super::pattern::Pattern;
use super::read::{Reader, Table, Value, no_word, parse_text};
use super::secret::Given;
use super::spec;
use super::yaml::{Data, numbered};
use super::{Algorithm, ApiKey, Auth, Bound, Issuer, IssuerKey};
use crate::proto::secret::Secret;
use crate::proto::time::UnixMillis;

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

pub(super) fn auth(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Auth> {
    let value = root.get("auth")?;
    let table = reader.table(&value, spec::AUTH)?;
    let api_keys = reader.list_of(&table, "api_keys", api_key);
    let jwt = reader.list_of(&table, "jwt", issuer);
    let anonymous = reader.bool(&table, "anonymous");
    if anonymous == Some(false) && !table.has("api_keys") && !table.has("jwt") {
        let message =
            "nobody could be let in; add api_keys or jwt, or let everyone in with anonymous: true";
        reader.error(table.at, &table.path, message);
    }
    refuse_twins(reader, &table, "api_keys", "label");
    refuse_twins(reader, &table, "api_keys", "sha256");
    refuse_twins(reader, &table, "jwt", "issuer");
    Some(Auth {
        api_keys: api_keys.into_iter().map(Arc::new).collect(),
        jwt: jwt.into_iter().map(Arc::new).collect(),
        anonymous: anonymous?,
    })
}

/// Refuses two tables of a list with the same text at a key.
fn refuse_twins(reader: &mut Reader<'_>, table: &Table<'_>, list: &str, key: &str) {
    let Some(Data::List(items)) = table.get(list).map(|value| &value.node.data) else {
        return;
    };
    let mut seen: HashMap<String, (usize, Place)> = HashMap::new();
    for (index, item) in numbered(items) {
        let Data::Map(entries) = &item.data else {
            continue;
        };
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            continue;
        };
        let Data::Scalar(scalar) = &entry.value.data else {
            continue;
        };
        // Digests may be written in either case.
        let text =
            if key == "sha256" { scalar.text.to_ascii_lowercase() } else { scalar.text.clone() };
        if let Some((first, at)) = seen.insert(text, (index, entry.value.at)) {
            let path = format!("{}.{list}[{index}].{key}", table.path);
            let first = format!("{}.{list}[{first}]", table.path);
            let first = reader.called(at, &first, entry.value.at);
            reader.error(entry.value.at, &path, format!("{first} has the same {key}"));
        }
    }
}

fn api_key(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ApiKey> {
    let table = reader.table(value, spec::API_KEY)?;
    let texts = |reader: &mut Reader<'_>, value: &Value<'_>| {
        reader.parsed(value, |scalar| parse_text(&scalar.text))
    };
    let label = reader.text(&table, "label", parse_text);
    let sha256 = reader.text(&table, "sha256", parse_digest);
    let tenants = reader.list_of(&table, "tenants", texts);
    let workflows = reader.list_of(&table, "workflows", |reader, value| {
        let pattern = reader.parsed(value, |scalar| parse_pattern(&scalar.text))?;
        reader.warn_if_never(value, &pattern);
        Some(pattern)
    });
    let participants = reader.list_of(&table, "participants", texts);
    let expires = reader.text(&table, "expires", parse_time);
    let limits = match table.has("limits") {
        true => limit(reader, &table, "limits"),
        false => None,
    };
    Some(ApiKey {
        label: label?,
        sha256: sha256?,
        tenants,
        workflows,
        participants,
        expires,
        limits,
    })
}

/// Reads 64 hexadecimal digits. What was written is not repeated: it may be the key itself.
fn parse_digest(text: &str) -> Result<[u8; 32], String> {
    let digest = || {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(digest)
    };
    digest().ok_or_else(|| {
        "this must be the SHA-256 of the key, 64 hexadecimal digits, as `chatmux key` prints it"
            .to_owned()
    })
}

fn parse_time(text: &str) -> Result<UnixMillis, String> {
    let is_day = text.len() == "2027-01-01".len();
    let midnight = if is_day { "T00:00:00Z" } else { "" };
    let time = UnixMillis::parse_rfc3339(&format!("{text}{midnight}"));
    time.ok_or_else(|| {
        "a time is written like 2027-01-01 or 2027-01-01T12:00:00Z, from 1990 to 2099".to_owned()
    })
}

/// A pattern that is not empty.
pub(super) fn parse_pattern(text: &str) -> Result<Pattern, String> {
    parse_text(text)?;
    Pattern::parse(text).map_err(|why| format!("{} is no regular expression: {why}", quoted(text)))
}

fn issuer(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Issuer> {
    let table = reader.table(value, spec::JWT)?;
    let issuer = reader.text(&table, "issuer", parse_text);
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
    if let Some(first) = algorithms.first()
        && algorithms.iter().any(|algorithm| algorithm.family() != first.family())
    {
        let message =
            "one key cannot serve them all; keep HS*, RS* with PS*, ES256, ES384 and EdDSA apart";
        reader.error(table.at("algorithms"), &format!("{}.algorithms", table.path), message);
        return Vec::new();
    }
    algorithms
}

fn key(reader: &mut Reader<'_>, table: &Table<'_>, algorithms: &[Algorithm]) -> Option<IssuerKey> {
    let secret = table.get("secret").and_then(|value| reader.secret(&value));
    let public_key = table.get("public_key").and_then(|value| public_key(reader, &value));
    let first = algorithms.first()?;
    let (wanted, unwanted) = match first.family() {
        Family::Shared => ("secret", "public_key"),
        Family::Rsa | Family::P256 | Family::P384 | Family::Ed25519 => ("public_key", "secret"),
    };
    if table.has(unwanted) {
        let message = format!("these algorithms take a {wanted}");
        reader.error(table.at(unwanted), &format!("{}.{unwanted}", table.path), message);
    }
    if !table.has(wanted) {
        let message = "this is missing: what signatures are checked with";
        reader.error(table.at, &format!("{}.{wanted}", table.path), message);
        return None;
    }
    let path = format!("{}.{wanted}", table.path);
    if first.family() == Family::Shared {
        let secret = secret?;
        let bytes_min =
            algorithms.iter().map(|algorithm| algorithm.secret_bytes_min()).max().unwrap_or(0);
        if secret.reveal().len() < bytes_min {
            let message = format!(
                "this secret can be guessed: for these algorithms it has {bytes_min} bytes or more"
            );
            reader.warn(table.at(wanted), &path, message);
        }
        return Some(IssuerKey::Secret(secret));
    }
    let (pem, family) = public_key?;
    if family != first.family() {
        let message =
            format!("this key is {}; the algorithms take {}", name(family), name(first.family()));
        reader.error(table.at(wanted), &path, message);
    }
    Some(IssuerKey::Pem(pem))
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
