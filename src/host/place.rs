//! Where things of a host lie on disk, all below one state directory that only its user enters.
//!
//! `identity/` keys and certificates, `devices.toml` who may come in, `sessions/NAME/` one directory per desktop.

use crate::io::net::files::private_dir;
use std::env;
use std::io;
use std::path::{Path, PathBuf};

/// Longest session name; the path of its socket must fit the system's 107 bytes.
const SESSION_NAME_MAX: usize = 32;

/// A host's state directory.
#[derive(Clone, Debug)]
pub struct Place {
    state: PathBuf,
}

/// One session's directory.
#[derive(Clone, Debug)]
pub struct SessionPlace {
    dir: PathBuf,
}

impl Place {
    /// Uses this state directory.
    pub fn new(state: PathBuf) -> Place {
        Place { state }
    }

    /// `$XDG_STATE_HOME/kachel-host`, or `~/.local/state/kachel-host`; `None` without a home.
    pub fn default_state() -> Option<PathBuf> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("kachel-host"))
    }

    /// Makes the directories, enterable only by their owner.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self) -> io::Result<()> {
        private_dir(&self.state)?;
        private_dir(&self.state.join("sessions"))
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Keys and certificates.
    pub fn identity(&self) -> PathBuf {
        self.state.join("identity")
    }

    /// The list of devices.
    pub fn devices(&self) -> PathBuf {
        self.state.join("devices.toml")
    }

    /// Locked by the one front that serves this state.
    pub fn front_lock(&self) -> PathBuf {
        self.state.join("front.lock")
    }

    /// The directory of the session `name`, a result of [`session_name`].
    pub fn session(&self, name: &str) -> SessionPlace {
        SessionPlace::new(self.state.join("sessions").join(name))
    }

    /// Names of all sessions that have a directory, sorted.
    ///
    /// # Errors
    /// What the system says; without a state directory there are none.
    pub fn session_names(&self) -> io::Result<Vec<String>> {
        let entries = match self.state.join("sessions").read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.retain(|name| session_name(name) == *name);
        names.sort();
        Ok(names)
    }
}

impl SessionPlace {
    /// Uses this directory.
    pub fn new(dir: PathBuf) -> SessionPlace {
        SessionPlace { dir }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the session process listens for the front and for short questions.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("session.sock")
    }

    /// Where the sound process listens for the front.
    pub fn sound_socket(&self) -> PathBuf {
        self.dir.join("sound.sock")
    }

    /// Where the session's own print server listens, while there is a printer.
    pub fn print_server(&self) -> PathBuf {
        self.dir.join("cups.sock")
    }

    /// What the session process writes to its standard output and error.
    pub fn log(&self) -> PathBuf {
        self.dir.join("session.log")
    }

    /// The environment of the session's programs, a JSON list of pairs, written by the session process.
    pub fn environment(&self) -> PathBuf {
        self.dir.join("environment.json")
    }
}

/// Makes a session name of any text: letters, digits, `-` and `_`, not empty.
pub fn session_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = text.chars().map(plain).take(SESSION_NAME_MAX).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "desktop".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_are_plain_and_stay_inside_their_directory() {
        for (text, expected) in [
            ("demo", "demo"),
            ("../../etc", "etc"),
            ("", "desktop"),
            ("...", "desktop"),
            ("Büro 1/2", "B-ro-1-2"),
            ("a\0b", "a-b"),
        ] {
            assert_eq!(session_name(text), expected, "{text:?}");
        }
        assert_eq!(session_name(&"x".repeat(500)).len(), SESSION_NAME_MAX);
    }
}
