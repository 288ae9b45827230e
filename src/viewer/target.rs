//! What the user says where to: a connection file, or a computer's address. Decides nothing about the way there.

use crate::io::net::trial::TrialError;
use crate::limits::{NAME_BYTES_MAX, PORT};
use crate::viewer::ui::Notice;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// With the file of this path.
    File(PathBuf),
    /// To this computer: name or address, and port.
    Host(String),
    /// It is neither.
    Nonsense,
}

impl Target {
    /// Takes what was typed, dropped or given on the command line. What ends in `.kachel` or is there as a file is a file;
    /// an address without a port has [`PORT`].
    pub fn parse(text: &str) -> Target {
        let path = Path::new(text);
        if text.ends_with(".kachel") || path.is_file() {
            return Target::File(path.to_owned());
        }
        address(text).map_or(Target::Nonsense, Target::Host)
    }
}

/// `HOST:PORT` of `HOST[:PORT]`, an IPv6 address in brackets.
fn address(text: &str) -> Option<String> {
    let ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if ipv6(text) {
        return Some(format!("[{text}]:{PORT}"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)?),
        _ => (text, PORT),
    };
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    let is_bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(ipv6);
    ((is_name || is_bracketed) && host.len() <= NAME_BYTES_MAX).then(|| format!("{host}:{port}"))
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
    use std::io;

    #[test]
    fn what_is_typed_is_a_file_an_address_or_nonsense() {
        let host = |text: &str| Target::Host(text.to_owned());
        for (text, expected) in [
            ("desk.kachel", Target::File("desk.kachel".into())),
            ("/no/such/folder/Büro.kachel", Target::File("/no/such/folder/Büro.kachel".into())),
            ("desk.example.org", host("desk.example.org:7474")),
            ("büro-ost:4433", host("büro-ost:4433")),
            ("10.20.30.40", host("10.20.30.40:7474")),
            ("fe80::1", host("[fe80::1]:7474")),
            ("[fe80::1]", host("[fe80::1]:7474")),
            ("[fe80::1]:22", host("[fe80::1]:22")),
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
