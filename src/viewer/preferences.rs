//! What the user chose and the viewer remembers over restarts: loudspeaker, microphone, volume, silence, printers.
//!
//! One TOML file in the user's state directory, replaced as a whole, by a thread of its own, as a disk may take longer than
//! a window can wait. Nothing of a session is in it, and not whether the microphone was on: that takes a click each time.

use crate::io::net::files::{private_dir, read_bounded, write_private};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// The file's name.
const FILE: &str = "preferences.toml";
/// Longest file that is read.
const BYTES_MAX: u64 = 64 << 10;

/// Printers that are remembered as not to be offered.
const REFUSED_MAX: usize = 64;

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// The loudspeaker's id; none follows the system. One that is gone is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The same for the microphone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// How loud sessions are, 0 to 100.
    pub volume_percent: u8,
    /// Sessions are not heard.
    pub muted: bool,
    /// Keys of printers that no session is offered, the one chosen last at the end; at most [`REFUSED_MAX`] count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_printers: Vec<String>,
}

/// What is chosen now, and the file that keeps it.
#[derive(Debug)]
pub struct Keeper {
    /// What is chosen now; [`Keeper::keep`] writes it.
    pub chosen: Preferences,
    kept: Preferences,
    path: Option<PathBuf>,
    writer: Option<JoinHandle<()>>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { output: None, input: None, volume_percent: 100, muted: false, refused_printers: Vec::new() }
    }
}

impl Preferences {
    /// How loud sessions are, 0 to 1.
    pub fn volume(&self) -> f32 {
        f32::from(self.volume_percent.min(100)) / 100.0
    }

    /// Offers the printer with this key to sessions, or no longer.
    pub fn offer_printer(&mut self, key: &str, offered: bool) {
        self.refused_printers.retain(|refused| refused != key);
        if !offered {
            self.refused_printers.push(key.to_owned());
        }
        let surplus = self.refused_printers.len().saturating_sub(REFUSED_MAX);
        self.refused_printers.drain(..surplus);
    }
}

impl Keeper {
    /// Reads what was kept in this directory; without one, nothing is kept. A file that is damaged is as good as none.
    pub fn open(dir: Option<&Path>) -> Keeper {
        let path = dir.map(|dir| dir.join(FILE));
        let kept = path.as_ref().map_or_else(Preferences::default, |path| {
            read(path).unwrap_or_else(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "Preferences not read, the usual ones are taken");
                }
                Preferences::default()
            })
        });
        Keeper { chosen: kept.clone(), kept, path, writer: None }
    }

    /// Writes what is chosen, if that is new.
    pub fn keep(&mut self) {
        let Some(path) = self.path.clone() else { return };
        if self.chosen == self.kept {
            return;
        }
        self.join();
        self.kept = self.chosen.clone();
        let preferences = self.chosen.clone();
        let write = move || {
            if let Err(error) = write(&path, &preferences) {
                tracing::warn!(path = %path.display(), %error, "Preferences not kept");
            }
        };
        match std::thread::Builder::new().name("preferences".into()).spawn(write) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => tracing::warn!(%error, "Preferences not kept"),
        }
    }

    /// Waits until what is being written is on the disk.
    pub fn join(&mut self) {
        // A thread that panicked has said so already.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

fn read(path: &Path) -> io::Result<Preferences> {
    toml::from_str(&read_bounded(path, BYTES_MAX)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn write(path: &Path, preferences: &Preferences) -> io::Result<()> {
    let text = toml::to_string(preferences).expect("strings, a number and a truth value have a form in TOML");
    private_dir(path.parent().unwrap_or(Path::new(".")))?;
    write_private(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_chosen_after_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = dir.path().join("not/yet/there");
        let mut keeper = Keeper::open(Some(&state));
        assert_eq!(keeper.chosen, Preferences::default());
        keeper.keep();
        keeper.join();
        assert!(!state.exists(), "nothing was chosen, so nothing is written");
        let chosen = Preferences {
            output: Some("pulseaudio:headset \"Büro\"\n".into()),
            input: None,
            volume_percent: 35,
            muted: true,
            refused_printers: vec!["07".repeat(16)],
        };
        keeper.chosen = chosen.clone();
        keeper.keep();
        keeper.join();
        assert_eq!(Keeper::open(Some(&state)).chosen, chosen);
        assert!((chosen.volume() - 0.35).abs() < 1e-6);
    }

    #[test]
    fn a_printer_is_offered_until_it_is_not_and_the_list_stays_short() {
        let mut chosen = Preferences::default();
        chosen.offer_printer("a", true);
        chosen.offer_printer("a", false);
        chosen.offer_printer("a", false);
        chosen.offer_printer("b", false);
        assert_eq!(chosen.refused_printers, ["a", "b"]);
        chosen.offer_printer("a", true);
        assert_eq!(chosen.refused_printers, ["b"]);
        (0..1_000).for_each(|n| chosen.offer_printer(&n.to_string(), false));
        assert_eq!((chosen.refused_printers.len(), &*chosen.refused_printers[REFUSED_MAX - 1]), (REFUSED_MAX, "999"));
    }

    #[test]
    fn a_file_that_is_damaged_or_of_another_version_harms_nobody() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let usual = Preferences::default();
        for (text, expected) in [
            ("volume_percent = \"loud\"", usual.clone()),
            ("volume_percent = 400", usual.clone()),
            ("\u{0}\u{1}", usual.clone()),
            ("muted = true\nsomething_new = [1, 2]", Preferences { muted: true, ..usual.clone() }),
            ("volume_percent = 250", Preferences { volume_percent: 250, ..usual.clone() }),
        ] {
            std::fs::write(dir.path().join(FILE), text).expect("the directory is ours");
            let chosen = Keeper::open(Some(dir.path())).chosen;
            assert_eq!(chosen, expected, "{text}");
            assert!(chosen.volume() <= 1.0);
        }
        std::fs::write(dir.path().join(FILE), vec![b'#'; BYTES_MAX as usize + 1]).expect("the directory is ours");
        assert_eq!(Keeper::open(Some(dir.path())).chosen, usual);
    }

    #[test]
    fn without_a_place_nothing_is_kept_and_nothing_breaks() {
        let mut keeper = Keeper::open(None);
        keeper.chosen.muted = true;
        keeper.keep();
        keeper.join();
    }
}
