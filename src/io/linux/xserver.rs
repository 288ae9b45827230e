//! A headless X server that outlives whoever started it: Xorg with the dummy driver, else Xvfb.
//!
//! Only starts, finds and stops it; what is on its screen: `screen`, programs: `desktop`.

use std::{
    fs, io,
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    pipe::{PipeFlags, pipe_with},
};
use serde::{Deserialize, Serialize};
use x11rb::connection::Connection;

use super::{
    keyboard::{self, KeyboardError, KeyboardLayout},
    process::{ProcessId, find_program, spawn_detached, wait_readable},
    randr::{self, ResizeError},
    x11::{self, X11Error},
};
use crate::geom::Size;

/// Which program is the X server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum XserverKind {
    /// Xorg with its dummy driver: any size at any time.
    XorgDummy,
    /// Xvfb: any size up to 7680x4320.
    Xvfb,
}

/// A running X server, enough to find it again after our own death.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XserverInfo {
    /// Its name, for example `:5`.
    pub display: String,
    /// The cookie file (mode 0600) that lets programs in.
    pub xauthority: PathBuf,
    /// Its process.
    pub process: ProcessId,
    /// Which program it is.
    pub kind: XserverKind,
}

/// An X server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum XserverError {
    /// The program is not there.
    #[error("{program} is not installed (Debian package {package})")]
    Missing {
        /// The program.
        program: &'static str,
        /// What to install.
        package: &'static str,
    },
    /// It ended or said nothing in time; its log says why.
    #[error("{program} did not get ready, see {log}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// Its log.
        log: PathBuf,
    },
    /// A file of it could not be written, or it could not be started.
    #[error("the X server could not be set up in {dir}")]
    Setup {
        /// Where its files are.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It runs, but cannot be talked to.
    #[error("the new X server does not answer")]
    X11(#[from] X11Error),
    /// It runs, but did not take its first size.
    #[error("the new X server did not take its size")]
    Size(#[from] ResizeError),
    /// It runs, but did not take its keyboard.
    #[error("the new X server did not take its keyboard")]
    Keyboard(#[from] KeyboardError),
}

impl XserverInfo {
    /// Whether this very server still runs.
    pub fn alive(&self) -> bool {
        self.process.alive()
    }
}

/// Starts a server with its files (configuration, cookie, logs) in `dir`, which must exist and be private.
///
/// Without a `choice` Xorg is tried first and Xvfb if that does not get ready. The keyboard is `us` by rules evdev.
/// Takes about a second, at most half a minute.
///
/// # Errors
/// See [`XserverError`]; with no choice, the one of Xvfb.
pub fn start(dir: &Path, size: Size, choice: Option<XserverKind>) -> Result<XserverInfo, XserverError> {
    if let Some(kind) = choice {
        return start_kind(dir, size, kind);
    }
    start_kind(dir, size, XserverKind::XorgDummy).or_else(|error| {
        tracing::warn!(%error, "Xorg with the dummy driver is not to be had, taking Xvfb");
        start_kind(dir, size, XserverKind::Xvfb)
    })
}

/// Ends a server; its programs lose their display. Does nothing if it has ended.
pub fn stop(server: &XserverInfo) {
    server.process.stop(STOP_GRACE);
    let _ = fs::remove_file(&server.xauthority);
}

fn start_kind(dir: &Path, size: Size, kind: XserverKind) -> Result<XserverInfo, XserverError> {
    let setup = |source| XserverError::Setup { dir: dir.into(), source };
    let xauthority = dir.join("Xauthority");
    let cookie = x11::new_cookie().map_err(setup)?;
    x11::write_cookie_file(&xauthority, None, &cookie).map_err(setup)?;
    let mut command = match kind {
        XserverKind::XorgDummy => xorg_command(dir)?,
        XserverKind::Xvfb => xvfb_command()?,
    };
    // No backing stores: what comes out of one when a window is uncovered is reported to nobody (see `screen`).
    command.arg("-bs").arg("-auth").arg(&xauthority).args(["-noreset", "-nolisten", "tcp", "-s", "0"]);
    let log = dir.join("xserver.log");
    let (number, process) = launch(command, &log, setup)?;
    let Some(number) = number else {
        process.stop(STOP_GRACE);
        return Err(XserverError::NotReady { program: kind.program(), log });
    };
    let server = XserverInfo { display: format!(":{number}"), xauthority, process, kind };
    prepare(&server, number, &cookie, size, setup).inspect_err(|_| stop(&server))?;
    tracing::info!(display = server.display, pid = process.pid, ?kind, "X server started");
    Ok(server)
}

/// First size, keyboard rules, and a cookie file that names the display.
fn prepare(
    server: &XserverInfo,
    number: u16,
    cookie: &[u8; 16],
    size: Size,
    setup: impl Fn(io::Error) -> XserverError,
) -> Result<(), XserverError> {
    x11::write_cookie_file(&server.xauthority, Some(number), cookie).map_err(setup)?;
    let (conn, screen) = x11::connect(&server.display, Some(&server.xauthority))?;
    let root = conn.setup().roots[screen].root;
    randr::resize(&conn, root, size)?;
    // Xorg without a keyboard device starts with the rules `base`, whose keycodes are not those of evdev.
    keyboard::set_layout(&server.display, Some(&server.xauthority), &KeyboardLayout::named("us"))?;
    Ok(())
}

/// Starts it and waits for the display number, which it writes when it is ready.
#[allow(unsafe_code, reason = "one end of a pipe is to stay open in the new program only")]
fn launch(
    mut command: Command,
    log: &Path,
    setup: impl Fn(io::Error) -> XserverError,
) -> Result<(Option<u16>, ProcessId), XserverError> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| setup(e.into()))?;
    command.arg("-displayfd").arg(writer.as_raw_fd().to_string());
    // SAFETY: fcntl(2) is async-signal-safe; `writer` is moved into the closure and thus open when it runs.
    unsafe {
        command.pre_exec(move || Ok(fcntl_setfd(&writer, FdFlags::empty())?));
    }
    let process = spawn_detached(&mut command, log).map_err(&setup)?;
    // Our own copy of the writing end goes with the command, so that the server's death is the end of the pipe.
    drop(command);
    Ok((read_number(reader), process))
}

/// Reads a line with a number; `None` if the server ends or is too slow.
fn read_number(reader: OwnedFd) -> Option<u16> {
    let mut reader = fs::File::from(reader);
    let deadline = Instant::now() + READY_LIMIT;
    let mut line = String::new();
    while !line.ends_with('\n') {
        if !wait_readable(&reader, deadline.saturating_duration_since(Instant::now())) {
            return None;
        }
        let mut bytes = [0; 16];
        let count = reader.read(&mut bytes).ok().filter(|count| *count > 0)?;
        line.push_str(std::str::from_utf8(&bytes[..count]).ok()?);
    }
    line.trim().parse().ok()
}

fn xorg_command(dir: &Path) -> Result<Command, XserverError> {
    let missing = |program, package| XserverError::Missing { program, package };
    // Not /usr/bin/Xorg: with a set-uid wrapper in the way it would run as root and refuse our configuration.
    let direct = Path::new("/usr/lib/xorg/Xorg");
    let program = if direct.is_file() { Some(direct.to_path_buf()) } else { find_program("Xorg") };
    let program = program.ok_or(missing("Xorg", "xserver-xorg-core"))?;
    let modules = Path::new("/usr/lib/xorg/modules");
    if modules.is_dir() && !modules.join("drivers/dummy_drv.so").is_file() {
        return Err(missing("the dummy driver of Xorg", "xserver-xorg-video-dummy"));
    }
    let (config, snippets) = (dir.join("xorg.conf"), dir.join("xorg.conf.d"));
    let written = fs::create_dir_all(&snippets).and_then(|()| fs::write(&config, XORG_CONFIG));
    written.map_err(|source| XserverError::Setup { dir: dir.into(), source })?;
    let mut command = Command::new(program);
    command.arg("-config").arg(config).arg("-configdir").arg(snippets);
    command.arg("-logfile").arg(dir.join("xorg.log"));
    Ok(command)
}

fn xvfb_command() -> Result<Command, XserverError> {
    let missing = XserverError::Missing { program: "Xvfb", package: "xvfb" };
    let mut command = Command::new(find_program("Xvfb").ok_or(missing)?);
    // It never becomes larger than this.
    command.args(["-screen", "0", "7680x4320x24"]);
    Ok(command)
}

impl XserverKind {
    fn program(self) -> &'static str {
        match self {
            Self::XorgDummy => "Xorg",
            Self::Xvfb => "Xvfb",
        }
    }
}

/// No devices, no monitor's limits, memory for the largest screen. The driver has a mode of its own for this first size
/// and would not start with a small one; the wanted size is set afterwards.
const XORG_CONFIG: &str = r#"Section "ServerFlags"
  Option "AutoAddDevices" "false"
  Option "AutoEnableDevices" "false"
  Option "AutoAddGPU" "false"
  Option "DontVTSwitch" "true"
  Option "DontZap" "true"
EndSection
Section "Device"
  Identifier "card"
  Driver "dummy"
  VideoRam 524288
EndSection
Section "Monitor"
  Identifier "monitor"
  HorizSync 1.0 - 2000.0
  VertRefresh 1.0 - 500.0
EndSection
Section "Screen"
  Identifier "screen"
  Device "card"
  Monitor "monitor"
  DefaultDepth 24
  SubSection "Display"
    Depth 24
    Virtual 1920 1080
  EndSubSection
EndSection
"#;

/// Xorg needs 0.3 s on an idle machine; a busy one may need long.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// Both end within 0.2 s when asked.
const STOP_GRACE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_again_by_what_was_written_down() {
        let process = ProcessId::of(std::process::id()).expect("we run");
        let (display, xauthority) = (":7".into(), "/run/x/Xauthority".into());
        let server = XserverInfo { display, xauthority, process, kind: XserverKind::Xvfb };
        let text = serde_json::to_string(&server).expect("plain data");
        let read: XserverInfo = serde_json::from_str(&text).expect("what was written");
        assert_eq!(read, server);
        assert!(read.alive());
    }
}
