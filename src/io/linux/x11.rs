//! Connections to X servers, with a cookie file that need not be the one of our own environment.
//!
//! Writes and reads the Xauthority format of libXau. What is done over a connection: `screen`, `inject`, `randr`.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use x11rb::{
    errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError},
    reexports::x11rb_protocol::parse_display::parse_display,
    rust_connection::{DefaultStream, RustConnection},
};

/// A connection could not be opened, or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum X11Error {
    /// The name is not that of a display.
    #[error("{0:?} is not the name of a display")]
    DisplayName(String),
    /// Nobody listens there.
    #[error("no X server answers at {display}")]
    Unreachable {
        /// The display.
        display: String,
        /// Why.
        source: io::Error,
    },
    /// The cookie file cannot be read.
    #[error("the cookie file {path} cannot be read")]
    Cookie {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The server refused us or spoke nonsense.
    #[error("the X server did not let us in")]
    Setup(#[from] ConnectError),
    /// The connection broke.
    #[error("the connection to the X server is lost")]
    Connection(#[from] ConnectionError),
    /// A request was answered by an error.
    #[error("the X server refused a request")]
    Reply(#[from] ReplyError),
    /// No more resource numbers, or a request failed.
    #[error("the X server gave no resource")]
    Id(#[from] ReplyOrIdError),
}

/// Opens a connection and tells the number of its screen. Without `xauthority` the environment's cookie file is used.
pub(super) fn connect(display: &str, xauthority: Option<&Path>) -> Result<(RustConnection, usize), X11Error> {
    let Some(path) = xauthority else { return Ok(RustConnection::connect(Some(display))?) };
    let parsed = parse_display(Some(display)).map_err(|_| X11Error::DisplayName(display.into()))?;
    let file =
        fs::read(path).map_err(|source| X11Error::Cookie { path: path.to_string_lossy().into_owned(), source })?;
    let cookie = find_cookie(&file, parsed.display).unwrap_or_default();
    let name = if cookie.is_empty() { Vec::new() } else { COOKIE_NAME.to_vec() };
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in parsed.connect_instruction() {
        match DefaultStream::connect(&address) {
            Ok((stream, _)) => {
                let screen = parsed.screen.into();
                let conn = RustConnection::connect_to_stream_with_auth_info(stream, screen, name, cookie)?;
                return Ok((conn, screen));
            }
            Err(source) => failure = source,
        }
    }
    Err(X11Error::Unreachable { display: display.into(), source: failure })
}

/// Sixteen random bytes from the kernel.
pub(super) fn new_cookie() -> io::Result<[u8; 16]> {
    let mut cookie = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut cookie)?;
    Ok(cookie)
}

/// Writes a cookie file (mode 0600) for one display, or for all of them while its number is not yet known.
///
/// The file is replaced in one step, so that a reader never sees half of it.
pub(super) fn write_cookie_file(path: &Path, display: Option<u16>, cookie: &[u8; 16]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&cookie_entry(display, cookie))?;
    fs::rename(fresh, path)
}

fn cookie_entry(display: Option<u16>, cookie: &[u8]) -> Vec<u8> {
    let number = display.map(|n| n.to_string()).unwrap_or_default();
    let mut entry = FAMILY_WILD.to_be_bytes().to_vec();
    for field in [b"".as_slice(), number.as_bytes(), COOKIE_NAME, cookie] {
        entry.extend((field.len() as u16).to_be_bytes());
        entry.extend(field);
    }
    entry
}

/// The first MIT cookie whose display number fits; an entry without a number fits all.
fn find_cookie(mut file: &[u8], display: u16) -> Option<Vec<u8>> {
    let number = display.to_string();
    while file.len() > 2 {
        file = &file[2..];
        let mut fields = [&[] as &[u8]; 4];
        for field in &mut fields {
            let len = usize::from(u16::from_be_bytes([*file.first()?, *file.get(1)?]));
            *field = file.get(2..2 + len)?;
            file = &file[2 + len..];
        }
        let [_address, entry_number, name, data] = fields;
        if name == COOKIE_NAME && (entry_number.is_empty() || entry_number == number.as_bytes()) {
            return Some(data.to_vec());
        }
    }
    None
}

const COOKIE_NAME: &[u8] = b"MIT-MAGIC-COOKIE-1";
/// libXau's `FamilyWild`: the entry is good for every address of this machine.
const FAMILY_WILD: u16 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_cookie_is_found_again() {
        let mut file = cookie_entry(Some(7), &[7; 16]);
        file.extend(cookie_entry(Some(71), &[71; 16]));
        assert_eq!(find_cookie(&file, 71), Some(vec![71; 16]));
        assert_eq!(find_cookie(&file, 1), None);
        assert_eq!(find_cookie(&cookie_entry(None, &[3; 16]), 1), Some(vec![3; 16]));
        assert_eq!(find_cookie(&file[..file.len() - 1], 71), None);
    }
}
