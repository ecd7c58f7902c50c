//! One connection to Redis.
//!
//! Names, addresses and TLS are those of all other connections (`upstream`); what is spoken is the
//! crate's. A connection ends when it is dropped, whatever it waits for. Not here: when there is
//! one (`keeper`), what is asked (`mod`).

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, cmd};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Redis, Url};
use crate::edge::upstream::Dialer;

/// As much of what Redis says of an error is told.
const ERROR_CHARS_MAX: usize = 200;

/// A connection. Its task lives as long as this.
pub(super) struct Link {
    connection: MultiplexedConnection,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Connects, and says who we are.
    ///
    /// # Errors
    /// Why not, for a log line.
    pub(super) async fn open(dialer: &Dialer, conf: &Redis, server: &Url) -> Result<Self, String> {
        let stream =
            dialer.stream((conf, server)).await.map_err(|reason| reason.as_str().to_owned())?;
        let mut info = RedisConnectionInfo::default().set_db(conf.database).set_skip_set_lib_name();
        if let Some(username) = &conf.username {
            info = info.set_username(username);
        }
        if let Some(password) = &conf.password {
            info = info.set_password(password.reveal());
        }
        // Calls have time-outs of their own, and whoever waits for news waits long.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let made = MultiplexedConnection::new_with_config(&info, stream, config);
        let made = timeout(conf.timeout, made).await.map_err(|_| late(conf.timeout))?;
        let (connection, driver) = made.map_err(|error| said(&error))?;
        Ok(Self { connection, task: tokio::spawn(driver) })
    }

    /// Who has this name, if it is another server: they are nodes of a Redis Cluster.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn other_owner(
        &self,
        name: &str,
        server: &Url,
        patience: Duration,
    ) -> Result<Option<Url>, String> {
        let mut exists = cmd("EXISTS");
        exists.arg(name);
        let mut connection = self.connection();
        let asked = timeout(patience, exists.query_async(&mut connection)).await;
        match asked.map_err(|_| late(patience))? {
            Ok(()) => Ok(None),
            Err(error) => {
                let moved = error.redirect_node().and_then(|(to, _)| moved(server, to));
                moved.map_or_else(|| Err(said(&error)), |to| Ok(Some(to)))
            }
        }
    }

    /// To ask by. Any number may ask at a time.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
}

/// Where a server sends us: `host:port`, without a host if that is its own.
fn moved(from: &Url, to: &str) -> Option<Url> {
    let (host, port) = to.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() || host == "?" { &from.host } else { host };
    let (scheme, path) = (from.scheme, from.path.clone());
    Some(Url { scheme, host: host.to_owned(), port: port.parse().ok()?, path })
}

/// An error in one line.
pub(super) fn said(error: &RedisError) -> String {
    let line = error.to_string().replace(char::is_control, " ");
    line.chars().take(ERROR_CHARS_MAX).collect()
}

/// No answer in this time.
pub(super) fn late(patience: Duration) -> String {
    format!("no answer in {} ms", patience.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scheme;

    #[test]
    fn a_server_sends_us_to_another() {
        let from = Url {
            scheme: Scheme::Https,
            host: "a.example".to_owned(),
            port: 1,
            path: "/".to_owned(),
        };
        let to = |text| moved(&from, text).map(|url| (url.host, url.port));
        assert_eq!(to("10.0.0.7:6380"), Some(("10.0.0.7".to_owned(), 6380)));
        assert_eq!(to(":6380"), Some(("a.example".to_owned(), 6380)));
        assert_eq!(to("?:6380"), Some(("a.example".to_owned(), 6380)));
        assert_eq!(to("2001:db8::1:6380"), Some(("2001:db8::1".to_owned(), 6380)));
        assert_eq!(to("nowhere"), None);
        assert_eq!(to("a:b"), None);
    }
}
