//! The connection of one client stream, with or without Pingora's session around it.
//!
//! An idle stream needs a socket and a position, not a request's machinery: a plain HTTP/1.x
//! connection is taken out of Pingora's hands once its request is admitted ([`Bare`]), which
//! frees the futures and buffers of the request. HTTP/2 streams, and requests of embedders that
//! hand over a session alone, stay in their session. Not here: what is written (`client`).

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pingora::ErrorType;
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why nothing more can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteFailure {
    /// The write did not finish in time.
    Timeout,
    /// The connection broke.
    Broken,
}

/// A client's connection.
pub(super) enum Down<'s> {
    /// Within Pingora's session.
    Session(&'s mut ServerSession),
    /// Without.
    Bare(Bare),
}

/// An HTTP/1.x connection of our own.
pub(super) struct Bare {
    stream: Stream,
    /// HTTP/1.1 frames the body in chunks, HTTP/1.0 ends it with the connection.
    is_chunked: bool,
    write_timeout: Duration,
}

impl Down<'_> {
    /// Writes a piece of the body, and waits until it has left.
    pub(super) async fn write(&mut self, body: Bytes) -> Result<(), WriteFailure> {
        if body.is_empty() {
            return Ok(());
        }
        match self {
            Self::Session(session) => {
                session.write_response_body(body, false).await.map_err(|error| {
                    match error.etype() {
                        ErrorType::WriteTimedout => WriteFailure::Timeout,
                        _ => WriteFailure::Broken,
                    }
                })
            }
            Self::Bare(bare) => bare.write_body(&[body]).await,
        }
    }

    /// Writes many pieces of the body in one go.
    pub(super) async fn write_all(&mut self, blocks: Vec<Bytes>) -> Result<(), WriteFailure> {
        match self {
            Self::Session(_) => self.write(joined(blocks)).await,
            Self::Bare(bare) => bare.write_body(&blocks).await,
        }
    }

    /// Ends the body in order.
    pub(super) async fn finish(&mut self) -> Result<(), WriteFailure> {
        match self {
            Self::Session(session) => session.finish_body().await.map_err(|_| WriteFailure::Broken),
            Self::Bare(bare) => bare.finish().await,
        }
    }

    /// Until the client leaves. Anything but silence from one that has nothing more to say is
    /// its end. May be dropped and asked again.
    pub(super) async fn gone(&mut self) {
        match self {
            Self::Session(session) => {
                // What it says does not matter.
                let _ended = session.read_body_or_idle(true).await.is_err();
            }
            Self::Bare(bare) => {
                let mut byte = [0; 1];
                let _read = bare.stream.read(&mut byte).await.is_ok();
            }
        }
    }
}

impl Bare {
    /// Takes over a connection whose request was read. With it the head of the answer as it is
    /// written: a [`ResponseHeader`] is too large to be kept by a stream.
    pub(super) fn new(
        stream: Stream,
        head: &ResponseHeader,
        write_timeout: Duration,
    ) -> (Self, BytesMut) {
        let is_chunked = head.headers.contains_key(http::header::TRANSFER_ENCODING);
        let mut bytes = BytesMut::with_capacity(512);
        bytes.put_slice(b"HTTP/1.1 200 OK\r\n");
        for (name, value) in &head.headers {
            bytes.put_slice(name.as_str().as_bytes());
            bytes.put_slice(b": ");
            bytes.put_slice(value.as_bytes());
            bytes.put_slice(b"\r\n");
        }
        bytes.put_slice(b"connection: close\r\n\r\n");
        (Self { stream, is_chunked, write_timeout }, bytes)
    }

    /// Writes the head of the answer.
    pub(super) async fn open(mut self, head: BytesMut) -> Result<Self, WriteFailure> {
        self.write_bytes(&head).await?;
        Ok(self)
    }

    async fn write_body(&mut self, blocks: &[Bytes]) -> Result<(), WriteFailure> {
        let len: usize = blocks.iter().map(Bytes::len).sum();
        if !self.is_chunked {
            let mut body = Vec::with_capacity(len);
            blocks.iter().for_each(|block| body.extend_from_slice(block));
            return self.write_bytes(&body).await;
        }
        // One write, so that an event is one packet and one wake-up of the client.
        let mut chunk = Vec::with_capacity(len + 24);
        // Writing to a vector cannot fail.
        let _written = write!(chunk, "{len:x}\r\n").is_ok();
        blocks.iter().for_each(|block| chunk.extend_from_slice(block));
        chunk.extend_from_slice(b"\r\n");
        self.write_bytes(&chunk).await
    }

    async fn finish(&mut self) -> Result<(), WriteFailure> {
        if self.is_chunked {
            self.write_bytes(b"0\r\n\r\n").await?;
        }
        bounded(self.write_timeout, self.stream.shutdown()).await
    }

    async fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), WriteFailure> {
        let stream = &mut self.stream;
        // Nearly always the kernel takes all of it at once; then no timer is set.
        let at_once = poll_fn(|context| Poll::Ready(try_write(stream, context, bytes))).await;
        let (written, is_done) = at_once.map_err(|_| WriteFailure::Broken)?;
        if is_done {
            return Ok(());
        }
        let rest = bytes.get(written..).unwrap_or_default();
        let write = async {
            stream.write_all(rest).await?;
            stream.flush().await
        };
        bounded(self.write_timeout, write).await
    }
}

/// Writes what the connection takes without waiting: how much, and whether all of it has left.
fn try_write(
    stream: &mut Stream,
    context: &mut Context<'_>,
    bytes: &[u8],
) -> io::Result<(usize, bool)> {
    let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(context, bytes)? else {
        return Ok((0, false));
    };
    let is_done = written == bytes.len() && Pin::new(stream).poll_flush(context)?.is_ready();
    Ok((written, is_done))
}

/// One buffer out of many; a single one is not copied.
fn joined(mut blocks: Vec<Bytes>) -> Bytes {
    if blocks.len() == 1 {
        return blocks.pop().unwrap_or_default();
    }
    blocks.concat().into()
}

async fn bounded(
    timeout: Duration,
    write: impl Future<Output = io::Result<()>>,
) -> Result<(), WriteFailure> {
    match tokio::time::timeout(timeout, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(WriteFailure::Broken),
        Err(_) => Err(WriteFailure::Timeout),
    }
}
