//! One connection to Redis.
//!
//! Names, addresses and TLS are those of all other connections (`upstream`); what is spoken is the
//! crate's. A connection ends when it is dropped, whatever it waits for. Not here: when there is
//! one (`keeper`), what is asked (`mod`).

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Redis;
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
    pub(super) async fn open(dialer: &Dialer, conf: &Redis) -> Result<Self, String> {
        let stream = dialer.stream(conf).await.map_err(|reason| reason.as_str().to_owned())?;
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

    /// To ask by. Any number may ask at a time.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
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
