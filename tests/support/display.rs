//! An X display of one's own (Xvfb), and looking at displays: pictures, windows by title.
//! Display numbers are reserved by the lock files that X servers respect, so that several runs never meet: a server
//! that chooses for itself (`-displayfd`) looks only into its own network namespace and takes one that is in use.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kachel::geom::{Rect, Size};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt, ImageFormat, MapState, Window};
use x11rb::rust_connection::{DefaultStream, RustConnection};

use super::picture::Picture;
use super::process::Processes;
use super::wait::wait_until;

/// An Xvfb that ends with this value.
pub struct Display {
    name: String,
    processes: Processes,
}

impl Display {
    /// Starts an Xvfb of this size, 24 bit deep, that survives its last client.
    ///
    /// # Panics
    /// When Xvfb is not installed or does not come up within ten seconds.
    pub fn start(size: Size) -> Self {
        let mut processes = Processes::new("xvfb");
        let name = start_server(&mut processes, "Xvfb", Command::new("Xvfb").args(xvfb_arguments(size)));
        Self { name, processes }
    }

    /// The display's name for `DISPLAY`, like `:7`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The X server's process.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }
}

/// The arguments that `Display::start` gives to Xvfb, after the display.
pub fn xvfb_arguments(size: Size) -> Vec<String> {
    let screen = format!("{}x{}x24", size.w, size.h);
    // Programs size their text by the resolution, so it is said, not left to the X server.
    ["-screen", "0", &screen, "-dpi", "96", "-noreset", "-nolisten", "tcp"].map(str::to_owned).to_vec()
}

/// Starts an X server that understands `-displayfd` within a group and returns its display's name once it answers.
///
/// # Panics
/// When it does not come up within ten seconds.
pub fn start_server(processes: &mut Processes, name: &str, command: &mut Command) -> String {
    let limit = Duration::from_secs(10);
    let display = reserve_display(processes);
    processes.spawn_until_line(name, command.arg(&display).args(["-displayfd", "1"]), limit);
    wait_until(limit, &format!("{name} answers on {display}"), || RustConnection::connect(Some(&display)).ok());
    display
}

/// Takes a free display number; the lock file is removed with the group.
fn reserve_display(processes: &mut Processes) -> String {
    for number in FIRST_DISPLAY.. {
        let lock = PathBuf::from(format!("/tmp/.X{number}-lock"));
        let owner = || fs::read_to_string(&lock).ok()?.trim().parse::<u32>().ok();
        if owner().is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            fs::remove_file(&lock).ok();
        } else if lock.exists() || Path::new(&format!("/tmp/.X11-unix/X{number}")).exists() {
            continue;
        }
        if let Ok(mut file) = File::create_new(&lock) {
            // The form of an X server's own lock: the process id, ten wide.
            writeln!(file, "{:>10}", std::process::id()).expect("/tmp has room for a line");
            processes.remove_at_end(lock);
            processes.remove_at_end(PathBuf::from(format!("/tmp/.X11-unix/X{number}")));
            return format!(":{number}");
        }
    }
    unreachable!("an endless range has no end")
}

/// Below are the displays of people and of other programs' tests.
const FIRST_DISPLAY: u32 = 90;

/// Connects to a display.
///
/// # Panics
/// When there is none.
pub fn connect(display: &str) -> (RustConnection, Window) {
    let (connection, screen) =
        RustConnection::connect(Some(display)).unwrap_or_else(|error| panic!("no X display {display}: {error}"));
    let root = connection.setup().roots[screen].root;
    (connection, root)
}

/// Connects to a display with the cookie of an Xauthority file that is not the user's own.
///
/// # Panics
/// When there is no such display, or it does not take the cookie.
pub fn connect_with_cookie(display: &str, xauthority: &Path) -> (RustConnection, Window) {
    let file = fs::read(xauthority).unwrap_or_else(|error| panic!("{}: {error}", xauthority.display()));
    // The cookie is the last field of the file's last entry.
    let cookie = file[file.len().saturating_sub(16)..].to_vec();
    let socket = format!("/tmp/.X11-unix/X{}", display.trim_start_matches(':'));
    let stream = UnixStream::connect(&socket).unwrap_or_else(|error| panic!("{socket}: {error}"));
    let (stream, _) = DefaultStream::from_unix_stream(stream).expect("a connected socket becomes a stream");
    let name = b"MIT-MAGIC-COOKIE-1".to_vec();
    let connection = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie)
        .unwrap_or_else(|error| panic!("no X display {display}: {error}"));
    let root = connection.setup().roots[0].root;
    (connection, root)
}

/// Takes a picture of the whole display, without the pointer.
///
/// # Panics
/// When the display is gone.
pub fn screenshot(display: &str) -> Picture {
    let (connection, root) = connect(display);
    grab(&connection, root, None)
}

/// Takes a picture of one window (as it stands on the screen), without the pointer.
///
/// # Panics
/// When the window or the display is gone.
pub fn window_picture(display: &str, window: &WindowInfo) -> Picture {
    let (connection, root) = connect(display);
    grab(&connection, root, Some(window.place))
}

/// Takes a picture of a part of the screen over an open connection.
///
/// # Panics
/// When the display is gone or `part` leaves the screen.
pub fn grab(connection: &impl Connection, root: Window, part: Option<Rect>) -> Picture {
    let part = part.unwrap_or_else(|| {
        let geometry = connection.get_geometry(root).expect("the X connection holds");
        let geometry = geometry.reply().expect("the root window has a geometry");
        Rect::new(0, 0, geometry.width.into(), geometry.height.into())
    });
    let (x, y, w, h) = (part.x as i16, part.y as i16, part.w as u16, part.h as u16);
    let cookie = connection.get_image(ImageFormat::Z_PIXMAP, root, x, y, w, h, !0).expect("the X connection holds");
    let image = cookie.reply().unwrap_or_else(|error| panic!("no picture of {part:?}: {error}"));
    let pixels = image.data.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], 0])).collect();
    Picture::new(Size { w: part.w, h: part.h }, pixels)
}

/// A visible window with a name.
#[derive(Clone, Debug)]
pub struct WindowInfo {
    /// The window itself.
    pub id: Window,
    /// Its title; empty when it has none.
    pub title: String,
    /// Its two class names, joined by a space.
    pub class: String,
    /// Its place on the screen, in pixels.
    pub place: Rect,
}

/// All visible windows down to the third level that have a title or a class.
pub fn windows(display: &str) -> Vec<WindowInfo> {
    let (connection, root) = connect(display);
    windows_of(&connection, root)
}

/// The same over an open connection.
pub fn windows_of(connection: &RustConnection, root: Window) -> Vec<WindowInfo> {
    let mut found = Vec::new();
    walk(connection, root, root, 3, &mut found);
    found
}

/// Waits for a visible window whose title or class contains `text`.
///
/// # Panics
/// When there is none after `limit`.
pub fn wait_window(display: &str, text: &str, limit: Duration) -> WindowInfo {
    wait_until(limit, &format!("a window with {text:?} on {display}"), || find_window(display, text))
}

/// A visible window whose title or class contains `text`.
pub fn find_window(display: &str, text: &str) -> Option<WindowInfo> {
    windows(display).into_iter().find(|window| window.title.contains(text) || window.class.contains(text))
}

/// Windows come and go while one looks, so that everything here may fail and then is no window.
fn walk(
    connection: &RustConnection,
    root: Window,
    window: Window,
    depth: u32,
    found: &mut Vec<WindowInfo>,
) -> Option<()> {
    let tree = connection.query_tree(window).ok()?.reply().ok()?;
    for child in tree.children {
        let Some(attributes) = connection.get_window_attributes(child).ok().and_then(|c| c.reply().ok()) else {
            continue;
        };
        if attributes.map_state != MapState::VIEWABLE {
            continue;
        }
        if let Some(info) = describe(connection, root, child) {
            found.push(info);
        }
        if depth > 1 {
            walk(connection, root, child, depth - 1, found);
        }
    }
    Some(())
}

fn describe(connection: &RustConnection, root: Window, id: Window) -> Option<WindowInfo> {
    let utf8_name = connection.intern_atom(false, b"_NET_WM_NAME").ok()?.reply().ok()?.atom;
    let text = |property: u32| {
        let reply = connection.get_property(false, id, property, AtomEnum::ANY, 0, 1024).ok()?.reply().ok()?;
        Some(String::from_utf8_lossy(&reply.value).replace('\0', " ").trim().to_owned())
    };
    let class = text(AtomEnum::WM_CLASS.into())?;
    let title = text(utf8_name).filter(|title| !title.is_empty()).or_else(|| text(AtomEnum::WM_NAME.into()))?;
    if class.is_empty() && title.is_empty() {
        return None;
    }
    let geometry = connection.get_geometry(id).ok()?.reply().ok()?;
    let corner = connection.translate_coordinates(id, root, 0, 0).ok()?.reply().ok()?;
    let (x, y) = (corner.dst_x.max(0) as u32, corner.dst_y.max(0) as u32);
    Some(WindowInfo { id, title, class, place: Rect::new(x, y, geometry.width.into(), geometry.height.into()) })
}
