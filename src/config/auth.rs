//! The `auth` table: who is let in.
//!
//! Refuses what would open more than it says: empty lists, a way in that nobody can take. Not
//! here: issuers of tokens (`issuer`), checking credentials (`edge::gate`).

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Place, quoted};
use super::file::limit;
use super::issuer::issuer;
use super::pattern::Pattern;
use super::read::{Reader, Table, Value, parse_text};
use super::spec;
use super::yaml::{Data, numbered};
use super::{ApiKey, Auth};
use crate::proto::time::UnixMillis;

pub(super) fn auth(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Auth> {
    let value = root.get("auth")?;
    let table = reader.table(&value, spec::AUTH)?;
    let api_keys = reader.list_of(&table, "api_keys", api_key);
    let jwt = reader.list_of(&table, "jwt", issuer);
    let anonymous = reader.bool(&table, "anonymous");
    let cookie = reader.text(&table, "cookie", parse_cookie_name);
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
        cookie,
    })
}

/// The API keys alone, whatever else the table holds.
pub(super) fn api_keys_alone(reader: &mut Reader<'_>, root: &Table<'_>) -> Vec<ApiKey> {
    let table = root.get("auth").and_then(|value| reader.table(&value, spec::AUTH));
    table.map(|table| reader.list_of(&table, "api_keys", api_key)).unwrap_or_default()
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
        let text = reader.parsed(value, |scalar| parse_text(&scalar.text))?;
        if text == "*" {
            let message = "this is somebody called *; leave the list out for any";
            reader.warn(value.node.at, &value.path, message);
        }
        Some(text)
    };
    let label = reader.text(&table, "label", parse_text);
    let sha256 = reader.text(&table, "sha256", parse_digest);
    let tenants = reader.list_of(&table, "tenants", texts);
    let workflows = reader.list_of(&table, "workflows", |reader, value| {
        let pattern = reader.parsed(value, |scalar| parse_pattern(&scalar.text))?;
        reader.warn_of_pattern(value, &pattern);
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

/// A token of RFC 9110, as names of cookies are.
fn parse_cookie_name(text: &str) -> Result<String, String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = !text.is_empty() && text.bytes().all(is_fit);
    is_name.then(|| text.to_owned()).ok_or_else(|| {
        "a cookie's name holds letters, digits and !#$%&'*+-.^_`|~, and no spaces".to_owned()
    })
}

/// Reads 64 hexadecimal digits. What was written is not repeated: it may be the key itself.
pub(super) fn parse_digest(text: &str) -> Result<[u8; 32], String> {
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

/// Reads a day, or a time.
pub(crate) fn parse_time(text: &str) -> Result<UnixMillis, String> {
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
    if text == "*" {
        return Err("* alone is no expression: leave the option out for any, or write .*".into());
    }
    Pattern::parse(text).map_err(|why| format!("{} is no regular expression: {why}", quoted(text)))
}
