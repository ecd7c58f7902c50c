//! One open event stream: writes what its outbox gives, beats, and misbehaves when told to.
//!
//! Owns the socket until the stream ends. Not here: which frames go to whom (the dialects).

use std::{future::pending, io, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::WriteHalf},
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::scripted::{
    fault::{Fault, Gzip, cut_at, garbage},
    http::{head, reset},
    stage::{Framing, Opening, Out, Shared},
};

/// An open stream: what it is, its number and its outbox.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) opening: Opening,
    pub(super) number: u64,
    pub(super) inbox: mpsc::Receiver<Out>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The client closed, or a write failed, or the network cut it.
    Lost,
    /// As `Lost`, by a reset of ours.
    Reset,
    /// The backend ended it.
    Ended,
    /// It was told to play dead.
    Dead,
}

/// Writes a stream until it ends.
pub(super) async fn run(
    mut socket: TcpStream,
    shared: &Shared,
    opened: Opened,
    fault: Option<Fault>,
) {
    let Opened { opening, number, mut inbox } = opened;
    let mut beat = ticker(opening.beat);
    let end = {
        let (mut read, write) = socket.split();
        let mut writer = Writer::new(write, opening.framing);
        let mut talk = Talk { shared, number, writer: &mut writer, cut: None, stalled: false };
        match talk.begin(&opening, fault).await {
            Ok(None) => talk.go_on(&mut read, &mut inbox, &mut beat).await,
            Ok(Some(end)) => end,
            Err(_) => End::Lost,
        }
    };
    if end == End::Dead {
        pending::<()>().await;
    }
    if end == End::Reset {
        reset(socket);
    } else {
        drop(socket);
    }
    shared.with(|stage, _| stage.disconnected(number));
    if opening.notices_late && end != End::Ended {
        haunt(&mut inbox, &mut beat).await;
    }
    shared.with(|stage, dialect| {
        if let Some(owner) = stage.forget(number) {
            dialect.closed(&owner, stage);
        }
    });
}

/// Keeps a lost stream registered until the next beat, as a backend does that only writes.
async fn haunt(inbox: &mut mpsc::Receiver<Out>, beat: &mut Option<Interval>) {
    loop {
        tokio::select! {
            out = inbox.recv() => if matches!(out, None | Some(Out::Beat | Out::End)) { return },
            () = tick(beat) => return,
        }
    }
}

fn ticker(period: Option<Duration>) -> Option<Interval> {
    let period = period.filter(|period| *period < Duration::from_secs(1 << 30))?;
    let period = period.max(Duration::from_millis(1));
    let mut ticker = interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticker)
}

async fn tick(beat: &mut Option<Interval>) {
    match beat {
        Some(beat) => {
            beat.tick().await;
        }
        None => pending().await,
    }
}

/// Where a frame is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Middle,
    Character,
    /// After so many bytes of it as it is written.
    After(usize),
}

struct Talk<'a, 'b> {
    shared: &'a Shared,
    number: u64,
    writer: &'a mut Writer<'b>,
    /// Cut the next frame.
    cut: Option<Cut>,
    stalled: bool,
}

impl Talk<'_, '_> {
    /// Writes the head, then what the fault asks for at once.
    async fn begin(&mut self, opening: &Opening, fault: Option<Fault>) -> io::Result<Option<End>> {
        let mut headers = opening.headers.clone();
        match &fault {
            Some(Fault::ContentType(other)) => {
                for (name, value) in &mut headers {
                    if name.eq_ignore_ascii_case("content-type") {
                        other.clone_into(value);
                    }
                }
            }
            Some(Fault::Gzip) => {
                headers.push(("Content-Encoding".to_owned(), "gzip".to_owned()));
                self.writer.gzip = Some(Gzip::default());
            }
            _ => {}
        }
        if let Some(Fault::Dribble(..)) = fault {
            self.obey(fault).await?;
            self.writer.raw(&head(200, &headers)).await?;
            return Ok(None);
        }
        self.writer.raw(&head(200, &headers)).await?;
        self.obey(fault).await
    }

    async fn go_on(
        &mut self,
        read: &mut tokio::net::tcp::ReadHalf<'_>,
        inbox: &mut mpsc::Receiver<Out>,
        beat: &mut Option<Interval>,
    ) -> End {
        loop {
            let out = tokio::select! {
                biased;
                () = gone(read) => return End::Lost,
                out = inbox.recv() => out.unwrap_or(Out::End),
                () = tick(beat) => Out::Beat,
            };
            match self.handle(out).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(_) => return End::Lost,
            }
        }
    }

    async fn handle(&mut self, out: Out) -> io::Result<Option<End>> {
        match out {
            Out::End => {
                self.writer.finish().await?;
                return Ok(Some(End::Ended));
            }
            Out::Fault(fault) => return self.obey(Some(fault)).await,
            Out::Wake => {}
            Out::Frame(..) | Out::Bytes(_) | Out::Beat if self.stalled => {}
            Out::Beat => {
                for piece in self.shared.with(|stage, dialect| dialect.beat(stage)) {
                    self.write(piece).await?;
                }
            }
            out @ (Out::Frame(..) | Out::Bytes(_)) => {
                if let (Out::Frame(_, bytes), Some(cut)) = (&out, self.cut) {
                    match cut {
                        Cut::Middle => self.writer.cut(bytes, cut_at(bytes, false)).await?,
                        Cut::Character => self.writer.cut(bytes, cut_at(bytes, true)).await?,
                        Cut::After(at) => self.writer.cut_written(bytes, at).await?,
                    }
                    return Ok(Some(End::Lost));
                }
                self.write(out).await?;
            }
        }
        Ok(None)
    }

    async fn write(&mut self, out: Out) -> io::Result<()> {
        match out {
            Out::Frame(name, bytes) => {
                self.writer.put(&bytes).await?;
                self.shared.with(|stage, _| stage.count_sent(&name));
            }
            Out::Bytes(bytes) => self.writer.put(&bytes).await?,
            Out::Beat | Out::Wake | Out::Fault(_) | Out::End => {}
        }
        Ok(())
    }

    async fn obey(&mut self, fault: Option<Fault>) -> io::Result<Option<End>> {
        match fault {
            None
            | Some(
                Fault::ContentType(_)
                | Fault::Gzip
                | Fault::RefuseConnections
                | Fault::EndlessHead { .. },
            ) => {}
            Some(Fault::Status(..)) => return self.end().await.map(Some),
            Some(Fault::CloseMidEvent) => self.cut = Some(Cut::Middle),
            Some(Fault::CloseMidUtf8) => self.cut = Some(Cut::Character),
            Some(Fault::CloseAfter(at)) => self.cut = Some(Cut::After(at)),
            Some(Fault::Reset) => return Ok(Some(End::Reset)),
            Some(Fault::Stall | Fault::NoAnswer) => self.stalled = true,
            Some(Fault::HalfOpen) => return Ok(Some(End::Dead)),
            Some(Fault::Dribble(bytes, pause)) => self.writer.dribble = Some((bytes.max(1), pause)),
            Some(Fault::Garbage) => self.writer.put(&garbage()).await?,
            Some(Fault::Oversize(bytes)) => {
                let number = self.number;
                let frame = self.shared.with(|stage, dialect| {
                    let owner = stage.owner(number).unwrap_or_default();
                    dialect.filler(&owner, bytes, stage)
                });
                self.write(frame).await?;
            }
        }
        Ok(None)
    }

    async fn end(&mut self) -> io::Result<End> {
        self.writer.finish().await?;
        Ok(End::Ended)
    }
}

/// Returns when the client has closed its side; what it still sends is thrown away.
async fn gone(read: &mut tokio::net::tcp::ReadHalf<'_>) {
    use tokio::io::AsyncReadExt as _;
    let mut scratch = [0; 256];
    while matches!(read.read(&mut scratch).await, Ok(1..)) {}
}

/// The body's framing and the ways to write it badly.
struct Writer<'a> {
    half: WriteHalf<'a>,
    framing: Framing,
    gzip: Option<Gzip>,
    dribble: Option<(usize, Duration)>,
}

impl<'a> Writer<'a> {
    fn new(half: WriteHalf<'a>, framing: Framing) -> Self {
        Self { half, framing, gzip: None, dribble: None }
    }

    /// One part of the body, flushed.
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (_, packed) = self.pack(bytes);
        self.raw(&packed).await
    }

    /// The part up to `at`, announced as if it were whole.
    async fn cut(&mut self, bytes: &[u8], at: usize) -> io::Result<()> {
        let (before, packed) = self.pack(bytes);
        self.raw(packed.get(..before + at).unwrap_or(&packed)).await
    }

    /// The part up to any byte of what is written for it, framing included.
    async fn cut_written(&mut self, bytes: &[u8], at: usize) -> io::Result<()> {
        let (_, packed) = self.pack(bytes);
        self.raw(packed.get(..at % packed.len().max(1)).unwrap_or(&packed)).await
    }

    /// The end of the body, where there is a mark for it.
    async fn finish(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Chunked => self.raw(b"0\r\n\r\n").await,
            Framing::Close => Ok(()),
        }
    }

    fn pack(&mut self, bytes: &[u8]) -> (usize, Vec<u8>) {
        let packed = self.gzip.as_mut().map(|gzip| gzip.pack(bytes));
        let bytes = packed.as_deref().unwrap_or(bytes);
        match self.framing {
            Framing::Close => (0, bytes.to_vec()),
            Framing::Chunked => {
                let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
                let before = out.len();
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
                (before, out)
            }
        }
    }

    async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        dribble(&mut self.half, bytes, self.dribble).await
    }
}

/// Writes bytes, all at once or a few at a time.
pub(super) async fn dribble<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &[u8],
    slowly: Option<(usize, Duration)>,
) -> io::Result<()> {
    let (at_once, pause) = slowly.unwrap_or((usize::MAX, Duration::ZERO));
    for piece in bytes.chunks(at_once) {
        writer.write_all(piece).await?;
        writer.flush().await?;
        match (slowly, pause) {
            (None, _) => {}
            (Some(_), Duration::ZERO) => tokio::task::yield_now().await,
            (Some(_), pause) => tokio::time::sleep(pause).await,
        }
    }
    Ok(())
}
