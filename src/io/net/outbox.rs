//! Bytes on their way into a stream: written at once as far as QUIC takes them, the rest kept within a bound.
//!
//! So a caller is never blocked by a peer that does not read. Who polls the rest out: the owner's receive loop.

use bytes::{Buf, BytesMut};
use quinn::{SendStream, WriteError};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use thiserror::Error;

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The peer has not taken anything for so long that the bound is reached; the message is not sent.
    #[error("the peer does not read: {waiting_bytes} bytes are waiting")]
    Stalled {
        /// How much waits.
        waiting_bytes: usize,
    },
    /// The connection or the stream is gone; the receiving side says why.
    #[error("the connection is closed")]
    Closed,
}

/// A stream and what it has not yet taken.
#[derive(Debug)]
pub struct Outbox {
    stream: SendStream,
    waiting: BytesMut,
    bytes_max: usize,
}

impl Outbox {
    /// Sends into `stream` and keeps at most `bytes_max` bytes that it does not take.
    pub fn new(stream: SendStream, bytes_max: usize) -> Outbox {
        Outbox { stream, waiting: BytesMut::new(), bytes_max }
    }

    /// Sends as much as QUIC takes now and keeps the rest, which the owner polls out.
    ///
    /// # Errors
    /// [`SendError`]; then nothing of `bytes` is sent.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let waiting_bytes = self.waiting.len();
        if waiting_bytes + bytes.len() > self.bytes_max {
            return Err(SendError::Stalled { waiting_bytes });
        }
        self.waiting.extend_from_slice(bytes);
        // Nobody is woken for this attempt: the owner polls again before it waits.
        match self.poll_flush(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => Err(SendError::Closed),
            _ => Ok(()),
        }
    }

    /// Sends what waits; ready when nothing is left.
    ///
    /// # Errors
    /// quinn's, when the stream or connection is gone.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        while !self.waiting.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.waiting) {
                Poll::Ready(Ok(count)) => self.waiting.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
