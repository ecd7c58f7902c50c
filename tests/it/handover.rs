//! Another process takes the listeners over: nobody is refused, and nobody's stream just breaks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatmux::scripted::{Backend, Kind};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{Client, Conf, Edge, EventSource, Scratch, backend, chatmux, say, soon};

/// So many clients open streams without pause.
const OPENERS: usize = 8;
/// So many have theirs open when the process changes.
const HOLDERS: usize = 50;

/// A conf on these addresses.
fn conf(backend: &Backend, listen: &str, admin: &str, upgrade_socket: &Path) -> String {
    let server = format!(
        "server: {{threads: 2, drain: 3s, upgrade_socket: \"{}\"}}",
        upgrade_socket.display()
    );
    let conf = Conf::new().backend(backend).listen(&format!("{{address: \"{listen}\"}}"));
    let yaml = conf.line(&server).yaml();
    yaml.replace("admin: {address: \"127.0.0.1:0\"}", &format!("admin: {{address: \"{admin}\"}}"))
}

/// Opens streams one after another until it is told to stop; the first that fails ends the test.
async fn open_without_pause(to: SocketAddr, stop: watch::Receiver<bool>, count: Arc<AtomicUsize>) {
    while !*stop.borrow() {
        let opened = soon("an answer", EventSource::connect(to, &Client::new("jane"), None)).await;
        let number = count.fetch_add(1, Ordering::Relaxed);
        let mut stream = opened.unwrap_or_else(|why| panic!("open {number} was refused: {why}"));
        stream.expect("connected").await;
    }
}

#[tokio::test]
async fn no_connection_is_refused_while_processes_change_under_load() {
    let scratch = Scratch::new();
    let socket = scratch.path().join("upgrade.sock");
    let backend = backend(Kind::Xians).await;
    let mut old = Edge::start(&conf(&backend, "127.0.0.1:0", "127.0.0.1:0", &socket)).await;
    let to = old.streams();
    let mut held = Vec::new();
    for _ in 0..HOLDERS {
        let mut stream = old.open(&Client::new("jane")).await;
        stream.all_up(&["agent"]).await;
        held.push(stream);
    }
    let (stop, stopped) = watch::channel(false);
    let count = Arc::new(AtomicUsize::new(0));
    let mut openers = JoinSet::new();
    for _ in 0..OPENERS {
        openers.spawn(open_without_pause(to, stopped.clone(), count.clone()));
    }
    let yaml = conf(&backend, &to.to_string(), &old.admin_address().to_string(), &socket);
    let new = old.upgrade(&yaml, &socket).await;
    assert_eq!((new.streams(), new.admin_address()), (to, old.admin_address()));
    say(&backend, "while both are there");
    let mut drained = JoinSet::new();
    for mut stream in held {
        drained.spawn(async move {
            stream.chat("while both are there").await;
            let end = stream.next_of(&["disconnected"]).await;
            assert_eq!(end.at("/reason"), "draining");
            assert!(end.retry.is_some(), "a retry: that keeps them apart");
            assert_eq!(stream.next().await, None, "the answer ends in order");
        });
    }
    while let Some(done) = soon("an old stream is drained", drained.join_next()).await {
        done.expect("it is told");
    }
    assert_eq!(old.wait_exit().await, 0);
    let by_then = count.load(Ordering::Relaxed);
    let more = async {
        while count.load(Ordering::Relaxed) < by_then + 10 {
            tokio::task::yield_now().await;
        }
    };
    soon("the new process goes on alone", more).await;
    stop.send_replace(true);
    while let Some(done) = soon("an opener ends", openers.join_next()).await {
        done.expect("none was refused");
    }
    eprintln!("{} streams were opened meanwhile", count.load(Ordering::Relaxed));
    let mut client = new.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    say(&backend, "on the new one");
    client.chat("on the new one").await;
    new.check_law(&[]).await;
}

#[tokio::test]
async fn a_hand_over_that_nobody_takes_changes_nothing() {
    let scratch = Scratch::new();
    let socket = scratch.path().join("upgrade.sock");
    let backend = backend(Kind::Xians).await;
    let mut edge = Edge::start(&conf(&backend, "127.0.0.1:0", "127.0.0.1:0", &socket)).await;
    let mut stream = edge.open(&Client::new("jane")).await;
    stream.all_up(&["agent"]).await;
    edge.signal("QUIT").await;
    edge.logged("no hand-over, this process goes on").await;
    assert_eq!(edge.admin("/ready").await.head.status, 200);
    edge.open(&Client::new("jane")).await.expect("connected").await;
    say(&backend, "as before");
    stream.chat("as before").await;
    stream.close();
    edge.until_open(0).await;
    edge.signal("TERM").await;
    assert_eq!(edge.wait_exit().await, 0);
}

#[tokio::test]
async fn a_new_listener_of_an_upgrade_is_bound_at_once() {
    let scratch = Scratch::new();
    let socket = scratch.path().join("upgrade.sock");
    let backend = backend(Kind::Xians).await;
    let mut old = Edge::start(&conf(&backend, "127.0.0.1:0", "127.0.0.1:0", &socket)).await;
    let (to, admin) = (old.streams(), old.admin_address());
    let more = format!("{to}\"}}, {{address: \"127.0.0.1:0");
    let new = old.upgrade(&conf(&backend, &more, &admin.to_string(), &socket), &socket).await;
    assert_eq!(new.listeners().len(), 2);
    for address in new.listeners() {
        let opened = EventSource::connect(*address, &Client::new("jane"), None).await;
        opened.expect("a stream").expect("connected").await;
    }
    // It is asked to leave before its time.
    old.signal("TERM").await;
    assert_eq!(old.wait_exit().await, 0);
    new.open(&Client::new("jane")).await.expect("connected").await;
}

#[tokio::test]
async fn an_upgrade_by_a_socket_that_cannot_be_is_refused_by_name() {
    let scratch = Scratch::new();
    let socket = scratch.path().join("no-such-folder/upgrade.sock");
    let backend = backend(Kind::Xians).await;
    let path = scratch.write("edge.yaml", &conf(&backend, "127.0.0.1:0", "127.0.0.1:0", &socket));
    let said = chatmux(&["run", "--upgrade", "-c", path.to_str().expect("a path")]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("server.upgrade_socket") && !said.err.contains("panic"), "{said:?}");
}
