//! Where the user was let in before: addresses as they were given, and when. The page that asks where to offers them.
//!
//! One TOML file beside the preferences, private to its user. Each change is made to what the file says at that moment, as
//! another viewer of the same user may have written it meanwhile, and by a thread of its own, as a disk may take longer than
//! a window can wait. Nothing else of a host, a file or a session is in it.

use crate::io::net::files::{private_dir, read_bounded, write_private};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// The file's name.
const FILE: &str = "recent.toml";
/// Longest file that is read: what is kept, were every character escaped.
const BYTES_MAX: u64 = 64 << 10;
/// Addresses that are kept; what was used longest ago goes first. As many as a page has room for.
pub const PLACES_MAX: usize = 8;
/// Longest address that is kept, in bytes: paths have no more on some systems, names have far less.
const ADDRESS_BYTES_MAX: usize = 1024;

/// Where the user was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `host[:port]`, or the absolute path of a .kachel file.
    pub address: String,
    /// When, in seconds since 1970.
    used: u64,
}

impl Place {
    /// How long ago, as the clock says; nothing if it has been put back since.
    pub fn ago(&self, now: SystemTime) -> Duration {
        Duration::from_secs(seconds(now).saturating_sub(self.used))
    }
}

/// The places of this user, newest first, and the file that keeps them.
#[derive(Debug)]
pub struct Recent {
    places: Vec<Place>,
    path: Option<PathBuf>,
    writer: Option<JoinHandle<()>>,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    places: Vec<Place>,
}

/// What happened to the list.
#[derive(Clone, Debug)]
enum Change {
    Used(Place),
    Forgotten(String),
}

impl Recent {
    /// Reads what was kept in this directory; without one, nothing is kept. A file that is damaged is as good as none.
    pub fn open(dir: Option<&Path>) -> Recent {
        let path = dir.map(|dir| dir.join(FILE));
        let places = path.as_deref().map_or_else(Vec::new, read);
        Recent { places, path, writer: None }
    }

    /// At most [`PLACES_MAX`], newest first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The files among them, newest first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(|place| Path::new(&place.address)).filter(|path| path.is_absolute())
    }

    /// Keeps that the user was let in with this address.
    pub fn used(&mut self, address: String, now: SystemTime) {
        if is_kept(&address) {
            self.change(Change::Used(Place { address, used: seconds(now) }));
        }
    }

    /// Forgets this address.
    pub fn forget(&mut self, address: &str) {
        self.change(Change::Forgotten(address.to_owned()));
    }

    /// Waits until what is being written is on the disk.
    pub fn join(&mut self) {
        // A thread that panicked has said so already.
        let _ = self.writer.take().map(JoinHandle::join);
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.places, change.clone());
        let Some(path) = self.path.clone() else { return };
        self.join();
        let write = move || {
            let mut places = read(&path);
            apply(&mut places, change);
            if let Err(error) = write(&path, places) {
                tracing::warn!(path = %path.display(), %error, "Recent addresses not kept");
            }
        };
        match std::thread::Builder::new().name("recent".into()).spawn(write) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => tracing::warn!(%error, "Recent addresses not kept"),
        }
    }
}

fn apply(places: &mut Vec<Place>, change: Change) {
    match change {
        Change::Used(place) => {
            places.retain(|other| other.address != place.address);
            places.insert(0, place);
            places.truncate(PLACES_MAX);
        }
        Change::Forgotten(address) => places.retain(|place| place.address != address),
    }
}

/// Whether an address may be in the list: whatever a page shows is on one line.
fn is_kept(address: &str) -> bool {
    !address.is_empty() && address.len() <= ADDRESS_BYTES_MAX && !address.chars().any(char::is_control)
}

/// What the file says, made to be what we would have written.
fn read(path: &Path) -> Vec<Place> {
    let text = match read_bounded(path, BYTES_MAX) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => Err(error.to_string()),
    };
    let kept = text.and_then(|text| toml::from_str::<Kept>(&text).map_err(|error| error.message().to_owned()));
    let mut places = kept.map(|kept| kept.places).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), error, "Recent addresses not read, the list begins anew");
        Vec::new()
    });
    let said = places.len();
    places.retain(|place| is_kept(&place.address));
    let mut known = std::collections::HashSet::new();
    places.retain(|place| known.insert(place.address.clone()));
    places.truncate(PLACES_MAX);
    if places.len() < said {
        tracing::warn!(path = %path.display(), said, kept = places.len(), "Recent addresses that are none left out");
    }
    places
}

fn write(path: &Path, places: Vec<Place>) -> io::Result<()> {
    let text = toml::to_string(&Kept { places }).expect("strings and times that TOML once held have a form in it");
    private_dir(path.parent().unwrap_or(Path::new(".")))?;
    write_private(path, text.as_bytes())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn addresses(recent: &Recent) -> Vec<&str> {
        recent.places().iter().map(|place| place.address.as_str()).collect()
    }

    #[test]
    fn what_was_used_is_there_after_a_restart_newest_first_and_no_one_else_reads_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = dir.path().join("not/yet/there");
        let mut recent = Recent::open(Some(&state));
        assert!(recent.places().is_empty());
        for (n, address) in ["desk:7474", "/home/grüße/\"Büro\".kachel", "desk:7474"].into_iter().enumerate() {
            recent.used(address.to_owned(), at(1000 + n as u64));
        }
        recent.join();
        let again = Recent::open(Some(&state));
        assert_eq!(addresses(&again), ["desk:7474", "/home/grüße/\"Büro\".kachel"]);
        assert_eq!(again.places()[0].ago(at(1062)), Duration::from_secs(60));
        assert_eq!(again.places()[0].ago(at(5)), Duration::ZERO, "the clock was put back");
        assert!(!crate::io::net::files::open_to_others(&state.join(FILE)).expect("the file is there"));
        let text = std::fs::read_to_string(state.join(FILE)).expect("the file is ours");
        let words = text.lines().filter(|line| !line.is_empty() && !line.starts_with('['));
        assert!(words.clone().all(|line| line.starts_with("address = ") || line.starts_with("used = ")), "{text}");
        assert_eq!(words.count(), 4, "{text}");
    }

    #[test]
    fn the_list_stays_short_and_what_is_forgotten_stays_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut recent = Recent::open(Some(dir.path()));
        for n in 0..20 {
            recent.used(format!("desk{n}:7474"), at(n));
        }
        recent.used("two\nlines".to_owned(), at(30));
        recent.used("x".repeat(ADDRESS_BYTES_MAX + 1), at(31));
        recent.forget("desk18:7474");
        recent.forget("nobody knows it");
        recent.join();
        let expected: Vec<String> = [19, 17, 16, 15, 14, 13, 12].map(|n| format!("desk{n}:7474")).into();
        assert_eq!(addresses(&recent), expected);
        assert_eq!(addresses(&Recent::open(Some(dir.path()))), expected);
    }

    #[test]
    fn two_viewers_of_one_user_keep_what_the_other_wrote() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut one, mut two) = (Recent::open(Some(dir.path())), Recent::open(Some(dir.path())));
        one.used("one".to_owned(), at(1));
        one.join();
        two.used("two".to_owned(), at(2));
        two.join();
        one.forget("one");
        one.join();
        assert_eq!(addresses(&Recent::open(Some(dir.path()))), ["two"]);
    }

    #[test]
    fn a_file_that_is_damaged_hostile_or_of_another_version_harms_nobody() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = |address: &str, used: u64| format!("[[places]]\naddress = \"{address}\"\nused = {used}\n");
        let many: String = (0..100).map(|n| place(&format!("desk{n}"), n)).collect();
        let first: Vec<String> = (0..PLACES_MAX).map(|n| format!("desk{n}")).collect();
        for (text, expected) in [
            (String::new(), Vec::new()),
            ("\u{0}\u{1}".to_owned(), Vec::new()),
            ("places = 3".to_owned(), Vec::new()),
            ("[[places]]\naddress = \"desk\"\nused = -1".to_owned(), Vec::new()),
            ("something_new = 1\n".to_owned() + &place("desk", 1), vec!["desk".to_owned()]),
            (place("", 1) + &place("a\\u001b[2Jb", 2) + &place("desk", i64::MAX as u64), vec!["desk".to_owned()]),
            (place("desk", 1) + &place("other", 5) + &place("desk", 9), vec!["desk".to_owned(), "other".to_owned()]),
            (place(&"x".repeat(ADDRESS_BYTES_MAX + 1), 1), Vec::new()),
            (many, first),
            ("#".repeat(BYTES_MAX as usize + 1), Vec::new()),
        ] {
            std::fs::write(dir.path().join(FILE), &text).expect("the directory is ours");
            let mut recent = Recent::open(Some(dir.path()));
            let begin: String = text.chars().take(60).collect();
            assert_eq!(addresses(&recent), expected, "{begin:?}");
            // It is replaced by one that is not.
            recent.used("new".to_owned(), at(1));
            recent.join();
            assert!(addresses(&Recent::open(Some(dir.path()))).contains(&"new"), "{begin:?}");
        }
    }

    #[test]
    fn without_a_place_nothing_is_kept_and_nothing_breaks() {
        let mut recent = Recent::open(None);
        recent.used("desk".to_owned(), at(1));
        assert_eq!(addresses(&recent), ["desk"]);
        recent.join();
    }
}
