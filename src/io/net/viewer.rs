//! A viewer's way to its host: tries every address, checks who answers, then carries messages both ways.
//!
//! One caller drives everything through [`ViewerConnection::recv`], which is safe to cancel; sending never waits.
//! Reconnecting, and what the messages mean, is the caller's: `viewer::link`.

use crate::codec::format::FRAME_BYTES_MAX;
use crate::io::net::outbox::{Outbox, SendError};
use crate::io::net::tls::{self, TlsError};
use crate::io::net::trial::Trial;
use crate::io::net::{Side, any_address, transport, udp_socket, var_int, viewer_endpoint};
use crate::limits;
use crate::proto::wire::print::{JobId, STREAM_DOCUMENT, document_head};
use crate::proto::wire::{
    CloseCode, InputMessage, STREAM_CURSOR, STREAM_FRAME, STREAM_INPUT, Splitter, ViewerMessage, WireError,
};
use bytes::{Buf, Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Chunk, Connection, ConnectionError, Endpoint, ReadError, RecvStream};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

/// QUIC's priority of the input stream: nothing goes before a key.
const PRIORITY_INPUT: i32 = 100;
/// The control stream comes next.
const PRIORITY_CONTROL: i32 = 99;
/// TLS alerts that say something about the device (RFC 8446, section 6), in QUIC's error codes.
const REFUSAL_ALERTS: [u64; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];
/// QUIC's error codes for TLS alerts begin here (RFC 9001, section 4.8).
const CRYPTO_ERRORS: u64 = 0x100;
/// The host has too many handshakes, or is about to end (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 0x2;
/// QUIC's errors that another attempt may not meet: closed without an error, an internal error, a proof of address that
/// came too late or from elsewhere, and an application that ended before the handshake did.
const PASSING_ERRORS: [u64; 4] = [0x0, 0x1, 0xb, 0xc];

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// A name has no address.
    #[error("{address} cannot be found")]
    Resolve {
        /// The name and port.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// This machine cannot send there.
    #[error("{address} cannot be reached from here")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Nobody answers.
    #[error("no host answers at {address}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
    },
    /// Somebody answers, but it is not the host that we know.
    #[error("{address} is not the host of this trial: {detail}")]
    HostCertificate {
        /// Where.
        address: SocketAddr,
        /// What the check says.
        detail: String,
    },
    /// Somebody answers, but speaks something else.
    #[error("{address} does not speak this protocol: {detail}")]
    Incompatible {
        /// Where.
        address: SocketAddr,
        /// What QUIC says.
        detail: String,
    },
    /// The connection came and was lost at once.
    #[error("{address}: {reason}")]
    Lost {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: LostReason,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LostReason {
    /// The host closed it.
    #[error("the host closed the connection: {0:?}")]
    Closed(CloseCode),
    /// The host closed it with a code that this version does not know.
    #[error("the host closed the connection with code {0}")]
    ClosedUnknown(u64),
    /// The host does not let this device in.
    #[error("the host does not let this device in")]
    DeviceRefused,
    /// The host's process is another one than before: connect again.
    #[error("the host was restarted")]
    HostRestarted,
    /// Nothing came for too long.
    #[error("nothing comes from the host any more")]
    TimedOut,
    /// The host broke the protocol; the connection has been closed.
    #[error("the host sent something impossible")]
    Protocol(#[source] WireError),
    /// The host sent a stream that is too long or of unknown kind; the connection has been closed.
    #[error("the host sent a stream of kind {kind:?} with at least {bytes} bytes")]
    Stream {
        /// Its first byte, if there was one.
        kind: Option<u8>,
        /// What had come.
        bytes: usize,
    },
    /// The host began streams and ended none of them; the connection has been closed.
    #[error("the host's streams hold {bytes} bytes and do not end")]
    Unfinished {
        /// What had come.
        bytes: usize,
    },
    /// The host's TLS takes nothing that we offer.
    #[error("the host does not speak this protocol: {0}")]
    Incompatible(String),
    /// QUIC itself failed.
    #[error("the connection broke: {0}")]
    Transport(String),
    /// This end closed it.
    #[error("the connection was closed here")]
    Here,
}

/// What came from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// One control message without its length.
    Control(Bytes),
    /// One frame, whole. Frames come as they are whole, not in their order.
    Frame(Bytes),
    /// One cursor shape, whole.
    Cursor(Bytes),
    /// One datagram.
    Datagram(Bytes),
    /// A stream with a print job's document begins; its bytes follow, and take the place of any other document's.
    Document {
        /// Whose document.
        job: JobId,
        /// From which byte on.
        offset: u32,
    },
    /// Further bytes of the document whose stream began last.
    DocumentBytes(Bytes),
    /// Nothing will come any more.
    Closed(LostReason),
}

/// What is known about the way to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Bytes in UDP packets received, without their headers.
    pub bytes_received: u64,
    /// Bytes in UDP packets sent, without their headers.
    pub bytes_sent: u64,
    /// UDP packets received.
    pub packets_received: u64,
    /// What the host has to acknowledge: STREAM and PING frames sent, and messages that are about to be.
    pub asked: u64,
    /// Of those that we sent, known to be lost.
    pub packets_lost: u64,
    /// Largest UDP payload that the path takes.
    pub mtu: u16,
}

/// Makes connections for one trial.
#[derive(Clone, Debug)]
pub struct Connector {
    config: quinn::ClientConfig,
    addresses: Vec<String>,
    host_name: String,
}

impl Connector {
    /// Takes the trial's keys. The trial has been checked when it was loaded.
    ///
    /// # Errors
    /// [`TlsError`] if its keys and certificates do not fit together.
    pub fn new(trial: &Trial) -> Result<Connector, TlsError> {
        let bad = |field: &str| rustls::Error::General(format!("{field} is not PEM"));
        let credentials = trial.credentials().map_err(bad)?;
        let tls = tls::viewer_config(&credentials.ca, credentials.certificate, credentials.key)?;
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::new(transport(Side::Viewer)));
        config.token_store(Arc::new(quinn::NoneTokenStore));
        Ok(Connector { config, addresses: trial.addresses.clone(), host_name: tls::host_name(&trial.host_id) })
    }

    /// Connects to the first address that answers as our host; each next one gets its chance a little later.
    ///
    /// The host judges the device only after this: a refusal comes as the first [`Received::Closed`].
    ///
    /// # Errors
    /// [`ConnectError`], the most telling one of all addresses.
    pub async fn connect(&self) -> Result<ViewerConnection, ConnectError> {
        let mut names: VecDeque<&String> = self.addresses.iter().collect();
        let mut found: VecDeque<SocketAddr> = VecDeque::new();
        let mut attempts = JoinSet::new();
        let mut worst: Option<ConnectError> = None;
        loop {
            while found.is_empty()
                && let Some(name) = names.pop_front()
            {
                match resolve(name).await {
                    Ok(addresses) => found.extend(addresses),
                    Err(error) => worst = Some(more_telling(worst, error)),
                }
            }
            let more = match found.pop_front() {
                Some(address) => {
                    attempts.spawn(attempt(self.config.clone(), address, self.host_name.clone()));
                    true
                }
                None => false,
            };
            tokio::select! {
                joined = attempts.join_next() => match joined {
                    Some(Ok(Ok(connection))) => return Ok(connection),
                    Some(Ok(Err(error))) => worst = Some(more_telling(worst, error)),
                    Some(Err(_)) => {}
                    None if !more => {
                        return Err(worst.expect("there is an address, and each one failed with an error"));
                    }
                    None => {}
                },
                () = sleep(limits::ATTEMPT_DELAY), if more => {}
            }
        }
    }
}

/// A connection to a host, alive or closed.
pub struct ViewerConnection {
    endpoint: Endpoint,
    connection: Connection,
    control: Outbox,
    input: Outbox,
    input_begun: bool,
    /// Messages that were handed over; QUIC sends them, and counts them then, a little later.
    handed: u64,
    control_in: RecvStream,
    control_cut: Splitter,
    accept: Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>>,
    datagram: Pin<Box<dyn Future<Output = Result<Bytes, ConnectionError>> + Send>>,
    streams: Vec<Incoming>,
    document: Option<DocumentIn>,
    lost: Option<LostReason>,
    scratch: Vec<u8>,
}

/// A document's stream behind its head, and what has come of it and was not handed out.
struct DocumentIn {
    stream: RecvStream,
    begin: Bytes,
}

/// A stream of the host that is not yet whole.
struct Incoming {
    stream: RecvStream,
    bytes: BytesMut,
}

impl ViewerConnection {
    async fn new(endpoint: Endpoint, connection: Connection) -> Result<ViewerConnection, ConnectionError> {
        let (control, control_in) = connection.open_bi().await?;
        let input = connection.open_uni().await?;
        // Fresh streams are not closed, so the priorities are taken.
        let _ = (control.set_priority(PRIORITY_CONTROL), input.set_priority(PRIORITY_INPUT));
        Ok(ViewerConnection {
            accept: accept(&connection),
            datagram: datagram(&connection),
            endpoint,
            connection,
            control: Outbox::new(control, limits::VIEWER_OUTBOX),
            input: Outbox::new(input, limits::VIEWER_OUTBOX),
            input_begun: false,
            handed: 0,
            control_in,
            control_cut: Splitter::new(limits::MESSAGE_BYTES_MAX),
            streams: Vec::new(),
            document: None,
            lost: None,
            scratch: Vec::new(),
        })
    }

    /// Waits for the next thing from the host, and meanwhile sends what QUIC did not take at once.
    ///
    /// Safe to cancel. After [`Received::Closed`] it says the same again.
    pub async fn recv(&mut self) -> Received {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// [`SendError`]; never waits.
    pub fn send_control(&mut self, message: &ViewerMessage) -> Result<(), SendError> {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        self.control.send(&self.scratch)?;
        self.handed += 1;
        Ok(())
    }

    /// Sends input events together.
    ///
    /// # Errors
    /// [`SendError`]; never waits. All are sent or none.
    pub fn send_input(&mut self, messages: &[InputMessage]) -> Result<(), SendError> {
        self.scratch.clear();
        if !self.input_begun {
            self.scratch.push(STREAM_INPUT);
        }
        for message in messages {
            message.encode(&mut self.scratch);
        }
        self.input.send(&self.scratch)?;
        self.input_begun = true;
        self.handed += 1;
        Ok(())
    }

    /// Sends a datagram; while the path has no room, the oldest waiting one gives way.
    pub fn send_datagram(&mut self, datagram: Bytes) {
        if let Err(error) = self.connection.send_datagram(datagram) {
            tracing::trace!(%error, "Datagram not sent");
        }
    }

    /// Goes on from a new UDP socket, for instance after the machine changed networks. The host follows.
    ///
    /// # Errors
    /// What the system says; the old socket then stays.
    pub fn rebind(&self) -> io::Result<()> {
        self.endpoint.rebind(udp_socket(any_address(self.connection.remote_address()))?)
    }

    /// Ends the connection. What was sent just before may not arrive.
    pub fn close(&mut self, code: CloseCode) {
        self.connection.close(var_int(code), &[]);
        self.lost.get_or_insert(LostReason::Here);
    }

    /// Lets the document's stream go: nobody wants the rest.
    pub fn refuse_document(&mut self) {
        self.document = None;
    }

    /// Waits until the host has heard of the close, or has had the time to.
    pub async fn drained(&self) {
        self.endpoint.wait_idle().await;
    }

    /// Numbers about the path, as they are now.
    pub fn stats(&self) -> PathStats {
        let stats = self.connection.stats();
        PathStats {
            rtt: stats.path.rtt,
            bytes_received: stats.udp_rx.bytes,
            bytes_sent: stats.udp_tx.bytes,
            packets_received: stats.udp_rx.datagrams,
            // Each search for a larger MTU holds a PING that may well be lost without meaning anything.
            asked: self.handed
                + (stats.frame_tx.stream + stats.frame_tx.ping).saturating_sub(stats.path.sent_plpmtud_probes),
            packets_lost: stats.path.lost_packets,
            mtu: stats.path.current_mtu,
        }
    }

    /// The host's address.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if let Some(reason) = &self.lost {
            return Poll::Ready(Received::Closed(reason.clone()));
        }
        // A stream that failed fails the reads below too, with the reason.
        let _ = self.input.poll_flush(cx).is_ready() && self.control.poll_flush(cx).is_ready();
        match self.poll_control(cx) {
            Poll::Ready(Ok(message)) => return Poll::Ready(Received::Control(message)),
            Poll::Ready(Err(reason)) => return self.lose(reason),
            Poll::Pending => {}
        }
        // Sound before pictures: it is small and waits for nobody.
        match self.datagram.as_mut().poll(cx) {
            Poll::Ready(Ok(received)) => {
                self.datagram = datagram(&self.connection);
                return Poll::Ready(Received::Datagram(received));
            }
            Poll::Ready(Err(error)) => return self.lose(LostReason::from(error)),
            Poll::Pending => {}
        }
        // Accepting first lets a stream that came whole be handed out in this very poll.
        loop {
            match self.accept.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    self.streams.push(Incoming { stream, bytes: BytesMut::new() });
                    self.accept = accept(&self.connection);
                }
                Poll::Ready(Err(error)) => return self.lose(LostReason::from(error)),
                Poll::Pending => break,
            }
        }
        let polled = self.poll_streams(cx);
        let unfinished = self.streams.iter().map(|stream| stream.bytes.len()).sum();
        if unfinished > limits::HOST_UNFINISHED_BYTES_MAX {
            return self.lose(LostReason::Unfinished { bytes: unfinished });
        }
        match polled {
            Poll::Ready(Ok(received)) => return Poll::Ready(received),
            Poll::Ready(Err(reason)) => return self.lose(reason),
            Poll::Pending => {}
        }
        // Documents last: they can wait for every picture.
        if let Some(document) = &mut self.document {
            match document.poll_bytes(cx) {
                Poll::Ready(Ok(Some(bytes))) => return Poll::Ready(Received::DocumentBytes(bytes)),
                Poll::Ready(Ok(None)) => self.document = None,
                Poll::Ready(Err(reason)) => return self.lose(reason),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Reads what has come of all streams, until one is whole.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, LostReason>> {
        let mut index = 0;
        while index < self.streams.len() {
            match self.streams[index].poll_whole(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(Some(received))) => {
                    let Incoming { stream, bytes } = self.streams.remove(index);
                    if let Received::Document { .. } = received {
                        self.document = Some(DocumentIn { stream, begin: bytes.freeze() });
                    }
                    return Poll::Ready(Ok(received));
                }
                Poll::Ready(Ok(None)) => drop(self.streams.remove(index)),
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
            }
        }
        Poll::Pending
    }

    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, LostReason>> {
        loop {
            match self.control_cut.poll_message() {
                Ok(Some(message)) => return Poll::Ready(Ok(message)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(LostReason::Protocol(error))),
            }
            match pin!(self.control_in.read_chunk(limits::MESSAGE_BYTES_MAX, true)).poll(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.control_cut.handle_bytes(&chunk.bytes),
                Poll::Ready(Err(ReadError::ConnectionLost(error))) => return Poll::Ready(Err(error.into())),
                // A control stream that ends while the connection lives is a broken host.
                Poll::Ready(_) => return Poll::Ready(Err(LostReason::Stream { kind: None, bytes: 0 })),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn lose(&mut self, reason: LostReason) -> Poll<Received> {
        debug!(%reason, "Connection lost");
        if matches!(reason, LostReason::Protocol(_) | LostReason::Stream { .. } | LostReason::Unfinished { .. }) {
            self.connection.close(var_int(CloseCode::Protocol), &[]);
        }
        self.streams.clear();
        self.document = None;
        self.lost = Some(reason.clone());
        Poll::Ready(Received::Closed(reason))
    }
}

impl fmt::Debug for ViewerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewerConnection")
            .field("remote", &self.connection.remote_address())
            .field("streams", &self.streams.len())
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl Drop for ViewerConnection {
    fn drop(&mut self) {
        // Without this QUIC would say code 0 as well, but only once the last handle is gone.
        self.connection.close(var_int(CloseCode::Bye), &[]);
    }
}

impl DocumentIn {
    /// Ready with further bytes, or with nothing when the stream is over or given up.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LostReason>> {
        if !self.begin.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.begin))));
        }
        match ready!(pin!(self.stream.read_chunk(limits::DOCUMENT_CHUNK as usize, true)).poll(cx)) {
            Ok(chunk) => Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes))),
            Err(ReadError::ConnectionLost(error)) => Poll::Ready(Err(error.into())),
            Err(_) => Poll::Ready(Ok(None)),
        }
    }
}

impl Incoming {
    /// Ready with the whole content, with a document's beginning, or with nothing if the host gave the stream up.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>, LostReason>> {
        loop {
            match ready!(self.poll_chunk(cx)) {
                Ok(Some(chunk)) => {
                    self.bytes.extend_from_slice(&chunk.bytes);
                    if self.bytes.first() == Some(&STREAM_DOCUMENT) {
                        match document_head(&self.bytes[1..]) {
                            Ok(Some((job, offset, length))) => {
                                self.bytes.advance(1 + length);
                                return Poll::Ready(Ok(Some(Received::Document { job, offset })));
                            }
                            Ok(None) => {}
                            Err(error) => return Poll::Ready(Err(LostReason::Protocol(error))),
                        }
                    }
                    if self.bytes.len() > FRAME_BYTES_MAX + 1 {
                        return Poll::Ready(Err(self.violation()));
                    }
                }
                Ok(None) => break,
                Err(ReadError::Reset(_)) => return Poll::Ready(Ok(None)),
                Err(ReadError::ConnectionLost(error)) => return Poll::Ready(Err(error.into())),
                Err(_) => return Poll::Ready(Err(self.violation())),
            }
        }
        let received = match self.bytes.first() {
            Some(&STREAM_FRAME) => Received::Frame as fn(Bytes) -> Received,
            Some(&STREAM_CURSOR) => Received::Cursor,
            _ => return Poll::Ready(Err(self.violation())),
        };
        let mut content = std::mem::take(&mut self.bytes).freeze();
        content.advance(1);
        Poll::Ready(Ok(Some(received(content))))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        pin!(self.stream.read_chunk(FRAME_BYTES_MAX, true)).poll(cx)
    }

    fn violation(&self) -> LostReason {
        LostReason::Stream { kind: self.bytes.first().copied(), bytes: self.bytes.len() }
    }
}

impl From<ConnectionError> for LostReason {
    fn from(error: ConnectionError) -> LostReason {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = close.error_code.into_inner();
                match CloseCode::from_number(code) {
                    Some(CloseCode::UnknownDevice) => LostReason::DeviceRefused,
                    Some(code) => LostReason::Closed(code),
                    None => LostReason::ClosedUnknown(code),
                }
            }
            ConnectionError::ConnectionClosed(close) => match alert(u64::from(close.error_code)) {
                Some(alert) if REFUSAL_ALERTS.contains(&alert) => LostReason::DeviceRefused,
                Some(_) => LostReason::Incompatible(close.to_string()),
                None => LostReason::Transport(close.to_string()),
            },
            ConnectionError::Reset => LostReason::HostRestarted,
            ConnectionError::TimedOut => LostReason::TimedOut,
            ConnectionError::LocallyClosed => LostReason::Here,
            error @ (ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::CidsExhausted) => LostReason::Transport(error.to_string()),
        }
    }
}

fn accept(connection: &Connection) -> Pin<Box<dyn Future<Output = Result<RecvStream, ConnectionError>> + Send>> {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_uni().await })
}

fn datagram(connection: &Connection) -> Pin<Box<dyn Future<Output = Result<Bytes, ConnectionError>> + Send>> {
    let connection = connection.clone();
    Box::pin(async move { connection.read_datagram().await })
}

async fn resolve(name: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let failed = |source| ConnectError::Resolve { address: name.to_owned(), source };
    let found: Vec<SocketAddr> = timeout(limits::HANDSHAKE_TIMEOUT, tokio::net::lookup_host(name))
        .await
        .map_err(|late| failed(late.into()))?
        .map_err(failed)?
        .take(limits::ADDRESSES_MAX)
        .collect();
    if found.is_empty() { Err(failed(io::ErrorKind::NotFound.into())) } else { Ok(found) }
}

async fn attempt(
    config: quinn::ClientConfig,
    address: SocketAddr,
    host_name: String,
) -> Result<ViewerConnection, ConnectError> {
    let socket = |source| ConnectError::Socket { address, source };
    // QUIC takes a packet that cannot be sent for one that was lost. A socket of its own is told that there is no way.
    UdpSocket::bind(any_address(address)).and_then(|probe| probe.connect(address)).map_err(socket)?;
    let endpoint = viewer_endpoint(address).map_err(socket)?;
    let connecting =
        endpoint.connect_with(config, address, &host_name).map_err(|error| socket(io::Error::other(error)))?;
    let connection = match timeout(limits::HANDSHAKE_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| connect_error(address, error))?,
        Err(_) => return Err(ConnectError::Unreachable { address }),
    };
    info!(%address, rtt_us = connection.rtt().as_micros() as u64, "Connected");
    ViewerConnection::new(endpoint, connection).await.map_err(|error| connect_error(address, error))
}

/// What an error of the handshake says. Once there is a connection: [`LostReason::from`].
fn connect_error(address: SocketAddr, error: ConnectionError) -> ConnectError {
    let (code, detail) = match &error {
        ConnectionError::TransportError(own) => (u64::from(own.code), error.to_string()),
        ConnectionError::ConnectionClosed(theirs) => (u64::from(theirs.error_code), theirs.to_string()),
        ConnectionError::VersionMismatch => {
            return ConnectError::Incompatible { address, detail: error.to_string() };
        }
        ConnectionError::TimedOut => return ConnectError::Unreachable { address },
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => {
            return ConnectError::Lost { address, reason: LostReason::from(error) };
        }
    };
    let is_refusal = alert(code).is_some_and(|alert| REFUSAL_ALERTS.contains(&alert));
    let is_ours = matches!(error, ConnectionError::TransportError(_));
    match code {
        // Our own check of the host said no.
        _ if is_refusal && is_ours => ConnectError::HostCertificate { address, detail },
        CONNECTION_REFUSED => ConnectError::Lost { address, reason: LostReason::Closed(CloseCode::Full) },
        _ if is_refusal || PASSING_ERRORS.contains(&code) => {
            ConnectError::Lost { address, reason: LostReason::from(error) }
        }
        _ => ConnectError::Incompatible { address, detail },
    }
}

/// The TLS alert in a QUIC error code, if it is one.
fn alert(code: u64) -> Option<u64> {
    code.checked_sub(CRYPTO_ERRORS).filter(|alert| *alert <= 0xff)
}

/// Of two errors the one that tells a user more.
fn more_telling(known: Option<ConnectError>, new: ConnectError) -> ConnectError {
    let weight = |error: &ConnectError| match error {
        ConnectError::Resolve { .. } => 0,
        ConnectError::Socket { .. } => 1,
        ConnectError::Unreachable { .. } => 2,
        ConnectError::Incompatible { .. } => 3,
        ConnectError::Lost { .. } => 4,
        ConnectError::HostCertificate { .. } => 5,
    };
    match known {
        Some(known) if weight(&known) >= weight(&new) => known,
        _ => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn::{ApplicationClose, ConnectionClose, TransportErrorCode, VarInt};

    /// All of RFC 9000's, section 20.1, but those of TLS.
    const QUIC_ERRORS: [TransportErrorCode; 17] = [
        TransportErrorCode::NO_ERROR,
        TransportErrorCode::INTERNAL_ERROR,
        TransportErrorCode::CONNECTION_REFUSED,
        TransportErrorCode::FLOW_CONTROL_ERROR,
        TransportErrorCode::STREAM_LIMIT_ERROR,
        TransportErrorCode::STREAM_STATE_ERROR,
        TransportErrorCode::FINAL_SIZE_ERROR,
        TransportErrorCode::FRAME_ENCODING_ERROR,
        TransportErrorCode::TRANSPORT_PARAMETER_ERROR,
        TransportErrorCode::CONNECTION_ID_LIMIT_ERROR,
        TransportErrorCode::PROTOCOL_VIOLATION,
        TransportErrorCode::INVALID_TOKEN,
        TransportErrorCode::APPLICATION_ERROR,
        TransportErrorCode::CRYPTO_BUFFER_EXCEEDED,
        TransportErrorCode::KEY_UPDATE_ERROR,
        TransportErrorCode::AEAD_LIMIT_REACHED,
        TransportErrorCode::NO_VIABLE_PATH,
    ];

    fn closed_by_host(code: TransportErrorCode) -> ConnectionError {
        let close = ConnectionClose { error_code: code, frame_type: None, reason: Bytes::new() };
        ConnectionError::ConnectionClosed(close)
    }

    /// The word for an error in the handshake, and for the same error later.
    fn words(error: ConnectionError) -> (&'static str, &'static str) {
        let of_reason = |reason: &LostReason| match reason {
            LostReason::Closed(CloseCode::Full) => "full",
            LostReason::Closed(_) => "closed",
            LostReason::ClosedUnknown(_) => "unknown code",
            LostReason::DeviceRefused => "refused",
            LostReason::Incompatible(_) => "incompatible",
            LostReason::HostRestarted => "restarted",
            LostReason::TimedOut => "silent",
            LostReason::Transport(_) => "broke",
            other => panic!("{other:?} is not QUIC's word"),
        };
        let early = match connect_error(([127, 0, 0, 1], 7474).into(), error.clone()) {
            ConnectError::Unreachable { .. } => "silent",
            ConnectError::HostCertificate { .. } => "another host",
            ConnectError::Incompatible { .. } => "incompatible",
            ConnectError::Lost { reason, .. } => of_reason(&reason),
            other => panic!("{other:?} is not QUIC's word"),
        };
        (early, of_reason(&LostReason::from(error)))
    }

    #[test]
    fn each_end_that_quic_knows_has_its_word() {
        for alert in 0..=255 {
            let expected = match u64::from(alert) {
                42..=46 | 48 | 49 | 51 | 116 => ("refused", "refused"),
                _ => ("incompatible", "incompatible"),
            };
            assert_eq!(words(closed_by_host(TransportErrorCode::crypto(alert))), expected, "alert {alert}");
            let expected = if expected.0 == "refused" { "another host" } else { "incompatible" };
            let own = ConnectionError::TransportError(TransportErrorCode::crypto(alert).into());
            assert_eq!(words(own).0, expected, "own alert {alert}");
        }
        for (number, code) in QUIC_ERRORS.into_iter().enumerate() {
            assert_eq!(u64::from(code), number as u64, "each one is here");
            let expected = match number {
                0x2 => "full",
                0x0 | 0x1 | 0xb | 0xc => "broke",
                _ => "incompatible",
            };
            assert_eq!(words(closed_by_host(code)), (expected, "broke"), "{code:?}");
        }
        for code in CloseCode::ALL {
            let close = ApplicationClose { error_code: VarInt::from_u32(code as u32), reason: Bytes::new() };
            let expected = match code {
                CloseCode::UnknownDevice => "refused",
                CloseCode::Full => "full",
                _ => "closed",
            };
            assert_eq!(words(ConnectionError::ApplicationClosed(close)), (expected, expected), "{code:?}");
        }
        let unknown = VarInt::from_u32(CloseCode::ALL.len() as u32);
        let close = ApplicationClose { error_code: unknown, reason: Bytes::new() };
        assert_eq!(words(ConnectionError::ApplicationClosed(close)), ("unknown code", "unknown code"));
        assert_eq!(words(ConnectionError::TimedOut), ("silent", "silent"));
        assert_eq!(words(ConnectionError::Reset), ("restarted", "restarted"));
        assert_eq!(words(ConnectionError::VersionMismatch).0, "incompatible");
    }
}
