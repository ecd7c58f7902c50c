//! The certificates of a listener: which one a client is shown, and how others take their place
//! while streams are open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use chatmux::scripted::{Backend, Kind};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};

use crate::support::{
    Authority, Client, Conf, Edge, Issued, KeyKind, Metrics, Scratch, backend, chatmux, s_client,
    say, soon,
};

/// One listener with these options of `tls`.
fn conf(backend: &Backend, tls: &str) -> Conf {
    Conf::new().backend(backend).listen(&format!("{{address: \"127.0.0.1:0\", tls: {{{tls}}}}}"))
}

fn write(edge: &Edge, name: &str, issued: &Issued) {
    edge.write(&format!("{name}.pem"), &issued.cert);
    edge.write(&format!("{name}.key"), &issued.key);
}

/// The files of these, beside the conf file.
fn files<'a>(all: &'a [(&str, &Issued)]) -> Vec<(String, &'a str)> {
    let of = |(name, issued): &(&str, &'a Issued)| {
        [(format!("{name}.pem"), &*issued.cert), (format!("{name}.key"), &*issued.key)]
    };
    all.iter().flat_map(of).collect()
}

async fn start(yaml: &str, all: &[(&str, &Issued)]) -> Edge {
    let files = files(all);
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    Edge::start_with(yaml, &files, &[]).await
}

/// Whom a client is shown that asks for `localhost`.
async fn shown(to: SocketAddr) -> String {
    s_client(to, &["-servername", "localhost"]).await.subject().to_owned()
}

/// A stream over TLS, read by hand.
struct TlsStream {
    tls: SslStream<TcpStream>,
    seen: String,
}

impl TlsStream {
    async fn open(to: SocketAddr) -> Self {
        let open = move || {
            let socket = TcpStream::connect(to).expect("a connection");
            socket.set_read_timeout(Some(crate::support::DEADLINE)).expect("a time-out");
            let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
            connector.set_verify(SslVerifyMode::NONE);
            let mut tls = connector.build().connect("localhost", socket).expect("a handshake");
            let target = Client::new("jane").target();
            write!(tls, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
            Self { tls, seen: String::new() }
        };
        tokio::task::spawn_blocking(open).await.expect("a stream").until("source_up").await
    }

    async fn until(mut self, what: &'static str) -> Self {
        let read = move || {
            let mut chunk = [0; 4096];
            while !self.seen.contains(what) {
                let read = self.tls.read(&mut chunk).expect("the stream goes on");
                assert!(read > 0, "the stream ended without {what}: {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
            self
        };
        soon(what, tokio::task::spawn_blocking(read)).await.expect("no panic")
    }
}

/// Changed files that were taken, and that were refused; whether the last were taken.
fn reloads(metrics: &Metrics) -> (u64, u64, u64) {
    let count = |outcome| metrics.sum("chatmux_tls_reloads_total", &[("outcome", outcome)]);
    let is_good = metrics.sum("chatmux_tls_last_reload_successful", &[]);
    (count("success"), count("failure"), is_good)
}

#[tokio::test]
async fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let root = Authority::root();
    let below = root.below();
    let all = [
        ("first", &below.issue("first", &["localhost"], KeyKind::Ec)),
        ("rsa", &below.issue("rsa", &["chat.example.com"], KeyKind::Rsa)),
        ("ec", &below.issue("ec", &["chat.example.com"], KeyKind::Ec)),
        ("wild", &below.issue("wild", &["*.example.com", "example.com"], KeyKind::Ec)),
        ("named", &below.issue("named", &["x.example.org"], KeyKind::Ec)),
    ];
    let listed = all.map(|(name, _)| format!("{{cert: {name}.pem, key: {name}.key}}"));
    let tls = format!("certificates: [{}]", listed.join(", "))
        .replace("named.key", "named.key, names: [y.example.org, '*.z.example.org']");
    let backend = backend(Kind::Xians).await;
    let edge = start(&conf(&backend, &tls).yaml(), &all).await;
    let scratch = Scratch::new();
    let trusted = scratch.write("root.pem", &root.pem()).display().to_string();
    let rsa_only = ["-sigalgs", "rsa_pss_rsae_sha256"];
    let old_rsa = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    for (asked, more, want) in [
        (Some("localhost"), &[][..], "first"),
        (Some("chat.example.com"), &[], "ec"),
        (Some("CHAT.example.com"), &[], "ec"),
        (Some("chat.example.com"), &rsa_only, "rsa"),
        (Some("chat.example.com"), &old_rsa, "rsa"),
        (Some("other.example.com"), &[], "wild"),
        (Some("example.com"), &[], "wild"),
        (Some("a.b.example.com"), &[], "first"),
        (Some("y.example.org"), &[], "named"),
        (Some("a.z.example.org"), &[], "named"),
        (Some("x.example.org"), &[], "first"),
        (Some("nobody.test"), &[], "first"),
        (None, &[], "first"),
    ] {
        let name = asked.map_or_else(|| vec!["-noservername"], |asked| vec!["-servername", asked]);
        let args = [&["-CAfile", &trusted][..], &name, more].concat();
        let shaken = s_client(edge.streams(), &args).await;
        assert_eq!(shaken.subject(), want, "{asked:?} {}", shaken.text);
        // The chain leads to the root, whichever it is.
        shaken.says("Verify return code: 0 (ok)");
    }
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn names_that_no_certificate_covers_are_refused_where_the_conf_says_so() {
    let cert = Authority::root().issue("only", &["localhost"], KeyKind::Ec);
    let backend = backend(Kind::Xians).await;
    let tls = "cert: a.pem, key: a.key, unknown_names: refuse";
    let edge = start(&conf(&backend, tls).yaml(), &[("a", &cert)]).await;
    for args in [&["-servername", "other.test"][..], &["-noservername"]] {
        let shaken = s_client(edge.streams(), args).await;
        assert!(!shaken.is_connected);
        shaken.says("alert number 112");
    }
    assert_eq!(shown(edge.streams()).await, "only");
    let outcome = |outcome| [("outcome", outcome)];
    let ended = |now: &Metrics, how| now.sum("chatmux_tls_handshakes_total", &outcome(how));
    let counted = |now: &Metrics| (ended(now, "unknown_name"), ended(now, "success")) == (2, 1);
    edge.until("each handshake is counted", counted).await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_reload_shows_new_clients_the_new_certificate_and_open_streams_go_on() {
    let root = Authority::root();
    let [old, new, more] =
        ["old", "new", "more"].map(|name| root.issue(name, &["localhost"], KeyKind::Ec));
    let backend = backend(Kind::Xians).await;
    // The files alone would not be looked at in the time of this test.
    let one = conf(&backend, "cert: a.pem, key: a.key, watch: 1h").yaml();
    let edge = start(&one, &[("a", &old)]).await;
    let stream = TlsStream::open(edge.streams()).await;
    assert_eq!(shown(edge.streams()).await, "old");
    write(&edge, "a", &new);
    assert!(edge.reload(&one).await.contains("reloaded"));
    assert_eq!(shown(edge.streams()).await, "new");
    say(&backend, "over the old one");
    let stream = stream.until("over the old one").await;
    assert_eq!(reloads(&edge.metrics().await), (1, 0, 1));

    // A pair that is none is refused with all of the conf, and the old one stays.
    edge.write("a.key", &old.key);
    let told = edge.reload(&one).await;
    assert!(told.contains("refused") && told.contains("does not belong"), "{told}");
    assert_eq!(shown(edge.streams()).await, "new");
    edge.write("a.key", &new.key);
    // Others in their place, and what TLS is spoken with.
    write(&edge, "b", &more);
    let two = "certificates: [{cert: b.pem, key: b.key}, {cert: a.pem, key: a.key}], \
               min_version: \"1.3\"";
    edge.reload(&conf(&backend, two).yaml()).await;
    assert!(!edge.log().contains("needs a restart"), "{}", edge.log());
    assert_eq!(shown(edge.streams()).await, "more");
    assert!(!s_client(edge.streams(), &["-tls1_2"]).await.is_connected);
    let expiry = "chatmux_tls_certificate_expiry_timestamp_seconds";
    let place = |place| [("listener", "127.0.0.1:0"), ("certificate", place)];
    let now = edge.metrics().await;
    assert!(now.has(expiry, &place("0")) && now.has(expiry, &place("1")));
    edge.reload(&one).await;
    let now = edge.metrics().await;
    assert!(now.has(expiry, &place("0")) && !now.has(expiry, &place("1")));
    assert!(now.sum(expiry, &[]) > 1_700_000_000);
    say(&backend, "and on");
    stream.until("and on").await;
    edge.check_law(&[("agent", &backend)]).await;
}

/// Puts other files in place of a folder that a link names, all at once, as Kubernetes does.
fn swap(folder: &Path, version: &str, issued: &Issued) {
    let to = folder.join(version);
    std::fs::create_dir(&to).expect("a folder");
    std::fs::write(to.join("tls.crt"), &issued.cert).expect("a file");
    std::fs::write(to.join("tls.key"), &issued.key).expect("a file");
    std::os::unix::fs::symlink(version, folder.join("new")).expect("a link");
    std::fs::rename(folder.join("new"), folder.join("now")).expect("in its place");
}

#[tokio::test]
async fn changed_files_are_taken_without_a_reload_and_only_if_they_are_good() {
    let root = Authority::root();
    let certificate = |name: &str| root.issue(name, &["localhost"], KeyKind::Ec);
    let folder = Scratch::new();
    swap(folder.path(), "1", &certificate("one"));
    let now = folder.path().join("now").display().to_string();
    let tls = format!("cert: \"{now}/tls.crt\", key: \"{now}/tls.key\", watch: 1s");
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&conf(&backend, &tls).yaml()).await;
    let stream = TlsStream::open(edge.streams()).await;
    assert_eq!(shown(edge.streams()).await, "one");
    swap(folder.path(), "2", &certificate("two"));
    edge.until("the new ones are taken", |now| reloads(now) == (1, 0, 1)).await;
    assert_eq!(shown(edge.streams()).await, "two");

    // The key of another, for longer than it takes to write two files.
    let (three, four) = (certificate("three"), certificate("four"));
    let key = folder.path().join("2/tls.key");
    let good = std::fs::read(&key).expect("a key");
    std::fs::write(&key, &three.key).expect("a file");
    edge.until("a wrong pair is refused", |now| reloads(now) == (1, 1, 0)).await;
    let line = edge.logged("changed certificates refused, the old ones stay").await;
    assert!(line.contains("this key does not belong to the certificate"), "{line}");
    assert!(!edge.log().contains("PRIVATE KEY"));
    assert_eq!(shown(edge.streams()).await, "two");
    // Once is enough: half a PEM is another change, a second look at the same is none.
    std::fs::write(&key, &four.key[..four.key.len() / 2]).expect("half a file");
    edge.until("half a file is refused", |now| reloads(now) == (1, 2, 0)).await;
    std::fs::write(&key, &good).expect("a file");
    edge.until("all is as it was", |now| reloads(now) == (1, 2, 1)).await;
    std::fs::remove_file(&key).expect("a file");
    edge.until("no file is refused", |now| reloads(now) == (1, 3, 0)).await;
    assert_eq!(shown(edge.streams()).await, "two");
    swap(folder.path(), "3", &three);
    edge.until("good ones are taken again", |now| reloads(now) == (2, 3, 1)).await;
    assert_eq!(shown(edge.streams()).await, "three");
    assert_eq!(edge.log().matches("changed certificates refused").count(), 3);
    say(&backend, "all the while");
    stream.until("all the while").await;
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_session_is_resumed_until_the_certificate_changes() {
    let root = Authority::root();
    let backend = backend(Kind::Xians).await;
    let yaml = conf(&backend, "cert: a.pem, key: a.key").yaml();
    let first = root.issue("first", &["localhost"], KeyKind::Ec);
    let edge = start(&yaml, &[("a", &first)]).await;
    let scratch = Scratch::new();
    let session = scratch.path().join("session").display().to_string();
    // With TLS 1.3 a ticket comes after the handshake, when the command has left already.
    let keep = ["-tls1_2", "-servername", "localhost", "-sess_out", &session];
    let take = ["-tls1_2", "-servername", "localhost", "-sess_in", &session];
    s_client(edge.streams(), &keep).await.says("\nNew, TLSv1.2");
    edge.reload(&yaml).await;
    s_client(edge.streams(), &take).await.says("\nReused, TLSv1.2");
    write(&edge, "a", &root.issue("second", &["localhost"], KeyKind::Ec));
    edge.reload(&yaml).await;
    let shaken = s_client(edge.streams(), &take).await;
    shaken.says("\nNew, TLSv1.2");
    assert_eq!(shaken.subject(), "second");
    edge.check_law(&[]).await;
}

/// A conf of these certificates, and what a check says of it.
struct Checked {
    scratch: Scratch,
    backend: Backend,
}

impl Checked {
    async fn new() -> Self {
        Self { scratch: Scratch::new(), backend: backend(Kind::Xians).await }
    }

    fn put(&self, name: &str, issued: &Issued) {
        self.scratch.write(&format!("{name}.pem"), &issued.cert);
        let key = self.scratch.write(&format!("{name}.key"), &issued.key);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(key, mode).expect("a mode");
    }

    /// Whether all of this is said of these options of `tls`, and what else.
    async fn says(&self, tls: &str, code: i32, wanted: &[&str]) -> String {
        let path = self.scratch.write("c.yaml", &conf(&self.backend, tls).yaml());
        let said = chatmux(&["check", "-c", &path.display().to_string()]).await;
        assert_eq!(said.code, code, "{}", said.err);
        for want in wanted {
            assert!(said.err.contains(want), "no {want} in\n{}", said.err);
        }
        said.err
    }
}

#[tokio::test]
async fn a_check_warns_of_what_clients_would_meet() {
    let checked = Checked::new().await;
    let root = Authority::root();
    let below = root.below();
    checked.put("good", &below.issue("good", &["a.test", "b.test"], KeyKind::Ec));
    checked.put("twin", &below.issue("twin", &["b.test", "c.test"], KeyKind::Ec));
    checked.put("soon", &below.issue_for_days("soon", &["d.test"], KeyKind::Ec, 5));
    checked.put("bare", &below.issue("bare", &[], KeyKind::Ec));
    let turned = below.issue("turned", &["e.test"], KeyKind::Ec);
    let order = format!("{}{}", turned.cert, root.pem());
    let mut parts: Vec<_> = order.split_inclusive("-----END CERTIFICATE-----\n").collect();
    parts.swap(1, 2);
    checked.put("turned", &Issued { cert: parts.concat(), key: turned.key });
    let of = |name: &str| format!("{{cert: {name}.pem, key: {name}.key}}");
    let tls = ["good", "twin", "soon", "bare", "turned"].map(of).join(", ");
    let named = "{cert: good.pem, key: good.key, names: [z.test, a.test]}";
    let all = [
        "listen[0].tls.certificates[1]: listen[0].tls.certificates[0] comes first for b.test",
        "listen[0].tls.certificates[2].cert: a certificate in this file ends on",
        "listen[0].tls.certificates[3].cert: there is no name in this certificate",
        "listen[0].tls.certificates[4].cert: the certificates in this file do not follow",
        "listen[0].tls.certificates[5].names: the certificate is not for z.test",
        "listen[0].tls.certificates[5]: listen[0].tls.certificates[0] comes first for a.test",
    ];
    let said = checked.says(&format!("certificates: [{tls}, {named}]"), 0, &all).await;
    assert!(!said.contains("certificates[0].cert"), "{said}");
}

#[tokio::test]
async fn a_check_tells_all_that_is_wrong_with_certificates_at_once() {
    let checked = Checked::new().await;
    let root = Authority::root();
    checked.put("good", &root.issue("good", &["a.test"], KeyKind::Ec));
    checked.put("bare", &root.issue("bare", &[], KeyKind::Ec));
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    checked.scratch.write("locked.key", locked);
    let tls = "certificates: [{cert: good.pem, key: bare.key}, {cert: good.pem, key: locked.key}, \
         {cert: nobody.pem, key: good.key, names: [10.0.0.1, 'a b']}], cert: good.pem, \
         min_version: \"1.1\", unknown_names: no, watch: 1ms";
    let all = [
        "tls.certificates[0].key: this key does not belong to the certificate",
        "tls.certificates[1].key: the private key in this file has a pass phrase",
        "tls.certificates[2].cert: cannot read the file \"nobody.pem\"",
        "tls.certificates[2].names[0]: clients ask for no certificate by address",
        "tls.certificates[2].names[1]: \"a b\" is no host name",
        "tls.cert: with certificates this has no meaning; make it the first of them",
        "tls.min_version: \"1.1\" is none of 1.2, 1.3",
        "tls.unknown_names: \"no\" is none of default, refuse",
        "tls.watch: ",
    ];
    checked.says(tls, 1, &all).await;
    let tls = "cert: bare.pem, key: bare.key, unknown_names: refuse";
    checked.says(tls, 1, &["every client would be refused"]).await;
    checked.says("key: good.key", 1, &["tls.cert: this is missing"]).await;
}
