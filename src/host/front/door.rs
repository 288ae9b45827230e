//! The door: judges each connection, from its first packet to a plausible hello, and hands on those that may come in.
//!
//! Until then nothing of the peer is looked at but QUIC, TLS and one short message. Every refusal is one line in the
//! log with its reason; the peer learns as little as possible.

use crate::io::net::devices::Device;
use crate::io::net::server_config;
use crate::io::net::tls::{Gate, Verdict};
use crate::limits::{self, HANDSHAKES_MAX, HELLO_BYTES_MAX, HELLO_TIMEOUT, MESSAGE_BYTES_MAX, VIEWERS_MAX};
use crate::proto::wire::{CloseCode, Splitter, WireError};
use bytes::Bytes;
use quinn::{Connection, ConnectionError, Incoming, ReadError, RecvStream, SendStream, TransportConfig, VarInt};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, info, warn};

/// Above so many handshakes at once, an address must be proven before anything is computed for it.
const HANDSHAKES_TRUSTED: usize = HANDSHAKES_MAX / 4;

/// A viewer that may come in, with what it has said.
pub(super) struct Guest {
    pub(super) connection: Connection,
    pub(super) device: Device,
    pub(super) control_out: SendStream,
    pub(super) control_in: RecvStream,
    /// Holds what came after the hello.
    pub(super) control_cut: Splitter,
    /// The hello, without its length.
    pub(super) hello: Bytes,
    /// Its place among [`VIEWERS_MAX`].
    pub(super) admission: OwnedSemaphorePermit,
}

impl Guest {
    pub(super) fn close(&self, code: CloseCode) {
        self.connection.close(VarInt::from_u32(code as u32), &[]);
    }
}

/// Why somebody stays outside.
#[derive(Debug, Error)]
enum Turned {
    #[error("QUIC or TLS failed")]
    Handshake(#[source] ConnectionError),
    #[error(transparent)]
    Device(crate::io::net::tls::Refusal),
    #[error("the handshake took too long")]
    Slow,
    #[error("no device was checked")]
    Unchecked,
    #[error("there are {VIEWERS_MAX} viewers already")]
    Full,
    #[error("no hello came in time")]
    Silent,
    #[error("the connection ended before a hello")]
    Gone(#[source] ConnectionError),
    #[error("the control stream ended before a hello")]
    Ended,
    #[error("the hello is no message")]
    Hello(#[from] WireError),
}

/// Judges connections.
pub(super) struct Door {
    gate: Gate,
    transport: Arc<TransportConfig>,
    handshakes: Arc<Semaphore>,
    viewers: Arc<Semaphore>,
    guests: mpsc::Sender<Guest>,
}

impl Door {
    pub(super) fn new(gate: Gate, transport: Arc<TransportConfig>, guests: mpsc::Sender<Guest>) -> Door {
        Door {
            gate,
            transport,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            guests,
        }
    }

    /// Takes a first packet; all further steps are in a task of their own.
    pub(super) fn handle_incoming(&mut self, incoming: Incoming) {
        let peer = incoming.remote_address();
        let pending = HANDSHAKES_MAX - self.handshakes.available_permits();
        if pending >= HANDSHAKES_TRUSTED && incoming.may_retry() {
            debug!(%peer, pending, "Address must be proven first");
            // Cannot fail: it may be retried.
            let _ = incoming.retry();
            return;
        }
        let Ok(handshake) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            debug!(%peer, pending, "Too many handshakes");
            incoming.refuse();
            return;
        };
        let (tls, verdict) = match self.gate.config() {
            Ok(config) => config,
            Err(error) => {
                warn!(%peer, %error, "Refused: TLS cannot be set up");
                incoming.refuse();
                return;
            }
        };
        let config = Arc::new(server_config(tls, Arc::clone(&self.transport)));
        let (viewers, guests) = (Arc::clone(&self.viewers), self.guests.clone());
        tokio::spawn(async move {
            match admit(incoming, config, verdict, viewers, handshake).await {
                Ok(guest) => {
                    info!(%peer, device = guest.device.id, name = guest.device.name, session = guest.device.session,
                        "Admitted");
                    // Fails only when the front stops, which closes the connection.
                    let _ = guests.send(guest).await;
                }
                Err(turned) => log(peer, &turned),
            }
        });
    }
}

async fn admit(
    incoming: Incoming,
    config: Arc<quinn::ServerConfig>,
    verdict: Verdict,
    viewers: Arc<Semaphore>,
    handshake: OwnedSemaphorePermit,
) -> Result<Guest, Turned> {
    let connecting = incoming.accept_with(config).map_err(Turned::Handshake)?;
    let connected = timeout(limits::HANDSHAKE_TIMEOUT, connecting).await.map_err(|_| Turned::Slow)?;
    // The verdict says more than TLS' words about it. Each connection has one of its own.
    let verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (connection, device) = match (connected, verdict) {
        (_, Some(Err(refusal))) => return Err(Turned::Device(refusal)),
        (Err(error), _) => return Err(Turned::Handshake(error)),
        (Ok(connection), Some(Ok(device))) => (connection, device),
        (Ok(_), None) => return Err(Turned::Unchecked),
    };
    drop(handshake);
    let turn = |code: CloseCode, turned: Turned| {
        connection.close(VarInt::from_u32(code as u32), &[]);
        turned
    };
    let admission = viewers.try_acquire_owned().map_err(|_| turn(CloseCode::Full, Turned::Full))?;
    match timeout(HELLO_TIMEOUT, hear_hello(&connection)).await {
        Ok(Ok((control_out, control_in, control_cut, hello))) => {
            Ok(Guest { connection: connection.clone(), device, control_out, control_in, control_cut, hello, admission })
        }
        Ok(Err(turned)) => Err(turn(CloseCode::Protocol, turned)),
        Err(_) => Err(turn(CloseCode::Timeout, Turned::Silent)),
    }
}

/// Reads one short message from the first two-way stream; what it says is the session's business.
async fn hear_hello(connection: &Connection) -> Result<(SendStream, RecvStream, Splitter, Bytes), Turned> {
    let (out, mut stream) = connection.accept_bi().await.map_err(Turned::Gone)?;
    let mut cut = Splitter::new(HELLO_BYTES_MAX);
    loop {
        if let Some(hello) = cut.poll_message()? {
            cut.set_limit(MESSAGE_BYTES_MAX);
            return Ok((out, stream, cut, hello));
        }
        match stream.read_chunk(HELLO_BYTES_MAX, true).await {
            Ok(Some(chunk)) => cut.handle_bytes(&chunk.bytes),
            Err(ReadError::ConnectionLost(error)) => return Err(Turned::Gone(error)),
            Ok(None) | Err(_) => return Err(Turned::Ended),
        }
    }
}

fn log(peer: SocketAddr, turned: &Turned) {
    let mut reason = turned.to_string();
    let mut cause = std::error::Error::source(turned);
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    info!(%peer, reason, "Refused");
}
