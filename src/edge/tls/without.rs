//! In place of handshakes where this build has no TLS: there is nobody to ask for one.

use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Socket;

use super::files::Texts;
use crate::config::ListenTls;
use crate::telemetry::Handshake;

/// There is none.
pub(super) enum Acceptor {}

impl Acceptor {
    pub(super) fn build(_: &ListenTls, _: &[Texts]) -> Result<(Self, Vec<i64>), String> {
        Err("this build has no TLS".to_owned())
    }

    #[expect(clippy::unused_async, reason = "as the other one")]
    pub(super) async fn accept(&self, _: Socket) -> Result<Stream, Handshake> {
        match *self {}
    }
}
