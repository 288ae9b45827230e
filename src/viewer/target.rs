//! What the user says where to: a connection file, or a computer's address. Decides nothing about the way there.

use crate::io::net::trial::{Trial, TrialError};
use crate::limits::{NAME_BYTES_MAX, PORT};
use crate::viewer::ui::Notice;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// With the file of this path.
    File(PathBuf),
    /// To this computer.
    Host(Address),
    /// It is neither.
    Nonsense,
}

/// A computer's name or address, and a port if one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it was given; an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
}

impl Target {
    /// Takes what was typed, dropped or given on the command line. What ends in `.kachel` or is there as a file is a file.
    pub fn parse(text: &str) -> Target {
        let path = Path::new(text);
        if text.ends_with(".kachel") || path.is_file() {
            return Target::File(path.to_owned());
        }
        Address::parse(text).map_or(Target::Nonsense, Target::Host)
    }
}

impl Address {
    /// Takes `HOST[:PORT]`.
    fn parse(text: &str) -> Option<Address> {
        let ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        if ipv6(text) {
            return Some(Address { host: format!("[{text}]"), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
            _ => (text, None),
        };
        let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
        let is_bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(ipv6);
        let is_host = (is_name || is_bracketed) && host.len() <= NAME_BYTES_MAX;
        is_host.then(|| Address { host: host.to_owned(), port })
    }

    /// Whether one of these addresses of a host is meant: the same computer, and the same port if one was given.
    fn is_one_of(&self, addresses: &[String]) -> bool {
        let same = |other: Address| {
            self.host.to_lowercase() == other.host.to_lowercase()
                && self.port.is_none_or(|port| port == other.port.unwrap_or(PORT))
        };
        addresses.iter().filter_map(|address| Address::parse(address)).any(same)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port.unwrap_or(PORT))
    }
}

/// Among files that let the user in before, newest first, the first that leads to this computer and is good for it now. One
/// that is gone, over or damaged is as good as none.
pub fn file_for<'a>(address: &Address, files: impl Iterator<Item = &'a Path>) -> Option<(PathBuf, Trial)> {
    // Nobody waits for a pipe that was put in a file's place.
    let mut trials = files.filter(|path| path.is_file()).filter_map(|path| Some((path, Trial::load(path).ok()?)));
    let (path, trial) = trials.find(|(_, trial)| address.is_one_of(&trial.addresses))?;
    Some((path.to_owned(), trial))
}

/// What the user is told of a file that cannot be used.
pub fn notice_of_file(error: &TrialError, path: &Path) -> Notice {
    let path = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    match error {
        TrialError::Missing(_) | TrialError::File { .. } => Notice::UnreadableFile { path },
        TrialError::Expired(_) => Notice::ExpiredFile { path },
        TrialError::NotYetValid(_) => Notice::WrongClock { path },
        TrialError::TooLong(_)
        | TrialError::Form { .. }
        | TrialError::Version { .. }
        | TrialError::Field { .. }
        | TrialError::Certificate { .. } => Notice::BadFile { path },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::net::identity::{DeviceKey, HostIdentity};
    use crate::io::net::trial::TRIAL_LIFE;
    use std::io;
    use std::time::SystemTime;

    #[test]
    fn what_is_typed_is_a_file_an_address_or_nonsense() {
        let host = |host: &str, port| Target::Host(Address { host: host.to_owned(), port });
        for (text, expected) in [
            ("desk.kachel", Target::File("desk.kachel".into())),
            ("/no/such/folder/Büro.kachel", Target::File("/no/such/folder/Büro.kachel".into())),
            ("desk.example.org", host("desk.example.org", None)),
            ("büro-ost:4433", host("büro-ost", Some(4433))),
            ("10.20.30.40", host("10.20.30.40", None)),
            ("fe80::1", host("[fe80::1]", None)),
            ("[fe80::1]", host("[fe80::1]", None)),
            ("[fe80::1]:22", host("[fe80::1]", Some(22))),
            ("", Target::Nonsense),
            (":7474", Target::Nonsense),
            ("desk:", Target::Nonsense),
            ("desk:0", Target::Nonsense),
            ("desk:65536", Target::Nonsense),
            ("desk:one", Target::Nonsense),
            ("[desk]:7474", Target::Nonsense),
            ("two words", Target::Nonsense),
            ("https://desk.example.org", Target::Nonsense),
        ] {
            assert_eq!(Target::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_computer_is_meant_by_its_name_and_by_its_port_if_one_is_given() {
        let addresses = ["10.20.30.40:4433", "Desk.example.org:7474", "[fe80::1]:4433", "no address", ""];
        let addresses: Vec<String> = addresses.map(str::to_owned).into();
        for (text, expected) in [
            ("desk.example.org", true),
            ("DESK.EXAMPLE.ORG:7474", true),
            ("desk.example.org:4433", false),
            ("desk", false),
            ("desk.example.org.evil.net", false),
            ("10.20.30.40", true),
            ("10.20.30.40:4433", true),
            ("10.20.30.40:7474", false),
            ("10.20.30.4", false),
            ("fe80::1", true),
            ("[fe80::1]:4433", true),
            ("[fe80::1]:7474", false),
        ] {
            let address = Address::parse(text).expect("it is an address");
            assert_eq!(address.is_one_of(&addresses), expected, "{text}");
        }
    }

    #[test]
    fn the_newest_file_that_is_good_leads_to_a_computer_and_others_are_as_good_as_none() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let identity = HostIdentity::load_or_create(dir.path(), SystemTime::now()).expect("the folder is ours");
        let write = |name: &str, address: &str, since: SystemTime| {
            let key = DeviceKey::generate().expect("a key");
            let certificate = identity.certify_device(&key, "desk", since, TRIAL_LIFE).expect("a certificate");
            let addresses = vec!["10.0.0.1:7474".to_owned(), address.to_owned()];
            let trial = Trial::new(addresses, identity.host_id(), name, identity.ca_pem(), certificate, &key);
            let path = dir.path().join(name).with_extension("kachel");
            trial.write(&path).expect("the folder is ours");
            path
        };
        let now = SystemTime::now();
        let old = write("old", "desk:7474", now - 3 * TRIAL_LIFE);
        let damaged = write("damaged", "desk:7474", now);
        std::fs::write(&damaged, "format = 1").expect("the folder is ours");
        let gone = dir.path().join("gone.kachel");
        let (desk, other) = (write("desk", "desk:7474", now), write("other", "other:4433", now));
        let newest = write("newest", "desk:7474", now);
        for (text, files, expected) in [
            ("desk", vec![&old, &damaged, &gone, &other, &newest, &desk], Some(&newest)),
            ("desk", vec![&desk, &newest], Some(&desk)),
            ("other", vec![&newest, &other], Some(&other)),
            ("other:7474", vec![&newest, &other], None),
            ("desk", vec![&old, &damaged, &gone], None),
            ("desk", vec![], None),
        ] {
            let address = Address::parse(text).expect("it is an address");
            let found = file_for(&address, files.into_iter().map(PathBuf::as_path));
            assert_eq!(found.as_ref().map(|(path, _)| path), expected, "{text}");
        }
        let address = Address::parse("desk").expect("it is an address");
        assert_eq!(file_for(&address, std::iter::once(dir.path())), None, "a folder has a name like any file");
    }

    #[test]
    fn each_thing_that_can_be_wrong_with_a_file_is_said_as_what_it_is() {
        let path = || PathBuf::from("/home/user/desk.kachel");
        let name = || "desk.kachel".to_owned();
        let denied = TrialError::File { path: path(), source: io::ErrorKind::PermissionDenied.into() };
        for (error, expected) in [
            (TrialError::Missing(path()), Notice::UnreadableFile { path: name() }),
            (denied, Notice::UnreadableFile { path: name() }),
            (TrialError::TooLong(path()), Notice::BadFile { path: name() }),
            (TrialError::Field { path: path(), field: "session" }, Notice::BadFile { path: name() }),
            (TrialError::Expired(path()), Notice::ExpiredFile { path: name() }),
            (TrialError::NotYetValid(path()), Notice::WrongClock { path: name() }),
        ] {
            assert_eq!(notice_of_file(&error, &path()), expected, "{error}");
        }
    }
}
