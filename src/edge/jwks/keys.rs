//! A JSON Web Key Set, read: which key checks which token.
//!
//! A key is taken for the algorithms that the configuration lists for its issuer and that its
//! own `kty`, `crv`, `alg`, `use` and `key_ops` agree to. Shared secrets are never taken from a
//! set, so a public key cannot become one. A key that cannot be used is passed over; a set
//! without any that can is none. Not here: where the set comes from (`super`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::config::{Algorithm, Issuer, KEY_SET_BYTES_MAX};
use crate::edge::strict;

/// More keys than that no issuer rotates through.
const KEYS_MAX: usize = 100;

/// Shorter RSA keys must not be used (RFC 7518, 3.3).
pub(crate) const RSA_BYTES_MIN: usize = 2048 / 8;

/// Larger RSA keys take too long to check, and the verifier refuses them.
const RSA_BYTES_MAX: usize = 4096 / 8;

/// An exponent has no more bytes; the common one, 65537, has three.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// The keys of a set that can be used.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    key: DecodingKey,
    /// Each algorithm with what tokens under it are checked by.
    uses: Vec<(Algorithm, Validation)>,
}

/// Why a text is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetFault {
    /// Larger than any set is.
    TooLarge,
    /// Not `{"keys": [...]}`.
    NoSet,
    /// More keys than anybody has.
    TooMany,
    /// None of its keys fits the algorithms of the issuer.
    NoneUsable,
}

impl SetFault {
    /// In words, for whoever wrote the set.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "it is larger than 512 KiB",
            Self::NoSet => "it is no JSON object with a list of keys",
            Self::TooMany => "it holds more than 100 keys",
            Self::NoneUsable => {
                "none of its keys can be used with these algorithms: RSA keys have 2048 to 4096 \
                 bits, and kty, crv, alg, use and key_ops must agree"
            }
        }
    }
}

impl Keys {
    /// Reads a set for the algorithms of its issuer.
    pub(crate) fn parse(text: &[u8], issuer: &Issuer) -> Result<Self, SetFault> {
        if text.len() > KEY_SET_BYTES_MAX {
            return Err(SetFault::TooLarge);
        }
        let set = strict::object(text).ok_or(SetFault::NoSet)?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(SetFault::NoSet);
        };
        if keys.len() > KEYS_MAX {
            return Err(SetFault::TooMany);
        }
        let keys: Vec<_> = keys.iter().filter_map(|key| Key::parse(key, issuer)).collect();
        if keys.is_empty() { Err(SetFault::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// The key for a token: the one of its `kid`, or, where it names none, the only one that
    /// there is for its algorithm. Two keys under one `kid` are as good as none.
    pub(crate) fn find(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Option<(&DecodingKey, &Validation)> {
        let is_meant = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let fitting = self.0.iter().filter(is_meant).filter_map(|key| {
            let (_, validation) = key.uses.iter().find(|(known, _)| *known == algorithm)?;
            Some((&key.key, validation))
        });
        let mut fitting = fitting.take(2);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn parse(value: &Value, issuer: &Issuer) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if !is_for_signatures(&jwk) {
            return None;
        }
        let fits = |algorithm: Algorithm| {
            let name = KeyAlgorithm::from(library_name(algorithm));
            is_kind(&jwk.algorithm, algorithm)
                && jwk.common.key_algorithm.is_none_or(|said| said == name)
        };
        let mut algorithms: Vec<_> = issuer.algorithms.clone();
        algorithms.retain(|algorithm| fits(*algorithm));
        if !is_sound(&jwk.algorithm) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        // A signature of nothing is false for a usable key, and an error for any other.
        let is_usable = |algorithm: &Algorithm| {
            jsonwebtoken::crypto::verify("", b"", &key, library_name(*algorithm)).is_ok()
        };
        algorithms.retain(is_usable);
        let uses: Vec<_> = algorithms
            .iter()
            .map(|algorithm| (*algorithm, validation(issuer, &[*algorithm])))
            .collect();
        (!uses.is_empty()).then(|| Self { id: jwk.common.key_id, key, uses })
    }
}

/// Whether the key says that it checks signatures, or does not say what it is for.
fn is_for_signatures(jwk: &Jwk) -> bool {
    let is_use = jwk.common.public_key_use.as_ref().is_none_or(|said| match said {
        PublicKeyUse::Signature => true,
        PublicKeyUse::Encryption | PublicKeyUse::Other(_) => false,
    });
    let operations = jwk.common.key_operations.as_ref();
    is_use && operations.is_none_or(|said| said.contains(&KeyOperations::Verify))
}

/// Whether a key of this kind is what the algorithm takes.
fn is_kind(parameters: &AlgorithmParameters, algorithm: Algorithm) -> bool {
    match algorithm {
        // A secret that is published is none.
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => false,
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => matches!(parameters, AlgorithmParameters::RSA(_)),
        Algorithm::Es256 => matches!(
            parameters,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256
        ),
        Algorithm::Es384 => matches!(
            parameters,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384
        ),
        Algorithm::EdDsa => matches!(
            parameters,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519
        ),
    }
}

/// Whether the numbers can be a key. Of elliptic curves the verifier finds out.
fn is_sound(parameters: &AlgorithmParameters) -> bool {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    match parameters {
        AlgorithmParameters::RSA(key) => {
            let (modulus, exponent) = (decode(&key.n), decode(&key.e));
            let modulus = trimmed(&modulus);
            let exponent = trimmed(&exponent);
            let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
            (RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&modulus.len())
                && (1..=RSA_EXPONENT_BYTES_MAX).contains(&exponent.len())
                && is_odd(modulus)
                && is_odd(exponent)
                && exponent != [1]
        }
        AlgorithmParameters::OctetKeyPair(key) => decode(&key.x).len() == 32,
        AlgorithmParameters::EllipticCurve(_) => true,
        // Of shared secrets, and of whatever the crate will know one day.
        _ => false,
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// The header of a token as far as the choice of its key goes: its algorithm and its `kid`.
pub(crate) fn choice(header: &Map<String, Value>) -> Option<(Algorithm, Option<&str>)> {
    let algorithm = Algorithm::from_name(header.get("alg")?.as_str()?)?;
    match header.get("kid") {
        None => Some((algorithm, None)),
        Some(Value::String(id)) => Some((algorithm, Some(id))),
        Some(_) => None,
    }
}

/// What tokens of an issuer are checked by. The algorithms are of one kind of key.
pub(crate) fn validation(issuer: &Issuer, algorithms: &[Algorithm]) -> Validation {
    let mut validation = Validation {
        algorithms: algorithms.iter().copied().map(library_name).collect(),
        // Times are checked by the gate, against the clock that is passed in.
        validate_exp: false,
        validate_nbf: false,
        ..Validation::default()
    };
    validation.set_issuer(&[&issuer.issuer]);
    if issuer.audiences.is_empty() {
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss"]);
    } else {
        validation.set_audience(&issuer.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    }
    validation
}

/// What the library calls an algorithm.
pub(crate) const fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}
