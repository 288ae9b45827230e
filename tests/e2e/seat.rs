//! What every story here needs: a person's display with a window manager, a host with its desktop, a viewer between them.
//! A picture is exact when the viewer's window and the session's own framebuffer are equal in every pixel.
//! Which programs a story needs is asked first: without them it says that it is skipped, unless that is a failure.
#![allow(unreachable_pub, reason = "shared by the stories beside it, in a binary that has no public")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kachel::geom::{Rect, Size};
use rustix::process::Signal;
use serde_json::Value;
use x11rb::connection::{Connection, RequestConnection as _};
use x11rb::protocol::xfixes::ConnectionExt as _;
use x11rb::protocol::xkb::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _, CreateGCAux,
    CreateWindowAux, EventMask, ImageFormat, InputFocus, Rectangle, StackMode, SubwindowMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::support::display::{Display, WindowInfo, connect, connect_with_cookie, grab, windows_of};
use crate::support::input::Input;
use crate::support::link::{Host, HostOptions, Viewer, ViewerOptions};
use crate::support::picture::{Difference, Picture};
use crate::support::process::Processes;
use crate::support::wait::{wait_for, wait_until};

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A picture that has not changed for this long is taken for the last one.
const CALM: Duration = Duration::from_millis(300);
/// What a picture may be behind the session at the end of a change. The aim is 0.5 s; the rest is for machines that
/// compile something at the same time.
pub const EXACT_WITHIN: Duration = Duration::from_millis(1500);
/// The tiers, as `--renderer` names them.
pub const TIERS: [&str; 3] = ["cpu", "gpu", "gl"];

/// The programs that every story needs.
pub const PROGRAMS: &[&str] = &["Xvfb", "openbox", "setxkbmap", "xterm", "xfce4-session", "mousepad"];

/// Whether these programs are there; if not, the story is skipped and says so.
///
/// # Panics
/// When one is missing and `KACHEL_TEST_E2E` is `require`.
pub fn has(programs: &[&str]) -> bool {
    let found = |name: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    let Some(missing) = programs.iter().find(|name| !found(name)) else { return true };
    assert!(std::env::var("KACHEL_TEST_E2E").as_deref() != Ok("require"), "{missing} is not installed");
    eprintln!("skipped: {missing} is not installed");
    false
}

/// Which window manager a person's display has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowManager {
    /// openbox.
    Openbox,
    /// None at all; windows get what they ask for, and no focus.
    Absent,
}

/// A person's display: what stands on a desk, not what runs far away.
pub struct Desk {
    display: Display,
    connection: RustConnection,
    root: Window,
    manager: WindowManager,
    _programs: Processes,
}

impl Desk {
    /// A display of 1600x1000 with a German keyboard.
    pub fn new(manager: WindowManager) -> Self {
        let display = Display::start(Size::new(1600, 1000));
        let mut programs = Processes::new("desk");
        let (connection, root) = connect(display.name());
        if manager == WindowManager::Openbox {
            programs.spawn("openbox", Command::new("openbox").env("DISPLAY", display.name()));
            let check = intern(&connection, "_NET_SUPPORTING_WM_CHECK");
            wait_until(PATIENCE, "openbox takes the display", || {
                let reply = connection.get_property(false, root, check, AtomEnum::ANY, 0, 1).ok()?.reply().ok()?;
                (!reply.value.is_empty()).then_some(())
            });
        }
        let desk = Self { display, connection, root, manager, _programs: programs };
        desk.set_layout("de");
        desk
    }

    /// The display's name.
    pub fn name(&self) -> &str {
        self.display.name()
    }

    /// Gives the keyboard a layout, as a desktop's settings do.
    pub fn set_layout(&self, layout: &str) {
        let mut command = Command::new("setxkbmap");
        command.args(["-rules", "evdev", "-model", "pc105", "-layout", layout]).env("DISPLAY", self.name());
        assert!(command.status().expect("setxkbmap runs").success(), "setxkbmap refuses {layout}");
    }

    /// A keyboard and a pointer, with the layout of now.
    pub fn input(&self) -> Input {
        Input::of(self.name())
    }

    /// Gives a window the keyboard, by whoever decides that here.
    pub fn focus(&self, window: Window) {
        if self.manager == WindowManager::Openbox {
            self.tell_manager(window, "_NET_ACTIVE_WINDOW", [2, 0, 0, 0, 0]);
        } else {
            let raised = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
            self.connection.configure_window(window, &raised).expect("the X connection holds");
            self.connection.set_input_focus(InputFocus::PARENT, window, 0_u32).expect("the X connection holds");
        }
        self.sync();
        wait_until(PATIENCE, "the window has the keyboard", || {
            let focus = self.connection.get_input_focus().ok()?.reply().ok()?.focus;
            (focus == window).then_some(())
        });
    }

    /// Asks for another size of a window, as a drag at its corner does.
    pub fn resize(&self, window: Window, size: Size) {
        let wanted = ConfigureWindowAux::new().width(size.w).height(size.h);
        self.connection.configure_window(window, &wanted).expect("the X connection holds");
        self.sync();
    }

    /// Minimises a window.
    pub fn minimise(&self, window: Window) {
        const ICONIC: u32 = 3;
        self.tell_manager(window, "WM_CHANGE_STATE", [ICONIC, 0, 0, 0, 0]);
    }

    /// Brings a minimised window back.
    pub fn restore(&self, window: Window) {
        self.tell_manager(window, "_NET_ACTIVE_WINDOW", [2, 0, 0, 0, 0]);
    }

    /// Where a window is now, without its frame.
    pub fn place(&self, window: Window) -> Rect {
        let geometry = self.connection.get_geometry(window).expect("the X connection holds").reply().expect("window");
        let corner = self.connection.translate_coordinates(window, self.root, 0, 0).expect("the X connection holds");
        let corner = corner.reply().expect("window");
        let (x, y) = (corner.dst_x.max(0) as u32, corner.dst_y.max(0) as u32);
        Rect::new(x, y, geometry.width.into(), geometry.height.into())
    }

    /// What a window shows, clipped at the display's edges.
    pub fn picture(&self, window: Window) -> Picture {
        let place = self.place(window).intersection(Rect::new(0, 0, 1600, 1000));
        if place.is_empty() {
            // A minimised window lies outside.
            return Picture::new(Size::default(), Vec::new());
        }
        grab(&self.connection, self.root, Some(place))
    }

    /// The size of the pointer as it is shown now.
    pub fn pointer_size(&self) -> Size {
        self.pointer().size
    }

    /// Gives the display behind all windows a colour.
    pub fn paint_background(&self, color: u32) {
        let look = ChangeWindowAttributesAux::new().background_pixel(color);
        self.connection.change_window_attributes(self.root, &look).expect("the X connection holds");
        self.connection.clear_area(false, self.root, 0, 0, 0, 0).expect("the X connection holds");
        self.sync();
    }

    /// What is in a window itself at this moment; `None` when it changes its size right now.
    pub fn inside(&self, window: Window) -> Option<Picture> {
        let geometry = self.connection.get_geometry(window).ok()?.reply().ok()?;
        let (w, h) = (geometry.width, geometry.height);
        let image = self.connection.get_image(ImageFormat::Z_PIXMAP, window, 0, 0, w, h, !0).ok()?.reply().ok()?;
        Some(picture_from_words(Size::new(w.into(), h.into()), &image.data))
    }

    /// A plain window that takes the keyboard away, like any other program's; it ends with the desk.
    pub fn another_window(&self) -> Window {
        let window = self.connection.generate_id().expect("X has ids left");
        let look = CreateWindowAux::new().background_pixel(0x44_6644).event_mask(EventMask::KEY_PRESS);
        let (depth, class) = (24, WindowClass::INPUT_OUTPUT);
        self.connection
            .create_window(depth, window, self.root, 1300, 850, 200, 100, 0, class, 0, &look)
            .expect("the X connection holds");
        self.connection.map_window(window).expect("the X connection holds");
        self.sync();
        wait_until(PATIENCE, "the other window is seen", || {
            let state = self.connection.get_window_attributes(window).ok()?.reply().ok()?.map_state;
            (state == x11rb::protocol::xproto::MapState::VIEWABLE).then_some(())
        });
        self.focus(window);
        window
    }

    /// The lock keys' lights: Caps, Num, Scroll.
    pub fn locks(&self) -> [bool; 3] {
        locks_of(&self.connection)
    }

    /// The pointer's shape at this moment.
    pub fn pointer(&self) -> Pointer {
        pointer_of(&self.connection)
    }

    /// Waits until the X server has done everything so far.
    pub fn sync(&self) {
        self.connection.get_input_focus().expect("the X connection holds").reply().expect("the X server answers");
    }

    fn tell_manager(&self, window: Window, message: &str, data: [u32; 5]) {
        let kind = intern(&self.connection, message);
        let event = ClientMessageEvent::new(32, window, kind, data);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.connection.send_event(false, self.root, mask, event).expect("the X connection holds");
        self.sync();
    }
}

/// A session's X server, seen from inside.
pub struct Remote {
    connection: RustConnection,
    root: Window,
}

impl Remote {
    /// The screen of session `index`.
    pub fn of(host: &mut Host, index: usize) -> Self {
        let (display, xauthority) = host.session_display(index);
        let (connection, root) = match xauthority {
            Some(file) => connect_with_cookie(&display, Path::new(&file)),
            // Only a desktop of our own has a cookie.
            None => connect(&display),
        };
        Self { connection, root }
    }

    /// The size of the screen.
    pub fn size(&self) -> Size {
        let geometry = self.connection.get_geometry(self.root).expect("the session's X server lives");
        let geometry = geometry.reply().expect("the session's X server lives");
        Size::new(geometry.width.into(), geometry.height.into())
    }

    /// The whole framebuffer; `None` when its size changed meanwhile.
    pub fn picture(&self) -> Option<Picture> {
        let size = self.size();
        let (w, h) = (size.w as u16, size.h as u16);
        let image = self.connection.get_image(ImageFormat::Z_PIXMAP, self.root, 0, 0, w, h, !0).ok()?.reply().ok()?;
        Some(picture_from_words(size, &image.data))
    }

    /// The session's windows.
    pub fn windows(&self) -> Vec<WindowInfo> {
        windows_of(&self.connection, self.root)
    }

    /// What the display's resources say of `name`.
    pub fn resource(&self, name: &str) -> Option<String> {
        let (property, kind) = (AtomEnum::RESOURCE_MANAGER, AtomEnum::STRING);
        let request = self.connection.get_property(false, self.root, property, kind, 0, 1 << 16).ok()?;
        let text = String::from_utf8_lossy(&request.reply().ok()?.value).into_owned();
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    }

    /// Waits for a window whose title or class contains `text`.
    pub fn wait_window(&self, text: &str) -> WindowInfo {
        wait_until(PATIENCE, &format!("a window {text:?} in the session"), || {
            self.windows().into_iter().find(|w| w.title.contains(text) || w.class.contains(text))
        })
    }

    /// Asks the window manager to give a window of the session the keyboard; it may have reasons not to.
    pub fn ask_focus(&self, window: Window) {
        let kind = intern(&self.connection, "_NET_ACTIVE_WINDOW");
        let event = ClientMessageEvent::new(32, window, kind, [2, 0, 0, 0, 0]);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.connection.send_event(false, self.root, mask, event).expect("the session's X server lives");
        self.sync();
    }

    /// Gives a window of the session the keyboard.
    pub fn focus(&self, window: Window) {
        wait_until(PATIENCE, "a window of the session has the keyboard", || {
            self.ask_focus(window);
            let focus = self.connection.get_input_focus().ok()?.reply().ok()?.focus;
            (focus == window || self.is_inside(focus, window)).then_some(())
        });
    }

    /// Whether a window of this class, or anything in it, has the keyboard.
    pub fn has_focus(&self, class: &str) -> bool {
        let focus = self.connection.get_input_focus().expect("the session's X server lives").reply();
        let focus = focus.expect("the session's X server answers").focus;
        let mut ours = self.windows().into_iter().filter(|w| w.class.contains(class));
        ours.any(|w| focus == w.id || self.is_inside(focus, w.id))
    }

    /// Moves and sizes a window of the session.
    pub fn put(&self, window: Window, place: Rect) {
        let (x, y) = (place.x.cast_signed(), place.y.cast_signed());
        let wanted = ConfigureWindowAux::new().x(x).y(y).width(place.w).height(place.h);
        self.connection.configure_window(window, &wanted).expect("the session's X server lives");
        self.sync();
    }

    /// Covers the whole screen with a window of its own: the left part in one colour, the right part in another.
    pub fn cover(&self, left: u32, right: u32) -> Cover<'_> {
        let window = self.connection.generate_id().expect("X has ids left");
        let look = CreateWindowAux::new().background_pixel(left).override_redirect(1);
        let (depth, class) = (24, WindowClass::INPUT_OUTPUT);
        let inner = self.connection.generate_id().expect("X has ids left");
        self.connection.create_window(depth, window, self.root, 0, 0, 4000, 4000, 0, class, 0, &look).expect("lives");
        let look = CreateWindowAux::new().background_pixel(right);
        self.connection.create_window(depth, inner, window, 500, 0, 3500, 4000, 0, class, 0, &look).expect("lives");
        self.connection.map_subwindows(window).expect("the session's X server lives");
        self.connection.map_window(window).expect("the session's X server lives");
        self.sync();
        Cover { remote: self, window }
    }

    /// The lock keys' lights: Caps, Num, Scroll.
    pub fn locks(&self) -> [bool; 3] {
        locks_of(&self.connection)
    }

    /// The pointer's shape at this moment.
    pub fn pointer(&self) -> Pointer {
        pointer_of(&self.connection)
    }

    /// Where the pointer is.
    pub fn pointer_at(&self) -> (u32, u32) {
        let pointer = self.connection.query_pointer(self.root).expect("the session's X server lives").reply();
        let pointer = pointer.expect("the session's X server lives");
        (pointer.root_x as u32, pointer.root_y as u32)
    }

    /// Keys of the session's keyboard that are down, by the X server's own account.
    pub fn keys_down(&self) -> u32 {
        let keys = self.connection.query_keymap().expect("the session's X server lives").reply();
        keys.expect("the session's X server lives").keys.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Pointer buttons and modifiers that are down.
    pub fn buttons_down(&self) -> u16 {
        let pointer = self.connection.query_pointer(self.root).expect("the session's X server lives").reply();
        u16::from(pointer.expect("the session's X server lives").mask) & 0x1f00
    }

    /// Waits until the X server has done everything so far.
    pub fn sync(&self) {
        self.connection.get_input_focus().expect("the X connection holds").reply().expect("the X server answers");
    }

    fn is_inside(&self, mut window: Window, outer: Window) -> bool {
        while window > 1 && window != self.root {
            if window == outer {
                return true;
            }
            let Some(tree) = self.connection.query_tree(window).ok().and_then(|c| c.reply().ok()) else { break };
            window = tree.parent;
        }
        false
    }
}

/// A window over everything in a session; gone when dropped.
pub struct Cover<'a> {
    remote: &'a Remote,
    window: Window,
}

impl Cover<'_> {
    /// Paints a rectangle of the cover's left part.
    pub fn fill(&self, rect: Rect, color: u32) {
        let connection = &self.remote.connection;
        let gc = connection.generate_id().expect("X has ids left");
        connection.create_gc(gc, self.window, &CreateGCAux::new().foreground(color)).expect("lives");
        let r = Rectangle { x: rect.x as i16, y: rect.y as i16, width: rect.w as u16, height: rect.h as u16 };
        connection.poly_fill_rectangle(self.window, gc, &[r]).expect("lives");
        connection.free_gc(gc).expect("lives");
        self.remote.sync();
    }
}

impl Cover<'_> {
    /// Gives the pointer, which is always over the cover, a shape that was never there: a square.
    pub fn point(&self, side: u16) {
        let connection = &self.remote.connection;
        let id = || connection.generate_id().expect("X has ids left");
        let (bits, gc, cursor) = (id(), id(), id());
        connection.create_pixmap(1, bits, self.window, side, side).expect("lives");
        connection.create_gc(gc, bits, &CreateGCAux::new().foreground(1)).expect("lives");
        let whole = Rectangle { x: 0, y: 0, width: side, height: side };
        connection.poly_fill_rectangle(bits, gc, &[whole]).expect("lives");
        connection.create_cursor(cursor, bits, bits, !0, 0, 0, 0, 0, 0, 0, 0).expect("lives");
        let look = ChangeWindowAttributesAux::new().cursor(cursor);
        connection.change_window_attributes(self.window, &look).expect("lives");
        connection.free_cursor(cursor).expect("lives");
        connection.free_gc(gc).expect("lives");
        connection.free_pixmap(bits).expect("lives");
        self.remote.sync();
    }

    /// Shows a picture from row `top` on, all of it at once.
    pub fn show(&self, picture: &Picture, top: u32) {
        let (connection, size) = (&self.remote.connection, self.remote.size());
        let (pixmap, gc) = (connection.generate_id().expect("X has ids left"), connection.generate_id().expect("ids"));
        let (w, h) = (size.w.min(picture.size().w), size.h.min(picture.size().h - top));
        connection.create_pixmap(24, pixmap, self.window, w as u16, h as u16).expect("lives");
        let look = CreateGCAux::new().graphics_exposures(0).subwindow_mode(SubwindowMode::INCLUDE_INFERIORS);
        connection.create_gc(gc, self.window, &look).expect("lives");
        // As many rows as a request may have.
        let rows = (connection.maximum_request_bytes() - 64) as u32 / (4 * w);
        for y in (0..h).step_by(rows as usize) {
            let part = picture.crop(Rect::new(0, top + y, w, rows.min(h - y)));
            let bytes: Vec<u8> = part.pixels().iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
            let (width, height, format) = (w as u16, part.size().h as u16, ImageFormat::Z_PIXMAP);
            connection.put_image(format, pixmap, gc, width, height, 0, y as i16, 0, 24, &bytes).expect("lives");
        }
        connection.copy_area(pixmap, self.window, gc, 0, 0, 0, 0, w as u16, h as u16).expect("lives");
        connection.free_gc(gc).expect("lives");
        connection.free_pixmap(pixmap).expect("lives");
        self.remote.sync();
    }
}

impl Drop for Cover<'_> {
    fn drop(&mut self) {
        self.remote.connection.destroy_window(self.window).ok();
        self.remote.connection.flush().ok();
    }
}

/// Opens a terminal in the first session in which whatever is typed goes to `file` line by line, and gives it the keyboard.
pub fn open_typewriter(host: &mut Host, remote: &Remote, file: &Path) -> WindowInfo {
    let script = format!("cat > '{}'", file.display());
    let title = format!("typewriter {}", file.file_name().expect("a file has a name").to_string_lossy());
    host.exec(&["xterm", "-u8", "-T", &title, "-e", "sh", "-c", &script]);
    let window = remote.wait_window(&title);
    remote.focus(window.id);
    wait_until(PATIENCE, "the terminal reads", || file.exists().then_some(()));
    window
}

/// A desk, a host, and a viewer between them.
pub struct Seat {
    /// The person's display.
    pub desk: Desk,
    /// The host.
    pub host: Host,
    /// The session's screen.
    pub remote: Remote,
    /// The viewer.
    pub viewer: Viewer,
    /// The viewer's window.
    pub window: Window,
    options: HostOptions,
}

impl Seat {
    /// Starts everything and waits for the first exact picture.
    pub fn new(manager: WindowManager, renderer: &'static str) -> Self {
        Self::with_desk(Desk::new(manager), renderer)
    }

    /// The same with a desk that is there already.
    pub fn with_desk(desk: Desk, renderer: &'static str) -> Self {
        Self::with_host(desk, host_options(0), renderer)
    }

    /// The same with a display that is there already instead of a desktop.
    pub fn attached(desk: Desk, display: &Display, renderer: &'static str) -> Self {
        let options = HostOptions { attach: Some(display.name().to_owned()), ..host_options(0) };
        Self::with_host(desk, options, renderer)
    }

    fn with_host(desk: Desk, options: HostOptions, renderer: &'static str) -> Self {
        let mut host = Host::start(&host_program(), &options);
        let remote = Remote::of(&mut host, 0);
        let (viewer, window) = start_viewer(&desk, &host.trial_file(), renderer);
        let mut seat = Self { desk, host, remote, viewer, window, options };
        seat.wait_exact("the first picture", PATIENCE);
        seat.assert_tier(renderer);
        seat
    }

    /// Ends the viewer as a user does not, and starts another.
    pub fn replace_viewer(&mut self, renderer: &'static str) {
        self.assert_logs();
        self.viewer.processes().end("kachel", Signal::KILL);
        self.open_viewer(renderer);
        self.wait_exact("the new viewer's picture", PATIENCE);
    }

    /// Starts another viewer and looks at that one from now on. Its picture comes later.
    pub fn open_viewer(&mut self, renderer: &'static str) {
        (self.viewer, self.window) = start_viewer(&self.desk, &self.host.trial_file(), renderer);
        self.assert_tier(renderer);
    }

    /// Ends the viewer as a user does not, and starts another in this way.
    pub fn replace_viewer_by(&mut self, options: &ViewerOptions) {
        self.viewer.processes().end("kachel", Signal::KILL);
        (self.viewer, self.window) = start_viewer_by(&self.desk, &self.host.trial_file(), options);
    }

    /// Sees to it that the tier is at work that was asked for: one that falls back shows the same picture.
    fn assert_tier(&mut self, renderer: &'static str) {
        let has_hardware = || kachel::io::gpu::has_hardware(&kachel::io::gpu::instance(None));
        let wanted: &[&str] = match renderer {
            "gpu" => &["compute"],
            "gl" => &["gl"],
            // A real GPU may be too old for compute shaders.
            "auto" if has_hardware() => &["compute", "gl"],
            "auto" | "cpu" => &["cpu"],
            _ => panic!("no renderer is called {renderer}"),
        };
        let tier = wait_for(PATIENCE, || Some(self.viewer.stats().last()?["tier"].as_str()?.to_owned()));
        let tier = tier.unwrap_or_default();
        assert!(wanted.contains(&&*tier), "{renderer}: {tier} draws\n{}", self.viewer.processes().log_tail("kachel"));
    }

    /// Waits until the last line of the viewer's statistics has a number for each of these.
    pub fn wait_numbers(&self, names: &[&str]) {
        wait_until(PATIENCE, &format!("{names:?} in the statistics"), || {
            let line = self.viewer.stats().pop()?;
            names.iter().all(|name| line[name].as_u64().is_some_and(|number| number > 0)).then_some(())
        });
    }

    /// Kills the front and starts it again.
    pub fn restart_front(&mut self) {
        self.host.end_front(Signal::KILL);
        self.serve_again();
    }

    /// Starts the front again that has been ended.
    pub fn serve_again(&mut self) {
        self.host.serve(&self.options);
    }

    /// The keyboard and pointer before the viewer, which has the focus; the pointer rests in the window's middle.
    pub fn input(&self) -> Input {
        let input = self.desk.input();
        self.desk.focus(self.window);
        let place = self.desk.place(self.window);
        input.move_to(place.x + place.w / 2, place.y + place.h / 2);
        input.sync();
        input
    }

    /// How far the viewer's window and the session are apart; `None` when the screen changes its size right now.
    pub fn difference(&self) -> Option<Difference> {
        Some(self.desk.picture(self.window).diff(&self.remote.picture()?))
    }

    /// Waits until the window shows the session's screen to the pixel, and says how long that took.
    ///
    /// # Panics
    /// When it does not come to that in `limit`; both pictures are left in the folder of the viewer's log.
    pub fn wait_exact(&mut self, what: &str, limit: Duration) -> Duration {
        let begin = Instant::now();
        let exact = wait_for(limit, || self.difference()?.is_none().then(|| begin.elapsed()));
        exact.unwrap_or_else(|| self.fail(what, limit))
    }

    /// Waits until the window shows the session's screen below the place of the viewer's own bar.
    pub fn wait_picture(&mut self, what: &str) {
        let shown = wait_for(PATIENCE, || {
            let (window, remote) = (self.desk.picture(self.window), self.remote.picture()?);
            (window.size() == remote.size() && below_bar(&window) == below_bar(&remote)).then_some(())
        });
        if shown.is_none() {
            self.fail(what, PATIENCE);
        }
    }

    /// Waits until the session's screen is calm and the window equal to it; how long after the last change that was.
    ///
    /// # Panics
    /// As `wait_exact`.
    pub fn settle(&mut self, what: &str) -> Duration {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        let (mut changed_at, mut equal_at) = (Instant::now(), None);
        while Instant::now() < end {
            let looked_at = Instant::now();
            let remote = self.remote.picture();
            if remote != last || remote.is_none() {
                (changed_at, equal_at, last) = (looked_at, None, remote);
            }
            let window = self.desk.picture(self.window);
            match &last {
                Some(remote) if *remote == window => {
                    let at = *equal_at.get_or_insert_with(Instant::now);
                    if changed_at.elapsed() > CALM {
                        return at.saturating_duration_since(changed_at);
                    }
                }
                _ => equal_at = None,
            }
        }
        self.fail(what, PATIENCE)
    }

    /// The session's line of `kachel-host status --json`.
    pub fn status(&self) -> Option<Value> {
        self.host.status()?.get("sessions")?.get(0).cloned()
    }

    /// A number of the session's status.
    pub fn status_number(&self, key: &str) -> Option<u64> {
        self.status()?.get(key)?.as_u64()
    }

    /// Waits until no key and no button is down, by the session's account and the X server's: what a key does is seen before
    /// it is up.
    pub fn wait_released(&self, what: &str) {
        wait_until(PATIENCE, &format!("keys and buttons are up: {what}"), || {
            let told = self.status_number("keys_down")?;
            (told == 0 && self.remote.keys_down() == 0 && self.remote.buttons_down() == 0).then_some(())
        });
    }

    /// The viewer's idea of the link, as its statistics file last said.
    pub fn link_state(&self) -> String {
        state_of(&self.viewer)
    }

    /// A file that the session's programs and this test both reach.
    pub fn file(&self, name: &str) -> PathBuf {
        self.host.state().with_file_name(name)
    }

    /// Opens a terminal in the session in which whatever is typed goes to `file` line by line, and gives it the keyboard.
    pub fn open_typewriter(&mut self, file: &Path) -> WindowInfo {
        let window = open_typewriter(&mut self.host, &self.remote, file);
        // A desktop that is still starting gives the keyboard to whoever comes last; first letters were lost to it.
        self.settle("the terminal is open");
        self.remote.focus(window.id);
        window
    }

    /// The processes of the host that are the front and the session process.
    pub fn host_pids(&self) -> Option<(u32, u32)> {
        let session = u32::try_from(self.status_number("pid")?).ok()?;
        Some((self.host.front_pid(), session))
    }

    /// Everything that the programs have logged.
    pub fn logs(&mut self) -> String {
        let session = self.host.state().join("sessions/trial/session.log");
        let session = std::fs::read_to_string(session).unwrap_or_default();
        let front = self.host.processes().log("kachel-host");
        format!("{}\n{front}\n{session}", self.viewer.processes().log("kachel"))
    }

    /// Fails when a program has a defect to report.
    pub fn assert_no_panic(&mut self) {
        self.assert_logs();
        self.viewer.processes().assert_running();
    }

    /// No log that is there speaks of a panic.
    fn assert_logs(&mut self) {
        let logs = self.logs();
        for line in logs.lines() {
            let defect = ["has a defect", "internal error", "panicked"].iter().any(|word| line.contains(word));
            assert!(!defect, "a program has panicked: {line}");
        }
    }

    fn fail(&mut self, what: &str, limit: Duration) -> ! {
        let folder = self.viewer.processes().folder().to_owned();
        let window = self.desk.picture(self.window);
        window.save_png(&folder.join("window.png")).ok();
        let difference = self.remote.picture().map(|remote| {
            remote.save_png(&folder.join("remote.png")).ok();
            window.diff(&remote)
        });
        let (size, state) = (self.remote.size(), self.link_state());
        panic!(
            "{what}: not exact within {limit:?}: {difference:?}, window {:?}, screen {size:?}, link {state}, pictures \
             in {}\n{}",
            window.size(),
            folder.display(),
            self.viewer.processes().log_tail("kachel")
        )
    }
}

/// A person's display and a host, with the first session's screen; no viewer is between them yet.
pub fn without_viewer(options: &HostOptions) -> (Desk, Host, Remote) {
    let desk = Desk::new(WindowManager::Openbox);
    let mut host = Host::start(&host_program(), options);
    let remote = Remote::of(&mut host, 0);
    (desk, host, remote)
}

/// Starts a viewer with a trial file and waits for its window.
pub fn start_viewer(desk: &Desk, trial: &Path, renderer: &'static str) -> (Viewer, Window) {
    start_viewer_by(desk, trial, &ViewerOptions { renderer, ..ViewerOptions::on(desk.name()) })
}

/// The same in a way of one's own.
pub fn start_viewer_by(desk: &Desk, trial: &Path, options: &ViewerOptions) -> (Viewer, Window) {
    let before: Vec<Window> = kachel_windows(desk);
    let mut viewer = Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), trial, options);
    let window = wait_for(PATIENCE, || {
        viewer.processes().assert_running();
        kachel_windows(desk).into_iter().find(|window| !before.contains(window))
    });
    let window = window.unwrap_or_else(|| panic!("no window\n{}", viewer.processes().log_tail("kachel")));
    (viewer, window)
}

/// Waits until a file says exactly this.
pub fn wait_for_exactly(file: &Path, wanted: &str, what: &str) {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    let same = wait_for(PATIENCE, || (read() == wanted).then_some(()));
    assert!(same.is_some(), "{what}: wanted {wanted:?}, found {:?}", read());
}

/// All of a picture that the viewer's bar never covers.
pub fn below_bar(picture: &Picture) -> Picture {
    const BAR: u32 = 80;
    let size = picture.size();
    picture.crop(Rect::new(0, BAR, size.w, size.h - BAR))
}

/// The viewer's idea of the link, as its statistics file last said.
pub fn state_of(viewer: &Viewer) -> String {
    let state = viewer.stats().last().and_then(|line| line["state"].as_str().map(str::to_owned));
    state.unwrap_or_default()
}

/// Options of a host at a port that stays the same when its front comes back.
pub fn host_options(more_trials: usize) -> HostOptions {
    let listen = Some(crate::support::link::free_loopback_port());
    HostOptions { listen, more_trials, ..HostOptions::default() }
}

/// Where `kachel-host` is.
pub fn host_program() -> PathBuf {
    env!("CARGO_BIN_EXE_kachel-host").into()
}

/// A pointer's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Width and height.
    pub size: Size,
    /// The pixel that points.
    pub hot: (u16, u16),
    /// 0xAARRGGBB, colours multiplied by alpha.
    pub pixels: Vec<u32>,
}

fn locks_of(connection: &RustConnection) -> [bool; 3] {
    connection.xkb_use_extension(1, 0).expect("the X connection holds").reply().expect("XKB");
    let state = connection.xkb_get_indicator_state(xkb::ID::USE_CORE_KBD.into()).expect("the X connection holds");
    let state = state.reply().expect("a keyboard has lights").state;
    [1, 2, 4].map(|light| state & light != 0)
}

fn pointer_of(connection: &RustConnection) -> Pointer {
    connection.xfixes_query_version(4, 0).expect("the X connection holds").reply().expect("XFIXES");
    let image = connection.xfixes_get_cursor_image().expect("the X connection holds").reply().expect("a pointer");
    let size = Size::new(image.width.into(), image.height.into());
    Pointer { size, hot: (image.xhot, image.yhot), pixels: image.cursor_image }
}

fn kachel_windows(desk: &Desk) -> Vec<Window> {
    let all = windows_of(&desk.connection, desk.root);
    all.into_iter().filter(|w| w.title.contains("achel") || w.class.contains("achel")).map(|w| w.id).collect()
}

fn picture_from_words(size: Size, words: &[u8]) -> Picture {
    Picture::new(size, words.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], 0])).collect())
}

fn intern(connection: &RustConnection, name: &str) -> u32 {
    connection.intern_atom(false, name.as_bytes()).expect("the X connection holds").reply().expect("an atom").atom
}
