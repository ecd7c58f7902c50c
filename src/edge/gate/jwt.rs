//! JSON Web Tokens: whether one is true, and until when.
//!
//! The issuer is picked by the token's unverified `iss`, the algorithm must stand in that
//! issuer's list, and the key is of one kind, so a token can choose neither its key nor how it is
//! checked. A name that stands twice in it makes it none. Not here: what a token opens
//! (`identity`), sets of keys (`edge::jwks`).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{AlgorithmFamily, DecodingKey, Validation};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::claims::Claims;
use crate::config::{Issuer, IssuerKey};
use crate::edge::jwks::{self, KeySet, KeySets, Keys, RSA_BYTES_MIN, library_name, validation};
use crate::edge::strict;
use crate::proto::time::UnixMillis;

/// Headers whose meaning must be known, and is not: extensions, encryption, compression.
const UNKNOWN_HEADERS: &[&str] = &["crit", "b64", "enc", "zip"];

/// Later ends are taken for this one, the year 2100: timers overflow, and no stream lives so long.
const EXPIRES_MAX: UnixMillis = UnixMillis(4_102_444_800_000);

/// An Ed25519 key.
const ED_KEY_BYTES: usize = 32;

/// The issuers of a configuration.
pub(super) struct Issuers(HashMap<String, Verifier>);

struct Verifier {
    issuer: Arc<Issuer>,
    keys: Held,
}

/// Where the key of a token is looked for.
enum Held {
    One(Box<(DecodingKey, Validation)>),
    Set(Keys),
    Fetched(Arc<KeySet>),
}

/// What a token is.
pub(super) enum Verdict {
    /// True.
    True(Box<Verified>),
    /// Signed by nobody we know, not for us, or not for now.
    False,
    /// The issuer is asked for its keys, and the one that this token names is not among those
    /// that it gave so far.
    NoKey(Arc<KeySet>),
}

/// What a true token gives.
pub(super) struct Verified {
    pub(super) issuer: Arc<Issuer>,
    pub(super) claims: Claims,
    /// `exp`, without the leeway. Invariant: at most [`EXPIRES_MAX`].
    pub(super) expires: UnixMillis,
}

impl Issuers {
    /// Takes the keys in.
    ///
    /// # Errors
    /// A key that cannot be used, with the issuer it is of.
    pub(super) fn new(issuers: &[Arc<Issuer>], key_sets: &KeySets) -> Result<Self, String> {
        let verifier = |issuer: &Arc<Issuer>| {
            let verifier = Verifier::new(issuer.clone(), key_sets).map_err(|why| {
                format!("the key of issuer {} cannot be used: {why}", issuer.issuer)
            })?;
            Ok((issuer.issuer.clone(), verifier))
        };
        issuers.iter().map(verifier).collect::<Result<_, _>>().map(Self)
    }

    /// The sets of keys that are fetched.
    pub(super) fn key_sets(&self) -> impl Iterator<Item = &Arc<KeySet>> {
        self.0.values().filter_map(|verifier| match &verifier.keys {
            Held::Fetched(set) => Some(set),
            Held::One(_) | Held::Set(_) => None,
        })
    }

    /// Checks a token of at most `CREDENTIAL_BYTES_MAX`.
    pub(super) fn verify(&self, token: &str, now: UnixMillis) -> Verdict {
        self.judge(token, now).unwrap_or_else(|why| {
            log::debug!(why; "a token is refused");
            Verdict::False
        })
    }

    fn judge(&self, token: &str, now: UnixMillis) -> Result<Verdict, &'static str> {
        let mut parts = token.split('.').map(object);
        let (Some(Some(header)), Some(Some(claims))) = (parts.next(), parts.next()) else {
            return Err("no JSON where header and claims should be");
        };
        if UNKNOWN_HEADERS.iter().any(|name| header.contains_key(*name)) {
            return Err("its header asks for what is not known here (crit, b64, enc, zip)");
        }
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or("it names no issuer (iss)")?;
        let verifier = self.0.get(issuer).ok_or("no such issuer is configured (iss)")?;
        let (algorithm, id) = jwks::choice(&header).ok_or("its algorithm is not known (alg)")?;
        if !verifier.issuer.algorithms.contains(&algorithm) {
            return Err("its issuer may not use that algorithm (alg)");
        }
        match &verifier.keys {
            Held::One(one) => check(token, &one.0, &one.1)?,
            Held::Set(keys) => {
                let found = keys.find(algorithm, id);
                let (key, validation) = found.ok_or("its issuer has no such key (kid)")?;
                check(token, key, validation)?;
            }
            Held::Fetched(set) => {
                let keys = set.keys();
                let found = keys.as_ref().and_then(|keys| keys.find(algorithm, id));
                let Some((key, validation)) = found else {
                    return Ok(Verdict::NoKey(set.clone()));
                };
                check(token, key, validation)?;
            }
        }
        // What was signed are the very bytes that were read above.
        Ok(Verdict::True(Box::new(verifier.in_time(claims, now)?)))
    }
}

/// Whether the key has signed the token, and issuer and audience are as they should be.
fn check(token: &str, key: &DecodingKey, validation: &Validation) -> Result<(), &'static str> {
    match jsonwebtoken::decode::<IgnoredAny>(token, key, validation) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidAudience => "it is for somebody else (aud)",
            ErrorKind::MissingRequiredClaim(_) => "it lacks iss, aud or exp",
            ErrorKind::InvalidSignature => "its signature is not by its issuer's key",
            // An open set: what else may be wrong is its form.
            _ => "it is no token as its issuer's are",
        }),
    }
}

impl Verifier {
    fn new(issuer: Arc<Issuer>, key_sets: &KeySets) -> Result<Self, String> {
        let algorithms: Vec<_> = issuer.algorithms.iter().copied().map(library_name).collect();
        let Some(first) = algorithms.first().copied() else {
            return Err("no algorithm is allowed".to_owned());
        };
        let key = match &issuer.key {
            IssuerKey::KeySet(text) => {
                let keys = Keys::parse(text.as_bytes(), &issuer);
                let keys = keys.map_err(|fault| fault.as_str().to_owned())?;
                return Ok(Self { issuer, keys: Held::Set(keys) });
            }
            IssuerKey::KeySetUrl(_) => {
                let set = key_sets.of(&issuer)?;
                return Ok(Self { issuer, keys: Held::Fetched(set) });
            }
            IssuerKey::Secret(_) | IssuerKey::Pem(_) => decoding_key(&issuer.key, first.family())?,
        };
        for algorithm in &algorithms {
            // A signature of nothing is false for a usable key, and an error for any other.
            jsonwebtoken::crypto::verify("", b"", &key, *algorithm)
                .map_err(|error| format!("{algorithm:?}: {error}"))?;
        }
        let validation = validation(&issuer, &issuer.algorithms);
        Ok(Self { issuer, keys: Held::One(Box::new((key, validation))) })
    }

    /// What a signed token gives, if it is its time.
    fn in_time(
        &self,
        claims: Map<String, Value>,
        now: UnixMillis,
    ) -> Result<Verified, &'static str> {
        let leeway = i64::try_from(self.issuer.leeway.as_millis()).unwrap_or(i64::MAX);
        let expires = claims.get("exp").and_then(numeric_date).ok_or("it has no end (exp)")?;
        let not_before = match claims.get("nbf") {
            Some(nbf) => numeric_date(nbf).ok_or("its begin is no date (nbf)")?,
            None => i64::MIN,
        };
        if now.0 >= expires.saturating_add(leeway) {
            return Err("it has ended (exp)");
        }
        if now.0 < not_before.saturating_sub(leeway) {
            return Err("its time has not come (nbf)");
        }
        Ok(Verified {
            issuer: self.issuer.clone(),
            claims: Claims::new(claims),
            expires: UnixMillis(expires).min(EXPIRES_MAX),
        })
    }
}

fn decoding_key(key: &IssuerKey, family: AlgorithmFamily) -> Result<DecodingKey, String> {
    let key = match (key, family) {
        (IssuerKey::Secret(secret), AlgorithmFamily::Hmac) => {
            return Ok(DecodingKey::from_secret(secret.reveal().as_bytes()));
        }
        (IssuerKey::Pem(pem), AlgorithmFamily::Rsa) => DecodingKey::from_rsa_pem(pem),
        (IssuerKey::Pem(pem), AlgorithmFamily::Ec) => DecodingKey::from_ec_pem(pem),
        (IssuerKey::Pem(pem), AlgorithmFamily::Ed) => DecodingKey::from_ed_pem(pem),
        (IssuerKey::Secret(_), _) => return Err("a secret is only for HS algorithms".to_owned()),
        (IssuerKey::Pem(_), _) => return Err("a PEM key is not for HS algorithms".to_owned()),
        (IssuerKey::KeySet(_) | IssuerKey::KeySetUrl(_), _) => {
            return Err("a set of keys is not one key".to_owned());
        }
    };
    let key = key.map_err(|error| format!("no such public key or certificate: {error}"))?;
    // The verifiers would find out with the first token, or take the first bytes of whatever
    // is there.
    let is_whole = key.try_get_as_bytes().is_ok_and(|bytes| match family {
        AlgorithmFamily::Rsa => rsa_modulus_bytes(bytes).is_some_and(|len| len >= RSA_BYTES_MIN),
        AlgorithmFamily::Ed => bytes.len() == ED_KEY_BYTES,
        AlgorithmFamily::Hmac | AlgorithmFamily::Ec => true,
    });
    if !is_whole {
        return Err("RS and PS need a public RSA key of 2048 bits or more, \
                    EdDSA a public Ed25519 key"
            .to_owned());
    }
    Ok(key)
}

/// The length of the modulus, if this is a public key of PKCS #1: a sequence of two integers.
fn rsa_modulus_bytes(der: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (sequence, rest) = der_value(der, SEQUENCE)?;
    let (modulus, exponent) = der_value(sequence, INTEGER)?;
    let (_, end) = der_value(exponent, INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    (rest.is_empty() && end.is_empty()).then_some(modulus.len())
}

/// A value of this tag, and what comes after it. Lengths of up to two bytes, as keys have them.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (len, rest) = match rest {
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x81, len, rest @ ..] => (usize::from(*len), rest),
        [len @ 0..=0x7f, rest @ ..] => (usize::from(*len), rest),
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// A part of a token, before anything of it is believed.
fn object(part: &str) -> Option<Map<String, Value>> {
    strict::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

/// Seconds since 1970, with or without a fraction, as milliseconds; more than fits is for ever.
fn numeric_date(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    if let Some(secs) = number.as_i64() {
        return Some(secs.saturating_mul(1000));
    }
    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    let millis = (number.as_f64()? * 1000.0) as i64;
    Some(millis)
}
