//! The front's side of a session process: finds it, starts it, reads and writes its socket.
//!
//! A session process outlives the front. Restarting one that died is decided in `desktop`.

use crate::host::place::SessionPlace;
use crate::host::policy::Policy;
use crate::io::net::files::private_dir;
use crate::limits::RELAY_BACKLOG;
use crate::proto::wire::{Relay, WireError};
use bytes::{Buf, BytesMut};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

/// A session process that listens later than this is not coming.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// First and longest pause between looks for its socket, while it starts.
const LOOK: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];
/// A session process that closed its socket gets this long to end before it is asked again.
const PARTING: Duration = Duration::from_secs(1);
/// A log that has grown to this is put aside when a session process starts.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// Read at once from a session: what a Unix socket holds by default.
const READ_BYTES: usize = 256 << 10;

/// Why a session process cannot be reached.
#[derive(Debug, Error)]
pub enum ReachError {
    /// Its socket cannot be connected to.
    #[error("{path}")]
    Socket {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Its socket belongs to somebody else.
    #[error("{path} is held by user {uid}")]
    Stranger {
        /// Which.
        path: PathBuf,
        /// Whose process answered.
        uid: u32,
    },
    /// It cannot be started.
    #[error("the session process cannot be started")]
    Start(#[source] io::Error),
    /// It ended before it listened.
    #[error("the session process ended at once: {0}")]
    Ended(ExitStatus),
    /// It ended in good order: its desktop is over.
    #[error("the desktop ended")]
    Over,
    /// It runs but does not listen.
    #[error("the session process does not listen")]
    Silent,
}

/// Connects to a session process' socket and checks that it runs as this very user.
///
/// # Errors
/// [`ReachError::Socket`] or [`ReachError::Stranger`].
pub async fn connect_session(place: &SessionPlace) -> Result<UnixStream, ReachError> {
    connect(&place.socket()).await
}

/// Connects to a socket of a process that runs as this very user.
///
/// # Errors
/// [`ReachError::Socket`] or [`ReachError::Stranger`].
pub async fn connect(path: &Path) -> Result<UnixStream, ReachError> {
    let failed = |source| ReachError::Socket { path: path.to_owned(), source };
    let stream = UnixStream::connect(path).await.map_err(failed)?;
    let uid = stream.peer_cred().map_err(failed)?.uid();
    if uid != rustix::process::getuid().as_raw() {
        return Err(ReachError::Stranger { path: path.to_owned(), uid });
    }
    Ok(stream)
}

/// Finds the running session process, or starts one; `child` is one started before that has closed its socket.
pub(super) async fn reach(
    place: SessionPlace,
    name: String,
    attach: Option<String>,
    policy: Policy,
    child: Option<Child>,
) -> Result<Link, ReachError> {
    // How it ended says whether it is to come back.
    let child = match child {
        Some(mut child) => match timeout(PARTING, child.wait()).await {
            Ok(Ok(status)) if status.success() => return Err(ReachError::Over),
            Ok(_) => None,
            Err(_) => Some(child),
        },
        None => None,
    };
    match connect_session(&place).await {
        Ok(stream) => return Ok(Link::new(stream, child)),
        Err(error @ ReachError::Stranger { .. }) => return Err(error),
        Err(_) => {}
    }
    let mut child = match child {
        Some(child) => child,
        None => start(&place, &name, attach.as_deref(), policy).map_err(ReachError::Start)?,
    };
    let end = Instant::now() + START_TIMEOUT;
    let mut pause = LOOK[0];
    loop {
        tokio::select! {
            ended = child.wait() => return Err(ended.map_or_else(ReachError::Start, ReachError::Ended)),
            () = sleep(pause) => {}
        }
        match connect_session(&place).await {
            Ok(stream) => return Ok(Link::new(stream, Some(child))),
            Err(error @ ReachError::Stranger { .. }) => return Err(error),
            Err(_) if Instant::now() > end => return Err(ReachError::Silent),
            Err(_) => pause = (2 * pause).min(LOOK[1]),
        }
    }
}

fn start(place: &SessionPlace, name: &str, attach: Option<&str>, policy: Policy) -> io::Result<Child> {
    private_dir(place.dir())?;
    if fs::metadata(place.log()).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::rename(place.log(), place.log().with_extension("log.old"))?;
    }
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(place.log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("session").arg("--place").arg(place.dir()).arg("--name").arg(name);
    if let Some(display) = attach {
        command.arg("--attach").arg(display);
    }
    if policy.printing {
        // The desktop's programs inherit it, and so find the session's printers instead of the machine's.
        command.env("CUPS_SERVER", place.print_server());
    }
    command.args(policy.denied().flat_map(|word| ["--deny", word]));
    // A process group of its own: what ends the front from a terminal does not reach it.
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(false);
    let child = command.spawn()?;
    info!(session = name, process = child.id(), "Session process started");
    Ok(child)
}

/// What a session process did.
#[derive(Debug)]
pub(super) enum LinkEvent {
    Message(Relay),
    Gone(LinkError),
}

/// Why the socket to a session process is of no more use.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    #[error("it closed its socket")]
    Closed,
    #[error("its socket broke")]
    Broken(#[source] io::Error),
    #[error("it does not speak our language")]
    Wire(#[from] WireError),
}

/// The socket to a running session process.
pub(super) struct Link {
    stream: UnixStream,
    inbox: BytesMut,
    outbox: BytesMut,
    scratch: Vec<u8>,
    child: Option<Child>,
    pub(super) since: Instant,
}

impl Link {
    pub(super) fn new(stream: UnixStream, child: Option<Child>) -> Link {
        let (inbox, outbox) = (BytesMut::new(), BytesMut::new());
        Link { stream, inbox, outbox, scratch: Vec::new(), child, since: Instant::now() }
    }

    /// Queues a message; the next poll writes it.
    pub(super) fn send(&mut self, message: &Relay) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        self.outbox.extend_from_slice(&self.scratch);
    }

    /// Whether the viewer may be heard: the session takes what it is sent.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() < RELAY_BACKLOG
    }

    /// Bytes that the process has not taken yet.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.len()
    }

    /// The process behind it, if it is our child, for when the link is gone.
    pub(super) fn into_child(self) -> Option<Child> {
        self.child
    }

    /// Ready with the next message; writes meanwhile. Reads nothing more while `hear` is false.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, hear: bool) -> Poll<LinkEvent> {
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(LinkEvent::Gone(LinkError::Broken(error)));
        }
        if !hear {
            return Poll::Pending;
        }
        loop {
            match Relay::decode(&mut self.inbox) {
                Ok(Some(message)) => return Poll::Ready(LinkEvent::Message(message)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(LinkEvent::Gone(error.into())),
            }
            match self.stream.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(LinkEvent::Gone(LinkError::Broken(error))),
                Poll::Pending => return Poll::Pending,
            }
            self.inbox.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut self.inbox) {
                Ok(0) => return Poll::Ready(LinkEvent::Gone(LinkError::Closed)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(LinkEvent::Gone(LinkError::Broken(error))),
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            std::task::ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(&self.outbox) {
                Ok(count) => self.outbox.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}
