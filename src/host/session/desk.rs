//! The desktop behind a session: started, found again after our own death, or somebody else's display.
//!
//! What is running is written down in the session's directory, so that the next session process adopts it.

use crate::geom::Size;
use crate::host::policy::Policy;
use crate::io::linux::desktop::{ConfigHome, Desktop, DesktopError};
use crate::io::linux::keyboard::KeyboardState;
use crate::io::linux::process::{ProcessId, find_program, spawn_detached};
use crate::io::linux::screen::dots_per_inch;
use crate::io::linux::xserver::{self, XserverError, XserverInfo};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Size of a new desktop before its first viewer says what it wants.
const FIRST_SIZE: Size = Size::new(1280, 800);
/// What runs, for the process after this one.
const RECORD: &str = "desktop.json";
/// How the keyboard of somebody else's display was, while a viewer has it.
const KEYBOARD: &str = "keyboard.json";
/// What the sound process says.
const SOUND_LOG: &str = "sound.log";
/// A sound process that ended sooner than this after its start is not started again.
const SOUND_STEADY: Duration = Duration::from_secs(2);
/// The sound process gets this long to end.
const SOUND_GRACE: Duration = Duration::from_secs(1);
/// What programs in the session have in their environment, for `kachel-host exec`.
const ENVIRONMENT: &str = "environment.json";

/// Why there is no desktop.
#[derive(Debug, Error)]
pub enum DeskError {
    /// The X server does not start.
    #[error("no X server")]
    Xserver(#[from] XserverError),
    /// The desktop does not start.
    #[error("no desktop")]
    Desktop(#[from] DesktopError),
    /// No desktop is running there.
    #[error("no desktop is running in {0}")]
    None(PathBuf),
    /// A file in the session's directory cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A display and what runs on it.
#[derive(Debug)]
pub struct Desk {
    /// X's name of it, ":7".
    pub display: String,
    /// The cookie file, if it is not the user's own.
    pub xauthority: Option<PathBuf>,
    own: Option<Own>,
    dir: PathBuf,
    /// When the sound process was last started.
    sound_since: Instant,
}

/// What we started, and end.
#[derive(Debug, Serialize, Deserialize)]
struct Own {
    xserver: XserverInfo,
    desktop: Desktop,
    /// The sound process, where the policy allows any sound.
    #[serde(default)]
    sound: Option<ProcessId>,
}

/// Opens everyday programs on the desktop that runs in this session's directory; tells which.
///
/// # Errors
/// [`DeskError::None`] where no desktop of ours runs, [`DeskError::Desktop`] if a program does not start.
pub fn open_programs(dir: &Path) -> Result<Vec<String>, DeskError> {
    let own = recorded(dir).filter(|own| own.xserver.alive()).ok_or_else(|| DeskError::None(dir.to_owned()))?;
    Ok(own.desktop.open_default_programs()?)
}

impl Desk {
    /// Uses a display that is already there. It is left as it is, but for the keyboard while a viewer has it.
    ///
    /// # Errors
    /// [`DeskError::Write`].
    pub fn attach(dir: &Path, display: &str) -> Result<Desk, DeskError> {
        let desk = Desk {
            display: display.to_owned(),
            xauthority: None,
            own: None,
            dir: dir.to_owned(),
            sound_since: Instant::now(),
        };
        let mut environment = vec![("DISPLAY".to_owned(), display.to_owned())];
        environment.extend(print_server());
        environment.extend(std::env::var("XAUTHORITY").ok().map(|v| ("XAUTHORITY".to_owned(), v)));
        desk.write_json(ENVIRONMENT, &environment)?;
        Ok(desk)
    }

    /// Finds the desktop that an earlier process started here, or starts one.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub fn adopt_or_start(dir: &Path, policy: Policy) -> Result<Desk, DeskError> {
        let mut own = match recorded(dir) {
            Some(own) if own.xserver.alive() => {
                tracing::info!(display = own.xserver.display, "Desktop adopted");
                own
            }
            left => {
                if let Some(own) = left {
                    own.desktop.stop();
                    own.stop_sound();
                }
                let xserver = xserver::start(dir, FIRST_SIZE, None)?;
                let desktop =
                    Desktop::start(&xserver.display, Some(&xserver.xauthority), dir, ConfigHome::Private, None);
                match desktop {
                    Ok(desktop) => Own { xserver, desktop, sound: None },
                    Err(error) => {
                        xserver::stop(&xserver);
                        return Err(error.into());
                    }
                }
            }
        };
        if policy.sound || policy.microphone {
            own.tend_sound(dir);
        }
        let desk = Desk {
            display: own.xserver.display.clone(),
            xauthority: Some(own.xserver.xauthority.clone()),
            own: None,
            dir: dir.to_owned(),
            sound_since: Instant::now(),
        };
        desk.write_json(RECORD, &own)?;
        let environment: Vec<_> = own.desktop.environment().into_iter().chain(print_server()).collect();
        desk.write_json(ENVIRONMENT, &environment)?;
        Ok(Desk { own: Some(own), ..desk })
    }

    /// Processes without which the session is over: the X server and the desktop's main program.
    pub fn processes(&self) -> Vec<ProcessId> {
        self.own
            .iter()
            .flat_map(|own| [Some(own.xserver.process), own.desktop.processes().first().copied()])
            .flatten()
            .collect()
    }

    /// The sound process, where there is one. When it ends, [`Desk::tend_sound`] brings it back.
    pub fn sound_process(&self) -> Option<ProcessId> {
        self.own.as_ref().and_then(|own| own.sound)
    }

    /// Starts the sound process again if it has ended. Programs connect to the new one when they play the next time.
    ///
    /// # Errors
    /// [`DeskError::Write`].
    pub fn tend_sound(&mut self) -> Result<(), DeskError> {
        let Some(mut own) = self.own.take() else { return Ok(()) };
        if self.sound_since.elapsed() >= SOUND_STEADY {
            own.tend_sound(&self.dir);
            self.sound_since = Instant::now();
        } else {
            tracing::error!("The sound process does not stay: the session is silent");
            own.sound = None;
        }
        let written = self.write_json(RECORD, &own);
        self.own = Some(own);
        written
    }

    /// Writes down how the keyboard was, for the process after this one.
    ///
    /// # Errors
    /// [`DeskError::Write`].
    pub fn lend_keyboard(&self, found: &KeyboardState) -> Result<(), DeskError> {
        self.write_json(KEYBOARD, found)
    }

    /// How the keyboard was before a process used it that could not give it back.
    pub fn lent_keyboard(&self) -> Option<KeyboardState> {
        serde_json::from_slice(&fs::read(self.dir.join(KEYBOARD)).ok()?).ok()
    }

    /// The keyboard is as it was.
    pub fn forget_keyboard(&self) {
        // Where it is not there, there is nothing to forget.
        let _ = fs::remove_file(self.dir.join(KEYBOARD));
    }

    /// Whether the display is ours, so that the screen may be given another size.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Tells a desktop that has settings of its own how large text is to be; what is written among the X server's
    /// resources reaches the programs of others.
    pub fn set_text_scale(&self, percent: u16) {
        let (Some(own), Some(program)) = (&self.own, find_program("xfconf-query")) else { return };
        let dpi = dots_per_inch(percent).to_string();
        let words = ["--channel", "xsettings", "--property", "/Xft/DPI", "--create", "--type", "int", "--set", &dpi];
        if let Err(error) = own.desktop.spawn(&program, &words.map(str::to_owned)) {
            tracing::warn!(%error, "The desktop keeps its size of text");
        }
    }

    /// Whether the user is still logged in.
    pub fn running(&self) -> bool {
        self.own.as_ref().is_none_or(|own| own.xserver.alive() && own.desktop.running())
    }

    /// Ends what we started, and forgets it.
    pub fn stop(&mut self) {
        if let Some(own) = self.own.take() {
            own.stop_sound();
            own.desktop.stop();
            xserver::stop(&own.xserver);
        }
        for name in [RECORD, ENVIRONMENT] {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    /// Writes a file that only we may read, whole or not at all.
    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), DeskError> {
        let path = self.dir.join(name);
        let new = self.dir.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| DeskError::Write { path, source })
    }
}

impl Own {
    /// Starts the sound process unless it runs. Without it the desktop is silent and all else goes on.
    fn tend_sound(&mut self, dir: &Path) {
        if self.sound.is_some_and(ProcessId::alive) {
            return;
        }
        let start = || {
            let mut command = Command::new(std::env::current_exe()?);
            spawn_detached(command.arg("sound").arg("--place").arg(dir), &dir.join(SOUND_LOG))
        };
        match start() {
            Ok(process) => self.sound = Some(process),
            Err(error) => tracing::error!(%error, "The session has no sound"),
        }
    }

    fn stop_sound(&self) {
        if let Some(sound) = self.sound {
            sound.stop(SOUND_GRACE);
        }
    }
}

/// Where the desktop's programs find their printers: the session process was told, and they inherit it.
fn print_server() -> Option<(String, String)> {
    std::env::var("CUPS_SERVER").ok().map(|server| ("CUPS_SERVER".to_owned(), server))
}

/// What an earlier process wrote down about its desktop.
fn recorded(dir: &Path) -> Option<Own> {
    serde_json::from_slice(&fs::read(dir.join(RECORD)).ok()?).ok()
}
