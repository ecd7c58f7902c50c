//! Finds the others, stays in touch with them, and finds them again.
//!
//! ```text
//!        +------------- wait <-----------+
//!        v                               |
//!   connect --beat is answered--> together --a call, a beat or the news fail--> alone
//! ```
//!
//! Together, a node says at short intervals that it is there, tells how many streams it has open,
//! and hears whose streams end. It reads that from a list, not from a channel: what was said while
//! its connection was broken is heard afterwards. Not here: what others ask meanwhile (`mod`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::streams::StreamReadReply;
use redis::{FromRedisValue, Value, cmd};
use tokio::time::timeout;

use super::link::{self, Link};
use super::{Cluster, count, millis};
use crate::config::Url;
use crate::edge::clock;
use crate::edge::gate::Whose;
use crate::edge::proxy::Edge;
use crate::proto::backoff::Backoff;
use crate::telemetry::ClusterCall;

/// How often a node says that it is there, and finds out whether Redis is.
const BEAT_PERIOD: Duration = Duration::from_secs(2);
/// A node that has said nothing for so long is no node any more.
const NODE_LIFE: Duration = Duration::from_secs(10);
/// A Redis that comes back is found within this time.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Servers that one sends us to, one after the other.
const REDIRECTS_MAX: usize = 3;
/// A connection that lived so long was healthy: the next is tried soon.
const HEALTHY: Duration = Duration::from_secs(10);
/// How long one question for news waits for some.
const NEWS_WAIT: Duration = Duration::from_secs(5);
/// As many are taken at a time.
const NEWS_MAX: usize = 100;

/// Runs for as long as there is an edge.
pub(super) async fn run(cluster: Arc<Cluster>, edge: Weak<Edge>) {
    let mut backoff = Backoff::up_to(WAIT_MAX);
    let mut news = News::default();
    let mut is_told = false;
    while edge.strong_count() > 0 {
        match cluster.join(&mut news).await {
            Ok(joined) => {
                let redis = cluster.conf.shown(&joined.server);
                log::info!(redis = redis.as_str(), nodes = joined.nodes; "cluster joined");
                is_told = true;
                let since = clock::now();
                cluster.stay(joined, &mut news, &edge).await;
                if clock::now().saturating_duration_since(since) >= HEALTHY {
                    backoff.reset();
                }
            }
            Err(error) => {
                // Told once: a loss is told where it is found out.
                let level = if is_told { log::Level::Debug } else { log::Level::Warn };
                let redis = cluster.conf.shown(&cluster.conf.url);
                let (redis, error) = (redis.as_str(), error.as_str());
                log::log!(level, redis, error; "cluster not found, this node is alone");
                is_told = true;
            }
        }
        tokio::time::sleep(backoff.next_wait(rand::random())).await;
    }
}

/// Two connections: one to ask by, one on which news is waited for.
struct Joined {
    server: Url,
    link: Arc<Link>,
    listening: Link,
    nodes: u32,
}

/// Why a server does not serve.
enum Elsewhere {
    /// Another has what we ask for.
    Moved(Url),
    /// It is not there, or will not.
    Nowhere(String),
}

impl From<String> for Elsewhere {
    fn from(error: String) -> Self {
        Self::Nowhere(error)
    }
}

impl Cluster {
    /// Joins by the first server that serves.
    async fn join(&self, news: &mut News) -> Result<Joined, String> {
        let mut why = String::new();
        for server in self.conf.servers() {
            let mut server = server.clone();
            for _ in 0..=REDIRECTS_MAX {
                match self.join_by(&server, news).await {
                    Ok(joined) => return Ok(joined),
                    Err(Elsewhere::Moved(to)) => server = to,
                    Err(Elsewhere::Nowhere(error)) => {
                        why = error;
                        break;
                    }
                }
            }
        }
        Err(why)
    }

    async fn join_by(&self, server: &Url, news: &mut News) -> Result<Joined, Elsewhere> {
        let link = Arc::new(Link::open(&self.dialer, &self.conf, server).await?);
        let owner = link.other_owner(&self.names.nodes(), server, self.conf.timeout).await?;
        if let Some(owner) = owner {
            return Err(Elsewhere::Moved(owner));
        }
        // A server that only copies another refuses this.
        let nodes = self.beat(&link).await?;
        let listening = Link::open(&self.dialer, &self.conf, server).await?;
        news.find(self, &listening).await?;
        Ok(Joined { server: server.clone(), link, listening, nodes })
    }

    /// Until the connection is lost.
    async fn stay(&self, joined: Joined, news: &mut News, edge: &Weak<Edge>) {
        let Joined { link, listening, nodes, .. } = joined;
        self.link.store(Some(link.clone()));
        self.metrics.on_nodes(nodes);
        let error = tokio::select! {
            () = self.is_lost(&link) => return,
            error = self.beats(&link) => error,
            error = count::tell(self, &link) => error,
            error = news.follow(self, &listening, edge) => error,
        };
        self.lose(&link, &error);
    }

    async fn is_lost(&self, link: &Arc<Link>) {
        // A bell that was rung for an earlier connection rings once more.
        while self.link.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, link)) {
            self.lost.notified().await;
        }
    }

    /// Says that this node is there; how many there are.
    async fn beat(&self, link: &Link) -> Result<u32, String> {
        let mut call = self.scripts.beat.prepare_invoke();
        call.key(self.names.nodes()).arg(&self.node).arg(millis(NODE_LIFE));
        self.ask_by(link, ClusterCall::Beat, &call).await
    }

    async fn beats(&self, link: &Link) -> String {
        loop {
            tokio::time::sleep(BEAT_PERIOD).await;
            match self.beat(link).await {
                Ok(nodes) if self.link.load().is_some() => self.metrics.on_nodes(nodes),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

/// How far the list of those whose streams end was read.
#[derive(Default)]
struct News {
    /// The last entry that was read, by its name in Redis; `None` before the first connection.
    last: Option<String>,
}

impl News {
    /// Where to read on: where it was, or at the end for who comes first. What was said before a
    /// node had ever joined was said to the others.
    async fn find(&mut self, cluster: &Cluster, link: &Link) -> Result<(), String> {
        let mut newest = cmd("XREVRANGE");
        newest.arg(cluster.names.revocations()).arg("+").arg("-").arg("COUNT").arg(1);
        let mut connection = link.connection();
        let patience = cluster.conf.timeout;
        let asked = timeout(patience, newest.query_async(&mut connection)).await;
        let asked = asked.map_err(|_| link::late(patience))?;
        let entries: Vec<(String, Value)> = asked.map_err(|error| link::said(&error))?;
        let newest = entries.into_iter().next().map(|(id, _)| id);
        self.last = Some(match (self.last.take(), newest) {
            (None, Some(newest)) => newest,
            // The list is gone: whatever comes is new.
            (_, None) => "0-0".to_owned(),
            (Some(last), Some(newest)) => earlier(last, newest),
        });
        Ok(())
    }

    /// Ends streams as they are told, until there is an error.
    async fn follow(&mut self, cluster: &Cluster, link: &Link, edge: &Weak<Edge>) -> String {
        let list = cluster.names.revocations();
        let patience = NEWS_WAIT + cluster.conf.timeout;
        loop {
            let last = self.last.clone().unwrap_or_else(|| "0-0".to_owned());
            let mut read = cmd("XREAD");
            read.arg("COUNT").arg(NEWS_MAX).arg("BLOCK").arg(millis(NEWS_WAIT));
            read.arg("STREAMS").arg(&list).arg(&last);
            let mut connection = link.connection();
            let news: Option<StreamReadReply> =
                match timeout(patience, read.query_async(&mut connection)).await {
                    Ok(Ok(news)) => news,
                    Ok(Err(error)) => return link::said(&error),
                    Err(_) => return link::late(patience),
                };
            for entry in news.into_iter().flat_map(|news| news.keys).flat_map(|key| key.ids) {
                let field = |name| entry.map.get(name).and_then(bytes);
                let is_own = field("node").is_some_and(|node| node == cluster.node.as_bytes());
                if let (Some(whose), Some(edge), false) =
                    (field("whose").and_then(|whose| Whose::parse(&whose)), edge.upgrade(), is_own)
                {
                    let streams = edge.end_streams(&whose);
                    log::info!(streams; "streams closed by an operator, on another node");
                }
                self.last = Some(entry.id);
            }
        }
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    Vec::<u8>::from_redis_value_ref(value).ok()
}

/// The earlier of two entries, by their names: a time in milliseconds and a number. After a
/// clock that went back, names that come are before one that was read.
fn earlier(one: String, other: String) -> String {
    let place = |id: &str| {
        let (time, number) = id.split_once('-')?;
        Some((time.parse::<u64>().ok()?, number.parse::<u64>().ok()?))
    };
    if place(&one) <= place(&other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::super::BELIEVED;
    use super::*;

    #[test]
    fn entries_are_in_order_of_time_and_number() {
        let check = |one: &str, other: &str| {
            assert_eq!(earlier(one.to_owned(), other.to_owned()), one);
            assert_eq!(earlier(other.to_owned(), one.to_owned()), one);
        };
        check("9-1", "10-0");
        check("10-2", "10-10");
        check("10-2", "10-2");
    }

    #[test]
    fn a_node_beats_often_enough_to_be_believed() {
        assert!(BEAT_PERIOD * 3 < NODE_LIFE && NODE_LIFE < BELIEVED);
    }
}
