//! The front: the only process that faces the network. It lets devices in and passes bytes to and from their session.
//!
//! It never looks at pixels, and ending it ends no desktop. `door` judges connections, `desktop` joins one session with
//! its viewer, `viewer` and `process` are its two sides, `trials` writes the files that viewers come with.

mod desktop;
mod door;
mod process;
mod sound;
mod trials;
mod viewer;
mod watch;

pub use process::{ReachError, connect, connect_session};

use crate::host::place::Place;
use crate::host::policy::Policy;
use crate::io::net::devices::{DeviceList, ListError};
use crate::io::net::files::private_dir;
use crate::io::net::identity::{HostIdentity, IdentityError};
use crate::io::net::tls::{Gate, TlsError};
use crate::io::net::trial::TrialError;
use crate::io::net::{Side, host_endpoint, server_config, transport};
use crate::limits::{self, VIEWERS_MAX};
use crate::proto::wire::CloseCode;
use desktop::{Command, Desktop};
use door::{Door, Guest};
use quinn::{Endpoint, VarInt};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};
use watch::Watch;

/// Guests between door and desktop. All that may be there at once, so that nobody waits for a slot.
const GUESTS_WAITING: usize = VIEWERS_MAX;
/// Commands that a desktop has not yet looked at. A desktop always looks; full means that it has stopped.
const COMMANDS_WAITING: usize = 16;
/// Viewers get this long to hear that the host restarts.
const GOODBYE: Duration = Duration::from_millis(500);

/// What the front is to do.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Directories that get a trial file, one session each.
    pub trials: Vec<PathBuf>,
    /// An X display that the trials' sessions attach to instead of starting one.
    pub attach: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The state directory.
    pub state: PathBuf,
    /// What viewers may use.
    pub policy: Policy,
}

/// Why the front cannot serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A directory or file of the state cannot be used.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another front serves this state directory.
    #[error("another kachel-host serves {0}")]
    Busy(PathBuf),
    /// The host's keys or certificates.
    #[error("the host has no identity")]
    Identity(#[from] IdentityError),
    /// The list of devices.
    #[error("the device list cannot be used")]
    Devices(#[from] ListError),
    /// The TLS profile.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// A trial cannot be written.
    #[error("a trial cannot be written")]
    Trial(#[from] TrialError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system denies something that needs no file.
    #[error("the system denies what the front needs")]
    System(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT; sessions go on.
///
/// Prints one line on standard output when it is ready.
///
/// # Errors
/// [`ServeError`] for what prevents a start. Afterwards trouble with one device or session is logged.
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let place = Place::new(options.state.clone());
    let at = |path: PathBuf| move |source| ServeError::File { path, source };
    place.create().map_err(at(options.state.clone()))?;
    let _lock = lock(&place)?;

    let identity = HostIdentity::load_or_create(&place.identity(), SystemTime::now())?;
    let devices = Arc::new(DeviceList::new(place.devices()));
    devices.devices()?;
    let gate = Gate::new(identity.ca(), identity.leaf().clone(), identity.leaf_key(), Arc::clone(&devices))?;
    let transport = Arc::new(transport(Side::Host));
    let listen = |source| ServeError::Listen { address: options.listen, source };
    let endpoint =
        host_endpoint(options.listen, server_config(gate.config()?.0, Arc::clone(&transport)), identity.reset_key())
            .map_err(listen)?;
    let address = endpoint.local_addr().map_err(listen)?;

    let (guests_in, guests) = mpsc::channel(GUESTS_WAITING);
    let mut front = Front { place, devices, policy: options.policy, desktops: HashMap::new() };
    for dir in &options.trials {
        private_dir(dir).map_err(at(dir.clone()))?;
        let session = trials::write(&front.devices, &identity, dir, options.attach.as_deref(), address)?;
        front.desktop(&session, options.attach.as_deref());
    }
    let door = Door::new(gate, transport, guests_in);
    let watch = Watch::new(front.place.state()).map_err(ServeError::System)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::System)?;

    info!(%address, host = identity.host_id(), trials = options.trials.len(), "Serving");
    // Whoever waits for this line reads it; a closed standard output is no reason to stop.
    let _ = writeln!(io::stdout(), "kachel-host: ready on {address}").and_then(|()| io::stdout().flush());

    tokio::select! {
        () = front.run(&endpoint, door, guests, watch) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("Stopping; sessions go on");
    endpoint.close(VarInt::from_u32(CloseCode::Restarting as u32), &[]);
    let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
    Ok(())
}

/// All desktops that somebody asked for.
struct Front {
    place: Place,
    devices: Arc<DeviceList>,
    policy: Policy,
    desktops: HashMap<String, mpsc::Sender<Command>>,
}

impl Front {
    async fn run(&mut self, endpoint: &Endpoint, mut door: Door, mut guests: mpsc::Receiver<Guest>, mut watch: Watch) {
        loop {
            tokio::select! {
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => door.handle_incoming(incoming),
                    None => return,
                },
                Some(guest) = guests.recv() => self.handle_guest(guest),
                changed = watch.changed() => match changed {
                    Ok(()) => self.tell_all(),
                    Err(error) => {
                        // Without the watch a revoked viewer would stay; who cannot be watched must come in anew.
                        error!(%error, "The device list cannot be watched");
                        return;
                    }
                },
            }
        }
    }

    fn handle_guest(&mut self, guest: Guest) {
        let (session, attach) = (guest.device.session.clone(), guest.device.attach.clone());
        if crate::host::place::session_name(&session) != session {
            warn!(device = guest.device.id, session, "The device list names no usable session");
            guest.close(CloseCode::NoDesktop);
            return;
        }
        if let Err(lost) = self.desktop(&session, attach.as_deref()).try_send(Command::Attach(Box::new(guest))) {
            error!(session, "A desktop does not look at its commands");
            if let Command::Attach(guest) = lost.into_inner() {
                guest.close(CloseCode::NoDesktop);
            }
        }
    }

    /// Has every desktop look whether its viewer is still on the list.
    fn tell_all(&self) {
        for desktop in self.desktops.values() {
            // A full channel already holds something after which the desktop looks again.
            let _ = desktop.try_send(Command::Recheck);
        }
    }

    /// The desktop of this session, begun if there is none.
    fn desktop(&mut self, session: &str, attach: Option<&str>) -> &mpsc::Sender<Command> {
        let (place, devices, policy) = (&self.place, &self.devices, self.policy);
        self.desktops.entry(session.to_owned()).or_insert_with(|| {
            let (commands_in, commands) = mpsc::channel(COMMANDS_WAITING);
            let desktop = Desktop::new(session, place.session(session), attach, policy, Arc::clone(devices), commands);
            tokio::spawn(desktop.run());
            commands_in
        })
    }
}

fn lock(place: &Place) -> Result<File, ServeError> {
    let path = place.front_lock();
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|source| ServeError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::Busy(place.state().to_owned())),
        Err(TryLockError::Error(source)) => Err(ServeError::File { path, source }),
    }
}

/// Bytes that wait in the front for a session's process or viewer are bounded by these.
const _: () = assert!(limits::RELAY_QUEUE >= crate::codec::format::FRAME_BYTES_MAX);
