//! One handshake with a client, and what is offered in it.
//!
//! TLS 1.2 with forward secrecy and authenticated encryption alone, and TLS 1.3; neither
//! renegotiation nor compression. The name that a client asks for chooses the certificate; of
//! several with the same name its own list of signatures does. Sessions are resumed by tickets
//! that this process alone can read, so nothing is remembered for clients that have left. Not
//! here: which files (`super`), what comes after (`door`).

use std::sync::Arc;

use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::tls::SslStream;
use pingora::tls::error::ErrorStack;
use pingora::tls::ssl::{
    self, AlpnError, ErrorCode, NameType, SniError, Ssl, SslAlert, SslContext, SslContextBuilder,
    SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode, SslVersion, select_next_proto,
};

use super::files::Texts;
use crate::config::{ListenTls, Names, Pair, TlsVersion};
use crate::telemetry::Handshake;

/// Of TLS 1.2: ephemeral keys, authenticated encryption.
const CIPHERS_1_2: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
const CIPHERS_1_3: &str =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/// What is spoken, best first, as ALPN has it. HTTP/1.0 is what some clients call themselves.
const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1\x08http/1.0";

/// OpenSSL's reasons (`sslerr.h`), which its Rust crate has no names for.
mod reason {
    pub(super) const HTTPS_PROXY_REQUEST: i32 = 155;
    pub(super) const HTTP_REQUEST: i32 = 156;
    pub(super) const NO_SHARED_CIPHER: i32 = 193;
    pub(super) const CALLBACK_FAILED: i32 = 234;
    pub(super) const NO_APPLICATION_PROTOCOL: i32 = 235;
    pub(super) const UNSUPPORTED_PROTOCOL: i32 = 258;
    pub(super) const WRONG_VERSION_NUMBER: i32 = 267;
    pub(super) const NO_SUITABLE_KEY_SHARE: i32 = 101;
    pub(super) const NO_SHARED_GROUPS: i32 = 410;
    pub(super) const NO_SUITABLE_SIGNATURE_ALGORITHM: i32 = 118;
    pub(super) const NO_SHARED_SIGNATURE_ALGORITHMS: i32 = 376;
    pub(super) const VERSION_TOO_LOW: i32 = 396;
    pub(super) const UNEXPECTED_EOF_WHILE_READING: i32 = 294;
    /// An alert of the client's is this and its number.
    pub(super) const ALERTS: std::ops::Range<i32> = 1000..1256;
}

/// What handshakes are held with.
pub(super) struct Acceptor(SslContext);

/// The certificates, and which of them is for whom.
struct Choice {
    pairs: Vec<Pair>,
    names: Names,
    refuses_unknown: bool,
}

impl Acceptor {
    /// What a listener's certificates make, and when each of their chains ends.
    ///
    /// # Errors
    /// A certificate that cannot be used, and the file at fault.
    pub(super) fn build(tls: &ListenTls, texts: &[Texts]) -> Result<(Self, Vec<i64>), String> {
        let mut pairs = Vec::new();
        let mut named = Vec::new();
        for (certificate, texts) in tls.certificates.iter().zip(texts) {
            let pair = Pair::of(&certificate.files, &texts.cert, &texts.key)?;
            named.push(pair.named(&certificate.names));
            pairs.push(pair);
        }
        let ends = pairs.iter().map(|pair| pair.ends().unwrap_or(0)).collect();
        let choice = Arc::new(Choice {
            pairs,
            names: Names::new(&named),
            refuses_unknown: tls.refuses_unknown_names,
        });
        let context = context(tls.min_version, choice.clone())
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        // What OpenSSL does not take would show in each handshake.
        for (pair, certificate) in choice.pairs.iter().zip(&tls.certificates) {
            let tried = Ssl::new(&context).and_then(|mut ssl| show(pair, &mut ssl));
            tried.map_err(|error| {
                format!("{}: TLS does not take it: {error}", certificate.files.cert.display())
            })?;
        }
        Ok((Self(context), ends))
    }

    /// The handshake with a client.
    pub(super) async fn accept(&self, socket: Socket) -> Result<Stream, Handshake> {
        let ssl = Ssl::new(&self.0).map_err(|_| Handshake::Other)?;
        let mut stream = SslStream::new(ssl, socket).map_err(|_| Handshake::Other)?;
        stream.accept().await.map_err(|error| outcome(&error))?;
        Ok(Box::new(stream))
    }
}

impl Choice {
    /// Shows a client the certificates for the name that it asks for, or the first.
    fn show(&self, ssl: &mut SslRef, alert: &mut SslAlert) -> Result<(), SniError> {
        let chosen = ssl.servername(NameType::HOST_NAME).and_then(|asked| self.names.of(asked));
        let chosen = match chosen {
            Some(chosen) => chosen,
            None if self.refuses_unknown => {
                *alert = SslAlert::UNRECOGNIZED_NAME;
                return Err(SniError::ALERT_FATAL);
            }
            None => self.names.default(),
        };
        // Each was tried before.
        for pair in chosen.iter().filter_map(|index| self.pairs.get(*index)) {
            show(pair, ssl).map_err(|_| SniError::ALERT_FATAL)?;
        }
        Ok(())
    }
}

fn show(pair: &Pair, ssl: &mut SslRef) -> Result<(), ErrorStack> {
    let mut chain = pair.chain.iter();
    if let Some(leaf) = chain.next() {
        ssl.set_certificate(leaf)?;
        ssl.set_private_key(&pair.key)?;
    }
    chain.try_for_each(|issuer| ssl.add_chain_cert(issuer.clone()))
}

fn context(min_version: TlsVersion, choice: Arc<Choice>) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(match min_version {
        TlsVersion::Tls12 => SslVersion::TLS1_2,
        TlsVersion::Tls13 => SslVersion::TLS1_3,
    }))?;
    builder.set_cipher_list(CIPHERS_1_2)?;
    builder.set_ciphersuites(CIPHERS_1_3)?;
    builder.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
    // Streams idle: a connection's buffers, over 30 KiB, are given back between two writes.
    builder.set_mode(
        SslMode::RELEASE_BUFFERS
            | SslMode::AUTO_RETRY
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE,
    );
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    builder.set_servername_callback(move |ssl, alert| choice.show(ssl, alert));
    Ok(builder.build())
}

/// Why a handshake has failed.
fn outcome(error: &ssl::Error) -> Handshake {
    if error.code() != ErrorCode::SSL {
        return Handshake::Closed;
    }
    let errors = error.ssl_error().map(ErrorStack::errors).unwrap_or_default();
    let outcomes = errors.iter().map(|error| match error.reason_code() {
        reason::HTTP_REQUEST | reason::HTTPS_PROXY_REQUEST | reason::WRONG_VERSION_NUMBER => {
            Handshake::NotTls
        }
        reason::UNSUPPORTED_PROTOCOL | reason::VERSION_TOO_LOW => Handshake::Version,
        reason::NO_SHARED_CIPHER
        | reason::NO_SHARED_GROUPS
        | reason::NO_SUITABLE_KEY_SHARE
        | reason::NO_SUITABLE_SIGNATURE_ALGORITHM
        | reason::NO_SHARED_SIGNATURE_ALGORITHMS => Handshake::Cipher,
        reason::NO_APPLICATION_PROTOCOL => Handshake::Protocol,
        reason::CALLBACK_FAILED => Handshake::UnknownName,
        reason::UNEXPECTED_EOF_WHILE_READING => Handshake::Closed,
        code if reason::ALERTS.contains(&code) => Handshake::Refused,
        _ => Handshake::Other,
    });
    // A stack may begin with what led to it.
    outcomes.into_iter().find(|outcome| *outcome != Handshake::Other).unwrap_or(Handshake::Other)
}
