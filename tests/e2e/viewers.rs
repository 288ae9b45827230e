//! Who sees which desktop: two viewers on two sessions, one viewer after the other on the same, and those that must
//! not get in and are told so on a page.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kachel::geom::Rect;
use kachel::io::net::files::open_to_others;
use kachel::io::net::identity::{DeviceKey, HostIdentity};
use kachel::io::net::trial::{TRIAL_LIFE, Trial};

use crate::seat::{
    Desk, PATIENCE, PROGRAMS, Remote, Seat, WindowManager, has, host_options, host_program, start_viewer,
    start_viewer_by, state_of, wait_for_exactly, without_viewer,
};
use crate::support::link::{Host, Viewer, ViewerOptions};
use crate::support::picture::Picture;
use crate::support::wait::{wait_for, wait_until};
use rustix::process::Signal;
use x11rb::protocol::xproto::Window;

/// Colours that no page of the viewer has.
const FIRST: u32 = 0xfe_12_34;
const SECOND: u32 = 0x12_fe_56;

#[test]
fn each_viewer_sees_its_own_desktop_and_the_last_one_takes_over() {
    if !has(PROGRAMS) {
        return;
    }
    let (desk, mut host, first) = without_viewer(&host_options(1));
    let second = Remote::of(&mut host, 1);
    let covers = (first.cover(FIRST, FIRST), second.cover(SECOND, SECOND));
    let (mut one, window_one) = start_viewer(&desk, &host.trial_file_of(0), "cpu");
    let (mut two, window_two) = start_viewer(&desk, &host.trial_file_of(1), "cpu");
    // Windows overlap, so that each is raised to be looked at.
    let look = |window: Window, color: u32, other: u32| {
        desk.focus(window);
        wait_picture(&desk, window, color, "the window shows its own session");
        assert_eq!(share_of(&desk.picture(window), other), 0.0);
    };
    look(window_one, FIRST, SECOND);
    look(window_two, SECOND, FIRST);
    look(window_one, FIRST, SECOND);

    // Another viewer with the first trial: it has the desktop, and the one before says so and stays where it is.
    let (mut three, window_three) = start_viewer(&desk, &host.trial_file_of(0), "cpu");
    look(window_three, FIRST, SECOND);
    wait_until(PATIENCE, "the first viewer is told", || (state_of(&one) == "ended").then_some(()));
    desk.focus(window_one);
    wait_page(&desk, window_one);
    let lines = one.stats().len();
    wait_until(PATIENCE, "it stays so for some seconds", || (one.stats().len() >= lines + 3).then_some(()));
    assert_eq!(state_of(&one), "ended", "it does not come back by itself");
    look(window_three, FIRST, SECOND);
    look(window_two, SECOND, FIRST);
    for viewer in [&mut one, &mut two, &mut three] {
        viewer.processes().assert_running();
    }
    drop(covers);
}

#[test]
fn a_viewer_that_is_told_nothing_finds_who_draws() {
    if !has(PROGRAMS) {
        return;
    }
    // The seat sees to it that a real GPU is taken, and no other.
    Seat::new(WindowManager::Openbox, "auto").assert_no_panic();
}

#[test]
fn strangers_get_in_nowhere_and_are_told() {
    if !has(PROGRAMS) {
        return;
    }
    let (desk, host, remote) = without_viewer(&host_options(0));
    let cover = remote.cover(FIRST, FIRST);

    let other = Host::start(&host_program(), &host_options(0));
    let bent = bent_trial(&host, &other);
    let (mut viewer, window) = start_viewer(&desk, &bent, "cpu");
    refuses(&desk, &mut viewer, window, "a stranger's trial");
    drop(viewer);

    // A device that was in and is taken off the list: out at once, and not in again.
    let (mut viewer, window) = start_viewer(&desk, &host.trial_file(), "cpu");
    wait_picture(&desk, window, FIRST, "the picture");
    let output = host.revoke(&device_of(&host));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until(PATIENCE, "it is sent away", || (state_of(&viewer) == "ended").then_some(()));
    wait_page(&desk, window);
    viewer.processes().assert_running();
    drop(viewer);
    let (mut viewer, window) = start_viewer(&desk, &host.trial_file(), "cpu");
    refuses(&desk, &mut viewer, window, "a revoked device");
    let status = host.status().expect("the host answers");
    assert_eq!(status["sessions"][0]["viewers"], 0, "{status}");
    drop(cover);
}

#[test]
fn an_expired_file_opens_a_window_that_says_so() {
    if !has(PROGRAMS) {
        return;
    }
    let desk = Desk::new(WindowManager::Openbox);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (then, life) = (SystemTime::now() - 3 * TRIAL_LIFE, TRIAL_LIFE);
    let identity = HostIdentity::load_or_create(folder.path(), then).expect("the folder is ours");
    let key = DeviceKey::generate().expect("a key");
    let certificate = identity.certify_device(&key, "desk", then, life).expect("a certificate");
    let addresses = vec!["127.0.0.1:7474".to_owned()];
    let trial = Trial::new(addresses, identity.host_id(), "trial", identity.ca_pem(), certificate, &key);
    let file = folder.path().join("yesterday.kachel");
    trial.write(&file).expect("the folder is ours");
    // A file manager shows nobody what stands on the standard error.
    let (mut viewer, window) = start_viewer(&desk, &file, "cpu");
    wait_page(&desk, window);
    let log = viewer.processes().log("kachel");
    assert!(log.contains("has expired"), "{log}");
    viewer.processes().assert_running();
}

#[test]
fn where_one_was_let_in_is_offered_after_a_restart_until_it_is_forgotten() {
    if !has(PROGRAMS) {
        return;
    }
    let (desk, host, remote) = without_viewer(&host_options(0));
    let cover = remote.cover(FIRST, FIRST);
    let state = host.state().with_file_name("viewer");
    let kept = state.join("kachel/recent.toml");
    let start = |target: &Path| {
        let place = ("XDG_STATE_HOME".to_owned(), state.display().to_string());
        let options = ViewerOptions { environment: vec![place], ..ViewerOptions::on(desk.name()) };
        start_viewer_by(&desk, target, &options)
    };

    let other = Host::start(&host_program(), &host_options(0));
    let (mut viewer, window) = start(&bent_trial(&host, &other));
    refuses(&desk, &mut viewer, window, "a stranger's trial");
    viewer.processes().end("kachel", Signal::TERM);
    assert!(!kept.exists(), "nobody let it in");

    let (mut viewer, window) = start(&host.trial_file());
    wait_picture(&desk, window, FIRST, "the picture");
    wait_until(PATIENCE, "the address is kept", || kept.exists().then_some(()));
    assert!(!open_to_others(&kept).expect("the file is there"));
    viewer.processes().end("kachel", Signal::KILL);

    // Told nothing, it asks where to. Nothing stands in the field, so Tab leads to the first address.
    let (mut viewer, window) = start(Path::new(""));
    wait_page(&desk, window);
    desk.focus(window);
    let mut input = desk.input();
    for key in ["Tab", "Return"] {
        input.press(key);
    }
    wait_picture(&desk, window, FIRST, "the picture, without a word");
    viewer.processes().end("kachel", Signal::TERM);

    // The computer's own name is enough by now; one that nobody has been let in by is not.
    let trial = fs::read_to_string(host.trial_file()).expect("a trial is text");
    let address = address_of(&trial).split('"').nth(1).expect("an address is a text");
    let (mut viewer, window) = start(Path::new(address));
    wait_picture(&desk, window, FIRST, "the picture, by the computer's name");
    viewer.processes().end("kachel", Signal::TERM);
    let (mut viewer, window) = start(Path::new("desk.invalid"));
    wait_page(&desk, window);
    viewer.processes().assert_running();
    viewer.processes().end("kachel", Signal::TERM);

    let (mut viewer, window) = start(Path::new(""));
    wait_page(&desk, window);
    desk.focus(window);
    for key in ["Tab", "Tab", "Return"] {
        input.press(key);
    }
    wait_for_exactly(&kept, "places = []\n", "it is forgotten");
    viewer.processes().assert_running();
    drop(cover);
}

#[test]
fn a_kiosk_shows_nothing_but_the_session_and_ends_with_it() {
    if !has(PROGRAMS) {
        return;
    }
    let options = host_options(0);
    let (desk, mut host, remote) = without_viewer(&options);
    let cover = remote.cover(FIRST, FIRST);
    let (mut viewer, window) = start_kiosk(&desk, &host);
    let whole = Rect::new(0, 0, 1600, 1000);
    let nothing_else = || desk.place(window) == whole && share_of(&desk.picture(window), FIRST) == 1.0;
    wait_until(PATIENCE, "nothing but the session", || nothing_else().then_some(()));

    // The bar comes to whoever rests at the top edge for a third of a second, and shows itself at first.
    let mut input = desk.input();
    desk.focus(window);
    input.move_to(800, 0);
    let lines = viewer.stats().len();
    wait_until(PATIENCE, "the pointer rests at the edge", || {
        let picture = desk.picture(window);
        // All of it greys while a machine is too busy for the link.
        let is_whole = picture.at(4, 995) != FIRST || share_of(&picture, FIRST) == 1.0;
        assert!(is_whole, "something is shown above the picture");
        (viewer.stats().len() >= lines + 2).then_some(())
    });
    let chord = ["ctrl", "alt", "Return"];
    for key in chord {
        input.hold(key, true);
    }
    wait_until(PATIENCE, "the session has all keys", || (remote.keys_down() == 3).then_some(()));
    for key in chord {
        input.hold(key, false);
    }
    wait_until(PATIENCE, "they are up again", || (remote.keys_down() == 0).then_some(()));
    wait_until(PATIENCE, "it is still full screen", || nothing_else().then_some(()));

    // Nobody is there to click: what breaks comes back, what has ended ends.
    host.end_front(Signal::TERM);
    wait_until(PATIENCE, "the picture greys", || (share_of(&desk.picture(window), FIRST) == 0.0).then_some(()));
    host.serve(&options);
    wait_until(PATIENCE, "the picture is back", || nothing_else().then_some(()));
    drop(cover);
    host.stop();
    assert_eq!(viewer.processes().wait_end("kachel", PATIENCE), Some(3));
}

#[test]
fn a_kiosk_waits_for_its_host_and_leaves_one_that_refuses_it() {
    if !has(PROGRAMS) {
        return;
    }
    let options = host_options(0);
    let (desk, mut host, remote) = without_viewer(&options);
    let cover = remote.cover(FIRST, FIRST);
    host.end_front(Signal::TERM);
    let (mut viewer, window) = start_kiosk(&desk, &host);
    wait_until(PATIENCE, "it tries again", || (state_of(&viewer) == "reconnecting").then_some(()));
    wait_page(&desk, window);
    host.serve(&options);
    wait_picture(&desk, window, FIRST, "the host is there now");
    let output = host.revoke(&device_of(&host));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(viewer.processes().wait_end("kachel", PATIENCE), Some(4));
    drop(cover);
}

/// Starts a viewer that shows nothing but the session.
fn start_kiosk(desk: &Desk, host: &Host) -> (Viewer, Window) {
    let options = ViewerOptions { arguments: vec!["--kiosk".to_owned()], ..ViewerOptions::on(desk.name()) };
    start_viewer_by(desk, &host.trial_file(), &options)
}

/// Waits until a window shows little but a session of this colour.
fn wait_picture(desk: &Desk, window: Window, color: u32, what: &str) {
    wait_until(PATIENCE, what, || (share_of(&desk.picture(window), color) > 0.9).then_some(()));
}

/// Waits until a window shows a page in place of the first session.
fn wait_page(desk: &Desk, window: Window) {
    wait_until(PATIENCE, "the page is up", || page_is_up(desk, window, FIRST).then_some(()));
}

/// Waits until the viewer has given up, and sees to it that it never shows the picture and stays alive.
fn refuses(desk: &Desk, viewer: &mut Viewer, window: Window, who: &str) {
    let mut seen = 0.0_f64;
    let told = wait_for(PATIENCE, || {
        seen = seen.max(share_of(&desk.picture(window), FIRST));
        (state_of(viewer) == "ended" && page_is_up(desk, window, FIRST)).then_some(())
    });
    assert!(told.is_some(), "{who}: link {}, {}", state_of(viewer), viewer.processes().log_tail("kachel"));
    assert_eq!(seen, 0.0, "{who} has seen something");
    viewer.processes().assert_running();
}

/// A trial of another host, bent to this one's address.
fn bent_trial(host: &Host, other: &Host) -> PathBuf {
    let bent = host.state().with_file_name("bent.kachel");
    let (mine, theirs) = (fs::read_to_string(host.trial_file()), fs::read_to_string(other.trial_file()));
    let (mine, theirs) = (mine.expect("a trial is text"), theirs.expect("a trial is text"));
    let text: String = theirs.lines().map(|line| if is_address(line) { address_of(&mine) } else { line }).fold(
        String::new(),
        |mut text, line| {
            text += line;
            text.push('\n');
            text
        },
    );
    assert_ne!(text, theirs, "the address has been changed");
    fs::write(&bent, text).expect("the folder is ours");
    bent
}

/// The id of the host's first device.
fn device_of(host: &Host) -> String {
    let list = fs::read_to_string(host.state().join("devices.toml")).expect("a device list is there");
    let id = list.lines().find_map(|line| line.strip_prefix("id = ")).expect("a device has an id");
    id.trim_matches('"').to_owned()
}

fn share_of(picture: &Picture, color: u32) -> f64 {
    picture.pixels().iter().filter(|pixel| **pixel == color).count() as f64 / picture.size().area() as f64
}

/// Whether a page with words is shown and the desktop is not: many colours of text edges, none of the session.
fn page_is_up(desk: &Desk, window: Window, color: u32) -> bool {
    let picture = desk.picture(window);
    let colors: std::collections::HashSet<u32> = picture.pixels().iter().copied().collect();
    colors.len() > 20 && share_of(&picture, color) < 0.5
}

fn is_address(line: &str) -> bool {
    line.starts_with("addresses")
}

fn address_of(trial: &str) -> &str {
    trial.lines().find(|line| is_address(line)).expect("a trial has addresses")
}

#[test]
fn text_has_the_size_that_the_viewers_screen_asks_for() {
    if !has(PROGRAMS) {
        return;
    }
    let (desk, mut host, remote) = without_viewer(&host_options(0));
    let told = host.state().with_file_name("dpi");
    for (factor, wanted) in [("1", "96"), ("1.5", "144"), ("2", "192"), ("1", "96")] {
        let environment = vec![("WINIT_X11_SCALE_FACTOR".to_owned(), factor.to_owned())];
        let options = ViewerOptions { renderer: "cpu", environment, ..ViewerOptions::on(desk.name()) };
        let viewer = Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &host.trial_file(), &options);
        let followed = wait_for(PATIENCE, || {
            // Both of what programs ask: the display's resources, and the settings of the desktop (-1 is its own 96).
            let ask = format!("xfconf-query -c xsettings -p /Xft/DPI >{}.new; mv {0}.new {0}", told.display());
            host.exec(&["sh", "-c", &ask]);
            let settings = fs::read_to_string(&told).ok()?;
            let resource = remote.resource("Xft.dpi");
            let same = |said: &str| said.trim() == wanted || wanted == "96" && said.trim() == "-1";
            (state_of(&viewer) == "live" && same(&settings) && resource.map_or(wanted == "96", |said| same(&said)))
                .then_some(())
        });
        let said = (remote.resource("Xft.dpi"), fs::read_to_string(&told));
        assert!(followed.is_some(), "scale {factor}: wanted {wanted} dots to an inch, found {said:?}");
    }
}
