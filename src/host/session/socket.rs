//! The session's Unix socket: the front, and short visits of `kachel-host status` and `stop`.
//!
//! Bytes in, [`Relay`] messages out, and back; nothing blocks. Who may connect: only processes of the same user.

use crate::limits::SESSION_BACKLOG;
use crate::proto::wire::{Relay, WireError};
use bytes::{Buf, BytesMut};
use rustix::net::sockopt::socket_peercred;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use thiserror::Error;

/// Bytes read at a time: a burst of input is far smaller.
const READ_BYTES: usize = 16 << 10;

/// Why a peer is dropped.
#[derive(Debug, Error)]
pub enum PeerError {
    /// It hung up, or its socket failed.
    #[error("the peer is gone")]
    Gone(#[from] io::Error),
    /// It does not read.
    #[error("the peer is {bytes} bytes behind")]
    Behind {
        /// What would have to be kept for it.
        bytes: usize,
    },
    /// It does not speak the relay's language.
    #[error("the peer sent a malformed message")]
    Wire(#[from] WireError),
}

/// A listening socket that strangers cannot use.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
}

/// One connected process.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    input: BytesMut,
    output: BytesMut,
}

impl Listener {
    /// Listens at a path; a socket that a dead process left there is replaced.
    ///
    /// # Errors
    /// Whatever binding reports; `AddrInUse` if somebody answers there.
    pub fn bind(path: &Path) -> io::Result<Listener> {
        if UnixStream::connect(path).is_ok() {
            return Err(ErrorKind::AddrInUse.into());
        }
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Listener { listener })
    }

    /// The next process that has connected, if it belongs to the same user.
    ///
    /// # Errors
    /// Whatever accepting reports.
    pub fn accept(&self) -> io::Result<Option<Peer>> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            let uid = socket_peercred(&stream)?.uid;
            if uid != rustix::process::geteuid() {
                tracing::warn!(uid = uid.as_raw(), "A stranger was refused at the session's socket");
                continue;
            }
            stream.set_nonblocking(true)?;
            return Ok(Some(Peer { stream, input: BytesMut::new(), output: BytesMut::new() }));
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Peer {
    /// Reads what has come.
    ///
    /// # Errors
    /// [`PeerError::Gone`] when the peer hung up.
    pub fn receive(&mut self) -> Result<(), PeerError> {
        let mut chunk = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            // Messages are taken out in between, so that nobody can make this grow.
            if self.input.len() >= READ_BYTES {
                return Ok(());
            }
        }
    }

    /// The next whole message.
    ///
    /// # Errors
    /// [`PeerError::Wire`] if it is malformed.
    pub fn poll_message(&mut self) -> Result<Option<Relay>, PeerError> {
        Ok(Relay::decode(&mut self.input)?)
    }

    /// Sends a message, as much of it as the socket takes now; the rest follows with [`Peer::flush`].
    ///
    /// # Errors
    /// [`PeerError::Gone`] when the peer hung up; [`PeerError::Behind`] when more than [`SESSION_BACKLOG`] would have to be
    /// kept for it. Nothing is kept then, and reading says that it is gone.
    pub fn send(&mut self, message: &Relay) -> Result<(), PeerError> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let behind = self.output.len() + bytes.len();
        if behind > SESSION_BACKLOG {
            self.output = BytesMut::new();
            // A socket that is closed already is what is wanted.
            let _ = self.stream.shutdown(Shutdown::Both);
            return Err(PeerError::Behind { bytes: behind });
        }
        self.output.extend_from_slice(&bytes);
        self.flush()
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// [`PeerError::Gone`] when the peer hung up.
    pub fn flush(&mut self) -> Result<(), PeerError> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => self.output.advance(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Bytes that the socket has not taken yet.
    pub fn backlog(&self) -> usize {
        self.output.len()
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_that_does_not_read_is_gone_before_it_costs_much() {
        let (stream, _silent) = UnixStream::pair().expect("a pair of sockets");
        stream.set_nonblocking(true).expect("a socket");
        let mut peer = Peer { stream, input: BytesMut::new(), output: BytesMut::new() };
        let message = Relay::Cursor(vec![0; 256 << 10].into());
        let mut kept = Vec::new();
        let error = loop {
            match peer.send(&message) {
                Ok(()) => kept.push(peer.backlog()),
                Err(error) => break error,
            }
            assert!(kept.len() < 100, "{:?} bytes are kept", kept.last());
        };
        assert!(matches!(error, PeerError::Behind { bytes } if bytes > SESSION_BACKLOG), "{error}");
        assert!(kept.last().is_some_and(|bytes| *bytes > SESSION_BACKLOG / 2), "a frame has room");
        assert_eq!(peer.backlog(), 0);
        assert!(matches!(peer.receive(), Err(PeerError::Gone(_))), "reading tells that it is gone");
    }
}
