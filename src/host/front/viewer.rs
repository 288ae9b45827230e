//! The front's side of one viewer: streams in are cut into messages, frames out become one stream each.
//!
//! All polled by the one task of its desktop, so nothing passes through another queue or task. Bounded by `limits`.

use crate::host::front::door::Guest;
use crate::io::net::devices::Device;
use crate::io::net::{Outbox, SendError};
use crate::limits::{self, MESSAGE_BYTES_MAX, RELAY_BACKLOG, VIEWER_STREAM_WINDOW};
use crate::proto::wire::print::STREAM_DOCUMENT;
use crate::proto::wire::{
    CloseCode, HostMessage, PathState, STREAM_CURSOR, STREAM_FRAME, STREAM_INPUT, Splitter, ViewerMessage,
};
use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// QUIC's priority of the control stream: before all pictures.
const PRIORITY_CONTROL: i32 = 100;
/// A cursor shape is small and what the hand waits for.
const PRIORITY_CURSOR: i32 = 50;
const PRIORITY_FRAME: i32 = 0;
/// A print job can wait for every picture.
const PRIORITY_DOCUMENT: i32 = -10;
/// Control bytes kept for a viewer that does not read: as much as a session may send at once.
const CONTROL_OUTBOX: usize = RELAY_BACKLOG;
/// Cursors and frames not yet in a stream. Their bytes are bounded too; this bounds many tiny ones.
pub(super) const OUTGOING_MAX: usize = 256;

/// Bytes of a document kept for a viewer that takes none: an honest one never lets more than one window wait.
const DOCUMENT_WAITING_MAX: usize = 2 * limits::DOCUMENT_WINDOW as usize;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a viewer did.
#[derive(Debug)]
pub(super) enum ViewerEvent {
    /// It sent a control message, without its length.
    Control(Bytes),
    /// It sent an input message, without its length.
    Input(Bytes),
    /// It is gone.
    Gone(ConnectionError),
    /// It did what no viewer does.
    Violation(&'static str),
}

/// A viewer that sees its desktop.
pub(super) struct Viewer {
    pub(super) device: Device,
    connection: Connection,
    control_out: Outbox,
    control_in: RecvStream,
    control_cut: Splitter,
    input: Option<InputStream>,
    accept: Later<Result<RecvStream, ConnectionError>>,
    closed: Later<ConnectionError>,
    datagram: Later<Result<Bytes, ConnectionError>>,
    /// Not yet in a stream, oldest first: the stream's first byte and its content.
    outgoing: VecDeque<(u8, Bytes)>,
    opening: Option<Later<Result<SendStream, ConnectionError>>>,
    /// Streams with bytes that QUIC has not taken, oldest first.
    open: Vec<(SendStream, [Bytes; 2])>,
    queued_bytes: usize,
    document: Option<DocumentStream>,
    /// Frames and input events that the connection has carried: a session process that starts anew goes on from there.
    pub(super) frames: u32,
    pub(super) inputs: u32,
    send_window: u64,
    memory: Memory,
    _admission: OwnedSemaphorePermit,
}

/// What a viewer said that a session process which starts anew must hear again.
struct Memory {
    hello: Bytes,
    viewport: Option<Bytes>,
    visible: Option<Bytes>,
}

/// A print job's document on its way. The session keeps its bytes within a window that the viewer confirms.
struct DocumentStream {
    opening: Option<Later<Result<SendStream, ConnectionError>>>,
    stream: Option<SendStream>,
    waiting: VecDeque<Bytes>,
    is_whole: bool,
}

struct InputStream {
    stream: RecvStream,
    cut: Splitter,
    begun: bool,
}

impl Viewer {
    pub(super) fn new(guest: Guest) -> Viewer {
        let connection = guest.connection;
        // A stream just accepted is not closed.
        let _ = guest.control_out.set_priority(PRIORITY_CONTROL);
        let (accepting, closing, listening) = (connection.clone(), connection.clone(), connection.clone());
        Viewer {
            device: guest.device,
            control_out: Outbox::new(guest.control_out, CONTROL_OUTBOX),
            control_in: guest.control_in,
            control_cut: guest.control_cut,
            input: None,
            accept: Box::pin(async move { accepting.accept_uni().await }),
            closed: Box::pin(async move { closing.closed().await }),
            datagram: Box::pin(async move { listening.read_datagram().await }),
            outgoing: VecDeque::new(),
            opening: None,
            open: Vec::new(),
            queued_bytes: 0,
            document: None,
            frames: 0,
            inputs: 0,
            send_window: limits::SEND_WINDOW,
            memory: Memory { hello: guest.hello, viewport: None, visible: None },
            connection,
            _admission: guest.admission,
        }
    }

    /// Ready with the next thing the viewer did; sends meanwhile. Reads nothing more while `hear` is false.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, hear: bool) -> Poll<ViewerEvent> {
        if let Poll::Ready(error) = self.closed.as_mut().poll(cx) {
            return Poll::Ready(ViewerEvent::Gone(error));
        }
        // What fails here has closed the connection, or the viewer gave one frame up.
        let _ = self.control_out.poll_flush(cx);
        self.poll_outgoing(cx);
        self.poll_document(cx);
        if !hear {
            return Poll::Pending;
        }
        if let Poll::Ready(event) = self.poll_input(cx) {
            return Poll::Ready(event);
        }
        self.poll_control(cx)
    }

    /// Ready with the next datagram of the viewer.
    pub(super) fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        match self.datagram.as_mut().poll(cx) {
            Poll::Ready(Ok(datagram)) => {
                let listening = self.connection.clone();
                self.datagram = Box::pin(async move { listening.read_datagram().await });
                Poll::Ready(datagram)
            }
            Poll::Ready(Err(_)) => {
                // The end of the connection is told elsewhere, and a future must not be asked again.
                self.datagram = Box::pin(std::future::pending());
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends a datagram; while the path has no room, the oldest waiting one gives way.
    pub(super) fn send_datagram(&self, datagram: Bytes) {
        if let Err(error) = self.connection.send_datagram(datagram) {
            tracing::trace!(%error, "Datagram not sent");
        }
    }

    /// Sends control bytes, framed by the session.
    pub(super) fn send_control(&mut self, framed: &[u8]) -> Result<(), SendError> {
        self.control_out.send(framed)
    }

    /// Sends a control message of the front's own.
    pub(super) fn tell(&mut self, message: &HostMessage) -> Result<(), SendError> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.control_out.send(&bytes)
    }

    /// Queues a frame for a stream of its own.
    pub(super) fn send_frame(&mut self, frame: Bytes) {
        self.frames += 1;
        self.send_stream(STREAM_FRAME, frame);
    }

    /// Queues a cursor shape for a stream of its own.
    pub(super) fn send_cursor(&mut self, cursor: Bytes) {
        self.send_stream(STREAM_CURSOR, cursor);
    }

    fn send_stream(&mut self, kind: u8, bytes: Bytes) {
        self.queued_bytes += bytes.len() + 1;
        self.outgoing.push_back((kind, bytes));
    }

    /// Begins a stream for a document; `head` is what follows the stream's first byte. One that is open is given up.
    pub(super) fn begin_document(&mut self, head: &[u8]) {
        self.drop_document();
        let connection = self.connection.clone();
        let begin = [&[STREAM_DOCUMENT], head].concat();
        self.document = Some(DocumentStream {
            opening: Some(Box::pin(async move { connection.open_uni().await })),
            stream: None,
            waiting: VecDeque::from([begin.into()]),
            is_whole: false,
        });
    }

    /// Sends further bytes of the document.
    pub(super) fn send_document(&mut self, bytes: Bytes) {
        if let Some(document) = &mut self.document {
            document.waiting.push_back(bytes);
        }
    }

    /// The document is whole.
    pub(super) fn end_document(&mut self) {
        if let Some(document) = &mut self.document {
            document.is_whole = true;
        }
    }

    /// Gives an open document up: its session process is gone, or sends it anew.
    fn drop_document(&mut self) {
        if let Some(mut stream) = self.document.take().and_then(|document| document.stream) {
            // The viewer may have stopped it already.
            let _ = stream.reset(VarInt::from_u32(0));
        }
    }

    fn poll_document(&mut self, cx: &mut Context<'_>) {
        if let Some(document) = &mut self.document
            && document.poll(cx).is_ready()
        {
            self.document = None;
        }
    }

    /// Forgets all frames that no stream was begun for: their session process is gone, and the next begins anew.
    pub(super) fn drop_outgoing(&mut self) {
        self.drop_document();
        for (_, bytes) in self.outgoing.drain(..) {
            self.queued_bytes -= bytes.len() + 1;
        }
    }

    /// Whether a further frame may be taken from the session.
    pub(super) fn has_room(&self) -> bool {
        // A session sends no more of a document than is unconfirmed; a viewer that confirms what it did not read waits.
        let waiting = self.document.as_ref().map_or(0, DocumentStream::waiting_bytes);
        self.queued_bytes < limits::RELAY_QUEUE && self.outgoing.len() < OUTGOING_MAX && waiting < DOCUMENT_WAITING_MAX
    }

    /// The path as it is now. Also keeps QUIC's own queue at about two round trips, so that what waits is counted here.
    pub(super) fn path(&mut self) -> PathState {
        let path = self.connection.stats().path;
        let window = (2 * path.cwnd).clamp(limits::SEND_WINDOW_MIN, limits::SEND_WINDOW);
        if window != self.send_window {
            self.send_window = window;
            self.connection.set_send_window(window);
        }
        let number = |n: u128| u32::try_from(n).unwrap_or(u32::MAX);
        PathState {
            rtt_us: number(path.rtt.as_micros()),
            window_bytes: number(path.cwnd.into()),
            queued_bytes: number(self.queued_bytes as u128),
        }
    }

    /// Keeps what a session process that starts anew must hear again.
    pub(super) fn remember(&mut self, message: &Bytes) {
        match ViewerMessage::decode(message) {
            Ok(ViewerMessage::Viewport(_)) => self.memory.viewport = Some(message.clone()),
            Ok(ViewerMessage::Visible(_)) => self.memory.visible = Some(message.clone()),
            _ => {}
        }
    }

    /// Hello and what still holds of what came after it, without lengths.
    pub(super) fn said(&self) -> impl Iterator<Item = &Bytes> {
        [Some(&self.memory.hello), self.memory.viewport.as_ref(), self.memory.visible.as_ref()].into_iter().flatten()
    }

    pub(super) fn close(&self, code: u32) {
        self.connection.close(VarInt::from_u32(code), &[]);
    }

    fn poll_outgoing(&mut self, cx: &mut Context<'_>) {
        // A shorter list lets QUIC choose by priority; streams blocked together are at most what the viewer allows.
        let queued_bytes = &mut self.queued_bytes;
        self.open.retain_mut(|(stream, bytes)| match poll_stream(stream, bytes, queued_bytes, cx) {
            Poll::Pending => true,
            Poll::Ready(()) => false,
        });
        while let Some((kind, _)) = self.outgoing.front() {
            let kind = *kind;
            let connection = &self.connection;
            let opening = self.opening.get_or_insert_with(|| {
                let connection = connection.clone();
                Box::pin(async move { connection.open_uni().await })
            });
            let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return };
            self.opening = None;
            let Ok(mut stream) = opened else { return };
            let Some((_, content)) = self.outgoing.pop_front() else { return };
            let _ = stream.set_priority(if kind == STREAM_CURSOR { PRIORITY_CURSOR } else { PRIORITY_FRAME });
            let mut bytes = [Bytes::copy_from_slice(&[kind]), content];
            if poll_stream(&mut stream, &mut bytes, &mut self.queued_bytes, cx).is_pending() {
                self.open.push((stream, bytes));
            }
        }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<ViewerEvent> {
        if self.input.is_none() {
            match self.accept.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    self.input = Some(InputStream { stream, cut: Splitter::new(MESSAGE_BYTES_MAX), begun: false });
                }
                Poll::Ready(Err(error)) => return Poll::Ready(ViewerEvent::Gone(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Some(input) = &mut self.input else { return Poll::Pending };
        loop {
            match input.cut.poll_message() {
                Ok(Some(message)) => return Poll::Ready(ViewerEvent::Input(message)),
                Ok(None) => {}
                Err(_) => return Poll::Ready(ViewerEvent::Violation("input message length")),
            }
            match pin!(input.stream.read_chunk(VIEWER_STREAM_WINDOW as usize, true)).poll(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    let mut bytes = &chunk.bytes[..];
                    if !input.begun {
                        let Some((&STREAM_INPUT, rest)) = bytes.split_first() else {
                            return Poll::Ready(ViewerEvent::Violation("kind of stream"));
                        };
                        (input.begun, bytes) = (true, rest);
                    }
                    input.cut.handle_bytes(bytes);
                }
                Poll::Ready(Err(ReadError::ConnectionLost(error))) => {
                    return Poll::Ready(ViewerEvent::Gone(error));
                }
                Poll::Ready(_) => return Poll::Ready(ViewerEvent::Violation("end of the input stream")),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<ViewerEvent> {
        loop {
            match self.control_cut.poll_message() {
                Ok(Some(message)) => return Poll::Ready(ViewerEvent::Control(message)),
                Ok(None) => {}
                Err(_) => return Poll::Ready(ViewerEvent::Violation("control message length")),
            }
            match pin!(self.control_in.read_chunk(VIEWER_STREAM_WINDOW as usize, true)).poll(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.control_cut.handle_bytes(&chunk.bytes),
                Poll::Ready(Err(ReadError::ConnectionLost(error))) => {
                    return Poll::Ready(ViewerEvent::Gone(error));
                }
                Poll::Ready(_) => return Poll::Ready(ViewerEvent::Violation("end of the control stream")),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl DocumentStream {
    /// Bytes that QUIC has not taken.
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(Bytes::len).sum()
    }

    /// Writes what QUIC takes; ready when all is written, or the viewer does not want it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(opening) = &mut self.opening {
            let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return Poll::Pending };
            self.opening = None;
            let Ok(stream) = opened else { return Poll::Ready(()) };
            let _ = stream.set_priority(PRIORITY_DOCUMENT);
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(()) };
        while let Some(bytes) = self.waiting.front_mut() {
            let written = pin!(stream.write_chunks(std::slice::from_mut(bytes))).poll(cx);
            match written {
                Poll::Ready(Ok(written)) if written.chunks > 0 => drop(self.waiting.pop_front()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.is_whole {
            return Poll::Pending;
        }
        let _ = stream.finish();
        Poll::Ready(())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // Only where nothing was said before; the first close counts.
        self.close(CloseCode::Protocol as u32);
    }
}

/// Writes what QUIC takes; ready when all is written, or the viewer does not want it.
fn poll_stream(
    stream: &mut SendStream,
    bytes: &mut [Bytes; 2],
    queued_bytes: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let left: usize = bytes.iter().map(Bytes::len).sum();
        if left == 0 {
            // Cannot fail: it is finished only here.
            let _ = stream.finish();
            return Poll::Ready(());
        }
        match pin!(stream.write_chunks(&mut bytes[..])).poll(cx) {
            Poll::Ready(Ok(written)) => *queued_bytes -= written.bytes,
            Poll::Ready(Err(WriteError::Stopped(_) | WriteError::ConnectionLost(_) | _)) => {
                *queued_bytes -= left;
                return Poll::Ready(());
            }
            Poll::Pending => return Poll::Pending,
        }
    }
}
