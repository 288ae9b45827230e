//! The viewer's window on Wayland: the desktop in it, and keys by the compositor's layout. The compositor is weston, as a
//! window of a person's X display, so that keys and pointer come to it as they do to every other program.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kachel::geom::Rect;

use crate::seat::{Desk, PATIENCE, PROGRAMS, Remote, WindowManager, has, host_options, host_program, open_typewriter};
use crate::support::display::wait_window;
use crate::support::link::{Host, Viewer, ViewerOptions};
use crate::support::picture::Picture;
use crate::support::process::Processes;
use crate::support::wait::wait_until;
use crate::typing::wait_for_text;

/// The socket's name.
const SOCKET: &str = "wayland-kachel";
/// What the compositor draws itself, its pointer, is within so many pixels of the corner.
const CORNER: u32 = 64;

#[test]
fn on_wayland_the_desktop_is_exact_and_keys_have_the_compositors_layout() {
    if !has(PROGRAMS) || !has(&["weston"]) {
        return;
    }
    let desk = Desk::new(WindowManager::Openbox);
    // Neither what the desk's locale says nor what a session has by itself.
    desk.set_layout("ch");
    // Its shell for one program: a window without a frame, as large as the output.
    let (mut programs, output) = start_weston(&desk);
    let (mut input, place) = (desk.input(), desk.place(output));
    input.move_to(place.x + 1, place.y + 1);
    let mut host = Host::start(&host_program(), &host_options(0));
    let remote = Remote::of(&mut host, 0);
    let mut viewer = start_viewer(&desk, &host, &programs, SOCKET);
    let inner = |picture: &Picture| {
        let size = picture.size();
        picture.crop(Rect::new(CORNER, CORNER, size.w.saturating_sub(CORNER), size.h.saturating_sub(CORNER)))
    };
    wait_until(PATIENCE, "the session has the output's size, and the output shows it to the pixel", || {
        let (shown, session) = (desk.picture(output), remote.picture()?);
        let is_large = session.size() == shown.size() && session.size().w == 1200;
        (is_large && inner(&shown).diff(&inner(&session)).is_none()).then_some(())
    });

    let file = host.state().with_file_name("typed");
    open_typewriter(&mut host, &remote, &file);
    desk.focus(output);
    let text = "Zyx äöü éèà ç 7 € @ # {[]}";
    input.type_by_layout(text, Duration::from_millis(8));
    input.press("Return");
    wait_for_text(&file, text, "on Wayland");
    // What a key does is seen before it is up.
    let keys_down = || host.status()?["sessions"][0]["keys_down"].as_u64();
    wait_until(PATIENCE, "no key stays down", || (keys_down()? == 0).then_some(()));
    viewer.processes().assert_running();
    programs.assert_running();
}

#[test]
fn on_wayland_a_window_that_nobody_sees_gets_no_frames() {
    if !has(PROGRAMS) || !has(&["mutter"]) {
        return;
    }
    let desk = Desk::new(WindowManager::Openbox);
    let (mut programs, output) = start_mutter(&desk);
    let (mut input, place) = (desk.input(), desk.place(output));
    input.move_to(place.x + 1, place.y + 1);
    let mut host = Host::start(&host_program(), &host_options(0));
    let remote = Remote::of(&mut host, 0);
    let mut viewer = start_viewer(&desk, &host, &programs, SOCKET);
    let lines = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.04; done";
    host.exec(&["xterm", "-T", "lines", "-e", "sh", "-c", lines]);
    remote.wait_window("lines");
    let frames = || host.status()?["sessions"][0]["frames"].as_u64();
    let flows = || {
        let (before, lines) = (frames()?, viewer.stats().len());
        wait_until(PATIENCE, "a second goes by", || (viewer.stats().len() > lines).then_some(()));
        Some(frames()? - before)
    };
    wait_until(PATIENCE, "lines go by", || (flows()? > 5).then_some(()));
    // The compositor's other workspace: the window is on none that is shown.
    desk.focus(output);
    input.press("super+Page_Down");
    wait_until(PATIENCE, "the host sends nothing", || (flows()? == 0).then_some(()));
    input.press("super+Page_Up");
    wait_until(PATIENCE, "lines go by again", || (flows()? > 5).then_some(()));
    viewer.processes().assert_running();
    programs.assert_running();
}

/// Starts the compositor, and returns its window at the desk.
fn start_weston(desk: &Desk) -> (Processes, u32) {
    let mut programs = Processes::new("weston");
    let runtime = programs.folder().to_owned();
    let mut weston = Command::new("weston");
    weston.args(["--backend=x11-backend.so", "--use-pixman", "--shell=kiosk-shell.so", "--no-config", "--idle-time=0"]);
    weston.args(["--width=1200", "--height=760"]).arg(format!("--socket={SOCKET}"));
    programs.spawn("weston", weston.env("DISPLAY", desk.name()).env("XDG_RUNTIME_DIR", &runtime));
    wait_until(PATIENCE, "weston listens", || runtime.join(SOCKET).exists().then_some(()));
    let output = wait_window(desk.name(), "Weston", PATIENCE).id;
    (programs, output)
}

/// Starts another one, which has workspaces and asks nobody for frames whom nobody sees: GNOME's, as a window.
fn start_mutter(desk: &Desk) -> (Processes, u32) {
    let mut programs = Processes::new("mutter");
    let runtime = programs.folder().to_owned();
    let settings = runtime.join("glib-2.0/settings");
    std::fs::create_dir_all(&settings).expect("the group's folder is ours");
    let lines = "[org/gnome/mutter]\ndynamic-workspaces=false\n[org/gnome/desktop/wm/preferences]\nnum-workspaces=2\n";
    std::fs::write(settings.join("keyfile"), lines).expect("the group's folder is ours");
    let mut mutter = Command::new("dbus-run-session");
    mutter.args(["--", "mutter", "--wayland", "--nested", "--no-x11", "--sm-disable"]);
    mutter.arg(format!("--wayland-display={SOCKET}")).env("MUTTER_DEBUG_DUMMY_MODE_SPECS", "1000x700");
    mutter.env("GSETTINGS_BACKEND", "keyfile").env("XDG_CONFIG_HOME", &runtime).env("XDG_RUNTIME_DIR", &runtime);
    programs.spawn("mutter", mutter.env("DISPLAY", desk.name()).env_remove("WAYLAND_DISPLAY"));
    wait_until(PATIENCE, "mutter listens", || runtime.join(SOCKET).exists().then_some(()));
    let output = wait_window(desk.name(), "mutter", PATIENCE).id;
    (programs, output)
}

/// Starts a viewer in it.
fn start_viewer(desk: &Desk, host: &Host, programs: &Processes, socket: &str) -> Viewer {
    let path = programs.folder().display().to_string();
    let environment = [("WAYLAND_DISPLAY", socket), ("XDG_RUNTIME_DIR", &path), ("DISPLAY", "")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = ViewerOptions { environment, ..ViewerOptions::on(desk.name()) };
    Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &host.trial_file(), &options)
}
