//! Conf files in, configurations or lines of errors out.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::proto::backend::{OptionKind, OptionSpec, ROSTER, Transport, openfire};
use crate::proto::template::{Place, Variable, Variables};

/// A dialect with an option of every kind, which repeats what it refuses.
static FAKE: Dialect = Dialect {
    name: "fake",
    title: "Fake",
    transport: Transport::Stream,
    events: &[],
    options: &[
        OptionSpec { name: "token", kind: OptionKind::Secret, is_required: true, doc: "the token" },
        OptionSpec {
            name: "room",
            kind: OptionKind::Template,
            is_required: false,
            doc: "the room",
        },
        OptionSpec {
            name: "mode",
            kind: OptionKind::Word(&["fast", "slow"]),
            is_required: false,
            doc: "how",
        },
        OptionSpec { name: "loud", kind: OptionKind::Bool, is_required: false, doc: "whether" },
        OptionSpec {
            name: "beat",
            kind: OptionKind::Secs { min: 1, max: 60 },
            is_required: false,
            doc: "when",
        },
        OptionSpec {
            name: "login",
            kind: OptionKind::Table(&[
                OptionSpec {
                    name: "user",
                    kind: OptionKind::Template,
                    is_required: true,
                    doc: "the user",
                },
                OptionSpec {
                    name: "password",
                    kind: OptionKind::Secret,
                    is_required: true,
                    doc: "the password",
                },
            ]),
            is_required: false,
            doc: "the log-in",
        },
    ],
    plan: |options| {
        let token = options.template("token").ok_or("no token")?;
        let text = token.resolve(&Nobody, Place::Plain).unwrap_or_default();
        if text.starts_with("bad") {
            return Err(format!("token {text} is bad"));
        }
        if options.word("mode") == Some("fast") && options.secs("beat").is_none() {
            return Err("fast needs beat".to_owned());
        }
        let mut plan = Plan { silence_secs: options.secs("beat").unwrap_or(0), ..Plan::default() };
        if let Some(user) = options.table("login").and_then(|login| login.template("user")) {
            plan.call.query.push(("user", crate::proto::backend::Piece::value(user, Place::Query)));
        }
        Ok(plan)
    },
    answer: |status, body| (openfire::DIALECT.answer)(status, body),
    obtained: |status, body| (openfire::DIALECT.obtained)(status, body),
    history: None,
    session: |start| (openfire::DIALECT.session)(start),
};

/// Another dialect, with an option that the first does not have.
static OTHER: Dialect = Dialect {
    name: "other",
    title: "Other",
    transport: Transport::Stream,
    events: &[],
    options: &[OptionSpec {
        name: "org_id",
        kind: OptionKind::Template,
        is_required: false,
        doc: "the org",
    }],
    plan: |_| Ok(Plan::default()),
    answer: |status, body| (openfire::DIALECT.answer)(status, body),
    obtained: |status, body| (openfire::DIALECT.obtained)(status, body),
    history: None,
    session: |start| (openfire::DIALECT.session)(start),
};

struct Nobody;

impl Variables for Nobody {
    fn value(&self, _: &Variable) -> Option<std::borrow::Cow<'_, str>> {
        None
    }
}

/// A folder of files, gone at the end of its test.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "chatmux-config-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("a folder");
        for (name, text) in files {
            let path = folder.0.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, text).expect("a file");
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, mode).expect("its mode");
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What a conf needs at least, a line for each key.
const LEAST: &[(&str, &str)] = &[
    ("listen", "[{address: '127.0.0.1:0'}]"),
    ("auth", "{anonymous: true}"),
    ("sources", "{desk: {backend: fake, url: 'https://a', token: '{query.token}'}}"),
    ("routes", "[{path: /events, sources: [desk]}]"),
];

const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7
-----END PUBLIC KEY-----";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
-----END PUBLIC KEY-----
";

/// A certificate that is good for these days from now, and its key.
pub(super) fn certificate(from: i64, until: i64) -> (String, String) {
    use openssl::{ec, nid::Nid, pkey::PKey};

    let group = ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = ec::EcKey::generate(&group).and_then(PKey::from_ec_key).expect("a key");
    certificate_of(&key, from, until)
}

/// One of this key.
pub(super) fn certificate_of(
    key: &openssl::pkey::PKey<openssl::pkey::Private>,
    from: i64,
    until: i64,
) -> (String, String) {
    use openssl::{asn1::Asn1Time, hash::MessageDigest, x509};

    let mut name = x509::X509Name::builder().expect("a name");
    name.append_entry_by_text("CN", "localhost").expect("a name");
    let name = name.build();
    let mut builder = x509::X509::builder().expect("a certificate");
    let day = |day: i64| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
        let at = i64::try_from(now).expect("a time") + day * 86_400 + 60;
        Asn1Time::from_unix(at).expect("a time")
    };
    builder.set_subject_name(&name).expect("a name");
    builder.set_issuer_name(&name).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&day(from)).expect("a day");
    builder.set_not_after(&day(until)).expect("a day");
    builder.sign(key, MessageDigest::sha256()).expect("a signature");
    let text = |pem: Vec<u8>| String::from_utf8(pem).expect("text");
    let cert = builder.build().to_pem().expect("a PEM");
    (text(cert), text(key.private_key_to_pem_pkcs8().expect("a PEM")))
}

/// One that is good, the same for all tests.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| certificate(-1, 365))
}

pub(super) fn files() -> Folder {
    Folder::new(&[
        ("secret", "file-secret\n"),
        ("empty", "\n"),
        ("two-lines", "hunter2\nhunter3\n"),
        ("large", &"x".repeat(65 * 1024)),
        ("set.json", "{\"keys\":[]}"),
        ("rsa.pem", RSA),
        ("p256.pem", P256),
        ("cert.pem", &pair().0),
        ("key.pem", &pair().1),
        ("bad-cert.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("bad-key.pem", "-----BEGIN PRIVATE KEY-----\n"),
    ])
}

pub(super) fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("env-secret".to_owned()),
        "BAD" => Some("bad-hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        "BREAK" => Some("hunter2\r\nX-Evil: 1".to_owned()),
        "LONG" => Some("x".repeat(64)),
        _ => None,
    }
}

pub(super) fn read_in(folder: &Folder, text: &str) -> Result<Loaded, ConfErrors> {
    let roster: &[&Dialect] = &[&FAKE, &OTHER];
    read(&Input { text, file_name: "c", base_dir: &folder.0, env: &env, roster })
}

/// The text, and what it leaves out of [`LEAST`] after it.
pub(super) fn completed(text: &str) -> String {
    let mut conf = text.to_owned();
    for (key, value) in LEAST {
        if !text.lines().any(|line| line.starts_with(key)) {
            conf.push_str(&format!("\n{key}: {value}"));
        }
    }
    conf
}

#[track_caller]
fn refused(text: &str) -> ConfErrors {
    read_in(&files(), &completed(text)).err().expect("refused")
}

#[track_caller]
pub(super) fn accepted(text: &str) -> Loaded {
    match read_in(&files(), &completed(text)) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{text}\n{errors}"),
    }
}

#[track_caller]
pub(super) fn check(text: &str, want: &[&str]) {
    let errors = refused(text);
    let got = errors.to_string();
    assert_eq!(got.lines().collect::<Vec<_>>(), want, "{text}");
    assert!(!got.contains("hunter2"), "{got}");
}

#[track_caller]
pub(super) fn check_warnings(text: &str, want: &[&str]) {
    let got: Vec<String> = accepted(text).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(got, want, "{text}");
}

#[test]
fn the_least_conf_has_every_default() {
    let Loaded { config, warnings } = accepted("");
    assert_eq!(warnings, []);
    assert!(config.admin.is_none());
    assert!(config.server.threads >= 1);
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert_eq!(config.cors.max_age, Duration::from_secs(600));
    assert!(!config.cors.allow_credentials && !config.cors.allows("https://a"));
    assert!(config.limits.address == Limit::default() && config.limits.tenant == Limit::default());
    assert_eq!((config.replay.events, config.replay.bytes), (512, 1 << 20));
    assert_eq!(
        (config.replay.age, config.replay.linger),
        (Duration::from_secs(600), Duration::from_secs(30))
    );
    assert_eq!(config.timeouts.write, Duration::from_secs(10));
    assert_eq!(config.log, Log { level: LogLevel::Info, format: LogFormat::Text });
    let source = config.sources.first().expect("a source");
    assert_eq!(source.policy, Policy::default());
    assert_eq!(
        (source.event_bytes_max, source.connect_timeout),
        (1 << 20, Duration::from_secs(10))
    );
    assert_eq!(source.server_name(), "a");
    let route = config.routes.first().expect("a route");
    assert_eq!(route.heartbeat, Heartbeat { default_secs: 5, min_secs: 1, max_secs: 300 });
    assert!(route.is_match("any", "thing") && !route.allow_errors_event);
    assert_eq!(route.vocabulary, Vocabulary::Full);
}

/// A conf with most options.
const MOST: &str = "version: 1
listen:
  - {address: '[::1]:8443', tls: {cert: cert.pem, key: key.pem}}
  - {address: 'localhost:0', h2c: true, proxy_protocol: true}
admin: {address: '127.0.0.1:9090'}
server: {threads: 3, drain: 2m, max_age: 12h, upgrade_socket: upgrade.sock}
trusted_proxies: [127.0.0.0/8]
cors: {allow_origins: ['https://a.example', 'https://.*[.]b[.]example'], allow_credentials: true, max_age: 1h}
auth:
  api_keys:
    - label: widget
      sha256: 000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F
      tenants: [acme]
      workflows: ['customer-.*', other]
      participants: [bob]
      expires: 2027-01-01
      limits: {opens: 5/s}
  jwt:
    - {issuer: 'https://id', audience: chat, algorithms: [HS256], secret: '${env:LONG}', leeway: 5s, bind: {participantId: sub}}
    - {issuer: x, audience: [a, b], algorithms: [RS256, PS512], public_key: '${file:rsa.pem}', bind: {participantId: sub, tenantId: t}}
limits:
  address: {opens: 60/m, requests: 600/m, burst: 20, concurrent: 50}
  connections: {total: 1000, per_client: 100}
  event: 64KiB
replay: {events: 10, bytes: 1MiB, age: 1m, linger: 0s}
timeouts: {write: 500ms}
sources:
  desk: {backend: fake, url: 'https://a/x/', token: '${env:TOKEN}', mode: slow, loud: true, beat: 5s, login: {user: '{participantId}', password: '${file:secret}'},
         optional: true, unmapped: drop, malformed: raw, connect_timeout: 1s, event: 1KiB, http2: true, tls: {ca: cert.pem, sni: B, client_cert: cert.pem, client_key: key.pem}}
  care: {backend: other, url: 'http://b', org_id: 00D1}
routes:
  - {path: /a, match: {tenant: acme, workflow: 'c-.*'}, sources: [care, desk], heartbeat: {default: 2s, min: 2s, max: 10s}, vocabulary: core, allow_errors_event: true}
  - {path: /a, sources: [care]}
log: {level: debug, format: json}";

#[test]
fn what_is_written_counts() {
    let Loaded { config, warnings } = accepted(MOST);
    assert_eq!(warnings, []);
    let tls = config.listen.first().and_then(|listen| listen.tls.as_ref()).expect("tls");
    let [Certificate { files, names }] = tls.certificates.as_slice() else {
        panic!("{} certificates", tls.certificates.len());
    };
    assert!(files.cert.ends_with("cert.pem") && files.cert.is_absolute() && names.is_empty());
    assert!(config.cors.allows("https://x.b.example") && !config.cors.allows("https://xbbexample"));
    let key = config.auth.api_keys.first().expect("a key");
    assert_eq!((key.sha256.first(), key.sha256.last()), (Some(&0), Some(&0x1f)));
    assert_eq!(
        key.expires.map(|time| time.to_string()).as_deref(),
        Some("2027-01-01T00:00:00.000Z")
    );
    assert_eq!(
        key.limits.as_ref().and_then(|limit| limit.opens).map(|rate| rate.count.get()),
        Some(5)
    );
    let requests = config.limits.address.requests.map(|rate| rate.count.get());
    assert_eq!(requests, Some(600));
    let want = Connections { total: Some(1000), per_client: Some(100) };
    assert!(config.limits.connections == want);
    assert!(config.listen.iter().map(|listen| listen.proxy_protocol).eq([false, true]));
    let [first, second] = config.auth.jwt.as_slice() else { panic!("two issuers") };
    assert!(matches!(&first.key, IssuerKey::Secret(secret) if secret.reveal().len() == 64));
    assert_eq!(first.audiences, ["chat"]);
    assert!(matches!(&second.key, IssuerKey::Pem(pem) if pem == RSA.as_bytes()));
    assert_eq!(second.algorithms, [Algorithm::Rs256, Algorithm::Ps512]);
    assert_eq!(
        second.bind,
        [(Bound::ParticipantId, "sub".to_owned()), (Bound::TenantId, "t".to_owned())]
    );
    let [desk, care] = config.sources.as_slice() else { panic!("two sources") };
    assert_eq!((desk.event_bytes_max, care.event_bytes_max), (1024, 64 * 1024));
    assert_eq!(
        (desk.server_name(), desk.plan.silence_secs, desk.url.path.as_str()),
        ("b", 5, "/x")
    );
    assert!(desk.is_optional && desk.ca.is_some() && desk.plan.call.query.len() == 1);
    let identity = desk.identity.as_ref().expect("a certificate of ours");
    assert!(identity.cert.ends_with("cert.pem") && identity.key.ends_with("key.pem"));
    assert!(desk.is_http2 && !care.is_http2 && care.identity.is_none());
    let route = config.routes.first().expect("a route");
    assert!(
        route.is_match("acme", "c-1")
            && !route.is_match("acme", "xc-1")
            && !route.is_match("b", "c-1")
    );
    let names: Vec<&str> = route.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["care", "desk"]);
}

#[test]
fn all_errors_come_at_once_in_order() {
    check(
        "server: {threads: 0, drian: 5s}
replay: {age: 5}
routes:
  - {path: events, sources: [dsk, desk, desk]}
  - {path: /b, sources: [], heartbeat: {max: 900s, min: 500ms}}",
        &[
            "c:1:19: server.threads: 0 is under 1",
            "c:1:22: server.drian: no such option; did you mean \"drain\"?",
            "c:2:15: replay.age: a duration is written like 500ms, 15s, 10m or 1h",
            "c:4:12: routes[0].path: a path starts with / and holds no spaces, no ?, # or {}, and only ASCII",
            "c:4:30: routes[0].sources[0]: no source is called \"dsk\"; did you mean \"desk\"?",
            "c:4:41: routes[0].sources[2]: \"desk\" is in this list twice",
            "c:5:25: routes[1].sources: this list is empty",
            "c:5:46: routes[1].heartbeat.max: 900s is over 300s",
            "c:5:57: routes[1].heartbeat.min: \"500ms\" is not a whole number of seconds",
        ],
    );
}

#[test]
fn keys_are_checked() {
    check("listne: 1", &["c:1:1: listne: no such option; did you mean \"listen\"?"]);
    check("log: {colour: red}", &["c:1:7: log.colour: no such option; there are level, format"]);
    check("log:", &["c:1:4: log: this key has no value; give it one, or leave it out"]);
    check("log: [a]", &["c:1:6: log: this must be a table of key: value"]);
    check(
        "log: {level: [a]}",
        &["c:1:14: log.level: this must be one value, not a list or a table"],
    );
    check("trusted_proxies: a", &["c:1:18: trusted_proxies: this must be a list"]);
    check(
        "\"a\\nb\": 1",
        &["c:1:1: \"a\\nb\": no such option; there are version, include, listen, admin, server, \
         trusted_proxies, forwarded_header, cors, auth, limits, cluster, replay, timeouts, sources, routes, proxy, log"],
    );
    check(
        "listen: [{}]",
        &["c:1:10: listen[0].address: this is missing: address and port; port 0 takes a free one"],
    );
    let missing = read_in(&files(), "version: 1").err().expect("refused").to_string();
    assert_eq!(
        missing.lines().collect::<Vec<_>>(),
        [
            "c:1:1: listen: this is missing: where clients come in",
            "c:1:1: auth: this is missing: who is let in",
            "c:1:1: sources: this is missing: the backends, by name",
            "c:1:1: routes: this is missing: the paths; the first that matches counts",
        ]
    );
}

#[test]
fn the_parser_stops_at_what_is_no_yaml() {
    check(
        "log: {level: info}\nlog: {level: info}\nlisten: [1",
        &["c:2:1: log: this key is here twice; first in line 1"],
    );
    check(
        "sources:\n  a: {url: 1, url: 2}",
        &["c:2:15: sources.a.url: this key is here twice; first in line 2"],
    );
    let errors = read_in(&files(), "a: [1, 2").err().expect("refused");
    assert_eq!(errors.errors.len(), 1);
    assert!(errors.to_string().contains("this is no YAML: "), "{errors}");
    for (text, want) in [
        ("", "c: the file is empty"),
        ("# x\n", "c: the file is empty"),
        ("a", "c:1:1: this must be a table of key: value"),
    ] {
        assert_eq!(read_in(&files(), text).err().expect("refused").to_string(), want);
    }
    let large = " ".repeat(4 * 1024 * 1024 + 1);
    let error = read_in(&files(), &large).err().expect("refused");
    assert_eq!(error.to_string(), "c: the file is larger than 4194304 bytes");
}

#[test]
fn values_have_their_kind() {
    check("version: 2", &["c:1:10: version: 2 is over 1"]);
    check(
        "server: {threads: '2'}",
        &["c:1:19: server.threads: this must be a whole number, without quotes"],
    );
    check(
        "server: {threads: -1}",
        &["c:1:19: server.threads: this must be a whole number, without quotes"],
    );
    check("server: {drain: 2h}", &["c:1:17: server.drain: 2h is over 1h"]);
    check("server: {upgrade_socket: ''}", &["c:1:26: server.upgrade_socket: this is empty"]);
    check(
        "replay: {bytes: 1MB, events: 0}",
        &[
            "c:1:17: replay.bytes: a size is written like 512B, 64KiB or 1MiB",
            "c:1:30: replay.events: 0 is under 1",
        ],
    );
    check("limits: {event: 1B}", &["c:1:17: limits.event: 1B is under 1KiB"]);
    check(
        "log: {level: inof}",
        &[
            "c:1:14: log.level: \"inof\" is none of error, warn, info, debug, trace; did you mean \"info\"?",
        ],
    );
    check(
        "cors: {allow_credentials: yes}",
        &["c:1:27: cors.allow_credentials: this must be true or false, without quotes"],
    );
    check(
        "limits: {address: {opens: 30}}",
        &["c:1:27: limits.address.opens: a rate is written like 5/s, 30/m or 100/h, at least 1"],
    );
    check(
        "limits: {tenant: {burst: 3}}",
        &["c:1:26: limits.tenant.burst: this has no meaning without opens or requests"],
    );
    check(
        "trusted_proxies: [10.0.0.1/8]",
        &["c:1:19: trusted_proxies[0]: bits are set past the prefix; the block is 10.0.0.0/8"],
    );
    check(
        "log: {level: '${env:LEVEL}'}",
        &["c:1:14: log.level: ${env:...} and ${file:...} work in secret fields only"],
    );
}

#[test]
fn listeners_are_checked() {
    check("listen: []", &["c:1:9: listen: this list is empty"]);
    check(
        "listen: [{address: '127.0.0.1:99999'}]",
        &[
            "c:1:20: listen[0].address: an address is written like 127.0.0.1:8080, [::]:8443 or localhost:8080",
        ],
    );
    check(
        "listen: [{address: 'a:1'}, {address: 'A:1'}]\nadmin: {address: 'a:1'}",
        &[
            "c:1:38: listen[1].address: listen[0] has the same address",
            "c:2:18: admin.address: listen[0] has the same address",
        ],
    );
    accepted("listen: [{address: 'a:0'}, {address: 'a:0'}]");
    check(
        "listen: [{address: '127.0.0.1:1'}, {address: '0.0.0.0:1'}, {address: '[::1]:1'}, \
         {address: '10.0.0.1:2'}]\nadmin: {address: '[::]:1'}",
        &[
            "c:1:46: listen[1].address: all addresses take the port of listen[0] as well; drop one, or write another port",
            "c:2:18: admin.address: all addresses take the port of listen[2] as well; drop one, or write another port",
        ],
    );
    // With IPv6 the kernel listens for IPv4, too, unless it is told otherwise.
    check_warnings(
        "listen: [{address: '[::]:1'}, {address: '127.0.0.1:1'}, {address: 'localhost:3'}, \
         {address: '0.0.0.0:3'}]",
        &[
            "c:1:41: listen[1].address: listen[0] may take this port of it; then run fails",
            "c:1:93: listen[3].address: listen[2] may take this port of it; then run fails",
        ],
    );
    let apart =
        "listen: [{address: '127.0.0.1:1'}, {address: '127.0.0.2:1'}, {address: '0.0.0.0:2'}]";
    accepted(&format!("{apart}\nadmin: {{address: 'localhost:1'}}"));
    check(
        "listen: [{address: 'a:1', proxy_protocol: true}]",
        &["c:1:43: listen[0].proxy_protocol: nobody may send it; name who does in trusted_proxies"],
    );
    check(
        "listen: [{address: 'a:1', h2c: true, tls: {cert: key.pem, key: nobody.pem}}]",
        &[
            "c:1:32: listen[0].h2c: with tls, HTTP/2 is there already; leave h2c out",
            "c:1:50: listen[0].tls.cert: the file \"key.pem\" holds no CERTIFICATE",
            "c:1:64: listen[0].tls.key: cannot read the file \"nobody.pem\": No such file or directory (os error 2)",
        ],
    );
    check(
        "server: {upgrade_socket: /nobody/here.sock}",
        &["c:1:26: server.upgrade_socket: the folder \"/nobody\" is not there"],
    );
}

#[test]
fn origins_are_checked() {
    check(
        "cors: {allow_origins: ['https://a/', '*', 'b('], allow_credentials: true}",
        &[
            "c:1:24: cors.allow_origins[0]: an origin is scheme://host or scheme://host:port, in lower case, without a path, such as https://app.example.com",
            "c:1:43: cors.allow_origins[2]: unclosed group",
            "c:1:69: cors.allow_credentials: credentials are never allowed for *; name the origins",
        ],
    );
}

#[test]
fn keys_and_issuers_are_checked() {
    check(
        "auth: {anonymous: false}",
        &[
            "c:1:7: auth: nobody could be let in; add api_keys or jwt, or let everyone in with anonymous: true",
        ],
    );
    check("auth: {api_keys: []}", &["c:1:18: auth.api_keys: this list is empty"]);
    check(
        "auth: {api_keys: [{label: a, sha256: hunter2, tenants: [], workflows: ['('], expires: tomorrow}]}",
        &[
            "c:1:38: auth.api_keys[0].sha256: this must be the SHA-256 of the key, 64 hexadecimal digits, as `chatmux key` prints it",
            "c:1:56: auth.api_keys[0].tenants: this list is empty; leave the key out for any",
            "c:1:72: auth.api_keys[0].workflows[0]: \"(\" is no regular expression: unclosed group",
            "c:1:87: auth.api_keys[0].expires: a time is written like 2027-01-01 or 2027-01-01T12:00:00Z, from 1990 to 2099",
        ],
    );
    let (low, high) = ("ab".repeat(32), "AB".repeat(32));
    check(
        &format!(
            "auth:\n  api_keys:\n    - {{label: a, sha256: {low}}}\n    - {{label: a, sha256: {high}}}"
        ),
        &[
            "c:4:15: auth.api_keys[1].label: auth.api_keys[0] has the same label",
            "c:4:26: auth.api_keys[1].sha256: auth.api_keys[0] has the same sha256",
        ],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [HS256, RS256], secret: '${env:LONG}'}, {issuer: a, algorithms: [none]}]}",
        &[
            "c:1:38: auth.jwt[0].algorithms: one key cannot serve them all; keep HS*, RS* with PS*, ES256, ES384 and EdDSA apart",
            "c:1:87: auth.jwt[1].issuer: auth.jwt[0] has the same issuer",
            "c:1:103: auth.jwt[1].algorithms[0]: \"none\" is none of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        ],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [HS256]}]}",
        &["c:1:14: auth.jwt[0].secret: this is missing: what signatures are checked with"],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [HS256], secret: '${env:LONG}', public_key: '${file:rsa.pem}'}]}",
        &["c:1:82: auth.jwt[0].public_key: these algorithms take a secret"],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [RS256], public_key: '${file:p256.pem}'}]}",
        &[
            "c:1:59: auth.jwt[0].public_key: this key is a P-256 key; the algorithms take an RSA key",
        ],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [RS256], public_key: '${file:key.pem}'}]}",
        &[
            "c:1:59: auth.jwt[0].public_key: this is a private key; only its public key belongs here",
        ],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [RS256], public_key: rsa.pem}]}",
        &[
            "c:1:59: auth.jwt[0].public_key: this must be a public key or a certificate in PEM, RSA, P-256, P-384 or Ed25519; from a file: ${file:PATH}",
        ],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [ES256], public_key: '${file:p256.pem}', keys_url: x, bind: {sub: x}}]}",
        &[
            "c:1:79: auth.jwt[0].keys_url: no such option; there are issuer, audience, algorithms, secret, public_key, jwks_file, jwks_url, jwks_refresh, jwks_pause, jwks_tls, leeway, bind",
            "c:1:99: auth.jwt[0].bind.sub: no such option; there are participantId, tenantId, workflow",
        ],
    );
}

#[track_caller]
fn check_source(source: &str, want: &[&str]) {
    check(&format!("sources:\n  desk: {source}"), want);
}

#[test]
fn proxied_paths_are_checked() {
    let check_proxy = |proxy: &str, want: &[&str]| check(&format!("proxy: [{proxy}]"), want);
    check_proxy("{path: /a}", &["c:1:9: proxy[0].source: this is missing: the source"]);
    check_proxy(
        "{path: /a, source: dsk}",
        &["c:1:28: proxy[0].source: no source is called \"dsk\"; did you mean \"desk\"?"],
    );
    check_proxy(
        "{path: /events/, source: desk}",
        &["c:1:9: proxy[0]: \"/events\" is the path of a route, too"],
    );
    check_proxy(
        "{path: /a, source: desk}, {path: /a/, source: desk}",
        &["c:1:35: proxy[1]: no call ever comes here: proxy[0] has the same path and match"],
    );
    check_proxy(
        "{path: /a, source: desk, methods: [TRACE]}",
        &["c:1:44: proxy[0].methods[0]: \"TRACE\" is none of GET, HEAD, POST, PUT, PATCH, DELETE"],
    );
    check_proxy(
        "{path: /a, source: desk, headers: [Host]}",
        &["c:1:44: proxy[0].headers[0]: \"Host\" is never passed on from a client"],
    );
    for name in ["Set-Cookie", "X-Accel-Redirect", "Access-Control-Allow-Origin"] {
        check_proxy(
            &format!("{{path: /a, source: desk, answer_headers: [{name}]}}"),
            &[&format!(
                "c:1:51: proxy[0].answer_headers[0]: \"{name}\" is never passed on from a backend"
            )],
        );
    }
    check_proxy(
        "{path: /a, source: desk, to: /a/../b}",
        &["c:1:38: proxy[0].to: a path holds no . or .. between its slashes"],
    );
    // The proofs of routes hold here as well.
    check_warnings(
        "proxy: [{path: /a, source: desk, match: {tenant: 'a$b'}}]",
        &["c:1:50: proxy[0].match.tenant: no text ever matches this expression"],
    );
    let Loaded { config, .. } = accepted("proxy: [{path: /a/, source: desk}]");
    let proxy = &config.proxy[0];
    assert_eq!((proxy.path.as_str(), proxy.to.as_str()), ("/a", "/"));
    assert_eq!(proxy.methods.len(), 6);
    assert_eq!((proxy.upload_bytes_max, proxy.timeout.as_secs()), (32 << 20, 75));
    for (path, want) in [("/a", Some("")), ("/a/b", Some("/b")), ("/ab", None), ("/", None)] {
        assert_eq!(proxy.rest(path), want, "{path}");
    }
}

#[test]
fn raw_takes_one_source_and_defaults_are_text() {
    check(
        "sources: {a: {backend: fake, url: 'https://a', token: t}, b: {backend: fake, url: \
         'https://b', token: t}}\nroutes: [{path: /, sources: [a, b], vocabulary: raw}]",
        &["c:2:49: routes[0].vocabulary: raw leaves every backend its own words: it takes one \
           source"],
    );
    check(
        "routes: [{path: /, sources: [desk], vocabulary: raw, redact: [{pattern: x, replace: y}]}]",
        &["c:1:62: routes[0].redact: this has no hold on a backend's own words; leave it out, or \
           take full"],
    );
    check(
        "routes: [{path: /, sources: [desk], defaults: {tenant: a}}]",
        &["c:1:48: routes[0].defaults.tenant: no such option; did you mean \"tenantId\"?"],
    );
}

#[test]
fn sources_are_checked() {
    check(
        "sources: {}\nroutes: [{path: /, sources: [a]}]",
        &[
            "c:1:10: sources: there must be at least one source",
            "c:2:30: routes[0].sources[0]: no source is called \"a\"",
        ],
    );
    check_source(
        "{backend: fkae, tokne: hunter2, url: http://a, org_id: x}",
        &[
            "c:2:19: sources.desk.backend: \"fkae\" is none of fake, other; did you mean \"fake\"?",
            "c:2:25: sources.desk.tokne: no such option; there are backend, url, optional, unmapped, malformed, connect_timeout, event, http2, tls",
        ],
    );
    check_source(
        "{backend: fake, tokn: hunter2, org_id: x}",
        &[
            "c:2:9: sources.desk.url: this is missing: where it is, to which the backend's own paths are added",
            "c:2:9: sources.desk.token: this is missing: the token",
            "c:2:25: sources.desk.tokn: no such option; did you mean \"token\"?",
            "c:2:40: sources.desk.org_id: this is an option of other, not of fake",
        ],
    );
    check_source(
        "{backend: other, url: 'https://u:hunter2@a', tls: {sni: 'a b', ca: nobody}, unmapped: keep}",
        &[
            "c:2:31: sources.desk.url: a URL holds no user and no password; credentials are options of the source",
            "c:2:65: sources.desk.tls.sni: \"a b\" is no host name",
            "c:2:76: sources.desk.tls.ca: cannot read the file \"nobody\": No such file or directory (os error 2)",
            "c:2:95: sources.desk.unmapped: \"keep\" is none of raw, drop",
        ],
    );
    check_source(
        "{backend: other, url: 'http://a', tls: {sni: a}}",
        &["c:2:48: sources.desk.tls: this has no meaning with http://; write https:// in url"],
    );
    check_source(
        "{backend: other, url: 'http://a', http2: true}",
        &["c:2:50: sources.desk.http2: this has no meaning with http://; write https:// in url"],
    );
    check_source(
        "{backend: other, url: 'https://a', tls: {client_cert: cert.pem}}",
        &["c:2:63: sources.desk.tls.client_cert: without client_key this is of no use"],
    );
    check(
        "sources:\n  a b: {backend: other, url: 'http://a'}\nroutes: [{path: /, sources: [a b]}]",
        &["c:2:3: sources.\"a b\": a source's name has 1 to 64 letters, digits, - and _"],
    );
}

#[test]
fn options_of_a_dialect_are_checked() {
    check_source(
        "{backend: fake, url: 'http://a', token: '{query.token}', room: '{tenant}', mode: quick, loud: 1, beat: 2m, login: {usr: a}}",
        &[
            "c:2:72: sources.desk.room: `{tenant}` names nothing; known are tenantId, workflow, workflowId, participantId, participantUuid, query.NAME, header.NAME, claim.NAME; did you mean \"tenantId\"?",
            "c:2:90: sources.desk.mode: \"quick\" is none of fast, slow",
            "c:2:103: sources.desk.loud: this must be true or false, without quotes",
            "c:2:112: sources.desk.beat: 2m is over 60s",
            "c:2:123: sources.desk.login.user: this is missing: the user",
            "c:2:123: sources.desk.login.password: this is missing: the password",
            "c:2:124: sources.desk.login.usr: no such option; did you mean \"user\"?",
        ],
    );
    check_source(
        "{backend: fake, url: 'http://a', token: '{query.t}', mode: fast}",
        &["c:2:9: sources.desk: fast needs beat"],
    );
}

#[test]
fn secrets_are_never_repeated() {
    let source = |token: &str, want: &str| {
        check_source(&format!("{{backend: fake, url: 'http://a', token: {token}}}"), &[want]);
    };
    source(
        "'${env:NOBODY}'",
        "c:2:49: sources.desk.token: the environment variable \"NOBODY\" is not set",
    );
    source("'${env:EMPTY}'", "c:2:49: sources.desk.token: this secret is empty");
    source("'${file:empty}'", "c:2:49: sources.desk.token: this secret is empty");
    source(
        "'${file:no/body}'",
        "c:2:49: sources.desk.token: cannot read the file \"no/body\": No such file or directory (os error 2)",
    );
    source("'${file:.}'", "c:2:49: sources.desk.token: \".\" is not a file");
    source(
        "'${file:large}'",
        "c:2:49: sources.desk.token: the file \"large\" is larger than 65536 bytes",
    );
    source(
        "'${file:two-lines}'",
        "c:2:49: sources.desk.token: this secret holds a line break or another control character",
    );
    source(
        "'${env:BREAK}'",
        "c:2:49: sources.desk.token: this secret holds a line break or another control character",
    );
    source(
        "'hunter2${env:TOKEN}'",
        "c:2:49: sources.desk.token: ${env:NAME} or ${file:PATH} must be the whole value",
    );
    source(
        "'${vault:TOKEN}'",
        "c:2:49: sources.desk.token: this is neither ${env:NAME} nor ${file:PATH}",
    );
    source(
        "'${evn:TOKEN}'",
        "c:2:49: sources.desk.token: this is neither ${env:NAME} nor ${file:PATH}; did you mean \"env\"?",
    );
    source(
        "'${hunter2}'",
        "c:2:49: sources.desk.token: this is neither ${env:NAME} nor ${file:PATH}",
    );
    source(
        "{hunter2}",
        "c:2:49: sources.desk.token: this must be one value, not a table; a template is quoted: \"{query.NAME}\", \"{participantId}\"",
    );
    source(
        "'pass{hunter2}'",
        "c:2:49: sources.desk.token: what stands between { and } names nothing; known are tenantId, workflow, workflowId, participantId, participantUuid, query.NAME, header.NAME, claim.NAME; write {{ for a literal brace",
    );
    source(
        "'pass{hunter2'",
        "c:2:49: sources.desk.token: a `{` is never closed; write `{{` for a literal brace",
    );
    source(
        "[hunter2]",
        "c:2:49: sources.desk.token: this must be one value, not a list or a table",
    );
    source("", "c:2:47: sources.desk.token: this key has no value; give it one, or leave it out");
    check_source(
        "{backend: fake, url: 'http://a', token: '${env:BAD}'}",
        &["c:2:9: sources.desk: token [secret] is bad"],
    );
    check_source(
        "{backend: fake, url: 'http://a', token: bad-hunter2}",
        &["c:2:9: sources.desk: token [secret] is bad"],
    );
}

#[test]
fn secrets_come_from_outside() {
    check_source(
        "{backend: fake, url: 'http://a', token: '{query.t}', room: '${env:TOKEN}'}",
        &["c:2:68: sources.desk.room: ${env:...} and ${file:...} work in secret fields only"],
    );
    check_warnings(
        "sources:\n  desk: {backend: fake, url: 'http://a', token: '${file:secret}'}",
        &[],
    );
    check_warnings(
        "sources:\n  desk: {backend: fake, url: 'http://a', token: 'abc'}",
        &[
            "c:2:49: sources.desk.token: a secret stands in the file; write ${env:NAME} or ${file:PATH}",
        ],
    );
    let folder = files();
    let conf = completed(
        "auth: {jwt: [{issuer: a, algorithms: [HS256], secret: '${file:secret}', bind: {participantId: sub}}]}",
    );
    let loaded = read_in(&folder, &conf).unwrap_or_else(|errors| panic!("{errors}"));
    let key = loaded.config.auth.jwt.first().map(|issuer| &issuer.key);
    assert!(matches!(key, Some(IssuerKey::Secret(secret)) if secret.reveal() == "file-secret"));
    // What a service manager hands over lies where only it knows.
    let handed = conf.replace("file:secret", "file:$CREDENTIALS_DIRECTORY/secret");
    let place = folder.0.display().to_string();
    let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| place.clone());
    let elsewhere = Folder::new(&[]);
    let roster: &[&Dialect] = &[&FAKE, &OTHER];
    let input = Input { text: &handed, file_name: "c", base_dir: &elsewhere.0, env: &env, roster };
    let loaded = read(&input).unwrap_or_else(|errors| panic!("{errors}"));
    let is_of_modes = |warning: &Finding| warning.message.contains("others than its owner");
    assert!(!loaded.warnings.iter().any(is_of_modes), "the manager's: {:?}", loaded.warnings);
    let key = loaded.config.auth.jwt.first().map(|issuer| &issuer.key);
    assert!(matches!(key, Some(IssuerKey::Secret(secret)) if secret.reveal() == "file-secret"));
    let errors = read_in(&elsewhere, &handed).err().expect("nobody handed it over").to_string();
    assert!(errors.contains("$CREDENTIALS_DIRECTORY/secret"), "{errors}");
}

#[test]
fn patterns_as_of_files_are_told_what_they_take() {
    let route = |of: &str| format!("routes: [{{path: /a, sources: [desk], match: {{{of}}}}}]");
    check(
        &route("workflow: '*'"),
        &[
            "c:1:56: routes[0].match.workflow: * alone is no expression: leave the option out for any, or write .*",
        ],
    );
    check_warnings(
        &route("workflow: 'customer-*'"),
        &[
            "c:1:56: routes[0].match.workflow: in an expression * repeats the character before it; for anything in its place write 'customer-.*'",
        ],
    );
    check_warnings(&route("workflow: 'customer-.*', tenant: 'a|b*'"), &[]);
    check_warnings(
        "cors: {allow_origins: ['https://*.example.com', '*']}",
        &[
            "c:1:24: cors.allow_origins[0]: in an expression * repeats the character before it; for anything in its place write 'https://.*\\.example\\.com'",
        ],
    );
    check_warnings(
        &format!(
            "auth: {{api_keys: [{{label: a, sha256: '{}', tenants: ['*']}}]}}",
            "0".repeat(64)
        ),
        &[
            "c:1:116: auth.api_keys[0].tenants[0]: this is somebody called *; leave the list out for any",
        ],
    );
}

#[test]
fn odd_but_working_is_a_warning() {
    check_warnings(
        "trusted_proxies: [0.0.0.0/0]
auth: {jwt: [{issuer: a, algorithms: [HS512], secret: abc}]}
sources:
  desk: {backend: other, url: 'http://a'}
  care: {backend: other, url: 'http://a'}",
        &[
            "c:1:19: trusted_proxies[0]: everyone is trusted: clients can claim any address",
            "c:2:14: auth.jwt[0].bind: no claim is bound to participantId: a token opens the stream of any participant",
            "c:2:55: auth.jwt[0].secret: a secret stands in the file; write ${env:NAME} or ${file:PATH}",
            "c:2:55: auth.jwt[0].secret: this secret can be guessed: for these algorithms it has 64 bytes or more",
            "c:5:3: sources.care: no route uses this source",
        ],
    );
}

#[test]
fn routes_are_checked() {
    check(
        "routes:
  - {path: /a, sources: [desk], match: {tenant: acme}}
  - {path: /a, sources: [desk], match: {tenant: acme}}
  - {path: /b, sources: [desk], match: {tenant: '', workflow: 'a('}, heartbeat: {default: 5s, min: 10s}}
  - {path: /c, sources: [desk], heartbeat: {default: 0s}}",
        &[
            "c:3:5: routes[1]: no request ever comes here: routes[0] has the same path and match",
            "c:4:49: routes[2].match.tenant: this is empty",
            "c:4:63: routes[2].match.workflow: \"a(\" is no regular expression: unclosed group",
            "c:4:81: routes[2].heartbeat: default must lie between min and max, but 5s does not lie between 10s and 300s",
            "c:5:54: routes[3].heartbeat.default: 0s is under 1s",
        ],
    );
}

#[test]
fn a_path_that_no_request_can_have_is_refused() {
    const REFUSED: &str = "every request for this path is refused (400): ";
    let empty = format!("{REFUSED}nothing stands between two slashes; write one");
    let odd = format!("{REFUSED}a slash is escaped, or backward; write / itself, or leave it out");
    let dots = "a path holds no . or .. between its slashes";
    let broken =
        format!("{REFUSED}a % comes without two hexadecimal digits; a % itself is written %25");
    let looked_up = |path: &str| {
        format!(
            "requests are looked up as \"{path}\": escapes are undone where none is needed, and \
             written in capitals; write that"
        )
    };
    for (path, want) in [
        ("/a//b", empty.clone()),
        ("//", empty),
        ("/%2e%2e/x", dots.to_owned()),
        ("/x/../b", dots.to_owned()),
        (
            "/.;a/x",
            format!("{REFUSED}a . or .. stands between slashes; write the path that is meant"),
        ),
        ("/a%2Fb", odd.clone()),
        ("/a%5cb", odd),
        ("/a%zz", broken),
        ("/a%00", format!("{REFUSED}it holds a control character")),
        ("/%41bc", looked_up("/Abc")),
        ("/%c3%a9", looked_up("/%C3%A9")),
    ] {
        let message = format!("c:1:17: routes[0].path: {want}");
        check(&format!("routes: [{{path: {path}, sources: [desk]}}]"), &[&message]);
        let message = format!("c:1:16: proxy[0].path: {want}");
        check(&format!("proxy: [{{path: {path}, source: desk}}]"), &[&message]);
    }
    check(
        "routes: [{path: /tr/, sources: [desk]}]",
        &[
            "c:1:17: routes[0].path: a route's path is taken exactly and has no / at its end; write \
           \"/tr\"",
        ],
    );
    for good in ["/", "/a%20b/%C3%A9", "/a..b", "/.well-known/x", "/ticket", "/e/selftest"] {
        let Loaded { config, .. } =
            accepted(&format!("routes: [{{path: {good}, sources: [desk]}}]"));
        assert_eq!(config.routes[0].path, good);
    }
}

#[test]
fn what_is_asked_beside_a_stream_is_no_path_of_another() {
    check(
        "routes:
  - {path: /events/ticket, sources: [desk]}
  - {path: /events, sources: [desk], match: {tenant: acme}}
  - {path: /events, sources: [desk]}
  - {path: /events/selftest, sources: [desk]}
proxy: [{path: /events/ticket/, source: desk}, {path: /events/files/, source: desk}]",
        &[
            "c:2:12: routes[0].path: \"/events/ticket\" is where routes[1] is asked for \
             tickets; write another path",
            "c:5:12: routes[3].path: \"/events/selftest\" is where routes[1] is asked for its \
             self-test; write another path",
            "c:6:9: proxy[0]: \"/events/ticket\" is the path of a route, too",
            "c:6:9: proxy[0]: \"/events/ticket\" is where the route \"/events\" is asked for \
             tickets",
        ],
    );
    check(
        "routes: [{path: /, sources: [desk]}, {path: /ticket, sources: [desk]}]",
        &["c:1:45: routes[1].path: \"/ticket\" is where routes[0] is asked for tickets; write \
           another path"],
    );
}

#[test]
fn many_errors_are_counted() {
    let routes = "  - {path: x, sources: [desk]}\n".repeat(ERRORS_MAX + 5);
    let errors = refused(&format!("routes:\n{routes}"));
    assert_eq!((errors.errors.len(), errors.more), (ERRORS_MAX, 5));
    assert!(errors.to_string().ends_with("\nand 5 more"));
    let long = refused(&format!(
        "sources:\n  desk: {{backend: fake, url: http://a, token: x, room: '{{{}}}'}}",
        "y".repeat(10_000)
    ));
    assert!(long.to_string().len() < 700);
}

#[test]
fn aliases_and_merges_read_as_written_out() {
    let loaded = accepted(
        "sources:
  desk: &base {backend: fake, url: 'http://a', token: &token '${env:TOKEN}'}
  care: {<<: *base, url: 'http://b', login: {user: u, password: *token}}
routes: [{path: /a, sources: [desk, care]}]",
    );
    let hosts: Vec<&str> =
        loaded.config.sources.iter().map(|source| source.url.host.as_str()).collect();
    assert_eq!(hosts, ["a", "b"]);
}

/// Walks all options, tables within tables too.
fn each_field(fields: &'static [Field], path: &str, visit: &mut dyn FnMut(&str, &'static Field)) {
    for (index, field) in fields.iter().enumerate() {
        let path = format!("{path}.{}", field.name);
        assert!(
            !fields.iter().take(index).any(|other| other.name == field.name),
            "{path} is there twice"
        );
        visit(&path, field);
        let mut kind = &field.kind;
        while let Kind::List(inner) | Kind::OneOrMore(inner) = kind {
            kind = inner;
        }
        if let Kind::Table(fields) | Kind::Named(fields) = kind {
            each_field(fields, &path, visit);
        }
    }
}

#[test]
fn the_table_of_options_is_whole() {
    let (root, dialects) = reference();
    let mut count = 0;
    each_field(root, "", &mut |path, field| {
        count += 1;
        assert!(field.doc.ends_with('.'), "{path} has a sentence");
    });
    assert!(count > 60, "{count}");
    for dialect in dialects {
        for option in dialect.options {
            let is_common = spec::SOURCE.iter().any(|field| field.name == option.name);
            assert!(!is_common, "{}.{} is an option of every source", dialect.name, option.name);
        }
    }
}

fn conf_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf")
}

/// What the confs that are shipped name.
fn example_env(name: &str) -> Option<String> {
    match name {
        "JWT_SECRET" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        "BRIGHTPATTERN_APP_ID" => Some("webchat".to_owned()),
        "OPENFIRE_PASSWORD" => Some("s3cret".to_owned()),
        "XIANS_API_KEY" => Some("sk-Xnai-0123456789".to_owned()),
        _ => None,
    }
}

#[test]
fn every_conf_that_is_shipped_loads() {
    let folder = conf_folder();
    let files = std::fs::read_dir(folder.join("examples")).expect("a folder");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let names: Vec<_> = paths.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    assert_eq!(names, ["all-four", "brightpattern", "openfire", "proxy", "salesforce", "xians"]);
    paths.push(folder.join("chatmux.yaml"));
    for path in paths {
        match load(&path, &example_env) {
            Ok(Loaded { warnings, .. }) => assert_eq!(warnings, [], "{}", path.display()),
            Err(errors) => panic!("{errors}"),
        }
    }
}

/// What a text shows as values of a key, in comments too.
fn shown<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let value = |line: &'t str| {
        let line = line.trim_start_matches(['#', ' ', '-']);
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.split(" #").next().unwrap_or_default().trim().trim_matches('"'))
    };
    text.lines().filter_map(value).collect()
}

#[test]
fn the_shipped_conf_shows_every_option_with_its_default() {
    let text = std::fs::read_to_string(conf_folder().join("chatmux.yaml")).expect("a file");
    let values = |name| shown(&text, name);
    each_field(spec::ROOT, "", &mut |path, field| {
        let values = values(field.name);
        assert!(!values.is_empty(), "{path} is shown");
        if let Presence::Default(default) = field.presence {
            assert!(values.contains(&default), "{path} has {default}: {values:?}");
        }
    });
    for dialect in ROSTER {
        for option in dialect.options {
            assert!(!values(option.name).is_empty(), "{}.{} is shown", dialect.name, option.name);
        }
    }
}

#[test]
fn a_chat_is_begun_with_parameters_of_the_operators_choice() {
    let conf = |parameters: &str| {
        format!(
            "auth: {{anonymous: true}}\nlisten: [{{address: '127.0.0.1:0'}}]\nroutes: [{{path: /e, sources: [v]}}]\n\
             sources: {{v: {{backend: brightpattern, url: 'http://a', app_id: a, tenant_url: t, \
             chat: create, parameters: {parameters}}}}}"
        )
    };
    let load = |parameters: &str| parse(&conf(parameters), "c", Path::new("."), &|_| None);
    assert!(load("{email: '{participantId}@x', \"user platform\": 7}").is_ok());
    for (parameters, want) in [
        ("[a]", "sources.v.parameters: this must be a table of key: value"),
        ("{email: '{tenant}'}", "sources.v.parameters.email: `{tenant}` names nothing"),
    ] {
        let errors = load(parameters).err().expect("refused").to_string();
        assert!(errors.contains(want), "{errors}");
    }
}

#[test]
fn a_file_is_loaded_from_its_folder() {
    let folder = files();
    let conf = completed(
        "sources: {desk: {backend: openfire, url: 'http://a'}}\nauth: {jwt: [{issuer: a, algorithms: [HS256], secret: '${file:secret}', bind: {participantId: sub}}]}",
    );
    let path = folder.0.join("conf.yaml");
    std::fs::write(&path, conf.replace("backend: openfire", "backend: opnfire")).expect("a file");
    let errors = load(&path, &env).err().expect("refused").to_string();
    let names = ROSTER.iter().map(|dialect| dialect.name).collect::<Vec<_>>().join(", ");
    let want = format!(
        "{}:1:27: sources.desk.backend: \"opnfire\" is none of {names}; did you mean \"openfire\"?",
        path.display()
    );
    assert_eq!(errors, want);
    let nobody = folder.0.join("nobody.yaml");
    let errors = load(&nobody, &env).err().expect("refused").to_string();
    assert!(errors.contains("cannot read the file"), "{errors}");
}

#[test]
fn broken_confs_are_refused_without_panic() {
    let middles =
        ["", "\n", ": ", "- ", "[", "{", "'", "\"", "*a", "&a ", "<<: ", "é", "\u{0}", "${"];
    let folder = files();
    for (at, _) in MOST.char_indices().step_by(61) {
        let (before, after) = MOST.split_at(at);
        for middle in middles {
            for text in [format!("{before}{middle}{after}"), format!("{before}{middle}")] {
                if let Err(errors) = read_in(&folder, &text) {
                    assert!(!errors.errors.is_empty());
                    assert!(errors.errors.iter().all(|error| !error.to_string().contains('\n')));
                }
            }
        }
    }
}
